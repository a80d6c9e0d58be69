"""The creator of a task: code that continues without the task, or code that waits for it.

Only the immediate caller decides. asyncio's task groups, ``gather``, its runners and servers, and everything in anyio
wait for the tasks that they start, so these are not background tasks.
"""

import asyncio
import sys
from collections.abc import Mapping
from inspect import CO_COROUTINE
from types import CodeType, FrameType
from typing import Any, NamedTuple

from .._asyncio.instrument import TRANSPARENT
from .._introspect.location import SourceLocation, definition, location_at
from .call import Call, code_of, is_mock_coroutine
from .opentelemetry import IN_BETWEEN, traced

_CREATE_TASK = asyncio.create_task.__code__
_ENSURE_FUTURE = asyncio.ensure_future.__code__
_FROM_THREAD = "run_coroutine_threadsafe.<locals>.callback"

# The modules from which a loop calls a callback. uvloop is written in C and leaves no frame: there the caller is the
# code that runs the loop, in one of these modules or in other code that names one of the methods.
_RUNNING_METHODS = frozenset({"run_forever", "run_until_complete"})
_LOOP_MODULES = {"asyncio.base_events", "asyncio.events", "asyncio.runners", "anyio._backends._asyncio"}

# Functions of asyncio that start tasks for a waiter, and do not cancel the tasks when the waiter gives up.
_MAY_BE_OUTLIVED = {
    "shield": "shield",
    "gather": "gather",
    "as_completed": "as_completed",
    "_AsCompletedIterator": "as_completed",
}
_STARTING: dict[int, tuple[str, CodeType]] = {}  # the function that a code belongs to, by the id of the code
_BEFORE_CALLER = ("asyncio.tasks", *IN_BETWEEN)

_NAME_IS_SET_LATER = sys.version_info < (3, 13)


class Origin(NamedTuple):
    """The code that requested a task.

    Attributes:
        code: None if the loop makes the call (``loop.call_soon(asyncio.create_task, job())``,
            ``run_coroutine_threadsafe``), so that the line of the creator is unknown.
        instruction: the offset in the code, ``f_lasti``.
        caller: the project code that called the creator, if that is a plain function which starts tasks for others.
        call: the offset in the code of the caller.
        awaits_task: whether the creator waits for the task, itself or by `through`.
        runs_loop: whether the creator is about to run the loop for this task alone.
        through: the function of asyncio that starts the task for the creator, and does not cancel it afterwards.
    """

    code: CodeType | None
    instruction: int
    caller: CodeType | None = None
    call: int = 0
    awaits_task: bool = False
    runs_loop: bool = False
    through: str = ""

    def creation(self, call: Call) -> "CreationSite":
        """Return the place where it created the task that runs `call`."""
        if self.code is None:
            return CreationSite(definition(call.code) if call.code else SourceLocation("?", 0, call.function))
        is_comprehension = self.code.co_name.startswith("<")  # before 3.12 a function of its own
        caller = None if is_comprehension else self.caller
        called_at = None if caller is None else location_at(caller, self.call)
        return CreationSite(location_at(self.code, self.instruction), called_at)


class CreationSite(NamedTuple):
    """The place where a task was created.

    Attributes:
        at: the line; if the loop itself or another thread created the task, the definition of the task's function.
        called_at: the line of project code that called a function to create the task.
    """

    at: SourceLocation
    called_at: SourceLocation | None = None

    def __str__(self) -> str:
        return ", ".join(self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """The places as parts of a sentence about the task."""
        created = f"created at {self.at}"
        return (created,) if self.called_at is None else (created, f"called at {self.called_at}")


def is_of_project(origin: Origin, coroutine: Any, is_project: Mapping[str, bool]) -> bool:
    """Return True if the task for `coroutine` was created by project code, or runs a function of the project."""
    if origin.code is not None and is_project[origin.code.co_filename]:
        return True
    if origin.code is not None and asyncio._get_running_loop() is None:
        return False  # the runner of a library, about to run the loop for the task
    code = code_of(traced(coroutine))
    return code is not None and (is_project[code.co_filename] or is_mock_coroutine(coroutine))


def origin_of(frame: FrameType, loop: asyncio.AbstractEventLoop, is_project: Mapping[str, bool]) -> Origin:
    """Return the creator of the task that `frame` requests from `loop`. Called for every task of a session: be fast."""
    code, asked_by, through = frame.f_code, None, ""
    while id(code) in TRANSPARENT or (module := frame.f_globals.get("__name__", "")) in IN_BETWEEN:
        asked_by = code
        frame = frame.f_back  # type: ignore[assignment]  # skipped code always has a caller
        code = frame.f_code
    if type(module) is str and module.startswith(("asyncio.", "anyio.")):
        is_running = asyncio._get_running_loop() is not None
        caller = _calling(frame, is_project) if is_running else None
        if caller is None:
            is_handed_over = is_running and module in _LOOP_MODULES and asyncio.current_task(loop) is None
            if is_handed_over or code.co_qualname == _FROM_THREAD:
                return Origin(None, 0)
            return Origin(code, frame.f_lasti, awaits_task=True, runs_loop=not is_running)
        through, frame, code = _STARTING[id(code)][0], caller, caller.f_code
    elif not isinstance(loop, asyncio.BaseEventLoop) and not _RUNNING_METHODS.isdisjoint(code.co_names):
        if asyncio._get_running_loop() is None:
            if asked_by is _ENSURE_FUTURE:  # run_until_complete creates a task for its coroutine
                return Origin(code, frame.f_lasti, awaits_task=True, runs_loop=True)
        elif asyncio.current_task(loop) is None:
            return Origin(None, 0)
    caller = None if code.co_flags & CO_COROUTINE else frame.f_back
    if caller is None or not is_project[caller.f_code.co_filename]:
        return Origin(code, frame.f_lasti, None, 0, through != "", False, through)  # by place, which is quicker
    return Origin(code, frame.f_lasti, caller.f_code, caller.f_lasti, through != "", False, through)


def _calling(frame: FrameType, is_project: Mapping[str, bool]) -> FrameType | None:
    """Return the project's frame for which asyncio starts a task in `frame` that may outlive its waiter; else None."""
    code = frame.f_code
    if not (_STARTING.get(id(code)) or _starting(code))[0]:
        return None
    caller = frame.f_back
    while caller is not None and caller.f_globals.get("__name__") in _BEFORE_CALLER:
        caller = caller.f_back
    return caller if caller is not None and is_project[caller.f_code.co_filename] else None


def _starting(code: CodeType) -> tuple[str, CodeType]:
    """Return the function of asyncio that `code` belongs to, if its tasks may outlive the waiter; else an empty one."""
    function = _MAY_BE_OUTLIVED.get(code.co_qualname.partition(".")[0], "")
    found = _STARTING[id(code)] = function, code
    return found


def pending_name(frame: FrameType) -> str | None:
    """Return the name that ``create_task`` sets after it has created the task for `frame`, as before 3.13."""
    while _NAME_IS_SET_LATER and id(frame.f_code) in TRANSPARENT:
        if frame.f_code is _CREATE_TASK:
            name: str | None = frame.f_locals["name"]
            return name
        frame = frame.f_back  # type: ignore[assignment]  # skipped code always has a caller
    return None
