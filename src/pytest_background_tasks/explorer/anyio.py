"""anyio on an explored loop: what it sends to worker threads of its own goes through the loop.

FastAPI's and Starlette's ``def`` endpoints are such calls. Replaces ``run_sync_in_worker_thread`` of anyio's asyncio
backend, which is where all of them end.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

from anyio._backends._asyncio import AsyncIOBackend

from .loop import PlayedLoop


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
