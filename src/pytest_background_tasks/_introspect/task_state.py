"""The state of a task of the program, read through asyncio's own classes.

A program may use a task class of its own (``loop.set_task_factory``), whose methods may do anything; the methods of
asyncio's classes are called instead. The state of an object whose type is not a task class cannot be known.

A private name of CPython used here: ``_PyTask``, the task class without C.
"""

import asyncio
from typing import Any

from .internals import running_coroutine_of

_PyTask: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]


def is_task(thing: object) -> bool:
    """Return True if the type of `thing` is a task class."""
    return type(thing) is asyncio.Task or issubclass(type(thing), (asyncio.Task, _PyTask))


def coroutine_of(task: Any) -> Any:
    """Return the coroutine of `task`, or None."""
    return running_coroutine_of(task) if is_task(task) else None


def name_of(task: Any) -> str:
    """Return the name of `task`; empty if it is "None", as CPython 3.13.0 names the tasks of a task factory."""
    name = _class_of(task).get_name(task) if is_task(task) else ""
    return "" if name == "None" else name


def loop_of(task: Any) -> asyncio.AbstractEventLoop:
    """Return the loop of `task`."""
    loop: asyncio.AbstractEventLoop = _class_of(task).get_loop(task)
    return loop


def is_done(task: Any) -> bool:
    """Return True if `task` has ended."""
    return task.done() if type(task) is asyncio.Task else bool(_class_of(task).done(task))


def is_pending_uncancelled(task: Any) -> bool:
    """Return True if `task` is pending, and its cancellation was not requested."""
    return not is_done(task) and not _class_of(task).cancelling(task)


def _class_of(task: Any) -> Any:
    is_asyncios = type(task) is asyncio.Task or issubclass(type(task), asyncio.Task)
    return asyncio.Task if is_asyncios else _PyTask
