"""What a trace tells a reader: who did what, at which lines, woken by whom, and what was different from usual.

The table and the page are both drawn from this; it reads source files, and nothing else from outside.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass

from ..explorer.exploration import Failure
from ..explorer.schedule import Deviation, Schedule, canonical
from ..explorer.trace import Step, Trace, first_difference
from ..sites import Site
from .sentences import mark, path_of, place_of, sentence
from .source import Line, statement, statements


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of a run, for a reader.

    Attributes:
        lane: the task whose step it is, or whose timer or answer arrives; empty for other callbacks.
        what: in words: ``starts``, ``goes on``, ``gets TimeoutError``, ``its timer fires``.
        is_step: whether the task itself ran.
        at: the lines at which it goes on, outermost first; empty for what is no task.
        until: the lines at which it then waits or has raised, outermost first; empty if it has returned.
        waits_for: what it then waits for, in words; empty if it has ended.
        end: ``returns``, ``raises KeyError``, ``passes on KeyError`` that what it has waited for has raised, or ``is
            cancelled``; empty if it has not ended.
        starts: the lanes of the tasks that it started.
        woken_by: index of the moment that made this one ready; None if that was nobody's.
        time: virtual seconds since the run began.
        ran: the statements that were run, in order, without those that say nothing.
    """

    lane: str
    what: str
    is_step: bool
    at: tuple[Line, ...]
    until: tuple[Line, ...]
    waits_for: str
    end: str
    starts: tuple[str, ...]
    woken_by: int | None
    time: float
    ran: tuple[Line, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether it has ended with an error."""
        return self.end.startswith(("raises ", "passes on "))


@dataclass(frozen=True, slots=True)
class Difference:
    """A deviation, for a reader.

    Attributes:
        lane: the task that it is about.
        mark: what is different, in a few words: ``goes on late``.
        sentence: the same with the line that it concerns.
        code: what stands at that line; empty if that is nobody's or not known.
        path: the lines through which the task waits there; empty if it is one.
        moment: index of the moment that is different; None if that did not come before the end.
    """

    lane: str
    mark: str
    sentence: str
    code: str
    moment: int | None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One run, for a reader.

    Attributes:
        lanes: the tasks, in the order in which they first ran.
        moments: in the order in which they ran; a moment's index is that of its step in the trace.
        differences: from asyncio's usual order.
    """

    lanes: tuple[str, ...]
    moments: tuple[Moment, ...]
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Failing:
    """A failure for a reader: asyncio's own order and the failing one.

    Attributes:
        usual: what happens in asyncio's order; None if it fails in that.
        here: what happens in the failing one.
        parting: the index of the first moment that differs; None if none does.
    """

    usual: Story | None
    here: Story
    parting: int | None


def failing(failure: Failure) -> Failing:
    """The story of a failure."""
    here = story(failure.trace, failure.schedule)
    if not failure.schedule:
        return Failing(None, here, None)
    parting = first_difference(failure.asyncio_trace, failure.trace)
    return Failing(story(failure.asyncio_trace), here, parting)


def story(trace: Trace, schedule: Schedule = Schedule()) -> Story:  # noqa: B008 - a frozen value
    """The story of a run that was played to be told."""
    tasks = {step.who for step in trace.steps if step.got != "call"}
    lanes = dict.fromkeys(trace.shown(step.who) for step in trace.steps if step.who in tasks)
    started: dict[int, list[str]] = {}
    for step in trace.steps:
        if step.who in tasks and step.number == 0 and step.told is not None and step.told.woken_by is not None:
            started.setdefault(step.told.woken_by, []).append(trace.shown(step.who))
    waits = {(step.who, step.number): step.told.waits_for for step in trace.steps if step.told and step.got != "call"}
    moments = (
        _moment(step, _what(step, trace, tasks, waits), _lane(step.who, trace, tasks), tuple(started.get(index, ())))
        for index, step in enumerate(trace.steps)
    )
    differences = tuple(_difference(each, trace, tasks) for each in schedule.in_order())
    return Story(tuple(lanes), tuple(moments), differences)


def _difference(deviation: Deviation, trace: Trace, tasks: set[str]) -> Difference:
    who = canonical(deviation.task)
    moments = [index for index, step in enumerate(trace.steps) if (step.who, step.number) == (who, deviation.step)]
    # The end of a sleep, or a thread's answer, is called what the step that it makes ready is called.
    moment = max(moments, key=lambda index: trace.steps[index].got != "call", default=None)
    site = place_of(deviation, trace)
    code = "" if site is None else statement(site.file, site.line).text
    path = path_of(deviation, trace)
    return Difference(_lane(who, trace, tasks), mark(deviation), sentence(deviation, trace), code, moment, path)


def _lane(who: str, trace: Trace, tasks: set[str]) -> str:
    owner = who.rpartition(":")[0] or who
    return trace.shown(owner) if owner in tasks else ""


def _moment(step: Step, what: str, lane: str, starts: tuple[str, ...]) -> Moment:
    told = step.told
    is_step = step.got != "call"
    ran = statements(told, step.got) if told else ()
    end = told.end if told else ""
    if not ran and end == f"raises {step.got}":
        what, end = "goes on", f"passes on {step.got}"
    return Moment(
        lane=lane,
        what=what,
        is_step=is_step,
        at=_lines(told.at) if told else (),
        until=_lines(told.until) if told else (),
        waits_for=told.waits_for if told else "",
        end=end,
        starts=starts,
        woken_by=told and told.woken_by,
        time=step.time,
        ran=ran,
    )


_GOT = {"value": "goes on", "cancelled": "is cancelled"}


def gets_of(moment: Moment, marks: Sequence[str]) -> str:
    """What a task gets, or what arrives; empty if that is nothing special, or if the `marks` of the moment say it."""
    if moment.what in ("starts", "goes on") or any(mark.startswith(("is ", "gets ", "its ")) for mark in marks):
        return ""
    return moment.what


def wait_of(moment: Moment, *, is_last: bool) -> str:
    """What a task waits for, if that is worth a word: when it goes no further, or when somebody holds that."""
    tells = (is_last and moment.waits_for != "its next turn") or " held by " in moment.waits_for
    return moment.waits_for if moment.is_step and tells else ""


_ARRIVES = {
    "sleep": "its sleep ends",
    "timer": "its timer fires",
    "thread": "its thread answers",
    "call": "its call arrives",
}
"""What is said of an arrival that makes no step of a task ready yet, by its kind or by the last part of its name."""


def _what(step: Step, trace: Trace, tasks: set[str], waits: dict[tuple[str, int], str]) -> str:
    if step.got != "call":
        return "starts" if step.number == 0 and step.got == "value" else _GOT.get(step.got, f"gets {step.got}")
    owner, _, part = step.who.rpartition(":")
    if step.who in tasks:  # its kind is recorded only if it may be late
        sleeps = waits.get((step.who, step.number - 1), "").startswith("a sleep ")
        return _ARRIVES[step.kind or ("sleep" if sleeps else "thread")]
    known = _ARRIVES.get(part.partition("#")[0]) if owner in tasks else None
    return known or f"{trace.shown(step.who)} is called"


def _lines(sites: tuple[Site, ...]) -> tuple[Line, ...]:
    return tuple(Line(site, linecache.getline(site.file, site.line).strip()) for site in sites)
