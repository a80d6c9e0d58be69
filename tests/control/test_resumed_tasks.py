"""The tasks that a running method resumes have ended when it returns."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
import uvloop

from pytest_background_tasks import BackgroundTaskNotFound, BackgroundTasks, VirtualTime

Test: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Iterator[Callable[[Test], None]]:
    """Return a function that runs an async function on this kind of loop."""

    def on_loop(test: Test) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
            runner.run(test())

    return on_loop  # type: ignore[return-value]


async def work(log: list[str] | None = None) -> str:
    await asyncio.sleep(0)
    if log is not None:
        log.append("worked")
    return "worked"


async def run_all_async(tasks: BackgroundTasks) -> object:
    return await tasks.run_all_async()


async def run_all_sync(tasks: BackgroundTasks) -> object:
    return tasks.run_all_sync()


async def run_async(tasks: BackgroundTasks) -> object:
    return await tasks.run_async("other")


async def run_sync(tasks: BackgroundTasks) -> object:
    return tasks.run_sync("other")


async def run_until_idle_async(tasks: BackgroundTasks) -> object:
    return await tasks.run_until_idle_async()


async def run_until_idle_sync(tasks: BackgroundTasks) -> object:
    return tasks.run_until_idle_sync()


VERBS = [run_all_async, run_all_sync, run_async, run_sync, run_until_idle_async, run_until_idle_sync]


@pytest.mark.parametrize("verb", VERBS, ids=[verb.__name__ for verb in VERBS])
def test_task_cancelled_while_held_has_ended(
    background_tasks: BackgroundTasks, on_loop: Callable[[Test], None], verb: Any
) -> None:
    async def test() -> None:
        background_tasks.start_capturing()
        first = asyncio.create_task(work(), name="first")
        other = asyncio.create_task(work(), name="other")
        last = asyncio.create_task(work(), name="last")
        first.cancel()
        last.cancel()
        assert await verb(background_tasks) in (None, ["worked"]), "the result of what it ran alone"
        assert first.cancelled()
        assert last.cancelled()
        assert other.done()

    on_loop(test)


def test_held_task_cancelled_by_a_running_task_has_ended(
    background_tasks: BackgroundTasks, on_loop: Callable[[Test], None]
) -> None:
    async def cancel(victim: "asyncio.Task[object]") -> None:
        victim.cancel()

    async def test() -> None:
        background_tasks.start_capturing()
        victim = asyncio.create_task(work(), name="victim")
        asyncio.create_task(cancel(victim))
        await background_tasks.run_async(cancel)
        assert victim.cancelled()

    on_loop(test)


def test_task_cancelled_while_held_has_ended_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(work())
    task.cancel()
    assert background_tasks.run_all_sync() == []
    assert task.cancelled()


async def with_shield(task: "asyncio.Task[str]") -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 5)


async def with_shield_under_timeout(task: "asyncio.Task[str]") -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.shield(task)


async def with_wait(task: "asyncio.Task[str]") -> None:
    await asyncio.wait([task], timeout=5)


async def with_wait_for_first(task: "asyncio.Task[str]") -> None:
    await asyncio.wait([task, asyncio.ensure_future(asyncio.sleep(5))], return_when=asyncio.FIRST_COMPLETED)


async def with_gather(task: "asyncio.Task[str]") -> None:
    async def fail() -> None:
        await asyncio.sleep(5)
        raise ConnectionError

    with suppress(ConnectionError):
        await asyncio.gather(task, fail())


async def with_as_completed(task: "asyncio.Task[str]") -> None:
    for first in asyncio.as_completed([task, asyncio.sleep(5)]):
        await first
        return


async def with_as_completed_in_time(task: "asyncio.Task[str]") -> None:
    with suppress(TimeoutError):
        for each in asyncio.as_completed([task], timeout=5):
            await each


async def with_a_cancelled_waiter(task: "asyncio.Task[str]") -> None:
    async def wait() -> None:
        await asyncio.shield(task)

    waiter = asyncio.ensure_future(wait())
    await asyncio.sleep(5)
    waiter.cancel()
    await asyncio.wait([waiter])


WAITERS = [
    with_shield,
    with_shield_under_timeout,
    with_wait,
    with_wait_for_first,
    with_gather,
    with_as_completed,
    with_as_completed_in_time,
    with_a_cancelled_waiter,
]


async def save(done: list[str]) -> str:
    await asyncio.sleep(10)
    done.append("saved")
    return "saved"


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.mark.parametrize("give_up_on", WAITERS, ids=[waiter.__name__ for waiter in WAITERS])
class TestAbandonedTask:
    """The task continues without the waiter, and belongs to the test."""

    @pytest.fixture(autouse=True)
    async def abandoned(
        self, background_tasks: BackgroundTasks, virtual_time: VirtualTime, done: list[str], give_up_on: Any
    ) -> "asyncio.Task[str]":
        background_tasks.start_capturing(save)
        task = asyncio.create_task(save(done))
        await give_up_on(task)
        assert background_tasks.captured_tasks[0].state == "started"
        return task

    async def test_run_all_async(self, background_tasks: BackgroundTasks, done: list[str]) -> None:
        assert await background_tasks.run_all_async() == ["saved"]
        assert done == ["saved"]

    async def test_run_all_sync(self, background_tasks: BackgroundTasks, done: list[str]) -> None:
        assert background_tasks.run_all_sync() == ["saved"]

    async def test_run_by_target(self, background_tasks: BackgroundTasks, done: list[str]) -> None:
        assert await background_tasks.run_async(save) == ["saved"]

    async def test_run_after_idle(self, background_tasks: BackgroundTasks, done: list[str]) -> None:
        await background_tasks.run_until_idle_async()
        assert done == []
        assert await background_tasks.run_all_async() == ["saved"]

    async def test_result_is_returned_once(self, background_tasks: BackgroundTasks, done: list[str]) -> None:
        await background_tasks.run_all_async()
        assert await background_tasks.run_all_async() == []

    async def test_cancellation_is_returned(
        self, background_tasks: BackgroundTasks, abandoned: "asyncio.Task[str]"
    ) -> None:
        abandoned.cancel()
        [result] = await background_tasks.run_all_async()
        assert isinstance(result, asyncio.CancelledError)


async def test_error_of_a_task_that_ended_meanwhile_is_raised(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime, done: list[str]
) -> None:
    async def fail() -> None:
        await asyncio.sleep(10)
        raise ConnectionError("no server")

    background_tasks.start_capturing(save, fail)
    await with_wait(asyncio.create_task(save(done)))
    await with_wait(asyncio.create_task(fail()))  # type: ignore[arg-type]
    await virtual_time.advance(20)
    with pytest.raises(ConnectionError, match="no server"):
        await background_tasks.run_all_async()


async def test_task_with_a_waiter_is_not_run(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime, done: list[str]
) -> None:
    background_tasks.start_capturing(save)
    task = asyncio.create_task(save(done))
    await with_shield(task)
    waiter = asyncio.ensure_future(asyncio.wait([task]))
    await asyncio.sleep(0)
    assert await background_tasks.run_all_async() == []
    with pytest.raises(BackgroundTaskNotFound, match="No longer held"):
        await background_tasks.run_async(save)
    await waiter
    assert done == ["saved"]


async def test_nested_running_method_does_not_wait_for_the_outer_one(
    background_tasks: BackgroundTasks, done: list[str]
) -> None:
    results: list[Any] = []

    async def outer() -> None:
        asyncio.create_task(work())
        results.append(await background_tasks.run_all_async())

    background_tasks.start_capturing(outer, work)
    task = asyncio.create_task(outer())
    await background_tasks.run_async(outer)
    assert task.done()
    assert results == [[]], "what it had started was the call's already"


async def test_running_method_resumes_a_task_after_a_timeout(
    background_tasks: BackgroundTasks, done: list[str]
) -> None:
    async def wait(event: asyncio.Event) -> str:
        await event.wait()
        return "came"

    background_tasks.start_capturing()
    event = asyncio.Event()
    asyncio.create_task(wait(event))
    with pytest.raises(TimeoutError):
        await background_tasks.run_all_async(timeout=0.01)
    event.set()
    assert await background_tasks.run_all_async() == ["came"]
