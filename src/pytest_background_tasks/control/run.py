"""One call of a running verb: the tasks it runs, and what comes of them."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..capture.capture import Capture, starts_in_turn
from ..capture.held import HeldTask
from ..errors import BackgroundTasksError, BackgroundTasksTimeout, TooManyBackgroundTasks

STARTED_IN_TURN = 10_000
"""How many tasks one call runs beyond those that were held when it began.

A fan-out of that size is rare in a test; a job that starts itself again for ever gets there in a tenth of a second.
"""


class Run:
    """The held tasks that a call starts, and those that they start in turn while the test captures.

    Args:
        capture: what the tasks come from.
        tasks: held, in the order in which they start.
    """

    def __init__(self, capture: Capture, tasks: Iterable[HeldTask]) -> None:
        self._capture = capture
        self.tasks = list(tasks)
        self._limit = len(self.tasks) + STARTED_IN_TURN
        self._is_over = False
        self._beyond_limit: HeldTask | None = None

    def start(self, task: HeldTask, home: asyncio.AbstractEventLoop | None) -> None:
        """Start a held task: on its own loop, or if that is closed on `home` (None: on the loop of a `def` test)."""
        task.mark(starts_in_turn, self._includes)
        loop = task.get_loop()
        if not loop.is_closed() and (loop is home or not loop.is_running()):
            task.release()
            return
        try:
            loop.call_soon_threadsafe(task.release)
        except RuntimeError:  # closed
            task.move_to(home or self._capture.loop_for_def_test())

    def end(self) -> None:
        """From now on, what the tasks start is held again."""
        self._is_over = True

    def _includes(self, task: HeldTask) -> bool:
        if self._is_over or self._beyond_limit is not None:
            return False
        if len(self.tasks) >= self._limit:
            self._beyond_limit = task
            return False
        self.tasks.append(task)
        return True

    def results(self, timeout: float | None, return_exceptions: bool) -> list[Any]:
        """What they returned, in creation order; raises what `BackgroundTasks.run_all_async` says it does."""
        errors = [self._noted(error, task) for task in self.tasks if task.failed and (error := task.exception())]
        failure = BaseExceptionGroup("background tasks failed", errors) if len(errors) > 1 else next(iter(errors), None)
        unfinished = [task for task in self.tasks if not task.done()]
        if self._beyond_limit is not None:
            raise self._too_many(self._beyond_limit) from failure
        if unfinished:
            raise self._timed_out(unfinished, timeout) from failure
        if failure is not None and not return_exceptions:
            raise failure
        return [_outcome(task) for task in self.tasks]

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
            f"Give it what it waits for; cancel one that never ends, or run only the others, run_async(target); "
            f"or allow more time, timeout=… (seconds)"
        )

    def _story(self, task: HeldTask) -> str:
        if task.runner.get_loop().is_closed():
            where = "its loop was closed while it ran"
        elif site := self._capture.view(task).suspended_at:
            where = f"waits at {site}"
        else:
            where = "is held" if task.held else "is about to go on"
        return f"{task.call.function} ({task.get_name()}, created at {task.created_at}) {where}"

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


def _outcome(task: HeldTask) -> Any:
    try:
        return task.exception() or task.result()
    except asyncio.CancelledError as cancelled:
        return cancelled
