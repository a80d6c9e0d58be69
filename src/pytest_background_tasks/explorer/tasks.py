"""The tasks and futures of an explored loop, which behave the same in every run.

Sets of them are iterated in order of hash, which is the address otherwise: `asyncio.TaskGroup`, `asyncio.wait` and user
code do that. So they hash by the order of their creation.
"""

import asyncio
from typing import Any

from ..sites import Site
from .actors import Actor


class PlayedFuture(asyncio.Future[Any]):
    """A future that hashes by the order of creation."""

    __slots__ = ("number",)

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number: int = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class PlayedTask(asyncio.Task[Any]):
    """A task that hashes by the order of creation and knows its `Actor`; and, if that is told, who created it."""

    __slots__ = ("actor", "created_at", "number")

    def __init__(self, number: int, actor: Actor, coroutine: Any, loop: Any, **kwargs: Any) -> None:
        self.number: int = number
        self.actor: Actor = actor
        self.created_at: Site | None = None
        super().__init__(coroutine, loop=loop, **kwargs)

    def __hash__(self) -> int:
        return self.number

    def set_name(self, value: object) -> None:
        """As asyncio's; on some versions that is how a task gets the name it was created with, which may be None."""
        if value is not None:
            self.actor.call(value)
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


FACTORIES: dict[Any, Any] = {None: make_task}
"""What stands for a task factory that the program sets."""
if hasattr(asyncio, "eager_task_factory"):
    FACTORIES[asyncio.eager_task_factory] = _make_eager_task
