"""The model of a report: the steps of a run and of the default order, with their source lines and their causes.

The table and the page are both drawn from it. It reads source files, and has no other input than the values of an
exploration.
"""

from __future__ import annotations

import linecache
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from .._explore.result import Failure
from .._explore.schedule import Deviation, Schedule, canonical, event_of
from .._explore.trace import MAIN, Outcome, Step, StepDetail, Trace, first_difference
from .._introspect.location import SourceLocation
from .._introspect.wait_reason import WaitReason
from .._network.network_event import NetworkEvent
from ..errors import DeadlockError, StepLimitExceeded
from .source import Line, statement, statements


class StepKind(Enum):
    """The way in which a step begins: four for tasks, eight for their events, one for other callbacks."""

    START = auto()
    RESUME = auto()
    CANCELLATION = auto()
    ERROR = auto()
    SLEEP_ENDS = auto()
    TIMER = auto()
    THREAD = auto()
    CALL = auto()
    RECEIVED = auto()
    SENT = auto()
    DATAGRAMS = auto()
    FILE = auto()
    CALLBACK = auto()

    @property
    def is_event(self) -> bool:
        """True if an event of a task arrives, and the task itself does not run yet."""
        return self in _EVENTS.values()


NETWORK_EVENTS = {
    "received": StepKind.RECEIVED,
    "sent": StepKind.SENT,
    "datagrams": StepKind.DATAGRAMS,
    "descriptor": StepKind.FILE,
}
"""The events of the network, by the last part of their name."""

_EVENTS = {
    "sleep": StepKind.SLEEP_ENDS,
    "timer": StepKind.TIMER,
    "thread": StepKind.THREAD,
    "call": StepKind.CALL,
    **NETWORK_EVENTS,
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
        network: the event of the network that arrives; None for any other step.
        caused_by: the indices of the steps that have caused this event; empty if none is known.
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
    network: NetworkEvent | None = None
    caused_by: tuple[int, ...] = ()

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
        network: the event of the network that it delays; None for any other.
        sender: the name of the task that has sent the data, if another one has opened the connection; else empty.
    """

    deviation: Deviation
    task: str
    arrival: str | None
    site: SourceLocation | None
    code: str
    path: tuple[SourceLocation, ...]
    step: int | None
    network: NetworkEvent | None = None
    sender: str = ""

    @property
    def is_of_event(self) -> bool:
        """True if it delays an event of the task, such as its timer, and no step of the task itself."""
        return event_of(self.deviation.task) is not None


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

    @property
    def test(self) -> str:
        """The name of the task that runs the test; before it, others may have set up its fixtures."""
        return MAIN if MAIN in self.tasks else next(iter(self.tasks), "")

    @property
    def begin(self) -> int:
        """The index of the first step of the test."""
        return next((index for index, step in enumerate(self.steps) if step.task == self.test and step.is_step), 0)


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
    divergence = first_difference(failure.baseline_trace, failure.trace)
    return FailureView(run_view(failure.baseline_trace), failing, divergence, _libraries(failure))


def run_view(trace: Trace, schedule: Schedule = Schedule()) -> RunView:  # noqa: B008 - a frozen value
    """Return the view of a run that was recorded in detail."""
    tasks = {step.task for step in trace.steps if step.delivered != "call"}
    names = dict.fromkeys(trace.display_name(step.task) for step in trace.steps if step.task in tasks)
    started: dict[int, list[str]] = {}
    for step in trace.steps:
        if step.task in tasks and step.number == 0 and step.detail is not None and step.detail.woken_by is not None:
            started.setdefault(step.detail.woken_by, []).append(trace.display_name(step.task))
    sleeping = {(step.task, step.number) for step in trace.steps if _is_sleeping(step)}
    steps = (
        _step_view(
            step, _kind_of(step, trace, tasks, sleeping), _task_of(step.task, trace, tasks), started.get(index, ())
        )
        for index, step in enumerate(trace.steps)
    )
    deviations = tuple(_deviation_view(each, trace, tasks) for each in schedule.sorted())
    return RunView(tuple(names), tuple(steps), deviations)


def _is_sleeping(step: Step) -> bool:
    reason = step.detail.waiting_for if step.detail and step.delivered != "call" else None
    return reason is not None and reason.kind == "sleep"


def _deviation_view(deviation: Deviation, trace: Trace, tasks: Collection[str]) -> DeviationView:
    name = canonical(deviation.task)
    indices = [index for index, step in enumerate(trace.steps) if (step.task, step.number) == (name, deviation.step)]
    # The end of a sleep, or a thread's result, has the name and number of the step that it makes ready.
    index = max(indices, key=lambda index: trace.steps[index].delivered != "call", default=None)
    first = trace.steps[indices[0]] if indices else None
    before = _detail_before(name, deviation.step, trace)
    owner = _task_of(name, trace, tasks)
    site = _site_of(name, first.detail if first else None, before)
    return DeviationView(
        deviation=deviation,
        task=owner,
        arrival=first.kind if first else None,
        site=site,
        code="" if site is None else statement(site.file, site.line).text,
        path=_path_of(site, before),
        step=index,
        network=first.detail.network if first and first.detail else None,
        sender=_sender_of(first.detail, owner, trace, tasks) if first and first.detail else "",
    )


def _sender_of(detail: StepDetail, owner: str, trace: Trace, tasks: Collection[str]) -> str:
    """Return the only task other than `owner` that has sent the data which arrives; empty if there is none."""
    if detail.network is None or detail.network.kind != "data":
        return ""
    senders = {_task_of(trace.steps[index].task, trace, tasks) for index in detail.caused_by}
    return senders.pop() if len(senders) == 1 and owner not in senders else ""


def _detail_before(name: str, number: int, trace: Trace) -> StepDetail | None:
    """Return the details of the step before the one that deviates; None if that is the first one, or of an event."""
    steps = (
        step for step in trace.steps if (step.task, step.number) == (name, number - 1) and step.delivered != "call"
    )
    return next((step.detail for step in steps if step.detail is not None and step.detail.suspended_at), None)


def _site_of(name: str, detail: StepDetail | None, before: StepDetail | None) -> SourceLocation | None:
    """Return the line at which the task is suspended, of its function if it has not started, or of the callback."""
    if before is not None:
        return _suspended_at(before)
    if event_of(name) is None:
        return detail.resumed_at[-1] if detail and detail.resumed_at else None
    lines = statements(detail) if detail else ()
    return lines[0].site if lines else None


def _suspended_at(detail: StepDetail) -> SourceLocation:
    """Return the line that says most of a suspended task: the one above the helpers that do nothing but wait."""
    until = {(site.file, statement(site.file, site.line).line) for site in detail.suspended_at}
    lines = [line.site for line in statements(detail) if (line.site.file, line.site.line) in until]
    return lines[-1] if lines else detail.suspended_at[-1]


def _path_of(site: SourceLocation | None, before: StepDetail | None) -> tuple[SourceLocation, ...]:
    """Return the lines through which the task is suspended.

    Empty if that is only `site`, alone or with a helper that it calls and that does nothing but wait.
    """
    if site is None or before is None:
        return ()
    all_sites = (each._replace(function=each.function.rpartition(".<locals>.")[2]) for each in before.suspended_at)
    sites = dict.fromkeys(each for each in all_sites if not each.function.endswith("comp>"))  # functions up to 3.11
    is_said = len(sites) < 2 or (len(sites) == 2 and site == before.suspended_at[0])
    return () if is_said else tuple(sites)


def _libraries(failure: Failure) -> tuple[str, ...]:
    """Return the packages of others in which a task is suspended at a deviation, or still at the end."""
    before = {(canonical(each.task), each.step - 1) for each in failure.schedule}
    steps = [step for step in failure.trace.steps if step.delivered != "call" and step.detail is not None]
    last = {step.task: step for step in steps} if isinstance(failure.error, DeadlockError | StepLimitExceeded) else {}
    suspended = [*(step for step in steps if (step.task, step.number) in before), *last.values()]
    packages = dict.fromkeys(package for step in suspended if step.detail for package in step.detail.libraries)
    # anyio is how other libraries wait, and is worth a mention only alone.
    return tuple(package for package in packages if package != "anyio" or len(packages) == 1)


def _task_of(name: str, trace: Trace, tasks: Collection[str]) -> str:
    owner, _ = (None if name in tasks else event_of(name)) or (name, "")
    return trace.display_name(owner) if owner in tasks else ""


def _step_view(step: Step, kind: tuple[StepKind, str], task: str, starts: Collection[str]) -> StepView:
    detail = step.detail
    lines = statements(detail, step.delivered) if detail else ()
    outcome = detail.outcome if detail else None
    if not lines and outcome == Outcome("raised", step.delivered):
        kind, outcome = (StepKind.RESUME, ""), Outcome("propagated", step.delivered)
    return StepView(
        task=task,
        kind=kind[0],
        subject=kind[1],
        is_step=step.delivered != "call",
        resumed_at=_lines(detail.resumed_at) if detail else (),
        suspended_at=_lines(detail.suspended_at) if detail else (),
        waiting_for=detail.waiting_for if detail else None,
        outcome=outcome,
        starts=tuple(starts),
        woken_by=detail and detail.woken_by,
        time=step.time,
        lines=lines,
        network=detail and detail.network,
        caused_by=detail.caused_by if detail else (),
    )


def _kind_of(
    step: Step, trace: Trace, tasks: Collection[str], sleeping: Collection[tuple[str, int]]
) -> tuple[StepKind, str]:
    if step.delivered != "call":
        return _kind_of_task_step(step)
    owner, part = event_of(step.task) or ("", "")
    if step.task in tasks:  # the kind of an arrival is recorded only if it may be delayed
        return _EVENTS[step.kind or ("sleep" if (step.task, step.number - 1) in sleeping else "thread")], ""
    kind = _EVENTS.get(part) if owner in tasks else None
    return (StepKind.CALLBACK, trace.display_name(step.task)) if kind is None else (kind, "")


def _kind_of_task_step(step: Step) -> tuple[StepKind, str]:
    if step.delivered == "value":
        return (StepKind.START if step.number == 0 else StepKind.RESUME), ""
    return (StepKind.CANCELLATION, "") if step.delivered == "cancelled" else (StepKind.ERROR, step.delivered)


def _lines(sites: tuple[SourceLocation, ...]) -> tuple[Line, ...]:
    return tuple(Line(site, linecache.getline(site.file, site.line).strip()) for site in sites)
