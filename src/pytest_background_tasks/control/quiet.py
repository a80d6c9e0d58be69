"""Waiting until a loop has nothing left to do by itself: nothing is ready, nothing is due, nothing is under way.

That is seen where the loop is about to wait, so no turns are counted. uvloop shows no such moment. There every callback
that asyncio asks it to run soon is counted until it has run; when none is left, and no worker is at work, it is quiet,
as far as Python can see.

Private names of CPython used here: ``_ready`` and ``_scheduled`` of the loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

from ..patching import replaced
from .lull import Lull, Select, alarm, has_lulls
from .under_way import UnderWay

_GLANCE = 0.002  # seconds between two looks at a uvloop's threads


class Quiet:
    """Listens for lulls in which nothing is under way.

    Args:
        under_way: of the loop to listen to.
        tell: called then, in the loop's thread, until it has something for the loop to do.
    """

    rank = 0

    def __init__(self, under_way: UnderWay, tell: Callable[[], object]) -> None:
        self._under_way = under_way
        self._loop: Any = under_way.loop
        self._tell = tell

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Tell instead of waiting; wait for what is under way, but for no timer."""
        if timeout == 0:
            return select(timeout)
        events = select(0)
        if events or self._loop._ready or self._is_due():
            return events
        if self._under_way.anything():
            glance = self._under_way.glance
            return select(glance if timeout is None else min(glance, timeout))
        if not self._loop._ready:  # a thread may have answered meanwhile
            self._tell()
        return [] if self._loop._ready else select(timeout)

    def _is_due(self) -> bool:
        """Whether a timer is, since a clock that was asked before has moved."""
        timers = self._loop._scheduled
        return bool(timers) and timers[0].when() <= self._loop.time()


class _Counter:
    """Tells when all that a loop without lulls was asked to run soon has run."""

    def __init__(self, under_way: UnderWay, tell: Callable[[], object]) -> None:
        loop: asyncio.AbstractEventLoop = under_way.loop
        self._under_way = under_way
        self._loop = loop
        self._tell = tell
        self._call_soon = loop.call_soon
        self._pending: dict[object, asyncio.Handle] = {}
        self._is_idle = False
        self._look_again: asyncio.Handle = self._call_soon(self._look)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """The loop's, and counted."""
        token = object()
        handle = self._pending[token] = self._call_soon(self._run, token, callback, *args, context=context)
        return handle

    def _run(self, token: object, callback: Callable[..., object], *args: Any) -> None:
        del self._pending[token]
        callback(*args)

    def _look(self) -> None:
        was_idle, self._is_idle = self._is_idle, False
        if any(not handle.cancelled() for handle in self._pending.values()):
            self._look_again = self._call_soon(self._look)
        elif self._under_way.is_any_worker_at_work():
            self._look_again = self._loop.call_later(_GLANCE, self._look)
        elif not was_idle:  # what a worker has answered, uncounted, runs before the next look
            self._is_idle = True
            self._look_again = self._call_soon(self._look)
        else:
            self._tell()

    def close(self) -> None:
        """Do not look again."""
        self._look_again.cancel()


@contextmanager
def telling(under_way: UnderWay, tell: Callable[[], object]) -> Iterator[None]:
    """Inside, `tell` is called as soon as the loop of `under_way` is quiet."""
    loop: Any = under_way.loop
    if has_lulls(loop):
        with Lull.of(loop).listening(Quiet(under_way, tell)):
            yield
    else:
        counter = _Counter(under_way, tell)
        try:
            with replaced(loop, "call_soon", lambda _: counter.call_soon):
                yield
        finally:
            counter.close()


@contextmanager
def resting(under_way: UnderWay, deadline: float | None) -> Iterator[Callable[[], Awaitable[bool]]]:
    """Gives a function to await, again and again: until the running loop is quiet.

    It answers False if `deadline` (``time.monotonic()``) came first.
    """
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[bool] = loop.create_future()
    is_late = False

    async def quiet() -> bool:
        nonlocal woken
        woken = loop.create_future()
        return not is_late and await woken

    def wake() -> None:
        if not woken.done():
            woken.set_result(not is_late)

    def be_late() -> None:
        nonlocal is_late
        is_late = True
        wake()

    with telling(under_way, wake), alarm(loop, deadline, be_late):
        yield quiet


async def quiet(under_way: UnderWay, deadline: float | None = None) -> bool:
    """Wait until the running loop is quiet; False if `deadline` (``time.monotonic()``) came first."""
    with resting(under_way, deadline) as until_quiet:
        return await until_quiet()
