"""step runs exactly one step of one task, and each further step only on request."""

import asyncio
import threading
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
    DeadlockError,
    VirtualTime,
)

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def counting(log: list[int], name: str = "") -> Callable[[], Any]:
    async def count() -> str:
        for number in range(3):
            log.append(number)
            await asyncio.sleep(0)
        return "counted"

    return count


@LOOPS
@pytest.mark.parametrize("way", ["async", "sync"])
def test_one_step_at_a_time(background_tasks: BackgroundTasks, new_loop: Any, way: str) -> None:
    """Between steps, the task stays suspended, whatever else the test awaits; at its end, it has its result."""
    log: list[int] = []
    count = counting(log)

    async def main() -> None:
        background_tasks.start_capturing()
        task = asyncio.create_task(count())
        for expected in ([0], [0, 1], [0, 1, 2]):
            stepped = await background_tasks.step_async(count) if way == "async" else background_tasks.step_sync(count)
            assert log == expected
            assert stepped.state == "started"
            assert stepped.suspended_at is not None
            assert stepped.suspended_at.waiting_for == "its next turn in the event loop"
            for _ in range(5):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            assert log == expected
        stepped = await background_tasks.step_async(task)
        assert (stepped.state, stepped.result(), task.result()) == ("done", "counted", "counted")

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_step_sync_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    log: list[int] = []
    background_tasks.start_capturing()
    task = asyncio.create_task(counting(log)())
    background_tasks.step_sync(task)
    background_tasks.step_sync(task)
    assert log == [0, 1]
    assert background_tasks.run_all_sync() == ["counted"]
    assert log == [0, 1, 2]


async def test_stepping_two_tasks_reproduces_a_lost_update(background_tasks: BackgroundTasks) -> None:
    """The test runs a lost update step by step."""
    account = {"balance": 0}

    async def deposit(amount: int) -> None:
        balance = account["balance"]
        await asyncio.sleep(0)
        account["balance"] = balance + amount

    background_tasks.start_capturing()
    one, two = asyncio.create_task(deposit(10)), asyncio.create_task(deposit(5))
    for task in (one, two, one, two):
        await background_tasks.step_async(task)
    assert account["balance"] == 5


async def test_step_of_a_ready_task_runs_no_other_task(background_tasks: BackgroundTasks) -> None:
    others: list[int] = []

    async def other() -> None:
        others.append(1)

    log: list[int] = []
    background_tasks.start_capturing(ignore=other)
    count = counting(log)
    asyncio.create_task(count())
    other_task = asyncio.create_task(other())
    await background_tasks.step_async(count)
    background_tasks.step_sync(count)
    assert (log, others) == ([0, 1], [])
    await other_task


async def test_step_async_waits_until_a_blocked_task_is_ready(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime
) -> None:
    """step waits for a timer, a thread or another task."""

    async def job() -> str:
        await asyncio.sleep(60)
        await asyncio.to_thread(gate.wait)
        return "done"

    gate = threading.Event()
    background_tasks.start_capturing()
    asyncio.create_task(job())
    waits = [(await background_tasks.step_async(job)).suspended_at for _ in range(2)]
    assert [wait and wait.waiting_for for wait in waits] == [
        "a sleep of 60 s (60 s left)",
        "a thread that runs Event.wait",
    ]
    assert virtual_time.now == 60
    gate.set()
    assert (await background_tasks.step_async(job)).result() == "done"


def test_step_sync_waits_until_a_blocked_task_is_ready(background_tasks: BackgroundTasks) -> None:
    async def job() -> str:
        await asyncio.sleep(0.01)
        return "done"

    async def main() -> None:
        asyncio.create_task(job())
        background_tasks.step_sync(job)
        assert background_tasks.step_sync(job).result() == "done"

    background_tasks.start_capturing()
    asyncio.create_task(job())
    background_tasks.step_sync(job)
    assert background_tasks.step_sync(job).result() == "done"
    asyncio.run(main())


def test_step_sync_cannot_wait_on_uvloop(background_tasks: BackgroundTasks) -> None:
    async def job() -> None:
        await asyncio.sleep(0.01)

    async def main() -> None:
        background_tasks.start_capturing()
        asyncio.create_task(job())
        background_tasks.step_sync(job)
        with pytest.raises(
            BackgroundTasksError, match=r"(?s)uvloop cannot wait for that.*await background_tasks.step_a"
        ):
            background_tasks.step_sync(job)
        assert (await background_tasks.step_async(job)).state == "done"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_started_task_is_stopped_at_its_next_step(background_tasks: BackgroundTasks) -> None:
    """This holds whether its next step is already scheduled, or it waits."""
    log: list[int] = []
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()
        log.append(-1)
        await asyncio.sleep(0)
        log.append(-2)

    count = counting(log)
    background_tasks.start_capturing()
    asyncio.create_task(count())
    await background_tasks.run_until_idle_async()
    assert log == [0, 1, 2]
    log.clear()
    with background_tasks.capturing():
        asyncio.create_task(count(), name="queued").add_done_callback(list)
    background_tasks.captured("queued")[0].task.release()  # as a running method does
    await background_tasks.step_async("queued")
    assert log == [0]
    await background_tasks.run_until_idle_async()
    asyncio.create_task(wait())
    await background_tasks.run_until_idle_async()
    assert log == [0, 1, 2]
    gate.set()
    await background_tasks.step_async(wait)
    assert log == [0, 1, 2, -1]


async def test_running_methods_resume_a_stopped_task(background_tasks: BackgroundTasks) -> None:
    log: list[int] = []
    background_tasks.start_capturing()
    for verb in (background_tasks.run_all_async, background_tasks.run_until_idle_async):
        log.clear()
        count = counting(log)
        asyncio.create_task(count())
        await background_tasks.step_async(count)
        await verb()
        assert log == [0, 1, 2]


@pytest.mark.parametrize("way", [asyncio.gather, asyncio.wait_for, asyncio.shield, None])
async def test_waiting_for_a_stopped_task_resumes_it(background_tasks: BackgroundTasks, way: Any) -> None:
    log: list[int] = []
    background_tasks.start_capturing()
    task = asyncio.create_task(counting(log)())
    await background_tasks.step_async(task)
    result = await (task if way is None else way(task, 5) if way is asyncio.wait_for else way(task))
    assert result in ("counted", ["counted"])
    assert log == [0, 1, 2]


async def test_cancelling_a_stopped_task_ends_it(background_tasks: BackgroundTasks) -> None:
    """This holds whether it was ready, or waits."""
    log: list[int] = []

    async def wait() -> None:
        await asyncio.Event().wait()

    background_tasks.start_capturing()
    for coroutine in (counting(log)(), wait()):
        task = asyncio.create_task(coroutine)
        await background_tasks.step_async(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert log == [0]


async def test_failing_step_raises_the_exception_of_the_task(background_tasks: BackgroundTasks) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    background_tasks.start_capturing()
    asyncio.create_task(fail())
    await background_tasks.step_async(fail)
    with pytest.raises(ValueError, match="no") as caught:
        await background_tasks.step_async(fail)
    assert any("in background task" in note for note in caught.value.__notes__)
    assert background_tasks.captured_tasks[0].state == "failed"


async def test_child_tasks_of_a_step_stay_held(background_tasks: BackgroundTasks) -> None:
    async def child() -> None: ...

    async def parent() -> None:
        asyncio.create_task(child())
        await asyncio.sleep(0)

    background_tasks.start_capturing()
    asyncio.create_task(parent())
    await background_tasks.step_async(parent)
    assert [task.state for task in background_tasks.captured(child)] == ["held"]
    await background_tasks.run_all_async()


async def test_step_of_a_deadlocked_task_is_an_error(background_tasks: BackgroundTasks) -> None:
    """The error comes at once, and says what the task waits for."""
    lock = asyncio.Lock()

    async def hold() -> None:
        async with lock:
            await asyncio.Event().wait()

    async def enter() -> None:
        async with lock:
            pass

    background_tasks.start_capturing()
    asyncio.create_task(hold(), name="holder")
    asyncio.create_task(enter())
    await background_tasks.step_async(hold)
    await background_tasks.step_async(enter)
    message = r"(?s)no next step: .*enter.*for a lock held by holder \(hold\), and nothing else can run"
    with pytest.raises(DeadlockError, match=message):
        await background_tasks.step_async(enter)
    with pytest.raises(DeadlockError, match=message):
        background_tasks.step_sync(enter)
    background_tasks.reset()


async def test_step_of_a_task_that_stays_blocked_times_out(background_tasks: BackgroundTasks) -> None:
    async def nap() -> None:
        await asyncio.sleep(60)

    background_tasks.start_capturing()
    asyncio.create_task(nap())
    await background_tasks.step_async(nap)
    with pytest.raises(
        BackgroundTasksTimeout, match=r"(?s)no next step within 0.05 s: .*a sleep of 60 s.*virtual_time"
    ):
        await background_tasks.step_async(nap, timeout=0.05)


async def test_step_of_an_unsuitable_target_is_an_error(background_tasks: BackgroundTasks) -> None:
    """The target matches no task, several, or one that has ended: the message lists the tasks."""

    async def job() -> None: ...

    async def other() -> None: ...

    background_tasks.start_capturing()
    with pytest.raises(BackgroundTaskNotFound, match="matches nothing; captured: nothing"):
        await background_tasks.step_async(job)
    first, second = asyncio.create_task(job()), asyncio.create_task(job())
    with pytest.raises(BackgroundTaskNotFound, match=r"(?s)step_async\(.*other\) matches nothing; captured:.*job"):
        await background_tasks.step_async(other)
    with pytest.raises(BackgroundTasksError, match=r"(?s)2 tasks match instead of one:.*job.*job.*\[0\]"):
        background_tasks.step_sync(job)
    await background_tasks.step_async(first)
    await background_tasks.step_async(job)
    assert second.done()
    with pytest.raises(BackgroundTasksError, match=r"(?s)the task has ended and has no next step:.*job\(\) done"):
        await background_tasks.step_async(first)


def test_step_sync_on_the_loop_of_a_client(background_tasks: BackgroundTasks) -> None:
    """A task on a loop in another thread is stepped there; a task whose loop has ended, on another loop."""
    log: list[int] = []
    count = counting(log)
    app = FastAPI()

    @app.get("/")
    async def start() -> None:
        asyncio.create_task(count())

    background_tasks.start_capturing()
    with TestClient(app) as client:
        client.get("/")
        for expected in ([0], [0, 1], [0, 1, 2]):
            background_tasks.step_sync(count)
            client.get("/docs")
            assert log == expected
        background_tasks.step_sync(count)
    log.clear()
    TestClient(app).get("/")
    background_tasks.step_sync(count)
    background_tasks.step_sync(count)
    assert log == [0, 1]


@pytest.mark.usefixtures("virtual_time")
async def test_long_sleep_is_shown_in_seconds(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(asyncio.sleep(3600), name="napper")
    wait = (await background_tasks.step_async("napper")).suspended_at
    assert wait is not None
    assert wait.waiting_for == "a sleep of 3600 s (3600 s left)"
    assert repr(background_tasks) == "<background_tasks capturing; 1 captured, 0 held, 1 stopped after a step>"


async def test_error_names_a_task_that_is_no_longer_held(
    background_tasks: BackgroundTasks,
) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(asyncio.sleep(0), name="napper")
    await task
    with pytest.raises(BackgroundTaskNotFound, match=r"(?s)held: nothing.*No longer held:.*sleep.*done: napper"):
        await background_tasks.run_async("napper")


async def test_loop_is_restored_when_no_task_is_stopped(background_tasks: BackgroundTasks) -> None:
    """The loop is restored once no task is stopped."""
    loop = asyncio.get_running_loop()
    background_tasks.start_capturing()
    task = asyncio.create_task(counting([])())
    await background_tasks.step_async(task)
    assert "call_soon" in vars(loop)
    await task
    assert "call_soon" not in vars(loop)
