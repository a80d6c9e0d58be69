"""Errors that end an exploration: of tests that are not deterministic, and that cannot be explored."""

import asyncio
import itertools
import uuid
from typing import Any

import pytest
from inline_snapshot import snapshot

from pytest_background_tasks import ExplorationError, Explorer, NonDeterministicTest, UncontrolledOperation

from .conftest import io, two_clients


class Propagating(Exception): ...


def test_unreproducible_failure_is_reported_as_nondeterminism() -> None:
    calls = itertools.count()

    async def scenario() -> None:
        await two_clients()
        assert next(calls) != 5

    with pytest.raises(NonDeterministicTest, match="the failing run and its confirmation differ only at the end"):
        Explorer().explore(scenario)


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
        await asyncio.create_subprocess_exec("true")

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


async def test_exploring_inside_a_running_loop_is_an_error() -> None:
    with pytest.raises(ExplorationError, match="make the test a plain def"):
        Explorer().explore(two_clients)


def test_nest_asyncio_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It replaces asyncio's tasks permanently."""
    monkeypatch.setattr(asyncio, "_nest_patched", True, raising=False)
    with pytest.raises(ExplorationError, match=r"cannot explore after nest_asyncio\.apply\(\)"):
        Explorer().explore(lambda: asyncio.sleep(0))
