"""Callbacks of asyncio that stand for a waiter, and whether that has given up.

``wait`` and ``shield`` remove their callbacks when they give up; ``gather`` and ``as_completed`` leave them behind.

Private names of CPython used here: the variables ``outer`` and ``done`` of the callbacks of ``gather``, ``shield`` and
``as_completed``, ``_done`` of the iterator that `as_completed` is since 3.13, and ``_getters`` of a queue.
"""

import asyncio
from types import FunctionType
from typing import Any

from ..untrusted import attribute, owner_of


def has_given_up(callback: Any) -> bool:
    """Tell whether a callback of asyncio belongs to a ``gather`` that is done, or an ``as_completed`` left unread."""
    variables = _variables_of(callback)
    outer: Any = variables.get("outer")
    if issubclass(type(outer), asyncio.Future):
        return bool(outer.done())
    queue: Any = variables.get("done", attribute(owner_of(callback), "_done"))
    return issubclass(type(queue), asyncio.Queue) and not queue._getters


def _variables_of(callback: Any) -> dict[str, Any]:
    if type(callback) is not FunctionType:
        return {}
    cells = zip(callback.__code__.co_freevars, callback.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if name in {"outer", "done"}}
