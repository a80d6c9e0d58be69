"""The pytest hooks of ``background_tasks_deadlock = error``, which fail a deadlocked test.

Registered at the first test that asks for them, so that other sessions do not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .._asyncio.instrument import hub
from .._capture.session import CaptureSession
from .._control.deadlock_detector import DeadlockDetector
from .._control.workers import Workers
from .._introspect.untrusted import code_of_function

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .._introspect.project_code import ProjectCode
    from .._monitor.task_monitor import TaskMonitor


class DeadlockPlugin:
    """The hooks, which observe every loop on which a test creates a task. Only a proven deadlock fails the test.

    Args:
        monitor: the monitor, which reports the loops.
        is_project: project code.
        is_wanted: returns True if the running test asks for these hooks.
    """

    def __init__(
        self,
        monitor: TaskMonitor,
        is_project: ProjectCode,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._monitor = monitor
        self._is_project = is_project
        self._is_wanted = is_wanted

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a deadlocked test, even if the code under test has caught the error."""
        __tracebackhide__ = True
        # The fixture virtual_time detects deadlocks itself.
        is_function = issubclass(type(item), pytest.Function)
        if not self._is_wanted() or (is_function and "virtual_time" in item.fixturenames):  # type: ignore[attr-defined]
            return (yield)
        capture = self._monitor.capture or CaptureSession(self._is_project, lambda _: None)
        capture.other_failures = self._monitor.failures
        code = code_of_function(item.function) if is_function else None  # type: ignore[attr-defined]
        detector = DeadlockDetector(capture, code, None, Workers(self._is_project))
        try:
            with hub.added(detector):
                result = yield
        finally:
            detector.close()
        if detector.lost_error is not None:
            raise detector.lost_error
        return result
