"""The cost of holding tasks and running them later, compared with plain tasks: `python benchmarks/capture.py`.

A separate pytest session takes the figures, with the fixture as every test gets it.
"""

import asyncio
import gc
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

TASKS = 100_000
REPETITIONS = 7
GOAL_RATIO = 2.0
GOAL_KILOBYTES = 1.5


async def trivial():
    pass


async def run_plain():
    await asyncio.gather(*[asyncio.create_task(trivial()) for _ in range(TASKS)])


async def run_captured(background_tasks):
    background_tasks.start_capturing()
    tasks = [asyncio.create_task(trivial()) for _ in range(TASKS)]
    results = await background_tasks.run_all_async(timeout=None)
    assert len(results) == len(tasks) == TASKS


async def pending_bytes():
    """Return the memory of a task that has not run yet, with its coroutine and its entry in the loop's queue."""
    gc.collect()
    tracemalloc.start()
    tasks = [asyncio.create_task(trivial()) for _ in range(TASKS // 10)]
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(tasks)


def seconds(run: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def test_time(background_tasks):
    def captured():
        asyncio.run(run_captured(background_tasks))

    pairs = []
    for _ in range(REPETITIONS + 1):  # the first pair is a warm-up
        plain = seconds(lambda: asyncio.run(run_plain()))
        held = seconds(captured)
        background_tasks.stop_capturing()
        background_tasks.reset()
        pairs.append((plain, held))
    plain, held = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
    ratios = sorted(held / plain for plain, held in pairs[1:])
    ratio = statistics.median(ratios)
    print(f"\n  {TASKS:,} trivial tasks, median of {REPETITIONS}")
    print(f"    create_task and gather:             {plain:.3f} s")
    print(f"    captured, then run_all_async:       {held:.3f} s")
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"    ratio {ratio:.2f} ({spread}); goal at most {GOAL_RATIO}: {verdict(ratio <= GOAL_RATIO)}")


def test_memory(background_tasks):
    plain = asyncio.run(pending_bytes())
    background_tasks.start_capturing()
    held = asyncio.run(pending_bytes())
    more = (held - plain) / 1024
    print(f"\n  memory of a task that has not run, mean of {TASKS // 10:,}")
    print(f"    plain:                              {plain:,.0f} bytes")
    print(f"    held:                               {held:,.0f} bytes")
    print(f"    {more:.2f} KB more; goal at most {GOAL_KILOBYTES} KB: {verdict(more <= GOAL_KILOBYTES)}")


def verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def main() -> int:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    print(f"Capturing, on {platform.python_implementation()} {platform.python_version()}")
    plugins = ["-p", "pytest_background_tasks.plugin", "-p", "no:cacheprovider", "--noconftest"]
    own_rootdir = ["-c", os.devnull, "--rootdir", str(Path(__file__).parent)]
    return pytest.main(["-s", "-qq", *plugins, *own_rootdir, __file__])


if __name__ == "__main__":
    sys.exit(main())
