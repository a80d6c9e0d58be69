"""Forced ends of tasks, which may wait for themselves through others, refuse to end, or raise anything.

asyncio's ``cancel()`` forwards the request to the future that a task waits for. If tasks wait for each other in a
circle, that ends in a `RecursionError`. Here such a task is woken with the cancellation instead.

A coroutine that is being closed may catch even `GeneratorExit` and wait again. Python would report that as an
unraisable exception when the coroutine is destroyed, in whatever test that happens; and outside a loop, where each wait
fails at once, the coroutine may never return. So it is never destroyed.

Private name of CPython used here: ``_set_running_loop`` of asyncio.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import Any

from .._introspect.internals import awaited_by, callbacks_of, children_of, exception_of, never_report_as_destroyed
from .._introspect.location import await_links

PATIENCE = 1.0
"""Seconds that a cancelled task gets to end after its test."""

_CLOSINGS = 10  # how often a coroutine may wait again while it is being closed

_RUN_CALLBACKS = {"_run", "_run_handles"}  # methods of asyncio's handles, and of the loop of an exploration

_never_destroyed: list[object] = []


def circle_from(task: Any) -> list[Any]:
    """Return the circle of tasks that a cancellation of `task` would follow endlessly; empty if there is none."""
    path = [task]
    places = {id(task): 0}  # also has futures that are no longer on the path
    branches = [iter(_cancelled_with(task))]
    while branches:
        current = next(branches[-1], None)
        if current is None:
            branches.pop()
            path.pop()
        elif (place := places.get(id(current))) is None:
            places[id(current)] = len(path)
            path.append(current)
            branches.append(iter(_cancelled_with(current)))
        elif place < len(path) and path[place] is current:
            return [each for each in path[place:] if isinstance(each, asyncio.Task)]
    return []


def _cancelled_with(future: Any) -> list[Any]:
    """Return the pending futures to which ``future.cancel()`` forwards the request."""
    futures = [awaited_by(future)] if isinstance(future, asyncio.Task) else children_of(future) or []
    return [each for each in futures if each is not None and not asyncio.Future.done(each)]


def cancel_surely(task: "asyncio.Task[Any]", message: str | None = None) -> None:
    """Cancel `task`, even if asyncio cannot cancel it because it waits for itself."""
    if circle_from(task):
        cancelled: asyncio.Future[Any] = task.get_loop().create_future()
        cancelled.cancel(message)
        wake(task, cancelled)
    else:
        with suppress(Exception):  # raised by the program's task class, or by Python for a long chain of tasks
            task.cancel(message)


def wake(task: Any, future: "asyncio.Future[Any]") -> None:
    """Resume `task` with the outcome of `future`, which is done, as if the task had waited for it."""
    loop, waits_for = task.get_loop(), awaited_by(task)
    for callback, context in list(callbacks_of(waits_for)):
        if getattr(callback, "__self__", None) is task:
            waits_for.remove_done_callback(callback)
            loop.call_soon(callback, future, context=context)


def close(task: "asyncio.Task[Any]") -> None:
    """Close the coroutine of a pending `task`. Must run in the thread of its loop, while the loop is not running."""
    never_report_as_destroyed(task)
    links = list(await_links(task.get_coro()))
    with _in_loop(task.get_loop()):
        for _ in range(_CLOSINGS):
            with suppress(BaseException):
                links[0].close()
            suspended = [link for link in links if _is_suspended(link)]
            if not suspended:
                return
    for link in suspended:
        _never_destroy(link)


@contextmanager
def _in_loop(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let code wait outside a task; otherwise it might retry endlessly, and get an error each time."""
    before = asyncio._get_running_loop()
    living = asyncio.new_event_loop() if loop.is_closed() else loop
    asyncio._set_running_loop(living)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)
        if living is not loop:
            living.close()


def _is_suspended(link: Any) -> bool:
    return any(getattr(link, name, None) is not None for name in ("cr_frame", "gi_frame", "ag_frame"))


def _never_destroy(coroutine: object) -> None:
    """Keep `coroutine` alive, even when the interpreter exits and clears all modules."""
    _never_destroyed.append(coroutine)
    with suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))


def run_past_exits(run: Callable[[], object], is_over: Callable[[], bool], tasks: Collection[Any]) -> None:
    """Call `run`, which runs a loop, until `is_over`, even if one of `tasks` or a callback raises `SystemExit`.

    asyncio stops a loop in which `SystemExit` or `KeyboardInterrupt` is raised. A Ctrl-C that reaches the loop itself
    is raised.
    """
    while not is_over():
        try:
            run()
        except (KeyboardInterrupt, SystemExit) as error:
            if not any(exception_of(task) is error for task in tasks) and not _is_of_callback(error):
                raise


def drain(waiting: Coroutine[Any, Any, object], loop: asyncio.AbstractEventLoop, tasks: Collection[Any]) -> None:
    """Run `loop` until `waiting`, which waits for `tasks`, has ended, whatever the tasks do to the loop meanwhile."""
    waiter = loop.create_task(waiting)

    def run() -> None:
        try:
            loop.run_until_complete(waiter)
        except asyncio.CancelledError:  # raised if `tasks` have cancelled all tasks
            assert waiter.done()
        except RuntimeError:  # raised if `tasks` have stopped the loop
            if loop.is_closed() or loop.is_running():
                raise

    run_past_exits(run, waiter.done, tasks)


def _is_of_callback(error: BaseException) -> bool:
    codes = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    return any(code.co_name in _RUN_CALLBACKS for code in codes[:-1])
