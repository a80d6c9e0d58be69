"""The patches by which the monitor observes loops and runners.

Every task is created through ``create_task`` of its loop's class (see ``_capture/patches.py``), and asyncio reports a
lost task to ``call_exception_handler`` of that class, at whatever moment the garbage collector chooses.

Private names of CPython used here: ``asyncio.runners._cancel_all_tasks``, which is replaced, and ``_source_traceback``
of a task, which is changed.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import Any, Protocol

from .._asyncio.forced_end import cancel_surely, circle_from
from .._capture.held_task import HeldTask
from .._capture.origin import transparent_frame
from .._introspect.untrusted import module_name
from .._util import patched


class Monitor(Protocol):
    """The part of the monitor that the patches call."""

    def on_created(self, loop: asyncio.AbstractEventLoop, task: Any, coroutine: Any, frame: FrameType) -> None:
        """Record `task`, which has just been created in `frame`."""

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> bool:
        """Return True if the exception handler would have been called without the monitor."""

    def before_cancel_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the tasks on `loop`, before a runner cancels them."""


@contextmanager
def observing_loops(monitor: Monitor, loop_class: Any) -> Iterator[None]:
    """Tell `monitor` inside the block of the tasks and errors of all loops of `loop_class`."""
    with (
        patched(loop_class, "create_task", _observing_creation(monitor)),
        patched(loop_class, "call_exception_handler", _observing_exceptions(monitor)),
    ):
        yield


@contextmanager
def observing_runners(monitor: Monitor) -> Iterator[None]:
    """Tell `monitor` inside the block when a runner is about to cancel the remaining tasks."""
    with patched(asyncio.runners, "_cancel_all_tasks", _observing_cancel_all(monitor)):
        yield


def _observing_creation(monitor: Monitor) -> Callable[[Any], Any]:
    def wrapper(create_task: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(create_task)
        @transparent_frame
        def observing_create_task(self: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
            task = create_task(self, coro, **kwargs)
            if frames := getattr(task, "_source_traceback", None):  # in debug mode
                _leave_out_this_file(frames)
            monitor.on_created(self, task, coro, sys._getframe(1))
            return task

        return observing_create_task

    return wrapper


def _leave_out_this_file(frames: Any) -> None:
    if frames[-1].filename == __file__:  # comes last if the program has a task factory
        del frames[-1]


def _observing_exceptions(monitor: Monitor) -> Callable[[Any], Any]:
    def wrapper(call_exception_handler: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call_exception_handler)
        def observing_call_exception_handler(self: asyncio.AbstractEventLoop, context: dict[str, Any]) -> Any:
            return call_exception_handler(self, context) if monitor.on_exception(self, context) else None

        return observing_call_exception_handler

    return wrapper


def _observing_cancel_all(monitor: Monitor) -> Callable[[Any], Any]:
    def wrapper(cancel_all_tasks: Callable[..., Any]) -> Callable[..., Any]:
        is_asyncios_own = module_name(cancel_all_tasks) == "asyncio.runners"

        @wraps(cancel_all_tasks)
        def observing_cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> Any:
            monitor.before_cancel_all(loop)
            tasks = asyncio.all_tasks(loop)
            if not tasks and is_asyncios_own:
                return None  # it would only look for tasks again, and return
            _end_captured_circles(tasks, loop)
            return cancel_all_tasks(loop)

        return observing_cancel_all_tasks

    return wrapper


def _end_captured_circles(tasks: Iterable[Any], loop: asyncio.AbstractEventLoop) -> None:
    """Cancel captured tasks that wait for each other, since the runner would fail with a `RecursionError`."""
    captured = [task for task in tasks if isinstance(task, HeldTask) and task in circle_from(task)]
    for task in captured:
        cancel_surely(task)
    if captured:
        loop.run_until_complete(asyncio.sleep(0))
