"""The cost of watching every test of a suite: `python benchmarks/watch.py` (`--quick` for fewer tests).

A suite of trivial async tests runs without the plugin, with the plugin and all reports on `warn`, and, if pyleak is
installed, with pyleak's marker on every test (fewer tests, and once, because pyleak waits at the end of each test). A
second suite starts background tasks. Finally, the memory that remains of the tasks of many tests on one loop is
measured.
"""

import argparse
import importlib.util
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent

from sessions import CAN_COUNT_INSTRUCTIONS, NOTHING, Middle, cpu_milliseconds, in_pairs, instructions, prepare, run

TESTS = 2_000
PYLEAK_TESTS = 100
TASKS = 20  # in each test of the second suite
PAIRS = 15
GOAL_RATIO = 1.05
MEMORY_TESTS = 100_000
GOAL_BYTES = 1_000_000

TRIVIAL = """
    import asyncio
    import pytest

    {mark}

    @pytest.mark.parametrize("number", range({tests}))
    async def test_trivial(number):
        await asyncio.sleep(0)
"""
WITH_TASKS = """
    import asyncio
    import pytest

    {mark}

    async def job():
        await asyncio.sleep(0)

    @pytest.mark.parametrize("number", range({tests}))
    async def test_with_tasks(number):
        tasks = [asyncio.create_task(job()) for _ in range({tasks})]
        for task in tasks:
            await task
"""
REPORTS = ["--background-tasks-unhandled=warn", "--background-tasks-leaked=warn", "--background-tasks-destroyed=warn"]
ASYNCIO = ["-p", "pytest_asyncio.plugin", "--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
SIDES = {
    "without": ["-p", NOTHING],
    "with the plugin": ["-p", "pytest_background_tasks.plugin", *REPORTS],
    "with pyleak's marker": ["-p", "pyleak.pytest_plugin"],
}

MEMORY = """
    import asyncio, gc, sys, tracemalloc
    from pathlib import Path
    from pytest_background_tasks._introspect.project_code import ProjectCode
    from pytest_background_tasks._monitor.task_record import MonitoredTest
    from pytest_background_tasks._monitor.policy import Policy
    from pytest_background_tasks._monitor.task_monitor import TaskMonitor

    async def job():
        await asyncio.sleep(0)

    async def test():
        await asyncio.gather(*[asyncio.create_task(job()) for _ in range(3)])

    policy = Policy(unhandled="warn", leaked="warn", destroyed="warn", deadlock="fixture", allow=())
    monitor = TaskMonitor(ProjectCode(Path.cwd()))
    monitor.open()
    runner = asyncio.Runner()

    def run(tests):
        for number in range(tests):
            monitor.test_started(MonitoredTest(f"test[{number}]", policy))
            runner.run(test())
            assert not monitor.collect(list)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = run(1000)
    print(run(int(sys.argv[1])) - before)
"""


def written(source: str, side: str, tests: int, folder: Path) -> list[str]:
    """Write a suite, and return the options for pytest to run it."""
    mark = "pytestmark = pytest.mark.no_leaks(tasks=True)" if "pyleak" in side else ""
    suite = folder / f"test_{len(list(folder.iterdir()))}.py"
    suite.write_text(dedent(source).format(mark=mark, tests=tests, tasks=TASKS))
    return [*ASYNCIO, *SIDES[side], str(suite)]


def compare(title: str, source: str, tests: int, pairs: int, folder: Path) -> Middle:
    """Run both sides alternately, print their times, and return the ratio of ours."""
    sides = [written(source, side, tests, folder) for side in list(SIDES)[:2]]
    plain, ours = in_pairs(
        [lambda: cpu_milliseconds(sides[0], folder), lambda: cpu_milliseconds(sides[1], folder)], pairs
    )
    ratio = Middle.of([with_plugin / without for without, with_plugin in zip(plain, ours, strict=True)])
    print(f"\n  {title}: CPU s, median (and 95 % interval) of {pairs} pairs")
    for side, times in zip(SIDES, (plain, ours), strict=False):
        print(f"    {side:22} {Middle.of(times).value / 1000:6.2f}")
    print(f"    ratio                   {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
    if CAN_COUNT_INSTRUCTIONS:
        without, with_plugin = (instructions(options, folder) for options in sides)
        print(f"    in instructions         {with_plugin / without:.3f}")
    return ratio


def seconds(options: list[str], folder: Path) -> float:
    """Return the elapsed time of a session; CPU time would not include the waiting of pyleak."""
    start = time.perf_counter()
    run(options, folder)
    return time.perf_counter() - start


def verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer tests and rounds")
    quick = parser.parse_args().quick
    tests, pairs = (400, 5) if quick else (TESTS, PAIRS)
    print(f"Watching, on {platform.python_implementation()} {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        ratio = compare(f"{tests:,} trivial async tests", TRIVIAL, tests, pairs, folder)
        print(f"    goal: at most {GOAL_RATIO}: {ratio.verdict(GOAL_RATIO)}")
        compare(f"{tests:,} async tests with {TASKS} background tasks each", WITH_TASKS, tests, pairs, folder)
        if importlib.util.find_spec("pyleak"):
            print(f"\n  {PYLEAK_TESTS} trivial async tests, once, elapsed ms per test, including startup")
            for side in SIDES:
                taken = seconds(written(TRIVIAL, side, PYLEAK_TESTS, folder), folder)
                print(f"    {side:22} {taken / PYLEAK_TESTS * 1000:6.1f}")
    number = 5_000 if quick else MEMORY_TESTS
    command = [sys.executable, "-c", dedent(MEMORY), str(number)]
    more = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    print(f"\n  memory after {number:,} tests with 3 background tasks each on one loop, compared with 1,000 tests")
    print(f"    {more:,} bytes more; goal: flat, at most {GOAL_BYTES:,}: {verdict(more <= GOAL_BYTES)}")


if __name__ == "__main__":
    main()
