"""What counts as a failure of a run, and how it is said.

Private name of CPython used here: ``_log_traceback`` of a task, which tells whether anybody has looked at its error.
"""

import asyncio
from collections import Counter
from typing import Any

from ..amounts import amount
from ..errors import Deadlock, LeakedTasks, Livelock
from ..waits import wait_of
from .loop import PlayedLoop
from .options import Options
from .tasks import PlayedTask

_BUSIEST = 3  # how many of the busiest tasks are named


def failure_of(loop: PlayedLoop, main: PlayedTask, options: Options) -> BaseException | None:
    """What went wrong in the run that `loop` has played; None if nothing did."""
    if loop.is_stuck:
        return _deadlock(loop, options)
    if loop.is_endless:
        return _livelock(loop, options)
    if not main.done():
        return RuntimeError("the scenario called loop.stop(), which ends nothing but the loop")
    if main.cancelled():
        return asyncio.CancelledError("the scenario was cancelled")
    return main.exception() or _unnoticed(loop) or (_leak(loop, options) if options.leaks else None)


def _deadlock(loop: PlayedLoop, options: Options) -> Deadlock:
    return Deadlock(f"nothing can go on:{_waits(loop, options)}")


def _livelock(loop: PlayedLoop, options: Options) -> Livelock:
    trace = loop.trace()
    counts = Counter(step.who for step in trace.steps).most_common(_BUSIEST)
    busiest = ", ".join(f"{trace.shown(who)} ({amount(count, 'step')})" for who, count in counts)
    return Livelock(
        f"more than max_steps={options.max_steps} steps, and no end\n  busiest: {busiest}{_waits(loop, options)}"
    )


def _leak(loop: PlayedLoop, options: Options) -> LeakedTasks | None:
    waits = _waits(loop, options)
    return LeakedTasks(f"the scenario has ended, and tasks are pending:{waits}") if waits else None


def _waits(loop: PlayedLoop, options: Options) -> str:
    shown = loop.trace().shown

    def named(task: Any) -> str:
        return shown(task.actor.name)

    lines = []
    for task in loop.tasks:
        if not task.done():
            wait = wait_of(task, options.is_own, named)
            lines.append(f"\n  {named(task)} {f'waits at {wait}' if wait else 'is about to go on'}")
    return "".join(lines)


def _unnoticed(loop: PlayedLoop) -> BaseException | None:
    """The error of the first task that failed and that nobody has looked at."""
    for task in loop.tasks:
        if task.done() and task._log_traceback:
            error = task.exception()
            name = loop.trace().shown(task.actor.name)  # type: ignore[attr-defined]
            site = getattr(task, "created_at", None)
            created = f"created at {site}, " if site else ""
            assert error is not None, "nobody has looked at it, so it is there"
            error.add_note(f"in the background task {name}, {created}and nobody has looked at it")
            return error
    return None
