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

Played = Heartbeat = Any  # the fixtures


def told(error: BaseException | None) -> str:
    """Return the message of an error, without the line numbers of this file."""
    return re.sub(r"\S*test_play\.py:\d+", "test_play.py", str(error))


# Failures.


def test_the_scenario_raises(played: Played) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise LookupError("no such memory")

    run = played(scenario)
    assert isinstance(run.error, LookupError)
    assert run.way == ("LookupError",)
    assert run.error.__traceback__ is not None


def test_a_group_of_errors_fails_in_the_way_of_its_errors(played: Played) -> None:
    async def scenario() -> None:
        raise ExceptionGroup("several", [ValueError(), ExceptionGroup("inner", [OSError(), ValueError()])])

    assert played(scenario).way == ("OSError", "ValueError", "ValueError")


def test_a_background_task_fails_and_nobody_looks(played: Played) -> None:
    async def scenario() -> None:
        async def job() -> None:
            raise ValueError("lost")

        asyncio.create_task(job())
        await asyncio.sleep(1)

    error = played(scenario).error
    assert isinstance(error, ValueError)
    assert error.__notes__ == ["exception of background task job was never retrieved"]
    shown = played(scenario, tells=True).error
    assert shown is not None
    created = f"created at {SourceLocation(__file__, scenario.__code__.co_firstlineno + 4, scenario.__qualname__)}"
    assert shown.__notes__ == [f"exception of background task job was never retrieved ({created})"]


def test_a_background_task_fails_and_somebody_looks(played: Played) -> None:
    async def scenario() -> None:
        async def job() -> None:
            raise ValueError("found")

        await asyncio.wait([asyncio.create_task(job())])
        await asyncio.gather(job(), return_exceptions=True)
        task = asyncio.create_task(job())
        await asyncio.sleep(1)
        assert task.exception()

    run = played(scenario)
    assert isinstance(run.error, ValueError)  # the first: waiting for a task does not retrieve its exception
    assert "job#1" in run.error.__notes__[0]


def test_a_deadlock_says_who_waits_for_what_and_who_holds_it(played: Played) -> None:
    async def scenario() -> None:
        first, second = asyncio.Lock(), asyncio.Lock()

        async def use(one: asyncio.Lock, other: asyncio.Lock) -> None:
            async with one:
                await asyncio.sleep(0)
                async with other:
                    pass

        await asyncio.gather(use(first, second), use(second, first))

    run = played(scenario)
    assert isinstance(run.error, DeadlockError)
    assert told(run.error).replace(
        "test_a_deadlock_says_who_waits_for_what_and_who_holds_it.<locals>.", ""
    ) == snapshot(
        """\
every task is blocked:
  main waits at test_play.py in scenario, for the tasks use#1, use#2
  use#1 waits at test_play.py in scenario.<locals>.use, for a lock held by use#2
  use#2 waits at test_play.py in scenario.<locals>.use, for a lock held by use#1\
"""
    )


def test_a_livelock_names_the_busiest(played: Played) -> None:
    async def scenario() -> None:
        async def poll() -> None:
            while True:
                await asyncio.sleep(0)

        await poll()

    run = played(scenario, max_steps=100)
    assert isinstance(run.error, StepLimitExceeded)
    assert told(run.error).replace("test_a_livelock_names_the_busiest.<locals>.", "") == snapshot(
        """\
livelock? The test has not ended after max_steps=100 steps
  busiest: main (100 steps)
  main waits at test_play.py in scenario.<locals>.poll, for its next turn in the event loop\
"""
    )


def test_a_livelock_names_who_goes_on_and_not_what_asyncio_calls_for_that(played: Played) -> None:
    async def scenario() -> None:
        async def nothing() -> None: ...

        while True:
            await asyncio.shield(asyncio.gather(nothing(), nothing()))

    run = played(scenario, max_steps=1000)
    assert str(run.error).split("\n")[1].startswith("  busiest: main (")


def test_a_livelock_names_a_timer_that_sets_itself_for_ever(played: Played, heartbeat: Heartbeat) -> None:
    """A heartbeat while all other tasks wait."""

    async def scenario() -> None:
        async def server() -> None:
            heartbeat()
            await asyncio.Event().wait()

        await asyncio.create_task(server(), name="server:1")

    busiest = str(played(scenario, max_steps=100).error).split("\n")[1]
    assert busiest == '  busiest: timers of "server:1" (98 steps, calling beat), main (1 step), "server:1" (1 step)'


def test_a_deadlock_names_what_has_failed_before(played: Played) -> None:
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

    assert told(played(scenario).error).replace(f"{scenario.__qualname__}.<locals>.", "") == snapshot(
        """\
every task is blocked:
  main waits at test_play.py in test_a_deadlock_names_what_has_failed_before.<locals>.scenario, for an event
  on_change failed at test_play.py in on_change: KeyError: 'state'
  server#1 failed at test_play.py in server: ValueError: no port 0
  server#2 failed at test_play.py in server: ValueError: no port 1
  and 2 more failed\
"""
    )


def test_a_callback_that_fails_unseen_is_a_failure(played: Played) -> None:
    async def scenario() -> None:
        def on_change() -> None:
            raise IndexError

        asyncio.get_running_loop().call_later(1, on_change)
        await asyncio.sleep(2)

    run = played(scenario)
    assert isinstance(run.error, IndexError)
    [note] = run.error.__notes__
    assert note.endswith("on_change was never retrieved")
    assert [entry.name for entry in extract_tb(run.error.__traceback__)] == ["on_change"]


def test_a_callback_that_fails_is_none_if_the_program_has_an_exception_handler(played: Played) -> None:
    async def scenario() -> None:
        seen: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        loop.call_later(1, [].pop)
        await asyncio.sleep(2)
        assert seen

    assert played(scenario).error is None


def test_tasks_left_over_are_a_failure_if_asked(played: Played) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(asyncio.Event().wait(), name="listener")
        await asyncio.sleep(0)
        del task

    assert played(scenario).error is None
    error = played(scenario, fail_on_leaks=True).error
    assert isinstance(error, LeakedTasks)
    assert str(error).startswith("tasks were still pending when the test ended:\n  listener waits at ")


def test_a_scenario_that_stops_the_loop_fails(played: Played) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(1)

    assert "loop.stop()" in str(played(scenario).error)


# Exceptions that pass through.


class Skipped(BaseException):
    """An exception like the outcomes of pytest."""


@pytest.mark.parametrize("error", [Skipped, KeyboardInterrupt, SystemExit])
def test_what_is_no_failure_passes_through(played: Played, error: type[BaseException]) -> None:
    async def scenario() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(error):
        played(scenario, propagate=(Skipped,))


def test_what_calling_the_scenario_raises_passes_through(played: Played) -> None:
    def scenario() -> Any:
        raise Skipped

    with pytest.raises(Skipped):
        played(scenario)


def test_a_scenario_gives_a_coroutine(played: Played) -> None:
    with pytest.raises(
        TypeError, match=r"a scenario must be an async def without arguments; scenario\(\) returned None"
    ):
        played(scenario)


def scenario() -> None: ...


# Threads started by the scenario.


def test_a_foreign_thread_that_calls_the_loop_is_named(played: Played) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=[answer.set_result, None], name="database")
        thread.start()
        thread.join()
        await answer

    with pytest.raises(UncontrolledOperation, match="database"):
        played(scenario)


def test_a_foreign_thread_that_is_still_busy_is_named_and_no_deadlock(played: Played) -> None:
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
            played(scenario)
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


def test_what_is_left_over_is_ended_without_a_word(played: Played, caplog: Any, capsys: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert played(untidy).error is None
        gc.collect()
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_pending_tasks_clean_up(played: Played) -> None:
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
    assert played(scenario).error is None
    assert cleaned == ["job", "generator"]
    assert asyncio._get_running_loop() is None


def test_a_run_is_garbage_when_it_is_over(played: Played) -> None:
    loops = []

    async def scenario() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await untidy()

    played(scenario)
    gc.collect()
    assert loops[0]() is None


def test_memory_stays_flat(played: Played) -> None:
    async def scenario() -> None:
        async def job() -> None:
            await asyncio.sleep(1)

        asyncio.create_task(job(), name="left over")
        await asyncio.gather(job(), asyncio.to_thread(len, ""))

    packages = ("explorer", "explore", "asyncio", "contextvars")
    where = [tracemalloc.Filter(True, f"*/{package}/*") for package in packages]

    def run(times: int) -> int:
        for _ in range(times):
            played(scenario, "job@1+1")
        gc.collect()
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(where).traces)

    tracemalloc.start()
    try:
        before = run(50)
        assert run(300) - before < 60_000  # bytes; a loop leaked by each run would be more than a million
    finally:
        tracemalloc.stop()


def test_the_garbage_collector_comes_between_runs_only(played: Played) -> None:
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
        played(scenario)
        assert gc.isenabled()
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)
    assert "begins ends" in " ".join(seen)
    gc.disable()
    try:
        played(scenario)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_hooks_of_the_thread_are_put_back(played: Played) -> None:
    before = sys.get_asyncgen_hooks()
    played(untidy)
    assert sys.get_asyncgen_hooks() == before
