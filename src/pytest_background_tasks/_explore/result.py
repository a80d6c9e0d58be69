"""The result of an exploration, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .._introspect.text import plural
from .schedule import Schedule
from .trace import Trace

Verdict: TypeAlias = Literal["failed", "exhaustive", "bounded", "incomplete", "replayed"]
"""The result of an exploration; only ``exhaustive`` is a proof.

``failed``: a schedule fails; ``exhaustive``: no schedule fails, and none is left to try; ``bounded``: no schedule with
up to ``max_deviations`` deviations fails; ``incomplete``: no schedule failed before the budget ran out; ``replayed``:
the requested schedule does not fail.
"""

Found: TypeAlias = Literal["search", "previous", "replay"]

_ASYNCIO = "asyncio's default order"


@dataclass(frozen=True, repr=False)
class Failure:
    """The minimized failing schedule, confirmed by a second run.

    Attributes:
        schedule: the deviations from asyncio's default order; empty if the scenario fails in the default order.
        trace: the trace of the failing run.
        baseline_trace: the trace of the run under the empty schedule.
        delayed_kinds: the kinds of arrival that were delayed, failed or slow. Each of them must stand for an external
            event.
        arrivals: the kinds of arrival that could have been delayed.
        run_number: the number of the run that found the failure, from 1.
        found_by: ``search``; ``previous``: among the schedules that were to be tried first; or ``replay``.
    """

    _error: BaseException
    schedule: Schedule
    trace: Trace = field(repr=False)
    baseline_trace: Trace = field(repr=False)
    delayed_kinds: frozenset[str]
    arrivals: frozenset[str]
    run_number: int
    found_by: Found
    _play: Callable[..., None] = field(repr=False, compare=False)
    _make_note: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    @property
    def error(self) -> BaseException:
        """The exception of the failing run, with its traceback; or `DeadlockError`, `StepLimitExceeded`, `LeakedTasks`.

        A note of the exception says how the failure came about, unless ``@explore`` reports that.
        """
        if self._make_note is not None:
            make_note = self._make_note
            object.__setattr__(self, "_make_note", None)  # frozen; the note is slow to build, so it is built on demand
            self._error.add_note(make_note())
        return self._error

    def __repr__(self) -> str:
        found = f"run_number={self.run_number}, found_by={self.found_by!r}"
        return f"Failure(error={self._error!r}, schedule={self.schedule!r}, {found})"

    def reproduce(self, on_failure: Callable[[BaseException], object] | None = None) -> None:
        """Run the scenario under this schedule again, for inspection with a debugger.

        Args:
            on_failure: called with the error at the moment of the failure: at the line that raises, with all frames
                still in place and the loop still running, so ``asyncio.all_tasks()`` and the values of variables are
                those of that moment. For a deadlock the place is the line where the scenario is suspended. For example
                ``lambda error: pdb.post_mortem(error.__traceback__)``.

        Raises:
            BaseException: the exception of the scenario; that is, `error` again.
        """
        self._play(on_failure)


@dataclass(frozen=True)
class Exploration:
    """The result of `Explorer.explore`.

    It prints as one line that says what was covered:

    >>> exploration = Exploration("bounded", runs=31, distinct=30, cut_short=0, deviations=2, seconds=0.004, seed=0)
    >>> print(exploration)
    bounded: no failure with up to 2 deviations from asyncio's default order; 31 runs, 30 distinct, in 0.004 s

    Attributes:
        verdict: see `Verdict`.
        runs: the number of schedules that were run.
        distinct: the number of different runs among them.
        cut_short: the number of runs that an external cancellation ended.
        deviations: the largest number of deviations for which every schedule was tried.
        seconds: the duration, in seconds of real time.
        seed: the seed; the same seed gives the same exploration.
        failure: None if no schedule failed.
        injected: the faults that were asked for and could take place, in a few words each.
        not_varied: everything that the exploration has left as it is, in a few words each.
        now_passing: the schedules requested with ``replay``, ``previous_failures`` or ``accepted`` that pass.
        accepted: the schedules requested with ``accepted`` that fail.
        depends_on_random: True if each run got the same random numbers because runs differed without that; only under
            ``--explore``, since other explorations begin with that.
    """

    verdict: Verdict
    runs: int
    distinct: int
    cut_short: int
    deviations: int
    seconds: float
    seed: int | str
    failure: Failure | None = None
    injected: tuple[str, ...] = ()
    not_varied: tuple[str, ...] = ()
    now_passing: tuple[Schedule, ...] = ()
    accepted: tuple[Schedule, ...] = ()
    depends_on_random: bool = False

    def __str__(self) -> str:
        counts = f"{plural(self.runs, 'run')}, {self.distinct} distinct"
        if self.cut_short:
            lets_continue = "gather(..., return_exceptions=True) lets them continue"
            counts += f", {self.cut_short} cut short by the cancellation ({lets_continue})"
        return f"{self.verdict}: {self._what}; {counts}, in {self.seconds:.3g} s{self._random}{self._mended}"

    @property
    def _what(self) -> str:
        if self.failure is not None:
            return f"{self.failure.schedule or _ASYNCIO}, found in run {self.failure.run_number}"
        if self.verdict == "exhaustive":
            return f"no failure in any order of the explored events{self._scope}"
        if self.verdict == "bounded":
            return f"no failure {'with' if self.deviations else 'in'} {self._covered}{self._scope}"
        if self.verdict == "replayed":
            return f"{self.now_passing[0] or _ASYNCIO} passes"
        return f"no failure before the budget ran out; fully covered: {self._covered}{self._scope}"

    @property
    def _scope(self) -> str:
        parts = [("including", self.injected), ("not varied:", self.not_varied)]
        told = "; ".join(f"{word} {_joined(words)}" for word, words in parts if words)
        return f" ({told})" if told else ""

    @property
    def _random(self) -> str:
        return "; each run drew the same random numbers" if self.depends_on_random else ""

    @property
    def _covered(self) -> str:
        return f"up to {plural(self.deviations, 'deviation')} from {_ASYNCIO}" if self.deviations else _ASYNCIO

    @property
    def _mended(self) -> str:
        if self.verdict == "replayed":
            return ""
        mended = "".join(f"; {schedule}, which failed before, passes now" for schedule in self.now_passing)
        return mended + "".join(f"; {schedule} fails, which is accepted" for schedule in self.accepted)


def _joined(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
