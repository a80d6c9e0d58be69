"""One call of a running method: its tasks, results and errors."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from .._capture.held_task import HeldTask
from .._capture.session import CaptureSession, Follower
from .._introspect.internals import has_selector
from .._introspect.project_code import ProjectCode
from .._introspect.suspension import wait_point_of
from .._introspect.text import indented, plural
from .._introspect.untrusted import add_note
from ..errors import BackgroundTasksError, BackgroundTasksTimeout, TooManyBackgroundTasks
from .failed_tasks import failed
from .nested_loop import Drive, nested

STARTED_IN_TURN = 10_000
"""The number of tasks that one call runs beyond those that were held when it began.

A fan-out of that size is rare in a test; a job that restarts itself forever reaches it in a tenth of a second.
"""


_is_done = asyncio.Task.done  # asyncio's method, which does not count as a poll


class RunningCall:
    """The held tasks that a call starts, and those that they start while the test captures.

    Args:
        capture: the captured tasks of the test.
        tasks: the held tasks in creation order.
        starting: the same tasks in the order in which they start.
    """

    def __init__(self, capture: CaptureSession, tasks: Sequence[HeldTask], starting: Sequence[HeldTask]) -> None:
        self._capture = capture
        self.tasks: list[HeldTask] = list(tasks)
        self._starting = starting
        self._limit = len(self.tasks) + STARTED_IN_TURN
        self._beyond_limit: HeldTask | None = None
        self._outer: Follower | None = None

    def start_all(self, home: asyncio.AbstractEventLoop | None) -> None:
        """Start the held tasks in their order."""
        for task in self._starting:
            self.start(task, home)

    def start(self, task: HeldTask, home: asyncio.AbstractEventLoop | None) -> None:
        """Start a held task: on its loop, or if that is closed, on `home` (None: on the loop of a `def` test)."""
        task.is_left = False
        loop = task.runner.get_loop()
        if not loop.is_closed() and (loop is home or not loop.is_running()):
            task.release()
            return
        try:
            loop.call_soon_threadsafe(task.release)
        except RuntimeError:  # closed
            if task.held:
                task.relocate(home or self._capture.loop_for_def_test())

    def pending(self) -> Iterator[HeldTask]:
        """Yield the tasks to wait for: those of the call, which grow meanwhile; then those cancelled while held."""
        yield from self.tasks
        yield from self._capture.ending

    @contextmanager
    def started_sync(self) -> Iterator[tuple[asyncio.AbstractEventLoop | None, Drive | None]]:
        """Start the held tasks inside a synchronous call; yield the running loop, if any, and its `Drive`."""
        __tracebackhide__ = True
        home = asyncio._get_running_loop()
        with self, nullcontext() if home is None else nested(home) as drive:
            self.start_all(home)
            for task in self._capture.ending:
                if task.get_loop() is home and not has_selector(home):
                    task.end_here()
            yield home, drive

    def has(self, task: HeldTask) -> bool:
        """Return True if this call, or one around it, runs `task`."""
        return any(each is task for each in self.tasks) or (self._outer is not None and self._outer.has(task))

    def __enter__(self) -> "RunningCall":
        self._outer, self._capture.follower = self._capture.follower, self
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.follower = self._outer

    def adopt(self, task: HeldTask) -> bool:
        """Add a task that a captured task has started; return False if there are too many."""
        if self._beyond_limit is not None:
            return False
        if len(self.tasks) >= self._limit:
            self._beyond_limit = task
            return False
        self.tasks.append(task)
        return True

    def results(self, timeout: float | None, return_exceptions: bool) -> list[Any]:
        """Return the results in creation order; raise the errors documented at `BackgroundTasks.run_all_async`."""
        __tracebackhide__ = True
        ended = [task for task in self.tasks if _is_done(task)]
        outcomes = [outcome(task) for task in ended]
        failure = self._failure_in(ended, outcomes)
        if len(ended) < len(self.tasks):
            raise self._timed_out([task for task in self.tasks if not _is_done(task)], timeout) from failure
        if failure is not None and not return_exceptions:
            raise failure
        return outcomes

    def finish_idle(self, activity: list[str] | None, timeout: float | None) -> None:
        """Raise the errors of `BackgroundTasks.run_until_idle_async`; `activity` is what it returned."""
        __tracebackhide__ = True
        for task in self.tasks:
            task.is_left = not _is_done(task)
        ended = [task for task in self.tasks if _is_done(task)]
        failure = self._failure_in(ended, [outcome(task) for task in ended])
        if activity is not None:
            raise self._never_idle(activity, timeout) from failure
        if failure is not None:
            raise failure

    def _failure_in(self, ended: list[HeldTask], outcomes: list[Any]) -> BaseException | None:
        __tracebackhide__ = True
        errors = [
            with_note(each, task)
            for task, each in zip(ended, outcomes, strict=True)
            if task.failed and isinstance(each, BaseException)
        ]
        failure = BaseExceptionGroup("background tasks failed", errors) if len(errors) > 1 else next(iter(errors), None)
        if self._beyond_limit is not None:
            raise self._too_many(self._beyond_limit) from failure
        return failure

    def stuck_in_synchronous_call(self, task: HeldTask) -> BackgroundTasksError:
        """Return the error for a loop that cannot be run from inside."""
        return BackgroundTasksError(
            f"{describe(task, self._capture.is_project)}\n"
            f"{type(task.runner.get_loop()).__module__} cannot wait for a timer, a thread or I/O inside a synchronous "
            f"call. In an async test write\n"
            f"  await background_tasks.run_all_async()"
        )

    def stuck_in_synchronous_idle(self, loop: asyncio.AbstractEventLoop) -> BackgroundTasksError:
        """Return the same error for a call that waits until the loop is idle."""
        return BackgroundTasksError(
            f"{type(loop).__module__} cannot wait for a thread or I/O inside a synchronous call. In an async test "
            f"write\n  await background_tasks.run_until_idle_async()"
        )

    def _too_many(self, next_one: HeldTask) -> TooManyBackgroundTasks:
        [(function, count)] = Counter(task.call.function for task in self.tasks).most_common(1)
        return TooManyBackgroundTasks(
            f"background tasks keep starting background tasks: {function} {count} times, "
            f"next at {next_one.creation.at}\n"
            f"A job that restarts itself forever never ends. To let it start them unobserved, call\n"
            f"  background_tasks.stop_capturing()\n"
            f"before this call, or replace in the test what it starts"
        )

    def _stories(self, unfinished: list[HeldTask], activity: list[str] | None = None) -> str:
        """Return a line for each unfinished task, each external activity, and each other task that has failed."""
        stories = [describe(task, self._capture.is_project) for task in unfinished]
        return indented(stories + (activity or [])) + failed(self._capture, but=self.tasks)

    def _timed_out(self, unfinished: list[HeldTask], timeout: float | None) -> BackgroundTasksTimeout:
        stories = self._stories(unfinished)
        names = list(dict.fromkeys(task.call.function for task in unfinished))
        ignored = repr(names[0] if len(names) == 1 else names)
        after = "" if timeout is None else f" within {timeout:g} s"
        return BackgroundTasksTimeout(
            f"{plural(len(unfinished), 'background task')} did not end{after}:{stories}\n"
            f"Give the task what it waits for, cancel it, or pass a longer timeout= (seconds).\n"
            f"If it is meant to run forever, do not hold it:  background_tasks.start_capturing(ignore={ignored})"
        )

    def _never_idle(self, activity: list[str], timeout: float | None) -> BackgroundTasksTimeout:
        stories = self._stories([task for task in self.tasks if not _is_done(task)], activity)
        return BackgroundTasksTimeout(
            f"the program did not become idle within {timeout or 0:g} s:{stories}\n"
            f"A task keeps running without waiting for a timer or I/O, or a thread or connection is slow. End it, "
            f"run only what you need (run_async(target)), or pass a longer timeout= (seconds)."
        )


def describe(task: HeldTask, is_project: ProjectCode) -> str:
    """Return the description of an unfinished `task` and its position, for an error."""
    if task.runner.get_loop().is_closed():
        where = "its loop was closed while it ran"
    elif wait := wait_point_of(task.runner, is_project):
        where = f"waits at {wait}"
    else:
        where = "is held" if task.held else "is ready to run"
    return f"{task.description} {where}"


def outcome(task: HeldTask) -> Any:
    """Return the result of a task that has ended, or its exception, including `CancelledError`."""
    try:
        error = task.exception()
        return task.result() if error is None else error
    except asyncio.CancelledError as cancelled:
        return cancelled


def with_note(error: BaseException, task: HeldTask) -> BaseException:
    """Return `error`, which `task` raised, with notes that name the task."""
    notes = [f"in background task {task.get_name()} ({task.call.function}), {task.creation}"]
    if task.runner is not task:
        notes.append(
            "its loop was closed before the test ran the task, so it ran on another loop: "
            "locks, connections and futures that belong to the closed loop do not work there"
        )
    for note in notes:
        add_note(error, note)
    return error
