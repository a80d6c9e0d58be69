"""Waiting until a loop is idle: no callback is ready, no timer is due, and there is no external activity.

This is checked when the loop is about to block, so no iterations are counted. uvloop does not expose that moment.
There, every callback that asyncio schedules soon is counted until it has run; when none is left, and no worker is at
work, the loop is idle as far as Python can see.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

from .._asyncio.idle_hooks import IdleHooks, Rank, Select, call_at_deadline
from .._asyncio.patching import patched
from .._introspect.internals import has_ready_callbacks, has_selector, timers_of
from .external_activity import ExternalActivity

_POLL_INTERVAL = 0.002  # seconds between two checks of a uvloop's threads


class IdleWatcher:
    """A hook that notices when its loop is idle.

    Args:
        hooks: the hooks of the loop.
        activity: the external activity of the loop.
        notify: called then, in the loop's thread, until it gives the loop something to do.
    """

    rank = Rank.IDLE_WATCHER

    def __init__(self, hooks: IdleHooks, activity: ExternalActivity, notify: Callable[[], object]) -> None:
        self._hooks = hooks
        self._activity = activity
        self._loop: Any = activity.loop
        self._notify = notify

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Call `notify` instead of waiting; wait for external activity, but not for a timer."""
        if timeout == 0:
            return select(timeout)
        events = self._hooks.poll(select, 0)
        if events or has_ready_callbacks(self._loop) or self._is_due():
            return events
        if self._activity.in_progress():
            interval = self._activity.poll_interval
            return self._hooks.poll(select, interval if timeout is None else min(interval, timeout))
        if not has_ready_callbacks(self._loop):  # unless a thread has answered meanwhile
            self._notify()
        return [] if has_ready_callbacks(self._loop) else select(timeout)

    def _is_due(self) -> bool:
        """Return True if a timer is due, because a clock that was called before has moved."""
        timers = timers_of(self._loop)
        return bool(timers) and timers[0].when() <= self._loop.time()


class _CallbackCounter:
    """A counter of the callbacks that a loop without a selector still has to run."""

    def __init__(self, activity: ExternalActivity, notify: Callable[[], object]) -> None:
        loop: asyncio.AbstractEventLoop = activity.loop
        self._activity = activity
        self._loop = loop
        self._notify = notify
        self._call_soon = loop.call_soon
        self._pending: dict[object, asyncio.Handle] = {}
        self._is_idle = False
        self._next_check: asyncio.Handle = self._call_soon(self._check)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Call the loop's method, and count the callback."""
        token = object()
        handle = self._pending[token] = self._call_soon(self._run, token, callback, *args, context=context)
        return handle

    def _run(self, token: object, callback: Callable[..., object], *args: Any) -> None:
        del self._pending[token]
        callback(*args)

    def _check(self) -> None:
        was_idle, self._is_idle = self._is_idle, False
        if any(not handle.cancelled() for handle in self._pending.values()):
            self._next_check = self._call_soon(self._check)
        elif self._activity.is_any_worker_at_work():
            self._next_check = self._loop.call_later(_POLL_INTERVAL, self._check)
        elif not was_idle:  # the uncounted callback of a worker's answer runs before the next check
            self._is_idle = True
            self._next_check = self._call_soon(self._check)
        else:
            self._notify()

    def close(self) -> None:
        """Cancel the next check."""
        self._next_check.cancel()


@contextmanager
def on_idle(activity: ExternalActivity, notify: Callable[[], object]) -> Iterator[None]:
    """Call `notify` inside the block as soon as the loop of `activity` is idle."""
    loop: Any = activity.loop
    if has_selector(loop):
        hooks = IdleHooks.of(loop)
        with hooks.hooked(IdleWatcher(hooks, activity, notify)):
            yield
    else:
        counter = _CallbackCounter(activity, notify)
        try:
            with patched(loop, "call_soon", lambda _: counter.call_soon):
                yield
        finally:
            counter.close()


@contextmanager
def idle_waiter(activity: ExternalActivity, deadline: float | None) -> Iterator[Callable[[], Awaitable[bool]]]:
    """Yield a coroutine function that waits until the running loop is idle, as often as it is called.

    It returns False if `deadline` (``time.monotonic()``) comes first.
    """
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[bool] = loop.create_future()
    is_late = False

    async def wait_until_idle() -> bool:
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

    with on_idle(activity, wake), call_at_deadline(loop, deadline, be_late):
        yield wait_until_idle


async def wait_until_idle(activity: ExternalActivity, deadline: float | None = None) -> bool:
    """Wait until the running loop is idle; return False if `deadline` (``time.monotonic()``) comes first."""
    with idle_waiter(activity, deadline) as until_idle:
        return await until_idle()
