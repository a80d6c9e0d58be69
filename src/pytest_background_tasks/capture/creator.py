"""Who creates a task: code that goes on without it, or something that waits for it.

Decided from the immediate caller alone. asyncio's task groups, ``gather``, its runners and servers, and everything in
anyio wait for what they start, so their tasks are not background tasks.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from inspect import CO_COROUTINE
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeVar

from ..sites import Site, definition, site_at
from .call import Call, code_of, is_mock_coroutine
from .opentelemetry import IN_BETWEEN, traced

_Function = TypeVar("_Function", bound=Callable[..., Any])

_CREATE_TASK = asyncio.create_task.__code__
_ENSURE_FUTURE = asyncio.ensure_future.__code__
_FROM_THREAD = "run_coroutine_threadsafe.<locals>.callback"

# Functions that create a task for whoever calls them. By id: a code object's own hash reads all of its code. Each code
# is kept here, so that its id stays its own.
_ON_BEHALF = {
    id(function.__code__): function.__code__
    for function in (getattr(asyncio.tasks, name, None) for name in ("create_task", "ensure_future", "_ensure_future"))
    if function is not None
}

# Where the loop calls a callback from. uvloop is written in C and leaves no frame: there the caller is what runs the
# loop, in one of these modules or in other code that names one of the methods.
_RUNNING_METHODS = frozenset({"run_forever", "run_until_complete"})
_LOOP_MODULES = {"asyncio.base_events", "asyncio.events", "asyncio.runners", "anyio._backends._asyncio"}

# Functions of asyncio that start tasks for a waiter, and do not cancel them when the waiter gives up.
_MAY_BE_OUTLIVED = {
    "shield": "shield",
    "gather": "gather",
    "as_completed": "as_completed",
    "_AsCompletedIterator": "as_completed",
}
_STARTING: dict[int, tuple[str, CodeType]] = {}  # which of them a code is of, by id, as above
_BEFORE_CALLER = ("asyncio.tasks", *IN_BETWEEN)

_NAME_IS_SET_LATER = sys.version_info < (3, 13)


class Creator(NamedTuple):
    """The code that asked for a task.

    Attributes:
        code: its code, or None if the loop was handed the call (``loop.call_soon(asyncio.create_task, job())``,
            ``run_coroutine_threadsafe``), so that no line of it is left to be seen.
        instruction: the offset in the code, ``f_lasti``.
        caller: the project's code that called it, if it is a plain function: one that starts tasks for others.
        call: the offset in that.
        waits: whether it waits for what it starts, itself or by `through`.
        runs_loop: whether it is about to run the loop for this task alone.
        through: the function of asyncio that starts the task for it, and does not cancel the task when it gives up.
    """

    code: CodeType | None
    instruction: int
    caller: CodeType | None = None
    call: int = 0
    waits: bool = False
    runs_loop: bool = False
    through: str = ""

    def creation(self, call: Call) -> "Creation":
        """Where it has created the task that runs `call`: as a value, to be shown."""
        if self.code is None:
            return Creation(definition(call.code) if call.code else Site("?", 0, call.function))
        is_comprehension = self.code.co_name.startswith("<")  # before 3.12 a function of its own
        caller = None if is_comprehension else self.caller
        called_at = None if caller is None else site_at(caller, self.call)
        return Creation(site_at(self.code, self.instruction), called_at)


class Creation(NamedTuple):
    """Where a task was created.

    Attributes:
        at: the line; where the task's function is defined, if the loop itself or another thread created it.
        called_at: the line of the project that called a function to create it.
    """

    at: Site
    called_at: Site | None = None

    def __str__(self) -> str:
        return ", ".join(self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """As parts of a sentence about the task."""
        created = f"created at {self.at}"
        return (created,) if self.called_at is None else (created, f"called at {self.called_at}")


def on_behalf(function: _Function) -> _Function:
    """Decorates what stands in for ``create_task``: it is passed over in the search for who called it."""
    _ON_BEHALF[id(function.__code__)] = function.__code__
    return function


def is_of_project(creator: Creator, coroutine: Any, is_own: Mapping[str, bool]) -> bool:
    """Whether the task for `coroutine` is the project's own: created by its code, or running a function of it."""
    if creator.code is not None and is_own[creator.code.co_filename]:
        return True
    if creator.code is not None and asyncio._get_running_loop() is None:
        return False  # somebody else's runner, about to run the loop for it
    code = code_of(traced(coroutine))
    return code is not None and (is_own[code.co_filename] or is_mock_coroutine(coroutine))


def creator_of(frame: FrameType, loop: asyncio.AbstractEventLoop, is_own: Mapping[str, bool]) -> Creator:
    """Who creates the task that `frame` asks `loop` for. Called for every task of a session, so it does little."""
    code, asked_by, through = frame.f_code, None, ""
    while id(code) in _ON_BEHALF or (module := frame.f_globals.get("__name__", "")) in IN_BETWEEN:
        asked_by = code
        frame = frame.f_back  # type: ignore[assignment]  # what is passed over, somebody has called
        code = frame.f_code
    if type(module) is str and module.startswith(("asyncio.", "anyio.")):
        is_running = asyncio._get_running_loop() is not None
        caller = _calling(frame, is_own) if is_running else None
        if caller is None:
            is_handed_over = is_running and module in _LOOP_MODULES and asyncio.current_task(loop) is None
            if is_handed_over or code.co_qualname == _FROM_THREAD:
                return Creator(None, 0)
            return Creator(code, frame.f_lasti, waits=True, runs_loop=not is_running)
        through, frame, code = _STARTING[id(code)][0], caller, caller.f_code
    elif not isinstance(loop, asyncio.BaseEventLoop) and not _RUNNING_METHODS.isdisjoint(code.co_names):
        if asyncio._get_running_loop() is None:
            if asked_by is _ENSURE_FUTURE:  # run_until_complete makes a task of its coroutine
                return Creator(code, frame.f_lasti, waits=True, runs_loop=True)
        elif asyncio.current_task(loop) is None:
            return Creator(None, 0)
    caller = None if code.co_flags & CO_COROUTINE else frame.f_back
    if caller is None or not is_own[caller.f_code.co_filename]:
        return Creator(code, frame.f_lasti, None, 0, through != "", False, through)  # by place, which is quicker
    return Creator(code, frame.f_lasti, caller.f_code, caller.f_lasti, through != "", False, through)


def _calling(frame: FrameType, is_own: Mapping[str, bool]) -> FrameType | None:
    """Return where the project's code has asyncio start a task in `frame` that may outlive it; else None."""
    code = frame.f_code
    if not (_STARTING.get(id(code)) or _starting(code))[0]:
        return None
    caller = frame.f_back
    while caller is not None and caller.f_globals.get("__name__") in _BEFORE_CALLER:
        caller = caller.f_back
    return caller if caller is not None and is_own[caller.f_code.co_filename] else None


def _starting(code: CodeType) -> tuple[str, CodeType]:
    """Return the function of asyncio of which `code` is if that starts tasks and does not cancel them; else empty."""
    function = _MAY_BE_OUTLIVED.get(code.co_qualname.partition(".")[0], "")
    found = _STARTING[id(code)] = function, code
    return found


def name_to_come(frame: FrameType) -> str | None:
    """The name that ``create_task`` gives to the task that `frame` asks for only afterwards: before 3.13."""
    while _NAME_IS_SET_LATER and id(frame.f_code) in _ON_BEHALF:
        if frame.f_code is _CREATE_TASK:
            name: str | None = frame.f_locals["name"]
            return name
        frame = frame.f_back  # type: ignore[assignment]  # what is passed over, somebody has called
    return None
