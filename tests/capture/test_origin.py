"""The creator of a task (rule 2) when the loop made the call."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pytest_background_tasks import BackgroundTasks, CapturedTask
from pytest_background_tasks._asyncio.instrument import transparent_frame

both_loops = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


async def answer() -> int:
    return 42


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@both_loops
def test_call_soon_task_is_not_attributed_to_the_loop_runner(
    background_tasks: BackgroundTasks, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The code that runs the loop does not count as the creator of the task."""
    loop = new_loop()
    background_tasks.start_capturing()
    loop.call_soon(asyncio.create_task, answer())
    loop.run_until_complete(turn())
    [captured] = background_tasks.captured_tasks
    assert captured.created_at.function == "answer"
    assert background_tasks.run_all_sync() == [42]
    loop.close()


@both_loops
def test_call_soon_task_of_a_library_is_not_captured(
    background_tasks: BackgroundTasks, new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    """The task remains one of the library."""
    library: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
    exec(compile("async def keep_alive(): ...", str(tmp_path / "site-packages" / "library.py"), "exec"), library)
    loop = new_loop()
    background_tasks.start_capturing()
    loop.call_soon(asyncio.create_task, library["keep_alive"]())
    loop.run_until_complete(turn())
    assert background_tasks.captured_tasks == []
    loop.close()


@both_loops
def test_ensure_future_before_the_loop_runs_is_captured(
    background_tasks: BackgroundTasks, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    def start(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.ensure_future(answer(), loop=loop)

    loop = new_loop()
    background_tasks.start_capturing()
    start(loop)
    loop.run_until_complete(turn())
    assert [task.state for task in background_tasks.captured_tasks] == ["held"]
    assert background_tasks.run_all_sync() == [42]
    loop.close()


async def test_callers_of_a_spawn_helper_are_reported(background_tasks: BackgroundTasks) -> None:
    def spawn(coroutine: Coroutine[Any, Any, int]) -> None:
        asyncio.create_task(coroutine)

    background_tasks.start_capturing()
    spawn(answer())
    [_ for _ in "a" if asyncio.create_task(answer())]  # before 3.12, a comprehension is a function
    asyncio.create_task(answer())
    test = test_callers_of_a_spawn_helper_are_reported.__qualname__
    assert [functions_in_description(each) for each in background_tasks.captured_tasks] == [
        [f"{test}.<locals>.spawn", test],
        [background_tasks.captured_tasks[1].created_at.function],
        [test],
    ]


def functions_in_description(captured: CapturedTask) -> list[str]:
    """Return the places of creation, from a line in a list."""
    return [line.rpartition(" in ")[2] for line in captured._summary.partition("created")[2].split(", ")]


def test_skipped_code_object_is_kept_alive() -> None:
    """Otherwise a user's function that is allocated at the same address would be skipped as well."""
    namespace: dict[str, Callable[[], None]] = {}
    exec("def create_task(): ...", namespace)
    code = weakref.ref(transparent_frame(namespace.pop("create_task")).__code__)
    gc.collect()
    assert code() is not None


@both_loops
def test_task_created_before_its_creator_runs_the_loop_is_captured(
    background_tasks: BackgroundTasks, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Only the task that the runner runs belongs to the runner."""
    loop = new_loop()
    background_tasks.start_capturing()
    loop.create_task(answer())
    loop.run_until_complete(turn())
    assert [task.state for task in background_tasks.captured_tasks] == ["held"]
    assert background_tasks.run_all_sync() == [42]
    loop.close()


@both_loops
def test_task_created_by_a_coroutine_that_may_run_a_loop_is_captured(
    background_tasks: BackgroundTasks, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main(other: asyncio.AbstractEventLoop | None) -> None:
        asyncio.create_task(answer())
        if other is not None:
            other.run_until_complete(answer())

    loop = new_loop()
    background_tasks.start_capturing()
    loop.run_until_complete(main(None))
    assert [task.created_at.function for task in background_tasks.captured_tasks] == [main.__qualname__]
    assert background_tasks.run_all_sync() == [42]
    loop.close()
