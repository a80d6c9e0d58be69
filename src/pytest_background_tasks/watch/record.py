"""What is remembered of a watched task: one small record, which dies with it.

The record hangs on the task as an attribute, so that it is still there when the task is destroyed and asyncio tells
what became of it; by then a weak dictionary has forgotten it already.

Private names of CPython used here: ``_log_traceback`` and ``_exception`` of a task.
"""

import asyncio
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import CodeType
from typing import Any, NamedTuple

from ..capture.call import Call, arguments_of, call_of_coroutine, code_of, module_of
from ..capture.creator import Creation, Creator
from ..capture.waiters import has_waiter
from ..sites import Site, waiting_site
from ..task_state import coroutine_of, is_done, is_left_alone, name_of
from ..untrusted import attribute
from .modes import Modes

ATTRIBUTE = "_pytest_background_tasks_record"
"""Where the record of a task is, in the task."""


class Watched(NamedTuple):
    """A test that is watched. Its records point to it, so that each report knows whose it is."""

    id: str
    modes: Modes


class Fixture:
    """A fixture that outlives the test, while it lives. What it made, or keeps, is not the test's to clean up.

    Args:
        is_set_up: tells whether it is set up by now.
    """

    __slots__ = ("is_over", "is_set_up")

    def __init__(self, is_set_up: Callable[[], bool]) -> None:
        self.is_set_up: Callable[[], bool] = is_set_up
        self.is_over: bool = False


class Record(weakref.ref[Any]):
    """Whose a task is, and what created it.

    Attributes:
        number: by which records are in the order of their creation.
        watch: what keeps the record, if several sessions run in one process.
        test: the one that was under way.
        creator: what created it.
        name: the qualified name of the coroutine that was handed over.
        code: of that.
        fixture: that made it while it was set up, or by a task of its own.
        keeper: the fixture that holds it, though the test made it.
        has_failed: it was reported as failed.
        loss: the report that it has leaked, or is lost.
    """

    __slots__ = ("code", "creator", "fixture", "has_failed", "keeper", "loss", "name", "number", "test", "watch")

    number: int
    watch: object
    test: Watched
    creator: Creator
    name: str
    code: CodeType | None
    fixture: Fixture | None
    keeper: Fixture | None
    has_failed: bool
    loss: Any

    __eq__: Any = object.__eq__  # a weak reference asks its object, which may be of a class of the program's own
    __hash__: Any = object.__hash__

    @property
    def is_kept(self) -> bool:
        """Whether a fixture may still see to it."""
        fixture = self.fixture or self.keeper
        return fixture is not None and not fixture.is_over

    @property
    def may_leak(self) -> bool:
        """Whether it would be told if its task leaks: once, and not of what a fixture started for itself."""
        return self.loss is None and self.fixture is None and self.test.modes.leaked != "ignore"

    @property
    def is_over(self) -> bool:
        """Whether its task has ended, or is gone."""
        task = self()
        return task is None or is_done(task)

    def seen(self, task: "asyncio.Task[Any]", is_own: Mapping[str, bool]) -> "Seen":
        """The task as it is now, as a value."""
        coroutine = coroutine_of(task)
        if coroutine is not None and code_of(coroutine) is self.code:
            arguments = None
            with suppress(KeyError):  # it has deleted one of them
                arguments = arguments_of(coroutine)
            call = call_of_coroutine(coroutine, arguments)
        else:  # it has ended in its eager first step, or a task factory has wrapped it
            call = Call(self.name, module_of(self.code), {}, self.code)
        through = self.creator.through
        return Seen(name_of(task), call, self.creator.creation(call), waiting_site(coroutine, is_own), through)


class Seen(NamedTuple):
    """A task as it was at one moment; targets can be matched against it as against a captured task."""

    name: str
    call: Call
    creation: Creation
    waits_at: Site | None = None
    started_through: str = ""

    @property
    def function(self) -> str:
        """The qualified name of the function it runs."""
        return self.call.function

    @property
    def module(self) -> str:
        """The module of that function."""
        return self.call.module

    @property
    def arguments(self) -> dict[str, Any]:
        """The call's arguments, as far as they can still be seen."""
        return self.call.arguments

    @property
    def known_as(self) -> str:
        """Its name and its function."""
        function = self.function.rpartition(".")[2]
        return f"{self.name} ({function})" if self.name else function

    @property
    def task(self) -> "Seen":
        """Itself: where a target looks for the call."""
        return self


def record_of(task: object) -> Record | None:
    """The record of a task, if it has one."""
    if type(task) is asyncio.Task:  # as here and below: of most tasks no code runs for it, and it is asked of all
        return getattr(task, ATTRIBUTE, None)
    found = attribute(task, ATTRIBUTE)
    return found if type(found) is Record else None


def unretrieved(task: Any) -> BaseException | None:
    """What `task` raised, if nobody has looked yet. To ask is not to look."""
    if type(task) is asyncio.Task:
        return task._exception if task._log_traceback else None
    return attribute(task, "_exception") if attribute(task, "_log_traceback") else None


def failure_of(task: Any) -> BaseException | None:
    """Return what `task` raised, whether or not it was retrieved."""
    return attribute(task, "_exception") if is_done(task) else None


def is_abandoned(task: Any, record: Record | None = None) -> bool:
    """Return whether `task` is pending, was never cancelled, and has lost the waiter that it was started for."""
    return is_left_alone(task) and (record is None or not record.creator.through or not has_waiter(task))
