"""A report: what became of one background task, and how it is told."""

import traceback
from typing import Literal, NamedTuple, TypeAlias

from ..sites import Site
from ..untrusted import type_name
from .record import Seen, Watched

Kind: TypeAlias = Literal["failed", "leaked", "unreferenced"]


class Report(NamedTuple):
    """What became of a task, or of a callback of the loop.

    Attributes:
        kind: which of the reports it is.
        test: whose it is.
        what: happened, as a sentence.
        where: the lines below it: created at, called at, waits at.
        at: the line to show it at.
        seen: the task, for what is allowed to leak.
        error: that it raised.
    """

    kind: Kind
    test: Watched
    what: str
    where: tuple[str, ...]
    at: Site
    seen: Seen | None = None
    error: BaseException | None = None

    @property
    def mode(self) -> str:
        """How the test wants to hear of it."""
        if self.kind == "leaked" and self.seen is not None:
            seen: object = self.seen
            if any(match(seen) for match in self.test.modes.allow):  # type: ignore[arg-type]
                return "ignore"
        mode: str = getattr(self.test.modes, self.kind)
        return "warn" if mode == "search" else mode

    def text(self, during: str, *, is_first: bool, with_traceback: bool) -> str:
        """All of it.

        Args:
            during: id of the test that it is told in.
            is_first: whether it is the first of its kind, and so has to say how to hear no more of them.
            with_traceback: whether to append that of the error.
        """
        lines = [self.what, *(f"  {line}" for line in self.where)]
        if self.test.id != during:
            lines.append(f"  by {self.test.id}, which has ended")
        if is_first:
            mark = f'@pytest.mark.background_tasks({self.kind}="ignore")'
            lines.append(
                f"  to hear no more of this:  background_tasks_{self.kind} = ignore  in the ini file, or {mark}"
            )
        if with_traceback and self.error is not None:
            lines += ["", _traceback_of(self.error)]
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """What all that leaks from one line has in common."""
        assert self.seen is not None
        return f"{self.seen.creation.at}: {self.seen.function}"


def _traceback_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:  # an error whose attributes cannot be read
        return "".join([*traceback.format_tb(error.__traceback__), type_name(error)])


def of_task(kind: Kind, test: Watched, seen: Seen, what: str, error: BaseException | None = None) -> Report:
    """The report on a task. `what` became of it completes the sentence that its name begins."""
    where = list(seen.creation.lines)
    if seen.waits_at is not None:
        where.append(f"waits at {seen.waits_at}")
    if seen.started_through:
        where.append(f"started by asyncio.{seen.started_through}(), and has outlived its waiter")
    who = f"{seen.name}, {seen.function}" if seen.name else seen.function
    sentence = f"background task {who}, {what}"
    return Report(kind, test, sentence, tuple(where), seen.creation.at, seen, error)
