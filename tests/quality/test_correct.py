"""Correct programs raise no alarm: for every primitive of asyncio and anyio, in every order, and when cancelled.

If a cancellation leaves nothing to assert, the program gathers with ``return_exceptions=True``, or the run is cut.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from unittest.mock import AsyncMock

import anyio
import anyio.to_thread
import pytest

from pytest_background_tasks import Explorer


async def io() -> None:
    await asyncio.sleep(0)


async def lock() -> None:
    guard, inside = asyncio.Lock(), 0

    async def use() -> None:
        nonlocal inside
        async with guard:
            inside += 1
            try:
                await io()
                assert inside == 1
            finally:
                inside -= 1

    await asyncio.gather(use(), use(), use(), return_exceptions=True)
    assert not guard.locked()


async def semaphore() -> None:
    guard, inside = asyncio.BoundedSemaphore(2), 0

    async def use() -> None:
        nonlocal inside
        async with guard:
            inside += 1
            try:
                await io()
                assert inside <= 2
            finally:
                inside -= 1

    await asyncio.gather(use(), use(), use(), return_exceptions=True)
    assert not guard.locked()
    assert inside == 0


async def event() -> None:
    """Two waiters woken by one `set` see the same state."""
    ready, value = asyncio.Event(), 0
    seen = []

    async def wait() -> None:
        await ready.wait()
        seen.append(value)

    async def fire() -> None:
        nonlocal value
        await io()
        value = 1
        ready.set()
        await io()

    waiting = asyncio.gather(wait(), wait())
    await fire()
    await waiting
    assert seen == [1, 1]


async def condition() -> None:
    changed, items = asyncio.Condition(), []

    async def take() -> None:
        async with changed:
            await changed.wait_for(lambda: items)
            items.pop()

    async def put() -> None:
        await io()
        async with changed:
            items.append(1)
            changed.notify_all()

    results = await asyncio.gather(take(), put(), take(), put(), put(), put(), return_exceptions=True)
    assert len(items) >= 2 - sum(isinstance(result, asyncio.CancelledError) for result in results)


async def barrier() -> None:
    gate, passed = asyncio.Barrier(3), 0

    async def arrive() -> None:
        nonlocal passed
        await io()
        async with gate:
            passed += 1
            assert gate.n_waiting <= 3

    async with asyncio.timeout(1):
        await asyncio.gather(arrive(), arrive(), arrive())
    assert passed == 3


async def queue() -> None:
    jobs: asyncio.Queue[int] = asyncio.Queue(1)
    done = []

    async def work() -> None:
        while True:
            number = await jobs.get()
            await io()
            done.append(number)
            jobs.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for number in range(3):
        await jobs.put(number)
    await jobs.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(done) == [0, 1, 2]


async def priority_queue() -> None:
    jobs: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
    await asyncio.gather(*[jobs.put(number) for number in (2, 0, 1)])
    assert [jobs.get_nowait() for _ in range(3)] == [0, 1, 2]


async def task_group() -> None:
    ended = []

    async def child(number: int) -> None:
        try:
            await asyncio.sleep(number)
        finally:
            ended.append(number)
        if number == 1:
            raise ValueError(number)

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            for number in range(1, 4):
                group.create_task(child(number))
    assert len(raised.value.exceptions) == 1
    assert len(ended) <= 3


async def work_against_timeout() -> None:
    """Either the work is done or the time is up; never neither."""
    done = False

    async def work() -> None:
        nonlocal done
        await asyncio.sleep(1)
        done = True

    try:
        async with asyncio.timeout(1):
            await work()
    except TimeoutError:
        assert not done
    else:
        assert done


async def wait_for() -> None:
    results = await asyncio.gather(
        asyncio.wait_for(asyncio.sleep(1, "slept"), 2),
        asyncio.wait_for(asyncio.sleep(2, "slept"), 1),
        return_exceptions=True,
    )
    assert results[0] == "slept"
    assert isinstance(results[1], TimeoutError)


async def shield() -> None:
    work = asyncio.ensure_future(asyncio.sleep(2, "done"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(work), 1)
    assert await work == "done"


async def as_completed() -> None:
    results = [
        await each for each in asyncio.as_completed([asyncio.sleep(1, 1), asyncio.sleep(2, 2), asyncio.sleep(3, 3)])
    ]
    assert results == [1, 2, 3]


async def wait() -> None:
    tasks = [asyncio.create_task(asyncio.sleep(seconds)) for seconds in (1, 2)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == ({tasks[0]}, {tasks[1]})
    await asyncio.wait(tasks)


async def thread() -> None:
    counted = []

    def count(number: int) -> int:
        counted.append(number)
        return number

    loop = asyncio.get_running_loop()
    results = await asyncio.gather(asyncio.to_thread(count, 1), loop.run_in_executor(None, count, 2))
    assert results == [1, 2]
    assert sorted(counted) == [1, 2]


async def threadsafe() -> None:
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    await asyncio.to_thread(loop.call_soon_threadsafe, arrived.set)
    await arrived.wait()


async def context_variables() -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    async def handle(name: str) -> str:
        user.set(name)
        await io()
        return user.get() + await asyncio.to_thread(user.get)

    assert await asyncio.gather(handle("ann"), handle("bob")) == ["annann", "bobbob"]


async def asynchronous_generators() -> None:
    closed = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            for number in range(3):
                await io()
                yield number
        finally:
            closed.append(name)

    async def take(name: str) -> None:
        async for number in numbers(name):
            if number == 1:
                break

    await asyncio.gather(take("a"), take("b"))
    await asyncio.sleep(1)
    assert sorted(closed) == ["a", "b"]


async def mocks() -> None:
    store = AsyncMock(return_value=7)
    assert await asyncio.gather(store("a"), store("b")) == [7, 7]
    assert store.await_count == 2


async def eager_tasks() -> None:
    if not hasattr(asyncio, "eager_task_factory"):
        return
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    order = []

    async def job(number: int) -> None:
        order.append(number)
        await io()

    await asyncio.gather(job(1), job(2), job(3))
    assert order == [1, 2, 3]


async def anyio_task_group() -> None:
    done = []

    async def job(number: int) -> None:
        await anyio.sleep(number)
        done.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(job, 1)
        group.start_soon(job, 2)
    assert done == [1, 2]


async def anyio_locks() -> None:
    guard, limiter, inside = anyio.Lock(), anyio.CapacityLimiter(2), 0

    async def use() -> None:
        nonlocal inside
        async with limiter, guard:
            inside += 1
            try:
                await io()
                assert inside == 1
            finally:
                inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(use)


async def anyio_semaphore_and_event() -> None:
    slots, ready = anyio.Semaphore(1), anyio.Event()

    async def use() -> None:
        await ready.wait()
        async with slots:
            await io()

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        group.start_soon(use)
        await io()
        ready.set()
    assert slots.value == 1


async def anyio_condition() -> None:
    changed, items = anyio.Condition(), []

    async def take() -> None:
        async with changed:
            while not items:
                await changed.wait()
            items.pop()

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await io()
        async with changed:
            items.append(1)
            changed.notify()
    assert not items


async def anyio_streams() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    got = []

    async def produce() -> None:
        async with send:
            for number in range(3):
                await send.send(number)

    async def consume() -> None:
        async with receive:
            async for number in receive:
                await io()
                got.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        group.start_soon(consume)
    assert got == [0, 1, 2]


async def anyio_timeouts() -> None:
    with anyio.move_on_after(1) as scope:
        await anyio.sleep(2)
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        with anyio.fail_after(1):
            await anyio.sleep_forever()


async def anyio_threads() -> None:
    assert await anyio.to_thread.run_sync(sum, [1, 2]) == 3


PROGRAMS: list[Callable[[], Coroutine[Any, Any, None]]] = [
    lock,
    semaphore,
    event,
    condition,
    queue,
    barrier,
    priority_queue,
    task_group,
    work_against_timeout,
    wait_for,
    shield,
    as_completed,
    wait,
    thread,
    threadsafe,
    context_variables,
    asynchronous_generators,
    mocks,
    eager_tasks,
    anyio_task_group,
    anyio_locks,
    anyio_semaphore_and_event,
    anyio_condition,
    anyio_streams,
    anyio_timeouts,
    anyio_threads,
]

CANCELLATION_SENSITIVE = {queue, task_group, wait_for, wait, anyio_task_group, anyio_condition, anyio_streams}
"""If one of their tasks is cancelled, these programs rightly fail."""

WITHOUT_TASKS = {threadsafe, work_against_timeout, anyio_timeouts, anyio_threads}
"""They have no task that could be cancelled, and an exploration says so."""
if not hasattr(asyncio, "eager_task_factory"):
    WITHOUT_TASKS.add(eager_tasks)

for_each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)


@for_each_program
def test_no_order_raises_a_false_alarm(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    exploration = Explorer(max_schedules=3000).explore(program)
    assert exploration.verdict in ("bounded", "exhaustive"), exploration


@pytest.mark.parametrize(
    "program",
    [each for each in PROGRAMS if each not in CANCELLATION_SENSITIVE | WITHOUT_TASKS],
    ids=lambda program: program.__name__,
)
def test_no_cancellation_raises_a_false_alarm(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    exploration = Explorer(max_deviations=1, faults="cancel").explore(program)
    assert exploration.verdict in ("bounded", "exhaustive"), exploration


def test_no_cancellation_with_a_delay_raises_a_false_alarm() -> None:
    """Two deviations; other pairs take too long here."""
    for program in (lock, semaphore, event, shield, thread, asynchronous_generators):
        exploration = Explorer(faults="cancel").explore(program)
        assert exploration.verdict in ("bounded", "exhaustive"), exploration
