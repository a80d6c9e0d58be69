"""The pauses of a test itself, such as ``await asyncio.sleep(0)``: they mean "let the other tasks continue".

A function of the test's file that the test awaits may pause for it, and so may one of another file of the tests, or an
asynchronous context manager there. In a suite whose tests were not written to be explored, a pause is never late. Once
a schedule has deviated from asyncio's default order, the test resumes from a pause when nothing else is left to do at
that moment; otherwise it would look at results that the delayed task has had no time to produce.

Private name of CPython used here: ``_callback`` of a handle.
"""

import contextlib
from collections import deque
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

from .._introspect.location import behind
from .arrivals import stepping_task
from .code_of_test import PASSED_OVER, CodeOfTest
from .task_names import TaskIdentity

_LONGEST = 100  # number of iterations for which virtual time stands still although a timer is set
_SECONDS = 0.001  # of real time that one iteration takes at most
_MOST_HELD = 1000  # number of iterations of a run in which the test is held; a task that polls may never be idle


class Pauses:
    """The pauses of the test of one run.

    Args:
        test: the code of the test.
        main: the test's task, as the trace knows it.
    """

    def __init__(self, test: CodeOfTest, main: TaskIdentity) -> None:
        self.test: CodeOfTest = test
        self._main = main
        self._step = -1
        self._held: Any = None
        self._left = _MOST_HELD
        self._timer, self._busy = 0, 0

    def sets(self, actor: TaskIdentity, frame: FrameType, *, is_sleep: bool) -> bool:
        """Return True if `actor`, which sets a timer in `frame`, is the test itself: it pauses, or has a limit."""
        if actor is not self._main or not self.test.awaits(frame):
            return False
        if is_sleep:
            self._step = actor.step
        return True

    def lets_time_pass(self, timer: int, seconds: float) -> bool:
        """Return True if the loop is busy until the next timer is due: real time passes while a task polls.

        Args:
            timer: the number of the next timer.
            seconds: the time until it is due.
        """
        if seconds > 0:
            self._timer, self._busy = timer, self._busy + 1 if timer == self._timer else 0
        return self._busy > _LONGEST and 0 < seconds <= self._busy * _SECONDS

    def hold(self, ready: "deque[Any]", *, is_idle: bool) -> None:
        """Take the test's next step out of the queue if it follows a pause; put it back if nothing else is left.

        Args:
            ready: the queue at the start of an iteration.
            is_idle: True if no arrival is due and no handle is delayed.
        """
        if self._held is None and self._left:
            self._held = next((handle for handle in ready if self._ends_pause(handle)), None)
            if self._held is not None:
                ready.remove(self._held)
        if self._held is None:
            return
        self._left -= 1
        if (is_idle and not ready) or not self._left:
            ready.append(self._held)
            self._held = None
            self._step = -1

    def _ends_pause(self, handle: Any) -> bool:
        task = stepping_task(handle._callback)
        if (
            task is None
            or getattr(task, "_explorer_actor", None) is not self._main
            or handle._cancelled
            or task._must_cancel
        ):
            return False
        return self._main.step == self._step or self._is_suspended_in_pause(task.get_coro())

    def _is_suspended_in_pause(self, coroutine: Any) -> bool:
        """Return True if the test itself awaits ``sleep(0)`` or the like."""
        is_of_test = is_below = False
        while coroutine is not None:
            if type(coroutine) is CoroutineType:
                code, awaited = coroutine.cr_code, coroutine.cr_await
            elif type(coroutine) is GeneratorType:
                code, awaited = coroutine.gi_code, coroutine.gi_yieldfrom
            elif type(coroutine) is AsyncGeneratorType:
                code, awaited = coroutine.ag_code, coroutine.ag_await
            elif (generator := behind(coroutine)) is coroutine:
                return False  # a future
            else:  # what stands for an asynchronous generator
                coroutine = generator
                continue
            is_passed_over = code.co_name in PASSED_OVER
            is_ours = self.test.has(code) or code.co_filename == contextlib.__file__  # which calls context managers
            if is_of_test and not is_passed_over and (is_below or not is_ours):
                return False
            is_below = is_of_test and is_passed_over
            is_of_test = is_of_test or code is self.test.body
            coroutine = awaited
        return is_of_test
