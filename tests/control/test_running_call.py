"""Running held tasks: results, failures, limits, and the synchronous call in every place (rules 7 and 8)."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI
from starlette.testclient import TestClient

from pytest_background_tasks import (
    BackgroundTaskNotFound,
    BackgroundTasks,
    BackgroundTasksError,
    BackgroundTasksTimeout,
    TooManyBackgroundTasks,
)
from pytest_background_tasks._control import running_call as run_module


async def answer(value: int = 42) -> int:
    await asyncio.sleep(0)
    return value


async def fail(message: str) -> None:
    raise ValueError(message)


async def test_results_come_in_creation_order(background_tasks: BackgroundTasks) -> None:
    """Results are in creation order, whatever order the tasks end in."""

    async def last_first(position: int) -> int:
        for _ in range(10 - position):
            await asyncio.sleep(0)
        return position

    background_tasks.start_capturing()
    for position in range(5):
        asyncio.create_task(last_first(position))
    assert await background_tasks.run_all_async() == [0, 1, 2, 3, 4]


async def test_running_without_held_tasks_returns_no_results(background_tasks: BackgroundTasks) -> None:
    assert await background_tasks.run_all_async() == []
    assert background_tasks.run_all_sync() == []
    background_tasks.start_capturing()
    assert await background_tasks.run_all_async() == []


async def test_each_task_runs_only_once(background_tasks: BackgroundTasks) -> None:
    ran: list[int] = []

    async def job() -> None:
        ran.append(1)

    background_tasks.start_capturing()
    asyncio.create_task(job())
    await background_tasks.run_all_async()
    assert await background_tasks.run_all_async() == []
    assert background_tasks.run_all_sync() == []
    assert ran == [1]
    assert background_tasks.task_count == 1


async def test_child_tasks_run_too(background_tasks: BackgroundTasks) -> None:
    """A task may be started directly, in a group, from a callback or from a thread; its result follows."""
    loop = asyncio.get_running_loop()

    async def parent() -> str:
        asyncio.create_task(child("direct"))
        async with asyncio.TaskGroup() as group:
            group.create_task(helper())
        loop.call_soon(lambda: asyncio.create_task(child("callback")))
        await asyncio.to_thread(asyncio.run_coroutine_threadsafe, child("thread"), loop)
        return "parent"

    async def helper() -> None:
        asyncio.create_task(child("group"))

    async def child(name: str) -> str:
        return name

    background_tasks.start_capturing()
    asyncio.create_task(parent())
    first, *others = await background_tasks.run_all_async()
    assert first == "parent"
    assert sorted(others) == ["callback", "direct", "group", "thread"]
    assert background_tasks.task_count == 5


async def test_child_tasks_of_a_task_with_its_own_context_run_too(background_tasks: BackgroundTasks) -> None:
    async def parent() -> None:
        asyncio.create_task(answer())

    background_tasks.start_capturing()
    asyncio.create_task(parent(), context=contextvars.Context())
    assert await background_tasks.run_all_async() == [None, 42]


async def test_child_tasks_are_not_captured_after_stop_capturing(background_tasks: BackgroundTasks) -> None:
    started: list[asyncio.Task[int]] = []

    async def parent() -> None:
        started.append(asyncio.create_task(answer()))

    background_tasks.start_capturing()
    asyncio.create_task(parent())
    background_tasks.stop_capturing()
    assert await background_tasks.run_all_async() == [None]
    assert background_tasks.task_count == 1
    assert await started[0] == 42


async def test_tasks_started_by_others_during_a_run_stay_held(background_tasks: BackgroundTasks) -> None:
    """A task that the test itself runs during the call is not a child of the tasks that are run."""

    async def bystander() -> None:
        asyncio.create_task(answer(2))

    background_tasks.start_capturing()
    asyncio.create_task(answer(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(bystander())
        assert await background_tasks.run_all_async() == [1]
    assert await background_tasks.run_all_async() == [2]


async def test_run_async_runs_only_matching_tasks(background_tasks: BackgroundTasks) -> None:
    """Tasks that the matching ones start run as well; the others stay held."""

    async def parent() -> str:
        asyncio.create_task(answer(2))
        return "parent"

    background_tasks.start_capturing()
    asyncio.create_task(answer(1), name="first")
    asyncio.create_task(parent())
    asyncio.create_task(answer(3), name="third")
    assert await background_tasks.run_async(parent) == ["parent", 2]
    assert [task.name for task in background_tasks.held_tasks] == ["first", "third"]
    assert background_tasks.run_sync("third", lambda task: task.name == "first") == [1, 3]
    assert background_tasks.held_tasks == []


async def test_run_async_without_a_match_lists_held_tasks(background_tasks: BackgroundTasks) -> None:
    """The error lists the held tasks."""
    background_tasks.start_capturing()
    asyncio.create_task(answer(7), name="the-answer")
    with pytest.raises(
        BackgroundTaskNotFound, match=r"run_async\('mail\*'\) matches nothing; held:\n.*the-answer"
    ) as caught:
        await background_tasks.run_async("mail*")
    assert "answer(value=7)" in str(caught.value)
    with pytest.raises(BackgroundTaskNotFound, match="run_sync"):
        background_tasks.run_sync(fail)
    with pytest.raises(TypeError, match="needs a target; to run all held tasks:  .*run_all_sync()"):
        background_tasks.run_sync()
    await background_tasks.run_all_async()
    with pytest.raises(BackgroundTaskNotFound, match="held: nothing"):
        await background_tasks.run_async(answer)


async def test_one_failure_is_raised_unwrapped_after_the_other_tasks_have_run(
    background_tasks: BackgroundTasks,
) -> None:
    """A note names the task and the line that created it."""
    background_tasks.start_capturing()
    asyncio.create_task(fail("no"), name="failing")
    survivor = asyncio.create_task(answer())
    with pytest.raises(ValueError, match="no") as caught:
        await background_tasks.run_all_async()
    assert survivor.result() == 42
    [note] = caught.value.__notes__
    assert note.startswith("in background task failing (fail), created at tests/control/test_running_call.py:")
    assert "test_one_failure_is_raised" in note
    assert [task.state for task in background_tasks.captured_tasks] == ["failed", "done"]


async def test_several_failures_come_in_a_group_in_creation_order(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    for message in ("first", "second"):
        asyncio.create_task(fail(message))
    with pytest.raises(ExceptionGroup, match="background tasks failed") as caught:
        background_tasks.run_all_sync()
    assert [str(error) for error in caught.value.exceptions] == ["first", "second"]
    assert all(error.__notes__ for error in caught.value.exceptions)


async def test_return_exceptions_returns_failures_as_results(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(answer(1))
    asyncio.create_task(fail("no"))
    result, error = await background_tasks.run_all_async(return_exceptions=True)
    assert result == 1
    assert isinstance(error, ValueError)


async def test_pytest_fail_in_a_task_is_raised(background_tasks: BackgroundTasks) -> None:
    """``pytest.fail`` does not raise an Exception, but counts as a failure."""

    async def check() -> None:
        pytest.fail("not good")

    background_tasks.start_capturing()
    asyncio.create_task(check())
    with pytest.raises(pytest.fail.Exception, match="not good"):
        await background_tasks.run_all_async()


async def test_cancellation_is_a_result(background_tasks: BackgroundTasks) -> None:
    """A task that cancels itself, or that the code under test cancels, has not failed."""

    async def give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("given up")
        await asyncio.sleep(0)

    async def stop(task: asyncio.Task[Any]) -> None:
        task.cancel()

    background_tasks.start_capturing()
    asyncio.create_task(give_up())
    sleeper = asyncio.create_task(asyncio.sleep(3600))
    asyncio.create_task(stop(sleeper))
    given_up, stopped, nothing = await background_tasks.run_all_async()
    assert isinstance(given_up, asyncio.CancelledError)
    assert given_up.args == ("given up",)
    assert isinstance(stopped, asyncio.CancelledError)
    assert nothing is None


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("synchronous", [False, True], ids=["async", "sync"])
async def test_timeout_names_unfinished_tasks_and_where_they_wait(
    background_tasks: BackgroundTasks, synchronous: bool
) -> None:
    """The timeout error names each unfinished task and the line where it waits."""
    background_tasks.start_capturing()
    asyncio.create_task(answer())
    asyncio.create_task(never(), name="endless")
    with pytest.raises(BackgroundTasksTimeout) as caught:
        if synchronous:
            background_tasks.run_all_sync(timeout=0.05)
        else:
            await background_tasks.run_all_async(timeout=0.05)
    message = str(caught.value)
    assert "1 background task did not end within 0.05 s" in message
    assert "never (endless, created at tests/control/test_running_call.py:" in message
    assert f"waits at tests/control/test_running_call.py:{never.__code__.co_firstlineno + 1} in never" in message
    assert isinstance(caught.value, TimeoutError)


async def test_timeout_does_not_hide_a_failure(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(never())
    asyncio.create_task(fail("also"))
    with pytest.raises(BackgroundTasksTimeout) as caught:
        await background_tasks.run_all_async(timeout=0.05)
    assert isinstance(caught.value.__cause__, ValueError)


def test_timeout_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(never())
    with pytest.raises(BackgroundTasksTimeout, match="never"):
        background_tasks.run_all_sync(timeout=0.05)


async def test_timeout_can_be_disabled(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(answer())
    assert await background_tasks.run_all_async(timeout=None) == [42]


@pytest.mark.parametrize("timeout", [-1, 0, "soon", True])
async def test_invalid_timeout_is_rejected(background_tasks: BackgroundTasks, timeout: Any) -> None:
    """A wrong timeout is rejected before any task runs."""
    background_tasks.start_capturing()
    asyncio.create_task(answer())
    with pytest.raises(ValueError, match=r"timeout=.* a positive number of seconds, or None"):
        await background_tasks.run_all_async(timeout=timeout)
    assert len(background_tasks.held_tasks) == 1


async def test_timeout_is_measured_in_real_time(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop whose clock runs ahead does not end the call early."""
    loop = asyncio.get_running_loop()
    ahead = 0.0

    def fast() -> float:
        nonlocal ahead
        ahead += 1
        return time.monotonic() + ahead

    async def slow() -> str:
        for _ in range(100):
            await asyncio.sleep(0.5)
        return "ended"

    monkeypatch.setattr(loop, "time", fast)
    background_tasks.start_capturing()
    asyncio.create_task(slow())
    asyncio.create_task(slow())
    assert await background_tasks.run_all_async(timeout=10) == ["ended"] * 2


async def test_endless_chain_of_tasks_is_detected(background_tasks: BackgroundTasks) -> None:
    """A limit on the number of tasks that one call runs stops it, and the error names it."""
    rounds = 0

    async def again() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.create_task(again())

    background_tasks.start_capturing()
    asyncio.create_task(again())
    with pytest.raises(
        TooManyBackgroundTasks, match=r"again 10001 times, next at tests/control/test_running_call.py:\d+ in"
    ):
        await background_tasks.run_all_async()
    assert rounds == run_module.STARTED_IN_TURN + 1
    assert len(background_tasks.held_tasks) == 1


async def test_tasks_beyond_the_limit_stay_held(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tasks from the first one beyond the limit on stay held."""
    monkeypatch.setattr(run_module, "STARTED_IN_TURN", 10)

    async def two_more() -> None:
        asyncio.create_task(two_more())
        asyncio.create_task(two_more())

    background_tasks.start_capturing()
    asyncio.create_task(two_more())
    with pytest.raises(TooManyBackgroundTasks, match="two_more 11 times"):
        await background_tasks.run_all_async()
    assert (background_tasks.task_count, len(background_tasks.held_tasks)) == (23, 12)


async def test_held_tasks_do_not_count_towards_the_limit(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "STARTED_IN_TURN", 10)
    background_tasks.start_capturing()
    for number in range(20):
        asyncio.create_task(answer(number))
    assert await background_tasks.run_all_async() == list(range(20))


async def test_run_all_sync_in_a_running_test_with_other_ready_tasks(background_tasks: BackgroundTasks) -> None:
    """Ten other tasks that are ready in the same iteration of the loop run as well, each exactly once."""
    order: list[int] = []

    async def other(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0)
        order.append(number)

    others = [asyncio.create_task(other(number)) for number in range(5)]
    callbacks: list[int] = []
    for number in range(5):
        asyncio.get_running_loop().call_soon(callbacks.append, number)
    background_tasks.start_capturing()
    asyncio.create_task(answer(1))
    me = asyncio.current_task()
    assert background_tasks.run_all_sync() == [1]
    assert asyncio.current_task() is me
    await asyncio.gather(*others)
    assert sorted(order) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert callbacks == [0, 1, 2, 3, 4]


async def test_run_all_sync_inside_a_callback(background_tasks: BackgroundTasks) -> None:
    """In a callback, no task is current."""
    results: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def callback() -> None:
        results.set_result(background_tasks.run_all_sync())

    background_tasks.start_capturing()
    asyncio.create_task(answer())
    asyncio.get_running_loop().call_soon(callback)
    assert await results == [42]


async def test_run_all_sync_waits_for_timers_threads_and_sockets(
    background_tasks: BackgroundTasks,
) -> None:
    async def job() -> bytes:
        await asyncio.sleep(0.01)
        await asyncio.to_thread(time.monotonic)
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            echoed = await reader.read(1)
            writer.close()
            await writer.wait_closed()
        return echoed

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))
        writer.close()

    background_tasks.start_capturing()
    asyncio.create_task(job())
    assert background_tasks.run_all_sync() == [b"x"]


def test_run_all_sync_runs_tasks_on_several_loops(background_tasks: BackgroundTasks) -> None:
    """One call runs tasks of a def test's loop, a closed loop, an idle loop and a TestClient's loop."""
    app = FastAPI()

    @app.get("/")
    async def root() -> None:
        asyncio.create_task(answer(4))

    async def main() -> None:
        asyncio.create_task(answer(2))

    background_tasks.start_capturing()
    asyncio.create_task(answer(1))
    asyncio.run(main())
    idle = asyncio.new_event_loop()
    idle.create_task(answer(3))
    with TestClient(app) as client:
        client.get("/")
        assert background_tasks.run_all_sync() == [1, 2, 3, 4]
    idle.close()


async def test_run_all_async_runs_tasks_on_several_loops(background_tasks: BackgroundTasks) -> None:
    """An async test, whose loop cannot run the other loops, can do the same."""
    app = FastAPI()

    @app.get("/")
    async def root() -> None:
        asyncio.create_task(answer(2))

    background_tasks.start_capturing()
    asyncio.create_task(answer(1))
    with TestClient(app) as client:
        client.get("/")
        idle = asyncio.new_event_loop()
        idle.create_task(answer(3))
        assert await background_tasks.run_all_async() == [1, 2, 3]
    idle.close()
    assert asyncio.get_running_loop().is_running()


def test_held_tasks_survive_the_client(background_tasks: BackgroundTasks) -> None:
    app = FastAPI()

    @app.get("/")
    async def root() -> None:
        asyncio.create_task(answer())

    background_tasks.start_capturing()
    with TestClient(app) as client:
        client.get("/")
    assert background_tasks.run_all_sync() == [42]


def test_stopping_the_loop_during_a_run_is_an_error(background_tasks: BackgroundTasks) -> None:
    """Its task can never end; the call says so at once."""
    background_tasks.start_capturing()
    loop = asyncio.new_event_loop()

    async def cut() -> None:
        loop.stop()
        await asyncio.sleep(0)
        await never()

    task = loop.create_task(cut())
    with pytest.raises(RuntimeError, match="stopped before"):
        background_tasks.run_all_sync()
    loop.close()
    assert background_tasks.captured_tasks[0].state == "started"
    assert not task.done()


def on_uvloop(test: Callable[[], Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(test())


def test_run_all_sync_inside_a_running_uvloop(background_tasks: BackgroundTasks) -> None:
    """Tasks run if they need neither timers nor I/O, but only queues, events and yields."""

    async def test() -> list[Any]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)

        async def put() -> str:
            for number in range(3):
                await queue.put(number)
            asyncio.create_task(answer(3))
            return "put"

        async def get() -> list[int]:
            return [await queue.get() for _ in range(3)]

        background_tasks.start_capturing()
        asyncio.create_task(put())
        asyncio.create_task(get())
        results = background_tasks.run_all_sync()
        await asyncio.sleep(0)
        return results

    assert on_uvloop(test) == ["put", [0, 1, 2], 3]


def test_timers_cannot_run_synchronously_inside_a_running_uvloop(background_tasks: BackgroundTasks) -> None:
    """A timer cannot be waited for: the error says so, and names the call that can."""

    async def sleep() -> str:
        await asyncio.sleep(0.001)
        return "slept"

    async def test() -> None:
        background_tasks.start_capturing()
        task = asyncio.create_task(sleep())
        with pytest.raises(
            BackgroundTasksError, match=r"sleep .* waits at (?s:.*)uvloop cannot (?s:.*)await .*run_all_async()"
        ):
            background_tasks.run_all_sync()
        assert await task == "slept"

    on_uvloop(test)


def test_run_all_sync_on_a_uvloop_that_is_not_running(background_tasks: BackgroundTasks) -> None:
    """A uvloop that is not running is run like any other loop."""
    background_tasks.start_capturing()
    loop = uvloop.new_event_loop()

    async def job() -> str:
        await asyncio.sleep(0.001)
        return "slept"

    loop.create_task(job())
    assert background_tasks.run_all_sync() == ["slept"]
    loop.close()


async def test_reset_discards_held_tasks(background_tasks: BackgroundTasks) -> None:
    """Held tasks never run, and end cancelled."""
    ran: list[int] = []

    async def job() -> None:
        ran.append(1)

    background_tasks.start_capturing()
    task = asyncio.create_task(job())
    background_tasks.reset()
    assert task.cancelled()
    assert background_tasks.task_count == 0
    assert await background_tasks.run_all_async() == []
    asyncio.create_task(answer())
    assert await background_tasks.run_all_async() == [42]
    assert ran == []


async def test_reset_cancels_started_tasks(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(never())
    with pytest.raises(BackgroundTasksTimeout):
        await background_tasks.run_all_async(timeout=0.01)
    background_tasks.reset()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_reset_during_a_run_ends_the_run(background_tasks: BackgroundTasks) -> None:
    """A task that calls reset during a run ends the run; nothing hangs."""

    async def reset() -> None:
        background_tasks.reset()
        await asyncio.sleep(0)

    background_tasks.start_capturing()
    asyncio.create_task(reset())
    asyncio.create_task(never())
    results = await background_tasks.run_all_async()
    assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError]
    assert background_tasks.task_count == 0


@pytest.mark.parametrize("name", ["run", "run_all", "run_until_idle", "step"])
def test_method_name_without_suffix_suggests_the_existing_ones(background_tasks, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"no {name}\(\).* await background_tasks.{name}_async\(.*{name}_sync\("):
        getattr(background_tasks, name)


def test_unknown_attribute_raises_the_usual_attribute_error(background_tasks) -> None:
    with pytest.raises(AttributeError, match="'BackgroundTasks' object has no attribute 'run_everything'"):
        background_tasks.run_everything()


def test_blocked_task_of_a_closed_loop_times_out_at_once(background_tasks: BackgroundTasks) -> None:
    """The task can never end; the call says so at once."""
    background_tasks.start_capturing()
    loop = asyncio.new_event_loop()
    loop.create_task(never())
    background_tasks.run_until_idle_sync()
    loop.close()
    with pytest.raises(BackgroundTasksTimeout, match=r"never .* its loop was closed while it ran"):
        background_tasks.run_all_sync()
