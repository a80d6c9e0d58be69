"""One run: its failure, the message, and the cleanup."""

import asyncio
import gc
import re
import sys
import threading
import tracemalloc
import warnings
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from traceback import extract_tb
from typing import Any

import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import DeadlockError, LeakedTasks, SourceLocation, StepLimitExceeded, UncontrolledOperation

RunSchedule = Heartbeat = Any  # the fixtures


def message_of(error: BaseException | None) -> str:
    """Return the message of an error, without the line numbers of this file."""
    return re.sub(r"\S*test_execution\.py:\d+", "test_execution.py", str(error))


# Failures.


def test_exception_of_the_scenario_is_the_failure(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise LookupError("no such memory")

    run = run_schedule(scenario)
    assert isinstance(run.error, LookupError)
    assert run.failure_signature == ("LookupError",)
    assert run.error.__traceback__ is not None


def test_signature_of_an_exception_group_lists_its_errors(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        raise ExceptionGroup("several", [ValueError(), ExceptionGroup("inner", [OSError(), ValueError()])])

    assert run_schedule(scenario).failure_signature == ("OSError", "ValueError", "ValueError")


def test_never_retrieved_exception_of_a_background_task_is_a_failure(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def job() -> None:
            raise ValueError("lost")

        asyncio.create_task(job())
        await asyncio.sleep(1)

    error = run_schedule(scenario).error
    assert isinstance(error, ValueError)
    assert error.__notes__ == ["exception of background task job was never retrieved"]
    shown = run_schedule(scenario, with_details=True).error
    assert shown is not None
    created = f"created at {SourceLocation(__file__, scenario.__code__.co_firstlineno + 4, scenario.__qualname__)}"
    assert shown.__notes__ == [f"exception of background task job was never retrieved ({created})"]


def test_retrieved_exceptions_of_background_tasks_are_not_failures(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def job() -> None:
            raise ValueError("found")

        await asyncio.wait([asyncio.create_task(job())])
        await asyncio.gather(job(), return_exceptions=True)
        task = asyncio.create_task(job())
        await asyncio.sleep(1)
        assert task.exception()

    run = run_schedule(scenario)
    assert isinstance(run.error, ValueError)  # the first: waiting for a task does not retrieve its exception
    assert "job#1" in run.error.__notes__[0]


def test_deadlock_error_names_blocked_tasks_and_lock_holders(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        first, second = asyncio.Lock(), asyncio.Lock()

        async def use(one: asyncio.Lock, other: asyncio.Lock) -> None:
            async with one:
                await asyncio.sleep(0)
                async with other:
                    pass

        await asyncio.gather(use(first, second), use(second, first))

    run = run_schedule(scenario)
    assert isinstance(run.error, DeadlockError)
    assert message_of(run.error).replace(
        "test_deadlock_error_names_blocked_tasks_and_lock_holders.<locals>.", ""
    ) == snapshot(
        """\
every task is blocked:
  main waits at test_execution.py in scenario, for the tasks use#1, use#2
  use#1 waits at test_execution.py in scenario.<locals>.use, for a lock held by use#2
  use#2 waits at test_execution.py in scenario.<locals>.use, for a lock held by use#1\
"""
    )


def test_livelock_error_names_the_busiest_task(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def poll() -> None:
            while True:
                await asyncio.sleep(0)

        await poll()

    run = run_schedule(scenario, max_steps=100)
    assert isinstance(run.error, StepLimitExceeded)
    assert message_of(run.error).replace("test_livelock_error_names_the_busiest_task.<locals>.", "") == snapshot(
        """\
livelock? The test has not ended after max_steps=100 steps
  busiest: main (100 steps)
  main waits at test_execution.py in scenario.<locals>.poll, for its next turn in the event loop\
"""
    )


def test_livelock_error_names_the_task_and_not_asyncios_callbacks(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def nothing() -> None: ...

        while True:
            await asyncio.shield(asyncio.gather(nothing(), nothing()))

    run = run_schedule(scenario, max_steps=1000)
    assert str(run.error).split("\n")[1].startswith("  busiest: main (")


def test_livelock_error_names_a_timer_that_repeats_endlessly(run_schedule: RunSchedule, heartbeat: Heartbeat) -> None:
    """A heartbeat while all other tasks wait."""

    async def scenario() -> None:
        async def server() -> None:
            heartbeat()
            await asyncio.Event().wait()

        await asyncio.create_task(server(), name="server:1")

    busiest = str(run_schedule(scenario, max_steps=100).error).split("\n")[1]
    assert busiest == '  busiest: timers of "server:1" (98 steps, calling beat), main (1 step), "server:1" (1 step)'


def test_deadlock_error_names_earlier_failures(run_schedule: RunSchedule) -> None:
    """The earlier failure may well be the reason."""

    async def scenario() -> None:
        ready = asyncio.Event()

        async def server(number: int) -> None:
            raise ValueError(f"no port {number}\nat all")

        def on_change() -> None:
            raise KeyError("state")

        asyncio.get_running_loop().call_soon(on_change)
        await asyncio.gather(*(server(number) for number in range(4)), return_exceptions=True)
        await ready.wait()

    assert message_of(run_schedule(scenario).error).replace(f"{scenario.__qualname__}.<locals>.", "") == snapshot(
        """\
every task is blocked:
  main waits at test_execution.py in test_deadlock_error_names_earlier_failures.<locals>.scenario, for an event
  on_change failed at test_execution.py in on_change: KeyError: 'state'
  server#1 failed at test_execution.py in server: ValueError: no port 0
  server#2 failed at test_execution.py in server: ValueError: no port 1
  and 2 more failed\
"""
    )


def test_never_retrieved_exception_of_a_callback_is_a_failure(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        def on_change() -> None:
            raise IndexError

        asyncio.get_running_loop().call_later(1, on_change)
        await asyncio.sleep(2)

    run = run_schedule(scenario)
    assert isinstance(run.error, IndexError)
    [note] = run.error.__notes__
    assert note.endswith("on_change was never retrieved")
    assert [entry.name for entry in extract_tb(run.error.__traceback__)] == ["on_change"]


def test_callback_error_passed_to_an_exception_handler_is_not_a_failure(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        seen: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        loop.call_later(1, [].pop)
        await asyncio.sleep(2)
        assert seen

    assert run_schedule(scenario).error is None


def test_leaked_tasks_are_a_failure_on_request(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(asyncio.Event().wait(), name="listener")
        await asyncio.sleep(0)
        del task

    assert run_schedule(scenario).error is None
    error = run_schedule(scenario, fail_on_leaks=True).error
    assert isinstance(error, LeakedTasks)
    assert str(error).startswith("tasks were still pending when the test ended:\n  listener waits at ")


def test_a_scenario_that_stops_the_loop_fails(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(1)

    assert "loop.stop()" in str(run_schedule(scenario).error)


# Exceptions that pass through.


class Skipped(BaseException):
    """An exception like the outcomes of pytest."""


@pytest.mark.parametrize("error", [Skipped, KeyboardInterrupt, SystemExit])
def test_outcomes_other_than_failures_propagate(run_schedule: RunSchedule, error: type[BaseException]) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(error):
        run_schedule(scenario, propagate=(Skipped,))


def test_exception_from_calling_the_scenario_propagates(run_schedule: RunSchedule) -> None:
    def scenario() -> Any:
        raise Skipped

    with pytest.raises(Skipped):
        run_schedule(scenario)


def test_scenario_must_return_a_coroutine(run_schedule: RunSchedule) -> None:
    with pytest.raises(
        TypeError, match=r"a scenario must be an async def without arguments; scenario\(\) returned None"
    ):
        run_schedule(scenario)


def scenario() -> None: ...


# Threads started by the scenario.


def test_a_foreign_thread_that_calls_the_loop_is_named(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=[answer.set_result, None], name="database")
        thread.start()
        thread.join()
        await answer

    with pytest.raises(UncontrolledOperation, match="database"):
        run_schedule(scenario)


def test_busy_foreign_thread_is_named_instead_of_a_deadlock(run_schedule: RunSchedule) -> None:
    """Like aiosqlite's: one thread per connection, which waits for work."""
    end = threading.Event()

    class Connection(threading.Thread):
        def run(self) -> None:
            end.wait(5)

    async def scenario() -> None:
        Connection(name="connection 1", daemon=True).start()
        await asyncio.get_running_loop().create_future()

    try:
        with pytest.raises(UncontrolledOperation, match=r"connection 1, a .*\.Connection"):
            run_schedule(scenario)
    finally:
        end.set()


# Cleanup.


async def untidy() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(1)
        yield 2

    async def stubborn() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def fails_when_cancelled() -> None:
        try:
            await asyncio.sleep(99)
        finally:
            raise ValueError

    tasks = [asyncio.create_task(each()) for each in (forever, stubborn, fails_when_cancelled)]
    async for _ in numbers():
        break
    unstarted = asyncio.create_task(forever())
    del tasks, unstarted


def test_leftover_tasks_and_generators_are_ended_silently(run_schedule: RunSchedule, caplog: Any, capsys: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_schedule(untidy).error is None
        gc.collect()
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_pending_tasks_run_their_cleanup(run_schedule: RunSchedule) -> None:
    cleaned = []

    async def scenario() -> None:
        async def job() -> None:
            try:
                await asyncio.sleep(99)
            finally:
                await asyncio.sleep(1)
                cleaned.append("job")

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await asyncio.sleep(1)
                cleaned.append("generator")

        asyncio.create_task(job(), name="kept")
        generator = numbers()
        await anext(generator)
        kept.append(generator)

    kept: list[Any] = []
    assert run_schedule(scenario).error is None
    assert cleaned == ["job", "generator"]
    assert asyncio._get_running_loop() is None


def test_finished_run_is_garbage_collected(run_schedule: RunSchedule) -> None:
    loops = []

    async def scenario() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await untidy()

    run_schedule(scenario)
    gc.collect()
    assert loops[0]() is None


def test_runs_do_not_leak_memory(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def job() -> None:
            await asyncio.sleep(1)

        asyncio.create_task(job(), name="left over")
        await asyncio.gather(job(), asyncio.to_thread(len, ""))

    packages = ("explorer", "explore", "asyncio", "contextvars")
    where = [tracemalloc.Filter(True, f"*/{package}/*") for package in packages]

    def run(times: int) -> int:
        for _ in range(times):
            run_schedule(scenario, "job@1+1")
        gc.collect()
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(where).traces)

    tracemalloc.start()
    try:
        before = run(50)
        assert run(300) - before < 60_000  # bytes; a loop leaked by each run would be more than a million
    finally:
        tracemalloc.stop()


def test_garbage_collector_runs_only_between_runs(run_schedule: RunSchedule) -> None:
    """Otherwise finalizers would run at a moment that depends on earlier runs."""
    seen: list[str] = []

    async def scenario() -> None:
        seen.append("begins")
        for _ in range(100):
            cycle: list[Any] = []
            cycle.append(cycle)
            await asyncio.sleep(0)
        seen.append("ends")

    before = gc.get_threshold()
    gc.set_threshold(1)
    gc.callbacks.append(lambda *_: seen.append("collects"))
    try:
        run_schedule(scenario)
        assert gc.isenabled()
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)
    assert "begins ends" in " ".join(seen)
    gc.disable()
    try:
        run_schedule(scenario)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_asyncgen_hooks_are_restored(run_schedule: RunSchedule) -> None:
    before = sys.get_asyncgen_hooks()
    run_schedule(untidy)
    assert sys.get_asyncgen_hooks() == before
