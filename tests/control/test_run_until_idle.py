"""run_until_idle runs until the program is idle, however many iterations that takes."""

import asyncio
import threading
import time
from itertools import pairwise
from typing import Any

import anyio
import pytest
import uvloop
from fastapi import FastAPI
from starlette.testclient import TestClient

from pytest_background_tasks import BackgroundTasks, BackgroundTasksError, BackgroundTasksTimeout, VirtualTime

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
LENGTHS = pytest.mark.parametrize("length", [1, 10, 1000])


async def queue_to_queue(length: int, arrived: list[int]) -> None:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(length + 1)]

    async def hand_over(here: asyncio.Queue[int], there: asyncio.Queue[int]) -> None:
        there.put_nowait(await here.get() + 1)

    async def take() -> None:
        arrived.append(await queues[-1].get())

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        for here, there in pairwise(queues):
            group.create_task(hand_over(here, there))
        await queues[0].put(0)


async def lock_to_lock(length: int, arrived: list[int]) -> None:
    locks = [asyncio.Lock() for _ in range(length + 1)]
    for lock in locks:
        await lock.acquire()

    async def hand_over(number: int) -> None:
        async with locks[number]:
            locks[number + 1].release()

    async with asyncio.TaskGroup() as group:
        for number in reversed(range(length)):
            group.create_task(hand_over(number))
        locks[0].release()
        await locks[-1].acquire()
    arrived.append(length)


async def future_to_future(length: int, arrived: list[int]) -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(length + 1)]

    async def hand_over(number: int) -> None:
        futures[number + 1].set_result(await futures[number] + 1)

    async with asyncio.TaskGroup() as group:
        for number in range(length):
            group.create_task(hand_over(number))
        futures[0].set_result(0)
    arrived.append(futures[-1].result())


async def through_threads(length: int, arrived: list[int]) -> None:
    number = 0
    for _ in range(length):
        number = await asyncio.to_thread(lambda number: number + 1, number)
    arrived.append(number)


async def through_anyio_threads(length: int, arrived: list[int]) -> None:
    for _ in range(length):
        await anyio.to_thread.run_sync(list)
    arrived.append(length)


CHAINS = pytest.mark.parametrize(
    "chain",
    [queue_to_queue, lock_to_lock, future_to_future, through_threads, through_anyio_threads],
    ids=lambda chain: chain.__name__,
)


@CHAINS
@LENGTHS
@LOOPS
def test_chains_of_tasks_become_idle(background_tasks: BackgroundTasks, chain: Any, length: int, new_loop: Any) -> None:
    """Chains of 1, 10 and 1,000 links settle, in the loop and through threads, even if another task sleeps."""
    arrived: list[int] = []

    async def main() -> None:
        sleeper = asyncio.create_task(asyncio.sleep(3600))
        background_tasks.start_capturing()
        asyncio.create_task(chain(length, arrived))
        await background_tasks.run_until_idle_async()
        assert arrived == [length]
        assert not sleeper.done()
        sleeper.cancel()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@CHAINS
def test_chains_of_tasks_become_idle_in_a_synchronous_call(background_tasks: BackgroundTasks, chain: Any) -> None:
    """They settle in a `def` test, and inside a running test."""
    arrived: list[int] = []

    async def main() -> None:
        asyncio.create_task(chain(10, arrived))
        background_tasks.run_until_idle_sync()
        assert arrived == [10, 10]

    background_tasks.start_capturing()
    asyncio.create_task(chain(10, arrived))
    background_tasks.run_until_idle_sync()
    assert arrived == [10]
    asyncio.run(main())


def test_run_until_idle_sync_on_uvloop_runs_ready_tasks_only(background_tasks: BackgroundTasks) -> None:
    may_end = threading.Event()

    def work() -> None:
        while not may_end.is_set():
            time.sleep(0.001)

    async def main() -> None:
        arrived: list[int] = []
        background_tasks.start_capturing()
        asyncio.create_task(queue_to_queue(10, arrived))
        background_tasks.run_until_idle_sync()
        assert arrived == [10]
        task = asyncio.create_task(asyncio.to_thread(work))
        with pytest.raises(
            BackgroundTasksError, match=r"(?s)uvloop cannot wait for a thread.*run_until_idle_async\(\)"
        ):
            background_tasks.run_until_idle_sync()
        may_end.set()
        await background_tasks.run_until_idle_async()
        assert task.done()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_held_tasks_and_their_child_tasks_run(background_tasks: BackgroundTasks) -> None:
    log: list[str] = []

    async def child() -> None:
        log.append("child")

    async def parent() -> None:
        log.append("parent")
        asyncio.create_task(child())
        await asyncio.Event().wait()

    background_tasks.start_capturing()
    asyncio.create_task(parent())
    assert await background_tasks.run_until_idle_async() is None
    assert log == ["parent", "child"]
    assert [task.state for task in background_tasks.captured_tasks] == ["started", "done"]


async def test_run_until_idle_does_not_advance_virtual_time(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime
) -> None:
    """Virtual time does not jump, so a periodic job runs one round per call."""
    rounds: list[float] = []

    async def job() -> None:
        while True:
            rounds.append(virtual_time.now)
            await asyncio.sleep(60)

    background_tasks.start_capturing()
    asyncio.create_task(job())
    await background_tasks.run_until_idle_async()
    await background_tasks.run_until_idle_async()
    assert rounds == [0]
    await virtual_time.advance(120)
    assert rounds == [0, 60, 120]


async def test_tasks_start_in_the_requested_order(background_tasks: BackgroundTasks) -> None:
    log: list[int] = []

    async def job(number: int) -> None:
        log.append(number)
        await asyncio.sleep(0)
        log.append(number)

    background_tasks.start_capturing()
    for number in range(3):
        asyncio.create_task(job(number))
    await background_tasks.run_until_idle_async(order="reversed")
    assert log == [2, 1, 0, 2, 1, 0]


async def test_failures_are_raised_when_the_loop_is_idle(background_tasks: BackgroundTasks) -> None:
    """Each exception has a note that names the task; several are grouped; each is raised once."""
    ended: list[str] = []

    async def fail(message: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(message)

    async def end() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append("end")

    background_tasks.start_capturing()
    asyncio.create_task(fail("one"))
    asyncio.create_task(end())
    with pytest.raises(ValueError, match="one") as caught:
        await background_tasks.run_until_idle_async()
    assert ended == ["end"]
    assert any("in background task" in note for note in caught.value.__notes__)
    asyncio.create_task(fail("two"))
    asyncio.create_task(fail("three"))
    with pytest.raises(ExceptionGroup) as group:
        await background_tasks.run_until_idle_async()
    assert [str(error) for error in group.value.exceptions] == ["two", "three"]
    await background_tasks.run_until_idle_async()


async def test_running_method_resumes_unfinished_tasks(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime
) -> None:
    """It returns the results, or raises the errors, once, even of tasks that have ended in the meantime."""

    async def job(seconds: float, message: str = "") -> float:
        await asyncio.sleep(seconds)
        if message:
            raise ValueError(message)
        return seconds

    background_tasks.start_capturing()
    for seconds in (10, 20):
        asyncio.create_task(job(seconds))
    await background_tasks.run_until_idle_async()
    await virtual_time.advance(10)
    assert await background_tasks.run_all_async() == [10, 20]
    assert await background_tasks.run_all_async() == []
    asyncio.create_task(job(10, "too late to be seen"))
    await background_tasks.run_until_idle_async()
    await virtual_time.advance(10)
    with pytest.raises(ValueError, match="too late to be seen"):
        await background_tasks.run_async(job)


async def test_program_that_never_becomes_idle_times_out(background_tasks: BackgroundTasks) -> None:
    """It ends after the timeout, and names the tasks that keep running."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    background_tasks.start_capturing()
    asyncio.create_task(spin())
    with pytest.raises(BackgroundTasksTimeout, match=r"(?s)did not become idle within 0.05 s:.*spin.*its next turn"):
        await background_tasks.run_until_idle_async(timeout=0.05)
    with pytest.raises(BackgroundTasksTimeout, match="did not become idle"):
        background_tasks.run_until_idle_sync(timeout=0.05)


async def test_loop_is_not_idle_while_a_connection_is_in_use(background_tasks: BackgroundTasks) -> None:
    """The server is in another thread, and takes its time to answer."""
    import socket

    answers: list[bytes] = []

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                while peer.recv(10):
                    threading.Event().wait(0.005)
                    peer.sendall(b"!")

        thread = threading.Thread(target=serve)
        thread.start()

        async def ask() -> None:
            reader, writer = await asyncio.open_connection(*server.getsockname())
            for _ in range(3):
                writer.write(b"?")
                answers.append(await reader.readexactly(1))
            writer.close()
            await writer.wait_closed()

        background_tasks.start_capturing()
        asyncio.create_task(ask())
        await background_tasks.run_until_idle_async()
        assert answers == [b"!"] * 3
        thread.join()


def test_tasks_on_the_loop_of_a_client_become_idle(background_tasks: BackgroundTasks) -> None:
    """Tasks that belong to a loop in another thread become idle there."""
    log: list[str] = []

    async def job() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        log.append("rested")
        await asyncio.sleep(3600)

    app = FastAPI()

    @app.get("/")
    async def start() -> None:
        asyncio.create_task(job())

    background_tasks.start_capturing()
    with TestClient(app) as client:
        client.get("/")
        background_tasks.run_until_idle_sync()
        assert log == ["rested"]
        client.get("/")
    background_tasks.run_until_idle_sync()
    assert log == ["rested", "rested"]


async def test_uncaptured_tasks_run_until_idle(background_tasks: BackgroundTasks) -> None:
    arrived: list[int] = []
    task = asyncio.create_task(queue_to_queue(10, arrived))
    await background_tasks.run_until_idle_async()
    assert task.done()


def test_run_until_idle_sync_without_held_tasks_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    assert background_tasks.run_until_idle_sync() is None


async def test_run_until_idle_does_not_wait_for_timers(background_tasks: BackgroundTasks) -> None:
    """On a real clock, it returns while other tasks sleep."""
    start = time.monotonic()
    task = asyncio.create_task(asyncio.sleep(60))
    await background_tasks.run_until_idle_async()
    assert time.monotonic() - start < 30
    task.cancel()
