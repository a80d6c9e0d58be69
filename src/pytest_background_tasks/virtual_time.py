"""The object behind the fixture ``virtual_time``."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeAlias

from ._asyncio.instrument import Instrument, hub
from ._asyncio.time_functions import following, reads_clock
from ._asyncio.time_grid import on_grid
from ._capture.trio import running_loop
from ._control.external_activity import ExternalActivity
from ._control.idle import idle_waiter
from ._control.test_context import TestContext
from ._control.timeout import deadline_of
from ._control.virtual_clock import VirtualClock
from ._introspect import real_clock
from ._introspect.internals import has_selector
from ._introspect.location import SourceLocation, await_chain, location_in
from ._introspect.text import indented
from .errors import BackgroundTasksError, BackgroundTasksTimeout

_Loop: TypeAlias = asyncio.AbstractEventLoop

_END_IT = "End it first, give it what it waits for, or raise background_tasks_timeout if it is merely slow."
_LONG = 1.0  # seconds of real time before the first search for a poller; each later one takes twice as long
_ON_ASYNCIO = "run this test on asyncio's own loop (loop_factory=asyncio.new_event_loop)"


class VirtualTime:
    """Virtual time for the test's event loop: sleeps and timeouts take no real time, and keep their order.

    It applies to every loop that runs in the test's thread while the test has the fixture, whatever code runs the loop.
    When the loop is idle, time jumps to the next timer, unless the program waits for something real, such as a thread
    or a connection. ``time.time()`` and ``datetime.now()`` are not affected.

    >>> import asyncio
    >>> virtual_time = getfixture("virtual_time")
    >>> asyncio.run(asyncio.sleep(3600))
    >>> virtual_time.now
    3600.0
    """

    def __init__(self, context: TestContext) -> None:
        self._context = context
        self._patches: ExitStack | None = None
        self._follows = False
        self._poller: tuple[str, SourceLocation] | None = None
        self._began = real_clock.monotonic()
        self._patience = _LONG
        self._autojump = True
        self._thread = threading.get_ident()
        self._clocks: dict[_Loop, VirtualClock] = {}
        self._refused: list[_Loop] = []
        self._clock: VirtualClock | None = None
        self._origin = 0.0
        self._targets: list[float] = []
        self._advanced = asyncio.Event()

    @property
    def now(self) -> float:
        """The seconds of virtual time since the test's loop began to run, rounded to microseconds.

        ``loop.time()`` advances at the same pace from a different starting point.
        """
        return 0.0 if self._clock is None else round(self._clock.time - self._origin, 6)

    @property
    def autojump(self) -> bool:
        """If True (the default), time jumps to the next timer whenever the loop is idle.

        If False, only `advance` moves time, and a test that waits for a timer without advancing gets an error that says
        so.
        """
        return self._autojump

    @autojump.setter
    def autojump(self, jumps: bool) -> None:
        if not isinstance(jumps, bool):
            raise TypeError(f"autojump = {jumps!r}: write virtual_time.autojump = True or False")
        self._autojump = jumps
        for clock in self._clocks.values():
            clock.autojump = jumps

    def patch_monotonic(self) -> None:
        """Let ``time.monotonic()`` and ``time.perf_counter()`` follow virtual time in project code.

        So do ``monotonic_ns()`` and ``perf_counter_ns()``, from now on until the test ends. This is for code that
        measures with them how long it has waited; without it, its clock stands still while the loop's jumps. Libraries
        keep the real clocks, and so does a name that is imported later (``from time import monotonic`` in a function).

        Raises:
            BackgroundTasksError: if the test has ended.

        >>> import asyncio, time
        >>> virtual_time = getfixture("virtual_time")
        >>> virtual_time.patch_monotonic()
        >>> async def test():
        ...     began = time.monotonic()
        ...     await asyncio.sleep(3600)
        ...     return time.monotonic() - began
        >>> asyncio.run(test())
        3600.0
        """
        __tracebackhide__ = True
        if self._patches is None:
            raise BackgroundTasksError(f"virtual_time of {self._context.test} was used after that test had ended")
        if not self._follows:
            self._follows = True
            clock_time = lambda: None if self._clock is None else self._clock.time  # noqa: E731
            self._patches.enter_context(following(clock_time, self._context.is_project))

    async def advance(self, seconds: float) -> None:
        """Advance virtual time by `seconds`, and run everything that is due until then, in order.

        Timers that are set meanwhile count. It returns when the loop is idle: nothing can run before more time passes
        or an external event arrives. ``advance(0)`` runs what is ready now.

        Args:
            seconds: of virtual time, 0 or more.

        Raises:
            ValueError: if `seconds` is negative or not finite.
            BackgroundTasksTimeout: if that takes longer than ini ``background_tasks_timeout`` of real time, such as
                when timers fire endlessly at one moment.
            BackgroundTasksError: if the running loop is not one that this fixture drives.

        >>> import asyncio
        >>> virtual_time = getfixture("virtual_time")
        >>> async def test():
        ...     virtual_time.autojump = False
        ...     alarm = asyncio.create_task(asyncio.sleep(60))
        ...     await virtual_time.advance(59)
        ...     assert not alarm.done()
        ...     await virtual_time.advance(1)
        ...     assert alarm.done()
        >>> asyncio.run(test())
        """
        __tracebackhide__ = True
        clock = self._running_clock()
        until = on_grid(clock.time + _seconds(seconds))
        deadline = deadline_of(self._context.timeout)
        self._targets.append(until)
        try:
            activity = self._context.activity(clock.loop)
            with idle_waiter(activity, deadline) as quiet:
                is_in_time = await quiet()
                while is_in_time and clock.time < until:
                    if min(self._targets) < until:  # another call's moment comes first
                        await self._advanced.wait()
                    else:
                        clock.move_to(min(until, clock.next_timer or until))
                        is_in_time = await quiet()
            if not is_in_time:
                raise self._late(activity, seconds)
        finally:
            self._targets.remove(until)
            self._advanced.set()
            self._advanced = asyncio.Event()

    def _late(self, activity: ExternalActivity, seconds: float) -> BackgroundTasksTimeout:
        began = f"virtual_time.advance({seconds:g}) did not finish within {self._context.timeout:g} s of real time; "
        if reasons := activity.reasons():
            return BackgroundTasksTimeout(
                f"{began}time stands still at {self.now:g} s because of:{indented(reasons)}\n{_END_IT}"
            )
        return BackgroundTasksTimeout(
            f"{began}the time is {self.now:g} s now, and:{self._context.detector.describe_waiters(activity.loop)}\n"
            f"There may be a lot to run, or a task never stops running. Advance in smaller steps, end that task first, "
            f"or raise background_tasks_timeout."
        )

    def _check_used(self) -> tuple[str, SourceLocation] | None:
        """Raise an error if no loop has run on virtual time, because the test relies on it; return the poller."""
        __tracebackhide__ = True
        if self._clock is None:
            raise BackgroundTasksError(
                f"{self._context.test} requested virtual_time, but no asyncio event loop has run in the test's own "
                f"thread (a TestClient's loop runs in another thread, in real time). Make it an async test (async def, "
                f"with pytest-asyncio or anyio's asyncio backend), run something in it "
                f"(background_tasks.run_all_sync(), asyncio.run(main())), or remove the fixture."
            )
        return self._poller

    @contextmanager
    def _driving(self) -> Iterator["VirtualTime"]:
        """Run every loop of this thread in virtual time inside the block, and restore the loops afterwards."""
        with ExitStack() as stack:
            self._patches = stack
            stack.callback(setattr, self, "_patches", None)
            stack.enter_context(hub.added(_Starts(self._start)))
            running = asyncio._get_running_loop()
            if running is not None:
                self._take(running)
            try:
                yield self
            finally:
                for loop in list(self._clocks):
                    self._let_go(loop)

    def _start(self, loop: _Loop) -> None:
        __tracebackhide__ = True
        if threading.get_ident() == self._thread and loop not in self._refused:
            self._take(loop)

    def _take(self, loop: _Loop) -> None:
        __tracebackhide__ = True
        clock = self._clocks.get(loop)
        if clock is None:
            self._refuse_unsupported(loop)
            for other in [other for other in self._clocks if other.is_closed()]:
                self._let_go(other)
            now = self.now
            activity, look = self._context.activity(loop), partial(self._look_for_poller, loop)
            clock = self._clocks[loop] = VirtualClock(activity, autojump=self._autojump, on_many_jumps=look)
            self._context.detector.watch_always(loop, partial(self._advice, clock))
            self._origin = clock.time - now
        else:
            self._origin += clock.time - (self._clock or clock).time
        self._clock = clock

    def _refuse_unsupported(self, loop: _Loop) -> None:
        """Raise an error for a loop that cannot have a virtual clock; once, so that its runner can still close it."""
        __tracebackhide__ = True
        if not has_selector(loop):
            self._refused.append(loop)
            raise self._no_clock_for(loop)
        if getattr(loop.time, "__func__", None) is not asyncio.BaseEventLoop.time:
            self._refused.append(loop)
            raise BackgroundTasksError(
                f"{type(loop).__module__}.{type(loop).__name__} has a clock of its own, and a loop cannot have two. "
                f"Remove the fixture virtual_time, or {_ON_ASYNCIO}."
            )

    def _let_go(self, loop: _Loop) -> None:
        self._context.detector.watch_no_longer(loop)
        self._clocks.pop(loop).remove()

    def _advice(self, clock: VirtualClock) -> str:
        if reasons := clock.activity.reasons():
            return f"Virtual time stands still because of:{indented(reasons)}\n{_END_IT}"
        if self._autojump or clock.next_timer is None:
            return ""
        return "Time stands still because virtual_time.autojump is False:  await virtual_time.advance(seconds)"

    def _look_for_poller(self, loop: _Loop) -> None:
        """Note a line that sleeps repeatedly in a function that reads a clock which stands still meanwhile."""
        if self._follows or self._poller is not None or real_clock.monotonic() - self._began < self._patience:
            return
        self._patience *= 2
        frames = (frame for task in asyncio.all_tasks(loop) for frame in await_chain(task.get_coro()))
        for frame in frames:
            if self._context.is_project[frame.f_code.co_filename] and reads_clock(frame.f_code):
                text = (
                    f"{frame.f_code.co_qualname} sleeps repeatedly and reads time.monotonic() or "
                    f"time.perf_counter(), which do not follow virtual time ({self.now:g} s by now). Read  "
                    f"asyncio.get_running_loop().time()  instead, or write in the test  virtual_time.patch_monotonic()"
                )
                self._poller = text, location_in(frame.f_code, frame.f_lineno)
                self._context.notes.append(text)
                return

    def _running_clock(self) -> VirtualClock:
        __tracebackhide__ = True
        loop = running_loop()
        clock = self._clocks.get(loop)
        if clock is None:
            if not has_selector(loop):
                raise self._no_clock_for(loop)
            raise BackgroundTasksError(
                f"virtual_time of {self._context.test} drives the loops that run in the test's own thread while the "
                f"test runs, not this one; call advance() in the test:  await virtual_time.advance(seconds)"
            )
        return clock

    def _no_clock_for(self, loop: _Loop) -> BackgroundTasksError:
        return BackgroundTasksError(
            f"virtual_time cannot move the time of {type(loop).__module__}.{type(loop).__name__}: its timers are out "
            f"of Python's reach. To use virtual_time, {_ON_ASYNCIO}."
        )

    def __repr__(self) -> str:
        return f"<virtual_time {self.now:g} s{'' if self._autojump else ', autojump off'}>"


@contextmanager
def driving(context: TestContext) -> Iterator[VirtualTime]:
    """Run every loop of this thread in virtual time inside the block, which gets the object of the fixture."""
    with VirtualTime(context)._driving() as time:
        context.check_virtual_time = time._check_used
        yield time


class _Starts(Instrument):
    """The moments at which a loop starts to run."""

    def __init__(self, start: Callable[[_Loop], None]) -> None:
        self._start = start

    def loop_starting(self, loop: _Loop) -> None:
        __tracebackhide__ = True
        self._start(loop)


def _seconds(seconds: object) -> float:
    __tracebackhide__ = True
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"virtual_time.advance({seconds!r}): write a number of seconds, e.g. advance(3600)")
    if not math.isfinite(seconds):
        raise ValueError(f"virtual_time.advance({seconds!r}): write a finite number of seconds, e.g. advance(3600)")
    if seconds < 0:
        raise ValueError(
            f"virtual_time.advance({seconds!r}): time does not go backwards; write e.g. advance({-seconds!r})"
        )
    return seconds
