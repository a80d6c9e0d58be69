"""Threads that no schedule controls: those that a run starts itself, and those that were there before it.

When such a thread answers, the machine decides. So time must not jump past a thread that may still answer, and what a
run shows beside one is no finding. A thread that a run has started is harmless only if it ends and has not called the
loop; that cannot be known of one that keeps running. A thread from before a run mostly belongs to the surroundings (of
pytest-xdist, a debugger, a server): it is waited for only before a verdict that it may have made wrong.

Private names of CPython used here: ``_active`` of threading, ``_count`` of _thread, ``_target`` of a thread.
"""

import _thread
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FrameType
from typing import Any

from .. import real_time
from ..errors import NotPlayable
from ..own import package_of

GRACE = 1.0
"""Seconds of real time in which a thread that a run has started may end, and for which the end of a run may wait."""

LATE_ANSWER = {True: 0.25, False: 0.05}
"""Seconds of real time for which a verdict, failed or not, waits for the answer of a thread from before the run."""

_HARMLESS = {"_pytest", "coverage", "debugpy", "execnet", "pydevd", "_pydevd_bundle", "pytest_timeout", "xdist"}
"""Whose threads have nothing to do with the program."""

_PAUSE = 0.002  # seconds between two looks at threads
_active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


class ForeignThreads:
    """The threads beside those of the explorer, during one exploration.

    Attributes:
        answer: the error for the first of them that has called a loop of this exploration; None if none has.
        has_unknown: from before this run there are threads that may work for the program.
        passed: where a task waited for a future when time jumped beside such threads; None if none did.
        patience: seconds of real time for which the end of this run may still wait.
    """

    def __init__(self) -> None:
        self.answer: NotPlayable | None = None
        self.has_unknown: bool = False
        self.passed: str | None = None
        self.patience: float = GRACE
        self._known: list[threading.Thread] = []  # kept, so that no other thread gets the id of one of these
        self._ids: set[int] = set()
        self._raw: set[int] = set()  # those that were started without `threading`, by ident
        self._count = -1
        self._helpers = 0  # how many of them the explorer has started: one at the most

    def begin(self) -> None:
        """Note who is there before a run."""
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
        """Take `thread` for one of the explorer's own."""
        self._known.append(thread)
        self._ids.add(id(thread))
        self._count += 1
        self._helpers = 1

    def is_alone(self) -> bool:
        """Return whether the run has started no thread that still runs; costs little."""
        count = _thread._count()
        if count <= self._helpers:
            return True  # as mostly: no other thread is there
        threads = list(_active.values())
        return count <= self._count and (threads == self._known or self._ids.issuperset(map(id, threads)))

    def remaining(self) -> list[str]:
        """The threads that this run has started and that neither end in time nor answer, in words."""
        end = real_time.monotonic() + GRACE
        while (words := list(self.started())) and self.answer is None and real_time.monotonic() < end:
            _pause()
        return [] if self.answer is not None else words

    def wait_until(self, is_enough: Callable[[], object]) -> bool:
        """Wait as long as the end of this run may; return whether `is_enough` became true."""
        while not is_enough() and self.patience > 0:
            before = real_time.monotonic()
            _pause()
            self.patience -= real_time.monotonic() - before
        return bool(is_enough())

    def check(self, *, failed: bool) -> None:
        """Raise the error for a thread that has answered, or does while a verdict waits that it may have made wrong."""
        if self.has_unknown and (failed or self.passed is not None):
            end = real_time.monotonic() + LATE_ANSWER[failed]
            while self.answer is None and real_time.monotonic() < end:
                _pause()
        if self.answer is not None:
            raise self.answer

    def answers(self) -> NotPlayable:
        """Note that the thread that runs this has called a loop; return the error for it."""
        thread = threading.current_thread()
        error = foreign_thread(_described(thread, sys._getframe(1)), self.passed if self._is_known(thread) else None)
        self.answer = self.answer or error
        return error

    def started(self) -> Iterator[str]:
        """The threads that this run has started and that still run, in words."""
        frames = sys._current_frames()
        named = list(_active.items())
        for ident, thread in named:
            if ident in frames and not self._is_known(thread) and _may_work_for_program(thread, frames[ident]):
                yield _described(thread, frames[ident])
        if self._count < _thread._count():
            for ident in frames.keys() - {ident for ident, _ in named} - self._raw:
                if _HARMLESS.isdisjoint(_modules_of_frames(frames[ident])):
                    yield f"thread {ident}{_of_package(_packages(frames[ident]))}"

    def _is_known(self, thread: threading.Thread) -> bool:
        return id(thread) in self._ids


def foreign_thread(words: str, place: str | None) -> NotPlayable:
    """The error for a thread that no schedule controls, and the place at which a task waits beside it."""
    where = "" if place is None else f"\n  {place}"
    return NotPlayable(
        f"the scenario uses a thread that it has not sent to an executor: {words}{where}\n"
        f"When such a thread answers cannot be told by a schedule. Use asyncio.to_thread, or a fake of what starts it"
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
    """The packages of others in whose functions a thread is, the innermost first."""
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
    """The top-level modules of which a thread is."""
    yield type(thread).__module__.partition(".")[0]
    for name in ("_target", "function"):  # of a thread, of a timer
        function: Any = vars(thread).get(name)
        while isinstance(function, partial):
            function = function.func
        yield str(getattr(function, "__module__", "")).partition(".")[0]


def _modules_of_frames(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
        frame = frame.f_back
