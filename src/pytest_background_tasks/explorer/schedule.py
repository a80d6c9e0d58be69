"""What differs from asyncio's own order in one run, as a value and as text.

Knows nothing of asyncio: a schedule is made by the search, or read from a replay line, and played by the loop.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ..errors import ScheduleSyntaxError


@dataclass(frozen=True, slots=True)
class _At:
    """What all deviations have: a step of a task.

    `task` is a task's name in a trace: ``client#1/handle``. Any other string is taken for a name given by the program.
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
        """What is wrong with the rest of it; empty if nothing is."""
        return ""

    @property
    def _place(self) -> str:
        return self.task if self.step == 0 and ":" in self.task else f"{self.task}@{self.step}"


def _below_zero(**numbers: int) -> str:
    return "".join(f"{name}={number}: {name} counts from 0" for name, number in numbers.items() if number < 0)


def _shown(behind: int | None) -> str:
    return "" if behind is None else f".{behind}"


@dataclass(frozen=True, slots=True)
class Late(_At):
    """What makes `step` of `task` ready arrives late.

    Args:
        task: the task's name in a trace: ``client#1/handle``.
        step: which of its steps, from 0; always 0 for what is no task (``client:timer``).
        by: how many places later than usual it enters, from 1. Each iteration of the loop has two places: before and
            after what arrives there by itself.
        behind: for the answer of a thread, which may enter between any two steps: the number of handles that it comes
            behind in the queue that runs before the place; with this, `by` may be 0. None: behind them all.

    >>> str(Late("audit#1", 1, by=3)), str(Late("audit#1", 1, by=2, behind=1))
    ('audit#1@1+3', 'audit#1@1+2.1')
    """

    by: int = 1
    behind: int | None = None

    def _complaint(self) -> str:
        if self.behind is not None:
            return _below_zero(by=self.by, behind=self.behind)
        return "" if self.by >= 1 else f"by={self.by}: to be late is to enter 1 place later, or more"

    def __str__(self) -> str:
        return f"{self._place}+{self.by}{_shown(self.behind)}"


@dataclass(frozen=True, slots=True)
class Cancel(_At):
    """`task` is cancelled from outside while it is suspended before `step`.

    Args:
        task: the task's name in a trace.
        step: the step that it waits for, from 0.
        after: at which entry place after it suspended, from 0; None: at the very moment it would have gone on.
        behind: if a task cancels it: the number of handles that the cancellation comes behind in the queue that runs
            before the place. None: behind them all.

    >>> str(Cancel("client", 4)), str(Cancel("client", 4, after=0)), str(Cancel("client", 4, after=2, behind=1))
    ('client@4!cancel', 'client@4!cancel+0', 'client@4!cancel+2.1')
    """

    after: int | None = None
    behind: int | None = None

    def _complaint(self) -> str:
        if self.after is None:
            return "" if self.behind is None else f"behind={self.behind}: write also after=, the place of the queue"
        if self.after < 0:
            return f"after={self.after}: places are counted from 0"
        return _below_zero(behind=self.behind or 0)

    def __str__(self) -> str:
        return f"{self._place}!cancel{'' if self.after is None else f'+{self.after}{_shown(self.behind)}'}"


@dataclass(frozen=True, slots=True)
class Raise(_At):
    """What `task` waits for before `step` fails.

    Args:
        task: the task's name in a trace.
        step: the step that it waits for, from 0.
        error: the name of the exception's class, as the option ``raises`` of the exploration has it.

    >>> str(Raise("store", 2, "ConnectionError"))
    'store@2!ConnectionError'
    """

    error: str

    def _complaint(self) -> str:
        if self.error.isidentifier() and self.error not in ("cancel", "slow"):
            return ""
        return f"error={self.error!r}: the name of an exception's class, such as 'ConnectionError'"

    def __str__(self) -> str:
        return f"{self._place}!{self.error}"


@dataclass(frozen=True, slots=True)
class Slow(_At):
    """What `task` waits for before `step` comes only after the next timer other than its own has fired.

    Args:
        task: the task's name in a trace.
        step: the step that it waits for, from 0.

    >>> str(Slow("store", 2))
    'store@2!slow'
    """

    def __str__(self) -> str:
        return f"{self._place}!slow"


Deviation: TypeAlias = Late | Cancel | Raise | Slow

_KINDS = {Late: "lateness", Cancel: "cancellation", Raise: "error", Slow: "slow answer"}


class Schedule(frozenset[Deviation]):
    """Asyncio's order plus a few deviations; the empty schedule *is* asyncio's order.

    A frozen set, so that a schedule is what it does, however it came about. Write one to play an order on purpose
    (``Explorer(replay=...)``), or take one from a failure.

    >>> schedule = Schedule.parse("client@4!cancel, audit#1@1+3")
    >>> print(schedule)
    audit#1@1+3, client@4!cancel
    >>> schedule == Schedule([Late("audit#1", 1, by=3), Cancel("client", 4)])
    True
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """The schedule that `text` shows: what ``str(schedule)`` gives.

        Raises:
            ScheduleSyntaxError: points at what cannot be read.
        """
        return cls(_parsed(text))

    def __str__(self) -> str:
        return ", ".join(map(str, self.in_order()))

    def __repr__(self) -> str:
        return f"Schedule.parse({str(self)!r})"

    def in_order(self) -> list[Deviation]:
        """The deviations by task and step."""
        return sorted(self, key=lambda each: (each.task, each.step, str(each)))

    def with_(self, deviation: Deviation) -> "Schedule":
        """This schedule and one deviation more."""
        return Schedule(self | {deviation})

    def replacing(self, old: Deviation, new: Deviation | None = None) -> "Schedule":
        """This schedule with `new` in place of `old`, or without `old`."""
        rest = self - {old}
        return Schedule(rest if new is None else rest | {new})


# A name is a path of parts, each a word or a JSON string, with a number where its creator started several of that name.
_PART = r'(?:[\w.<>-]+|"(?:[^"\\]|\\.)*")(?:\#\d+)?'
_NAME = re.compile(rf"{_PART}(?:/{_PART})*(?::{_PART})?")
_FIRST = re.compile(r'("(?:[^"\\]|\\.)*")|#1(?=[/:]|$)')
_STEP = re.compile(r"@(\d+)")
_LATE = re.compile(r"\+(\d+)(?:\.(\d+))?")
_CANCEL = re.compile(r"!cancel(?:\+(\d+)(?:\.(\d+))?)?(?!\w)")
_SLOW = re.compile(r"!slow(?!\w)")
_RAISE = re.compile(r"!([^\W\d]\w*)")


@lru_cache(4096)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


@lru_cache(4096)
def quoted(part: str) -> str:
    """One part of a name as it stands in a trace: a word as it is, anything else as a JSON string.

    >>> quoted("client"), quoted("client 1")
    ('client', '"client 1"')
    """
    return part if re.fullmatch(r"[\w.<>-]+", part) else json.dumps(part)


def canonical(name: str) -> str:
    """`name` without the number of what is the first of its name: with or without it, the same task is meant.

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
            raise _error(text, start, f"this step has its {_KINDS[type(deviation)]} already, {other}")
        yield deviation
        place = _skip_space(text, place)
        if place < len(text):
            if text[place] != ",":
                raise _error(text, place, "expected a comma, or the end")
            place = _skip_space(text, place + 1)
            if place == len(text):
                raise _error(text, place, "expected one deviation more after the comma")


def _parse_one(text: str, place: int) -> tuple[Deviation, int]:
    found = _NAME.match(text, place)
    if not found:
        raise _error(text, place, "expected the name of a task")
    name, place = found[0], found.end()
    step = 0
    if found := _STEP.match(text, place):
        step, place = int(found[1]), found.end()
    elif ":" not in name:
        raise _error(text, place, "expected @ and the number of a step")
    return _parse_what(text, place, name, step)


def _parse_what(text: str, place: int, name: str, step: int) -> tuple[Deviation, int]:
    try:
        if found := _LATE.match(text, place):
            return Late(name, step, int(found[1]), _number(found[2])), found.end()
        if found := _CANCEL.match(text, place):
            return Cancel(name, step, _number(found[1]), _number(found[2])), found.end()
        if found := _SLOW.match(text, place):
            return Slow(name, step), found.end()
        if found := _RAISE.match(text, place):
            return Raise(name, step, found[1]), found.end()
    except ValueError as error:
        raise _error(text, place, str(error)) from None
    raise _error(text, place, "expected +places, !cancel, !slow or !NameOfAnError")


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _error(text: str, place: int, complaint: str) -> ScheduleSyntaxError:
    return ScheduleSyntaxError(
        f"this is no schedule: {complaint}\n"
        f"  {text}\n"
        f"  {' ' * place}^\n"
        f"A schedule reads like:  audit#1@1+3, client@4!cancel, store@2!ConnectionError"
    )
