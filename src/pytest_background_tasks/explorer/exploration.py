"""What came of an exploration, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..amounts import amount
from .schedule import Schedule
from .trace import Trace

Verdict: TypeAlias = Literal["failed", "exhausted", "bounded", "truncated", "replayed"]
"""How an exploration ended; only ``exhausted`` is a proof.

``failed``; ``exhausted``: nothing failed in any order that there is; ``bounded``: nothing failed in any with up to so
many deviations; ``truncated``: nothing failed before the budget ended; ``replayed``: the one
schedule that was asked for does not fail.
"""

Found: TypeAlias = Literal["search", "first", "replay"]

FAULTS = ("cancellations", "errors", "slow answers")
"""What may be tried beside lateness."""

_ASYNCIO = "asyncio's own order"


@dataclass(frozen=True, repr=False)
class Failure:
    """The smallest schedule that was found to fail, played once more to be sure, and to be told.

    Attributes:
        schedule: what differs from asyncio's own order; empty if the scenario fails in that.
        trace: what happened.
        asyncio_trace: what happens under the empty schedule.
        kinds: which kinds of arrival were made late, failed or were slow: what must stand for something from outside.
        arrivals: which kinds might have been late.
        run: in which run it was found, from 1.
        found: by the search; among those that were to be tried first; or as the replay that was asked for.
    """

    _error: BaseException
    schedule: Schedule
    trace: Trace = field(repr=False)
    asyncio_trace: Trace = field(repr=False)
    kinds: frozenset[str]
    arrivals: frozenset[str]
    run: int
    found: Found
    _play: Callable[..., None] = field(repr=False, compare=False)
    _tell: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    @property
    def error(self) -> BaseException:
        """The error that was raised, with its traceback; or `Deadlock`, `Livelock`, `LeakedTasks`.

        It has a note that tells how it came about, unless ``@explore`` reports that.
        """
        if self._tell is not None:
            tell = self._tell
            object.__setattr__(self, "_tell", None)  # frozen; and to tell it takes a while, so only whoever asks waits
            self._error.add_note(tell())
        return self._error

    def __repr__(self) -> str:
        return f"Failure(error={self._error!r}, schedule={self.schedule!r}, run={self.run}, found={self.found!r})"

    def reproduce(self, look: Callable[[BaseException], object] | None = None) -> None:
        """Run the scenario under this schedule again, for a debugger to look at.

        Args:
            look: called at the moment of the failure with the error: where it is raised, with all frames still there,
                in the running loop, so ``asyncio.all_tasks()`` and the values of variables are those of that moment.
                At a deadlock that is where the scenario waits. For example
                ``lambda error: pdb.post_mortem(error.__traceback__)``.

        Raises:
            BaseException: what the scenario raises; that is, `error` again.
        """
        self._play(look)


@dataclass(frozen=True)
class Exploration:
    """What `Explorer.explore` gives.

    It prints as one line that says how far it got:

    >>> print(Exploration("bounded", runs=31, distinct=30, cut=0, deviations=2, seconds=0.004, seed=0))
    bounded: nothing fails with up to 2 deviations; 31 runs, 30 distinct, in 0.004 s

    Attributes:
        verdict: see `Verdict`.
        runs: schedules played.
        distinct: different runs among them.
        cut: runs that a cancellation from outside has ended.
        deviations: up to how many all schedules were tried.
        seconds: of real time.
        seed: gives the same exploration again.
        failure: None if nothing failed.
        faults: those of `FAULTS` that were tried.
        passing: schedules that were asked for, by ``replay`` or ``first``, and do not fail.
    """

    verdict: Verdict
    runs: int
    distinct: int
    cut: int
    deviations: int
    seconds: float
    seed: int | str
    failure: Failure | None = None
    faults: tuple[str, ...] = ()
    passing: tuple[Schedule, ...] = ()

    def __str__(self) -> str:
        counts = f"{amount(self.runs, 'run')}, {self.distinct} distinct"
        if self.cut:
            counts += (
                f", {self.cut} cut short by the cancellation (gather(..., return_exceptions=True) lets them go on)"
            )
        return f"{self.verdict}: {self._what}; {counts}, in {self.seconds:.3g} s{self._mended}"

    @property
    def _what(self) -> str:
        if self.failure is not None:
            return f"{self.failure.schedule or _ASYNCIO}, found in run {self.failure.run}"
        if self.verdict == "exhausted":
            return f"nothing fails in any order of arrivals; {_listed(self.faults)}"
        if self.verdict == "bounded":
            return f"nothing fails with up to {amount(self.deviations, 'deviation')}"
        if self.verdict == "replayed":
            return f"{self.passing[0] or _ASYNCIO} does not fail"
        return f"nothing has failed yet; all with up to {amount(self.deviations, 'deviation')} were tried"

    @property
    def _mended(self) -> str:
        if self.verdict == "replayed":
            return ""
        return "".join(f"; {schedule}, which failed last time, passes now" for schedule in self.passing)


def _listed(faults: tuple[str, ...]) -> str:
    missing = tuple(fault for fault in FAULTS if fault not in faults)
    if not faults:
        return f"{_joined(missing)} not included"
    return f"{_joined(faults)} included{f', {_joined(missing)} not' if missing else ''}"


def _joined(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
