"""Exploring anyio's tasks, threads and streams; with an unsupported anyio, only what needs its internals fails.

.ci/run also runs this file with anyio 3, in an environment that contains nothing else.
"""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import anyio
import anyio._backends._asyncio as backend
import anyio.to_thread
import pytest

from pytest_background_tasks import DeadlockError, Explorer, UncontrolledOperation

KNOWN_VERSIONS = "is installed, but this plugin supports anyio 3.7 and 4: "


async def sleepers() -> None:
    async def work() -> None:
        await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        group.start_soon(work)
    await asyncio.sleep(0)


async def threads() -> None:
    answers = []

    async def ask(number: int) -> None:
        assert await anyio.to_thread.run_sync(threading.get_ident) != threading.get_ident()
        answers.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, 1)
        group.start_soon(ask, 2)
    assert answers == [1, 2]


async def streams() -> None:
    make: Any = anyio.create_memory_object_stream  # has this type only in anyio 4
    send, receive = make(1)
    got = []

    async def consume() -> None:
        with receive.clone() as items:
            async for item in items:
                got.append(item)  # noqa: PERF401  # one by one, as they come

    with anyio.move_on_after(5) as scope:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(consume)
            for number in range(4):
                await send.send(number)
    assert scope.cancel_called
    send.close()
    receive.close()
    assert sorted(got) == [0, 1, 2, 3]


async def shielded_thread() -> None:
    """A scope does not cancel a call in a thread: it waits for the call."""
    answers = []
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        answers.append(await anyio.to_thread.run_sync(loop.call_soon_threadsafe, scope.cancel))
    assert len(answers) == 1


@pytest.mark.parametrize("scenario", [sleepers, shielded_thread])
def test_correct_programs_do_not_fail(scenario: Callable[[], Any]) -> None:
    assert Explorer().explore(scenario).failure is None


def test_streams_keep_their_order() -> None:
    assert Explorer(max_schedules=100).explore(streams).failure is None


def test_thread_results_can_be_delayed() -> None:
    failure = Explorer().explore(threads).failure
    assert failure is not None
    assert str(failure.schedule) == "ask#1@3+1"
    assert failure.delayed_kinds == {"thread"}


def test_a_deadlock_names_tasks_by_their_function() -> None:
    async def scenario() -> None:
        async def stuck() -> None:
            await anyio.Event().wait()

        async with anyio.create_task_group() as group:
            group.start_soon(stuck)

    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert isinstance(failure.error, DeadlockError)
    assert "\n  stuck waits at " in str(failure.error)


# An unsupported version of anyio.

OWNER = getattr(backend, "AsyncIOBackend", backend)


async def incompatible_run_sync(func: Callable[..., Any], options: object) -> None:
    """A call with a different signature and a different way to a thread."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    thread = threading.Thread(target=lambda: _send_result(loop, future), name="AnyIO worker thread")
    thread.start()
    await future


def _send_result(loop: asyncio.AbstractEventLoop, future: Any) -> None:
    with suppress(UncontrolledOperation):
        loop.call_soon_threadsafe(future.set_result, None)


async def one_thread() -> None:
    await OWNER.run_sync_in_worker_thread(threading.get_ident, None)


@pytest.fixture
def next_anyio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OWNER, "run_sync_in_worker_thread", incompatible_run_sync)


@pytest.fixture(params=["a module is missing", "a class is missing"])
def other_anyio(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "a module is missing":
        monkeypatch.setitem(sys.modules, "anyio.streams.memory", None)
    else:
        empty = ModuleType("anyio._backends._asyncio")
        monkeypatch.setitem(sys.modules, empty.__name__, empty)


@pytest.mark.usefixtures("next_anyio")
def test_code_without_threads_is_explored_with_an_unsupported_anyio() -> None:
    assert Explorer().explore(sleepers).failure is None


@pytest.mark.usefixtures("other_anyio")
def test_code_without_anyio_is_explored_despite_missing_anyio_internals() -> None:
    async def scenario() -> None:
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(0))

    assert Explorer().explore(scenario).failure is None


@pytest.mark.usefixtures("next_anyio")
def test_error_for_threads_of_an_unsupported_anyio_lists_known_versions() -> None:
    with pytest.raises(UncontrolledOperation) as caught:
        Explorer().explore(one_thread)
    [note] = caught.value.__notes__
    assert KNOWN_VERSIONS in note
    assert note.endswith("an exploration cannot control what this version of anyio sends to threads")
    assert note.startswith("anyio ")
