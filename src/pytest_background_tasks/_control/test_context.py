"""The state of one test that uses the fixtures of this package."""

import asyncio
from collections.abc import Callable
from types import CodeType

from .._capture.held_task import HeldTask
from .._capture.session import CaptureSession
from .._introspect.location import SourceLocation
from .._introspect.project_code import ProjectCode
from ..errors import BackgroundTasksError
from .deadlock_detector import DeadlockDetector
from .driver import drain
from .external_activity import ExternalActivity
from .running_call import RunningCall
from .start_order import Order, ordered
from .stepper import Stepper
from .workers import Workers


class TestContext:
    """The state of one test, which its fixtures share and the plugin reads.

    Args:
        is_project: project code.
        test: the name of the test, which is also the seed of ``order="random"``.
        test_code: the code of the test function, which identifies its task.
        timeout: the default timeout of a running method, in seconds of real time; None: no limit.
        grace: the grace period of external activity, in seconds of real time.

    Attributes:
        notes: lines that are reported if the test fails.
        is_open: True until the test ends.
        check_virtual_time: raises an error if ``virtual_time`` had no effect; returns a warning and its line, if any.
    """

    __test__ = False  # pytest takes it for a class of tests otherwise

    def __init__(
        self, is_project: ProjectCode, test: str, test_code: CodeType | None, timeout: float | None, grace: float
    ) -> None:
        self.is_project = is_project
        self.test = test
        self.timeout = timeout
        self.notes: list[str] = []
        self.is_open: bool = True
        self.check_virtual_time: Callable[[], tuple[str, SourceLocation] | None] = lambda: None
        self._grace = grace
        self._workers = Workers(is_project)
        self._capture = CaptureSession(is_project, lambda task: self.detector.watch(task))  # noqa: PLW0108  # made below
        self.detector: DeadlockDetector = DeadlockDetector(self._capture, test_code, timeout, self._workers)
        self.stepper: Stepper = Stepper(self.activity, is_project)

    @property
    def capture(self) -> CaptureSession:
        """The captured tasks; raises `BackgroundTasksError` if the test has ended."""
        __tracebackhide__ = True
        if not self.is_open:
            raise BackgroundTasksError(
                f"background_tasks of {self.test} was used after that test had ended; "
                f"request the fixture in the test that uses it:  def test_…(background_tasks):"
            )
        return self._capture

    def activity(self, loop: asyncio.AbstractEventLoop) -> ExternalActivity:
        """Return the external activity of `loop`."""
        return ExternalActivity(loop, self._grace, self._workers)

    def prepare_all(self, order: Order, call: str) -> RunningCall:
        """Return the call that runs all held tasks; `call` is the user's call as text, with ``{}`` for the order."""
        __tracebackhide__ = True
        if not self.capture.tasks:
            self.notes.append(f"{call.format('')} had nothing to run: {self.capture.unheld.why_nothing}")
        return self.prepare(self.capture.resumable, order, call)

    def prepare_until_idle(self, order: Order, call: str) -> RunningCall:
        """Return the call that starts all held tasks, and runs all captured tasks until they are idle."""
        __tracebackhide__ = True
        run = self.prepare(self.capture.paused, order, call)
        run.tasks = [task for task in self.capture.tasks if not asyncio.Task.done(task)]
        return run

    def prepare(self, held: list[HeldTask], order: Order, call: str) -> RunningCall:
        """Return the call that runs the tasks `held`."""
        __tracebackhide__ = True
        starting = ordered(held, self.capture.view, order, self.test, call)
        if order == "random":
            names = ", ".join(task.get_name() for task in starting)
            self.notes.append(f"order='random' (seed {self.test!r}) started: {names}")
        return RunningCall(self.capture, held, starting)

    @property
    def lost_error(self) -> BaseException | None:
        """The error that never reached the test, if any: of a deadlock, or of a predicate that failed."""
        return self.detector.lost_error or self._capture.error

    def failure_notes(self) -> str:
        """Return the report for a failed test: the notes of its running methods, and the held tasks."""
        held = [f"never run: {self._capture.view(task)._summary}" for task in self._capture.held]
        return "\n".join([*self.notes, *held])

    def close(self) -> None:
        """End the test: no task is held, nothing is patched, no captured task keeps running."""
        self.is_open = False
        started = [task for task in self._capture.tasks if not task.held]
        self._capture.set_targets(None)
        self._capture.reset()
        self.detector.close()
        drain(started)
        self._capture.close_loop()
