"""Threads that no schedule controls: threads that a run starts itself, and threads that existed before it.

The machine decides when such a thread results. So virtual time must not pass a thread that may still answer, and a
failure found while one is running proves nothing. A thread that a run has started is harmless only if it ends without
a call to the loop; that cannot be known of one that keeps running. A thread from before a run mostly belongs to the
surroundings (pytest-xdist, a debugger, a server): only a verdict that it may have falsified waits for it.

Private names of CPython used here: ``_active`` of threading, ``_count`` of _thread, ``_target`` of a thread.
"""

import _thread
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FrameType
from typing import Any

from .._introspect import real_clock
from .._introspect.project_code import package_of
from ..errors import UncontrolledOperation

GRACE = 1.0
"""Seconds of real time that a thread started by a run has to end, and that the end of a run may wait."""

LATE_ANSWER = {True: 0.25, False: 0.05}
"""Seconds of real time that a verdict, failed or not, waits for an answer of a thread from before the run."""

_HARMLESS = {"_pytest", "coverage", "debugpy", "execnet", "pydevd", "_pydevd_bundle", "pytest_timeout", "xdist"}
"""Modules whose threads do not work for the program."""

_PAUSE = 0.002  # seconds between two checks
_active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


class ForeignThreads:
    """The threads other than those of the explorer, during one exploration.

    Attributes:
        answer: the error for the first of them that called a loop of this exploration; None if none did.
        has_unknown: True if threads from before this run may work for the program.
        passed: the place of a task that waited for a future when time jumped while such threads were running; else
            None.
        patience: the time for which the end of this run may still wait, in seconds of real time.
    """

    def __init__(self) -> None:
        self.answer: UncontrolledOperation | None = None
        self.has_unknown: bool = False
        self.passed: str | None = None
        self.patience: float = GRACE
        self._known: list[threading.Thread] = []  # referenced, so that their ids are not reused
        self._ids: set[int] = set()
        self._raw: set[int] = set()  # idents of threads started without `threading`
        self._count = -1
        self._helpers = 0  # number of threads started by the explorer: at most one

    def begin(self) -> None:
        """Record the threads that exist before a run."""
        count = _thread._count()
        if count != self._count or (count > self._helpers and list(_active.values()) != self._known):
            self._look_around()

    def _look_around(self) -> None:
        self._known = list(_active.values())
        self._ids = set(map(id, self._known))
        self._count = _thread._count()
        frames = sys._current_frames() if self._count else {}
        self.has_unknown = any(_may_work_for_program(each, frames.get(each.ident or 0)) for each in self._known)
        self._raw = set(frames) - {thread.ident for thread in self._known}

    def know(self, thread: threading.Thread) -> None:
        """Treat `thread` as one of the explorer's own."""
        self._known.append(thread)
        self._ids.add(id(thread))
        self._count += 1
        self._helpers = 1

    def is_alone(self) -> bool:
        """Return True if no thread started by the run is still running. A cheap check."""
        count = _thread._count()
        if count <= self._helpers:
            return True  # the usual case: no other thread
        threads = list(_active.values())
        return count <= self._count and (threads == self._known or self._ids.issuperset(map(id, threads)))

    def remaining(self) -> list[str]:
        """Return descriptions of the threads started by this run that neither end in time nor answer."""
        end = real_clock.monotonic() + GRACE
        while (words := list(self.started())) and self.answer is None and real_clock.monotonic() < end:
            _pause()
        return [] if self.answer is not None else words

    def wait_until(self, is_enough: Callable[[], object]) -> bool:
        """Wait as long as the end of this run may; return True if `is_enough` became true."""
        while not is_enough() and self.patience > 0:
            before = real_clock.monotonic()
            _pause()
            self.patience -= real_clock.monotonic() - before
        return bool(is_enough())

    def check(self, *, failed: bool) -> None:
        """Raise the error for a thread that has answered. A verdict that it may have falsified waits for it."""
        if self.has_unknown and (failed or self.passed is not None):
            end = real_clock.monotonic() + LATE_ANSWER[failed]
            while self.answer is None and real_clock.monotonic() < end:
                _pause()
        if self.answer is not None:
            raise self.answer

    def answers(self) -> UncontrolledOperation:
        """Record that the current thread has called a loop; return the error for that."""
        thread = threading.current_thread()
        error = foreign_thread_error(
            _described(thread, sys._getframe(1)), self.passed if self.is_known(thread) else None
        )
        self.answer = self.answer or error
        return error

    def started(self) -> Iterator[str]:
        """Yield descriptions of the threads started by this run that are still running."""
        frames = sys._current_frames()
        named = list(_active.items())
        for ident, thread in named:
            if ident in frames and not self.is_known(thread) and _may_work_for_program(thread, frames[ident]):
                yield _described(thread, frames[ident])
        if self._count < _thread._count():
            for ident in frames.keys() - {ident for ident, _ in named} - self._raw:
                if _HARMLESS.isdisjoint(_modules_of_frames(frames[ident])):
                    yield f"thread {ident}{_of_package(_packages(frames[ident]))}"

    def is_known(self, thread: threading.Thread) -> bool:
        """Return True if `thread` existed before the run, or is one of the explorer's own."""
        return id(thread) in self._ids


def foreign_thread_error(words: str, place: str | None) -> UncontrolledOperation:
    """Return the error for a thread that no schedule controls. `place`: where a task waits meanwhile."""
    where = "" if place is None else f"\n  {place}"
    return UncontrolledOperation(
        f"the test uses a thread that an exploration cannot control: {words}{where}\n"
        f"Use asyncio.to_thread instead of a thread of your own, or a fake of the object that starts the thread"
    )


def _pause() -> None:
    threading.Event().wait(_PAUSE)


def _described(thread: threading.Thread, frame: FrameType | None) -> str:
    kind = type(thread)
    what = thread.name if kind is threading.Thread else f"{thread.name}, a {kind.__module__}.{kind.__qualname__}"
    return what + _of_package(each for each in _packages(frame) if f"{each}." not in what)


def _of_package(packages: Iterable[str]) -> str:
    return "".join(f", of {package}" for package in list(packages)[-1:])


def _packages(frame: FrameType | None) -> Iterator[str]:
    """Yield the third-party packages whose functions a thread is running, innermost first."""
    while frame is not None:
        if package := package_of(frame.f_code.co_filename):
            yield package
        frame = frame.f_back


def _may_work_for_program(thread: threading.Thread, frame: FrameType | None) -> bool:
    if thread in (threading.main_thread(), threading.current_thread()):
        return False
    modules = {*_modules_of(thread), *_modules_of_frames(frame)}
    return _HARMLESS.isdisjoint(modules)


def _modules_of(thread: threading.Thread) -> Iterator[str]:
    """Yield the top-level modules that define a thread's class and function."""
    yield type(thread).__module__.partition(".")[0]
    for name in ("_target", "function"):  # of a Thread, of a Timer
        function: Any = vars(thread).get(name)
        while isinstance(function, partial):
            function = function.func
        yield str(getattr(function, "__module__", "")).partition(".")[0]


def _modules_of_frames(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
        frame = frame.f_back
