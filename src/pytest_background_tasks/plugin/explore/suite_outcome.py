"""The outcome of one test under ``pytest --explore``, as values that a report carries from a worker of pytest-xdist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..._introspect.text import plural

if TYPE_CHECKING:
    from ..._explore.result import Exploration
    from .reasons import Reason


@dataclass(frozen=True)
class SuiteOutcome:
    """The outcome.

    Attributes:
        verdict: the verdict of the exploration; None if the test was not explored.
        reason: the code of the reason for which it was not explored; None if it was.
        detail: the first line of the error that is the reason, or empty.
        location: the line of the project, as ``file:line in function``, or empty.
        runs: the number of schedules that were run.
        distinct: the number of different runs among them.
        stopped_by: ``schedules`` or ``seconds``, the limit that stopped the search, or empty.
        seconds: the duration of the exploration, in seconds of real time.
        schedule: the failing schedule, or None.
        error: the error under the failing schedule, in one line, or empty.
        replay: the command that replays the failing schedule, or empty.
        accepted: the schedules that fail, and are accepted.
        now_passing: the schedules that failed before, or are accepted, and pass.
    """

    verdict: str | None = None
    reason: str | None = None
    detail: str = ""
    location: str = ""
    runs: int = 0
    distinct: int = 0
    stopped_by: str = ""
    seconds: float = 0.0
    schedule: str | None = None
    error: str = ""
    replay: str = ""
    accepted: tuple[str, ...] = ()
    now_passing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as basic values."""
        return asdict(self)


def run_as_usual(reason: Reason, detail: str = "", location: str = "", seconds: float = 0.0) -> SuiteOutcome:
    """Return the outcome of a test that had only its usual run."""
    return SuiteOutcome(reason=reason.code, detail=detail, location=location, seconds=seconds)


def explored(exploration: Exploration, largest: int, replay: str) -> SuiteOutcome:
    """Return the outcome of an explored test.

    Args:
        exploration: its exploration.
        largest: the largest number of schedules, ``max_schedules``.
        replay: the command that replays the failing schedule, or empty.
    """
    failure = exploration.failure
    stopped_by = ""
    if exploration.verdict == "incomplete":
        stopped_by = "schedules" if exploration.runs >= largest else "seconds"
    return SuiteOutcome(
        verdict=exploration.verdict,
        runs=exploration.runs,
        distinct=exploration.distinct,
        stopped_by=stopped_by,
        seconds=exploration.seconds,
        schedule=None if failure is None else str(failure.schedule),
        error="" if failure is None else first_line(failure.error),
        replay=replay,
        accepted=tuple(map(str, exploration.accepted)),
        now_passing=tuple(map(str, exploration.now_passing)),
    )


def verdict_in_words(outcome: Mapping[str, Any]) -> str:
    """Return the verdict of an exploration and its numbers, in a few words."""
    cut = f", {outcome['cut_short']} cut short" if outcome.get("cut_short") else ""
    return f"{outcome['verdict']}, {plural(outcome['runs'], 'run')}, {outcome['distinct']} distinct{cut}"


def first_line(error: BaseException) -> str:
    """Return the error as one line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")
