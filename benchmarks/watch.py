"""What it costs to watch every test of a suite: `python benchmarks/watch.py` (`--quick` for a look).

A suite of trivial async tests runs in a process of its own, without the plugin, with it and all its reports on `warn`,
and (fewer tests, and once: it waits at the end of each) with pyleak's marker on every test, if pyleak is installed. A
second suite starts background tasks. Then: what is left of the tasks of many tests on one loop.
"""

import argparse
import importlib.util
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

TESTS = 2_000
PYLEAK_TESTS = 100
TASKS = 20  # a test, of the suite that starts some
REPETITIONS = 9
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
REPORTS = ["--background-tasks-failed=warn", "--background-tasks-leaked=warn", "--background-tasks-unreferenced=warn"]
ASYNCIO = ["-p", "pytest_asyncio.plugin", "--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
SIDES = {
    "without": ["-p", "atexit"],  # a plugin too, of Python itself: see startup.py
    "with the plugin": ["-p", "pytest_background_tasks.plugin", *REPORTS],
    "with pyleak's marker": ["-p", "pyleak.pytest_plugin"],
}
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

MEMORY = """
    import asyncio, gc, sys, tracemalloc
    from pathlib import Path
    from pytest_background_tasks.own import OwnCode
    from pytest_background_tasks.watch.modes import Modes
    from pytest_background_tasks.watch.record import Watched
    from pytest_background_tasks.watch.watch import Watch

    async def job():
        await asyncio.sleep(0)

    async def test():
        await asyncio.gather(*[asyncio.create_task(job()) for _ in range(3)])

    watch = Watch(OwnCode(Path.cwd()))
    watch.open()
    runner = asyncio.Runner()

    def run(tests):
        for number in range(tests):
            watch.begin(Watched(f"test[{number}]", Modes(leaked="warn")))
            runner.run(test())
            assert not watch.finish(list)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = run(1000)
    print(run(int(sys.argv[1])) - before)
"""


def cpu_seconds() -> float:
    """What child processes have used: other work on the machine counts less than on a clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(source: str, side: str, tests: int, clock: Callable[[], float] = cpu_seconds) -> float:
    """How long pytest takes for a suite, as a process of its own."""
    mark = "pytestmark = pytest.mark.no_leaks(tasks=True)" if "pyleak" in side else ""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "test_suite.py"
        suite.write_text(dedent(source).format(mark=mark, tests=tests, tasks=TASKS))
        options = ["-q", "-p", "no:cacheprovider", *ASYNCIO, *SIDES[side]]
        start = clock()
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, str(suite)],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return clock() - start


def compare(title: str, source: str, tests: int, repetitions: int) -> float:
    """Run both sides by turns; print each one's median. Returns the median ratio of ours."""
    sides = list(SIDES)[:2]
    seconds(source, sides[1], 10)  # compiles the plugin
    rounds = [{side: seconds(source, side, tests) for side in sides} for _ in range(repetitions)]
    print(f"\n  {title}, median (and range) of {repetitions}, CPU s and beside the run without it just before")
    for side in sides:
        times = [round_[side] for round_ in rounds]
        ratios = sorted(round_[side] / round_["without"] for round_ in rounds)
        middle = statistics.median(ratios)
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
        print(f"    {side:22} {statistics.median(times):6.2f}   {middle:.3f} ({spread})")
    return statistics.median(round_["with the plugin"] / round_["without"] for round_ in rounds)


def verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer tests and rounds")
    quick = parser.parse_args().quick
    tests, repetitions = (400, 3) if quick else (TESTS, REPETITIONS)
    print(f"Watching, on {platform.python_implementation()} {platform.python_version()}")
    ratio = compare(f"{tests:,} trivial async tests", TRIVIAL, tests, repetitions)
    print(f"    goal: at most {GOAL_RATIO}: {verdict(ratio <= GOAL_RATIO)}")
    compare(f"{tests:,} async tests with {TASKS} background tasks each", WITH_TASKS, tests, repetitions)
    if importlib.util.find_spec("pyleak"):
        milliseconds = [seconds(TRIVIAL, side, PYLEAK_TESTS, time.perf_counter) / PYLEAK_TESTS * 1000 for side in SIDES]
        print(f"\n  {PYLEAK_TESTS} trivial async tests, once, in ms a test, start included")
        for side, value in zip(SIDES, milliseconds, strict=True):
            print(f"    {side:22} {value:6.1f}")
    number = 5_000 if quick else MEMORY_TESTS
    command = [sys.executable, "-c", dedent(MEMORY), str(number)]
    more = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    print(f"\n  memory after {number:,} tests with 3 background tasks each on one loop, beside 1,000 tests")
    print(f"    {more:,} bytes more; goal: flat, at most {GOAL_BYTES:,}: {verdict(more <= GOAL_BYTES)}")


if __name__ == "__main__":
    main()
