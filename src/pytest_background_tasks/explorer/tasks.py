"""The tasks and futures of an explored loop, which behave the same in every run.

Sets of them are iterated in order of hash, which is the address otherwise: `asyncio.TaskGroup`, `asyncio.wait` and user
code do that. So they hash by the order of their creation. A program sees asyncio's names of them, and may set whatever
attributes it likes: ours begin with ``_explorer``.
"""

import asyncio
from typing import Any

from ..named_as import named_as
from ..sites import Site
from . import debug
from .actors import Actor
from .unplayable import UnplayableCalls


@named_as(asyncio.Future)
class PlayedFuture(asyncio.Future[Any]):
    """A future that hashes by the order of creation."""

    __slots__ = ("_explorer_number",)

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._explorer_number: int = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._explorer_number


@named_as(asyncio.Task)
class PlayedTask(asyncio.Task[Any]):
    """A task that hashes by the order of creation and knows its `Actor`; and, if that is told, who created it."""

    __slots__ = ("_explorer_actor", "_explorer_created_at", "_explorer_number")

    def __init__(self, number: int, actor: Actor, coroutine: Any, loop: Any, **kwargs: Any) -> None:
        self._explorer_number: int = number
        self._explorer_actor: Actor = actor
        self._explorer_created_at: Site | None = None
        super().__init__(coroutine, loop=loop, **kwargs)
        if loop._debug:
            debug.without_our_frames(self)

    def __hash__(self) -> int:
        return self._explorer_number

    def set_name(self, value: object) -> None:
        """As asyncio's; on some versions that is how a task gets the name it was created with, which may be None."""
        if value is not None:
            self._explorer_actor.call(value)
            super().set_name(value)


def make_task(loop: Any, coroutine: Any, **kwargs: Any) -> PlayedTask:
    """The usual task factory of a `PlayedLoop`."""
    actor = loop._names.new(loop._running(), coroutine)
    if kwargs:
        actor.step = int(kwargs.get("eager_start") or 0)  # an eager task's first step is part of its creator's
        if (name := kwargs.get("name")) is not None:
            actor.call(name)
    task = PlayedTask(next(loop._task_numbers), actor, coroutine, loop, **kwargs)
    loop.tasks.append(task)
    return task


def _make_eager_task(loop: Any, coroutine: Any, **kwargs: Any) -> PlayedTask:
    return make_task(loop, coroutine, **{"eager_start": True, **kwargs})


_FACTORIES: list[tuple[Any, Any]] = [(None, make_task)]
if hasattr(asyncio, "eager_task_factory"):
    _FACTORIES.append((asyncio.eager_task_factory, _make_eager_task))


class LoopOfPlayedTasks(UnplayableCalls):
    """A loop that makes played tasks, and shows the program no other task factory than the one that it has set."""

    _task_factory: Any = staticmethod(make_task)

    def set_task_factory(self, factory: Any) -> None:
        """As asyncio's; the eager factory still makes tasks that are played."""
        super().set_task_factory(next((ours for theirs, ours in _FACTORIES if theirs is factory), factory))

    def get_task_factory(self) -> Any:
        """As asyncio's: what the program has set."""
        return next((theirs for theirs, ours in _FACTORIES if ours is self._task_factory), self._task_factory)
