"""Running a program until it is idle: all its loops, until none has anything left to run."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from .._asyncio.patching import patched
from .._capture.trio import running_loop
from .._introspect import real_clock
from .._introspect.internals import awaited_by, has_selector
from .._introspect.location import await_chain
from .cross_loop import driven, on_loop_async, on_loop_sync
from .external_activity import ExternalActivity
from .idle import wait_until_idle
from .running_call import RunningCall
from .timeout import deadline_of

_PATIENCE = 0.5  # seconds in which a worker without anything left to do becomes idle, even on a busy machine
_POLL_INTERVAL = 0.002  # seconds between two checks of the workers

ActivityOf: TypeAlias = Callable[[asyncio.AbstractEventLoop], ExternalActivity]


async def run_until_idle_async(run: RunningCall, activity_of: ActivityOf, timeout: float | None) -> list[str] | None:
    """Start the held tasks of `run`, and wait until all loops are idle.

    Returns:
        None; or, if `timeout` seconds of real time have passed first, the external activity, in words.
    """
    __tracebackhide__ = True
    home = running_loop()
    deadline = deadline_of(timeout)
    with run:
        run.start_all(home)
        before: object = None
        while before != (before := _positions(run)):
            for loop in _loops(run, home):
                activity = activity_of(loop)
                if not await on_loop_async(loop, partial(wait_until_idle, activity, deadline)):
                    return activity.reasons()
    return None


def run_until_idle_sync(run: RunningCall, activity_of: ActivityOf, timeout: float | None) -> list[str] | None:
    """Do the same from a synchronous call, inside or outside a running loop."""
    __tracebackhide__ = True
    deadline = deadline_of(timeout)
    with run.started_sync() as (home, drive):
        before: object = None
        while before != (before := _positions(run)):
            for loop in _loops(run, home):
                activity = activity_of(loop)
                if drive is not None and loop is home and not has_selector(loop):
                    with _answers_noted(loop) as answered:
                        drive(lambda: False, deadline)  # until no step is left
                        if not _becomes_idle(activity, answered):
                            raise run.stuck_in_synchronous_idle(loop)
                elif drive is not None and loop is home:
                    driven(drive, loop, partial(wait_until_idle, activity, deadline))
                else:
                    on_loop_sync(loop, partial(wait_until_idle, activity, deadline))
                if deadline is not None and real_clock.monotonic() >= deadline:
                    return activity.reasons()
    return None


@contextmanager
def _answers_noted(loop: asyncio.AbstractEventLoop) -> Iterator[threading.Event]:
    """Yield an event that is set when another thread calls something in `loop` inside the block."""
    here, answered = threading.get_ident(), threading.Event()

    def noting(call_soon_threadsafe: Callable[..., asyncio.Handle]) -> Callable[..., asyncio.Handle]:
        def noted(*args: Any, **kwargs: Any) -> asyncio.Handle:
            if threading.get_ident() != here:
                answered.set()
            return call_soon_threadsafe(*args, **kwargs)

        return noted

    with patched(loop, "call_soon_threadsafe", noting):
        yield answered


def _becomes_idle(activity: ExternalActivity, answered: threading.Event) -> bool:
    """Return True as soon as no worker is at work, unless one has answered: the loop cannot run that now.

    A worker that seems to be at work may only be on its way to its next call, or to its end: anyio does not wait for
    the workers of a finished loop, so those of an earlier test may still be there.
    """
    until = real_clock.monotonic() + _PATIENCE
    while activity.is_any_worker_at_work():
        if answered.wait(_POLL_INTERVAL) or real_clock.monotonic() >= until:
            return False
    return not answered.is_set()


def _loops(run: RunningCall, home: asyncio.AbstractEventLoop | None) -> list[asyncio.AbstractEventLoop]:
    loops = dict.fromkeys([*([] if home is None else [home]), *(task.runner.get_loop() for task in run.tasks)])
    return [loop for loop in loops if not loop.is_closed()]


def _positions(run: RunningCall) -> object:
    """Return the positions of the tasks: on several loops they may wake each other, so one round is not enough."""
    if len({task.runner.get_loop() for task in run.tasks}) <= 1:
        return ()
    return [
        (asyncio.Task.done(task), awaited_by(task.runner), [*await_chain(task.get_coro())][-1:]) for task in run.tasks
    ]
