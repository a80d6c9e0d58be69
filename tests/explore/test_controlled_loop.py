"""The loop runs asyncio's default order, and runs every schedule the same way twice."""

import asyncio
import heapq
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks import Delay, Explorer, Outcome, Schedule, StepDetail, WaitReason

RunSchedule = Heartbeat = Any  # the fixtures


class InOrderTimer(asyncio.TimerHandle):
    """A timer that fires in the order of creation among timers due at the same time."""

    count = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        InOrderTimer.count += 1
        self.number = InOrderTimer.count

    def __lt__(self, other: Any) -> bool:
        return (self.when(), self.number) < (other.when(), other.number)


class NumberedTask(asyncio.Task[Any]):
    """A task that hashes by number: a group cancels its children in the same order as on an explored loop."""

    count = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        NumberedTask.count += 1
        self.number = NumberedTask.count
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self.number


class ReferenceLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with its own `_run_once`, on a clock that jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(lambda loop, coroutine, **kwargs: NumberedTask(coroutine, loop=loop, **kwargs))
        self.now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            if timeout:
                self.now = self._scheduled[0].when()  # type: ignore[attr-defined]
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        timer = InOrderTimer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True
        return timer


def on_reference_loop(main: Coroutine[Any, Any, Any]) -> None:
    NumberedTask.count = 0
    with asyncio.Runner(loop_factory=ReferenceLoop) as runner:
        runner.run(main)


Op = tuple[Any, ...]

simple: st.SearchStrategy[Op] = (
    st.tuples(st.just("sleep"), st.sampled_from([0, 0, 1, 2, 3]))
    | st.tuples(st.just("put"), st.integers(0, 1))
    | st.tuples(st.just("get"), st.integers(0, 1))
    | st.tuples(st.sampled_from(["set", "event", "cancel", "raise", "later", "soon"]))
)
ops: st.SearchStrategy[list[Op]] = st.recursive(
    st.lists(simple, max_size=4),
    lambda inner: st.lists(
        simple
        | st.tuples(st.sampled_from(["lock", "timeout", "wait_for", "task", "shield"]), inner)
        | st.tuples(st.sampled_from(["group", "gather", "wait", "as_completed"]), st.lists(inner, max_size=3)),
        max_size=4,
    ),
    max_leaves=10,
)


@dataclass
class Program:
    """A random program that uses everything asyncio has, and keeps a log."""

    log: list[object] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    is_over: bool = False  # the runner cancels the remaining tasks in arbitrary order

    async def main(self, program: list[Op]) -> None:
        self.lock = asyncio.Lock()
        self.event = asyncio.Event()
        self.queues = [asyncio.Queue[int](1), asyncio.Queue[int]()]
        await self.run("0", program)
        while pending := [task for task in self.tasks if not task.done()]:
            await asyncio.wait(pending, timeout=5)
            for task in pending:
                task.cancel()
        self.note("end")

    def note(self, what: object) -> None:
        if not self.is_over:
            self.log.append((asyncio.get_running_loop().time(), what))

    async def run(self, name: str, program: list[Op]) -> None:
        try:
            for number, op in enumerate(program):
                self.note(f"{name}@{number}")
                await self.do(f"{name}.{number}", op)
        except BaseException as error:
            self.note(f"{name} {type(error).__name__}")
            raise
        self.note(f"{name} done")

    async def quietly(self, name: str, program: list[Op]) -> None:
        with suppress(Exception, asyncio.CancelledError):
            await self.run(name, program)

    async def do(self, name: str, op: Op) -> None:
        kind, *arguments = op
        await getattr(self, f"do_{kind}")(name, *arguments)

    async def do_sleep(self, _: str, seconds: int) -> None:
        await asyncio.sleep(seconds)

    async def do_put(self, _: str, which: int) -> None:
        async with asyncio.timeout(2):
            await self.queues[which].put(1)

    async def do_get(self, _: str, which: int) -> None:
        await asyncio.wait_for(self.queues[which].get(), 2)

    async def do_set(self, _: str) -> None:
        self.event.set()

    async def do_event(self, _: str) -> None:
        async with asyncio.timeout(1):
            await self.event.wait()

    async def do_cancel(self, _: str) -> None:
        for task in self.tasks[:1]:
            task.cancel()

    async def do_raise(self, name: str) -> None:
        raise ValueError(name)

    async def do_later(self, name: str) -> None:
        asyncio.get_running_loop().call_later(1, self.note, f"{name} later")

    async def do_soon(self, name: str) -> None:
        asyncio.get_running_loop().call_soon(self.note, f"{name} soon")

    async def do_lock(self, name: str, inner: list[Op]) -> None:
        async with asyncio.timeout(3), self.lock:
            await self.run(name, inner)

    async def do_timeout(self, name: str, inner: list[Op]) -> None:
        async with asyncio.timeout(1):
            await self.run(name, inner)

    async def do_wait_for(self, name: str, inner: list[Op]) -> None:
        await asyncio.wait_for(self.run(name, inner), 1)

    async def do_shield(self, name: str, inner: list[Op]) -> None:
        await asyncio.shield(asyncio.ensure_future(self.quietly(name, inner)))

    async def do_task(self, name: str, inner: list[Op]) -> None:
        self.tasks.append(asyncio.create_task(self.quietly(name, inner)))

    def several(self, name: str, programs: list[list[Op]]) -> list[Coroutine[Any, Any, None]]:
        return [self.run(f"{name}.{number}", program) for number, program in enumerate(programs)]

    async def do_group(self, name: str, programs: list[list[Op]]) -> None:
        async with asyncio.TaskGroup() as group:
            for coroutine in self.several(name, programs):
                group.create_task(coroutine)

    async def do_gather(self, name: str, programs: list[list[Op]]) -> None:
        await asyncio.gather(*self.several(name, programs), return_exceptions=True)

    async def do_wait(self, name: str, programs: list[list[Op]]) -> None:
        if tasks := [asyncio.create_task(coroutine) for coroutine in self.several(name, programs)]:
            done, _ = await asyncio.wait(tasks)
            self.note(sum(task.cancelled() or task.exception() is not None for task in done))

    async def do_as_completed(self, name: str, programs: list[list[Op]]) -> None:
        tasks = [asyncio.create_task(coroutine) for coroutine in self.several(name, programs)]
        for each in asyncio.as_completed(tasks):
            try:
                await each
            except (Exception, asyncio.CancelledError) as error:
                self.note(type(error).__name__)


async def run_guarded(program: Program, what: list[Op]) -> None:
    try:
        await program.main(what)
    except (Exception, asyncio.CancelledError) as error:
        program.note(f"main {type(error).__name__}")
        for task in program.tasks:
            task.cancel()
        await asyncio.wait([*program.tasks, asyncio.ensure_future(asyncio.sleep(0))])
    program.is_over = True


# Exceptions of tasks of the random programs are never retrieved, on asyncio's loop and on ours.
@pytest.mark.background_tasks(unhandled="ignore", destroyed="ignore")
@settings(max_examples=200)
@given(what=ops)
def test_empty_schedule_runs_asyncios_default_order_step_by_step(run_schedule: RunSchedule, what: list[Op]) -> None:
    ours, theirs = Program(), Program()
    run_schedule(lambda: run_guarded(ours, what))
    on_reference_loop(run_guarded(theirs, what))
    assert ours.log == theirs.log


@pytest.mark.background_tasks(unhandled="ignore", destroyed="ignore")
@settings(max_examples=100)
@given(what=ops, late=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 6)), max_size=4))
def test_schedule_runs_the_same_way_twice(
    run_schedule: RunSchedule, what: list[Op], late: list[tuple[int, int]]
) -> None:
    """The same holds for a run that is recorded for a report."""
    arrivals = list(run_schedule(lambda: run_guarded(Program(), what)).trace.arrivals())
    steps = [(arrivals[index % len(arrivals)][1], by) for index, by in late if arrivals]
    chosen = {(step.task, step.number): by for step, by in steps}
    text = str(Schedule(Delay(who, number, by) for (who, number), by in chosen.items()))
    once, again, detailed = (
        run_schedule(lambda: run_guarded(Program(), what), text, with_details=with_details)
        for with_details in (False, False, True)
    )
    assert once.trace == again.trace
    assert once.trace.signature == detailed.trace.signature
    assert once.unused == again.unused == detailed.unused


async def group_that_aborts() -> None:
    async def child(number: int) -> None:
        await asyncio.sleep(number)
        raise ValueError(number)

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for number in range(1, 6):
                group.create_task(child(number))


async def completing() -> None:
    async def job() -> None:
        await asyncio.sleep(1)

    for each in asyncio.as_completed([job() for _ in range(5)]):
        await each


async def waiting() -> None:
    loop = asyncio.get_running_loop()
    futures = {loop.create_future() for _ in range(5)}
    for future in futures:
        loop.call_later(1, future.set_result, None)
    await asyncio.wait(futures)
    await asyncio.wait([asyncio.ensure_future(asyncio.sleep(1)) for _ in range(5)])


@pytest.mark.parametrize("scenario", [group_that_aborts, completing, waiting])
def test_code_that_iterates_over_sets_runs_the_same_way_sixty_times(run_schedule: RunSchedule, scenario: Any) -> None:
    keep = []  # makes addresses differ
    runs = []
    for _ in range(60):
        runs.append(run_schedule(scenario))
        keep.append([object() for _ in range(7)])
    assert len({run.trace for run in runs}) == 1


def test_as_completed_starts_coroutines_in_the_given_order(run_schedule: RunSchedule) -> None:
    started = []

    async def scenario() -> None:
        async def job(number: int) -> None:
            started.append(number)

        for each in asyncio.as_completed([job(number) for number in range(9)]):
            await each

    run_schedule(scenario)
    assert started == list(range(9))


PROGRAM = """
import asyncio
from pytest_background_tasks import Explorer

async def scenario():
    names = []
    async def job(name):
        await asyncio.sleep(0)
        names.append(name)
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(job(name), name=name)
    assert names[0] != "c" or names[1] != "a"

exploration = Explorer(seed=5).explore(scenario)
print(exploration.runs, exploration.failure.schedule, exploration.failure.trace.signature)
"""


def test_traces_and_searches_are_independent_of_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert "@" in outputs.pop()


def test_simultaneous_timers_fire_in_order_of_creation(run_schedule: RunSchedule) -> None:
    fired: list[int] = []

    async def scenario() -> None:
        for number in range(9):
            asyncio.get_running_loop().call_later(1, fired.append, number)
        await asyncio.sleep(2)

    run_schedule(scenario)
    assert fired == list(range(9))


def test_the_loop_stops_where_asyncio_run_would(run_schedule: RunSchedule) -> None:
    """One iteration after the scenario has ended: handles that are ready then still run, and no time passes."""

    def scenario_that_notes(seen: list[str]) -> Any:
        async def job(turns: int) -> None:
            for turn in range(turns):
                await asyncio.sleep(0)
                seen.append(f"job {turn}")

        def again() -> None:
            seen.append("queued")
            asyncio.get_running_loop().call_soon(seen.append, "queued by what was queued")

        async def scenario() -> None:
            loop = asyncio.get_running_loop()
            asyncio.create_task(job(9)).add_done_callback(lambda _: seen.append("never"))
            await asyncio.sleep(0)
            loop.call_later(60, seen.append, "a minute later")
            loop.call_soon(again)
            seen.append("end")

        return scenario

    ours: list[str] = []
    theirs: list[str] = []
    with asyncio.Runner() as runner:
        runner.run(scenario_that_notes(theirs)())
        assert theirs == ["end", "job 0", "queued"], "a runner that is closed lets the loop run on"
    steps = run_schedule(scenario_that_notes(ours)).trace.steps
    assert [step.task for step in steps] == ["main", "job", "main", "job", again_name := steps[-1].task]
    assert again_name.endswith("again")
    assert ours[:3] == ["end", "job 0", "queued"]


def test_virtual_time_has_no_rounding_errors(run_schedule: RunSchedule) -> None:
    times = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        for seconds in (3600, 0.5):
            await asyncio.sleep(seconds)
            times.append(loop.time())

    run_schedule(scenario)
    assert times == [3600, 3600.5]


def names_in(run_schedule: RunSchedule, scenario: Any, text: str = "") -> list[str]:
    trace = run_schedule(scenario, text).trace
    return [
        trace.display_name(name)
        for name in dict.fromkeys(step.task for step in trace.steps if step.delivered != "call")
    ]


async def job() -> None:
    await asyncio.sleep(0)


async def family() -> None:
    async def client() -> None:
        await asyncio.gather(job(), job())

    await asyncio.gather(client(), client(), job())


def test_tasks_are_named_after_their_creators(run_schedule: RunSchedule) -> None:
    """They are numbered if one creator starts several of the same name."""
    assert sorted(names_in(run_schedule, family)) == [
        "client#1",
        "client#1/job#1",
        "client#1/job#2",
        "client#2",
        "client#2/job#1",
        "client#2/job#2",
        "job",
        "main",
    ]


def test_task_names_are_independent_of_the_schedule(run_schedule: RunSchedule) -> None:
    assert sorted(names_in(run_schedule, family, "client#1@0+5")) == sorted(names_in(run_schedule, family))


async def explicit_names() -> None:
    await asyncio.gather(
        asyncio.create_task(job(), name="worker"),
        asyncio.get_running_loop().create_task(job(), name="worker"),
        asyncio.create_task(job(), name="a name"),
        asyncio.create_task(job(), name="main"),
    )


def test_explicit_task_name_takes_precedence(run_schedule: RunSchedule) -> None:
    assert names_in(run_schedule, explicit_names) == ["main", "worker#1", "worker#2", '"a name"', "main#2"]
    run = run_schedule(explicit_names, str(Schedule([Delay("a name", 1, 1)])))
    assert not run.unused


def test_name_of_a_repeating_timer_does_not_grow(run_schedule: RunSchedule, heartbeat: Heartbeat) -> None:
    """A heartbeat of a thousand beats."""

    async def scenario() -> None:
        async def server() -> None:
            heartbeat()
            await asyncio.sleep(1000)

        await asyncio.create_task(server(), name="a:b:c")

    trace = run_schedule(scenario).trace
    names = [step.task for step in trace.steps if ":timer" in step.task]
    assert names[:3] == ['"a:b:c":timer', '"a:b:c":timer:timer', '"a:b:c":timer:timer#2']
    assert names[-1] == '"a:b:c":timer:timer#999'


def test_timers_are_named_after_their_creators(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        async def client() -> None:
            async with asyncio.timeout(2), asyncio.timeout(3):
                await asyncio.sleep(1)
            asyncio.get_running_loop().call_later(1, len, "")

        await asyncio.gather(client(), asyncio.sleep(5))

    trace = run_schedule(scenario, arrivals="timer").trace
    assert [trace.display_name(step.task) for _, step in trace.arrivals()] == ["client:timer#3"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_first_step_of_an_eager_task_is_part_of_its_creators_step(run_schedule: RunSchedule, order: Any) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        assert asyncio.get_running_loop().get_task_factory() is asyncio.eager_task_factory  # type: ignore[attr-defined]
        await asyncio.gather(job(), job())

    run = run_schedule(scenario)
    assert run.error is None
    assert order(run.trace) == "main@0 job@1 job#2@1 main@1"
    assert order(run_schedule(scenario, "job#1@1+1").trace) == "main@0 job#2@1 job@1 main@1"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_timers_of_an_eager_tasks_first_step_are_named_after_the_task(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]

        async def client() -> None:
            asyncio.get_running_loop().call_later(1, len, "")
            await asyncio.sleep(1)

        await asyncio.gather(client(), client())

    trace = run_schedule(scenario).trace
    assert [(trace.display_name(step.task), step.number) for _, step in trace.arrivals()] == [
        ("client#1:timer", 0),
        ("client#1", 1),
        ("client#2:timer", 0),
        ("client#2", 1),
    ]


def test_tasks_not_created_by_the_loop_run_too(run_schedule: RunSchedule, order: Any) -> None:
    async def scenario() -> None:
        await asyncio.gather(asyncio.Task(job()), asyncio.Task(job()))

    assert order(run_schedule(scenario).trace) == "main@0 job@0 job#2@0 job@1 job#2@1 main@1"


def test_step_details(run_schedule: RunSchedule) -> None:
    """The lines where it resumes, the next wait, and the step that woke it; none of these during the search."""
    wait_definition = 0

    async def scenario() -> None:
        ready = asyncio.Event()

        async def wait() -> None:
            await ready.wait()

        nonlocal wait_definition
        wait_definition = wait.__code__.co_firstlineno
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        ready.set()
        await waiting

    assert {step.detail for step in run_schedule(scenario).trace.steps} == {None}
    steps = run_schedule(scenario, with_details=True).trace.steps
    [before, after] = [step for step in steps if step.task == "wait"]
    assert before.detail is not None
    assert after.detail is not None
    [defined] = before.detail.resumed_at
    assert defined.line == wait_definition  # it has not started
    assert before.detail.suspended_at == ((__file__, wait_definition + 1, defined.function),)
    assert (before.detail.waiting_for, before.detail.outcome) == (WaitReason("event", "an event"), None)
    assert after.detail == StepDetail(
        before.detail.suspended_at, (), None, Outcome("returned"), 1 + steps.index(before)
    )
    assert steps[after.detail.woken_by or 0][:2] == ("main", 1)


@pytest.mark.parametrize(
    ("end", "error"),
    [(Outcome("raised", "KeyError"), KeyError), (Outcome("cancelled"), asyncio.CancelledError)],
)
def test_step_details_include_the_outcome_of_the_task(
    run_schedule: RunSchedule, end: Outcome, error: type[BaseException]
) -> None:
    """The lines through which its error propagated are recorded too."""

    def fail() -> None:
        raise error

    async def job() -> None:
        fail()

    async def scenario() -> None:
        await asyncio.wait([asyncio.create_task(job())])

    detailed = run_schedule(scenario, with_details=True).trace.steps[1].detail
    assert detailed is not None
    assert detailed.outcome == end
    lines = [
        (each.line - function.__code__.co_firstlineno, each.function)
        for function, each in zip((job, fail), detailed.suspended_at, strict=False)
    ]
    assert lines == ([] if end.kind == "cancelled" else [(1, job.__qualname__), (1, fail.__qualname__)])


def test_step_details_use_the_display_names_of_tasks(run_schedule: RunSchedule) -> None:
    """Also before a second task of the same name exists."""
    steps = run_schedule(family, with_details=True).trace.steps
    assert steps[0].detail is not None
    assert steps[0].detail.waiting_for == WaitReason("task", "", ("client#1", "client#2", "job"))
    [first, _] = [step for step in steps if step.task == "client"]
    assert first.detail is not None
    assert first.detail.waiting_for == WaitReason("task", "", ("client#1/job#1", "client#1/job#2"))


def test_task_factory_can_be_set_and_read(run_schedule: RunSchedule) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert loop.get_task_factory() is None
        made = []

        def factory(loop: Any, coroutine: Any, **kwargs: Any) -> Any:
            made.append(coroutine)
            return asyncio.Task(coroutine, loop=loop, **kwargs)

        loop.set_task_factory(factory)
        await asyncio.create_task(job())
        assert len(made) == 1
        assert loop.get_task_factory() is factory
        loop.set_task_factory(None)
        await asyncio.create_task(job())
        assert len(made) == 1

    assert run_schedule(scenario).error is None


def test_failing_callback_is_passed_to_the_exception_handler(run_schedule: RunSchedule) -> None:
    """As on asyncio's loops, the run continues."""
    contexts: list[dict[str, Any]] = []

    def fail() -> None:
        raise LookupError

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        loop.call_soon(fail)
        loop.call_later(1, fail)
        await asyncio.sleep(2)

    assert run_schedule(scenario).error is None
    assert [type(context["exception"]) for context in contexts] == [LookupError, LookupError]
    assert all(context["message"].startswith("Exception in callback ") for context in contexts)


def test_loop_is_closed_after_the_run(run_schedule: RunSchedule) -> None:
    """Code that kept a reference to the loop gets asyncio's own error."""
    loops = []

    async def scenario() -> None:
        loops.append(asyncio.get_running_loop())

    run_schedule(scenario)
    [loop] = loops
    for ask in (loop.call_soon, loop.call_soon_threadsafe):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            ask(list)


def test_cancelled_callback_leaves_no_step(run_schedule: RunSchedule) -> None:
    """The records of other steps stay with those steps."""

    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(list).cancel()
        await asyncio.sleep(0)

    steps = run_schedule(scenario, with_details=True).trace.steps
    assert [step.task for step in steps[:2]] == ["main", "main"]
    assert [step.detail.outcome for step in steps[:2] if step.detail] == [None, Outcome("returned")]


def test_timer_that_a_timer_has_set_can_be_delayed() -> None:
    async def scenario() -> None:
        fired: list[str] = []
        loop = asyncio.get_running_loop()
        for name in "ab":
            loop.call_later(1, lambda name=name: loop.call_later(1, fired.append, name))
        await asyncio.sleep(5)
        assert fired == ["a", "b"]

    failure = Explorer(arrivals="timer").explore(scenario).failure
    assert failure is not None
    assert Explorer(replay=str(failure.schedule)).explore(scenario).verdict == "failed"
