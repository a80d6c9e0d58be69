"""What a test sees of a captured task."""

import asyncio
from typing import Any, Literal, TypeAlias

from ..own import OwnCode
from ..sites import Site
from ..untrusted import safe_repr
from ..wait_reason import Wait
from ..waits import wait_of
from .held import HeldTask

State: TypeAlias = Literal["held", "started", "done", "failed", "cancelled"]


class CapturedTask(tuple[Any, tuple[Any, ...], dict[str, Any]]):
    """A background task that was captured: the tuple ``(coroutine, args, kwargs)``, which knows more.

    For ``create_task`` and its kin, ``coroutine`` is the coroutine, ``args`` is ``()``, and ``kwargs`` holds what was
    passed beside it (``name``, ``context``). For a Starlette background task ``coroutine`` is the callable, with its
    ``args`` and ``kwargs``. Two of them are equal if they are the same task.

    >>> async def greet(name): ...
    >>> async def test(background_tasks):
    ...     background_tasks.start_capturing()
    ...     asyncio.create_task(greet("Ada"), name="greeting")
    ...     [captured] = background_tasks.captured_tasks
    ...     assert captured.name == "greeting"
    ...     assert captured.arguments == {"name": "Ada"}
    ...     assert captured.state == "held"
    ...     await background_tasks.run_all_async()
    ...     assert captured.state == "done"
    """

    _held: HeldTask
    _is_own: OwnCode

    @classmethod
    def of(cls, task: HeldTask, is_own: OwnCode) -> "CapturedTask":
        """The view of `task`; only the fixture makes these."""
        self = super().__new__(cls, task.shown)
        self._held = task
        self._is_own = is_own
        return self

    @property
    def coroutine(self) -> Any:
        """The coroutine; for a Starlette background task the callable."""
        return self[0]

    @property
    def args(self) -> tuple[Any, ...]:
        """``()``; for a Starlette background task its positional arguments."""
        return self[1]

    @property
    def kwargs(self) -> dict[str, Any]:
        """What was passed beside the coroutine; for a Starlette background task its keyword arguments."""
        return self[2]

    @property
    def name(self) -> str:
        """The task's name."""
        return self._held.get_name()

    @property
    def function(self) -> str:
        """The qualified name of the function it calls; of a mock, the mock's name."""
        return self._held.call.function

    @property
    def module(self) -> str:
        """The module of that function."""
        return self._held.call.module

    @property
    def arguments(self) -> dict[str, Any]:
        """The call's arguments by the names of the function's parameters, as they were before it started."""
        return dict(self._held.call.arguments)

    @property
    def created_at(self) -> Site:
        """The line that created it.

        Where the loop or another thread did that for the code (``call_soon_threadsafe``, ``run_coroutine_threadsafe``)
        no such line can be seen; then it is where the function is defined.
        """
        return self._held.creation.at

    @property
    def state(self) -> State:
        """``held``, ``started``, then ``done``, ``failed`` or ``cancelled``."""
        task = self._held
        if task.held:
            return "held"
        if not task.done():
            return "cancelled" if task.is_never_to_start else "started"
        if task.cancelled():
            return "cancelled"
        return "failed" if task.failed else "done"

    @property
    def task(self) -> "asyncio.Task[Any]":
        """The task that the code under test got."""
        return self._held

    @property
    def suspended_at(self) -> Wait | None:
        """Where it waits now, the innermost line of the project's own code, and for what, in words.

        ``None`` unless it is suspended.
        """
        return wait_of(self._held.runner, self._is_own)

    def result(self) -> Any:
        """What it returned.

        Raises:
            BaseException: what it raised, if it failed.
            asyncio.CancelledError: if it was cancelled.
            asyncio.InvalidStateError: if it has not ended.
        """
        return self._held.result()

    def exception(self) -> BaseException | None:
        """What it raised, or ``None``.

        Raises:
            asyncio.CancelledError: if it was cancelled.
            asyncio.InvalidStateError: if it has not ended.
        """
        return self._held.exception()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CapturedTask):
            return self._held is other._held
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._held)

    @property
    def told(self) -> str:
        """The call with its arguments, the state, the name and the line that created it, to be read in a list."""
        arguments = ", ".join(f"{name}={safe_repr(value)}" for name, value in self.arguments.items())
        return f"{self.function}({arguments}) {self.state}: {self.name}, {self._held.creation}"

    def __repr__(self) -> str:
        return f"<CapturedTask {self.told}>"
