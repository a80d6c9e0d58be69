"""Who creates a task: code that goes on without it, or something that waits for it.

Decided from the immediate caller alone. asyncio's task groups, ``gather``, its runners and servers, and everything in
anyio wait for what they start, so their tasks are not background tasks.
"""

import asyncio
import sys
from types import CodeType, FrameType

# Functions of asyncio that create a task for whoever calls them.
_ON_BEHALF = {
    id(function.__code__)
    for name in ("create_task", "ensure_future", "_ensure_future")
    if (function := getattr(asyncio.tasks, name, None)) is not None
}
_ENSURE_FUTURE = {id(asyncio.ensure_future.__code__)}

# Where the loop calls a callback from. uvloop is written in C: there the caller is what runs the loop.
_LOOP_MODULES = {"asyncio.base_events", "asyncio.events", "asyncio.runners", "anyio._backends._asyncio"}


class Creator:
    """The code that asked for a task.

    Attributes:
        code: its code, or None if the loop was handed the call (``loop.call_soon(asyncio.create_task, job())``,
            ``run_coroutine_threadsafe``), so that no line of it is left to be seen.
        instruction: the offset in the code, ``f_lasti``.
        waits: whether it waits for what it starts.
        runner: whether it is about to run the loop for this task alone.
        name: the name it gave to the task, where ``create_task`` does not pass it on (before 3.13).
    """

    __slots__ = ("code", "instruction", "name", "runner", "waits")

    code: CodeType | None

    def __init__(self, frame: FrameType, loop: asyncio.AbstractEventLoop) -> None:
        self.name: str | None = None
        explicit_loop = False
        while id(frame.f_code) in _ON_BEHALF:
            if _NAME_IS_SET_LATER and frame.f_code is asyncio.create_task.__code__:
                self.name = frame.f_locals["name"]
            explicit_loop = id(frame.f_code) in _ENSURE_FUTURE
            frame = frame.f_back  # type: ignore[assignment]
        self.code = frame.f_code
        self.instruction = frame.f_lasti
        self.waits = self.runner = False
        module = frame.f_globals.get("__name__", "")
        running = asyncio._get_running_loop() is not None
        if module.startswith(("asyncio.", "anyio.")):
            if self._is_loop_callback(module, running, loop):
                self.code = None
            else:
                self.waits = True
                self.runner = not running
        elif explicit_loop and not running and not isinstance(loop, asyncio.BaseEventLoop):
            self.waits = self.runner = True  # uvloop's run_until_complete, which leaves no frame of its own

    def _is_loop_callback(self, module: str, running: bool, loop: asyncio.AbstractEventLoop) -> bool:
        if self.code is not None and self.code.co_qualname == "run_coroutine_threadsafe.<locals>.callback":
            return True
        return running and module in _LOOP_MODULES and asyncio.current_task(loop) is None


_NAME_IS_SET_LATER = sys.version_info < (3, 13)
