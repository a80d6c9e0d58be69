"""A finding about one background task, and its text."""

import traceback
from typing import Literal, NamedTuple, TypeAlias

from .._introspect.location import SourceLocation
from .._introspect.untrusted import type_name
from .task_record import MonitoredTest, TaskSnapshot

Kind: TypeAlias = Literal["unhandled", "leaked", "destroyed"]

_CURES: dict[Kind, str] = {
    "unhandled": "await the task in the code that starts it, or handle the exception in the task",
    "leaked": "await the task, or cancel and await it, before its owner ends",
    "destroyed": "keep a reference to the task until it has ended, for example in a set",
}
_CURE_OF_CALLBACK = "handle the exception in the callback"


class Finding(NamedTuple):
    """A finding about a task, or about a callback of the loop.

    Attributes:
        kind: the kind of finding.
        test: the test that it is attributed to.
        what: what happened, as a sentence.
        where: the lines of text below it: created at, called at, waits at.
        at: the line of code at which to show it.
        snapshot: the task, to match it against those that may leak.
        error: the exception, if any.
    """

    kind: Kind
    test: MonitoredTest
    what: str
    where: tuple[str, ...]
    at: SourceLocation
    snapshot: TaskSnapshot | None = None
    error: BaseException | None = None

    @property
    def mode(self) -> str:
        """The mode that the test has chosen for it."""
        if self.kind == "leaked" and self.snapshot is not None:
            task: object = self.snapshot
            if any(match(task) for match in self.test.modes.allow):  # type: ignore[arg-type]  # has what a target reads
                return "ignore"
        mode: str = getattr(self.test.modes, self.kind)
        return "warn" if mode == "gc" else mode

    def text(self, during: str, *, is_first: bool, with_traceback: bool) -> str:
        """Return the whole text.

        Args:
            during: the id of the test during which it is reported.
            is_first: whether it is the first of its kind, which says how to mend and how to silence that kind.
            with_traceback: whether to append the traceback of the exception.
        """
        lines = [self.what, *(f"  {line}" for line in self.where)]
        if self.test.id != during:
            lines.append(f"  attributed to {self.test.id}, which has ended")
        if is_first:
            mark = f'@pytest.mark.background_tasks({self.kind}="ignore")'
            lines.append(f"  to fix it:  {_CURES[self.kind] if self.snapshot else _CURE_OF_CALLBACK}")
            lines.append(
                f"  to silence this warning:  background_tasks_{self.kind} = ignore  in the ini file, or {mark}"
            )
        if with_traceback and self.error is not None:
            lines += ["", _traceback_of(self.error)]
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """The text that all tasks which leak from one line have in common."""
        assert self.snapshot is not None
        return f"{self.snapshot.creation.at}: {self.snapshot.function}"


def _traceback_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:  # an error whose attributes cannot be read
        return "".join([*traceback.format_tb(error.__traceback__), type_name(error)])


def of_task(
    kind: Kind, test: MonitoredTest, snapshot: TaskSnapshot, what: str, error: BaseException | None = None
) -> Finding:
    """Return the finding about a task; `what` is a sentence with ``{}`` for the task."""
    where = list(snapshot.creation.lines)
    if snapshot.waits_at is not None:
        where.append(f"waits at {snapshot.waits_at}")
    if snapshot.started_through:
        where.append(f"started by asyncio.{snapshot.started_through}(), and has outlived its waiter")
    task = f"{snapshot.name} ({snapshot.function})" if snapshot.name else snapshot.function
    sentence = what.format(f"background task {task}")
    return Finding(kind, test, sentence, tuple(where), snapshot.creation.at, snapshot, error)
