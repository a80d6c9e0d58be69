"""The schedule of a run, as a value and as text: its deviations from asyncio's default order.

Does not know asyncio: the search makes a schedule, or it is read from a replay line, and the loop runs it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ..errors import ScheduleSyntaxError

NETWORK_FAULTS = ("reset", "refused", "eof", "split")
"""The faults of a network."""

RESERVED = ("cancel", "slow", *NETWORK_FAULTS)
"""The words behind ``!`` that are not the name of an exception's class."""


@dataclass(frozen=True, slots=True)
class _At:
    """The common part of all deviations: a step of a task.

    `task` is the name of a task in a trace: ``client#1/handle``. Any other string is a name set by the program.
    """

    task: str
    step: int

    def __post_init__(self) -> None:
        if not _is_name(self.task):
            object.__setattr__(self, "task", quoted(self.task))
        complaint = f"step={self.step}: steps are numbered from 0" if self.step < 0 else self._complaint()
        if complaint:
            raise ValueError(complaint)

    def _complaint(self) -> str:
        """Return the error in the other fields; empty if there is none."""
        return ""

    @property
    def _place(self) -> str:
        is_event = event_of(self.task) is not None
        return self.task if self.step == 0 and is_event else f"{self.task}@{self.step}"


def _below_zero(**numbers: int) -> str:
    return "".join(f"{name}={number}: {name} is counted from 0" for name, number in numbers.items() if number < 0)


def _shown(behind: int | None) -> str:
    return "" if behind is None else f".{behind}"


@dataclass(frozen=True, slots=True)
class Delay(_At):
    """A delay: the arrival that makes `step` of `task` ready comes late.

    Args:
        task: the task's name in a trace: ``client#1/handle``.
        step: the number of the step, from 0; always 0 for a callback (``client:timer``).
        by: the delay in entry places, from 1. Each iteration of the loop has two entry places: before and after the
            events that arrive in that iteration.
        behind: for the result of a thread, which may enter between any two steps: the number of handles that it comes
            behind in the queue that runs before the entry place; with this, `by` may be 0. None: behind them all.

    >>> str(Delay("audit#1", 1, by=3)), str(Delay("audit#1", 1, by=2, behind=1))
    ('audit#1@1+3', 'audit#1@1+2.1')
    """

    by: int = 1
    behind: int | None = None

    def _complaint(self) -> str:
        if self.behind is not None:
            return _below_zero(by=self.by, behind=self.behind)
        return "" if self.by >= 1 else f"by={self.by}: a delay is at least 1 place"

    def __str__(self) -> str:
        return f"{self._place}+{self.by}{_shown(self.behind)}"


@dataclass(frozen=True, slots=True)
class Cancel(_At):
    """A cancellation: `task` is cancelled externally while it is suspended before `step`.

    Args:
        task: the task's name in a trace.
        step: the number of the step that would follow, from 0.
        after: the number of entry places between its suspension and the cancellation, from 0; None: just as the task
            would resume.
        behind: if a task cancels it: the number of handles that the cancellation comes behind in the queue that runs
            before the entry place. None: behind the whole queue.

    >>> str(Cancel("client", 4)), str(Cancel("client", 4, after=0)), str(Cancel("client", 4, after=2, behind=1))
    ('client@4!cancel', 'client@4!cancel+0', 'client@4!cancel+2.1')
    """

    after: int | None = None
    behind: int | None = None

    def _complaint(self) -> str:
        if self.after is None:
            return "" if self.behind is None else f"behind={self.behind} needs after=, the place of the queue"
        if self.after < 0:
            return f"after={self.after}: places are counted from 0"
        return _below_zero(behind=self.behind or 0)

    def __str__(self) -> str:
        return f"{self._place}!cancel{'' if self.after is None else f'+{self.after}{_shown(self.behind)}'}"


@dataclass(frozen=True, slots=True)
class Raise(_At):
    """An injected error: the operation that `task` awaits before `step` fails.

    Args:
        task: the task's name in a trace.
        step: the number of the step that receives the error, from 0.
        error: the name of the exception's class, which the option ``faults`` of the exploration must contain.

    >>> str(Raise("store", 2, "ConnectionError"))
    'store@2!ConnectionError'
    """

    error: str

    def _complaint(self) -> str:
        if self.error.isidentifier() and self.error not in RESERVED:
            return ""
        return f"error={self.error!r} is not the name of an exception's class, such as 'ConnectionError'"

    def __str__(self) -> str:
        return f"{self._place}!{self.error}"


@dataclass(frozen=True, slots=True)
class Slow(_At):
    """A slow answer: the next timer, such as a timeout, does not wait for all that follows from the answer.

    Args:
        task: the task's name in a trace.
        step: the number of the step that receives the answer, from 0.
        timer_after: the number of iterations of the loop after which the timer fires, counted from the one in which the
            answer comes in, from 0. None: the timer fires before the answer comes in.

    >>> str(Slow("store", 2)), str(Slow("store", 2, timer_after=1))
    ('store@2!slow', 'store@2!slow-1')
    """

    timer_after: int | None = None

    def _complaint(self) -> str:
        return _below_zero(timer_after=self.timer_after or 0)

    def __str__(self) -> str:
        return f"{self._place}!slow{'' if self.timer_after is None else f'-{self.timer_after}'}"


@dataclass(frozen=True, slots=True)
class NetworkFault(_At):
    """A fault of the network between two sockets, in place of what arrives at one of them.

    Args:
        task: the name of what arrives, in a trace: ``fetch:received``.
        step: the number of the arrival, from 0.
        fault: ``"reset"``: the connection is reset; ``"eof"``: it is closed, as by a proxy; ``"refused"``: it is not
            established; ``"split"``: a part of the data arrives now, and the rest in the next iteration of the loop.
        after: the number of bytes that arrive before it; for ``split``, at least 1.

    >>> str(NetworkFault("fetch:received", 0, "refused")), str(NetworkFault("fetch:received", 2, "reset", after=12))
    ('fetch:received!refused', 'fetch:received@2!reset-12')
    """

    fault: str
    after: int = 0

    def _complaint(self) -> str:
        if self.fault not in NETWORK_FAULTS:
            return f"fault={self.fault!r} is not one of {', '.join(NETWORK_FAULTS)}"
        if self.fault == "refused" and self.after:
            return f"after={self.after}: no bytes arrive before a refusal"
        if self.fault == "split" and self.after < 1:
            return f"after={self.after}: a part of the data is at least 1 byte; write !split-1"
        return _below_zero(after=self.after)

    def __str__(self) -> str:
        return f"{self._place}!{self.fault}{f'-{self.after}' if self.after else ''}"


Deviation: TypeAlias = Delay | Cancel | Raise | Slow | NetworkFault

_KINDS = {
    Delay: "a delay",
    Cancel: "a cancellation",
    Raise: "an injected error",
    Slow: "a slow result",
    NetworkFault: "a fault of the network",
}


class Schedule(frozenset[Deviation]):
    """A set of deviations from asyncio's default order; the empty schedule *is* the default order.

    It is a frozen set, so schedules with the same effect are equal. Write one to run a chosen order
    (``Explorer(replay=...)``), or take one from a failure.

    >>> schedule = Schedule.parse("client@4!cancel, audit#1@1+3")
    >>> print(schedule)
    audit#1@1+3, client@4!cancel
    >>> schedule == Schedule([Delay("audit#1", 1, by=3), Cancel("client", 4)])
    True
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Return the schedule for `text`, in the form of ``str(schedule)``.

        Raises:
            ScheduleSyntaxError: the text cannot be read; the message points at the place.
        """
        return cls(_parsed(text))

    def __str__(self) -> str:
        return ", ".join(map(str, self.sorted()))

    def __repr__(self) -> str:
        return f"Schedule.parse({str(self)!r})"

    def sorted(self) -> list[Deviation]:
        """Return the deviations, sorted by task and step."""
        return sorted(self, key=lambda each: (each.task, each.step, str(each)))

    def plus(self, deviation: Deviation) -> "Schedule":
        """Return this schedule with one more deviation."""
        return Schedule(self | {deviation})

    def replacing(self, old: Deviation, new: Deviation | None = None) -> "Schedule":
        """Return this schedule with `new` instead of `old`, or without `old`."""
        rest = self - {old}
        return Schedule(rest if new is None else rest | {new})


# A name is a path of parts, each a word or a JSON string, with a number if its creator started several of that name.
_PART = r'(?:[\w.<>-]+|"(?:[^"\\]|\\.)*")(?:\#\d+)?'
_NAME = re.compile(rf"{_PART}(?:[/:]{_PART})*")
_EVENT = re.compile(rf"(.+):({_PART})", re.DOTALL)
_FIRST = re.compile(r'("(?:[^"\\]|\\.)*")|#1(?=[/:]|$)')
_STEP = re.compile(r"@(\d+)")
_LATE = re.compile(r"\+(\d+)(?:\.(\d+))?")
_CANCEL = re.compile(r"!cancel(?:\+(\d+)(?:\.(\d+))?)?(?!\w)")
_SLOW = re.compile(r"!slow(?:-(\d+))?(?!\w)")
_NETWORK = re.compile(rf"!({'|'.join(NETWORK_FAULTS)})(?:-(\d+))?(?!\w)")
_RAISE = re.compile(r"!([^\W\d]\w*)")


@lru_cache(4096)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


@lru_cache(4096)
def quoted(part: str) -> str:
    """Return a part of a name as it is written in a trace: a word unchanged, anything else as a JSON string.

    >>> quoted("client"), quoted("client 1")
    ('client', '"client 1"')
    """
    return part if re.fullmatch(r"[\w.<>-]+", part) else json.dumps(part)


@lru_cache(4096)
def event_of(name: str) -> tuple[str, str] | None:
    """Return the owner and the kind of an event from its name, such as a timer; None for the name of a task.

    >>> event_of("client:timer#2"), event_of("client:timer/job"), event_of('"a:b"')
    (('client', 'timer'), None, None)
    """
    found = _EVENT.fullmatch(name)
    return None if found is None else (found[1], found[2].partition("#")[0])


def canonical(name: str) -> str:
    """Return `name` without ``#1``: with or without that number it names the same task.

    >>> canonical("client#1/handle#2"), canonical("client#1:timer#1")
    ('client/handle#2', 'client:timer')
    """
    return _FIRST.sub(lambda found: found[1] or "", name) if "#1" in name else name


def _parsed(text: str) -> Iterator[Deviation]:
    place = _skip_space(text, 0)
    before: dict[tuple[type, str, int], Deviation] = {}
    while place < len(text):
        start = place
        deviation, place = _parse_one(text, place)
        other = before.setdefault((type(deviation), canonical(deviation.task), deviation.step), deviation)
        if other is not deviation:
            raise _error(text, start, f"this step already has {_KINDS[type(deviation)]}, {other}")
        yield deviation
        place = _skip_space(text, place)
        if place < len(text):
            if text[place] != ",":
                raise _error(text, place, "expected a comma or the end")
            place = _skip_space(text, place + 1)
            if place == len(text):
                raise _error(text, place, "expected another deviation after the comma")


def _parse_one(text: str, place: int) -> tuple[Deviation, int]:
    found = _NAME.match(text, place)
    if not found:
        raise _error(text, place, "expected the name of a task")
    name, place = found[0], found.end()
    step = 0
    if found := _STEP.match(text, place):
        step, place = int(found[1]), found.end()
    elif event_of(name) is None:
        raise _error(text, place, "expected @ and the number of a step")
    return _parse_what(text, place, name, step)


def _parse_what(text: str, place: int, name: str, step: int) -> tuple[Deviation, int]:
    try:
        if found := _LATE.match(text, place):
            return Delay(name, step, int(found[1]), _number(found[2])), found.end()
        if found := _CANCEL.match(text, place):
            return Cancel(name, step, _number(found[1]), _number(found[2])), found.end()
        if found := _SLOW.match(text, place):
            return Slow(name, step, _number(found[1])), found.end()
        if found := _NETWORK.match(text, place):
            return NetworkFault(name, step, found[1], _number(found[2]) or 0), found.end()
        if found := _RAISE.match(text, place):
            return Raise(name, step, found[1]), found.end()
    except ValueError as error:
        raise _error(text, place, str(error)) from None
    faults = ", ".join(f"!{fault}" for fault in RESERVED)
    raise _error(text, place, f"expected +places, {faults} or !NameOfAnError")


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _error(text: str, place: int, complaint: str) -> ScheduleSyntaxError:
    return ScheduleSyntaxError(
        f"invalid schedule: {complaint}\n"
        f"  {text}\n"
        f"  {' ' * place}^\n"
        f"Write a schedule like:  audit#1@1+3, client@4!cancel, store@2!ConnectionError"
    )
