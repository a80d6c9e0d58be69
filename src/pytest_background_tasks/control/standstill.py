"""Noticing that nothing can go on while tasks are held (rule 4 of the design).

A test may wait for a held task in a way that cannot be seen: for an event that the task would set, for a queue that it
would empty. Then no callback is ready, no timer is near, and the loop asks its selector to wait. That is where we stand
while tasks are held: if nothing can come from outside either, the waiting test gets the error, at the line where it
waits. What only may come (a peer, a thread, a timer far away) gets as long as a running call may take.

The error is put into the future that the test's task waits for. (Raising it from the selector instead would end the
runner, not the test: anyio's would hang at its next fixture.)

uvloop shows neither its selector nor its timers. There a clock looks at the tasks, and the error comes when all of them
have waited at the same places, and the test not in a sleep, for that long.

Private names of CPython used here: ``_selector``, ``_ready`` and ``_scheduled`` of the loop, ``_fut_waiter`` of a task.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable
from time import monotonic
from traceback import walk_tb
from types import CodeType
from typing import Any

from ..capture.capture import Capture
from ..capture.held import HeldTask, is_asleep, is_waited_for
from ..errors import BackgroundTasksDeadlock
from ..sites import Site, await_chain, waiting_site
from ..waits import wait_of
from .outside import is_at_work, places_of_threads, reasons_to_wait

_GLANCE = 0.02  # seconds between two looks at what may come from outside
_LONG_GLANCE = 1.0  # the same beside a timer: on a virtual clock each look moves the time on
_TICK = 0.1  # seconds between two looks at a uvloop
_LOOKS = 10  # glances for other threads: one that was just given work may not have come to it yet
_TIMERS = 3  # how many times as long it waits while timers fire (a heartbeat's), as long as the test stays where it is
_STUBBORN = 3  # how often it ends the waiting of code that catches everything and waits again


class Standstill:
    """Watches the loops that tasks are held on, and ends the waiting of the test when nothing can go on.

    Args:
        capture: knows what is held.
        test_code: code of the test function, by which its task is known.
        limit: seconds of silence after which it no longer waits for the outside; None: waits for ever.
    """

    def __init__(self, capture: Capture, test_code: CodeType | None, limit: float | None) -> None:
        self._error: BackgroundTasksDeadlock | None = None
        self._is_thrown = False
        self._capture = capture
        self._test_code = test_code
        self._limit = limit
        self._endings = 0
        self._ended: set[tuple[str, Site | None]] = set()
        self._old_threads = places_of_threads()
        self._watched: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}
        self._last_watched: asyncio.AbstractEventLoop | None = None

    def watch(self, task: HeldTask) -> None:
        """Watch the loop of `task`, which is held from now on."""
        loop = task.get_loop()
        if loop is not self._last_watched and loop not in self._watched:
            has_selector = hasattr(loop, "_selector")
            self._watched[loop] = self._watch_selector(loop) if has_selector else self._watch_clock(loop)
        self._last_watched = loop

    @property
    def lost_error(self) -> BackgroundTasksDeadlock | None:
        """The error that was raised, if it was caught before it had come to the test function."""
        if self._error is None or (self._is_thrown and self._error.__traceback__ is None):  # assertRaises strips it
            return None
        codes = [frame.f_code for frame, _ in walk_tb(self._error.__traceback__)]
        return None if any(self._is_of_test(code) for code in codes) else self._error

    def close(self) -> None:
        """Leave all loops as they were."""
        for loop in list(self._watched):
            self._unwatch(loop)

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last_watched = None
        self._watched.pop(loop)()

    def _watch_selector(self, loop: Any) -> Callable[[], None]:
        selector = loop._selector
        select = selector.select
        silence = _Silence()

        def watching_select(timeout: float | None = None) -> Any:
            if timeout == 0:
                events = select(0)
                silence.end(from_outside=bool(events))
                return events
            if not self._capture.held:
                self._unwatch(loop)
                return select(timeout)
            self._look(loop, silence)
            has_timer = any(not handle.cancelled() and not _is_alarm(handle) for handle in loop._scheduled)
            reasons = ["a timer"] if has_timer else []
            reasons += reasons_to_wait(loop, self._capture.thread, self._old_threads)
            silence.looks = 0 if reasons else silence.looks + 1
            is_proved = silence.looks > (_LOOKS if len(sys._current_frames()) > 1 else 0)
            is_over = is_proved or self._is_too_long(silence, loop)
            glance = 0 if is_over else _LONG_GLANCE if has_timer else _GLANCE
            # After the reasons: what a thread did before it became idle has arrived by now.
            events = select(glance if timeout is None else min(glance, timeout))
            if events or loop._ready or (timeout is not None and timeout <= glance):
                silence.end(from_outside=bool(events))
            elif is_over:
                silence.end(from_outside=True)
                if not self._end_waiting(loop, reasons):
                    return select(_GLANCE)
            return events

        selector.select = watching_select

        def unwatch() -> None:
            if vars(selector).get("select") is watching_select:
                del selector.select

        return unwatch

    def _watch_clock(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        silence = _Silence()
        places: set[object] = set()
        alarm: asyncio.TimerHandle

        def look() -> None:
            nonlocal places, alarm
            if not self._capture.held:
                self._unwatch(loop)
                return
            now: set[object] = {(id(task), id(getattr(task, "_fut_waiter", None))) for task in asyncio.all_tasks(loop)}
            if now != places:
                places = now
                silence.end(from_outside=False)
            self._look(loop, silence)
            if self._is_too_long(silence, loop):
                silence.end(from_outside=True)
                self._end_waiting(loop, [f"{type(loop).__module__}, which does not show what it waits for"])
            alarm = loop.call_later(_TICK, look)

        alarm = loop.call_later(_TICK, look)

        def unwatch() -> None:
            if not loop.is_closed():
                alarm.cancel()

        return unwatch

    def _look(self, loop: asyncio.AbstractEventLoop, silence: "_Silence") -> None:
        """See whether the test has gone on, and whether somebody is about to close `loop`."""
        silence.look(self._place(loop))
        if is_at_work(self._capture.thread):
            silence.end(from_outside=True)
        if _is_closing(loop):
            self._let_threads_go(loop)

    def _place(self, loop: asyncio.AbstractEventLoop) -> object:
        """Where the test waits: it stays the same as long as it has not gone on."""
        task = self._waiting_task(loop)
        return None if task is None else (id(task), id(_innermost(task)._fut_waiter))

    def _let_threads_go(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget what is held for a thread that waits for it, when the loop is about to wait for its threads."""
        for task in self._capture.held:
            if task.get_loop() is loop and task.is_for_thread:
                task.forget()

    def _is_too_long(self, silence: "_Silence", loop: asyncio.AbstractEventLoop) -> bool:
        now = monotonic()
        if self._limit is None or (
            now - silence.since < self._limit and now - silence.in_place_since < self._limit * _TIMERS
        ):
            return False
        if self._capture.follower is not None:  # a running call has a time-out of its own
            return False
        sleeps = any(is_asleep(task) and is_waited_for(task) for task in asyncio.all_tasks(loop))
        return not sleeps and self._waiting_task(loop) is not None

    def _end_waiting(self, loop: asyncio.AbstractEventLoop, reasons: list[str]) -> bool:
        """Put the error into what the test waits for; False if nobody on this loop waits for the project."""
        task = self._waiting_task(loop)
        place = None if task is None else (task.get_name(), waiting_site(task.get_coro(), self._capture.is_own))
        if place is not None and place not in self._ended and self.lost_error is None:
            # The test expected the last error, and waits somewhere else now.
            self._ended.add(place)
            self._error, self._is_thrown, self._endings = None, False, 0
        self._endings += 1
        if task is None or self._endings > _STUBBORN:
            return False
        waits_for = _innermost(task)._fut_waiter
        if self._error is None:
            self._error = BackgroundTasksDeadlock(self._message(task, loop, reasons))
            if not isinstance(waits_for, asyncio.Task):
                waits_for.set_exception(self._error)
                self._is_thrown = True
                return True
        task.cancel(str(self._error))  # it has caught the error, and waits again
        return True

    def _waiting_task(self, loop: asyncio.AbstractEventLoop) -> Any:
        """The test's task if it waits on `loop`, else the first of the project's own; what sleeps waits for nobody."""
        tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
        waiting = [task for task in tasks if getattr(task, "_fut_waiter", None) is not None and not is_asleep(task)]
        chains = [(task, [frame.f_code for frame in await_chain(task.get_coro())]) for task in waiting]
        own = [task for task, codes in chains if any(self._capture.is_own[code.co_filename] for code in codes)]
        of_test = [task for task, codes in chains if any(map(self._is_of_test, codes))]
        return next(iter(of_test + own), None)

    @property
    def _call_to_run(self) -> str:
        is_async = self._test_code is None or self._test_code.co_flags & inspect.CO_COROUTINE
        return "await background_tasks.run_all_async()" if is_async else "background_tasks.run_all_sync()"

    def _is_of_test(self, code: CodeType) -> bool:
        """Whether it is the test function, or defined in it."""
        test = self._test_code
        return (
            test is not None
            and code.co_filename == test.co_filename
            and (code.co_qualname == test.co_qualname or code.co_qualname.startswith(f"{test.co_qualname}.<locals>."))
        )

    def _message(self, task: "asyncio.Task[Any]", loop: asyncio.AbstractEventLoop, reasons: list[str]) -> str:
        own = self._capture.is_own
        others = [other for other in asyncio.all_tasks(loop) if other is not task]
        waits = [(other, wait_of(other, own)) for other in others]
        is_test = any(self._is_of_test(frame.f_code) for frame in await_chain(task.get_coro()))
        who = "the test" if is_test else f"for the test, {task.get_name()}"
        lines = [f"{who} waits at {wait_of(task, own)}"]
        lines += [f"{other.get_name()} waits at {wait}" for other, wait in waits if wait and own[wait.file]]
        held = self._capture.held
        lines += [f"held: {each.known_as}" for each in held]
        if reasons:
            lines.append(f"nothing has come for {self._limit:g} s from {', '.join(reasons)}")
        listing = "".join(f"\n  {line}" for line in lines)
        return (
            f"nothing can go on, and background tasks are held:{listing}\n"
            f"Run them before waiting for what they do:  {self._call_to_run}\n"
            f"or do not hold them:  background_tasks.start_capturing(ignore={held[0].call.function!r})"
        )


class _Silence:
    """Since when a loop has been silent, and since when the test has waited at one place without news from outside.

    Attributes:
        since: when anything happened last, ``time.monotonic()``.
        in_place_since: when the test went on, or something came from outside.
        looks: how often nothing was found that could still come.
    """

    def __init__(self) -> None:
        self.since = self.in_place_since = monotonic()
        self.looks = 0
        self._place: object = None

    def end(self, *, from_outside: bool) -> None:
        """Something happened; a timer is not from outside."""
        self.since = monotonic()
        self.looks = 0
        if from_outside:
            self.in_place_since = self.since

    def look(self, place: object) -> None:
        """The test waits at `place`."""
        if place != self._place:
            self._place, self.in_place_since = place, monotonic()


def _innermost(task: Any) -> Any:
    while isinstance(task._fut_waiter, asyncio.Task) and task._fut_waiter._fut_waiter is not None:  # type: ignore[attr-defined]
        task = task._fut_waiter
    return task


def _is_closing(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a runner ends the loop, and waits for the threads of its executor."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks(loop)]
    return any(getattr(each, "__name__", None) == "shutdown_default_executor" for each in coroutines)


def _is_alarm(handle: Any) -> bool:
    """Whether it is the alarm of a running call of ours, which wakes nobody else."""
    return getattr(handle._callback, "__module__", "").startswith(__package__)
