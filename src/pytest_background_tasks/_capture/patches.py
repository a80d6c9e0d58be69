"""Patches of every way to create a task while a test is capturing.

Two class attributes see every way: ``asyncio.BaseEventLoop.create_task``, and that of uvloop. All functions that create
tasks end there, however they were imported, on any loop in any thread, and the loop's task factory is not affected.
(A patch of ``asyncio.create_task`` would miss from-imports, a task factory would miss other threads.)

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

from .._introspect.unsupported_version import UnsupportedVersion, remember
from .._util import patched
from . import trio
from .origin import transparent_frame
from .protocols import TaskSink


@contextmanager
def patch_task_creation(sink: TaskSink) -> Iterator[None]:
    """Patch every way to create a task inside the block: `sink` receives all tasks."""
    with ExitStack() as stack:
        stack.enter_context(patched(asyncio.BaseEventLoop, "create_task", _intercept(sink)))
        stack.enter_context(patched(asyncio.events, "get_running_loop", _running_loop_or(sink)))
        uvloop: Any = installed("uvloop")
        if hasattr(uvloop, "Loop"):
            stack.enter_context(patched(uvloop.Loop, "create_task", _intercept(sink)))
        is_used = "starlette" in sys.modules
        if installed("starlette"):
            from .starlette import patch_starlette

            try:
                stack.enter_context(patch_starlette(sink))
            except UnsupportedVersion as unfit:
                if is_used:
                    remember(unfit)
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


def _intercept(sink: TaskSink) -> Callable[[Any], Any]:
    def wrapper(create_task: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(create_task)
        @transparent_frame
        def taking_create_task(self: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
            task = sink.hold_or_pass(self, coro, kwargs, sys._getframe(1))
            return create_task(self, coro, **kwargs) if task is None else task

        return taking_create_task

    return wrapper


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
