"""The search plays what there is to play, each order once, the least unusual first."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_background_tasks import Late, Schedule
from pytest_background_tasks.explorer.options import Options
from pytest_background_tasks.explorer.play import Scenario, play
from pytest_background_tasks.explorer.search import Search
from pytest_background_tasks.explorer.surroundings import Surroundings
from pytest_background_tasks.explorer.threads import HelperThread
from pytest_background_tasks.own import OwnCode

OWN = OwnCode(Path(__file__).parent)

Job = list[str]
jobs = st.lists(st.sampled_from(["yield", "yield", "sleep 0", "sleep 1", "lock", "set", "wait"]), max_size=2)


def scenario_of(programs: list[Job]) -> Scenario:
    async def scenario() -> None:
        lock, event = asyncio.Lock(), asyncio.Event()

        async def job(program: Job) -> None:
            for op in program:
                if op == "yield":
                    await asyncio.sleep(0)
                elif op == "lock":
                    async with lock:
                        await asyncio.sleep(0)
                elif op == "set":
                    event.set()
                elif op == "wait":
                    await event.wait()
                else:
                    await asyncio.sleep(int(op[-1]))

        tasks = [asyncio.ensure_future(job(program)) for program in programs]
        await asyncio.sleep(3)
        event.set()
        await asyncio.gather(*tasks)

    return scenario


Facts = tuple[Any, ...]


def searched(scenario: Scenario, seed: int) -> tuple[set[Facts], int]:
    """All different runs that the search finds, and how many it plays for that."""
    options, found, runs = Options(is_own=OWN, max_deviations=99), set(), 0
    search = Search(options, seed)
    with HelperThread() as helper, Surroundings(may_raise=True):
        while (schedule := search.next()) is not None:
            run = play(scenario, schedule, options, helper)
            search.saw(Schedule(run.schedule - set(run.unused)), run.trace)
            found.add(run.trace.facts)
            runs += 1
    assert search.is_complete
    assert search.distinct == len(found)
    return found, runs


def brute_force(scenario: Scenario, farthest: int) -> set[Facts]:
    """All different runs that there are: every arrival of any run, each late by every number of places."""
    options, found = Options(is_own=OWN), set()
    arrivals: dict[tuple[str, int], None] = {}
    tried: set[Schedule] = set()
    with HelperThread() as helper, Surroundings(may_raise=True):
        while True:
            known = list(arrivals)
            for lateness in itertools.product(range(farthest + 1), repeat=len(known)):
                schedule = Schedule(Late(*key, by) for key, by in zip(known, lateness, strict=True) if by)
                if schedule not in tried:
                    tried.add(schedule)
                    run = play(scenario, schedule, options, helper)
                    found.add(run.trace.facts)
                    arrivals.update(dict.fromkeys((step.who, step.number) for _, step in run.trace.arrivals()))
            if len(arrivals) == len(known):
                return found
            assume(len(arrivals) <= 4)


@settings(deadline=None, max_examples=12)
@given(st.lists(jobs, min_size=1, max_size=3), st.integers(0, 3))
def test_exhausted_equals_brute_force(programs: list[Job], seed: int) -> None:
    """What the search leaves out as equal is equal: it finds every run that there is."""
    scenario = scenario_of(programs)
    found, runs = searched(scenario, seed)
    assume(runs < 500)
    everything = brute_force(scenario, farthest=6)
    assert everything <= found
