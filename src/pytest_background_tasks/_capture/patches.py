"""The patches that a test needs while it captures, besides the events of its loops.

A private name of CPython is replaced here: ``asyncio.events.get_running_loop``, for `def` tests.
"""

import asyncio
import importlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

from .._asyncio.patching import patched
from .._introspect.unsupported_version import UnsupportedVersion, remember
from . import trio
from .protocols import TaskSink


@contextmanager
def capture_patches(sink: TaskSink) -> Iterator[None]:
    """Let a `def` test create tasks inside the block, and pass Starlette's background tasks to `sink`."""
    with ExitStack() as stack:
        stack.enter_context(patched(asyncio.events, "get_running_loop", _running_loop_or(sink)))
        is_used = "starlette" in sys.modules
        if installed("starlette"):
            from .starlette import patch_starlette

            try:
                stack.enter_context(patch_starlette(sink))
            except UnsupportedVersion as error:
                if is_used:
                    remember(error)
        yield


def installed(name: str) -> ModuleType | None:
    """Return the module `name` if it can be imported, now, because the code under test may import it later."""
    if name in sys.modules:
        return sys.modules[name]
    if importlib.util.find_spec(name) is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings at the import of a library do not concern this test
        try:
            return importlib.import_module(name)
        except Exception:  # a broken installation of something that the project may not even use
            return None


def _running_loop_or(sink: TaskSink) -> Callable[[Any], Any]:
    create_task = asyncio.create_task.__code__

    def wrapper(get_running_loop: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
        @wraps(get_running_loop)
        def running_loop_or_for_def_test() -> asyncio.AbstractEventLoop:
            loop = asyncio._get_running_loop()
            if loop is not None:
                return loop
            # Only in the test's own thread: in production, a worker thread raises, so it has to raise here as well;
            # so does trio.
            is_direct = sys._getframe(1).f_code is create_task and threading.get_ident() == sink.thread
            if is_direct and not trio.is_running():
                return sink.loop_for_def_test()
            return get_running_loop()

        return running_loop_or_for_def_test

    return wrapper
