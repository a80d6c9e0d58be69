"""The speed of virtual time, compared with other virtual clocks: `python benchmarks/virtual_time.py`.

A separate pytest session takes the figures, with the fixture as every test gets it. The other clocks run alternately
with it and are compared pair by pair.
"""

import asyncio
import gc
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiotools
import async_solipsism
import looptime
import pytest

SLEEPERS = 1000
SLEEPS = 100_000
REPETITIONS = 5
PEERS = ("async-solipsism", "looptime", "aiotools")


async def sleepers() -> None:
    """Run sleepers of 1, 2, 3, ... seconds."""
    await asyncio.gather(*[asyncio.sleep(number) for number in range(1, SLEEPERS + 1)])


async def sequence() -> None:
    for _ in range(SLEEPS):
        await asyncio.sleep(1)


def run_on_solipsism(main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(main())


def run_on_looptime(main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(main())  # enabled by default


def run_on_aiotools(main: Callable[[], Any]) -> None:
    async def patched() -> None:
        with aiotools.VirtualClock().patch_loop():
            await main()

    asyncio.run(patched())


RUNS = dict(zip(PEERS, (run_on_solipsism, run_on_looptime, run_on_aiotools), strict=True))


def seconds(run: Callable[[Callable[[], Any]], None], main: Callable[[], Any]) -> float:
    gc.collect()
    start = time.perf_counter()
    run(main)
    return time.perf_counter() - start


@pytest.mark.parametrize("main", [sleepers, sequence], ids=["sleepers", "sequence"])
def test_time(background_tasks, main):
    from pytest_background_tasks.virtual_time import driving  # pytest warns if a plugin is loaded before it starts

    def run_on_virtual_time(main: Callable[[], Any]) -> None:
        with driving(background_tasks._context):  # as the fixture virtual_time does
            asyncio.run(main())

    what = f"{SLEEPERS:,} sleepers of 1 to {SLEEPERS:,} s" if main is sleepers else f"{SLEEPS:,} times sleep(1)"
    rounds = []
    for _ in range(REPETITIONS + 1):  # the first round is a warm-up
        runs = {"virtual_time": run_on_virtual_time, **RUNS}
        rounds.append({name: seconds(run, main) for name, run in runs.items()})
    print(f"\n  {what}, median of {REPETITIONS}")
    medians = {name: statistics.median(figures[name] for figures in rounds[1:]) for name in rounds[0]}
    for name, median in medians.items():
        print(f"    {name:<16} {median * 1000:9.2f} ms")
    fastest = min(PEERS, key=medians.__getitem__)
    ratios = sorted(figures["virtual_time"] / figures[fastest] for figures in rounds[1:])
    ratio = statistics.median(ratios)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"    ratio to {fastest}: {ratio:.2f} ({spread}); goal at most 1: {'met' if ratio <= 1 else 'NOT MET'}")


def main() -> int:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    versions = ", ".join(f"{peer} {importlib.metadata.version(peer)}" for peer in PEERS)
    print(f"Virtual time, on {platform.python_implementation()} {platform.python_version()}; {versions}")
    plugins = ["-p", "pytest_background_tasks.plugin", "-p", "no:cacheprovider", "--noconftest"]
    own_rootdir = ["-c", os.devnull, "--rootdir", str(Path(__file__).parent)]
    return pytest.main(["-s", "-qq", *plugins, *own_rootdir, __file__])


if __name__ == "__main__":
    sys.exit(main())
