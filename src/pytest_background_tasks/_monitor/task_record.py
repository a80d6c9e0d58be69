"""The record of a monitored task: a small object that dies with the task.

The record is an attribute of the task, so that it still exists when the task is destroyed and asyncio reports that; a
weak dictionary has already dropped it by then.
"""

import asyncio
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import CodeType
from typing import Any, NamedTuple

from .._capture.call import Call, arguments_of, call_of_coroutine, code_of, module_of
from .._capture.origin import CreationSite, Origin
from .._capture.waiters import has_waiter
from .._introspect.internals import exception_of, is_unretrieved
from .._introspect.location import SourceLocation, waiting_location
from .._introspect.task_state import coroutine_of, is_done, is_pending_uncancelled, name_of
from .._introspect.untrusted import attribute
from .policy import Policy

ATTRIBUTE = "_pytest_background_tasks_record"
"""The attribute of a task that has its record."""


class MonitoredTest(NamedTuple):
    """A monitored test. Records refer to it, so that each finding can be attributed."""

    id: str
    modes: Policy


class Fixture:
    """A fixture that outlives the test. The test does not have to clean up what the fixture created or owns.

    Args:
        is_set_up: returns True once the fixture is set up.
    """

    __slots__ = ("is_over", "is_set_up")

    def __init__(self, is_set_up: Callable[[], bool]) -> None:
        self.is_set_up: Callable[[], bool] = is_set_up
        self.is_over: bool = False


class TaskRecord(weakref.ref[Any]):
    """The origin of a task, and what was reported about it.

    Attributes:
        number: the position in the order of creation.
        monitor: the monitor of the record, since several sessions may run in one process.
        test: the test that was running.
        origin: the code that created the task.
        name: the qualified name of the coroutine.
        code: the code of the coroutine.
        fixture: the fixture that created the task, in its setup or by a task of its own.
        owner: the fixture that owns the task, although the test created it.
        has_failed: whether the task was reported as failed.
        loss: the finding that the task has leaked or was destroyed.
    """

    __slots__ = ("code", "fixture", "has_failed", "loss", "monitor", "name", "number", "origin", "owner", "test")

    number: int
    monitor: object
    test: MonitoredTest
    origin: Origin
    name: str
    code: CodeType | None
    fixture: Fixture | None
    owner: Fixture | None
    has_failed: bool
    loss: Any

    __eq__: Any = object.__eq__  # that of a weak reference calls its object, which may be of the program's class
    __hash__: Any = object.__hash__

    @property
    def is_owned(self) -> bool:
        """True if a fixture may still end the task, or retrieve its exception."""
        fixture = self.fixture or self.owner
        return fixture is not None and not fixture.is_over

    @property
    def may_leak(self) -> bool:
        """True if a leak would be reported: only once, and not for a task that a fixture created for itself."""
        return self.loss is None and self.fixture is None and self.test.modes.leaked != "ignore"

    @property
    def is_over(self) -> bool:
        """True if the task has ended, or no longer exists."""
        task = self()
        return task is None or is_done(task)

    def snapshot(self, task: "asyncio.Task[Any]", is_project: Mapping[str, bool]) -> "TaskSnapshot":
        """Return the present state of the task as a value."""
        coroutine = coroutine_of(task)
        if coroutine is not None and code_of(coroutine) is self.code:
            arguments = None
            with suppress(KeyError):  # the coroutine has deleted one of them
                arguments = arguments_of(coroutine)
            call = call_of_coroutine(coroutine, arguments)
        else:  # the task has ended in its eager first step, or a task factory has wrapped the coroutine
            call = Call(self.name, module_of(self.code), {}, self.code)
        through = self.origin.through
        return TaskSnapshot(
            name_of(task), call, self.origin.creation(call), waiting_location(coroutine, is_project), through
        )


class TaskSnapshot(NamedTuple):
    """The state of a task at one moment; a target can match it like a captured task."""

    name: str
    call: Call
    creation: CreationSite
    waits_at: SourceLocation | None = None
    started_through: str = ""

    @property
    def function(self) -> str:
        """The qualified name of the task's function."""
        return self.call.function

    @property
    def module(self) -> str:
        """The module of that function."""
        return self.call.module

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call that are still known."""
        return self.call.arguments

    @property
    def description(self) -> str:
        """The name and the function of the task."""
        function = self.function.rpartition(".")[2]
        return f"{self.name} ({function})" if self.name else function

    @property
    def task(self) -> "TaskSnapshot":
        """The object itself, where a target looks for the call."""
        return self


def record_of(task: object) -> TaskRecord | None:
    """Return the record of a task, if it has one."""
    if type(task) is asyncio.Task:  # here and below: called for every task, and most run no code of the program
        return getattr(task, ATTRIBUTE, None)
    found = attribute(task, ATTRIBUTE)
    return found if type(found) is TaskRecord else None


def unretrieved(task: Any) -> BaseException | None:
    """Return the exception of `task` if it was never retrieved. This call does not retrieve it."""
    return exception_of(task) if is_unretrieved(task) else None


def failure_of(task: Any) -> BaseException | None:
    """Return the exception of `task`, whether or not it was retrieved."""
    return exception_of(task) if is_done(task) else None


def is_abandoned(task: Any, record: TaskRecord | None = None) -> bool:
    """Return True if `task` is pending, was never cancelled, and has lost the waiter that it was started for."""
    return is_pending_uncancelled(task) and (record is None or not record.origin.through or not has_waiter(task))
