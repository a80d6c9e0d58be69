"""Explorations: verdicts, failures, and the errors of tests that cannot be explored."""

import asyncio
import itertools
import pdb
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import (
    Cancel,
    DeadlockError,
    Delay,
    ExplorationError,
    Explorer,
    NonDeterministicTest,
    ReplayError,
    Schedule,
    ScheduleSyntaxError,
    UncontrolledOperation,
)


async def io() -> None:
    await asyncio.sleep(0)


async def sells_too_often() -> None:
    left = 2

    async def sell() -> None:
        nonlocal left
        before = left
        await io()
        left = before - 1

    async def look_and_sell() -> None:
        await io()
        await sell()

    await asyncio.gather(sell(), look_and_sell())
    assert left == 0


async def two_clients() -> None:
    async def client() -> None:
        await io()
        await io()

    await asyncio.gather(client(), client())


async def one_after_the_other() -> None:
    await io()
    await asyncio.sleep(1)


class Propagating(Exception): ...


# Verdicts.


def test_failed() -> None:
    exploration = Explorer().explore(sells_too_often)
    failure = exploration.failure
    assert exploration.verdict == "failed"
    assert failure is not None
    assert isinstance(failure.error, AssertionError)
    assert str(failure.schedule) == "sell@1+1"
    assert failure.delayed_kinds == {"yield"}
    assert failure.run_number == exploration.runs
    assert failure.trace.signature != failure.baseline_trace.signature
    assert all(step.detail for step in (*failure.trace.steps, *failure.baseline_trace.steps))
    with pytest.raises(AssertionError):
        failure.reproduce()
    assert str(exploration).startswith("failed: sell@1+1, found in run ")


def test_failed_in_the_default_order() -> None:
    async def scenario() -> None:
        raise LookupError

    exploration = Explorer().explore(scenario)
    assert exploration.failure is not None
    assert exploration.failure.schedule == Schedule()
    assert exploration.failure.trace is exploration.failure.baseline_trace
    assert exploration.runs == 1
    assert "failed: asyncio's default order, found in run 1" in str(exploration)


def test_exhaustive() -> None:
    exploration = Explorer(max_deviations=99).explore(two_clients)
    assert exploration.verdict == "exhaustive"
    assert exploration.failure is None
    assert exploration.distinct < exploration.runs
    assert str(exploration).startswith(
        "exhaustive: no failure in any order of the explored events "
        "(excluding cancellations, injected errors and slow results); "
    )


def test_exhaustive_verdict_lists_the_included_faults() -> None:
    async def scenario() -> None:
        await asyncio.wait([asyncio.create_task(one_after_the_other())])

    exploration = Explorer(max_deviations=99, cancel=True, slow_results=True).explore(scenario)
    assert "(including one cancellation per run and slow results; excluding injected errors); " in str(exploration)
    exploration = Explorer(max_deviations=99, cancel=True, slow_results=True, inject_errors=()).explore(scenario)
    assert "; excluding injected errors); " in str(exploration)


def test_bounded() -> None:
    exploration = Explorer(max_deviations=1).explore(two_clients)
    assert (exploration.verdict, exploration.deviations) == ("bounded", 1)
    assert "bounded: no failure with up to 1 deviation from asyncio's default order (" in str(exploration)


def test_incomplete() -> None:
    first = Explorer(max_deviations=1).explore(two_clients).runs
    exploration = Explorer(max_schedules=first + 3, max_deviations=5).explore(two_clients)
    assert (exploration.verdict, exploration.runs, exploration.deviations) == ("incomplete", first + 3, 1)
    assert str(exploration).startswith(
        "incomplete: no failure before the budget ran out; fully covered: up to 1 deviation from asyncio's default "
        "order"
        f" (excluding cancellations, injected errors and slow results); {first + 3} runs"
    )


def test_verdict_is_incomplete_if_the_budget_ends_before_the_bound() -> None:
    """A search that ran out of budget never claims to be complete."""
    full = Explorer(max_deviations=1).explore(two_clients)
    short = Explorer(max_deviations=1, max_schedules=full.runs - 1).explore(two_clients)
    assert (short.verdict, short.deviations) == ("incomplete", 0)
    assert Explorer(max_deviations=1, max_schedules=full.runs).explore(two_clients).verdict == "bounded"


def test_max_deviations_zero_runs_only_the_default_order() -> None:
    assert Explorer(max_deviations=0).explore(two_clients).verdict == "bounded"
    assert Explorer(max_deviations=0).explore(one_after_the_other).verdict == "exhaustive"


def test_max_seconds_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    real_time = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("pytest_background_tasks._explore.exploration._util", real_time)
    exploration = Explorer(max_seconds=5).explore(two_clients)
    assert (exploration.verdict, exploration.runs) == ("incomplete", 4)
    assert exploration.seconds == 6


def test_the_same_seed_gives_the_same_exploration() -> None:
    def runs(seed: int | str) -> tuple[int, str]:
        exploration = Explorer(seed=seed, arrivals="start").explore(sells_too_often)
        assert exploration.seed == seed
        assert exploration.failure is not None
        return exploration.runs, str(exploration.failure.schedule)

    found = [runs(seed) for seed in range(20)]
    assert [runs(seed) for seed in range(20)] == found
    assert len(set(found)) > 1
    assert runs("tests/test_x.py::test_y") == runs("tests/test_x.py::test_y")


def test_random_walks_continue_after_the_search() -> None:
    async def needs_three() -> None:
        order = []

        async def job(name: str) -> None:
            await io()
            order.append(name)

        await asyncio.gather(*map(job, "abcd"))
        assert "".join(order) != "dcba"

    kept = {"max_deviations": 1}
    assert Explorer(**kept).explore(needs_three).verdict == "bounded"
    exploration = Explorer(**kept, random_walks=900).explore(needs_three)
    assert exploration.failure is not None
    assert len(exploration.failure.schedule) >= 2
    unlucky = Explorer(**kept, random_walks=5).explore(needs_three)
    assert (unlucky.verdict, unlucky.deviations) == ("bounded", 1)


# Failures are minimized and confirmed, and belong to the last run.


def test_failing_run_is_the_last_run() -> None:
    """Its side effects, such as a store or captured output, are what the reader inspects."""
    outcomes = []

    async def scenario() -> None:
        try:
            await sells_too_often()
        except AssertionError:
            outcomes.append("failed")
            raise
        outcomes.append("passed")

    Explorer().explore(scenario)
    assert outcomes[-2:] == ["passed", "failed"]


def test_unreproducible_failure_is_reported_as_nondeterminism() -> None:
    calls = itertools.count()

    async def scenario() -> None:
        await two_clients()
        assert next(calls) != 5

    with pytest.raises(NonDeterministicTest, match="the failing run and its confirmation differ only at the end"):
        Explorer().explore(scenario)


# Cancellation.


async def gathers() -> None:
    async def client() -> None:
        await io()

    await asyncio.gather(client(), client())


def test_runs_ended_by_a_cancellation_are_counted_as_cut_short() -> None:
    exploration = Explorer(cancel="client*").explore(gathers)
    assert exploration.failure is None
    assert exploration.cut_short > 0
    assert f"{exploration.cut_short} cut short by the cancellation (gather(..., return_exceptions=True)" in str(
        exploration
    )


@pytest.mark.parametrize("cancel", [True, "client", "cl*", "*client", ["missing", "client"]])
def test_cancel_selects_tasks_by_pattern(cancel: Any) -> None:
    assert Explorer(cancel=cancel).explore(gathers).cut_short > 0


def test_cancel_selects_tasks_by_coroutine_function() -> None:
    async def client() -> None:
        await io()

    async def scenario() -> None:
        await asyncio.gather(client(), io())

    exploration = Explorer(cancel=client, max_deviations=1).explore(scenario)
    assert 0 < exploration.cut_short < Explorer(cancel=True, max_deviations=1).explore(scenario).cut_short


def test_cancellation_can_arrive_between_two_timers() -> None:
    """Between two times at which other tasks run, not only when the task suspends or wakes."""

    async def scenario() -> None:
        phase = 0

        async def client() -> None:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                assert phase != 1, "half done"
                raise

        async def work() -> None:
            nonlocal phase
            for number in (1, 2):
                phase = number
                await asyncio.sleep(1)

        async def work_later() -> None:
            await asyncio.sleep(1)
            await work()

        [error, _] = await asyncio.gather(client(), work_later(), return_exceptions=True)
        assert not isinstance(error, AssertionError)

    failure = Explorer(cancel="client").explore(scenario).failure
    assert failure is not None
    assert len(failure.schedule) == 1
    [cancel] = failure.schedule
    assert isinstance(cancel, Cancel)
    assert cancel.after


def test_cancel_that_matches_no_task_is_an_error() -> None:
    with pytest.raises(ExplorationError) as raised:
        Explorer(cancel=["server*", io]).explore(gathers)
    assert str(raised.value) == snapshot(
        """\
cancel= matches no task in any run: 'server*', io
  tasks: client#1, client#2
Write one of these, or cancel=True for all tasks that the test starts\
"""
    )


def test_cancel_without_any_task_is_an_error() -> None:
    """Otherwise it would pass as a proof that includes cancellations."""
    with pytest.raises(ExplorationError) as raised:
        Explorer(cancel=True).explore(one_after_the_other)
    assert str(raised.value) == snapshot(
        """\
cancel=True found no task to cancel: no task started by the test is ever suspended
Wrap the call that should be cancelled:  task = asyncio.create_task(...)\
"""
    )


def test_verdict_excludes_cancellations_if_cancel_found_no_task() -> None:
    explorer = Explorer(cancel=True, require_cancel=False, slow_results=True)
    exploration = explorer.explore(one_after_the_other)
    assert "(including slow results; excluding cancellations and injected errors);" in str(exploration)
    assert explorer.explore(gathers).injected == ("cancellations", "slow results")


# Errors and slow results.


async def retries_once() -> None:
    for _ in range(2):
        with suppress(ConnectionError):
            return await io()
    raise LookupError


def test_injected_errors() -> None:
    assert Explorer(inject_errors=ConnectionError, max_deviations=1).explore(retries_once).failure is None
    exploration = Explorer(inject_errors=ConnectionError).explore(retries_once)
    assert exploration.failure is not None
    assert str(exploration.failure.schedule) == "main@1!ConnectionError, main@2!ConnectionError"


def test_slow_results_outlast_a_timeout() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(1):
            await io()

    assert Explorer().explore(scenario).verdict == "exhaustive"
    exploration = Explorer(slow_results=True).explore(scenario)
    assert exploration.failure is not None
    assert str(exploration.failure.schedule) == "main@1!outlast"
    assert isinstance(exploration.failure.error, TimeoutError)


# Replay.


def test_a_failing_schedule_can_be_replayed() -> None:
    found = Explorer().explore(sells_too_often).failure
    assert found is not None
    exploration = Explorer(replay=str(found.schedule)).explore(sells_too_often)
    assert exploration.failure is not None
    assert exploration.failure.schedule == found.schedule
    assert exploration.failure.trace == found.trace
    assert exploration.runs == 1


def test_passing_replay_has_the_verdict_replayed() -> None:
    exploration = Explorer(replay="look_and_sell@1+1").explore(sells_too_often)
    assert (exploration.verdict, exploration.runs) == ("replayed", 1)
    assert str(exploration).startswith("replayed: look_and_sell@1+1 passes; ")


def test_passing_replay_is_shown_as_written() -> None:
    exploration = Explorer(replay="client@1+1").explore(two_clients)
    assert str(exploration).startswith("replayed: client@1+1 passes; ")


def test_empty_replay_runs_the_default_order() -> None:
    """For example, the value of an empty shell variable."""
    assert str(Explorer(replay="").explore(sells_too_often)).startswith("replayed: asyncio's default order passes; ")


def test_replay_is_not_minimized() -> None:
    exploration = Explorer(replay="sell@0+1, look_and_sell@1+1").explore(sells_too_often)
    assert exploration.failure is None or len(exploration.failure.schedule) == 2


def test_replay_of_a_cancellation_or_slow_result_needs_no_option() -> None:
    assert Explorer(replay=Schedule([Cancel("client#2", 1)])).explore(gathers).cut_short == 1
    assert str(Explorer(replay="client#2@1!outlast").explore(gathers)).startswith("replayed: client#2@1!outlast passes")


def test_replay_runs_the_default_order_and_then_the_schedule_once() -> None:
    """So the side effects of the last run are those of the replayed schedule."""
    runs: list[list[str]] = []

    async def scenario() -> None:
        runs.append(order := [])

        async def client(name: str) -> None:
            await io()
            order.append(name)

        await asyncio.gather(client("a"), client("b"))
        assert order == ["a", "b"]

    failure = Explorer(replay="client@1+1").explore(scenario).failure
    assert failure is not None
    assert runs == [["a", "b"], ["b", "a"]]
    assert (failure.found_by, failure.run_number) == ("replay", 1)


def test_replay_reports_a_failure_in_the_default_order() -> None:
    """A report about the delays would be misleading."""

    async def scenario() -> None:
        await two_clients()
        raise LookupError

    failure = Explorer(replay="client@1+1").explore(scenario).failure
    assert failure is not None
    assert failure.schedule == Schedule()


def test_breakpoints_of_a_replay_do_not_stop_in_the_default_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who replays a schedule wants to debug that schedule only."""
    stops: list[int] = []
    monkeypatch.setattr("sys.breakpointhook", lambda: stops.append(0))
    monkeypatch.setattr("pdb.set_trace", lambda: stops.append(1))
    monkeypatch.setattr("pytest.set_trace", lambda: stops.append(2))

    async def scenario() -> None:
        breakpoint()
        pdb.set_trace()
        pytest.set_trace()
        await sells_too_often()

    assert Explorer(replay="sell@0+1").explore(scenario).verdict == "failed"
    assert stops == [0, 1, 2]


# Schedules that failed before.


def test_previous_failure_is_tried_first() -> None:
    """It runs right after the default order, and is minimized like any other failure."""
    for seed in range(5):
        failure = (
            Explorer(previous_failures=["look_and_sell@0+1, sell@0+4"], seed=seed).explore(sells_too_often).failure
        )
        assert failure is not None
        assert (failure.found_by, failure.run_number, str(failure.schedule)) == ("previous", 2, "sell@0+1")


@pytest.mark.parametrize(
    "text",
    [
        "missing@0+1",
        "client@9+1",
        "client@0!ConnectionError",
        "client@1!cancel",
        "client@1!outlast",
        "client@1+1",
        "client@1+1, missing@0+1",
    ],
)
def test_obsolete_previous_failure_does_not_change_the_exploration(text: str) -> None:
    """The counts are the same too: the exploration is the same as without it."""

    async def scenario() -> None:
        async def client() -> None:
            await io()
            await io()

        await asyncio.gather(client(), client(), return_exceptions=True)

    plain = Explorer(seed=1).explore(scenario)
    again = Explorer(seed=1, previous_failures=[text]).explore(scenario)
    assert again == replace(plain, seconds=again.seconds, now_passing=again.now_passing)
    assert bool(again.now_passing) == (text == "client@1+1")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("client@1!cancel", {"cancel": "client"}),
        ("client@1!LookupError", {"inject_errors": LookupError}),
        ("client:timer+2", {"arrivals": ["timer"]}),
        ("client@1!outlast", {"slow_results": True}),
    ],
)
def test_previous_failure_is_skipped_unless_its_options_are_set(text: str, options: dict[str, Any]) -> None:
    """A user who has found a failure to be impossible, and excluded it, does not see it again."""

    async def scenario() -> None:
        async def client() -> None:
            asyncio.get_running_loop().call_later(2, moments.append, "timer")
            await asyncio.sleep(1)
            moments.append("client")

        async def other() -> None:
            await asyncio.sleep(2)
            moments.append("other")

        moments: list[str] = []
        await asyncio.gather(client(), other(), return_exceptions=True)
        assert moments == ["client", "timer", "other"]

    fixed = {"arrivals": ["sleep"], "max_deviations": 0, "previous_failures": [text]}
    failure = Explorer(**{**fixed, **options}).explore(scenario).failure
    assert failure is not None
    assert (failure.found_by, str(failure.schedule)) == ("previous", text)
    assert Explorer(**fixed).explore(scenario).failure is None


def test_unparsable_replay_text_is_an_error() -> None:
    with pytest.raises(ScheduleSyntaxError):
        Explorer(replay="client@1")


def test_replay_of_an_invalid_schedule_is_an_error() -> None:
    with pytest.raises(ScheduleSyntaxError, match="this step already has a delay, a@1[+]1"):
        Explorer(replay=Schedule([Delay("a", 1, 1), Delay("a", 1, 2)]))


def test_replay_of_a_missing_task_is_an_error() -> None:
    with pytest.raises(ReplayError) as raised:
        Explorer(replay="seller@1+1").explore(sells_too_often)
    assert str(raised.value) == snapshot(
        """\
seller@1+1 cannot be replayed: there is no task seller; those with arrivals are: look_and_sell, sell
The test has changed, or the version of Python\
"""
    )


def test_replay_of_a_missing_step_is_an_error() -> None:
    with pytest.raises(ReplayError) as raised:
        Explorer(replay="sell@7+1").explore(sells_too_often)
    assert str(raised.value) == snapshot(
        """\
sell@7+1 cannot be replayed: sell has no arrival at step 7; its steps are: 0 (start), 1 (yield)
The test has changed, or the version of Python\
"""
    )


def test_replay_of_an_injected_error_needs_its_option() -> None:
    with pytest.raises(ReplayError, match=r"write: inject_errors=OSError"):
        Explorer(replay="sell@1!OSError").explore(sells_too_often)


@pytest.mark.parametrize(
    ("text", "meant"), [("cancl", "cancel"), ("outlats", "outlast"), ("ConectionError", "ConnectionError")]
)
def test_replay_suggests_a_correction_for_a_typo(text: str, meant: str) -> None:
    with pytest.raises(ReplayError, match=rf"unknown fault !{text}: .*; did you mean !{meant}[?]"):
        Explorer(replay=f"sell@1!{text}", inject_errors=ConnectionError).explore(sells_too_often)


# Tests that are not deterministic.


def test_state_left_over_from_the_first_run_is_named_as_the_cause() -> None:
    cache: dict[str, int] = {}

    async def scenario() -> None:
        if "key" not in cache:
            await io()
            cache["key"] = 1
        await io()

    with pytest.raises(NonDeterministicTest) as raised:
        Explorer().explore(scenario)
    assert str(raised.value) == snapshot(
        """\
the test is not deterministic: the first run and the next differ at step 3
  first run:   main runs its step 2, at 0 s
  second run:  the run has ended
The first run probably changed state outside the test, such as a cache
Usual causes and remedies:
  a set of objects, ordered by address    use a dict, or define __hash__
  the wall clock                          use asyncio.get_running_loop().time()
  a cache or counter outside the test     reset it at the start of the test\
"""
    )


def test_counter_outside_the_test_is_nondeterministic() -> None:
    calls = itertools.count()

    async def scenario() -> None:
        await asyncio.sleep(next(calls))

    with pytest.raises(
        NonDeterministicTest,
        match=r"two runs of the same schedule differ at step 2\n"
        r"  first run:   the result for step 1 of main arrives, at 1 s\n  second run:  ",
    ):
        Explorer().explore(scenario)


def test_numbers_in_task_names_may_differ_between_runs() -> None:
    """Pools number their tasks, and many programs name a task after the UUID of a request."""
    pools = itertools.count(98)

    async def scenario() -> None:
        number, seen = next(pools), []

        async def work(own: int) -> None:
            await io()
            seen.append(own)

        for own in range(2):
            asyncio.create_task(work(own), name=f"pool-{number}-worker{own}")
        asyncio.create_task(work(2), name=f"request {uuid.uuid4()}")
        await asyncio.sleep(1)
        assert seen == sorted(seen)

    exploration = Explorer(arrivals="yield").explore(scenario)
    assert exploration.failure is not None
    [late] = exploration.failure.schedule
    assert late.task in ("pool-<n>-worker0", "pool-<n>-worker1")
    replayed = Explorer(replay=str(exploration.failure.schedule)).explore(scenario).failure
    assert replayed is not None
    assert replayed.schedule == exploration.failure.schedule


def test_swapped_task_names_are_nondeterministic() -> None:
    """Their names contain numbers, but the same numbers in each run."""
    calls = itertools.count()

    async def scenario() -> None:
        numbers = [1, 2] if next(calls) % 2 else [2, 1]
        for number in numbers:
            asyncio.create_task(io(), name=f"worker-{number}")
        await asyncio.sleep(1)

    with pytest.raises(NonDeterministicTest):
        Explorer().explore(scenario)


@pytest.mark.parametrize("fine", [1, 2])
def test_runs_that_differ_only_at_the_end_are_nondeterministic(fine: int) -> None:
    """One run ends at a step at which the next waits forever."""
    calls = itertools.count()

    async def scenario() -> None:
        if next(calls) >= fine:
            await asyncio.Event().wait()

    which = "two runs of the same schedule" if fine == 2 else "the first run and the next"
    with pytest.raises(NonDeterministicTest, match=f"not deterministic: {which} differ only at the end"):
        Explorer().explore(scenario)


def test_uncontrolled_operation_ends_the_exploration() -> None:
    async def scenario() -> None:
        await asyncio.open_connection("localhost", 1)

    with pytest.raises(UncontrolledOperation):
        Explorer().explore(scenario)


def test_propagated_outcome_ends_the_exploration() -> None:
    class Skipped(BaseException): ...

    runs = itertools.count()

    def scenario() -> Any:
        if next(runs) == 5:
            raise Skipped
        return two_clients()

    with pytest.raises(Skipped):
        Explorer().explore(scenario)
    assert next(runs) == 6


@pytest.mark.parametrize("passes_through", [Propagating, (Propagating,), lambda error: isinstance(error, Propagating)])
@pytest.mark.parametrize(
    ("errors", "expected"), [((Propagating, Propagating), Propagating), ((Propagating, LookupError), None)]
)
def test_group_of_only_propagated_outcomes_is_propagated(errors: Any, expected: Any, passes_through: Any) -> None:
    """For example, when a task of a group skips the test, or a user quits the debugger. It does not hide an error."""

    async def fail(error: type[BaseException]) -> None:
        raise error

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for error in errors:
                group.create_task(fail(error))

    explorer = Explorer(propagate=passes_through)
    if expected is None:
        assert explorer.explore(scenario).verdict == "failed"
    else:
        with pytest.raises(expected):
            explorer.explore(scenario)


# First stumbling blocks of users.


def test_waiters_woken_by_one_set_see_the_same_state() -> None:
    async def scenario() -> None:
        state, ready, waiting, seen = [0], asyncio.Event(), [], []

        async def wait() -> None:
            waiting.append(1)
            await ready.wait()
            seen.append(state[0])

        async def change() -> None:
            while len(waiting) < 2:
                await io()
            state[0] = 1
            ready.set()
            await io()
            state[0] = 2

        await asyncio.gather(wait(), wait(), change())
        assert len(set(seen)) == 1

    assert Explorer(max_deviations=3).explore(scenario).failure is None


def test_task_starts_can_be_excluded_from_the_arrivals() -> None:
    async def scenario() -> None:
        is_started = False

        async def server() -> None:
            nonlocal is_started
            is_started = True

        asyncio.create_task(server(), name="server")
        await io()
        assert is_started

    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert failure.delayed_kinds == {"start"}
    others = ("yield", "sleep", "timer", "thread", "mock")
    assert Explorer(arrivals=others).explore(scenario).verdict == "exhaustive"


async def by_gather(*jobs: Any) -> None:
    await asyncio.gather(*[job() for job in jobs])


async def by_create_task(*jobs: Any) -> None:
    for task in [asyncio.create_task(job()) for job in jobs]:
        await task


async def by_group(*jobs: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job())


async def by_anyio(*jobs: Any) -> None:
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(job)


def test_unnamed_task_has_asyncios_default_name() -> None:
    """Some versions of Python set the name None if a loop has a task factory."""

    async def scenario() -> None:
        task = asyncio.create_task(io())
        assert task.get_name().startswith("Task-")
        await task

    assert Explorer().explore(scenario).failure is None


@pytest.mark.parametrize("start", [by_gather, by_create_task, by_group, by_anyio])
def test_result_is_independent_of_how_tasks_are_started(start: Any) -> None:
    """The tasks have the same names, too."""

    async def scenario() -> None:
        total = 0

        async def first() -> None:
            nonlocal total
            before = total
            await io()
            total = before + 1

        async def second() -> None:
            await io()
            await first()

        await start(first, second)
        assert total == 2

    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert str(failure.schedule) == "first@1+1"


def test_explorer_works_wherever_no_event_loop_is_running() -> None:
    """In a Hypothesis test, a unittest method, a script: wherever no loop is running."""

    @asynccontextmanager
    async def store() -> AsyncIterator[list[int]]:
        yield []

    async def scenario() -> None:
        async with store() as items:
            await asyncio.gather(io(), io())
            assert items == []

    for _ in range(3):
        assert Explorer().explore(scenario).failure is None


async def test_exploring_inside_a_running_loop_is_an_error() -> None:
    with pytest.raises(ExplorationError, match="make the test a plain def"):
        Explorer().explore(two_clients)


def test_deadlock_is_a_failure_of_the_schedule() -> None:
    async def scenario() -> None:
        one, two = asyncio.Lock(), asyncio.Lock()

        async def use(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await io()
                async with second:
                    pass

        async def later() -> None:
            await io()
            await use(two, one)

        await asyncio.gather(use(one, two), later())

    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert isinstance(failure.error, DeadlockError)


def test_nest_asyncio_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It replaces asyncio's tasks permanently."""
    monkeypatch.setattr(asyncio, "_nest_patched", True, raising=False)
    with pytest.raises(ExplorationError, match=r"cannot explore after nest_asyncio\.apply\(\)"):
        Explorer().explore(lambda: asyncio.sleep(0))
