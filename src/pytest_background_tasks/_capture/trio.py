"""trio, which may run the test instead of asyncio."""

import asyncio
import sys

from ..errors import BackgroundTasksError


def is_running() -> bool:
    """Return True if the caller runs on trio."""
    trio = sys.modules.get("trio")
    if trio is None or asyncio._get_running_loop() is not None:
        return False
    try:
        trio.lowlevel.current_task()
    except (AttributeError, RuntimeError):  # a trio without `lowlevel`, before 0.16; or not running
        return False
    return True


def running_loop() -> asyncio.AbstractEventLoop:
    """Return ``asyncio.get_running_loop()``; on trio, raise an error that says why there is none."""
    __tracebackhide__ = True
    if is_running():
        raise BackgroundTasksError(
            "this test runs on trio, which has no asyncio event loop; run it on asyncio "
            "(with the anyio plugin, the fixture anyio_backend names the backend), or skip it on trio"
        )
    return asyncio.get_running_loop()
