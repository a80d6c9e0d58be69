"""The record of one run, step by step, as a value. It refers to no live object, and does not import asyncio."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from .._introspect.location import SourceLocation
from .._introspect.wait_reason import WaitReason
from .._network.network_event import NetworkEvent
from .network_faults import PossibleFaults

KINDS = ("start", "yield", "sleep", "timer", "thread", "mock", "answer", "network")
"""The kinds of arrival that stand for an external event."""

MAIN = "main"
"""The name of the task that runs the scenario or the test."""

SETUP, TEARDOWN = "setup", "teardown"
"""The first parts of the names of tasks in which a runner sets up fixtures, and tears them down."""

ANSWERS = frozenset({"yield", "sleep", "thread", "mock", "answer"})
"""The kinds that deliver a result to a waiting task: the result may be an error, or take longer than a timeout."""

PLACES = 4
QUEUE, BEFORE, ARRIVING, AFTER = range(PLACES)
"""The zones of entry of an iteration: the queue, the place before the arrivals, the arrivals, and the place after them.

So ``entry // PLACES`` is the iteration. Delayed arrivals enter at the odd numbers, the entry places.
"""


class ExecutedLine(NamedTuple):
    """A line of the project's own code that a step has executed.

    Attributes:
        location: the line.
        depth: the number of calls between it and the function in which the step began.
    """

    location: SourceLocation
    depth: int


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


class StepDetail(NamedTuple):
    """The details of a step, recorded only in the run that a report shows.

    Attributes:
        resumed_at: the lines of the project's own code at which the task resumes, outermost first; for its first step,
            the line of its function.
        suspended_at: the lines at which it is then suspended, or has raised, outermost first; empty if it has returned.
        waiting_for: the thing that it then waits for; None if it has ended.
        outcome: the way in which it has ended; None if it has not.
        woken_by: the index of the step that made this one ready; None if an external event did.
        lines: the lines of the project's own code that were executed, in order.
        libraries: the libraries in whose functions the task is then suspended.
        network: the event of the network that arrives; None for any other step.
        caused_by: the indices of the steps that have caused this event: they have sent the data, connected, closed, or
            made room by reading. Empty if no step of the loop did, but another thread or a fixture before it ran.
    """

    resumed_at: tuple[SourceLocation, ...]
    suspended_at: tuple[SourceLocation, ...]
    waiting_for: WaitReason | None
    outcome: Outcome | None
    woken_by: int | None
    lines: tuple[ExecutedLine, ...] = ()
    libraries: tuple[str, ...] = ()
    network: NetworkEvent | None = None
    caused_by: tuple[int, ...] = ()


class Step(NamedTuple):
    """One step of a run: of a task, or a callback.

    Attributes:
        task: the name of the task, or of the callback.
        number: the number of the step among those of the task, from 0; for the timer that ends a sleep, that of the
            step that it makes ready.
        delivered: the delivery to the task: ``value``, ``cancelled``, or the name of an exception class; ``call`` for a
            callback.
        time: virtual time, in seconds since the run began.
        kind: the kind of arrival that made it ready (`KINDS`, or ``any``); None if it was not an arrival.
        entry: the place at which it entered the queue; see `PLACES`.
        wakeups: the number of steps that it made ready.
        detail: the details; None in most runs.
    """

    task: str
    number: int
    delivered: str
    time: float
    kind: str | None
    entry: int
    wakeups: int
    detail: StepDetail | None = None


class Withdrawn(NamedTuple):
    """A step that did not take place because another one withdrew it: a timer that is due, a reader of arrived data.

    Attributes:
        before: the number of steps that ran before.
        entry: the place at which it would have entered, as in `Step`.
        time: virtual time, in seconds since the run began.
    """

    before: int
    entry: int
    time: float


_facts = itemgetter(0, 1, 2, 3)


@dataclass(frozen=True)
class Trace:
    """The record of one run.

    Attributes:
        rows: `steps` as plain tuples, which is all that a search needs of most runs.
        cancellable: the names of the tasks that may be cancelled externally.
        siblings: the names that a creator has given to several tasks; `display_name` adds a number to the first of
            these.
        disturbed: the iterations whose queue has lost a handle, because it was delayed or cancelled.
        answers: the results of threads, by task and step, each with the least number of handles that it comes behind:
            those that were queued when the thread started.
        overtakable: the arrivals before which the next timer could have fired, by task and step; True if a delay of the
            arrival is enough for that.
        faults: the faults that are possible in place of what arrives from the network, by name and number of the
            arrival; empty if none are asked for.
        withdrawn: the steps that were withdrawn when they were about to run.
    """

    rows: tuple[tuple[Any, ...], ...]
    cancellable: frozenset[str] = frozenset()
    siblings: frozenset[str] = frozenset()
    disturbed: frozenset[int] = frozenset()
    answers: dict[tuple[str, int], int] = field(default_factory=dict, hash=False)
    overtakable: dict[tuple[str, int], bool] = field(default_factory=dict, hash=False)
    faults: dict[tuple[str, int], PossibleFaults] = field(default_factory=dict, hash=False)
    withdrawn: tuple[Withdrawn, ...] = ()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they ran."""
        return tuple(map(Step._make, self.rows))

    @property
    def signature(self) -> tuple[tuple[str, int, str, float], ...]:
        """The task, the number, the delivery and the virtual time of each step. Two runs are equal if these are."""
        return tuple(map(_facts, self.rows))

    def display_name(self, name: str) -> str:
        """Return the name that reports show: ``client#1`` if the same creator started another ``client``.

        >>> Trace((), siblings=frozenset({"client"})).display_name("client/job:timer")
        'client#1/job:timer'
        """
        return _renumbered(name, self.siblings) if self.siblings else name

    def arrivals(self) -> Iterator[tuple[int, Step]]:
        """Yield the steps that may be delayed, because an external event made them ready, each with its index."""
        return ((index, step) for index, step in enumerate(self.steps) if step.kind is not None)


def _renumbered(name: str, siblings: frozenset[str]) -> str:
    ends = [place for place, sign in enumerate(name) if sign in "/:"] + [len(name)]
    shown, start = "", 0
    for end in ends:
        shown += name[start:end] + ("#1" if name[:end] in siblings else "")
        start = end
    return shown


def first_difference(first: Trace, second: Trace) -> int | None:
    """Return the index of the first step in which two runs differ; None if they are equal."""
    for index, (one, other) in enumerate(zip_longest(first.signature, second.signature)):
        if one != other:
            return index
    return None
