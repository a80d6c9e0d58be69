"""The tasks and futures of an explored loop, which behave the same in every run.

`asyncio.TaskGroup`, `asyncio.wait` and user code iterate sets of them, in order of hash, which by default is the
address. So they hash by order of creation. A program sees asyncio's class names, and may set any attribute: the
attributes of the explorer begin with ``_explorer``.
"""

import asyncio
import sys
from typing import Any

from .._asyncio.stand_ins import named_as
from .._introspect.location import SourceLocation
from . import debug_mode
from .task_names import TaskIdentity
from .unsupported import UnsupportedCalls


@named_as(asyncio.Future)
class ControlledFuture(asyncio.Future[Any]):
    """A future that hashes by order of creation."""

    __slots__ = ("_explorer_number",)

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._explorer_number: int = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._explorer_number


@named_as(asyncio.Task)
class ControlledTask(asyncio.Task[Any]):
    """A task that hashes by order of creation, with its `TaskIdentity` and, in a reported run, its creation site."""

    __slots__ = ("_explorer_actor", "_explorer_created_at", "_explorer_number")

    def __init__(self, number: int, actor: TaskIdentity, coroutine: Any, loop: Any, **kwargs: Any) -> None:
        self._explorer_number: int = number
        self._explorer_actor: TaskIdentity = actor
        self._explorer_created_at: SourceLocation | None = None
        super().__init__(coroutine, loop=loop, **kwargs)
        if loop._debug:
            debug_mode.without_our_frames(self)

    def __hash__(self) -> int:
        return self._explorer_number

    def set_name(self, value: object) -> None:
        """Set the name, like asyncio. Some versions also call this for the name at creation, which may be None."""
        if value is not None:
            self._explorer_actor.call(value)
            super().set_name(value)


def make_task(loop: Any, coroutine: Any, **kwargs: Any) -> ControlledTask:
    """Create a task; this is the default task factory of a `ControlledLoop`."""
    actor = loop._names.new(loop._running(), coroutine)
    if loop._pauses is not None:
        actor.is_private = not loop._pauses.test.awaits(sys._getframe(1))
    if kwargs:
        actor.step = int(kwargs.get("eager_start") or 0)  # an eager task's first step belongs to its creator's step
        if (name := kwargs.get("name")) is not None:
            actor.call(name)
    task = ControlledTask(next(loop._task_numbers), actor, coroutine, loop, **kwargs)
    loop.tasks.append(task)
    return task


def _make_eager_task(loop: Any, coroutine: Any, **kwargs: Any) -> ControlledTask:
    return make_task(loop, coroutine, **{"eager_start": True, **kwargs})


_FACTORIES: list[tuple[Any, Any]] = [(None, make_task)]
if hasattr(asyncio, "eager_task_factory"):
    _FACTORIES.append((asyncio.eager_task_factory, _make_eager_task))


class LoopOfControlledTasks(UnsupportedCalls):
    """A loop that makes explored tasks. A program sees only the task factory that it has set itself."""

    _task_factory: Any = staticmethod(make_task)

    def set_task_factory(self, factory: Any) -> None:
        """Set the task factory, like asyncio; the eager factory makes explored tasks too."""
        super().set_task_factory(next((ours for theirs, ours in _FACTORIES if theirs is factory), factory))

    def get_task_factory(self) -> Any:
        """Return the task factory that the program has set, like asyncio."""
        return next((theirs for theirs, ours in _FACTORIES if ours is self._task_factory), self._task_factory)
