"""Starlette's (and FastAPI's) background tasks: ``BackgroundTasks.add_task``, ``background=BackgroundTask(...)``.

Both end in ``BackgroundTask.__call__``, which the response awaits after it was sent. While a test captures, that call
returns at once, so that the response ends without it, and the call is held as a separate task.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from .._asyncio.patching import patched
from .._introspect.unsupported_version import UnsupportedVersion
from .._introspect.untrusted import attribute
from .fastapi import request_of
from .origin import Origin

if TYPE_CHECKING:
    from starlette.background import BackgroundTask

    from .protocols import TaskSink

_CREATOR = "_pytest_background_tasks_creator"
_KNOWN = "0.49 and later"
_LOST = "its background tasks are not captured"


def _background_task() -> Any:
    """Return Starlette's class.

    Raises:
        UnsupportedVersion: if the class of this Starlette version is missing or has other parameters.
    """
    try:
        kind: Any = importlib.import_module("starlette.background").BackgroundTask
        has_parameters = {"func", "args", "kwargs"} <= set(inspect.signature(kind.__init__).parameters)
    except (ImportError, AttributeError, ValueError):
        has_parameters = False
    if not (has_parameters and inspect.iscoroutinefunction(kind.__call__)):
        raise UnsupportedVersion("starlette", _KNOWN, _LOST)
    return kind


@contextmanager
def patch_starlette(sink: "TaskSink") -> Iterator[None]:
    """Pass every Starlette background task to `sink` inside the block.

    Raises:
        UnsupportedVersion: if this version of Starlette is not supported.
    """
    kind = _background_task()

    def remembering(init: Callable[..., None]) -> Callable[..., None]:
        @wraps(init)
        def remembering_init(self: "BackgroundTask", *args: Any, **kwargs: Any) -> None:
            frame = sys._getframe(1)
            while (
                frame.f_back is not None and frame.f_code.co_name == "add_task"
            ):  # Starlette's, and FastAPI's around it
                frame = frame.f_back
            # Set on the object itself, because its class may be a dataclass: frozen and unhashable.
            object.__setattr__(self, _CREATOR, Origin(frame.f_code, frame.f_lasti))
            init(self, *args, **kwargs)

        return remembering_init

    def capturing(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        async def capturing_call(self: "BackgroundTask") -> None:
            request = request_of(sys._getframe())
            coroutine = call(self) if request is None else request.around(partial(call, self))
            origin = attribute(self, _CREATOR, Origin(None, 0))
            task = sink.hold_call(coroutine, origin, (self.func, self.args, dict(self.kwargs)))
            if task is None:
                coroutine.close()
                await call(self)
            elif request is not None:
                request.serve(task)

        return capturing_call

    with patched(kind, "__init__", remembering), patched(kind, "__call__", capturing):
        yield
