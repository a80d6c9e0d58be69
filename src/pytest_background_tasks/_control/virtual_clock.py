"""A virtual clock for one event loop.

The loop keeps its class, queue and selector. While the clock is installed, three methods of the loop are replaced:
``time``; ``call_at``, so that timers due at one moment fire in the order in which they were set, which a heap alone
does not guarantee (on a real clock, such timers differ by nanoseconds); and ``call_soon``, as long as it is asyncio's
own, for speed. When the loop is about to block, and there is no external activity, the time moves to the next timer
instead.

It moves exactly onto the timer. For a program that repeatedly sets a timer for the present moment until that has passed
(aiohttp's keep-alive does), the time moves by the loop's resolution, a nanosecond, with each such timer.

All moments lie on a grid (`on_grid`).

The idea of a clock that jumps when nothing can run comes from trio's ``MockClock``; async-solipsism and looptime apply
it to asyncio.

Private names of CPython used here: ``_scheduled``, ``_ready``, ``_clock_resolution``, ``_closed``, ``_debug`` and the
checks of the loop, ``_when`` and ``_scheduled`` of a timer.
"""

import asyncio
import heapq
import math
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any

from .._asyncio.creation_trace import without_our_frames
from .._asyncio.handles import QuickHandle, QuickTimer
from .._asyncio.idle_hooks import IdleHooks, Rank, Select
from .._asyncio.stand_ins import named_as
from .._asyncio.time_grid import on_grid
from .external_activity import ExternalActivity

_MANY = 1000  # jumps


@named_as(asyncio.TimerHandle)
class _Timer(QuickTimer):
    """A timer with a position among those due at the same moment."""

    __slots__ = ("_number",)
    _number: int

    def __lt__(self, other: Any) -> bool:
        mine, others = self._when, other._when
        return mine < others or (mine == others and self._number < getattr(other, "_number", 0))

    def __gt__(self, other: Any) -> bool:  # called by timers older than the clock, which come first
        mine, others = self._when, other._when
        return mine > others or (mine == others and self._number > getattr(other, "_number", 0))


class VirtualClock:
    """The virtual clock of `ExternalActivity.loop`, from the next whole second of the loop's time on, until `remove`.

    Attributes:
        time: the time of the loop, in seconds; never moves backwards.
        activity: the external activity, during which the clock stands still.
        autojump: whether the clock jumps by itself.
        on_many_jumps: called after each thousand jumps.
    """

    rank = Rank.VIRTUAL_CLOCK

    def __init__(self, activity: ExternalActivity, *, autojump: bool, on_many_jumps: Callable[[], object]) -> None:
        self.loop: Any = activity.loop
        self.time: float = float(math.ceil(self.loop.time()))
        self._jumps: int = 0
        self.autojump: bool = autojump
        self.activity = activity
        self._on_many_jumps = on_many_jumps
        self._numbers = count(1)
        self._last_fired = -math.inf
        self._next = -math.inf
        self.loop.time = lambda: self.time
        self.loop.call_at = self._call_at
        method = getattr(self.loop.call_soon, "__func__", None)
        self._call_soon: Callable[..., asyncio.Handle] | None = None
        if getattr(method, "__globals__", None) is vars(asyncio.base_events):  # not that of another library
            self.loop.call_soon = self._call_soon = self._quick_call_soon(method)
        self._hooks = IdleHooks.of(self.loop)
        self._hooks.add(self)
        self._hooks.has_no_sources = activity.has_no_sources

    @property
    def next_timer(self) -> float | None:
        """The loop time at which the next timer is due; None if there is none."""
        timers = self.loop._scheduled
        while timers and timers[0].cancelled():
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self.loop._timer_cancelled_count -= 1
        return timers[0].when() if timers else None

    def move_to(self, time: float) -> None:
        """Set the time to `time`, unless that has passed, at the loop's next iteration; then the due timers fire.

        Not immediately: in debug mode, the running step would seem to have taken that long.
        """
        self._next = time

    def remove(self) -> None:
        """Restore the loop's real clock; each timer keeps its remaining time."""
        self._hooks.remove(self)
        self._hooks.has_no_sources = None
        del self.loop.time, self.loop.call_at
        if self._call_soon is not None and vars(self.loop).get("call_soon") is self._call_soon:
            del self.loop.call_soon
        ahead = self.time - self.loop.time()
        for timer in self.loop._scheduled:
            timer._when -= ahead

    def __call__(self, select: Select, timeout: float | None) -> list[Any]:
        """Move the time instead of waiting, unless there is external activity, or a hook polls."""
        loop = self.loop
        if self._next > self.time:
            self.time = self._next
            self._hooks.busy_iterations += 1
        if self._hooks.is_polling:
            return select(timeout)
        if timeout == 0:
            if not loop._ready:
                self._let_time_pass_what_fires_again()
            return select(0)
        if not self.activity.has_no_sources():
            events = select(0)
            if events or loop._ready:
                return events
            if self.activity.in_progress():
                interval = self.activity.poll_interval
                return select(interval if timeout is None else min(interval, timeout))
        if loop._ready:  # a worker has answered meanwhile, and is idle now, or has ended
            return select(0)
        if timeout is None or not loop._scheduled or not self.autojump:
            return select(None)
        self._jump()
        return []

    def _jump(self) -> None:
        self.time = self._last_fired = max(self.time, self.loop._scheduled[0]._when)
        self._hooks.busy_iterations += 1
        self._jumps += 1
        if self._jumps % _MANY == 0:
            self._on_many_jumps()

    def _let_time_pass_what_fires_again(self) -> None:
        if self._last_fired == self.time:
            # After half a year, a nanosecond is less than the distance to the next float.
            self.time = max(on_grid(self.time + self.loop._clock_resolution), math.nextafter(self.time, math.inf))
        self._last_fired = self.time

    def _quick_call_soon(self, asyncios: object) -> Callable[..., asyncio.Handle]:
        loop, base = self.loop, asyncio.BaseEventLoop

        def call_soon(callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
            # Another library may replace asyncio's method at any moment.
            if loop._closed or loop._debug or base.call_soon is not asyncios:
                return without_our_frames(base.call_soon(loop, callback, *args, context=context))
            handle = QuickHandle(callback, args, loop, context)
            loop._ready.append(handle)
            return handle

        return call_soon

    def _call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        loop = self.loop
        if when is None:
            raise TypeError("when cannot be None")
        if loop._closed:
            loop._check_closed()  # which raises
        if loop._debug:
            loop._check_thread()
            loop._check_callback(callback, "call_at")
        timer = without_our_frames(_Timer(on_grid(when), callback, args, loop, context))
        timer._number = next(self._numbers)
        heapq.heappush(loop._scheduled, timer)
        timer._scheduled = True
        return timer
