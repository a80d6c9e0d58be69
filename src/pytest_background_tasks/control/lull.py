"""The moment at which a loop has nothing to do and is about to wait: a lull.

A running call whose time is over, a test that waits for quiet, a clock that jumps, a test that can never go on: all of
them act at that moment, which is when the loop asks its selector for events. One chain stands in front of the
selector's ``select``; who acts first is settled by rank, and each may wait less than it was asked to, or not at all. It
goes when the last one has gone.

uvloop shows no selector, so it has no lulls.

Private names of CPython used here: ``_selector`` and ``_ready`` of the loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias

from .. import real_time

Select: TypeAlias = Callable[[float | None], list[Any]]
"""Waits for at most so many seconds (None: without end) and answers with the events that came."""


class Listener(Protocol):
    """Stands in front of ``select``.

    Attributes:
        rank: who is asked first; the lowest comes first.
    """

    rank: int

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Answer for ``select(timeout)``; with a time-out of 0 the loop has something to do, and it is no lull."""


class Lull:
    """The listeners of one loop. `Lull.of` finds the one that is there, or makes it.

    Attributes:
        turns: how often the loop had something to do; a number that has not changed means rest since then.
        is_nobody_there: whether nobody could send anything, if somebody knows. Then a loop that has something to do is
            spared the question whether something has come, which is a system call.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._selector = loop._selector
        self._select: Select = loop._selector.select
        self._listeners: list[Listener] = []
        self._chain: Any = None
        self._has_alarm = False
        self.turns: int = 0
        self.is_nobody_there: Callable[[], bool] | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Lull":
        """The lull of `loop`, which must have a selector (`has_lulls`)."""
        there = getattr(vars(loop._selector).get("select"), "lull", None)  # type: ignore[attr-defined]
        return there if isinstance(there, cls) else cls(loop)

    def add(self, listener: Listener) -> None:
        """Ask `listener` from now on."""
        self._chain_up([*self._listeners, listener])

    def remove(self, listener: Listener) -> None:
        """Do not ask it any more; after the last one the selector is as it was."""
        self._chain_up([other for other in self._listeners if other is not listener])

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Ask `listener` inside."""
        self.add(listener)
        try:
            yield
        finally:
            self.remove(listener)

    def _chain_up(self, listeners: list[Listener]) -> None:
        before = self._chain
        self._listeners = sorted(listeners, key=lambda listener: listener.rank)
        self._has_alarm = any(isinstance(listener, Alarm) for listener in listeners)
        chain: Any = self._select
        for listener in reversed(self._listeners):
            chain = partial(listener, chain)
        if self._listeners:
            self._selector.select = self._chain = partial(self._first, chain)
            self._chain.lull = self
        elif vars(self._selector).get("select") is before:
            del self._selector.select

    def _first(self, select: Select, timeout: float | None) -> list[Any]:
        if timeout == 0:
            self.turns += 1
            if self._loop._ready and self.is_nobody_there and not self._has_alarm and self.is_nobody_there():
                return []
        return select(timeout)


def has_lulls(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` shows its selector: asyncio's own on POSIX, and what derives from it."""
    return hasattr(loop, "_selector")


def watches_itself(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` notices by itself that nothing can go on, or goes on without end, as an explorer's loop does.

    Then nobody else need watch it; and nobody can in seconds, for its time is virtual.
    """
    return getattr(loop, "watches_itself", False)


class Alarm:
    """Rings at a moment of real time, whatever clock the loop runs on.

    Args:
        deadline: on the clock of ``time.monotonic()``.
        ring: what to call then, once, in the loop's thread.
    """

    rank = 3

    def __init__(self, deadline: float, ring: Callable[[], object]) -> None:
        self._deadline = deadline
        self._ring: Callable[[], object] | None = ring

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Wait no longer than until the deadline."""
        if self._ring is None:
            return select(timeout)
        left = self._deadline - real_time.monotonic()
        if timeout != 0 and left > 0:
            events = select(left if timeout is None else min(timeout, left))
            left = self._deadline - real_time.monotonic()
        else:
            events = select(0)
        if left <= 0:
            ring, self._ring = self._ring, None
            ring()
        return events


@contextmanager
def alarm(loop: asyncio.AbstractEventLoop, deadline: float | None, ring: Callable[[], object]) -> Iterator[None]:
    """Inside, `ring` is called at `deadline` (``time.monotonic()``; None: never) unless `loop` is blocked then."""
    if deadline is None or watches_itself(loop):
        yield
    elif has_lulls(loop):
        with Lull.of(loop).listening(Alarm(deadline, ring)):
            yield
    else:  # on a loop without lulls time is real
        timer = loop.call_later(max(deadline - real_time.monotonic(), 0), ring)
        try:
            yield
        finally:
            timer.cancel()
