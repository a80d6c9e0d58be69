"""The waiters of a task or a future, read from its done callbacks.

``wait`` removes its callback when it gives up, and so does ``shield``. That of `gather` stays even if the first
exception has ended the waiting, and that of `as_completed` stays when its loop is left.

Private names of CPython used here: ``_getters`` of a queue, the code of ``sleep(0)``, the
names and variables of the callbacks in the table.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from .._introspect.internals import callbacks_of
from .._introspect.location import await_chain
from .._introspect.task_state import coroutine_of, is_task
from .._introspect.untrusted import attribute, module_name, owner_of, text_attribute

_WAITING_MODULES = {
    "asyncio.base_events",
    "asyncio.staggered",
    "asyncio.taskgroups",
    "asyncio.tasks",
    "anyio._backends._asyncio",
    "uvloop.loop",
}

_SLEEPS = (asyncio.sleep.__code__, asyncio.tasks.__sleep0.__code__)  # type: ignore[attr-defined]


def is_asleep(task: "asyncio.Task[Any]") -> bool:
    """Return True if `task` is suspended in ``asyncio.sleep``."""
    frames = list(await_chain(coroutine_of(task)))
    return bool(frames) and frames[-1].f_code in _SLEEPS


def is_waited_for(task: "asyncio.Task[Any]") -> bool:
    """Return True if its loop's runner, another task, or code that started it through anyio waits for `task`."""
    outermost = next(iter(await_chain(coroutine_of(task))), None)
    by_anyio = outermost is not None and str(outermost.f_globals.get("__name__", "")).startswith("anyio.")
    return by_anyio or any(waits(callback) for callback, _ in callbacks_of(task))


def waits(callback: Any) -> bool:
    """Return True if a done callback wakes a waiter: a task, a task group, a runner."""
    if type(callback) is FunctionType:  # the type of most waiters' callbacks
        module = callback.__module__
        return type(module) is str and module in _WAITING_MODULES
    while type(callback) is partial:
        callback = callback.func
    if is_task(owner_of(callback)):  # of an awaiting task; written in C, so without a module
        return text_attribute(callback, "__name__").endswith("wakeup")
    return module_name(callback) in _WAITING_MODULES


def has_waiter(future: Any) -> bool:
    """Return True if a task or a loop's runner waits for `future`, even through others, and has not given up."""
    return any(_is_waiter(callback) for callback, *_ in callbacks_of(future))


def _is_waiter(callback: Any) -> bool:
    while type(callback) is partial:
        callback = callback.func
    tell = _CALLBACKS.get(text_attribute(callback, "__qualname__"), waits)
    return waits(callback) and tell(callback)


def _waits_for_outer(callback: Any) -> bool:
    outer = _variables(callback).get("outer")
    return outer is not None and not outer.done() and has_waiter(outer)


def _waits_for_queue(callback: Any) -> bool:
    queue = _variables(callback).get("done") or callback.__self__._done
    return any(not getter.done() for getter in queue._getters)


def _waits_no_more(_: Any) -> bool:
    return False


def _variables(function: Any) -> dict[str, Any]:
    cells = attribute(function, "__closure__") or ()
    names = function.__code__.co_freevars if cells else ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}


_CALLBACKS: dict[str, Callable[[Any], bool]] = {
    "shield.<locals>._inner_done_callback": _waits_for_outer,
    "shield.<locals>._outer_done_callback": _waits_no_more,
    "shield.<locals>._clear_awaited_by_callback": _waits_no_more,
    "_log_on_exception": _waits_no_more,
    "gather.<locals>._done_callback": _waits_for_outer,
    "as_completed.<locals>._on_completion": _waits_for_queue,
    "_AsCompletedIterator._handle_completion": _waits_for_queue,
}
