"""The timers of an explored loop, on virtual time.

Timers due at the same time fire in the order in which they were set, as on a real loop, whose clock advances between
the calls.

Private names of CPython used here: ``_closed`` and ``_debug`` of a loop, ``_cancelled`` and ``_when`` of a handle.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any

from .._asyncio.time_grid import on_grid
from . import debug_mode
from .arrivals import Arrival, ends_sleep
from .code_of_test import CodeOfTest
from .durations import may_overtake, span_of
from .options import Options
from .pauses import Pauses
from .plan import Plan
from .task_names import TaskIdentity, TaskNames
from .trace import ARRIVING, PLACES, Withdrawn
from .unsupported import UnsupportedCalls


class TimersOfLoop(UnsupportedCalls):
    """The methods of a loop that concern time."""

    _now: float
    _since: float
    _debug: bool
    _closed: bool
    _names: TaskNames
    _numbers: Any
    _options: Options
    _running: Callable[[], TaskIdentity]
    kind_of: Callable[[Any], str | None]
    _timers: list[tuple[float, int, Arrival]]
    _test: CodeOfTest | None = None  # in a suite, its pauses count instead
    _plan: Plan | None
    _pauses: Pauses | None = None  # in a suite, from the beginning of the test on
    _iteration: int
    _rows: list[tuple[Any, ...]]
    _withdrawn: list[Withdrawn] = []  # noqa: RUF012  # most runs have none; a loop must have few attributes
    _overtakable: dict[tuple[str, int], bool] = {}  # noqa: RUF012  # most runs have none; a loop must have few attributes

    def time(self) -> float:
        """Return the virtual time in seconds. It starts at the value of the real clock when the exploration begins."""
        return self._now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer for a virtual time, in seconds."""
        if when is None or self._closed or self._debug:  # type: ignore[redundant-expr]
            debug_mode.check_timer(self, when, callback)
        if "time" in self.__dict__:
            self.refuse_own_clock()
        when, actor, now = on_grid(when), self._running(), self._now
        is_sleep = callback is ends_sleep and actor.answered != actor.step
        is_of_test = self._pauses is not None and self._pauses.sets(actor, sys._getframe(1), is_sleep=is_sleep)
        if is_sleep:
            actor.answered = step = actor.step
            timer = Arrival(actor.name, step, None if is_of_test else "sleep", when, callback, args, self, context)
            if self._test is not None and when > now and self._test.is_fake(sys._getframe(1)):
                timer.span = span_of(now, when)
        else:
            kind = "timer" if when > now else None  # one that is due already fires in the next iteration
            timer = Arrival(self._names.derived(actor, "timer"), 0, kind, when, callback, args, self, context)
        timer.is_of_test = is_of_test
        heappush(self._timers, (when, next(self._numbers), timer))
        return debug_mode.without_our_frames(timer) if self._debug else timer

    def _note_withdrawn(self, entry: int, *, after: int = 0) -> None:
        """Note that a step that would have entered at `entry` was withdrawn, ``after`` more than the recorded steps."""
        if not self._withdrawn:
            self._withdrawn = []
        self._withdrawn.append(Withdrawn(len(self._rows) + after, entry, self._since))

    def _next_timer(self) -> Arrival | None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            if heappop(timers)[0] <= self._now:
                self._note_withdrawn(self._iteration * PLACES + ARRIVING)
        return timers[0][2] if timers else None

    def _is_timer_due(self) -> bool:
        timer = self._next_timer()
        return timer is not None and timer._when <= self._now

    def _at_next_moment(self) -> list[tuple[float, int, Arrival]]:
        """Return the timers of the next moment at which one fires, in the order in which they were set."""
        if (first := self._next_timer()) is None:
            return []
        timers, found, todo = self._timers, [], [0]
        for index in todo:  # in a heap, they are together below the first one
            if index < len(timers) and timers[index][0] == first._when:
                found.append(timers[index])
                todo += (2 * index + 1, 2 * index + 2)
        return sorted(each for each in found if not each[2]._cancelled)

    def _able_timer(self, plan: Plan) -> Arrival | None:
        """Return the next timer that may fire before all delayed events; None if there is none.

        It may fire before another one of its moment that must wait, if that could be delayed itself.
        """
        if (timer := self._next_timer()) is None or plan.lets_fire(timer, self._now):
            return timer  # the usual case
        for _, _, timer in self._at_next_moment():
            if plan.lets_fire(timer, self._now):
                return timer
            if self.kind_of(timer) is None:
                return None
        return None

    def _due_timers(self, plan: Plan | None) -> Iterator[Arrival]:
        """Yield the timers that fire now, and remove them; a delayed handle may be in the way of others."""
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            timer = self._next_timer() if plan is None else self._able_timer(plan)
            if timer is None or timer._when > self._now:
                return
            if timer is timers[0][2]:
                heappop(timers)
            else:
                timers[:] = [each for each in timers if each[2] is not timer]
                heapify(timers)
            yield timer

    def _pass_time(self, plan: Plan | None = None) -> bool:
        """Advance time to the next timer; return False if there is none, or if `plan` does not let it fire early."""
        timer = self._next_timer()
        if timer is None or (plan is not None and (timer.is_of_test or self._able_timer(plan) is None)):
            return False
        if timer._when > self._now:
            self._now = timer._when
            self._since = int((self._now - self._options.began) * 1e9 + 0.5) / 1e9  # `round` is slow
        return True

    def _note_next_timer(self, handle: Any, who: str, number: int, kind: str | None) -> None:
        """Note that the event of `handle`, which enters now, could have come after the next timer."""
        timer = self._next_timer()
        if timer is None or timer.is_of_test:
            return
        now, passed = self._now, 0 if self._plan is None else self._plan.passed
        may_be_delayed = timer._when > now and (
            may_overtake(timer, handle, kind, now, passed)
            or any(may_overtake(each, handle, kind, now, passed) for _, _, each in self._at_next_moment())
        )
        if may_be_delayed or kind in self._options.slow_kinds:
            if not self._overtakable:
                self._overtakable = {}
            self._overtakable[who, number] = may_be_delayed
