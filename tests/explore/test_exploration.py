"""Explorations: their failures and verdicts, the limits of the search, and random walks."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from pytest_background_tasks import DeadlockError, Explorer, Schedule

from .conftest import io, one_after_the_other, sells_too_often, two_clients


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
        "(not varied: different durations, slow sleeps, cancellations and errors); "
    )


def test_exhaustive_verdict_lists_the_included_faults() -> None:
    async def scenario() -> None:
        await asyncio.wait([asyncio.create_task(one_after_the_other())])

    exploration = Explorer(max_deviations=99, faults=["cancel", "slow"]).explore(scenario)
    assert "(including slow results and one cancellation per run; not varied: different durations and errors); " in str(
        exploration
    )
    exploration = Explorer(max_deviations=99, faults=["cancel", "slow"]).explore(scenario)
    assert "; not varied: different durations and errors); " in str(exploration)


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
        f" (not varied: different durations, slow sleeps, cancellations and errors); {first + 3} runs"
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
    monkeypatch.setattr("pytest_background_tasks._explore.exploration.real_clock", real_time)
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
