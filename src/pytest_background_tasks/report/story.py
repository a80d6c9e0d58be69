"""The model of a report: the steps of a run and of the default order, with their source lines and their causes.

The table and the page are both drawn from it. It reads source files, and has no other input than the values of an
exploration.
"""

from __future__ import annotations

import linecache
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from ..errors import Deadlock, Livelock
from ..explorer.exploration import Failure
from ..explorer.schedule import Deviation, Schedule, canonical
from ..explorer.trace import Outcome, Step, Told, Trace, first_difference
from ..sites import Site
from ..wait_reason import WaitReason
from .source import Line, statement, statements


class StepKind(Enum):
    """The way in which a step begins: four for tasks, four for their events, one for other callbacks."""

    START = auto()
    RESUME = auto()
    CANCELLATION = auto()
    ERROR = auto()
    SLEEP_ENDS = auto()
    TIMER = auto()
    THREAD = auto()
    CALL = auto()
    CALLBACK = auto()

    @property
    def is_event(self) -> bool:
        """True if an event of a task arrives, and the task itself does not run yet."""
        return self in _EVENTS.values()


_EVENTS = {
    "sleep": StepKind.SLEEP_ENDS,
    "timer": StepKind.TIMER,
    "thread": StepKind.THREAD,
    "call": StepKind.CALL,
}
"""The events of tasks, by their kind of arrival or by the last part of their name."""


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a run.

    Attributes:
        task: the name of the task whose step it is, or whose event arrives; empty for other callbacks.
        kind: the way in which the step begins.
        subject: the name of the exception that the task receives, or of the callback; else empty.
        is_step: True if the task itself runs.
        resumed_at: the lines at which the task resumes, outermost first; empty for a callback.
        suspended_at: the lines at which it is then suspended or has raised, outermost first; empty if it has returned.
        waiting_for: the thing that it then waits for; None if it has ended.
        outcome: the way in which it has ended; None if it has not.
        starts: the names of the tasks that it has started.
        woken_by: the index of the step that made this one ready; None if an external event did.
        time: virtual time, in seconds since the run began.
        lines: the statements that were executed, in order, without those that say nothing.
    """

    task: str
    kind: StepKind
    subject: str
    is_step: bool
    resumed_at: tuple[Line, ...]
    suspended_at: tuple[Line, ...]
    waiting_for: WaitReason | None
    outcome: Outcome | None
    starts: tuple[str, ...]
    woken_by: int | None
    time: float
    lines: tuple[Line, ...] = ()

    @property
    def fails(self) -> bool:
        """True if the task has ended with an exception."""
        return self.outcome is not None and self.outcome.is_failure

    @property
    def is_visible(self) -> bool:
        """True if the step is of interest: not an inner callback of asyncio, nor a step that only waits again."""
        return bool(self.lines or (self.is_step and (self.outcome or self.kind is not StepKind.RESUME)))


@dataclass(frozen=True, slots=True)
class DeviationView:
    """A deviation from the default order.

    Attributes:
        deviation: the deviation itself.
        task: the name of the task that it is about.
        arrival: the kind of arrival that it delays; None if that was not recorded.
        site: the line at which the task is suspended, or of the function that has not started; None if it is unknown.
        code: the statement at that line; empty if there is none.
        path: the lines through which the task is suspended there, outermost first; empty if `site` says it all.
        step: the index of the step that deviates; None if the run ended before.
    """

    deviation: Deviation
    task: str
    arrival: str | None
    site: Site | None
    code: str
    path: tuple[Site, ...]
    step: int | None

    @property
    def is_of_event(self) -> bool:
        """True if it delays an event of the task, such as its timer, and no step of the task itself."""
        return ":" in self.deviation.task


@dataclass(frozen=True, slots=True)
class RunView:
    """One run.

    Attributes:
        tasks: the names of the tasks, in the order of their first steps.
        steps: in the order in which they ran; the index of a step is that of its step in the trace.
        deviations: from the default order.
    """

    tasks: tuple[str, ...]
    steps: tuple[StepView, ...]
    deviations: tuple[DeviationView, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureView:
    """A failure: the failing order compared with the default order.

    Attributes:
        baseline: the run in the default order; None if that is the one that fails.
        failing: the run that fails.
        divergence: the index of the first step in which the two differ; None if there is none.
        libraries: the packages of others in which a task is suspended at a deviation, or still at the end.
    """

    baseline: RunView | None
    failing: RunView
    divergence: int | None
    libraries: tuple[str, ...] = ()


def failure_view(failure: Failure) -> FailureView:
    """Return the view of a failure."""
    failing = run_view(failure.trace, failure.schedule)
    if not failure.schedule:
        return FailureView(None, failing, None, _libraries(failure))
    divergence = first_difference(failure.asyncio_trace, failure.trace)
    return FailureView(run_view(failure.asyncio_trace), failing, divergence, _libraries(failure))


def run_view(trace: Trace, schedule: Schedule = Schedule()) -> RunView:  # noqa: B008 - a frozen value
    """Return the view of a run that was recorded in detail."""
    tasks = {step.who for step in trace.steps if step.got != "call"}
    names = dict.fromkeys(trace.shown(step.who) for step in trace.steps if step.who in tasks)
    started: dict[int, list[str]] = {}
    for step in trace.steps:
        if step.who in tasks and step.number == 0 and step.told is not None and step.told.woken_by is not None:
            started.setdefault(step.told.woken_by, []).append(trace.shown(step.who))
    sleeping = {(step.who, step.number) for step in trace.steps if _is_sleeping(step)}
    steps = (
        _step_view(
            step, _kind_of(step, trace, tasks, sleeping), _task_of(step.who, trace, tasks), started.get(index, ())
        )
        for index, step in enumerate(trace.steps)
    )
    deviations = tuple(_deviation_view(each, trace, tasks) for each in schedule.in_order())
    return RunView(tuple(names), tuple(steps), deviations)


def _is_sleeping(step: Step) -> bool:
    reason = step.told.waits_for if step.told and step.got != "call" else None
    return reason is not None and reason.kind == "sleep"


def _deviation_view(deviation: Deviation, trace: Trace, tasks: Collection[str]) -> DeviationView:
    name = canonical(deviation.task)
    indices = [index for index, step in enumerate(trace.steps) if (step.who, step.number) == (name, deviation.step)]
    # The end of a sleep, or a thread's result, has the name and number of the step that it makes ready.
    index = max(indices, key=lambda index: trace.steps[index].got != "call", default=None)
    site = _site_of(deviation, trace)
    return DeviationView(
        deviation=deviation,
        task=_task_of(name, trace, tasks),
        arrival=trace.steps[indices[0]].kind if indices else None,
        site=site,
        code="" if site is None else statement(site.file, site.line).text,
        path=_path_of(deviation, site, trace),
        step=index,
    )


def _site_of(deviation: Deviation, trace: Trace) -> Site | None:
    """Return the line at which the task is suspended, of its function if it has not started, or of the callback."""
    key = canonical(deviation.task), deviation.step
    step = next((step for step in trace.steps if (step.who, step.number) == key), None)
    told = step.told if step else None
    if ":" in deviation.task:
        lines = statements(told) if told else ()
        return lines[0].site if lines else None
    return _suspended_before(deviation, trace) or (told.at[-1] if told and told.at else None)


def _suspended_before(deviation: Deviation, trace: Trace) -> Site | None:
    """Return the line at which a task is suspended before the step that deviates; None if that is its first."""
    told = _step_before(deviation, trace)
    if told is None:
        return None
    # The line that says most is the one above the helpers that do nothing but wait.
    until = {(site.file, statement(site.file, site.line).line) for site in told.until}
    lines = [line.site for line in statements(told) if (line.site.file, line.site.line) in until]
    return lines[-1] if lines else told.until[-1]


def _step_before(deviation: Deviation, trace: Trace) -> Told | None:
    """Return the details of the step before the one that deviates; None if that is the first one."""
    key = canonical(deviation.task), deviation.step - 1
    steps = (step for step in trace.steps if (step.who, step.number) == key and step.got != "call")
    return next((step.told for step in steps if step.told is not None and step.told.until), None)


def _path_of(deviation: Deviation, site: Site | None, trace: Trace) -> tuple[Site, ...]:
    """Return the lines through which the task is suspended.

    Empty if that is only `site`, alone or with a helper that it calls and that does nothing but wait.
    """
    told = None if ":" in deviation.task else _step_before(deviation, trace)
    if site is None or told is None:
        return ()
    all_sites = (each._replace(function=each.function.rpartition(".<locals>.")[2]) for each in told.until)
    sites = dict.fromkeys(each for each in all_sites if not each.function.endswith("comp>"))  # functions up to 3.11
    is_said = len(sites) < 2 or (len(sites) == 2 and site == told.until[0])
    return () if is_said else tuple(sites)


def _libraries(failure: Failure) -> tuple[str, ...]:
    """Return the packages of others in which a task is suspended at a deviation, or still at the end."""
    before = {(canonical(each.task), each.step - 1) for each in failure.schedule}
    steps = [step for step in failure.trace.steps if step.got != "call" and step.told is not None]
    last = {step.who: step for step in steps} if isinstance(failure.error, Deadlock | Livelock) else {}
    suspended = [*(step for step in steps if (step.who, step.number) in before), *last.values()]
    packages = dict.fromkeys(package for step in suspended if step.told for package in step.told.through)
    # anyio is how other libraries wait, and is worth a mention only alone.
    return tuple(package for package in packages if package != "anyio" or len(packages) == 1)


def _task_of(name: str, trace: Trace, tasks: Collection[str]) -> str:
    owner = name.rpartition(":")[0] or name
    return trace.shown(owner) if owner in tasks else ""


def _step_view(step: Step, kind: tuple[StepKind, str], task: str, starts: Collection[str]) -> StepView:
    told = step.told
    lines = statements(told, step.got) if told else ()
    outcome = told.end if told else None
    if not lines and outcome == Outcome("raised", step.got):
        kind, outcome = (StepKind.RESUME, ""), Outcome("propagated", step.got)
    return StepView(
        task=task,
        kind=kind[0],
        subject=kind[1],
        is_step=step.got != "call",
        resumed_at=_lines(told.at) if told else (),
        suspended_at=_lines(told.until) if told else (),
        waiting_for=told.waits_for if told else None,
        outcome=outcome,
        starts=tuple(starts),
        woken_by=told and told.woken_by,
        time=step.time,
        lines=lines,
    )


def _kind_of(
    step: Step, trace: Trace, tasks: Collection[str], sleeping: Collection[tuple[str, int]]
) -> tuple[StepKind, str]:
    if step.got != "call":
        return _kind_of_task_step(step)
    owner, _, part = step.who.rpartition(":")
    if step.who in tasks:  # the kind of an arrival is recorded only if it may be delayed
        return _EVENTS[step.kind or ("sleep" if (step.who, step.number - 1) in sleeping else "thread")], ""
    kind = _EVENTS.get(part.partition("#")[0]) if owner in tasks else None
    return (StepKind.CALLBACK, trace.shown(step.who)) if kind is None else (kind, "")


def _kind_of_task_step(step: Step) -> tuple[StepKind, str]:
    if step.got == "value":
        return (StepKind.START if step.number == 0 else StepKind.RESUME), ""
    return (StepKind.CANCELLATION, "") if step.got == "cancelled" else (StepKind.ERROR, step.got)


def _lines(sites: tuple[Site, ...]) -> tuple[Line, ...]:
    return tuple(Line(site, linecache.getline(site.file, site.line).strip()) for site in sites)
