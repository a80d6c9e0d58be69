"""Arrivals: the handles of the loop that an external event made ready, and that may therefore be delayed.

Steps that merely follow from the program's own logic are not arrivals.

Private names of CPython used here: the attributes of a handle, the names of the callbacks that resume a task,
``_set_result_unless_cancelled``, the callback that ends `asyncio.sleep`, ``_exception`` of a future, and
``_must_cancel`` of a task.
"""

import asyncio
from asyncio.futures import _set_result_unless_cancelled  # type: ignore[attr-defined]
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from types import BuiltinMethodType, CodeType, CoroutineType, GeneratorType
from typing import Any

from .._asyncio.handles import QuickTimer
from .._asyncio.stand_ins import named_as
from .answer import KIND_OF_ANSWER
from .schedule import NetworkFault
from .task_names import TaskIdentity

ends_sleep: Callable[..., None] = _set_result_unless_cancelled


class _Answering:
    """A handle that may resume a suspended task."""

    __slots__ = ()

    _callback: Any
    _args: Any

    def fail(self, error: BaseException) -> None:
        """Deliver `error` instead of the result, if a task is waiting for it."""
        if self._callback in (ends_sleep, settle):
            self._callback, self._args = settle, (self._args[0], None, error)

    def inject(self, fault: NetworkFault) -> bool:  # noqa: ARG002  # for arrivals of the network
        """Let a fault of the network take place instead; return False if it cannot."""
        return False


@named_as(asyncio.TimerHandle)
class Arrival(_Answering, QuickTimer):
    """A handle that is itself an arrival: a timer or the result of a thread.

    Args:
        who: the task that it makes ready, or the name of the arrival itself.
        number: the step that it makes ready.
        kind: the kind of arrival; None for a handle that the explorer itself inserts.
        when: virtual time, in seconds.
        callback, args, loop, context: as in asyncio.

    Attributes:
        asked_behind: for the result of a thread, the handle that it always comes behind: the previous call by the
            same function, or the last handle in the queue when the function was sent to the thread.
        span: for the end of a sleep in a fake of the test, the time that it may take; else None.
        is_of_test: True if the test itself has set this timer, in a suite.
    """

    __slots__ = ("asked_behind", "is_of_test", "kind", "number", "span", "who")

    asked_behind: asyncio.Handle | None

    def __init__(
        self,
        who: str,
        number: int,
        kind: str | None,
        when: float,
        callback: Any,
        args: Any,
        loop: Any,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.who: str = who
        self.number: int = number
        self.kind: str | None = kind
        self.span: Any = None
        self.is_of_test: bool = False


@named_as(getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle))
class ThreadCall(_Answering, asyncio.Handle):
    """An arrival that the program itself makes with ``call_soon_threadsafe``; asyncio gives it no time.

    Args:
        who: the name of the arrival.
        rest: callback, args, loop and context.

    Attributes:
        asked_behind: as in `Arrival`.
    """

    __slots__ = ("asked_behind", "kind", "number", "who")

    asked_behind: asyncio.Handle | None

    def __init__(self, who: str, *rest: Any) -> None:
        super().__init__(*rest)
        self.who: str = who
        self.number: int = 0
        self.kind: str | None = "thread"


ARRIVALS: set[type[asyncio.Handle]] = {Arrival, ThreadCall}
"""The types of handles that are themselves arrivals."""


def settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    """Complete `future` with a result or an error, unless it is done."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _callback_of_a_start() -> type:
    """Return the unnamed type of the callback that starts a task or resumes it after a bare yield."""
    seen: list[object] = []

    class Loop(asyncio.AbstractEventLoop):
        def call_soon(self, callback: Callable[..., object], *_: object, context: Context | None = None) -> Any:  # noqa: ARG002
            seen.append(callback)

        def get_debug(self) -> bool:
            return False

    async def nothing() -> None: ...

    coroutine = nothing()
    task = asyncio.Task(coroutine, loop=Loop())  # type: ignore[abstract]
    coroutine.close()
    asyncio.tasks._unregister_task(task)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return type(seen[0])


StepCallback: type = _callback_of_a_start()


def stepping_task(callback: Any) -> Any:
    """Return the task whose next step is `callback`, else None."""
    kind = type(callback)
    if kind is StepCallback or (kind is BuiltinMethodType and callback.__name__ == "task_wakeup"):
        return callback.__self__
    return None


def delivered(task: Any, actor: TaskIdentity, arguments: tuple[Any, ...]) -> str:
    """Return what a task receives when it resumes: ``value``, ``cancelled`` or the name of an error's class."""
    if task._must_cancel:
        return "cancelled"
    if actor.error is not None:
        return type(actor.error).__name__
    for future in arguments:
        if future.cancelled():
            return "cancelled"
        if future._exception is not None:
            return type(future._exception).__name__
    return "value"


def kind_of_step(
    actor: TaskIdentity,
    task: Any,
    is_plain: bool,
    arrivals: frozenset[str],
    is_project: Mapping[str, bool],
    scenario: TaskIdentity,
) -> str | None:
    """Return the kind of arrival that makes a step of a task ready; None if it is not one of `arrivals`.

    `is_plain`: the step is the first, or follows a bare yield.
    """
    if is_plain:
        kind = "start" if actor.creator is scenario else None
        if actor.step:
            kind = kind_of_yield(task.get_coro(), is_project)
        if kind in arrivals:
            return kind
    return "any" if "any" in arrivals and actor.answered != actor.step else None


def kind_of_yield(coroutine: Any, is_project: Mapping[str, bool]) -> str | None:
    """Return the kind of arrival that a bare yield stands for, judged by the function that yields; else None.

    ``asyncio.sleep(0)``, and anyio's ``sleep(0)`` and ``checkpoint()``, are attributed to their caller.
    """
    who: CodeType | None = None
    while coroutine is not None:
        kind = type(coroutine)
        if kind is CoroutineType:
            code, coroutine = coroutine.cr_code, coroutine.cr_await
        elif kind is GeneratorType:
            code, coroutine = coroutine.gi_code, coroutine.gi_yieldfrom
        else:
            break
        if code.co_name not in _PASSED_OVER or is_project[code.co_filename]:
            who = code
    if who is None:
        return None
    return KIND_OF_ANSWER.get(who) or ("yield" if is_project[who.co_filename] else None)


_PASSED_OVER = ("sleep", "__sleep0", "checkpoint")


def label_of(callback: Any) -> str:
    """Return the name of a callback in a trace, for callbacks that are not a step of a task."""
    while isinstance(callback, partial):
        callback = callback.func
    return getattr(callback, "__qualname__", None) or type(callback).__name__
