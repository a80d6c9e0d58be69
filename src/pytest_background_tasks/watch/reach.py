"""Whether an object keeps a task: as an attribute, in a list, in the variables of a suspended coroutine.

What a test starts on a server that a wider fixture made is the server's, if the server holds it.
"""

import asyncio
import gc
from types import FrameType, ModuleType
from typing import Any

from ..untrusted import type_module

_FAR = 20_000  # objects; what keeps more than that keeps everything, and is believed to keep the task too


def keeps(holder: object, task: object) -> bool:
    """Whether `task` can be reached from `holder` through strong references.

    Not through an event loop, a module, a class or pytest: those lead everywhere.
    """
    seen: set[int] = set()
    frontier = [holder]
    while frontier and len(seen) < _FAR:
        current = frontier.pop()
        if current is task:
            return True
        if id(current) not in seen and not _leads_everywhere(current):
            seen.add(id(current))
            frontier += gc.get_referents(current)
    return bool(frontier)


def _leads_everywhere(thing: Any) -> bool:
    if issubclass(type(thing), (ModuleType, type, FrameType, asyncio.AbstractEventLoop)):
        return True
    if type(thing) is dict:
        return "__builtins__" in thing and "__name__" in thing  # the variables of a module
    return type_module(thing).partition(".")[0] in {"_pytest", "pluggy"}
