"""Captured tasks on several loops: the test's loop, one that is not running, one in another thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pytest_background_tasks import BackgroundTasks, BackgroundTasksError, BackgroundTasksTimeout
from pytest_background_tasks._control import cross_loop

T = TypeVar("T")


@contextmanager
def loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def count(log: list[int]) -> str:
    for number in range(3):
        log.append(number)
        await asyncio.sleep(0)
    return "counted"


async def test_an_async_test_steps_a_task_of_another_thread(background_tasks: BackgroundTasks) -> None:
    log: list[int] = []
    app = FastAPI()

    @app.get("/")
    async def start() -> None:
        asyncio.create_task(count(log))

    background_tasks.start_capturing()
    with TestClient(app) as client:
        client.get("/")
        for expected in ([0], [0, 1], [0, 1, 2]):
            await background_tasks.step_async(count)
            client.get("/docs")
            assert log == expected
        assert (await background_tasks.step_async(count)).result() == "counted"


def test_stepped_task_of_another_thread_is_in_all_tasks_of_its_loop(background_tasks: BackgroundTasks) -> None:
    """The loop cancels it when it ends. From Python 3.14 on, each thread has a list of the tasks that begin in it."""
    background_tasks.start_capturing()
    with loop_in_thread() as loop:

        def in_loop(function: Callable[[], T]) -> T:
            answer: Future[T] = Future()
            loop.call_soon_threadsafe(lambda: answer.set_result(function()))
            return answer.result(10)

        task = in_loop(lambda: loop.create_task(count([])))
        background_tasks.step_sync(count)
        assert task in in_loop(lambda: asyncio.all_tasks(loop))
        background_tasks.run_all_sync()


async def test_async_test_steps_a_task_of_a_loop_that_is_not_running(background_tasks: BackgroundTasks) -> None:
    log: list[int] = []
    idle = asyncio.new_event_loop()
    background_tasks.start_capturing()
    idle.create_task(count(log))
    for expected in ([0], [0, 1], [0, 1, 2]):
        await background_tasks.step_async(count)
        assert log == expected
    assert (await background_tasks.step_async(count)).result() == "counted"
    idle.close()


async def test_step_in_another_thread_times_out(background_tasks: BackgroundTasks) -> None:
    """The test gets the error that says so, as on its own loop."""

    async def nap() -> None:
        await asyncio.sleep(60)

    with loop_in_thread() as loop:
        background_tasks.start_capturing()
        loop.call_soon_threadsafe(lambda: loop.create_task(nap()))
        while not background_tasks.task_count:
            await asyncio.sleep(0)
        await background_tasks.step_async(nap)
        with pytest.raises(BackgroundTasksTimeout, match="no next step within 0.01 s"):
            await background_tasks.step_async(nap, timeout=0.01)
        with pytest.raises(BackgroundTasksTimeout, match="no next step within 0.01 s"):
            background_tasks.step_sync(nap, timeout=0.01)


@pytest.mark.parametrize("end", ["its runner cancels its tasks", "it is stopped"])
@pytest.mark.parametrize("synchronous", [False, True])
async def test_loop_that_ends_in_another_thread_ends_a_pending_step(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch, synchronous: bool, end: str
) -> None:
    monkeypatch.setattr(cross_loop, "_POLL_INTERVAL", 0)
    loop = asyncio.new_event_loop()

    def stop() -> None:
        if end == "it is stopped":
            loop.stop()
        else:
            for task in asyncio.all_tasks(loop):
                task.cancel()

    def stop_if_waited_for() -> None:
        if any(getattr(task.get_coro(), "__name__", "") == "_step" for task in asyncio.all_tasks(loop)):
            stop()
        else:
            loop.call_soon(stop_if_waited_for)

    async def job() -> None:
        loop.call_soon(stop_if_waited_for)
        await asyncio.Event().wait()

    async def main() -> None:
        asyncio.create_task(job())
        started.set()
        await asyncio.Event().wait()

    def run() -> None:
        with suppress(RuntimeError, asyncio.CancelledError):
            loop.run_until_complete(main())

    background_tasks.start_capturing()
    started = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    await background_tasks.step_async(job)
    with pytest.raises(BackgroundTasksError, match="the event loop of another thread ended while this call waited"):
        if synchronous:
            background_tasks.step_sync(job)
        else:
            await background_tasks.step_async(job)
    thread.join()
    loop.close()


@pytest.mark.parametrize("synchronous", [False, True])
async def test_tasks_that_wake_each_other_across_loops_become_idle(
    background_tasks: BackgroundTasks, synchronous: bool
) -> None:
    """This holds however often one task wakes another on a loop that was already idle."""
    here, there = asyncio.get_running_loop(), asyncio.new_event_loop()
    arrived: list[int] = []
    gates = [asyncio.Event() for _ in range(4)]

    async def hand_over(number: int) -> None:
        await gates[number].wait()
        arrived.append(number)
        if number:
            (here, there)[number % 2 == 0].call_soon_threadsafe(gates[number - 1].set)

    background_tasks.start_capturing()
    for number in range(4):
        (here, there)[number % 2].create_task(hand_over(number))
    gates[3].set()
    if synchronous:
        background_tasks.run_until_idle_sync()
    else:
        await background_tasks.run_until_idle_async()
    assert arrived == [3, 2, 1, 0]
    there.close()


def test_blocked_loop_in_another_thread_times_out(background_tasks: BackgroundTasks) -> None:
    """A task cannot even start in time there; the timeout error says so."""
    gate = threading.Event()
    with loop_in_thread() as loop:
        background_tasks.start_capturing()
        loop.call_soon_threadsafe(lambda: loop.create_task(count([])))
        while not background_tasks.task_count:
            pass
        loop.call_soon_threadsafe(gate.wait)
        try:
            with pytest.raises(BackgroundTasksTimeout, match=r"count \(.*\) is held"):
                background_tasks.run_all_sync(timeout=0.05)
        finally:
            gate.set()
