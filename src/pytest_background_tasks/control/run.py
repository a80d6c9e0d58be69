"""One call of a running verb: the tasks it runs, and what comes of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..capture.capture import Capture
from ..capture.held import HeldTask
from ..errors import BackgroundTasksError, BackgroundTasksTimeout, TooManyBackgroundTasks

STARTED_IN_TURN = 10_000
"""How many tasks one call runs beyond those that were held when it began.

A fan-out of that size is rare in a test; a job that starts itself again for ever gets there in a tenth of a second.
"""


_is_done = asyncio.Task.done  # as asyncio asks it: a run does not poll


class Run:
    """The held tasks that a call starts, and those that they start in turn while the test captures.

    Args:
        capture: what the tasks come from.
        tasks: held, in the order of creation.
        starting: the same in the order in which they start.
    """

    def __init__(self, capture: Capture, tasks: Sequence[HeldTask], starting: Sequence[HeldTask]) -> None:
        self._capture = capture
        self.tasks = list(tasks)
        self.starting = starting
        self._limit = len(self.tasks) + STARTED_IN_TURN
        self._beyond_limit: HeldTask | None = None

    def start(self, task: HeldTask, home: asyncio.AbstractEventLoop | None) -> None:
        """Start a held task: on its own loop, or if that is closed on `home` (None: on the loop of a `def` test)."""
        loop = task.get_loop()
        if not loop.is_closed() and (loop is home or not loop.is_running()):
            task.release()
            return
        try:
            loop.call_soon_threadsafe(task.release)
        except RuntimeError:  # closed
            task.move_to(home or self._capture.loop_for_def_test())

    def __enter__(self) -> "Run":
        self._outer, self._capture.follower = self._capture.follower, self
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.follower = self._outer

    def follow(self, task: HeldTask) -> bool:
        """Take up a task that a captured task has started; False if that goes on without end."""
        if self._beyond_limit is not None:
            return False
        if len(self.tasks) >= self._limit:
            self._beyond_limit = task
            return False
        self.tasks.append(task)
        return True

    def results(self, timeout: float | None, return_exceptions: bool) -> list[Any]:
        """What they returned, in creation order; raises what `BackgroundTasks.run_all_async` says it does."""
        __tracebackhide__ = True
        results: list[Any] = []
        errors: list[BaseException] = []
        unfinished: list[HeldTask] = []
        for task in self.tasks:
            if not _is_done(task):
                unfinished.append(task)
                continue
            try:
                error = task.exception()
            except asyncio.CancelledError as cancelled:
                results.append(cancelled)
                continue
            if error is not None:
                errors.append(self._noted(error, task))
            results.append(error or task.result())
        failure = BaseExceptionGroup("background tasks failed", errors) if len(errors) > 1 else next(iter(errors), None)
        if self._beyond_limit is not None:
            raise self._too_many(self._beyond_limit) from failure
        if unfinished:
            raise self._timed_out(unfinished, timeout) from failure
        if failure is not None and not return_exceptions:
            raise failure
        return results

    def stuck_in_synchronous_call(self, task: HeldTask) -> BackgroundTasksError:
        """The error for a loop that cannot be run from inside."""
        return BackgroundTasksError(
            f"{self._story(task)}\n"
            f"{type(task.runner.get_loop()).__module__} cannot wait for a timer, a thread or I/O inside a synchronous "
            f"call. In an async test write\n"
            f"  await background_tasks.run_all_async()"
        )

    def _too_many(self, next_one: HeldTask) -> TooManyBackgroundTasks:
        [(function, count)] = Counter(task.call.function for task in self.tasks).most_common(1)
        return TooManyBackgroundTasks(
            f"background tasks go on starting background tasks: {function} {count} times, "
            f"next at {next_one.created_at}\n"
            f"A job that starts itself again for ever cannot be run to its end. Let it start them unobserved\n"
            f"  background_tasks.stop_capturing()\n"
            f"before this call, or replace in the test what it starts"
        )

    def _timed_out(self, unfinished: list[HeldTask], timeout: float | None) -> BackgroundTasksTimeout:
        number = "1 background task" if len(unfinished) == 1 else f"{len(unfinished)} background tasks"
        stories = "".join(f"\n  {self._story(task)}" for task in unfinished)
        after = "" if timeout is None else f" within {timeout:g} s"
        return BackgroundTasksTimeout(
            f"{number} did not end{after}:{stories}\n"
            f"Give it what it waits for, cancel it, or allow more time, timeout=… (seconds).\n"
            f"One that never ends need not be held:  "
            f"background_tasks.start_capturing(ignore={unfinished[0].call.function!r})"
        )

    def _story(self, task: HeldTask) -> str:
        if task.runner.get_loop().is_closed():
            where = "its loop was closed while it ran"
        elif site := self._capture.view(task).suspended_at:
            where = f"waits at {site}"
        else:
            where = "is held" if task.held else "is about to go on"
        return f"{task.known_as} {where}"

    def _noted(self, error: BaseException, task: HeldTask) -> BaseException:
        notes = [f"in background task {task.get_name()}, {task.call.function}, created at {task.created_at}"]
        if task.runner is not task:
            notes.append(
                "its loop was closed before the test ran it, so it ran on another one: "
                "locks, connections and futures that belong to the closed loop do not work there"
            )
        for note in notes:
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        return error
