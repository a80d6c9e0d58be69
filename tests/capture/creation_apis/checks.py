"""The assertions of each generated project. Its own `matrix` names the loop and the ways."""

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from matrix import LOOP
from starlette.responses import Response
from ways import WAYS, Way, begin, ran

from pytest_background_tasks import BackgroundTasks, BackgroundTasksError


@pytest.fixture(autouse=True)
def capturing(background_tasks: BackgroundTasks) -> None:
    """Start capturing before the runner starts anything: its own tasks must not be captured either."""
    ran.clear()
    background_tasks.start_capturing()


async def start_here(name: str) -> None:
    """Start the way in the test's own task; a response is sent without a client."""
    assert_loop()
    response = await begin(name)
    if response is not None:
        await send_and_discard(response)


async def send_and_discard(response: Response) -> None:
    async def send(message: Any) -> None: ...

    await response({"type": "http"}, asyncio.Event().wait, send)


def assert_loop() -> None:
    assert type(asyncio.get_running_loop()).__module__.startswith(LOOP)


def assert_held(way: Way, background_tasks: BackgroundTasks) -> None:
    """Assert that its task was captured with the right attributes, and has not run."""
    [task] = background_tasks.captured_tasks
    assert (task.state, ran) == ("held", [])
    assert (task.function, task.arguments) == (way.function, way.arguments)
    assert task.created_at == way.created_at
    assert fnmatchcase(task.name, way.name)


def assert_done(way: Way, background_tasks: BackgroundTasks, results: list[Any]) -> None:
    [task] = background_tasks.captured_tasks
    assert (task.state, ran) == ("done", ["Ada"])
    assert results == [task.result()] == [way.result]


def assert_not_captured(background_tasks: BackgroundTasks) -> None:
    assert (background_tasks.captured_tasks, ran) == ([], ["Ada"])


async def run_async(name: str, start: Callable[..., Any], background_tasks: BackgroundTasks) -> None:
    await start(name)
    assert_held(WAYS[name], background_tasks)
    assert_done(WAYS[name], background_tasks, await background_tasks.run_all_async())


async def run_sync(name: str, start: Callable[..., Any], background_tasks: BackgroundTasks) -> None:
    await start(name)
    assert_held(WAYS[name], background_tasks)
    if LOOP == "uvloop" and WAYS[name].needs_thread:
        with pytest.raises(BackgroundTasksError, match="run_all_async"):
            background_tasks.run_all_sync()
        await background_tasks.captured_tasks[0].task
    else:
        assert_done(WAYS[name], background_tasks, background_tasks.run_all_sync())


async def not_captured(name: str, start: Callable[..., Any], background_tasks: BackgroundTasks) -> None:
    await start(name)
    assert_not_captured(background_tasks)
