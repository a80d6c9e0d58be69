"""Exploring, compared with other explorers of asyncio code: `python benchmarks/explore.py`, on Python 3.12 or later.

All explorers alternate within one run, and ratios are taken pair by pair. Each is used as its authors intend:

- simloop: `explore` over seeds, with the policy "random", its default, and "pct".
- simloom: `explore` over seeds with "random" and "pct:auto", and `explore_systematic`, which enumerates.
- frontrun: `explore` with async workers: "dpor", its default, which enumerates, and "random". It takes shared state,
  workers and an invariant instead of a program, so it gets only the programs that have this form: none with a timeout,
  with tasks that start further tasks, or with actors other than workers. Its ten repetitions of a failure are disabled.

A schedule is one run from start to end; in frontrun, its setup, all its workers and its invariant. Our first run is
always the default order, in which none of these programs fails, so we need at least two runs.

None of the other explorers cancels tasks externally, so they do not get the two programs that need this. For each
program, the setting that needs the fewest runs counts; for random settings this is the median over the seeds.
"""

import asyncio
import gc
import importlib.metadata
import logging
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

if sys.version_info < (3, 12):
    sys.exit("benchmarks/explore.py needs Python 3.12, for two of the peers:  make benchmark PYTHON=python3.12")

import frontrun
import simloom
import simloop

from pytest_background_tasks import Explorer, Schedule
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.execution import execute, playing
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "quality"))
from test_classics import CLASSICS

REPETITIONS = 3
PLAYS = 2000
PEERS_PLAYS = 50  # most of their runs take 10 to 30 ms
LIMIT = 60  # maximum number of runs to the bug; an explorer that does not find it needs seconds for them
SEEDS = 5
PEERS = ("frontrun", "simloop", "simloom")


# Schedules per second: 3 tasks, 2 rounds of reading, waiting, writing; nothing fails.


class Total:
    def __init__(self) -> None:
        self.value = 0


async def add(total: Total) -> None:
    for _ in range(2):
        before = total.value
        await asyncio.sleep(0)
        total.value = before + 1


async def rounds() -> None:
    total = Total()
    await asyncio.gather(add(total), add(total), add(total))


def ours() -> int:
    return Explorer(max_deviations=3, max_schedules=10 * PLAYS).explore(rounds).runs


def empty_schedule() -> int:
    """Run only the default order, again and again."""
    with HelperThread() as helper, DeterministicProcess(may_raise=False) as around:
        options = Options()
        for _ in range(PLAYS):
            around.refresh()
            execute(playing(rounds), Schedule(), options, helper)
    return PLAYS


def ordinary_loop() -> int:
    async def again() -> None:
        for _ in range(PLAYS):
            await rounds()

    asyncio.run(again())
    return PLAYS


def frontrun_dpor() -> int:
    options = {"max_executions": PEERS_PLAYS, "reproduce_on_failure": 0, "detect_io": False}
    call = frontrun.explore(setup=Total, workers=add, count=3, invariant=lambda _: True, **options)
    return asyncio.run(call).num_explored


def frontrun_random() -> int:
    # With this seed, it reports a deadlock in its 129th schedule, which these tasks cannot have.
    options = {"strategy": "random", "max_attempts": 2 * PEERS_PLAYS, "seed": 1}
    call = frontrun.explore(setup=Total, workers=add, count=3, invariant=lambda _: True, **options)
    return asyncio.run(call).num_explored


def simloop_random() -> int:
    simloop.explore(rounds, range(PEERS_PLAYS))
    return PEERS_PLAYS


def simloop_pct() -> int:
    simloop.explore(rounds, range(PEERS_PLAYS), policy="pct")
    return PEERS_PLAYS


def simloom_random() -> int:
    return simloom.explore(rounds, runs=PEERS_PLAYS, world=False).runs


def simloom_systematic() -> int:
    return simloom.explore_systematic(rounds, max_delays=3, max_schedules=PEERS_PLAYS, world=False).schedules


RATES: dict[str, Callable[[], int]] = {
    "ordinary loop": ordinary_loop,
    "ours, empty schedule": empty_schedule,
    "ours": ours,
    "frontrun, dpor": frontrun_dpor,
    "frontrun, random": frontrun_random,
    "simloop, random": simloop_random,
    "simloop, pct": simloop_pct,
    "simloom, random": simloom_random,
    "simloom, systematic": simloom_systematic,
}


def rate(explore: Callable[[], int]) -> float:
    """Return schedules per second of CPU time, which other work on the machine and waiting affect less."""
    gc.collect()
    start = time.process_time()
    runs = explore()
    return runs / (time.process_time() - start)


def compare_rates() -> None:
    turns = [{name: rate(explore) for name, explore in RATES.items()} for _ in range(REPETITIONS + 1)][1:]
    medians = {name: statistics.median(turn[name] for turn in turns) for name in RATES}
    print(f"\n  schedules per second of CPU time, 3 tasks x 2 rounds, median of {REPETITIONS}")
    for name, median in medians.items():
        print(f"    {name:<22} {median:10,.0f}", flush=True)
    fastest = max((name for name in RATES if name.startswith(PEERS)), key=medians.__getitem__)
    goal("schedules a second", [turn["ours"] for turn in turns], 10_000, ",.0f")
    goal(f"times {fastest}", [turn["ours"] / turn[fastest] for turn in turns], 10)
    goal("of an ordinary loop", [turn["ours, empty schedule"] / turn["ordinary loop"] for turn in turns], 0.5)


def goal(what: str, figures: list[float], least: float, form: str = ".2f") -> None:
    median = statistics.median(figures)
    spread = f"{min(figures):{form}} to {max(figures):{form}}"
    print(f"    {median:{form}} ({spread}) {what}; goal at least {least:{form}}: {verdict(median >= least)}")


def verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


# Runs and seconds to the bug.

Found = tuple[float, float]  # runs, seconds; infinite if it was not found
Main = Callable[[], Coroutine[Any, Any, None]]


def timed(explore: Callable[[], int | None]) -> Found:
    start = time.perf_counter()
    try:
        runs = explore()
    except Exception as error:  # an explorer that fails itself has found nothing
        print(f"      ({type(error).__name__}: {str(error).splitlines()[0][:90]})")
        runs = None
    return (float("inf") if runs is None else runs), time.perf_counter() - start


def over_seeds(explore: Callable[[int], int | None]) -> Found:
    found = [timed(lambda seed=seed: explore(seed * 10_000)) for seed in range(SEEDS)]
    return statistics.median(runs for runs, _ in found), statistics.median(seconds for _, seconds in found)


def by_us(main: Main, options: dict[str, Any]) -> Found:
    def explore(seed: int) -> int | None:
        exploration = Explorer(max_schedules=LIMIT, seed=seed, **options).explore(main)
        return exploration.failure.run_number if exploration.failure else None

    return over_seeds(explore)


def by_simloop(main: Main) -> Found:
    def explore(seed: int, policy: str) -> int | None:
        report = simloop.explore(main, range(seed, seed + LIMIT), policy=policy)
        return None if report is None else report.seeds_passed + 1

    return min(over_seeds(lambda seed, policy=policy: explore(seed, policy)) for policy in ("random", "pct"))


def by_simloom(main: Main) -> Found:
    def explore(seed: int, scheduler: str) -> int | None:
        found = simloom.explore(main, runs=LIMIT, start_seed=seed, scheduler=scheduler, world=False)
        return found.runs if found.failed else None

    def enumerate_() -> int | None:
        return simloom.explore_systematic(main, max_delays=2, max_schedules=LIMIT, world=False).first_failure_at

    sampled = [over_seeds(lambda seed, name=name: explore(seed, name)) for name in ("random", "pct:auto")]
    return min(*sampled, timed(enumerate_))


class Shared:
    """The shared state of the programs in frontrun's form."""

    def __init__(self) -> None:
        self.balance, self.total, self.computed = 100, 0, 0
        self.shown = ""
        self.cache: dict[str, int] = {}
        self.forks = [asyncio.Lock() for _ in range(3)]


async def withdraw(shared: Shared) -> None:
    if shared.balance >= 100:
        await asyncio.sleep(0)
        shared.balance -= 100


async def look_up_and_withdraw(shared: Shared) -> None:
    await asyncio.sleep(0)
    await withdraw(shared)


async def get(shared: Shared) -> None:
    if "key" not in shared.cache:
        shared.computed += 1
        await asyncio.sleep(0)
        shared.cache["key"] = 42


async def get_later(shared: Shared) -> None:
    await asyncio.sleep(0)
    await get(shared)


def adding(number: int) -> Callable[[Shared], Any]:
    async def add(shared: Shared) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        before = shared.total
        await asyncio.sleep(0)
        shared.total = before + 1

    return add


def searching(query: str) -> Callable[[Shared], Any]:
    async def search(shared: Shared) -> None:
        await asyncio.sleep(0)
        shared.shown = query

    return search


def dining(number: int) -> Callable[[Shared], Any]:
    async def dine(shared: Shared) -> None:
        if number == len(shared.forks) - 1:
            await asyncio.sleep(0)
        async with shared.forks[number]:
            await asyncio.sleep(0)
            async with shared.forks[(number + 1) % len(shared.forks)]:
                pass

    return dine


FOR_FRONTRUN: dict[str, tuple[list[Callable[[Shared], Any]], Callable[[Shared], bool]]] = {
    "account": ([withdraw, look_up_and_withdraw], lambda shared: shared.balance == 0),
    "cache stampede": ([get, get_later], lambda shared: shared.computed == 1),
    "lost update, 2 tasks": ([adding(0), adding(1)], lambda shared: shared.total == 2),
    "lost update, 3 tasks": ([adding(0), adding(1), adding(2)], lambda shared: shared.total == 3),
    "lost update, 4 tasks": ([adding(number) for number in range(4)], lambda shared: shared.total == 4),
    "stale answer": ([searching("py"), searching("pytest")], lambda shared: shared.shown == "pytest"),
    "3 dining philosophers": ([dining(number) for number in range(3)], lambda _: True),
}


def by_frontrun(name: str) -> Found:
    workers, invariant = FOR_FRONTRUN[name]

    def explore(**options: Any) -> int | None:
        call = frontrun.explore(setup=Shared, workers=workers, invariant=invariant, **options)
        result = asyncio.run(call)
        return result.num_explored if result.property_holds is False else None

    dpor = timed(lambda: explore(max_executions=LIMIT, reproduce_on_failure=0, deadlock_timeout=0.2))
    if dpor[0] == 1:
        return dpor
    return min(
        dpor, over_seeds(lambda seed: explore(strategy="random", max_attempts=100, seed=seed, deadlock_timeout=0.2))
    )


def compare_finds() -> None:
    print(f"\n  runs (and ms) to the bug, median of {SEEDS} seeds; none: not within {LIMIT} runs; -: not supported")
    print(
        "    "
        + "".join(f"{name:>{width}}" for name, width in zip(("", "ours", *PEERS), (26, 16, 20, 16, 16), strict=True))
    )
    compared: dict[str, list[tuple[float, float]]] = {peer: [] for peer in PEERS}
    for name, classic in CLASSICS.items():

        async def main(program: Any = classic.program) -> None:
            await program(False)

        mine = by_us(main, dict(classic.options))
        theirs: dict[str, Found | None] = dict.fromkeys(PEERS)
        if not classic.options:
            theirs["simloop"], theirs["simloom"] = by_simloop(main), by_simloom(main)
        if name in FOR_FRONTRUN:
            theirs["frontrun"] = by_frontrun(name)
        for peer, found in theirs.items():
            if found is not None:
                compared[peer].append((mine[0], found[0]))
        shown = "".join(f"{cell(theirs[peer]):>{width}}" for peer, width in zip(PEERS, (20, 16, 16), strict=True))
        print(f"    {name:<26}{cell(mine):>16}{shown}", flush=True)
    for peer, pairs in compared.items():
        fewer, more = counts(pairs)
        print(f"    fewer runs than {peer} on {fewer} of {len(pairs)}, more on {more}", end="; ")
        print(f"goal fewer on most: {verdict(fewer > len(pairs) / 2)}")
        fewer, more = counts([(ours - 1, theirs) for ours, theirs in pairs])
        print(f"      without our run of the default order: fewer on {fewer}, more on {more}")


def counts(pairs: list[tuple[float, float]]) -> tuple[int, int]:
    return sum(ours < theirs for ours, theirs in pairs), sum(ours > theirs for ours, theirs in pairs)


def cell(found: Found | None) -> str:
    if found is None:
        return "-"
    runs, seconds = found
    return f"{'none' if runs == float('inf') else f'{runs:g}'} ({seconds * 1000:.3g})"


def main() -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    random.seed(1)
    versions = ", ".join(f"{peer} {importlib.metadata.version(peer)}" for peer in PEERS)
    print(f"Exploring, on {platform.python_implementation()} {platform.python_version()}; {versions}")
    compare_rates()
    compare_finds()
    return 0


if __name__ == "__main__":
    sys.exit(main())
