"""Running a coroutine on a certain loop, from wherever we are: in that loop, in another one, or in none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from .nested import inside, no_running_loop

_GLANCE = 0.05  # seconds between two looks at a loop in another thread, which may be closed without a word

T = TypeVar("T")
Make: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
_Loop: TypeAlias = asyncio.AbstractEventLoop


async def on_loop_async(loop: _Loop, make: Make[T]) -> T:
    """What the coroutine that `make` makes returns when run on `loop`, which is not closed."""
    __tracebackhide__ = True
    home = asyncio.get_running_loop()
    if loop is home:
        return await make()
    if loop.is_running():
        return await home.run_in_executor(None, _on_running_loop, loop, make)
    return _on_idle_loop(loop, make)


def on_loop_sync(loop: _Loop, make: Make[T]) -> T | None:
    """The same from a synchronous call; None if `loop` has called us and cannot be run from inside (uvloop)."""
    __tracebackhide__ = True
    if loop is asyncio._get_running_loop():
        with inside(loop) as drive:
            task = asyncio.Task(make(), loop=loop)
            if not drive(task.done, None):
                task.cancel()
                return None
        return task.result()
    return _on_running_loop(loop, make) if loop.is_running() else _on_idle_loop(loop, make)


def _on_idle_loop(loop: _Loop, make: Make[T]) -> T:
    __tracebackhide__ = True
    with no_running_loop():
        return loop.run_until_complete(make())


def _on_running_loop(loop: _Loop, make: Make[T]) -> T:
    __tracebackhide__ = True
    answer: Future[T] = Future()
    ended = threading.Event()

    def start() -> None:  # a task made so is nobody's to capture
        asyncio.Task(make(), loop=loop).add_done_callback(take)

    def take(task: "asyncio.Task[T]") -> None:
        if task.cancelled():
            answer.cancel()
        elif (error := task.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(task.result())
        ended.set()

    loop.call_soon_threadsafe(start)
    while not ended.wait(_GLANCE) and loop.is_running():
        pass
    return answer.result(0)
