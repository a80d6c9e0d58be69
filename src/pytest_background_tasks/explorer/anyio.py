"""anyio on an explored loop: what it sends to worker threads of its own goes through the loop; its sets keep an order.

FastAPI's and Starlette's ``def`` endpoints are such calls. Replaces ``run_sync_in_worker_thread`` of anyio's asyncio
backend, which is where all of them end.

anyio goes through sets of cancel scopes and events, which hash by address, to cancel and to wake. Replaces ``set`` in
its modules.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, MutableSet
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import anyio._backends._asyncio
import anyio.streams.memory
from anyio._backends._asyncio import AsyncIOBackend

from .loop import PlayedLoop

_T = TypeVar("_T")

MODULES = (anyio._backends._asyncio, anyio.streams.memory)
"""Those whose sets are gone through."""


class SetInOrder(MutableSet[_T]):
    """A set that is gone through in the order in which its items were added."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[_T] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[_T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: _T) -> None:
        """As that of a set."""
        self._items[item] = None

    def discard(self, item: _T) -> None:
        """As that of a set."""
        self._items.pop(item, None)

    def copy(self) -> "SetInOrder[_T]":
        """As that of a set."""
        return SetInOrder(self._items)


@contextmanager
def threads_through_loop() -> Iterator[None]:
    """Until left, calls on an explored loop run in its helper thread; on other loops as ever."""
    original = vars(AsyncIOBackend)["run_sync_in_worker_thread"]
    as_ever = AsyncIOBackend.run_sync_in_worker_thread

    async def run_sync_in_worker_thread(
        cls: type[AsyncIOBackend],
        func: Callable[..., Any],
        args: tuple[Any, ...],
        abandon_on_cancel: bool = False,
        limiter: Any = None,
    ) -> Any:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, PlayedLoop):
            return await as_ever(func, args, abandon_on_cancel, limiter)
        await cls.checkpoint()
        async with limiter or cls.current_default_thread_limiter():
            return await loop.run_in_executor(None, partial(copy_context().run, func, *args))

    AsyncIOBackend.run_sync_in_worker_thread = classmethod(run_sync_in_worker_thread)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        AsyncIOBackend.run_sync_in_worker_thread = original  # type: ignore[method-assign]
