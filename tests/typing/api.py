"""The public types as users write them. Never run, and not collected: mypy reads it."""

import asyncio
from typing import Any, assert_type
from unittest.mock import AsyncMock

import pytest

from pytest_background_tasks import (
    BackgroundTasks,
    BackgroundTasksDeadlock,
    BackgroundTasksError,
    BackgroundTasksTimeout,
    BackgroundTaskWarning,
    CapturedTask,
    LeakedTaskWarning,
    NoSuchBackgroundTask,
    Site,
    Target,
    TooManyBackgroundTasks,
    UnhandledTaskWarning,
    UnreferencedTaskWarning,
    VirtualTime,
    Wait,
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


def wait(wait: Wait) -> None:
    file, line, function, waits_for = wait
    assert_type((file, line, function, waits_for), tuple[str, int, str, str])
    assert_type(wait.waits_for, str)
    assert_type(wait.site, Site)


def look(captured: CapturedTask) -> None:
    coroutine, args, kwargs = captured
    assert_type(args, tuple[Any, ...])
    assert_type(kwargs, dict[str, Any])
    assert_type(captured.name, str)
    assert_type(captured.arguments, dict[str, Any])
    assert_type(captured.created_at, Site)
    assert_type(captured.suspended_at, Wait | None)
    assert_type(captured.created_at.line, int)
    assert_type(captured.task, asyncio.Task[Any])
    assert_type(captured.exception(), BaseException | None)
    target: Target = captured
    del coroutine, target


errors: list[type[BackgroundTasksError]] = [
    BackgroundTasksDeadlock,
    BackgroundTasksTimeout,
    NoSuchBackgroundTask,
    TooManyBackgroundTasks,
]

warnings: list[type[BackgroundTaskWarning]] = [LeakedTaskWarning, UnhandledTaskWarning, UnreferencedTaskWarning]


@pytest.fixture
def capturing(background_tasks: BackgroundTasks) -> BackgroundTasks:
    background_tasks.start_capturing()
    return background_tasks
