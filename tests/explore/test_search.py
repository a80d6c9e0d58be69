"""The search gives every possible order once, those closest to the default order first."""

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_background_tasks import Delay, Schedule, Slow, Trace
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.entry_places import next_place
from pytest_background_tasks._explore.execution import Scenario, execute, playing
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._explore.search import Search, delay_longer, delay_to_end, one_more
from pytest_background_tasks._introspect.project_code import ProjectCode

PROJECT_CODE = ProjectCode(Path(__file__).parent)

Job = list[str]
jobs = st.lists(
    st.sampled_from(["yield", "yield", "sleep 0", "sleep 1", "lock", "set", "wait", "timer 1", "soon", "stop"]),
    max_size=2,
)


class Shared:
    """The things that the jobs of a program have in common."""

    def __init__(self) -> None:
        self.lock, self.event = asyncio.Lock(), asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.handles: list[asyncio.Handle] = []

    async def do(self, op: str) -> None:
        if op == "yield":
            await asyncio.sleep(0)
        elif op == "lock":
            async with self.lock:
                await asyncio.sleep(0)
        elif op == "wait":
            await self.event.wait()
        elif op.startswith("sleep"):
            await asyncio.sleep(int(op[-1]))
        else:
            self.do_at_once(op)

    def do_at_once(self, op: str) -> None:
        if op == "set":
            self.event.set()
        elif op == "timer 1":
            self.handles.append(self.loop.call_later(1, self.event.set))
        elif op == "soon":
            self.handles.append(self.loop.call_soon(self.event.set))
        elif op == "stop":
            for handle in self.handles:
                handle.cancel()


def scenario_of(programs: list[Job]) -> Scenario:
    async def scenario() -> None:
        shared = Shared()

        async def job(program: Job) -> None:
            for op in program:
                await shared.do(op)

        tasks = [asyncio.ensure_future(job(program)) for program in programs]
        await asyncio.sleep(3)
        shared.event.set()
        await asyncio.gather(*tasks)

    return scenario


Facts = tuple[Any, ...]


def run_search(scenario: Scenario, seed: int) -> tuple[set[Facts], int]:
    """Return all different runs that the search finds, and the number of runs that it needs."""
    options, found, runs, given = Options(is_project_file=PROJECT_CODE, max_deviations=99), set(), 0, set()
    search = Search(options, seed)
    with HelperThread() as helper, DeterministicProcess(may_raise=True):
        while (schedule := search.next()) is not None:
            run = execute(playing(scenario), schedule, options, helper)
            search.observe(Schedule(run.schedule - set(run.unused)), run.trace)
            found.add(run.trace.signature)
            runs += 1
            given.add(schedule)
    assert len(given) == runs, "nothing is given twice"
    assert search.is_complete
    assert search.distinct == len(found)
    return found, runs


def brute_force(scenario: Scenario, farthest: int) -> set[Facts]:
    """Return all different runs that exist: every arrival of any run, delayed by every number of places."""
    options, found = Options(is_project_file=PROJECT_CODE), set()
    arrivals: dict[tuple[str, int], None] = {}
    tried: set[Schedule] = set()
    with HelperThread() as helper, DeterministicProcess(may_raise=True):
        while True:
            known = list(arrivals)
            for lateness in itertools.product(range(farthest + 1), repeat=len(known)):
                schedule = Schedule(Delay(*key, by) for key, by in zip(known, lateness, strict=True) if by)
                if schedule not in tried:
                    tried.add(schedule)
                    run = execute(playing(scenario), schedule, options, helper)
                    found.add(run.trace.signature)
                    arrivals.update(dict.fromkeys((step.task, step.number) for _, step in run.trace.arrivals()))
            if len(arrivals) == len(known):
                return found
            assume(len(arrivals) <= 4)


@settings(max_examples=12)
@given(st.lists(jobs, min_size=1, max_size=3), st.integers(0, 3))
def test_exhaustive_search_equals_brute_force(programs: list[Job], seed: int) -> None:
    """The search skips only equal runs: it finds every possible run."""
    scenario = scenario_of(programs)
    found, runs = run_search(scenario, seed)
    assume(runs < 500)
    everything = brute_force(scenario, farthest=6)
    assert everything <= found


def trace_of_steps(*rows: tuple[str, int, int], **more: Any) -> Trace:
    """Return a trace of answered steps, from the task, step and entry of each."""
    return Trace(tuple((who, number, "value", 0.0, "yield", entry, 0, None) for who, number, entry in rows), **more)


@pytest.mark.parametrize(
    ("entry", "made_ready", "others", "disturbed", "place"),
    [
        (4, 0, [], set(), None),
        (4, 0, [4], set(), 5),  # behind the handles queued with it
        (4, 0, [5], set(), 7),  # behind the delayed handle, at the place after its own
        (4, 0, [6], set(), 7),  # behind the arrivals
        (4, 1, [8], set(), None),  # that step follows from the delayed step itself
        (4, 1, [8, 8], set(), 9),
        (4, 1, [10], set(), 11),  # an arrival does not
        (4, 1, [8], {2}, 9),  # unknown which one follows, because one was taken out of that queue
        (4, 1, [8], {0, 3}, None),
        (4, 0, [13], set(), 15),
        (5, 0, [6], set(), 7),
    ],
)
def test_delay_is_as_short_as_possible(
    entry: int, made_ready: int, others: list[int], disturbed: set[int], place: int | None
) -> None:
    """A delay ends behind the next step that does not follow from the delayed step itself."""
    rows = [("a", 1, "value", 0.0, "yield", entry, made_ready, None)]
    rows += [("b", number, "value", 0.0, None, other, 0, None) for number, other in enumerate(others)]
    assert next_place(Trace(tuple(rows), disturbed=frozenset(disturbed)), 0) == place


def test_delays_take_no_virtual_time() -> None:
    rows = tuple(("ab"[at], 1, "value", float(at), "sleep", 4, 0, None) for at in (0, 1))
    assert next_place(Trace(rows), 0) is None


def test_extensions_add_one_deviation() -> None:
    """The same step may get a deviation of another kind, but no second one of the same, and one cancellation in all."""
    pending = {("a", 1): False, ("b", 1): False}
    trace = replace(trace_of_steps(("a", 1, 4), ("b", 1, 4), cancellable=frozenset({"b"})), overtakable=pending)
    options = Options(is_project_file=PROJECT_CODE, faults="slow")

    def texts(text: str) -> list[str]:
        schedule = Schedule.parse(text)
        return sorted(str(Schedule(longer - schedule)) for longer in one_more(schedule, trace, options))

    assert texts("") == ["a@1!slow", "a@1!slow-0", "a@1+1", "b@1!cancel", "b@1!slow", "b@1!slow-0"]
    assert next(one_more(Schedule(), trace_of_steps(("a", 1, 4), ("b", 1, 13)), options)) == {Delay("a", 1, by=6)}
    assert texts("a@1+1") == ["a@1!slow", "a@1!slow-0", "b@1!cancel", "b@1!slow", "b@1!slow-0"]
    assert texts("a@1!slow, b@1!cancel") == ["a@1+1", "b@1!slow", "b@1!slow-0"]


def test_longer_delay_replaces_the_previous_one() -> None:
    """The longer delay replaces the previous one, if a step is left to come behind."""
    schedule = Schedule.parse("a@1+1, b@1!slow")
    assert list(delay_longer(schedule, trace_of_steps(("a", 1, 5), ("b", 1, 6)))) == [Schedule.parse("a@1+2, b@1!slow")]
    assert list(delay_longer(schedule, trace_of_steps(("a", 1, 5), ("b", 1, 13)))) == [
        Schedule.parse("a@1+6, b@1!slow")
    ]
    assert list(delay_longer(schedule, trace_of_steps(("a", 1, 5)))) == []


def test_one_result_can_be_delayed_behind_all_other_steps() -> None:
    """It comes behind all other steps at its time, whether or not they follow from it. The search tries this first."""
    trace = trace_of_steps(("a", 0, 4), ("a", 1, 6), ("b", 1, 6), ("c", 1, 8))
    started = ("d", 0, "value", 0.0, "start", 4, 0, None)
    later_on = ("e", 1, "value", 1.0, "sleep", 18, 0, None)
    schedules = list(map(str, delay_to_end(Trace((started, *trace.rows, later_on)))))
    assert schedules == ["a@0+3", "a@1+2", "b@1+2"]


@pytest.mark.parametrize("answers", [3, 30])
def test_first_schedules_delay_one_result_to_the_end(answers: int) -> None:
    """All of them in a short scenario, 20 in a long one; the earliest answers, which let most tasks run, first."""
    trace = trace_of_steps(*(("a", number, 4 + 4 * number) for number in range(answers)), ("b", 1, 4 + 4 * answers))
    search = Search(Options(is_project_file=PROJECT_CODE), 0)
    assert search.next() == Schedule()
    search.observe(Schedule(), trace)
    few, rest = min(answers, 20), iter(search.next, None)
    last = list(delay_to_end(trace))
    assert len(last) == answers
    given = [last.index(schedule) for schedule in itertools.islice(rest, few)]
    assert given == sorted(given)
    assert Schedule([Delay("a", 0, 3)]) in rest, "and then all the others"


def test_seed_shuffles_schedules_with_the_same_number_of_deviations() -> None:
    """Each delays the start of a task, which is not an answer."""
    rows = tuple((f"job{number}", 0, "value", 0.0, "start", 4, 0, None) for number in range(12))

    def given_to(seed: int) -> tuple[Schedule, ...]:
        search = Search(Options(is_project_file=PROJECT_CODE, max_deviations=1), seed)
        assert search.next() == Schedule()
        search.observe(Schedule(), Trace(rows))
        return tuple(iter(search.next, None))

    orders = [given_to(seed) for seed in range(10)]
    assert given_to(0) == orders[0]
    assert len(set(orders)) == 10
    assert {frozenset(order) for order in orders} == {frozenset(orders[0])}


@pytest.mark.parametrize(
    ("others", "places"),
    [
        ([], []),
        ([4], ["+0"]),
        ([10], ["+1"]),
        ([4, 8, 8, 10, 14], ["+0", "+1", "+3"]),
        ([16], []),  # in the iteration in which it resumes
    ],
)
def test_task_is_cancelled_after_each_step_that_runs_while_it_waits(others: list[int], places: list[str]) -> None:
    """Also when it resumes; never twice unless a step ran in between."""
    between = [("b", number, entry) for number, entry in enumerate(others)]
    trace = trace_of_steps(("a", 0, 4), *between, ("a", 1, 18), cancellable=frozenset({"a"}))
    called = Trace((*trace.rows, ("a", 2, "call", 0.0, None, 20, 0, None)), trace.cancellable)
    found = [
        str(schedule)
        for schedule in one_more(Schedule(), called, Options(is_project_file=PROJECT_CODE))
        if "!" in str(schedule)
    ]
    assert found == ["a@0!cancel", "a@1!cancel", *(f"a@1!cancel{place}" for place in places)]


def test_distinct_runs_differ_in_their_trace_or_their_faults() -> None:
    """Delays that changed nothing do not count."""
    search, trace = Search(Options(is_project_file=PROJECT_CODE), 0), trace_of_steps(("a", 1, 4))
    for schedule, distinct in ((Schedule(), 1), (Schedule([Delay("a", 1)]), 1), (Schedule([Slow("a", 1)]), 2)):
        search.observe(schedule, trace)
        assert search.distinct == distinct


def test_random_walks_delay_a_third_of_the_arrivals_mostly_by_little() -> None:
    """Half of the delays are one place long, a quarter two."""
    search = Search(Options(is_project_file=PROJECT_CODE, max_deviations=0, random_walks=3000), 0)
    assert search.next() == Schedule()
    search.observe(Schedule(), trace_of_steps(("a", 1, 4), ("b", 1, 4)))
    counts = Counter(each.by for _ in range(3000) for each in search.next() or () if isinstance(each, Delay))
    assert search.next() is None
    late = counts.total()
    assert late / 6000 == pytest.approx(1 / 3, abs=0.03)
    assert [counts[by] / late for by in (1, 2, 3)] == pytest.approx([1 / 2, 1 / 4, 1 / 8], abs=0.03)


def test_search_result_is_independent_of_the_pool_size(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [["yield", "lock"], ["sleep 1", "yield"], ["lock"]]
    found, _ = run_search(scenario_of(programs), seed=1)
    monkeypatch.setattr("pytest_background_tasks._explore.search._POOL", 1)
    assert run_search(scenario_of(programs), seed=1)[0] == found
