"""A held task is real, starts when another task waits for it, and outlives its loop (rules 3 to 5)."""

import asyncio
import contextvars
import functools
import gc
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_background_tasks import BackgroundTasks


async def answer(value: int = 42) -> int:
    return value


async def test_the_code_under_test_gets_a_real_task(background_tasks: BackgroundTasks) -> None:
    """It is an asyncio.Task with the real coroutine, name, loop and callbacks."""
    background_tasks.start_capturing()
    coroutine = answer()
    task = asyncio.create_task(coroutine, name="asked")
    assert isinstance(task, asyncio.Task)
    assert task.get_coro() is coroutine
    assert task.get_name() == "asked"
    assert task.get_loop() is asyncio.get_running_loop()
    assert not task.done()
    with pytest.raises(asyncio.InvalidStateError):
        task.result()
    called: list[object] = []
    task.add_done_callback(called.append)
    await background_tasks.run_all_async()
    await asyncio.sleep(0)
    assert called == [task]
    assert task.result() == 42


async def test_held_task_runs_in_the_context_of_its_creation(background_tasks: BackgroundTasks) -> None:
    """It is a copy of the creator's context, or the context that was passed."""
    user = contextvars.ContextVar("user", default="nobody")

    async def whoami() -> str:
        before = user.get()
        user.set(before.upper())
        return before

    background_tasks.start_capturing()
    user.set("ada")
    asyncio.create_task(whoami())
    own = contextvars.copy_context()
    own.run(user.set, "bob")
    asyncio.create_task(whoami(), context=own)
    user.set("eve")
    assert await background_tasks.run_all_async() == ["ada", "bob"]
    assert own[user] == "BOB"
    assert user.get() == "eve"


async def test_context_values_are_kept_by_identity(background_tasks: BackgroundTasks) -> None:
    """Each task gets the identical object that was set when it was created: the right one of two empty baskets, say."""

    class Basket(list[int]):
        def __eq__(self, other: object) -> bool:
            raise ValueError("as ambiguous as with two arrays")

        __hash__ = None  # type: ignore[assignment]

    basket = contextvars.ContextVar[list[int]]("basket")

    async def put(item: int) -> None:
        basket.get().append(item)

    background_tasks.start_capturing()
    baskets: list[list[int]] = [[], [], Basket(), Basket()]
    for number, each in enumerate(baskets):
        basket.set(each)
        asyncio.create_task(put(number))
    await background_tasks.run_all_async()
    assert [list(each) for each in baskets] == [[0], [1], [2], [3]]


async def test_context_of_the_user_is_not_modified(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    own = contextvars.Context()
    asyncio.create_task(answer(), context=own)
    await background_tasks.run_all_async()
    assert list(own) == []
    assert not [variable for variable in contextvars.copy_context() if "background" in variable.name]


async def wait_in_group(task: asyncio.Task[int]) -> int:
    async with asyncio.TaskGroup():
        return await task


async def first_completed(task: asyncio.Task[int]) -> int:
    done, _ = await asyncio.wait({task})
    return done.pop().result()


async def as_completed(task: asyncio.Task[int]) -> int:
    [result] = [await future for future in asyncio.as_completed([task])]
    return result


async def gather(task: asyncio.Task[int]) -> int:
    [result] = await asyncio.gather(task)
    return result


async def time_out(task: asyncio.Task[int]) -> int:
    async with asyncio.timeout(10):
        return await task


async def fail_after(task: asyncio.Task[int]) -> int:
    with anyio.fail_after(10):
        return await task


async def await_it(task: asyncio.Task[int]) -> int:
    return await task


@pytest.mark.parametrize(
    "wait",
    [
        await_it,
        gather,
        first_completed,
        as_completed,
        wait_in_group,
        time_out,
        fail_after,
        asyncio.shield,
        functools.partial(asyncio.wait_for, timeout=10),
        asyncio.wrap_future,
    ],
    ids=lambda wait: getattr(wait, "__name__", "wait_for"),
)
async def test_waiting_for_a_held_task_starts_it(
    background_tasks: BackgroundTasks, wait: Callable[[asyncio.Task[int]], Awaitable[int]]
) -> None:
    """Every way of waiting that asyncio knows starts a held task."""
    background_tasks.start_capturing()
    task = asyncio.create_task(answer())
    assert background_tasks.captured_tasks[0].state == "held"
    assert await wait(task) == 42
    assert background_tasks.captured_tasks[0].state == "done"
    assert background_tasks.held_tasks == []
    assert await background_tasks.run_all_async() == []


def test_run_until_complete_starts_a_held_task(background_tasks: BackgroundTasks) -> None:
    """``run_until_complete(task)`` counts as waiting."""
    loop = asyncio.new_event_loop()
    background_tasks.start_capturing()
    assert loop.run_until_complete(loop.create_task(answer())) == 42
    loop.close()


async def test_done_callback_does_not_start_a_held_task(background_tasks: BackgroundTasks) -> None:
    """A set that keeps a reference, or a callback that cancels another task, does not start it."""
    background_tasks.start_capturing()
    references: set[asyncio.Task[int]] = set()
    task = asyncio.create_task(answer())
    references.add(task)
    task.add_done_callback(references.discard)
    other = asyncio.create_task(answer())
    task.add_done_callback(lambda _: other.cancel())
    task.add_done_callback(other.cancel)  # type: ignore[arg-type]
    for _ in range(5):
        await asyncio.sleep(0)
    assert [captured.state for captured in background_tasks.captured_tasks] == ["held", "held"]
    background_tasks.reset()
    await asyncio.sleep(0)
    assert references == set()


async def test_awaited_held_task_is_scheduled_behind_the_ready_ones(background_tasks: BackgroundTasks) -> None:
    """It starts as if it had been created when the other task began to wait for it."""
    order: list[str] = []

    async def note(name: str) -> None:
        order.append(name)

    background_tasks.start_capturing()
    held = asyncio.create_task(note("held"))
    background_tasks.stop_capturing()
    before = asyncio.create_task(note("before"))
    waiting = asyncio.gather(held)
    after = asyncio.create_task(note("after"))
    await asyncio.gather(before, waiting, after)
    assert order == ["before", "held", "after"]


async def test_a_cancelled_held_task_ends_cancelled_without_having_run(background_tasks: BackgroundTasks) -> None:
    ran: list[int] = []

    async def job() -> None:
        ran.append(1)

    background_tasks.start_capturing()
    task = asyncio.create_task(job())
    assert task.cancel("enough")
    assert task.cancelling() == 1
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert ran == []
    assert background_tasks.captured_tasks[0].state == "cancelled"


async def test_cancelled_held_task_ends_without_being_awaited(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(answer())
    task.cancel()
    assert background_tasks.captured_tasks[0].state == "cancelled"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.cancelled()
    assert await background_tasks.run_all_async() == []


async def test_waiter_of_a_cancelled_task_gets_cancelled_error(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(asyncio.sleep(3600))
    waiting = asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    task.cancel()
    [outcome] = await waiting
    assert isinstance(outcome, asyncio.CancelledError)


async def test_held_task_without_references_is_kept_alive(background_tasks: BackgroundTasks) -> None:
    """A held task is kept when its creator drops it and the garbage collector runs."""
    background_tasks.start_capturing()
    asyncio.create_task(answer())
    gc.collect()
    assert await background_tasks.run_all_async() == [42]


async def test_a_held_task_is_not_among_all_tasks(background_tasks: BackgroundTasks) -> None:
    """Code that cancels all tasks does not reach it until it has started."""
    background_tasks.start_capturing()
    task = asyncio.create_task(asyncio.sleep(3600))
    assert task not in asyncio.all_tasks()
    waiting = asyncio.gather(task, return_exceptions=True)
    assert task in asyncio.all_tasks()
    task.cancel()
    await waiting


def test_held_task_survives_its_loop(background_tasks: BackgroundTasks) -> None:
    """A task that ``asyncio.run`` left held runs afterwards, in its context; the original task gets the outcome."""
    user = contextvars.ContextVar("user", default="nobody")

    async def job(fail: bool) -> str:
        await asyncio.sleep(0)
        if fail:
            raise ValueError("failed")
        return user.get()

    async def main() -> list[asyncio.Task[str]]:
        user.set("ada")
        return [asyncio.create_task(job(fail)) for fail in (False, True)]

    background_tasks.start_capturing()
    good, bad = asyncio.run(main())
    assert [task.state for task in background_tasks.captured_tasks] == ["held", "held"]
    result, error = background_tasks.run_all_sync(return_exceptions=True)
    assert result == good.result() == "ada"
    assert error is bad.exception()
    assert "its loop was closed before the test ran the task" in "".join(error.__notes__)
    assert [task.state for task in background_tasks.captured_tasks] == ["done", "failed"]


def test_callbacks_of_a_closed_loop_are_not_called(background_tasks: BackgroundTasks) -> None:
    called: list[object] = []

    async def main() -> None:
        asyncio.create_task(answer()).add_done_callback(called.append)

    background_tasks.start_capturing()
    asyncio.run(main())
    assert background_tasks.run_all_sync() == [42]
    assert called == []


def test_futures_of_a_closed_loop_cannot_be_awaited(background_tasks: BackgroundTasks) -> None:
    """A future of the closed loop cannot be awaited on another loop; a note says why the task runs there."""

    async def wait_for(future: asyncio.Future[None]) -> None:
        await future

    async def main() -> None:
        asyncio.create_task(wait_for(asyncio.get_running_loop().create_future()))

    background_tasks.start_capturing()
    asyncio.run(main())
    with pytest.raises(RuntimeError, match="attached to a different loop") as caught:
        background_tasks.run_all_sync()
    assert "locks, connections and futures that belong to the closed loop" in "".join(caught.value.__notes__)


def test_task_of_a_closed_loop_can_be_cancelled(background_tasks: BackgroundTasks) -> None:
    """A held task ends at once; after it has moved to another loop, the cancellation follows it there."""

    async def cancel(task: asyncio.Task[Any]) -> None:
        task.cancel()

    async def main() -> list[asyncio.Task[Any]]:
        sleeper = asyncio.create_task(asyncio.sleep(3600))
        asyncio.create_task(cancel(sleeper))
        return [sleeper, asyncio.create_task(asyncio.sleep(3600))]

    background_tasks.start_capturing()
    moved, held = asyncio.run(main())
    assert held.cancel()
    assert held.cancelled()
    outcome, _ = background_tasks.run_all_sync()
    assert isinstance(outcome, asyncio.CancelledError)
    assert moved.cancelled()


async def test_task_of_a_closed_loop_runs_on_the_loop_of_the_async_test(background_tasks: BackgroundTasks) -> None:
    async def which_loop() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    async def main() -> None:
        asyncio.create_task(which_loop())

    background_tasks.start_capturing()
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert await background_tasks.run_all_async() == [asyncio.get_running_loop()]


def test_tasks_created_by_concurrent_threads_are_captured_once(background_tasks: BackgroundTasks) -> None:
    """The tasks of all threads are captured, each exactly once."""
    background_tasks.start_capturing()
    barrier = threading.Barrier(4)

    async def main(number: int) -> None:
        barrier.wait()
        for index in range(100):
            asyncio.create_task(answer(number * 100 + index))

    threads = [threading.Thread(target=lambda number=number: asyncio.run(main(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(background_tasks.run_all_sync()) == list(range(400))


def test_task_of_a_third_party_runner_is_not_captured(background_tasks: BackgroundTasks, tmp_path: Path) -> None:
    """Library code that creates a task outside a running loop is about to run the loop for it."""
    runner: dict[str, Any] = {}
    source = "def run(loop, coroutine):\n    loop.run_until_complete(ensure_future(coroutine, loop=loop))"
    exec(compile(source, str(tmp_path / "site-packages" / "runner.py"), "exec"), runner)
    runner["ensure_future"] = asyncio.ensure_future

    async def main() -> int:
        asyncio.create_task(answer())
        return background_tasks.task_count

    background_tasks.start_capturing()
    loop = asyncio.new_event_loop()
    runner["run"](loop, main())
    loop.close()
    assert [task.function for task in background_tasks.captured_tasks] == ["answer"]
    background_tasks.reset()


def test_create_task_is_captured_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    """No loop is needed; a later asyncio.run in the same test works."""
    background_tasks.start_capturing()
    task = asyncio.create_task(answer(1))
    assert background_tasks.task_count == 1

    async def main() -> int:
        asyncio.create_task(answer(3))
        return await asyncio.sleep(0, 2)

    assert asyncio.run(main()) == 2
    assert background_tasks.run_all_sync() == [1, 3]
    assert task.result() == 1


def test_other_calls_without_a_loop_raise_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    """No loop exists where production has none: in other threads, for other calls, after stop_capturing."""
    background_tasks.start_capturing()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.timeout(1).reschedule(0)
    errors: list[BaseException] = []

    def in_thread() -> None:
        coroutine = answer()
        try:
            asyncio.create_task(coroutine)
        except RuntimeError as error:
            errors.append(error)
        coroutine.close()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    in_thread_error = str(errors[0])
    assert in_thread_error == "no running event loop"
    background_tasks.stop_capturing()
    in_thread()
    assert len(errors) == 2


def test_create_task_of_an_ignored_function_raises_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing(ignore=answer)
    coroutine = answer()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.create_task(coroutine)
    coroutine.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_a_held_task_is_not_eager(background_tasks: BackgroundTasks) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    ran: list[int] = []

    async def job() -> None:
        ran.append(1)

    background_tasks.start_capturing()
    task = asyncio.create_task(job())
    assert ran == []
    assert not task.done()
    await background_tasks.run_all_async()
    assert ran == [1]
    assert loop.get_task_factory() is asyncio.eager_task_factory


@pytest.mark.skipif(sys.version_info < (3, 14), reason="eager_start came with 3.14")
async def test_task_with_eager_start_is_held(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(answer(), eager_start=True)  # type: ignore[call-arg]
    assert not task.done()
    assert background_tasks.captured_tasks[0].kwargs == {"eager_start": True}
    assert await background_tasks.run_all_async() == [42]


async def test_held_tasks_run_in_debug_mode(background_tasks: BackgroundTasks) -> None:
    """asyncio's debug mode reports nothing."""
    asyncio.get_running_loop().set_debug(True)
    background_tasks.start_capturing()
    asyncio.create_task(answer())
    assert await background_tasks.run_all_async() == [42]
    asyncio.create_task(answer())
    assert background_tasks.run_all_sync() == [42]


def test_started_task_of_a_closed_loop_is_cancelled_silently(
    background_tasks: BackgroundTasks,
) -> None:
    """If a runner does not cancel pending tasks, the task ends after callbacks can no longer be scheduled."""
    loop = asyncio.new_event_loop()
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def main() -> None:
        background_tasks.start_capturing()
        asyncio.create_task(queue.get())
        await background_tasks.run_until_idle_async()

    loop.run_until_complete(main())
    loop.close()
    [captured] = background_tasks.captured_tasks
    background_tasks.reset()
    assert captured.state == "cancelled"


async def test_call_soon_during_task_creation_is_not_lost(background_tasks: BackgroundTasks) -> None:
    """Here, creating the name of the task schedules a callback."""
    calls: list[str] = []

    class Name:
        def __str__(self) -> str:
            asyncio.get_running_loop().call_soon(calls.append, "called")
            return "named"

    background_tasks.start_capturing()
    task = asyncio.create_task(asyncio.sleep(0), name=Name())  # type: ignore[arg-type]
    assert task.get_name() == "named"
    await asyncio.sleep(0)
    assert "called" in calls
    assert await background_tasks.run_all_async() == [None]
