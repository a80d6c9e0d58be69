"""Deadlock detection: while tasks are held (rule 4 of the design), and always in virtual time.

A test may wait for a held task indirectly: for an event that the task would set, for a queue that it would empty. Then
no callback is ready, no timer is near, and the loop is about to block. This is when the detector is called: if no
external event is possible either, the waiting test gets the error, at the line where it waits. If one is merely
possible (from a peer, a thread, a timer far away), the detector waits for it as long as a running method may take.

uvloop exposes neither its selector nor its timers. There, a timer checks the tasks, and the error comes when all of
them have waited at the same places, and the test not in a sleep, for that long.
"""

import asyncio
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from .._asyncio.idle_hooks import IdleHooks, Rank, Select, detects_deadlocks
from .._asyncio.instrument import Instrument
from .._capture.held_task import HeldTask
from .._capture.session import CaptureSession
from .._capture.waiters import is_asleep, is_waited_for
from .._introspect import real_clock
from .._introspect.internals import awaited_by, has_ready_callbacks, has_selector
from .._introspect.task_state import coroutine_of
from .._introspect.untrusted import text_attribute
from ..errors import DeadlockError
from .deadlock_error import DeadlockReporter
from .failed_tasks import failed
from .threads import is_at_work
from .wakeup_sources import wakeup_sources
from .workers import Workers

_POLL_INTERVAL = 0.02  # seconds between two checks for external events
_LONG_POLL_INTERVAL = 1.0  # the same if there is a timer: with a foreign virtual clock, each check advances the time
_TICK = 0.1  # seconds between two checks of a uvloop
_CHECKS = 10  # checks of other threads: one that has just been given work may not have begun
_TIMERS = 3  # factor of the limit while timers fire (of a heartbeat) and the test stays at the same place


class DeadlockDetector(Instrument):
    """The deadlock detector, which ends the waiting of the test when every task is blocked.

    Args:
        capture: the captured tasks.
        test_code: the code of the test function, which identifies its task.
        limit: seconds without an event after which it stops waiting for external events; None: no limit.
        workers: the workers of the test.
    """

    def __init__(
        self, capture: CaptureSession, test_code: CodeType | None, limit: float | None, workers: Workers
    ) -> None:
        self._capture = capture
        self._deadlock = DeadlockReporter(capture, test_code)
        self._limit = limit
        self._workers = workers
        self._advice: dict[asyncio.AbstractEventLoop, Callable[[], str]] = {}
        self._monitored: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}
        self._last_monitored: asyncio.AbstractEventLoop | None = None

    def watch(self, task: HeldTask) -> None:
        """Monitor the loop of `task`, which is held from now on."""
        loop = task.get_loop()
        if loop is not self._last_monitored:
            self._watch(loop)
        self._last_monitored = loop

    def watch_always(self, loop: asyncio.AbstractEventLoop, advice: Callable[[], str]) -> None:
        """Monitor `loop` whether or not tasks are held; `advice` returns what to do about a deadlock."""
        self._advice[loop] = advice
        self._watch(loop)

    def task_created(self, loop: asyncio.AbstractEventLoop, *_: object) -> None:
        """Monitor `loop` always, because any code has created a task on it."""
        self.watch_always(loop, str)

    def watch_no_longer(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what `watch_always` began."""
        del self._advice[loop]

    def describe_waiters(self, loop: asyncio.AbstractEventLoop) -> str:
        """Return a line for each task of the project that waits on `loop`, is held, or has failed."""
        return self._deadlock.describe_waiters(loop) + failed(self._capture)

    @property
    def lost_error(self) -> DeadlockError | None:
        """The error that was raised, if it was caught before it reached the test function."""
        return self._deadlock.lost_error

    def close(self) -> None:
        """Stop monitoring all loops."""
        for loop in list(self._monitored):
            self._unwatch(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._monitored and not detects_deadlocks(loop):
            self._monitored[loop] = self._watch_selectors(loop) if has_selector(loop) else self._watch_clock(loop)

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last_monitored = None
        self._monitored.pop(loop)()

    def _watch_selectors(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        hooks = IdleHooks.of(loop)
        listener = _SelectorProbe(self, hooks, loop)
        hooks.add(listener)
        return lambda: hooks.remove(listener)

    def _watch_clock(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        inactivity = _Inactivity()
        places: set[object] = set()
        timer: asyncio.TimerHandle

        def check() -> None:
            nonlocal places, timer
            if not self._is_wanted(loop):
                self._unwatch(loop)
                return
            now: set[object] = {(id(task), id(awaited_by(task))) for task in asyncio.all_tasks(loop)}
            if now != places:
                places = now
                inactivity.end(from_outside=False)
            self._check(loop, inactivity)
            if self._timed_out(inactivity, loop):
                inactivity.end(from_outside=True)
                self._end_waiting(loop, [f"{type(loop).__module__}, which does not show what it waits for"])
            timer = loop.call_later(_TICK, check)

        timer = loop.call_later(_TICK, check)

        def unwatch() -> None:
            if not loop.is_closed():
                timer.cancel()

        return unwatch

    def _is_wanted(self, loop: asyncio.AbstractEventLoop) -> bool:
        return loop in self._advice or bool(self._capture.paused)

    def _check(self, loop: asyncio.AbstractEventLoop, inactivity: "_Inactivity") -> None:
        """Check whether the test has resumed, and whether a runner is about to close `loop`."""
        inactivity.check(self._deadlock.place(loop))
        if is_at_work(self._capture.thread):
            inactivity.end(from_outside=True)
        if _is_closing(loop):
            self._let_threads_go(loop)

    def _let_threads_go(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget held tasks that a thread waits for, because the loop is about to wait for its threads."""
        for task in self._capture.held:
            if task.get_loop() is loop and task.is_for_thread:
                task.drop()

    def _timed_out(self, inactivity: "_Inactivity", loop: asyncio.AbstractEventLoop) -> bool:
        now = real_clock.monotonic()
        if self._limit is None or (
            now - inactivity.since < self._limit and now - inactivity.in_place_since < self._limit * _TIMERS
        ):
            return False
        if self._capture.follower is not None:  # a running method has a timeout of its own
            return False
        if loop in self._advice:  # in virtual time, a sleep is not a reason to wait
            return True
        sleeps = any(is_asleep(task) and is_waited_for(task) for task in asyncio.all_tasks(loop))
        return not sleeps and self._deadlock.waiting_task(loop) is not None

    def _end_waiting(self, loop: asyncio.AbstractEventLoop, reasons: list[str]) -> bool:
        advice = self._advice.get(loop, str)()
        silent = [reason for reason in reasons if reason not in advice]
        inactivity = f"no event for {self._limit:g} s from {', '.join(silent)}" if silent else ""
        return self._deadlock.deliver(loop, inactivity, advice)


class _SelectorProbe:
    """A hook that checks one loop whenever it is about to block."""

    rank = Rank.DEADLOCK_DETECTOR

    def __init__(self, detector: DeadlockDetector, hooks: IdleHooks, loop: Any) -> None:
        self._detector = detector
        self._loop = loop
        self._hooks = hooks
        self._inactivity = _Inactivity()
        self._turns = 0

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        if timeout == 0:
            events = select(0)
            if events:
                self._inactivity.end(from_outside=True)
            return events
        detector, loop, inactivity = self._detector, self._loop, self._inactivity
        if not detector._is_wanted(loop):
            detector._unwatch(loop)
            return select(timeout)
        if self._turns != self._hooks.busy_iterations:
            self._turns = self._hooks.busy_iterations
            inactivity.end(from_outside=False)
        detector._check(loop, inactivity)
        is_virtual = loop in detector._advice  # then a timeout is not a timer: the clock waits for external activity
        has_timer = timeout is not None
        reasons = ["a timer" if not is_virtual else "the real world"] if has_timer else []
        reasons += wakeup_sources(loop, detector._capture.thread, detector._workers)
        inactivity.checks = 0 if reasons else inactivity.checks + 1
        is_proved = inactivity.checks > (_CHECKS if len(sys._current_frames()) > 1 else 0)
        is_over = is_proved or detector._timed_out(inactivity, loop)
        interval = 0 if is_over else _LONG_POLL_INTERVAL if has_timer else _POLL_INTERVAL
        # After the reasons: the results of a thread that has become idle have arrived by now.
        events = select(interval if timeout is None else min(interval, timeout))
        if events or has_ready_callbacks(loop) or (timeout is not None and timeout <= interval and not is_virtual):
            inactivity.end(from_outside=bool(events))
        elif is_over:
            inactivity.end(from_outside=True)
            if not detector._end_waiting(loop, reasons):
                return select(_POLL_INTERVAL)
        return events


class _Inactivity:
    """The time for which a loop has been silent, and the test has waited at one place without an external event.

    Attributes:
        since: the time of the last event of any kind, ``time.monotonic()``.
        in_place_since: the time at which the test last resumed, or the last external event arrived.
        checks: the number of checks that found no possible external event.
    """

    def __init__(self) -> None:
        self.since = self.in_place_since = real_clock.monotonic()
        self.checks = 0
        self._place: object = None

    def end(self, *, from_outside: bool) -> None:
        """Note an event; `from_outside` if it was external, which a timer is not."""
        self.since = real_clock.monotonic()
        self.checks = 0
        if from_outside:
            self.in_place_since = self.since

    def check(self, place: object) -> None:
        """Note that the test waits at `place`."""
        if place != self._place:
            self._place, self.in_place_since = place, real_clock.monotonic()


def _is_closing(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if a runner is ending the loop, and waits for the threads of its executor."""
    coroutines = [coroutine_of(task) for task in asyncio.all_tasks(loop)]
    return any(text_attribute(each, "__name__") == "shutdown_default_executor" for each in coroutines)
