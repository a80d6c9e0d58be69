"""The public types as users write them. Never run and not collected: mypy checks this file."""

import asyncio
from typing import Any, assert_type
from unittest.mock import AsyncMock

import pytest

from pytest_background_tasks import (
    BackgroundTaskNotFound,
    BackgroundTasks,
    BackgroundTasksError,
    BackgroundTasksTimeout,
    BackgroundTaskWarning,
    CapturedTask,
    DeadlockError,
    DestroyedTaskWarning,
    Exploration,
    Explorer,
    LeakedTaskWarning,
    Schedule,
    SourceLocation,
    Target,
    TooManyBackgroundTasks,
    UnhandledTaskExceptionWarning,
    VirtualTime,
    WaitPoint,
    WaitReason,
    explore,
)


async def job(to: str) -> int:
    return len(to)


async def use(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    background_tasks.start_capturing(job, "job*", AsyncMock(), lambda task: task.name == "x", ignore="heartbeat*")
    background_tasks.start_capturing(ignore=[job, "heartbeat*"])
    background_tasks.stop_capturing()
    with background_tasks.capturing(job) as same:
        assert_type(same, BackgroundTasks)
    assert_type(background_tasks.task_count, int)
    assert_type(background_tasks.captured_tasks, list[CapturedTask])
    assert_type(await background_tasks.run_all_async(), list[Any])
    assert_type(background_tasks.run_all_sync(timeout=1.5, return_exceptions=True), list[Any])
    assert_type(await background_tasks.run_async(job, timeout=None), list[Any])
    assert_type(background_tasks.run_sync("job"), list[Any])
    assert_type(await background_tasks.run_all_async(order=[job, "job*"]), list[Any])
    assert_type(background_tasks.captured(job, to="ada"), list[CapturedTask])
    assert_type(background_tasks.assert_captured(job, to="ada"), CapturedTask)
    background_tasks.assert_nothing_captured()
    background_tasks.assert_nothing_captured(job)
    background_tasks.reset()


async def step(background_tasks: BackgroundTasks) -> None:
    assert_type(await background_tasks.step_async(job), CapturedTask)
    assert_type(background_tasks.step_sync("job", timeout=None), CapturedTask)
    await background_tasks.run_until_idle_async(order="reversed", timeout=1.5)
    background_tasks.run_until_idle_sync(order=[job], timeout=None)


async def time(virtual_time: VirtualTime) -> None:
    assert_type(virtual_time.now, float)
    assert_type(virtual_time.autojump, bool)
    virtual_time.autojump = False
    await virtual_time.advance(60)
    await virtual_time.advance(0.5)


def wait(wait: WaitPoint) -> None:
    file, line, function, reason = wait
    assert_type((file, line, function, reason), tuple[str, int, str, WaitReason])
    assert_type(wait.waiting_for, str)
    assert_type(wait.location, SourceLocation)


def inspect_task(captured: CapturedTask) -> None:
    coroutine, args, kwargs = captured
    assert_type(args, tuple[Any, ...])
    assert_type(kwargs, dict[str, Any])
    assert_type(captured.name, str)
    assert_type(captured.arguments, dict[str, Any])
    assert_type(captured.created_at, SourceLocation)
    assert_type(captured.suspended_at, WaitPoint | None)
    assert_type(captured.created_at.line, int)
    assert_type(captured.task, asyncio.Task[Any])
    assert_type(captured.exception(), BaseException | None)
    target: Target = captured
    del coroutine, target


@explore
async def test_plain(store: list[str]) -> None: ...


@explore(
    max_schedules=50,
    max_seconds=1.5,
    arrivals=["start", "mock"],
    faults=["cancel:client*", "reset", OSError, ValueError("x")],
    seed="any",
    reseed_random=False,
    replay=Schedule(),
    exclude_fixtures=["clean_db"],
)
async def test_with_options(store: list[str]) -> int:
    return len(store)


async def explored_test_keeps_its_type() -> None:
    assert_type(await test_plain([]), None)
    assert_type(await test_with_options([]), int)
    await test_plain(1)  # type: ignore[arg-type]


explore(max_deviation=1)  # type: ignore[call-overload]
explore(arrivals="post")  # type: ignore[arg-type]
explore(faults=7)  # type: ignore[call-overload]
explore(test_plain, max_deviations=1)  # type: ignore[call-overload]


Explorer(max_deviation=1)  # type: ignore[call-arg]
Explorer(max_deviations="1")  # type: ignore[arg-type]
Explorer(arrivals="post")  # type: ignore[arg-type]
Explorer(faults={"cancel:client*", OSError}, previous_failures=["client@1+1", Schedule()], propagate=(KeyError,))


def explorer() -> None:
    exploration = Explorer(max_deviations=1).explore(lambda: job("ada"))
    assert_type(exploration, Exploration)
    if exploration.failure:
        assert_type(exploration.failure.error, BaseException)
        assert_type(exploration.failure.schedule, Schedule)
        exploration.failure.reproduce()
        exploration.failure.reproduce(lambda error: error.__traceback__)


errors: list[type[BackgroundTasksError]] = [
    DeadlockError,
    BackgroundTasksTimeout,
    BackgroundTaskNotFound,
    TooManyBackgroundTasks,
]

warnings: list[type[BackgroundTaskWarning]] = [LeakedTaskWarning, UnhandledTaskExceptionWarning, DestroyedTaskWarning]


@pytest.fixture
def capturing(background_tasks: BackgroundTasks) -> BackgroundTasks:
    background_tasks.start_capturing()
    return background_tasks
