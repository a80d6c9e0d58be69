"""The cost of `pytest --explore`: `python benchmarks/suite.py` (`--quick` for fewer tests).

Two suites run with and without `--explore`, in adjacent pairs: small tests with nothing to vary, which cost one extra
run, and small tests with two tasks that answer at the same moment.
"""

import argparse
import platform
import tempfile
from pathlib import Path
from textwrap import dedent

from sessions import Middle, cpu_milliseconds, in_pairs, run

TESTS = 1_000
PAIRS = 9
GOAL_RATIO = 3.0

SUITES = {
    "nothing to vary": """
        import asyncio
        import pytest

        @pytest.fixture
        async def room():
            yield []

        @pytest.mark.parametrize("number", range({tests}))
        async def test_it(number, room):
            await asyncio.sleep(0)
            assert room == []
    """,
    "two answers at once": """
        import asyncio
        import pytest

        async def answer():
            await asyncio.sleep(0.001)

        @pytest.mark.parametrize("number", range({tests}))
        async def test_it(number):
            await asyncio.gather(answer(), answer())
    """,
}
OPTIONS = [
    *("-p", "pytest_asyncio.plugin", "-p", "pytest_background_tasks.plugin", "--asyncio-mode=auto"),
    *("-o", "asyncio_default_fixture_loop_scope=function"),
]


def compare(title: str, tests: int, pairs: int, folder: Path) -> Middle:
    """Run a suite with and without `--explore` alternately, print the times, and return their ratio."""
    suite = folder / f"test_{title.replace(' ', '_')}.py"
    suite.write_text(dedent(SUITES[title]).format(tests=tests))
    plain = [*OPTIONS, str(suite)]
    explored = [*plain, "--explore", "--explore-max-seconds=60"]
    print(f"\n  {tests:,} tests, {title}: CPU s, median (and 95 % interval) of {pairs} pairs")
    print(f"    {next(line for line in run(explored, folder).stdout.splitlines() if 'explored in' in line)}")
    times = in_pairs([lambda: cpu_milliseconds(plain, folder), lambda: cpu_milliseconds(explored, folder)], pairs)
    for side, column in zip(("plain pytest", "pytest --explore"), times, strict=True):
        print(f"    {side:22} {Middle.of(column).value / 1000:6.2f}")
    ratio = Middle.of([with_option / without for without, with_option in zip(*times, strict=True)])
    print(f"    ratio                   {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer tests and rounds")
    quick = parser.parse_args().quick
    tests, pairs = (200, 3) if quick else (TESTS, PAIRS)
    print(f"Exploring a whole suite, on {platform.python_implementation()} {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        ratios = [compare(title, tests, pairs, Path(name)) for title in SUITES]
    print(f"\n  goal: {next(iter(SUITES))}, at most {GOAL_RATIO:g} times: {ratios[0].verdict(GOAL_RATIO)}")


if __name__ == "__main__":
    main()
