"""OpenTelemetry's instrumentation of asyncio, which wraps each coroutine and creates the task for the program.

Its names that are used here: the module, ``trace_coroutine`` and its ``coro``; and the module of wrapt that calls it.
"""

from types import CoroutineType
from typing import Any

IN_BETWEEN = frozenset({"opentelemetry.instrumentation.asyncio", "wrapt.wrappers"})
"""The modules between ``create_task`` and its caller."""


def traced(coroutine: Any) -> Any:
    """Return the program's coroutine inside `coroutine`, which has not started; `coroutine` if it wraps none."""
    if type(coroutine) is not CoroutineType or coroutine.cr_code.co_name != "trace_coroutine":
        return coroutine  # the usual case: called for every task of a session
    frame = coroutine.cr_frame
    if frame is None or frame.f_globals.get("__name__") not in IN_BETWEEN:
        return coroutine
    return frame.f_locals.get("coro", coroutine)
