"""The captured tasks of one test, and the decision whether to hold the next task."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar, copy_context
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeAlias

from .._asyncio import forced_end
from .._asyncio.instrument import Instrument, hub
from .._introspect.project_code import ProjectCode
from .captured_task import CapturedTask
from .held_task import HeldTask
from .origin import Origin, is_of_project, origin_of, pending_name
from .patches import capture_patches, installed
from .targets import Match
from .unheld_tasks import UnheldTasks

Failures: TypeAlias = Callable[[], Iterable[tuple[str, BaseException]]]
"""Returns other failures in the test, besides those of captured tasks: a description and the exception of each."""

_in_captured_task: ContextVar[bool] = ContextVar("pytest_background_tasks.in_captured_task", default=False)
"""True in the context of each captured task, and therefore of all tasks, callbacks and threads that it starts."""


class Follower(Protocol):
    """A call of a running method, while it lasts; it also runs the tasks that captured tasks start."""

    def adopt(self, task: HeldTask) -> bool:
        """Return True if `task`, which a captured task has just created, is to start at once as part of the call."""

    def has(self, task: HeldTask) -> bool:
        """Return True if the call, or one around it, runs `task`."""


class Targets(NamedTuple):
    """The background tasks to hold: those that match one of ``only`` (all if it is empty) and none of ``ignore``."""

    only: tuple[Match, ...] = ()
    ignore: tuple[Match, ...] = ()

    def __contains__(self, captured: object) -> bool:
        assert isinstance(captured, CapturedTask)
        if self.only and not any(match(captured) for match in self.only):
            return False
        return not any(match(captured) for match in self.ignore)


class CaptureSession(Instrument):
    """The captured tasks of one test, in creation order. All mutable state is in here and in the tasks themselves.

    Args:
        is_project: project code.
        on_hold: called with each task that is held from now on.
    """

    def __init__(self, is_project: ProjectCode, on_hold: Callable[[HeldTask], None]) -> None:
        self.is_project = is_project
        self.thread: int = threading.get_ident()
        self.tasks: list[HeldTask] = []
        self.targets: Targets | None = None
        self.follower: Follower | None = None
        self.error: Exception | None = None
        self.unheld: UnheldTasks = UnheldTasks()
        self.other_failures: Failures = tuple
        self._on_hold = on_hold
        self._has_captured = False
        self._contexts: tuple[Context, Context] | None = None
        self._patches: ExitStack | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def set_targets(self, targets: Targets | None) -> None:
        """Hold the tasks that `targets` match from now on; None: hold no tasks, and remove all patches."""
        self.targets = targets
        self._has_captured = self._has_captured or targets is not None
        if targets is not None and self._patches is None:
            installed("uvloop")  # now, because the code under test may import it later
            self._patches = ExitStack()
            self._patches.enter_context(hub.added(self))
            self._patches.enter_context(capture_patches(self))
        elif targets is None and self._patches is not None:
            patches, self._patches = self._patches, None
            patches.close()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Hold no tasks inside the block; the patches stay, and do nothing."""
        targets, self.targets = self.targets, None
        try:
            yield
        finally:
            self.targets = targets

    def view(self, task: HeldTask) -> CapturedTask:
        """Return `task` as the test sees it."""
        return CapturedTask._of(task, self.is_project)

    @property
    def summary(self) -> str:
        """The state of capturing and the number of tasks, for an error message."""
        capturing = "capturing" if self.targets is not None else "not capturing"
        never = "" if self._has_captured else ": start_capturing() was never called"
        held, stopped = len(self.held), len(self.paused)
        steps = f", {stopped - held} stopped after a step" if stopped > held else ""
        return f"{capturing}{never}; {len(self.tasks)} captured, {held} held{steps}"

    @property
    def held(self) -> list[HeldTask]:
        """The tasks that are still held."""
        return [task for task in self.tasks if task.held]

    @property
    def paused(self) -> list[HeldTask]:
        """The tasks that run only when the test runs them: held, or stopped after a step."""
        return [task for task in self.tasks if task.paused]

    @property
    def resumable(self) -> list[HeldTask]:
        """The tasks that a running method resumes: held, stopped, or started while no waiter is left."""
        return [
            task
            for task in self.tasks
            # Calling done() of a held task itself would count as a poll.
            if task.is_left or (not asyncio.Task.done(task) and (task.paused or self._is_abandoned(task)))
        ]

    @property
    def ending(self) -> list[HeldTask]:
        """The tasks that were cancelled while they were held, and have not ended yet."""
        return [task for task in self.tasks if task.is_ending]

    def _is_abandoned(self, task: HeldTask) -> bool:
        if not task.is_abandoned or (self.follower is not None and self.follower.has(task)):
            return False
        return asyncio._get_running_loop() is None or asyncio.current_task() is not task.runner

    def creating_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, kwargs: dict[str, Any], frame: FrameType
    ) -> HeldTask | None:
        """Hold the task that is about to be created for `coroutine`, if the targets match it (rule 2)."""
        origin = origin_of(frame, loop, self.is_project)
        targets = self.targets
        if targets is not None and not origin.runs_loop and not loop.is_closed():
            is_background = not origin.awaits_task and is_of_project(origin, coroutine, self.is_project)
            if targets.only or is_background:
                name = pending_name(frame)
                if name is not None:
                    kwargs = {"name": name, **kwargs}
                task = HeldTask(coroutine, loop, origin, kwargs, self._context_for(kwargs))
                if self._hold(task, targets, is_background):
                    return task
            self.unheld.note(origin, coroutine, self.is_project, is_background=is_background)
        if loop is self._loop and not origin.runs_loop and asyncio._get_running_loop() is None:
            raise RuntimeError("no running event loop")
        return None

    def hold_call(
        self, coroutine: Any, origin: Origin, started_as: tuple[Any, tuple[Any, ...], dict[str, Any]]
    ) -> HeldTask | None:
        """Hold the call behind `coroutine`. A Starlette background task is always one, whatever code created it."""
        targets = self.targets
        if targets is None:
            return None
        task = HeldTask(coroutine, asyncio.get_running_loop(), origin, {}, self._context_for({}), started_as)
        if self._hold(task, targets, is_background=True):
            return task
        self.unheld.note(origin, coroutine, self.is_project, is_background=True)
        return None

    def loop_for_def_test(self) -> asyncio.AbstractEventLoop:
        """Return the loop, run by the test, for tasks that are created outside a loop or whose loop is closed."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    def reset(self) -> None:
        """Forget all captured tasks: held tasks end cancelled without having run, started tasks are cancelled."""
        tasks, self.tasks = self.tasks, []
        self.unheld.clear()
        for task in tasks:
            task.drop()

    def close_loop(self) -> None:
        """Close the loop of a `def` test, as a runner closes its own."""
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        try:
            leftovers = asyncio.all_tasks(loop)
            for task in leftovers:
                forced_end.cancel_surely(task)
            _end(loop, leftovers)
            _end(loop, {loop.create_task(loop.shutdown_asyncgens())})
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    def _hold(self, task: HeldTask, targets: Targets, is_background: bool) -> bool:
        """Record `task` if it is wanted, and keep it held unless a running method starts it."""
        if (targets.only or targets.ignore) and not self._is_wanted(task, targets, is_background):
            task.abandon()
            return False
        self.tasks.append(task)
        follower = self.follower
        if follower is not None and (_in_captured_task.get() or _current_is_captured()) and follower.adopt(task):
            task.release()
        else:
            self._on_hold(task)
        return True

    def _is_wanted(self, task: HeldTask, targets: Targets, is_background: bool) -> bool:
        """Return True if the targets match `task`; an error in a predicate must not be raised in the creating code.

        There it might end a server's loop, or be swallowed. Instead, the test fails with it. If the task is not a
        background task of the project, and only `only` may match it, an error counts as no match.
        """
        try:
            return self.view(task) in targets
        except Exception as error:
            if is_background and self.error is None:
                error.add_note(f"in the predicate that decides whether to hold {self.view(task)._summary}")
                self.error = error
            return False

    def _context_for(self, kwargs: dict[str, Any]) -> Context | None:
        """Return the context of a held task; None to copy the current one if it is marked, or if the user gave one."""
        is_given = kwargs.get("context") is not None  # an empty context is false
        return None if is_given or _in_captured_task.get() else self._marked_context()

    def _marked_context(self) -> Context:
        """Return a copy of the current context in which `_in_captured_task` is set.

        It is a copy of the last one if nothing has changed since: setting a variable is expensive, copying is not.
        """
        current = copy_context()
        contexts = self._contexts
        if contexts is None or not _are_same(contexts[0], current):
            marked = current.copy()
            marked.run(_in_captured_task.set, True)
            contexts = self._contexts = (current, marked)
        return contexts[1].copy()


def _end(loop: asyncio.AbstractEventLoop, tasks: set["asyncio.Task[Any]"]) -> None:
    """Run `loop` until `tasks` have ended, for a limited time; close those that have not."""
    if tasks:
        forced_end.drain(asyncio.wait(tasks, timeout=forced_end.PATIENCE), loop, tasks)
    for task in tasks:
        if not task.done():
            forced_end.close(task)


def _current_is_captured() -> bool:
    """Return True if a captured task is running; needed for a task with a context of the user, which is not marked."""
    return asyncio._get_running_loop() is not None and isinstance(asyncio.current_task(), HeldTask)


def _are_same(one: Context, other: Context) -> bool:
    """Return True if both contexts hold identical values; ``==`` would accept two empty lists."""
    return len(one) == len(other) and all(other.get(variable, other) is value for variable, value in one.items())
