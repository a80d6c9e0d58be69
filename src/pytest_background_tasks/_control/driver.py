"""Running loops until a call of a running method has ended, whatever state the loops are in.

A captured task may belong to the loop that runs the test, to one that runs in another thread (a ``TestClient``), to one
that is not running (a `def` test's), or be moved to one of these. Each case needs a different way of waiting.
"""

import asyncio
import threading
from collections.abc import Collection
from typing import Any

from .._asyncio import forced_end
from .._asyncio.idle_hooks import call_at_deadline
from .._capture.held_task import HeldTask
from .._capture.trio import running_loop
from .._introspect import real_clock
from .._introspect.suspension import waits_for
from .nested_loop import no_running_loop
from .running_call import RunningCall
from .timeout import deadline_of

_POLL_INTERVAL = 0.05  # seconds between two checks of a loop in another thread, which may be closed without notice


async def run_async(run: RunningCall, timeout: float | None, return_exceptions: bool) -> list[Any]:
    """Run `run` to its end, or for `timeout` seconds of real time; return or raise `RunningCall.results`."""
    __tracebackhide__ = True
    home = running_loop()
    deadline = deadline_of(timeout)
    with run:
        run.start_all(home)
        for task in run.pending():
            while _can_still_end(task, deadline):
                if task.runner.get_loop() is home:
                    await _ended(task, deadline)
                elif not task.runner.get_loop().is_running():
                    _run_idle_loop(run, task, home, deadline)
                else:
                    await home.run_in_executor(None, _watch_running_loop, task, deadline)
    return run.results(timeout, return_exceptions)


def run_sync(run: RunningCall, timeout: float | None, return_exceptions: bool) -> list[Any]:
    """Do the same from a synchronous call, inside or outside a running loop."""
    __tracebackhide__ = True
    deadline = deadline_of(timeout)
    with run.started_sync() as (home, drive):
        for task in run.pending():
            while _can_still_end(task, deadline):
                if drive is not None and task.runner.get_loop() is home:
                    if not drive(task.done, deadline):
                        raise run.stuck_in_synchronous_call(task)
                elif not task.runner.get_loop().is_running():
                    _run_idle_loop(run, task, home, deadline)
                else:
                    _watch_running_loop(task, deadline)
    return run.results(timeout, return_exceptions)


def drain(tasks: Collection[HeldTask]) -> None:
    """Give tasks that have just been cancelled at most a second to end; this thread must not run a loop."""
    deadline = real_clock.monotonic() + forced_end.PATIENCE
    for task in tasks:
        loop = task.runner.get_loop()
        if _can_still_end(task, deadline) and asyncio._get_running_loop() is None:
            if loop.is_running():
                _watch_running_loop(task, deadline)
            else:
                forced_end.drain(_ended(task, deadline), loop, tasks)


def _can_still_end(task: HeldTask, deadline: float | None) -> bool:
    if asyncio.Task.done(task):
        return False
    lost = task.runner.get_loop().is_closed() and not task.held
    return not lost and not _is_past(deadline)


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and real_clock.monotonic() >= deadline


@waits_for(lambda reasons, variables: reasons.future(variables["task"]))
async def _ended(task: HeldTask, deadline: float | None) -> None:
    """Wait on the task's own loop until it has ended, or until `deadline`."""
    __tracebackhide__ = True
    loop = asyncio.get_running_loop()
    if task.done() or _is_past(deadline):
        return
    woken = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    task.runner.add_done_callback(wake)
    try:
        with call_at_deadline(loop, deadline, wake):
            await woken
    finally:
        task.runner.remove_done_callback(wake)


def _run_idle_loop(
    run: RunningCall, task: HeldTask, home: asyncio.AbstractEventLoop | None, deadline: float | None
) -> None:
    """Run the loop of `task`, which is not running, until the task has ended; move the task if the loop is closed."""
    loop = task.runner.get_loop()
    if not loop.is_closed():
        with no_running_loop():
            loop.run_until_complete(_ended(task, deadline))
    else:
        run.start(task, home)


def _watch_running_loop(task: HeldTask, deadline: float | None) -> None:
    """Wait until `task` has ended on its loop in another thread, or that loop has ended, or `deadline`."""
    ended = threading.Event()
    loop = task.runner.get_loop()
    try:
        loop.call_soon_threadsafe(task.runner.add_done_callback, lambda _: ended.set())
    except RuntimeError:  # closed just now
        return
    while not ended.wait(_POLL_INTERVAL) and loop.is_running() and not _is_past(deadline):
        pass
