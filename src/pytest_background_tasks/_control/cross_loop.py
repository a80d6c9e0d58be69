"""Running a coroutine on a given loop, from inside that loop, another one, or none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from .._capture.trio import running_loop
from .._introspect.internals import never_report_as_destroyed
from ..errors import BackgroundTasksError
from .nested_loop import Drive, nested, no_running_loop

_POLL_INTERVAL = 0.05  # seconds between two checks of a loop in another thread, which may be closed without notice

T = TypeVar("T")
Make: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
_Loop: TypeAlias = asyncio.AbstractEventLoop


async def on_loop_async(loop: _Loop, make: Make[T]) -> T:
    """Run the coroutine that `make` returns on `loop`, which must not be closed, and return its result."""
    __tracebackhide__ = True
    home = running_loop()
    if loop is home:
        return await make()
    if loop.is_running():
        return await home.run_in_executor(None, _on_running_loop, loop, make)
    return _on_idle_loop(loop, make)


def on_loop_sync(loop: _Loop, make: Make[T]) -> T:
    """Do the same from a synchronous call. If `loop` is the caller, it must be one that can be run from inside."""
    __tracebackhide__ = True
    if loop is asyncio._get_running_loop():
        with nested(loop) as drive:
            return driven(drive, loop, make)
    return _on_running_loop(loop, make) if loop.is_running() else _on_idle_loop(loop, make)


def driven(drive: Drive, loop: _Loop, make: Make[T]) -> T:
    """Do the same inside `loop`, which `drive` runs."""
    __tracebackhide__ = True
    task = asyncio.Task(make(), loop=loop)
    drive(task.done, None)
    return task.result()


def _on_idle_loop(loop: _Loop, make: Make[T]) -> T:
    __tracebackhide__ = True
    with no_running_loop():
        return loop.run_until_complete(make())


def _on_running_loop(loop: _Loop, make: Make[T]) -> T:
    __tracebackhide__ = True
    ended = threading.Event()
    tasks: list[asyncio.Task[T]] = []

    def start() -> None:
        tasks.append(asyncio.Task(make(), loop=loop))  # a task that is created this way is never captured
        tasks[0].add_done_callback(lambda _: ended.set())

    loop.call_soon_threadsafe(start)
    while not ended.wait(_POLL_INTERVAL) and loop.is_running():
        pass
    if not ended.is_set() or tasks[0].cancelled():
        for task in tasks:
            never_report_as_destroyed(task)
            task.get_coro().close()  # it may not have begun
        raise BackgroundTasksError(
            "the event loop of another thread ended while this call waited for a task on it; "
            "keep that thread running until the call has returned"
        )
    return tasks[0].result()
