"""Functions sent to threads run in one helper thread, while the loop waits."""

import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_background_tasks import UncontrolledOperation
from pytest_background_tasks._explore.helper_thread import HelperThread

RunSchedule = Any  # the fixture


def test_results_and_errors_are_delivered(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        with ThreadPoolExecutor(1) as pool:
            assert await asyncio.get_running_loop().run_in_executor(pool, max, 1, 2) == 2
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    run = run_schedule(scenario)
    assert run.error is None
    assert [(step.task, step.number) for step in run.trace.steps if step.kind == "thread"] == [
        ("main", 1),
        ("main", 2),
        ("main", 3),
    ]


def test_functions_run_in_one_thread_without_a_visible_loop(run_schedule: RunSchedule) -> None:
    seen = set()

    def look() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        seen.add(threading.get_ident())

    async def scenario() -> None:
        await asyncio.gather(*[asyncio.to_thread(look) for _ in range(3)])

    assert run_schedule(scenario).error is None
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_function_in_a_thread_can_run_another_event_loop(run_schedule: RunSchedule) -> None:
    async def inner() -> int:
        return 7

    async def scenario() -> None:
        assert await asyncio.to_thread(lambda: asyncio.run(inner())) == 7

    assert run_schedule(scenario).error is None


def test_call_soon_threadsafe_from_the_thread_arrives(run_schedule: RunSchedule) -> None:
    log: list[str] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        thread = asyncio.create_task(asyncio.to_thread(loop.call_soon_threadsafe, log.append, "from the thread"))
        loop.call_soon_threadsafe(log.append, "from the loop")
        await thread

    assert run_schedule(scenario).error is None
    assert log == ["from the loop", "from the thread"]


def test_a_function_that_waits_for_the_loop_is_named(
    run_schedule: RunSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HelperThread.__init__, "__defaults__", (0.05,))
    ended = threading.Event()

    async def answer() -> None: ...

    def wait_for_the_loop(loop: asyncio.AbstractEventLoop) -> None:
        coroutine = answer()
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            future.result(1)
        finally:
            ended.set()

    async def scenario() -> None:
        await asyncio.to_thread(wait_for_the_loop, asyncio.get_running_loop())

    with pytest.raises(
        UncontrolledOperation, match=r"wait_for_the_loop took more than 0.05 s of real time in a thread"
    ):
        run_schedule(scenario)
    ended.wait(2)


def test_the_helper_ends_with_the_exploration() -> None:
    before = threading.active_count()
    with HelperThread() as helper:
        assert threading.active_count() == before
        assert helper.run(functools.partial(int, "7")) == (7, None)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_delay_applies_to_the_result_and_not_to_the_function(run_schedule: RunSchedule) -> None:
    """The function ran long before; only the answer is delayed."""
    log = []

    async def scenario() -> None:
        async def client() -> None:
            await asyncio.to_thread(log.append, "runs")
            log.append("answered")

        async def other() -> None:
            for number in range(3):
                await asyncio.sleep(0)
                log.append(str(number))

        await asyncio.gather(client(), other())

    run_schedule(scenario)
    assert log == ["runs", "0", "1", "answered", "2"]
    log.clear()
    run_schedule(scenario, "client@1+2")
    assert log == ["runs", "0", "1", "2", "answered"]


def test_result_for_a_cancelled_task_is_dropped(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(asyncio.to_thread(len, ""))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert run_schedule(scenario).error is None
