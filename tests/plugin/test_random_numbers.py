"""A failure that depends on random numbers repeats: in the replay, in the next session and in the debugger."""

import random
import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

FAILS = """
    import random

    async def fails_if_first_is(number):
        first = random.random()
        await asyncio.sleep(first)  # so that runs differ
        order = []

        async def work(name):
            await asyncio.sleep(0.01)
            order.append(name)

        await asyncio.gather(work("a"), work("b"))
        assert order == ["a", "b"] or first != number
"""
EXPLORED = FAILS + "    @explore\n    async def test_it(): await fails_if_first_is({})\n"
IN_SUITE = FAILS + "    async def test_it(): await fails_if_first_is({})\n"
SAME_NUMBERS = "Each run drew the same random numbers, since runs differed without that."


def _first(seed: str) -> float:
    return random.Random(seed).random()


def _replayed(result: pytest.RunResult, *args: str) -> str:
    """Return what the replay line of a failure prints, in a process of its own."""
    line = next(line for line in result.outlines if line.startswith("replay:"))
    words = shlex.split(line.removeprefix("replay:  pytest "))
    command = [sys.executable, "-m", "pytest", "-p", "pytest_background_tasks.plugin", *args, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_failure_of_an_explored_test_repeats_in_another_process(run: Run) -> None:
    """Its random numbers come from the seed, which is the id of the test."""
    result = run(EXPLORED.format(_first("test_it.py::test_it")))
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line(SAME_NUMBERS)
    assert "This was a replay of one schedule; verdict: failed." in _replayed(result)


def test_replay_line_has_the_seed_of_the_command_line(run: Run) -> None:
    result = run(EXPLORED.format(_first("7")), "--explore-seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["replay:  pytest test_it.py::test_it --explore-seed 7 --explore-replay *"])
    assert "This was a replay of one schedule; verdict: failed." in _replayed(result)


def test_failure_in_a_suite_repeats_in_another_process_and_in_the_next_session(suite: Run) -> None:
    source = IN_SUITE.format(_first("test_it.py::test_it"))
    result = suite(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([SAME_NUMBERS])
    plugins = ("-p", "pytest_asyncio.plugin", "--asyncio-mode=auto")
    assert f"{SAME_NUMBERS}\n\nThis was a replay of one schedule; verdict: failed." in _replayed(result, *plugins)
    suite(source).stdout.fnmatch_lines(["This schedule failed last time and was tried first."])


def test_unique_names_of_a_suite_stay_unique(suite: Run, outcomes: Callable[[], dict[str, dict[str, object]]]) -> None:
    """In the usual run and in all extra runs; the tests are explored."""
    result = suite(
        """
        import random

        names = set()

        async def work(): await asyncio.sleep(0.01)

        @pytest.mark.parametrize("number", range(3))
        async def test_it(number):
            name = random.getrandbits(64)
            assert name not in names
            names.add(name)
            await asyncio.gather(work(), work())
        """
    )
    result.assert_outcomes(passed=3)
    assert {each["verdict"] for each in outcomes().values()} == {"bounded"}


def test_random_numbers_of_a_suite_can_be_left_alone(
    suite: Run, outcomes: Callable[[], dict[str, dict[str, object]]]
) -> None:
    """The reason then names the line that draws."""
    suite(IN_SUITE.format(0), "--explore-reseed-random=false", "-v").assert_outcomes(passed=1)
    assert outcomes()["test_it"]["reason"] == "different"
