"""Hooks that are called when the event loop is about to block in ``select``.

A running method that has timed out, a test that waits until its loop is idle, a clock that jumps, a deadlock detector:
all of them act at that moment. They form one chain in front of the selector's ``select``; their rank decides their
order, and each may wait for a shorter time than requested, or not at all. The chain is removed with the last hook.

uvloop has no Python selector, so this does not work for uvloop.

Private names of CPython used here: ``_selector`` and ``_ready`` of the loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias

from .. import _util

Select: TypeAlias = Callable[[float | None], list[Any]]
"""Waits for at most that many seconds (None: no limit) and returns the events that have arrived."""


class Listener(Protocol):
    """A hook in front of ``select``.

    Attributes:
        rank: the position in the chain; the lowest comes first.
    """

    rank: int

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Return the events of ``select(timeout)``; with a timeout of 0, the loop is not idle."""


class Lull:
    """The hooks of one loop. `Lull.of` returns the existing object of a loop, or creates it.

    Attributes:
        turns: how often the loop was busy; an unchanged number means that it has been idle since then.
        is_nobody_there: returns True if no external event is possible; None if that is unknown. If True, a busy loop
            does not poll for events, which would be a system call.
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
        """Return the hooks of `loop`, which must have a selector (`has_lulls`)."""
        there = getattr(vars(loop._selector).get("select"), "lull", None)  # type: ignore[attr-defined]
        return there if isinstance(there, cls) else cls(loop)

    def add(self, listener: Listener) -> None:
        """Call `listener` from now on."""
        self._chain_up([*self._listeners, listener])

    def remove(self, listener: Listener) -> None:
        """Stop calling `listener`; after the last one, the selector is restored."""
        self._chain_up([other for other in self._listeners if other is not listener])

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call `listener` inside the block."""
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
    """Return True if `loop` has a selector: asyncio's own loop on POSIX, and classes derived from it."""
    return hasattr(loop, "_selector")


def watches_itself(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if `loop` itself detects deadlocks and livelocks, as an explorer's loop does.

    Then no other detector is needed, and none could measure seconds, because its time is virtual.
    """
    return getattr(loop, "watches_itself", False)


class Alarm:
    """A deadline in real time, whatever clock the loop runs on.

    Args:
        deadline: the moment on the clock of ``time.monotonic()``.
        ring: called then, once, in the loop's thread.
    """

    rank = 3

    def __init__(self, deadline: float, ring: Callable[[], object]) -> None:
        self._deadline = deadline
        self._ring: Callable[[], object] | None = ring

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Wait until the deadline at most."""
        if self._ring is None:
            return select(timeout)
        left = self._deadline - _util.monotonic()
        if timeout != 0 and left > 0:
            events = select(left if timeout is None else min(timeout, left))
            left = self._deadline - _util.monotonic()
        else:
            events = select(0)
        if left <= 0:
            ring, self._ring = self._ring, None
            ring()
        return events


@contextmanager
def alarm(loop: asyncio.AbstractEventLoop, deadline: float | None, ring: Callable[[], object]) -> Iterator[None]:
    """Call `ring` at `deadline` (``time.monotonic()``; None: never) inside the block, unless `loop` is blocked then."""
    if deadline is None or watches_itself(loop):
        yield
    elif has_lulls(loop):
        with Lull.of(loop).listening(Alarm(deadline, ring)):
            yield
    else:  # on a loop without a selector, time is real
        timer = loop.call_later(max(deadline - _util.monotonic(), 0), ring)
        try:
            yield
        finally:
            timer.cancel()
