"""Polling done() of a held task is a deadlock; checking it now and then is not."""

import asyncio
from collections.abc import Callable

import pytest

from pytest_background_tasks import BackgroundTasks, DeadlockError


async def set_event(event: asyncio.Event) -> None:
    event.set()


@pytest.mark.parametrize("pause", [0, 0.001], ids=["yielding", "sleeping"])
async def test_polling_done_of_a_held_task_is_a_deadlock(background_tasks: BackgroundTasks, pause: float) -> None:
    """A loop that sleeps until a held task is done gets an error in its call of done()."""

    async def job() -> None: ...

    background_tasks.start_capturing()
    task = asyncio.create_task(job())
    with pytest.raises(DeadlockError, match=r"deadlock: .* polls done\(\) of .*job, which is held"):
        while not task.done():
            await asyncio.sleep(pause)


async def test_checking_a_held_task_for_each_message_is_not_polling(background_tasks: BackgroundTasks) -> None:
    """A debounce that checks its task for each of a hundred messages gets no error."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    flush: asyncio.Task[None] | None = None
    seen = 0

    async def save() -> None: ...

    async def consume() -> None:
        nonlocal flush, seen
        while True:
            await queue.get()
            if flush is None or flush.done():
                flush = asyncio.create_task(save())
            seen += 1
            queue.task_done()

    with background_tasks.capturing(save):
        async with asyncio.TaskGroup() as group:
            consumer = group.create_task(consume())
            for number in range(100):
                await queue.put(number)
                await queue.join()
            consumer.cancel()
    assert (seen, background_tasks.task_count) == (100, 1)


async def test_polling_done_through_a_function_is_a_deadlock(background_tasks: BackgroundTasks) -> None:
    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0)

    background_tasks.start_capturing()
    task = asyncio.create_task(set_event(asyncio.Event()))
    with pytest.raises(DeadlockError, match=r"deadlock: .* polls done\(\) of set_event, which is held"):
        await until(lambda: task.done())


async def test_throttle_that_checks_its_task_is_not_polling(background_tasks: BackgroundTasks) -> None:
    flush: asyncio.Task[None] | None = None

    def feed() -> None:
        nonlocal flush
        if flush is None or flush.done():
            flush = asyncio.create_task(set_event(asyncio.Event()))

    background_tasks.start_capturing()
    for _ in range(50):
        feed()
        await asyncio.sleep(0)
    assert background_tasks.task_count == 1


async def test_scheduler_in_the_background_is_not_polling(background_tasks: BackgroundTasks) -> None:
    """The scheduler restarts its job when the last one is done, and checks at every tick."""
    job: asyncio.Task[None] | None = None

    async def schedule() -> None:
        nonlocal job
        while True:
            if job is None or job.done():
                job = asyncio.create_task(set_event(asyncio.Event()))
            await asyncio.sleep(0.001)

    scheduler = asyncio.create_task(schedule())
    background_tasks.start_capturing()
    await asyncio.sleep(0.2)
    assert not scheduler.done()
    scheduler.cancel()
    assert background_tasks.task_count == 1


async def test_asserting_that_a_held_task_is_not_done_is_not_polling(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(set_event(asyncio.Event()))
    for _ in range(10):
        await asyncio.sleep(0)
        assert not task.done()
