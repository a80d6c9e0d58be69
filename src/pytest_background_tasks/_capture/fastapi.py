"""FastAPI's exit stacks of a request, which stay open for the held background tasks of the request.

FastAPI closes what a request has opened (dependencies with ``yield``, uploaded files) after the response has been sent
and its background tasks have run, since 0.118 (and up to 0.105). From 0.106 to 0.117, the stacks were closed before the
response was sent, so with these versions a background task never finds them open, held or not.

When a background task is held, the request ends without it. So the content of the stacks is moved out, and the last
held task of the request closes it; if all held tasks are forgotten, the content is closed then.

Private names used here: of FastAPI, the keys of ``scope`` that hold the stacks, and variables of the generators that it
wraps around those of the program (``cm``, ``cleanup_scope``); of Python, ``_exit_callbacks`` of a stack. If they are
not found, nothing is kept open.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import Context
from types import AsyncGeneratorType, FrameType
from typing import Any

from .._introspect.untrusted import add_note, attribute, owner_of, safe_repr, type_module, type_name
from .held_task import HeldTask

_STACKS = ("fastapi_inner_astack", "fastapi_middleware_astack", "fastapi_astack")  # in the order in which they close
_REQUEST = "pytest_background_tasks.request"

_CLOSED = (
    "the dependencies of its request, which are open in production, were closed when the task was held: one of them is "
    "inside a task group, which only the task of the request can leave"
)
_ELSEWHERE = (
    "in the exit code of a request's dependency, which ran after the last held background task of the request had "
    "ended, and not in the task of the request"
)


class Request:
    """The exit stacks of a request.

    Args:
        scope: the scope of the request, in whose task this object is created.
        stacks: the exit stacks, not moved yet.
    """

    def __init__(self, scope: dict[str, Any], stacks: list[AsyncExitStack]) -> None:
        self._scope = scope
        self._stacks = stacks
        self._is_movable = not any(map(_is_bound_to_its_task, stacks))
        self._users = 0
        self._error: BaseException | None = None
        self._closing: asyncio.Task[None] | None = None
        # In a copy of the context, a dependency could not reset its variables. CPython 3.11 does not show the context.
        task: Any = asyncio.current_task()
        self._context: Context | None = task.get_context() if hasattr(asyncio.Task, "get_context") else None

    def serve(self, task: HeldTask) -> None:
        """Keep the stacks open for `task`, which is held."""
        if _REQUEST not in self._scope:
            self._scope[_REQUEST] = self
            self._stacks = [_moved(stack) for stack in self._stacks] if self._is_movable else []
        self._users += 1
        task.on_drop = lambda: self._drop(task)

    async def around(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Make the call of a held task; the last one closes the stacks."""
        __tracebackhide__ = True
        try:
            await call()
        except BaseException as error:
            if not self._is_movable:
                add_note(error, _CLOSED)
            self._error = error if self._error is None else self._error
            await self._leave()
            raise
        await self._leave()

    async def _leave(self) -> None:
        __tracebackhide__ = True
        self._users -= 1
        if not self._users and self._stacks:
            await asyncio.Task(self._close(), context=self._context)  # created this way, it is never captured

    async def _close(self) -> None:
        __tracebackhide__ = True
        error = self._error
        for stack in self._stacks:
            try:
                await stack.__aexit__(None if error is None else type(error), error, attribute(error, "__traceback__"))
            except Exception as failure:
                if error is None:
                    add_note(failure, _ELSEWHERE)
                    raise
                if failure is not error:  # the exception of the task says more, and only one can be raised
                    add_note(error, f"the exit code of a dependency then raised {safe_repr(failure)}")

    def _drop(self, task: HeldTask) -> None:
        """Close the stacks for a task that never runs."""
        self._users -= 1
        loop = task.get_loop()
        if self._users or not self._stacks or loop.is_closed():
            return
        if loop.is_running():
            loop.call_soon_threadsafe(self._close_soon, loop)
        elif asyncio._get_running_loop() is None:
            try:
                loop.run_until_complete(self._close())
            except Exception as error:  # the other tasks have to be forgotten as well
                loop.call_exception_handler({"message": _ELSEWHERE, "exception": error})

    def _close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closing = asyncio.Task(self._close(), loop=loop, context=self._context)


def request_of(frame: FrameType | None) -> Request | None:
    """Return the request in which `frame` runs a background task; None if there is none, or its stacks are empty."""
    while frame is not None:
        scope = frame.f_locals.get("scope")
        if type(scope) is dict:
            if _REQUEST in scope:
                return scope[_REQUEST]  # type: ignore[no-any-return]
            stacks = [scope[name] for name in _STACKS if type(scope.get(name)) is AsyncExitStack]
            used = [stack for stack in stacks if attribute(stack, "_exit_callbacks")]
            return Request(scope, used) if used else None
        frame = frame.f_back
    return None


def _moved(stack: Any) -> AsyncExitStack:
    """Move everything out of `stack` except FastAPI's cancel scope, which only the task of the request can leave."""
    moved: Any = stack.pop_all()
    callbacks = list(moved._exit_callbacks)
    moved._exit_callbacks.clear()
    for each in callbacks:
        (stack if _is_of_task(owner_of(each[1])) else moved)._exit_callbacks.append(each)
    return moved  # type: ignore[no-any-return]


def _is_of_task(thing: object) -> bool:
    is_asynchronous = type_module(thing).partition(".")[0] in {"anyio", "asyncio"}
    return is_asynchronous and type_name(thing) in {"CancelScope", "TaskGroup"}


def _is_bound_to_its_task(stack: AsyncExitStack) -> bool:
    """Return True if a dependency in `stack` has entered a task group or a cancel scope, judging by its variables."""
    managers = [owner_of(callback) for _, callback in attribute(stack, "_exit_callbacks")]
    while managers:
        generator = attribute(managers.pop(), "gen")
        if type(generator) is AsyncGeneratorType and generator.ag_frame is not None:
            variables = generator.ag_frame.f_locals
            if any(_is_of_task(value) for name, value in variables.items() if name != "cleanup_scope"):
                return True
            if "cm" in variables:  # FastAPI wraps one generator in another
                managers.append(variables["cm"])
    return False
