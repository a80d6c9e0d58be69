"""Owners: objects that refer to a task, in an attribute, a list, or the variables of a suspended coroutine.

A task that a test starts on the server of a wider fixture belongs to the server if the server refers to it.
"""

import asyncio
import gc
from types import FrameType, ModuleType
from typing import Any

from .._introspect.untrusted import type_module

_FAR = 20_000  # objects; an owner of more than that refers to everything, presumably to the task as well


def is_reachable(holder: object, task: object) -> bool:
    """Return True if `task` can be reached from `holder` through strong references.

    Event loops, modules, classes and objects of pytest are skipped, because they lead everywhere.
    """
    seen: set[int] = set()
    frontier = [holder]
    while frontier and len(seen) < _FAR:
        current = frontier.pop()
        if current is task:
            return True
        if id(current) not in seen and not _is_hub(current):
            seen.add(id(current))
            frontier += gc.get_referents(current)
    return bool(frontier)


def _is_hub(thing: Any) -> bool:
    if issubclass(type(thing), (ModuleType, type, FrameType, asyncio.AbstractEventLoop)):
        return True
    if type(thing) is dict:
        return "__builtins__" in thing and "__name__" in thing  # the variables of a module
    return type_module(thing).partition(".")[0] in {"_pytest", "pluggy"}
