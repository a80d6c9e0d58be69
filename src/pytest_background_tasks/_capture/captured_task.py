"""The test's view of a captured task."""

import asyncio
from typing import Any, Literal, TypeAlias

from .._introspect.location import SourceLocation
from .._introspect.project_code import ProjectCode
from .._introspect.suspension import wait_point_of
from .._introspect.untrusted import safe_repr
from .._introspect.wait_reason import WaitPoint
from .held_task import HeldTask

State: TypeAlias = Literal["held", "started", "done", "failed", "cancelled"]


class CapturedTask(tuple[Any, tuple[Any, ...], dict[str, Any]]):
    """A captured background task: a tuple ``(coroutine, args, kwargs)`` with more attributes.

    For ``create_task`` and similar functions, ``coroutine`` is the coroutine, ``args`` is ``()``, and ``kwargs`` holds
    the other arguments (``name``, ``context``). For a Starlette background task, ``coroutine`` is the callable, with
    its ``args`` and ``kwargs``. Two captured tasks are equal if they are the same task.

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
    _is_project: ProjectCode

    @classmethod
    def _of(cls, task: HeldTask, is_project: ProjectCode) -> "CapturedTask":
        """Return the view of `task`; only the fixture creates views."""
        self = super().__new__(cls, task.shown)
        self._held = task
        self._is_project = is_project
        return self

    @property
    def coroutine(self) -> Any:
        """The coroutine; for a Starlette background task, the callable."""
        return self[0]

    @property
    def args(self) -> tuple[Any, ...]:
        """``()``; for a Starlette background task, its positional arguments."""
        return self[1]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments after the coroutine; for a Starlette background task, its keyword arguments."""
        return self[2]

    @property
    def name(self) -> str:
        """The task's name."""
        return self._held.get_name()

    @property
    def function(self) -> str:
        """The qualified name of the task's function; for a mock, its name."""
        return self._held.call.function

    @property
    def module(self) -> str:
        """The module of that function."""
        return self._held.call.module

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call by the names of the function's parameters, as they were before it started."""
        return dict(self._held.call.arguments)

    @property
    def created_at(self) -> SourceLocation:
        """The line that created the task.

        If the loop or another thread created it for the program (``call_soon_threadsafe``,
        ``run_coroutine_threadsafe``), that line is unknown; then it is the definition of the function.
        """
        return self._held.creation.at

    @property
    def state(self) -> State:
        """The current state, one of ``held``, ``started``, then ``done``, ``failed`` or ``cancelled``."""
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
    def suspended_at(self) -> WaitPoint | None:
        """The innermost line of project code where the task waits now, and what it waits for, in words.

        ``None`` unless the task is suspended.
        """
        return wait_point_of(self._held.runner, self._is_project)

    def result(self) -> Any:
        """Return the result of the task.

        Raises:
            BaseException: the exception of the task, if it failed.
            asyncio.CancelledError: if it was cancelled.
            asyncio.InvalidStateError: if it has not ended.
        """
        return self._held.result()

    def exception(self) -> BaseException | None:
        """Return the exception of the task, or ``None``.

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
    def _summary(self) -> str:
        """The call with its arguments, the state, the name and the line that created it, for a list."""
        arguments = ", ".join(f"{name}={safe_repr(value)}" for name, value in self.arguments.items())
        return f"{self.function}({arguments}) {self.state}: {self.name}, {self._held.creation}"

    def __repr__(self) -> str:
        return f"<CapturedTask {self._summary}>"
