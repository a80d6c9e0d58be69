"""What counts as a failure of a run, and how it is said.

Private names of CPython used here: ``_log_traceback`` of a task, which tells whether anybody has looked at its error,
``_exception`` of a task, and ``_callback`` of a handle.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from traceback import format_exception_only
from typing import Any

from ..amounts import amount
from ..ending import circle_from
from ..errors import Deadlock, LeakedTasks, Livelock
from ..sites import raising_sites
from ..waits import wait_of
from .arrivals import label_of
from .loop import PlayedLoop
from .options import Options
from .tasks import PlayedTask

_BUSIEST = 3  # how many of the busiest tasks are named
_OFTEN = 20  # who takes one of so many steps is busy
_PARTS = ("timer", "thread", "call")  # what a task has that is no step of it
_FAILED = 3  # how many of what has failed before nothing went on


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
    return Deadlock(f"nothing can go on:{_waits(loop, options)}{_failed_before(loop, options)}")


def circle_of(loop: PlayedLoop, error: BaseException | None, options: Options) -> Deadlock | None:
    """Return the failure of a run that has ended while tasks wait for each other; `error` is what it ended with.

    None of them can run again, or be cancelled: ``asyncio.run`` itself would end in a `RecursionError`.
    """
    if loop.is_stuck or loop.is_endless:  # then all that waits is named
        return None
    circle = []
    for task in loop.tasks:
        if not task.done() and (circle := circle_from(task)):
            break
    if not circle:
        return None
    deadlock = Deadlock(
        f"tasks wait for each other, and none of them can be cancelled:{_lines(loop, circle, options)}"
        f"{_failed_before(loop, options, but=error)}"
    )
    deadlock.__cause__ = error
    return deadlock


def _livelock(loop: PlayedLoop, options: Options) -> Livelock:
    trace = loop.trace()
    counts = Counter(_doer(step.who) for step in trace.steps)
    named = {who for step in trace.steps if (who := _doer(step.who))[1] or step.got != "call"}
    # Whoever goes on for ever makes asyncio call much else beside.
    busy = {who for who in named if counts[who] * _OFTEN >= len(trace.steps)}
    most = sorted(counts, key=lambda who: (who in busy, counts[who]), reverse=True)[:_BUSIEST]
    calls = {_doer(timer.who): f", calling {label_of(timer._callback)}" for *_, timer in loop._timers}
    busiest = [
        f"{f'{kind}s of ' if kind else ''}{trace.shown(who)} "
        f"({amount(counts[who, kind], 'step')}{calls.get((who, kind), '') if kind else ''})"
        for who, kind in most
    ]
    return Livelock(
        f"more than max_steps={options.max_steps} steps, and no end\n"
        f"  busiest: {', '.join(busiest)}{_waits(loop, options)}{_failed_before(loop, options)}"
    )


def _doer(who: str) -> tuple[str, str]:
    """A task or a callback, and what kind of thing of it: one for all timers of a task, and for those that they set."""
    kind = ""
    while (parts := who.rpartition(":"))[0] and (found := parts[2].partition("#")[0]) in _PARTS:
        who, kind = parts[0], found
    return who, kind


def _failed_before(loop: PlayedLoop, options: Options, but: BaseException | None = None) -> str:
    """Return a line for each failure but one, for it may be why others wait."""
    failed = [(who, error) for who, error in _failures(loop) if error is not but]
    lines = [
        f"\n  {who} has failed{''.join(f' at {site}' for site in raising_sites(error, options.is_own)[-1:])}: "
        f"{format_exception_only(error)[0].splitlines()[0]}"
        for who, error in failed[:_FAILED]
    ]
    more = f"\n  and {len(failed) - _FAILED} more have failed" if len(failed) > _FAILED else ""
    return "".join(lines) + more


def _failures(loop: PlayedLoop) -> Iterator[tuple[str, BaseException]]:
    """The callbacks and the tasks that have raised; to read a task's error so does not count as having looked."""
    named = _naming(loop)
    yield from loop.failed_callbacks
    for task in loop.tasks:
        if task.done() and (error := task._exception) is not None:
            yield named(task), error


def _leak(loop: PlayedLoop, options: Options) -> LeakedTasks | None:
    waits = _waits(loop, options)
    return LeakedTasks(f"the scenario has ended, and tasks are pending:{waits}") if waits else None


def _naming(loop: PlayedLoop) -> Callable[[Any], str]:
    """Gives the name of each task as a reader wants it."""
    shown = loop.trace().shown
    return lambda task: shown(task._explorer_actor.name)


def _waits(loop: PlayedLoop, options: Options) -> str:
    return _lines(loop, [task for task in loop.tasks if not task.done()], options)


def _lines(loop: PlayedLoop, tasks: Iterable[Any], options: Options) -> str:
    """Return a line for each of these pending tasks."""
    named = _naming(loop)
    lines = []
    for task in tasks:
        wait = wait_of(task, options.is_own, named)
        lines.append(f"\n  {named(task)} {f'waits at {wait}' if wait else 'is about to go on'}")
    return "".join(lines)


def _unnoticed(loop: PlayedLoop) -> BaseException | None:
    """The error of the first task, or else the first callback, that failed and that nobody has looked at."""
    for task in loop.tasks:
        if task.done() and task._log_traceback:
            error = task.exception()
            name = _naming(loop)(task)
            site = getattr(task, "_explorer_created_at", None)
            created = f"created at {site}, " if site else ""
            assert error is not None, "nobody has looked at it, so it is there"
            error.add_note(f"in the background task {name}, {created}and nobody has looked at it")
            return error
    if loop.failed_callbacks:
        name, error = loop.failed_callbacks[0]
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without the loop's own frame
        error.add_note(f"in the callback {name}, and nobody has looked at it")
        return error
    return None
