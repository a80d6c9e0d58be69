"""The failure of a run, and its message.

Private names of CPython used here: ``_log_traceback`` of a task, which is true until its exception is retrieved,
``_exception`` of a task, ``_callback`` and ``_args`` of a handle, and ``_ready`` of a loop.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from traceback import format_exception_only
from types import FunctionType, MethodType
from typing import Any

from .._asyncio.forced_end import circle_from
from .._introspect.location import raising_locations
from .._introspect.suspension import wait_point_of
from .._introspect.text import plural
from ..errors import DeadlockError, LeakedTasks, StepLimitExceeded
from .arrivals import label_of, stepping_task
from .controlled_loop import ControlledLoop
from .options import Options
from .schedule import event_of
from .task_names import RUNNER_OF_ANYIO
from .tasks import ControlledTask

_BUSIEST = 3  # number of tasks that a livelock names
_OFTEN = 20  # a task that runs at least one of this many steps is busy
# Kinds of callback that are named after a task.
_PARTS = ("timer", "thread", "call", "received", "sent", "datagrams", "descriptor")
_FAILED = 3  # number of earlier failures that a deadlock names


def stop_of(loop: ControlledLoop, options: Options) -> BaseException | None:
    """Return the deadlock or the livelock that has stopped `loop`; None if it was neither."""
    if loop.is_stuck:
        return _deadlock(loop, options)
    return _livelock(loop, options) if loop.is_endless else None


def failure_of(loop: ControlledLoop, main: ControlledTask, options: Options) -> BaseException | None:
    """Return the failure of `main`, the scenario that `loop` has run until it stopped; None if it passed."""
    if (stop := stop_of(loop, options)) is not None:
        return stop
    if not main.done():
        return RuntimeError("the test called loop.stop(), which stops the loop and not the test")
    if main.cancelled():
        return asyncio.CancelledError("the test was cancelled")
    return main.exception()


def is_timeout(error: BaseException | None) -> bool:
    """Return True for a timeout, and for an error to which one has led: a failed connection, a failed assertion."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            return all(map(is_timeout, error.exceptions))
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _deadlock(loop: ControlledLoop, options: Options) -> DeadlockError:
    return DeadlockError(f"every task is blocked:{_waits(loop, options)}{_failed_before(loop, options)}")


def circle_of(loop: ControlledLoop, error: BaseException | None, options: Options) -> DeadlockError | None:
    """Return the deadlock of a run that has ended while tasks wait for each other; `error` is the run's own failure.

    None of these tasks can resume or be cancelled: ``asyncio.run`` itself would end in a `RecursionError`.
    """
    if loop.is_stuck or loop.is_endless:  # its message names all blocked tasks
        return None
    circle = []
    for task in loop.tasks:
        if not task.done() and (circle := circle_from(task)):
            break
    if not circle:
        return None
    deadlock = DeadlockError(
        f"tasks wait for each other, and none of them can be cancelled:{_lines(loop, circle, options)}"
        f"{_failed_before(loop, options, but=error)}"
    )
    deadlock.__cause__ = error
    return deadlock


def _livelock(loop: ControlledLoop, options: Options) -> StepLimitExceeded:
    trace = loop.trace()
    counts = Counter(_doer(step.task) for step in trace.steps)
    named = {who for step in trace.steps if (who := _doer(step.task))[1] or step.delivered != "call"}
    # A task that never ends makes asyncio run many other callbacks.
    busy = {who for who in named if counts[who] * _OFTEN >= len(trace.steps)}
    most = sorted(counts, key=lambda who: (who in busy, counts[who]), reverse=True)[:_BUSIEST]
    calls = {_doer(timer.who): f", calling {label_of(timer._callback)}" for *_, timer in loop._timers}
    busiest = [
        f"{f'{kind}s of ' if kind else ''}{trace.display_name(who)} "
        f"({plural(counts[who, kind], 'step')}{calls.get((who, kind), '') if kind else ''})"
        for who, kind in most
    ]
    return StepLimitExceeded(
        f"livelock? The test has not ended after max_steps={options.max_steps} steps\n"
        f"  busiest: {', '.join(busiest)}{_waits(loop, options)}{_failed_before(loop, options)}"
    )


def _doer(who: str) -> tuple[str, str]:
    """Return a task or a callback, and a kind that is shared by all timers of a task and the timers that these set."""
    kind = ""
    while (event := event_of(who)) is not None and (found := event[1]) in _PARTS:
        who, kind = event[0], found
    return who, kind


def _failed_before(loop: ControlledLoop, options: Options, but: BaseException | None = None) -> str:
    """Return a line for each failure except `but`: it may be the reason that other tasks are blocked."""
    failed = [(who, error) for who, error in _failures(loop) if error is not but]
    lines = [
        f"\n  {who} failed{''.join(f' at {site}' for site in raising_locations(error, options.is_project_file)[-1:])}: "
        f"{format_exception_only(error)[0].splitlines()[0]}"
        for who, error in failed[:_FAILED]
    ]
    more = f"\n  and {len(failed) - _FAILED} more failed" if len(failed) > _FAILED else ""
    return "".join(lines) + more


def _failures(loop: ControlledLoop) -> Iterator[tuple[str, BaseException]]:
    """Yield the callbacks and tasks that raised. Reading ``_exception`` does not mark the exception as retrieved."""
    named = _naming(loop)
    yield from loop.failed_callbacks
    for task in loop.tasks:
        if task.done() and (error := task._exception) is not None:
            yield named(task), error


def leak_of(loop: ControlledLoop, options: Options) -> LeakedTasks | None:
    """Return the error that names the pending tasks, except those of a runner itself; None if there are none."""
    waits = _lines(loop, [task for task in loop.tasks if not task.done() and not _is_of_runner(task)], options)
    return LeakedTasks(f"tasks were still pending when the test ended:{waits}") if waits else None


def _is_of_runner(task: Any) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_name == RUNNER_OF_ANYIO and "anyio" in code.co_filename


def _naming(loop: ControlledLoop) -> Callable[[Any], str]:
    """Return a function that maps a task to its name in the report."""
    shown = loop.trace().display_name
    return lambda task: shown(task._explorer_actor.name)


def _waits(loop: ControlledLoop, options: Options) -> str:
    return _lines(loop, [task for task in loop.tasks if not task.done()], options)


def _lines(loop: ControlledLoop, tasks: Iterable[Any], options: Options) -> str:
    """Return a line for each of these pending tasks."""
    named = _naming(loop)
    lines = []
    for task in tasks:
        wait = wait_point_of(task, options.is_project_file, named)
        lines.append(f"\n  {named(task)} {f'waits at {wait}' if wait else 'is ready to run'}")
    return "".join(lines)


def _is_about_to_be_retrieved(loop: ControlledLoop, task: Any) -> bool:
    """Return True if a task that waits for `task`, or a callback of asyncio's own, would run in the next iteration."""
    callbacks = [handle._callback for handle in loop._ready if any(argument is task for argument in handle._args or ())]
    return any(
        stepping_task(callback) is not None
        or (isinstance(callback, FunctionType | MethodType) and callback.__module__.startswith("asyncio."))
        for callback in callbacks
    )


def unnoticed_of(loop: ControlledLoop) -> BaseException | None:
    """Return the first exception of a task that was never retrieved, else the first of a callback; None if none."""
    for task in loop.tasks:
        if task.done() and task._log_traceback and not _is_about_to_be_retrieved(loop, task):
            error = task.exception()
            name = _naming(loop)(task)
            site = getattr(task, "_explorer_created_at", None)
            created = f" (created at {site})" if site else ""
            assert error is not None, "never retrieved, so it is set"
            error.add_note(f"exception of background task {name} was never retrieved{created}")
            return error
    if loop.failed_callbacks:
        name, error = loop.failed_callbacks[0]
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # remove the loop's own frame
        error.add_note(f"exception in callback {name} was never retrieved")
        return error
    return None
