"""The error for a deadlocked test: its message, and its delivery to the line that waits.

The error is set on the future that the test's task waits for. (Raising it from the selector instead would end the
runner, not the test: anyio's would hang at its next fixture.)
"""

import asyncio
import inspect
from traceback import walk_tb
from types import CodeType
from typing import Any

from .._asyncio.forced_end import cancel_surely, circle_from, wake
from .._capture.session import CaptureSession
from .._capture.waiters import is_asleep, is_waited_for
from .._introspect.internals import awaited_by
from .._introspect.location import SourceLocation, await_chain, waiting_location
from .._introspect.suspension import task_label, wait_point_of
from .._introspect.task_state import coroutine_of, is_task, name_of
from .._introspect.text import indented
from ..errors import DeadlockError
from .failed_tasks import failed

_MAX_DELIVERIES = 3  # how often to end the waiting of code that catches every exception and waits again


class DeadlockReporter:
    """Delivery of the error to a test, on whatever loop it waits, and whether the error has reached the test.

    Args:
        capture: the captured tasks.
        test_code: the code of the test function, which identifies its task.
    """

    def __init__(self, capture: CaptureSession, test_code: CodeType | None) -> None:
        self._capture = capture
        self._test_code = test_code
        self._error: DeadlockError | None = None
        self._is_thrown = False
        self._endings = 0
        self._ended: set[tuple[str, SourceLocation | None]] = set()

    @property
    def lost_error(self) -> DeadlockError | None:
        """The error that was raised, if it was caught before it reached the test function."""
        if self._error is None or (self._is_thrown and self._error.__traceback__ is None):  # assertRaises strips it
            return None
        codes = [frame.f_code for frame, _ in walk_tb(self._error.__traceback__)]
        return None if any(self._is_of_test(code) for code in codes) else self._error

    def waiting_task(self, loop: asyncio.AbstractEventLoop) -> Any:
        """Return the test's task if it waits on `loop`, else the project's first one; sleeping tasks do not count."""
        return self._first(loop, sleeping=False)

    def place(self, loop: asyncio.AbstractEventLoop) -> object:
        """Return the place where the test waits, which stays equal until the test resumes."""
        task = self.waiting_task(loop)
        return None if task is None else (id(task), id(awaited_by(_innermost(task))))

    def deliver(self, loop: asyncio.AbstractEventLoop, inactivity: str = "", advice: str = "") -> bool:
        """Deliver the error to the future that the test waits for; return False if no task of the project waits.

        Args:
            loop: the loop, which is idle and called this.
            inactivity: the sources without an event and for how long, if the deadlock is not proven.
            advice: what to do about the deadlock; by default, to run the held tasks.
        """
        task = self._first(loop, sleeping=bool(advice))
        place = (
            None if task is None else (name_of(task), waiting_location(coroutine_of(task), self._capture.is_project))
        )
        if place is not None and place not in self._ended and self.lost_error is None:
            # The test expected the last error, and now waits at another place.
            self._ended.add(place)
            self._error, self._is_thrown, self._endings = None, False, 0
        self._endings += 1
        if task is None or self._endings > _MAX_DELIVERIES:
            return False
        if self._error is None:
            self._error = DeadlockError(self._message(task, loop, inactivity, advice))
            self._is_thrown = self._throw(task, self._error)
            _end_circles(loop, but=circle_from(task))
            if self._is_thrown:
                return True
        cancel_surely(task, str(self._error))  # the task has caught the error and waits again
        return True

    def _throw(self, task: Any, error: BaseException) -> bool:
        """Raise `error` in the innermost task that `task` waits for; return False if that is ready or held."""
        innermost = _innermost(task)
        if circle_from(task):
            raised = task.get_loop().create_future()
            raised.set_exception(error)
            wake(innermost, raised)
        elif is_task(waits_for := awaited_by(innermost)):
            return False
        else:
            waits_for.set_exception(error)
        return True

    def describe_waiters(self, loop: asyncio.AbstractEventLoop, but: "asyncio.Task[Any] | None" = None) -> str:
        """Return a line for each other task of the project that waits on `loop`, and for each held task."""
        own = self._capture.is_project
        waits = [(task, wait_point_of(task, own)) for task in asyncio.all_tasks(loop) if task is not but]
        lines = sorted(f"{task_label(task)} waits at {wait}" for task, wait in waits if wait and own[wait.file])
        lines += [
            f"{'held' if task.held else 'stopped after a step'}: {task.description}" for task in self._capture.paused
        ]
        return indented(lines)

    def _first(self, loop: asyncio.AbstractEventLoop, sleeping: bool) -> Any:
        tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(name_of(task)), name_of(task)))
        waiting = [task for task in tasks if awaited_by(task) is not None]
        chains = [
            (task, [frame.f_code for frame in await_chain(coroutine_of(task))])
            for task in waiting
            if sleeping or not is_asleep(task)
        ]
        own = [task for task, codes in chains if any(self._capture.is_project[code.co_filename] for code in codes)]
        of_test = [task for task, codes in chains if any(map(self._is_of_test, codes))]
        tests = [task for task, codes in chains if self._test_code in codes]
        answering = [task for task in own if is_waited_for(task)]  # for example, a task that a portal runs for the test
        return next(iter(tests + of_test + answering + own), None)

    @property
    def _call_to_run(self) -> str:
        is_async = self._test_code is None or self._test_code.co_flags & inspect.CO_COROUTINE
        return "await background_tasks.run_all_async()" if is_async else "background_tasks.run_all_sync()"

    def _is_of_test(self, code: CodeType) -> bool:
        """Return True if `code` is the test function, or is defined in it."""
        test = self._test_code
        return (
            test is not None
            and code.co_filename == test.co_filename
            and (code.co_qualname == test.co_qualname or code.co_qualname.startswith(f"{test.co_qualname}.<locals>."))
        )

    def _message(self, task: "asyncio.Task[Any]", loop: asyncio.AbstractEventLoop, inactivity: str, advice: str) -> str:
        held = self._capture.paused
        is_test = any(frame.f_code is self._test_code for frame in await_chain(coroutine_of(task)))
        who = "the test" if is_test else f"for the test, {task_label(task)}"
        first = f"\n  {who} waits at {wait_point_of(task, self._capture.is_project)}"
        listing = (
            first
            + self.describe_waiters(loop, but=task)
            + (f"\n  {inactivity}" if inactivity else "")
            + failed(self._capture)
        )
        if held and not advice:
            advice = (
                f"Run the held tasks before you wait for their effect:  {self._call_to_run}\n"
                f"or do not hold them:  background_tasks.start_capturing(ignore={held[0].call.function!r})"
            )
        what = "every task is blocked" + (" while background tasks are held" if held else "")
        return f"{what}:{listing}\n{advice or 'No other task is left that could unblock them.'}"


def _end_circles(loop: asyncio.AbstractEventLoop, but: list[Any]) -> None:
    """Cancel tasks that wait for each other, because the runner that ends the loop could not."""
    for task in asyncio.all_tasks(loop):
        circle = circle_from(task)
        if task in circle and task not in but:
            cancel_surely(task)


def _innermost(task: Any) -> Any:
    """Return the last task in the chain of waiting tasks from `task` on; in a circle, the last new one."""
    seen = {id(task)}
    while is_task(following := awaited_by(task)) and awaited_by(following) is not None:
        if id(following) in seen:
            break
        seen.add(id(following))
        task = following
    return task
