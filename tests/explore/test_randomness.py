"""Random numbers are the same in each run if a test was written to be explored, and otherwise once they matter."""

import asyncio
import random
import sys
import types
from typing import Any

import pytest

from pytest_background_tasks import Explorer, NonDeterministicTest
from pytest_background_tasks._explore.execution import Scenario, playing
from pytest_background_tasks._explore.exploration import explored
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._explore.randomness import Randomness
from pytest_background_tasks._explore.result import Exploration

SEED = "the seed"
FIRST = random.Random(SEED).random()  # the first random number of a run, if it comes from the seed


def explored_in_suite(scenario: Scenario, **options: Any) -> Exploration:
    """Explore a scenario as ``--explore`` explores a test."""
    asked = Options.of({"arrivals": ("sleep", "thread"), "max_deviations": 1, "seed": SEED, **options})
    return explored(playing(scenario), asked.in_suite(5.0))


async def two_sleeps() -> list[str]:
    """Return the order in which two sleeps end; it has two schedules."""
    order: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0.01)
        order.append(name)

    await asyncio.gather(work("a"), work("b"))
    return order


def test_numbers_come_from_the_seed_in_every_run() -> None:
    """So another process can repeat a run."""
    drawn = []

    async def scenario() -> None:
        drawn.append(random.random())
        await two_sleeps()

    assert Explorer(seed=SEED).explore(scenario).failure is None
    assert len(drawn) > 3
    assert set(drawn) == {FIRST}
    assert Explorer().explore(scenario).failure is None
    assert len(set(drawn)) == 2


def test_state_of_the_process_is_restored_after_the_exploration() -> None:
    """Also after a failure that has been reproduced: code that follows does not draw the numbers of the runs again."""

    async def scenario() -> None:
        random.shuffle([1, 2, 3])
        raise KeyError

    random.seed(5)
    state = random.getstate()
    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert random.getstate() == state
    with pytest.raises(KeyError):
        failure.reproduce()
    assert random.getstate() == state


def test_numbers_of_numpy_come_from_the_seed_if_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses a stub, which is gone at the end; numpy is big, and not needed for this. Its state has an array."""
    seeds: list[int] = []
    states: list[object] = []
    array = types.SimpleNamespace(tobytes=lambda: b"the state")
    numpy = types.SimpleNamespace(get_state=lambda: ("MT", array), set_state=states.append, seed=seeds.append)
    randomness = Randomness(SEED, is_same=True)
    randomness.begin_run()
    monkeypatch.setitem(sys.modules, "numpy.random", numpy)  # type: ignore[arg-type]
    randomness.begin_run()
    randomness.begin_run()
    others = Randomness(SEED, is_same=False)
    others.begin_run()
    assert not others.has_changed
    monkeypatch.delitem(sys.modules, "numpy.random")
    randomness.restore()
    assert seeds == [random.Random(SEED).getrandbits(32)] * 2
    assert states == [("MT", array)]


def test_numbers_can_be_left_alone() -> None:
    """Then the error for runs that differ names the line that draws."""
    drawn = []

    async def scenario() -> None:
        drawn.append(random.random())
        await two_sleeps()

    async def draws() -> None:
        await asyncio.sleep(random.randint(1, 10**9))
        await two_sleeps()

    assert Explorer(reseed_random=False).explore(scenario).failure is None
    assert len(set(drawn)) == len(drawn)
    with pytest.raises(NonDeterministicTest, match=r"\n  random\.getrandbits\(\) at tests/.*\.py:"):
        Explorer(reseed_random=False).explore(draws)
    with pytest.raises(NonDeterministicTest, match=r"random\.getrandbits\(\)"):
        explored_in_suite(draws, reseed_random=False)
    with pytest.raises(TypeError, match="reseed_random='no' is neither True nor False"):
        Explorer(reseed_random="no")  # type: ignore[arg-type]


# In a suite.


def test_numbers_are_left_alone_in_a_suite_while_they_do_not_matter() -> None:
    """Suites isolate tests by unique names."""
    names = []

    async def scenario() -> None:
        names.append(random.random())
        await two_sleeps()

    exploration = explored_in_suite(scenario)
    assert exploration.verdict == "bounded"
    assert len(set(names)) == len(names)
    assert not exploration.depends_on_random
    assert "random" not in str(exploration)


def test_exploration_begins_anew_if_runs_differ() -> None:
    """Then each run draws the same numbers, and the result says so."""

    async def scenario() -> None:
        await asyncio.gather(*[asyncio.sleep(random.random()) for _ in range(2)])
        await two_sleeps()

    exploration = explored_in_suite(scenario)
    assert exploration.failure is None
    assert exploration.depends_on_random
    assert str(exploration).endswith("s; each run drew the same random numbers")


def test_runs_that_differ_for_another_reason_still_differ() -> None:
    runs = []

    async def scenario() -> None:
        runs.append(random.random())
        await asyncio.sleep(len(runs))
        await two_sleeps()

    with pytest.raises(NonDeterministicTest):
        explored_in_suite(scenario)


@pytest.mark.parametrize("seed", range(40))
def test_test_that_fails_by_chance_is_not_blamed_on_a_schedule(seed: int) -> None:
    """Its failure under a deviation is repeated, and so is the default order."""

    async def scenario() -> None:
        await two_sleeps()
        assert random.random() < 0.5

    random.seed(seed)
    failure = explored_in_suite(scenario).failure
    assert failure is None or not failure.schedule


def test_failure_that_does_not_depend_on_the_numbers_is_found_with_those_of_the_process() -> None:
    names: list[float] = []

    async def scenario() -> None:
        name = random.random()
        assert name not in names, "the name is taken"
        names.append(name)
        assert await two_sleeps() == ["a", "b"]

    exploration = explored_in_suite(scenario)
    assert exploration.failure is not None
    assert exploration.failure.schedule
    assert "the name is taken" not in str(exploration.failure.error)
    assert not exploration.depends_on_random
    with pytest.raises(AssertionError, match="order|'b', 'a'"):
        exploration.failure.reproduce()


async def fails_with_the_numbers_of_the_seed() -> None:
    """Fail under a deviation, if the random number comes from the seed."""
    assert await two_sleeps() == ["a", "b"] or random.random() != FIRST


@pytest.mark.parametrize("option", ["previous_failures", "accepted", "replay"])
def test_schedule_that_failed_before_is_repeated_with_the_numbers_of_that_failure(option: str) -> None:
    """Whichever numbers the process draws: a stored one, an accepted one, and one to replay."""
    found = explored_in_suite(fails_with_the_numbers_of_the_seed)
    assert found.failure is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Options, "reseeds", True)
        found = explored_in_suite(fails_with_the_numbers_of_the_seed)
    assert found.failure is not None
    schedule = found.failure.schedule
    again = explored_in_suite(
        fails_with_the_numbers_of_the_seed, **{option: schedule if option == "replay" else [schedule]}
    )
    if option == "accepted":
        assert again.accepted == (schedule,)
        assert not again.now_passing
    else:
        assert again.failure is not None
        assert again.failure.schedule == schedule
    assert again.depends_on_random


def test_schedule_that_passes_with_any_numbers_is_mended() -> None:
    async def scenario() -> None:
        random.random()
        await two_sleeps()

    exploration = explored_in_suite(scenario, previous_failures=["work@1+1"])
    assert [str(each) for each in exploration.now_passing] == ["work@1+1"]
    assert not exploration.depends_on_random
