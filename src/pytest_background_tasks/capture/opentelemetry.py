"""OpenTelemetry's instrumentation of asyncio: it wraps each coroutine, and asks for the task in the program's place.

Names of it that are used here: the module, ``trace_coroutine`` and its ``coro``; and the module of wrapt, through which
it is called.
"""

from types import CoroutineType
from typing import Any

IN_BETWEEN = frozenset({"opentelemetry.instrumentation.asyncio", "wrapt.wrappers"})
"""The modules that stand between ``create_task`` and who called it."""


def traced(coroutine: Any) -> Any:
    """The program's coroutine inside `coroutine`, which has not started; or `coroutine`, if there is no other."""
    if type(coroutine) is not CoroutineType or coroutine.cr_code.co_name != "trace_coroutine":
        return coroutine  # asked for every task of a session
    frame = coroutine.cr_frame
    if frame is None or frame.f_globals.get("__name__") not in IN_BETWEEN:
        return coroutine
    return frame.f_locals.get("coro", coroutine)
