"""Hooks that are called when the event loop is about to block in ``select``.

A running method that has timed out, a test that waits until its loop is idle, a clock that jumps, a deadlock detector:
all of them act at that moment. They form one chain in front of the selector's ``select``; their rank decides their
order, and each may wait for a shorter time than requested, or not at all. The chain is removed with the last hook.

uvloop has no Python selector, so this does not work for uvloop.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from typing import Any, Protocol, TypeAlias

from .._introspect import real_clock
from .._introspect.internals import has_selector, selector_of

Select: TypeAlias = Callable[[float | None], list[Any]]
"""Waits for at most that many seconds (None: no limit) and returns the events that have arrived."""


class Rank(IntEnum):
    """The positions of the hooks in the chain; the lowest is called first."""

    IDLE_WATCHER = 0
    VIRTUAL_CLOCK = 1
    DEADLOCK_DETECTOR = 2
    DEADLINE = 3


class IdleHook(Protocol):
    """A hook in front of ``select``."""

    rank: Rank

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Return the events of ``select(timeout)``; with a timeout of 0, the loop is not idle."""


class IdleHooks:
    """The hooks of one loop. `IdleHooks.of` returns the existing object of a loop, or creates it.

    Attributes:
        busy_iterations: how often the loop was busy; an unchanged number means that it has been idle since then.
        has_no_sources: returns True if no external event is possible; None if that is unknown. If True, a busy loop
            does not poll for events, which would be a system call.
        is_polling: whether a hook is inside `poll`, so that no later one may move the time.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._selector: Any = selector_of(loop)
        self._select: Select = self._selector.select
        self._own_select: Select | None = vars(self._selector).get("select")
        self._hooks: list[IdleHook] = []
        self._chain: Any = None
        self._has_deadline = False
        self.busy_iterations: int = 0
        self.has_no_sources: Callable[[], bool] | None = None
        self.is_polling: bool = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "IdleHooks":
        """Return the hooks of `loop`, which must have a selector (`has_selector`)."""
        there = getattr(vars(selector_of(loop)).get("select"), "hooks", None)
        return there if isinstance(there, cls) else cls(loop)

    def add(self, hook: IdleHook) -> None:
        """Call `hook` from now on."""
        self._chain_up([*self._hooks, hook])

    def remove(self, hook: IdleHook) -> None:
        """Stop calling `hook`; after the last one, the selector is restored."""
        self._chain_up([other for other in self._hooks if other is not hook])

    @contextmanager
    def hooked(self, hook: IdleHook) -> Iterator[None]:
        """Call `hook` inside the block."""
        self.add(hook)
        try:
            yield
        finally:
            self.remove(hook)

    def poll(self, select: Select, seconds: float) -> list[Any]:
        """Return the events of ``select(seconds)``, for a hook that will decide later whether the loop is idle.

        Meanwhile a clock stands still. It would otherwise decide for itself, and may find that the external activity
        has ended since the hook looked: the time would jump, although the hook is about to wake a waiter instead.
        """
        before, self.is_polling = self.is_polling, True
        try:
            return select(seconds)
        finally:
            self.is_polling = before

    def _chain_up(self, hooks: list[IdleHook]) -> None:
        before = self._chain
        self._hooks = sorted(hooks, key=lambda hook: hook.rank)
        self._has_deadline = any(isinstance(hook, Deadline) for hook in hooks)
        chain: Any = self._select
        for hook in reversed(self._hooks):
            chain = partial(hook, chain)
        if self._hooks:
            self._selector.select = self._chain = partial(self._first, chain)
            self._chain.hooks = self
        elif vars(self._selector).get("select") is before:
            if self._own_select is None:
                del self._selector.select
            else:
                self._selector.select = self._own_select

    def _first(self, select: Select, timeout: float | None) -> list[Any]:
        if timeout == 0:
            self.busy_iterations += 1
            if self._loop._ready and self.has_no_sources and not self._has_deadline and self.has_no_sources():
                return []
        return select(timeout)


def detects_deadlocks(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if `loop` itself detects deadlocks and livelocks, as an explorer's loop does.

    Then no other detector is needed, and none could measure seconds, because its time is virtual.
    """
    return getattr(loop, "detects_deadlocks", False)


class Deadline:
    """A deadline in real time, whatever clock the loop runs on.

    Args:
        deadline: the moment on the clock of ``time.monotonic()``.
        ring: called then, once, in the loop's thread.
    """

    rank = Rank.DEADLINE

    def __init__(self, deadline: float, ring: Callable[[], object]) -> None:
        self._deadline = deadline
        self._ring: Callable[[], object] | None = ring

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Wait until the deadline at most."""
        if self._ring is None:
            return select(timeout)
        left = self._deadline - real_clock.monotonic()
        if timeout != 0 and left > 0:
            events = select(left if timeout is None else min(timeout, left))
            left = self._deadline - real_clock.monotonic()
        else:
            events = select(0)
        if left <= 0:
            ring, self._ring = self._ring, None
            ring()
        return events


@contextmanager
def call_at_deadline(
    loop: asyncio.AbstractEventLoop, deadline: float | None, ring: Callable[[], object]
) -> Iterator[None]:
    """Call `ring` at `deadline` (``time.monotonic()``; None: never) inside the block, unless `loop` is blocked then."""
    if deadline is None or detects_deadlocks(loop):
        yield
    elif has_selector(loop):
        with IdleHooks.of(loop).hooked(Deadline(deadline, ring)):
            yield
    else:  # on a loop without a selector, time is real
        timer = loop.call_later(max(deadline - real_clock.monotonic(), 0), ring)
        try:
            yield
        finally:
            timer.cancel()
