"""A loop of asyncio's that is made in a fraction of the time, since an exploration makes thousands.

What asyncio gives every loop alike is an attribute of the class here; only what a loop fills or counts in is made anew,
and a weak set, which costs most and is seldom needed, when somebody asks for it. A Python whose loops have something
else makes them itself.

Private names of CPython used here: whatever ``BaseEventLoop.__init__`` sets, without knowing any by name.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any
from weakref import WeakSet

from ..named_as import named_as

_SHARED = (bool, int, float, tuple, type(None))
_ANEW = (deque, list)


@named_as(asyncio.SelectorEventLoop)
class BareLoop(asyncio.SelectorEventLoop):
    """To a program asyncio's usual loop; it has no selector, so only what every `BaseEventLoop` can works."""

    def __init__(self) -> None:
        for name, make in _OF_EACH:
            setattr(self, name, make())

    def __init_subclass__(cls) -> None:
        named_as(asyncio.SelectorEventLoop)(cls)

    def close(self) -> None:
        """As that of a `BaseEventLoop`: there is no selector to be closed."""
        asyncio.BaseEventLoop.close(self)


_OF_EACH: list[tuple[str, Callable[[], Any]]] = []


def _take_apart(loop: asyncio.BaseEventLoop) -> None:
    attributes = vars(loop).copy()
    loop.close()
    if not all(isinstance(value, (*_SHARED, *_ANEW, WeakSet)) for value in attributes.values()):
        BareLoop.__init__ = asyncio.BaseEventLoop.__init__  # type: ignore[method-assign]
        return
    for name, value in attributes.items():
        if isinstance(value, _SHARED):
            setattr(BareLoop, name, value)
        elif isinstance(value, WeakSet):
            when_needed: cached_property[WeakSet[Any]] = cached_property(lambda _: WeakSet())
            when_needed.__set_name__(BareLoop, name)
            setattr(BareLoop, name, when_needed)
        else:
            _OF_EACH.append((name, type(value)))


_take_apart(asyncio.BaseEventLoop())
