"""Running a program until it is idle: all its loops, until none has anything left to run.

Private names of CPython used here: ``_fut_waiter`` of a task.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TypeAlias

from .. import _util
from .._capture.trio import running_loop
from .._introspect.location import await_chain
from .._introspect.untrusted import attribute
from .cross_loop import driven, on_loop_async, on_loop_sync
from .external_activity import UnderWay
from .idle import quiet
from .idle_hooks import has_lulls
from .nested_loop import inside
from .running_call import Run
from .timeout import deadline_of

Watching: TypeAlias = Callable[[asyncio.AbstractEventLoop], UnderWay]


async def rest_async(run: Run, watching: Watching, timeout: float | None) -> list[str] | None:
    """Start the held tasks of `run`, and wait until all loops are idle.

    Returns:
        None; or, if `timeout` seconds of real time have passed first, the external activity, in words.
    """
    __tracebackhide__ = True
    home = running_loop()
    deadline = deadline_of(timeout)
    with run:
        run.begin(home)
        before: object = None
        while before != (before := _places(run)):
            for loop in _loops(run, home):
                under_way = watching(loop)
                if not await on_loop_async(loop, partial(quiet, under_way, deadline)):
                    return under_way.reasons()
    return None


def rest_sync(run: Run, watching: Watching, timeout: float | None) -> list[str] | None:
    """Do the same from a synchronous call, inside or outside a running loop."""
    __tracebackhide__ = True
    home = asyncio._get_running_loop()
    deadline = deadline_of(timeout)
    with run, nullcontext() if home is None else inside(home) as drive:
        run.begin(home)
        run.end_here(home)
        before: object = None
        while before != (before := _places(run)):
            for loop in _loops(run, home):
                under_way = watching(loop)
                if drive is not None and loop is home and not has_lulls(loop):
                    drive(lambda: False, deadline)  # until no step is left
                    if under_way.is_any_worker_at_work():
                        raise run.stuck_in_synchronous_rest(loop)
                elif drive is not None and loop is home:
                    driven(drive, loop, partial(quiet, under_way, deadline))
                else:
                    on_loop_sync(loop, partial(quiet, under_way, deadline))
                if deadline is not None and _util.monotonic() >= deadline:
                    return under_way.reasons()
    return None


def _loops(run: Run, home: asyncio.AbstractEventLoop | None) -> list[asyncio.AbstractEventLoop]:
    loops = dict.fromkeys([*([] if home is None else [home]), *(task.runner.get_loop() for task in run.tasks)])
    return [loop for loop in loops if not loop.is_closed()]


def _places(run: Run) -> object:
    """Return the positions of the tasks: on several loops they may wake each other, so one round is not enough."""
    if len({task.runner.get_loop() for task in run.tasks}) <= 1:
        return ()
    return [
        (asyncio.Task.done(task), attribute(task.runner, "_fut_waiter"), [*await_chain(task.get_coro())][-1:])
        for task in run.tasks
    ]
