"""The hooks of one loop agree on whether it is idle, although the threads that decide it go on meanwhile.

No test waits for a real race here: the activity between two looks of one iteration is scripted.
"""

import asyncio
import threading
from collections.abc import Callable

import pytest
import uvloop

from pytest_background_tasks import BackgroundTasks, BackgroundTasksError, VirtualTime
from pytest_background_tasks._control.external_activity import ExternalActivity
from pytest_background_tasks._introspect import real_clock


def script_activity(monkeypatch: pytest.MonkeyPatch, looks: list[bool]) -> None:
    """Let each look at the external activity, by whichever hook, return the next one of `looks`, and then False."""
    answers = iter(looks)
    monkeypatch.setattr(ExternalActivity, "in_progress", lambda _: next(answers, False))


async def test_time_does_not_jump_if_the_activity_ends_while_a_call_waits_until_idle(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_activity(monkeypatch, [True])
    task = asyncio.create_task(asyncio.sleep(3600))
    await background_tasks.run_until_idle_async()
    assert virtual_time.now == 0
    assert not task.done()
    task.cancel()


async def test_no_deadlock_error_if_the_activity_ends_while_a_call_waits_until_idle(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is about to return, even if there is no timer and nothing else that could wake the test."""
    script_activity(monkeypatch, [True])
    await background_tasks.run_until_idle_async()
    assert virtual_time.now == 0


async def test_advance_goes_no_further_if_the_activity_ends_meanwhile(
    virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes each timer with its own look at the activity."""
    script_activity(monkeypatch, [True, False] * 3)
    task = asyncio.create_task(asyncio.sleep(3600))
    await virtual_time.advance(60)
    assert virtual_time.now == 60
    assert not task.done()
    task.cancel()


async def test_time_stands_still_however_often_a_call_looks_whether_the_loop_is_idle(
    background_tasks: BackgroundTasks, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not even move by the resolution of the clock, as it does for timers set for the present moment."""
    script_activity(monkeypatch, [True] * 4)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await background_tasks.run_until_idle_async()
    assert loop.time() == before


async def test_time_does_not_jump_over_the_answer_of_a_thread_that_ends_at_that_moment(
    virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers after the loop has found nothing to run, and is gone when the clock looks for sources of events."""
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def has_no_sources(_: object) -> bool:
        if not answer.done():
            loop.call_soon_threadsafe(answer.set_result, "answer")
        return True

    monkeypatch.setattr(ExternalActivity, "has_no_sources", has_no_sources)
    async with asyncio.timeout(1):
        assert await answer == "answer"
    assert virtual_time.now == 0


async def test_a_busy_loop_is_not_silent(background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it has been busy for a long time, the deadlock detector waits for an event as long as ever."""
    monotonic, ahead = real_clock.monotonic, 0
    monkeypatch.setattr(real_clock, "monotonic", lambda: monotonic() + ahead)
    background_tasks.start_capturing()
    asyncio.create_task(asyncio.sleep(0))
    ahead = 3600
    await asyncio.sleep(0)
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, answer.set_result, "answer")
    assert await answer == "answer"
    await background_tasks.run_all_async()


class TestSynchronousCallOnUvloop:
    """It cannot run the answer of a worker, but a worker may seem to be at work that has none."""

    def test_worker_that_has_nothing_left_to_do_is_no_error(
        self, background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has answered before, or its loop has ended, and it is on its way to its next call, or to its end."""
        looks = [True, True, False]
        monkeypatch.setattr(ExternalActivity, "is_any_worker_at_work", lambda _: looks.pop(0))
        run_on_uvloop(background_tasks.run_until_idle_sync)
        assert not looks

    def test_worker_that_answers_meanwhile_is_an_error(
        self, background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The task would not have received the answer when the call returns."""

        def is_any_worker_at_work(_: object) -> bool:
            thread.start()
            thread.join()
            return False

        def call() -> None:
            nonlocal thread
            loop = asyncio.get_running_loop()
            thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(list))
            with pytest.raises(BackgroundTasksError, match="uvloop cannot wait for a thread"):
                background_tasks.run_until_idle_sync()

        thread: threading.Thread
        monkeypatch.setattr(ExternalActivity, "is_any_worker_at_work", is_any_worker_at_work)
        run_on_uvloop(call)


def run_on_uvloop(call: Callable[[], object]) -> None:
    async def main() -> None:
        call()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
