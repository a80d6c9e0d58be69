"""The state of a task of the program, read through asyncio's own classes.

A program may make its tasks of a class of its own (``loop.set_task_factory``), whose methods do what it likes: the
methods of asyncio's classes are called past them. What is no task by its type has no state that could be known.

A private name of CPython used here: ``_PyTask``, the task class without C.
"""

import asyncio
from typing import Any

from .untrusted import attribute

_PyTask: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]


def is_task(thing: object) -> bool:
    """Tell whether `thing` is a task by its type."""
    return type(thing) is asyncio.Task or issubclass(type(thing), (asyncio.Task, _PyTask))


def coroutine_of(task: Any) -> Any:
    """Return its coroutine, or None. ``get_coro()`` of an eager task that is over crashes CPython 3.12.1."""
    return attribute(task, "_coro") if is_task(task) else None


def name_of(task: Any) -> str:
    """Return its name; empty if it is called None, as CPython 3.13.0 calls what a program's task factory makes."""
    name = _class_of(task).get_name(task) if is_task(task) else ""
    return "" if name == "None" else name


def loop_of(task: Any) -> asyncio.AbstractEventLoop:
    """Return its loop."""
    loop: asyncio.AbstractEventLoop = _class_of(task).get_loop(task)
    return loop


def is_done(task: Any) -> bool:
    """Tell whether it has ended."""
    return task.done() if type(task) is asyncio.Task else bool(_class_of(task).done(task))


def is_left_alone(task: Any) -> bool:
    """Tell whether it goes on, and nobody has asked it to end."""
    return not is_done(task) and not _class_of(task).cancelling(task)


def _class_of(task: Any) -> Any:
    is_usual = type(task) is asyncio.Task or issubclass(type(task), asyncio.Task)
    return asyncio.Task if is_usual else _PyTask
