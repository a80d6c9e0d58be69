"""The record of one run, step by step, as a value. It refers to no live object, and does not import asyncio."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from ..sites import Site
from ..wait_reason import WaitReason

KINDS = ("start", "yield", "sleep", "timer", "thread", "mock")
"""The kinds of arrival that stand for something from outside."""

ANSWERS = frozenset({"yield", "sleep", "thread", "mock"})
"""Those among them that answer a task which waits: these may fail, or outlast a time-out."""

PLACES = 4
QUEUE, BEFORE, ARRIVING, AFTER = range(PLACES)
"""How many zones of entry an iteration has: the queue, the place before what arrives, that itself, the place after.

So ``entry // PLACES`` is the iteration, and the entry places, where what is late enters, are the odd numbers.
"""


class Ran(NamedTuple):
    """A line of the project's own code that a step has run.

    Attributes:
        site: the line.
        deep: how many functions below the one in which the step began.
    """

    site: Site
    deep: int


class Outcome(NamedTuple):
    """The way in which a task has ended.

    Attributes:
        kind: ``"returned"``, ``"raised"``, ``"cancelled"``, or ``"propagated"``: it raised the exception of something
            that it had awaited, and ran no line of its own.
        error: the name of the exception's class; empty unless it raised or propagated one.
    """

    kind: Literal["returned", "raised", "propagated", "cancelled"]
    error: str = ""

    @property
    def is_failure(self) -> bool:
        """True if the task has ended with an exception other than its cancellation."""
        return self.kind in ("raised", "propagated")


class Told(NamedTuple):
    """What is recorded of a step only when a run is played to be shown.

    Attributes:
        at: the lines of the project's own code at which the task goes on, outermost first; for its first step, that of
            its function.
        until: the lines at which it then waits, or has raised, outermost first; empty if it has returned.
        waits_for: the thing that it then waits for; None if it has ended.
        end: the way in which it has ended; None if it has not.
        woken_by: index of the step that made this one ready, or None if that was nobody's step.
        ran: the lines of the project's own code that were run, in order.
        through: the packages of others in whose functions it then waits.
    """

    at: tuple[Site, ...]
    until: tuple[Site, ...]
    waits_for: WaitReason | None
    end: Outcome | None
    woken_by: int | None
    ran: tuple[Ran, ...] = ()
    through: tuple[str, ...] = ()


class Step(NamedTuple):
    """One thing the loop ran: a step of a task, or a callback.

    Attributes:
        who: the task's name; for a callback what it is called.
        number: which of the task's steps, from 0; for the timer that ends a sleep, the step that it makes ready.
        got: what was delivered: ``value``, ``cancelled``, or the name of an error's class; for a callback ``call``.
        time: virtual time, in seconds since the run began.
        kind: what kind of arrival made it ready (`KINDS`, or ``any``), None if it was none.
        entry: where it entered; see `PLACES`.
        queued: how many others it made ready.
        told: see `Told`.
    """

    who: str
    number: int
    got: str
    time: float
    kind: str | None
    entry: int
    queued: int
    told: Told | None = None


_facts = itemgetter(0, 1, 2, 3)


@dataclass(frozen=True)
class Trace:
    """What happened in one run.

    Attributes:
        rows: `steps` as plain tuples; of most runs nobody asks for more.
        cancellable: names of the tasks that may be cancelled from outside.
        siblings: names of which a creator started several; `shown` gives the first of them its number.
        disturbed: iterations of whose queue something was taken out, because it was late or its handle was cancelled.
        answers: the answers of threads, by task and step, each with the number of handles of the queue that it comes
            behind at the least: those that were queued when the thread was asked.
    """

    rows: tuple[tuple[Any, ...], ...]
    cancellable: frozenset[str] = frozenset()
    siblings: frozenset[str] = frozenset()
    disturbed: frozenset[int] = frozenset()
    answers: dict[tuple[str, int], int] = field(default_factory=dict, hash=False)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """In the order in which they ran."""
        return tuple(map(Step._make, self.rows))

    @property
    def facts(self) -> tuple[tuple[str, int, str, float], ...]:
        """Who ran, what was delivered, at what virtual time. By this, two runs are equal or not."""
        return tuple(map(_facts, self.rows))

    def shown(self, name: str) -> str:
        """`name` as a reader wants it: ``client#1`` if the same creator started another ``client``.

        >>> Trace((), siblings=frozenset({"client"})).shown("client/job:timer")
        'client#1/job:timer'
        """
        return _renumbered(name, self.siblings) if self.siblings else name

    def arrivals(self) -> Iterator[tuple[int, Step]]:
        """What may come late: steps that something from outside made ready, each with its index."""
        return ((index, step) for index, step in enumerate(self.steps) if step.kind is not None)


def _renumbered(name: str, siblings: frozenset[str]) -> str:
    ends = [place for place, sign in enumerate(name) if sign in "/:"] + [len(name)]
    shown, start = "", 0
    for end in ends:
        shown += name[start:end] + ("#1" if name[:end] in siblings else "")
        start = end
    return shown


def first_difference(first: Trace, second: Trace) -> int | None:
    """The index of the first step in which two runs differ, or None if they are equal."""
    for index, (one, other) in enumerate(zip_longest(first.facts, second.facts)):
        if one != other:
            return index
    return None
