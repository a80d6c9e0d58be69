"""The monitor, which records the background tasks of a session and collects the findings about them.

It is an instrument: it receives the events of all loops while it is open. All mutable state is in here.

Only background tasks of project code are monitored (rule 2 of the design): code that awaits the task it starts is
responsible for that task, as long as it waits; the tasks of a library are the library's business.
"""

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from operator import attrgetter
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from .._asyncio.forced_end import cancel_surely, circle_from
from .._asyncio.instrument import Instrument, hub
from .._asyncio.late_cancellation import cancelling_too_late
from .._capture.call import code_of
from .._capture.held_task import HeldTask
from .._capture.opentelemetry import traced
from .._capture.origin import is_of_project, origin_of
from .._introspect.internals import retrieve_silently
from .._introspect.location import raising_locations, waiting_location
from .._introspect.project_code import ProjectCode
from .._introspect.suspension import task_label
from .._introspect.task_state import is_done, is_task, loop_of
from .._introspect.untrusted import module_name, qualified_name
from .finding import Finding, of_task
from .reachability import is_reachable
from .task_record import (
    ATTRIBUTE,
    Fixture,
    MonitoredTest,
    TaskRecord,
    TaskSnapshot,
    failure_of,
    is_abandoned,
    record_of,
    unretrieved,
)

if TYPE_CHECKING:
    from .._capture.session import CaptureSession

Owners: TypeAlias = Callable[[], Iterable[tuple[Fixture, object]]]

_LOOP_REPORT_KEYS = {"handle", "protocol"}  # keys of the loop's own reports; other callers report errors themselves
_PENDING_AT_SHUTDOWN = "{} was still pending when its event loop shut down, and was cancelled"
_RUNNERS = {"anyio", "pytest_asyncio", "pytest_aiohttp"}  # their exception handlers are not the program's


class TaskMonitor(Instrument):
    """The records of all background tasks, and the findings about them.

    Args:
        is_project: project code.

    Attributes:
        capture: the captured tasks of the running test, if it uses the fixture ``background_tasks``.
    """

    def __init__(self, is_project: ProjectCode) -> None:
        self.capture: CaptureSession | None = None
        self._is_project = is_project
        self._test: MonitoredTest | None = None
        self._in_setup: list[Fixture] = []
        self._has_fixtures_tasks = False  # whether a fixture has ever started a task
        self._records: set[TaskRecord] = set()
        self._numbers = count()
        self._forget = self._records.discard
        self._cancelled_too_late: set[TaskRecord] = set()
        self._findings: list[Finding] = []
        self._captured_losses: dict[HeldTask, Finding] = {}
        self._is_searching = False
        self._patches = ExitStack()

    def open(self) -> None:
        """Start to monitor every loop of the process."""
        self._patches.enter_context(hub.added(self))
        self._patches.enter_context(cancelling_too_late(self._keeps_failure))

    def close(self) -> None:
        """Remove all patches."""
        self._test = None
        self._patches.close()
        for record in self._cancelled_too_late.copy():
            self._forget_task(record, record())

    def test_started(self, test: MonitoredTest) -> None:
        """Begin `test`: tasks that are created from now on are attributed to it."""
        self._test = test
        hub.find_loops()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Attribute nothing to the running test inside the block."""
        test, self._test = self._test, None
        try:
            yield
        finally:
            self._test = test

    def fixture_setup(self, fixture: Fixture) -> None:
        """Begin the setup of `fixture`: tasks that are created until it is set up belong to it."""
        self._in_setup.append(fixture)

    def force_garbage_collection(self) -> None:
        """Run the garbage collector, which collects only tasks that nothing can ever wake."""
        test = self._test
        if test is None or test.modes.destroyed != "gc" or all(record.is_over for record in self._in_order()):
            return
        self._is_searching = True
        try:
            gc.collect()
        finally:
            self._is_searching = False

    def collect(self, owners: Owners) -> list[Finding]:
        """Finish the test. Return the findings about its tasks, and about those that earlier tests have left behind.

        Args:
            owners: returns the fixtures that outlive the test and their values, in the order of their setup.
        """
        for record in self._in_order():
            task = record()
            if task is not None:
                self._classify(record, task, owners)
        for record in self._cancelled_too_late.copy():
            if record() is None:  # its exception was retrieved, or asyncio would have reported it
                self._cancelled_too_late.discard(record)
        findings, self._findings = self._findings, []
        self._captured_losses.clear()
        self._test = None
        return findings

    def failures(self) -> list[tuple[str, BaseException]]:
        """Return what has failed in the running test or is owned by a wider fixture, retrieved or not."""
        failures = [
            (f"background task {finding.snapshot.description}" if finding.snapshot else "a callback", finding.error)
            for finding in self._findings
            if finding.test is self._test and finding.error is not None
        ]
        for record in self._in_order():
            task = record()
            if task is not None and (record.test is self._test or record.is_owned) and not record.has_failed:
                error = failure_of(task)
                if error is not None:
                    failures.append((f"background task {task_label(task)}", error))
        return failures

    def collect_captured(self, tasks: Sequence[HeldTask]) -> None:
        """Collect the findings about captured `tasks` that the fixture is about to forget."""
        test = self._test
        if test is None:
            return
        for task in tasks:
            error, loss = unretrieved(task), self._captured_losses.get(task)
            if error is not None:
                self._drop(loss)
                self._findings.append(_failure(test, self._snapshot(task), error))
            elif loss is not None:
                continue
            elif task.held:
                self._findings.append(of_task("leaked", test, self._snapshot(task), "{} was held and never run"))
            elif is_abandoned(task.runner):
                self._findings.append(of_task("leaked", test, self._snapshot(task), "{} was started and has not ended"))

    def _snapshot(self, task: HeldTask) -> TaskSnapshot:
        return TaskSnapshot(
            task.get_name(), task.call, task.creation, waiting_location(task.get_coro(), self._is_project)
        )

    def task_created(self, loop: asyncio.AbstractEventLoop, task: Any, coroutine: Any, frame: FrameType) -> None:
        """Record `task`, which has just been created in `frame`."""
        test = self._test
        if test is None or not (type(task) is asyncio.Task or is_task(task)):  # a task factory may make anything
            return
        origin = origin_of(frame, loop, self._is_project)
        if not (origin.through if origin.awaits_task else is_of_project(origin, coroutine, self._is_project)):
            return
        record = TaskRecord(task, self._forget)
        record.number = next(self._numbers)
        record.monitor = self
        record.test = test
        record.origin = origin
        called = traced(coroutine)
        if type(called) is CoroutineType:  # the usual case
            record.name, record.code = called.__qualname__, called.cr_code
        else:
            record.name, record.code = qualified_name(called), code_of(called)
        record.fixture = self._fixture_at_work(loop) if self._in_setup or self._has_fixtures_tasks else None
        record.owner = None
        record.has_failed = False
        record.loss = None
        object.__setattr__(task, ATTRIBUTE, record)  # the class of a task may define how its attributes are set
        self._records.add(record)

    def exception_reported(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> bool:
        """Collect findings from a call of the loop's exception handler.

        Returns:
            True if the handler would have been called without the monitor.
        """
        if type(context) is not dict:
            return True
        task: Any = context.get("task")
        if task is None:
            task = context.get("future")
        error: Any = context.get("exception")
        if not issubclass(type(error), BaseException):
            error = None
        record = self._record_of(task)
        if record is not None and error is not None and record in self._cancelled_too_late:
            self._cancelled_too_late.discard(record)
            self._fail(record, task, error)
            return False
        self._hear(loop, context, record, task, error)
        return True

    def _hear(
        self,
        loop: asyncio.AbstractEventLoop,
        context: Mapping[str, Any],
        record: TaskRecord | None,
        task: Any,
        error: BaseException | None,
    ) -> None:
        if _has_exception_handler(loop):
            return
        if record is not None and error is not None:
            self._fail(record, task, error)
        elif record is not None and is_abandoned(task, record):
            self._destroyed(record, task, loop)
        elif error is not None and self._test is not None and not _LOOP_REPORT_KEYS.isdisjoint(context):
            self._fail_callback(self._test, error, context.get("message", ""))

    def cancelling_all_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Collect the leaks on `loop`, before a runner cancels the remaining tasks."""
        self.force_garbage_collection()
        for record in self._in_order():
            task = record()
            if task is not None and loop_of(task) is loop and record.may_leak and is_abandoned(task, record):
                self._leak(record, task, _PENDING_AT_SHUTDOWN)

    def cancelling_tasks(self, loop: asyncio.AbstractEventLoop, tasks: "set[asyncio.Task[Any]]") -> None:
        """Collect the leaks among captured tasks.

        End those that wait for each other, since the runner would fail with a `RecursionError`.
        """
        if self._test is not None and self.capture is not None:
            for held in self.capture.tasks:
                if not held.held and loop_of(held.runner) is loop and is_abandoned(held.runner):
                    loss = of_task("leaked", self._test, self._snapshot(held), _PENDING_AT_SHUTDOWN)
                    self._captured_losses[held] = loss
                    self._findings.append(loss)
        captured = [task for task in tasks if isinstance(task, HeldTask) and task in circle_from(task)]
        for task in captured:
            cancel_surely(task)
        if captured:
            loop.run_until_complete(asyncio.sleep(0))

    def _in_order(self) -> list[TaskRecord]:
        # Copied at once: another thread may add records, and the garbage collector may remove some.
        return sorted(self._records.copy(), key=attrgetter("number")) if self._records else []

    def _record_of(self, task: object) -> TaskRecord | None:
        record = record_of(task)
        return record if record is not None and record.monitor is self else None

    def _fixture_at_work(self, loop: asyncio.AbstractEventLoop) -> Fixture | None:
        """Return the fixture that is being set up, or whose task is running: a server's task starts its own tasks."""
        in_setup = self._in_setup
        while in_setup and in_setup[-1].is_set_up():
            in_setup.pop()
        if in_setup:
            self._has_fixtures_tasks = True
            return in_setup[-1]
        creating = record_of(asyncio.current_task(loop))
        return creating.fixture if creating is not None else None

    def _keeps_failure(self, task: Any) -> bool:
        """Return True if `task`, which failed and is cancelled before its exception was retrieved, has a record."""
        record = self._record_of(task)
        if record is None:
            return False
        self._cancelled_too_late.add(record)
        return True

    def _unreported_error(self, record: TaskRecord, task: Any) -> BaseException | None:
        """Return the exception to report. No exception handler is called for a task that was cancelled."""
        is_too_late = record in self._cancelled_too_late
        is_heard = not is_too_late and _has_exception_handler(loop_of(task))
        return None if record.has_failed or is_heard else unretrieved(task)

    def _classify(self, record: TaskRecord, task: Any, owners: Owners) -> None:
        error = self._unreported_error(record, task)
        has_leaked = record.may_leak and is_abandoned(task, record)
        if error is None and not has_leaked:
            if is_done(task):
                self._forget_task(record, task)
            return
        if record.fixture is None and record.owner is None:
            record.owner = next((fixture for fixture, value in owners() if is_reachable(value, task)), None)
        if record.is_owned:
            return
        if error is not None:
            self._fail(record, task, error)
        else:
            self._leak(record, task, "{} is still pending, and its test has ended")

    def _forget_task(self, record: TaskRecord, task: Any) -> None:
        self._forget(record)
        if record in self._cancelled_too_late:
            self._cancelled_too_late.discard(record)
            if task is not None:
                retrieve_silently(task)

    def _fail(self, record: TaskRecord, task: Any, error: BaseException) -> None:
        if record.has_failed:
            return
        record.has_failed = True
        self._drop(record.loss)  # the exception says more
        self._findings.append(_failure(record.test, record.snapshot(task, self._is_project), error))

    def _drop(self, loss: Finding | None) -> None:
        # By identity: equality would compare objects of the program.
        self._findings = [finding for finding in self._findings if finding is not loss]

    def _leak(self, record: TaskRecord, task: Any, what: str) -> None:
        record.loss = of_task("leaked", record.test, record.snapshot(task, self._is_project), what)
        self._findings.append(record.loss)

    def _destroyed(self, record: TaskRecord, task: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Collect a destroyed task: destroyed if its loop still runs, else leaked by its loop."""
        if not loop.is_closed() and (loop.is_running() or self._is_searching):
            what = (
                "{} was garbage-collected while pending: only the event loop, which keeps weak references, "
                "referred to it"
            )
            record.loss = of_task("destroyed", record.test, record.snapshot(task, self._is_project), what)
            self._findings.append(record.loss)
        elif record.may_leak:
            self._leak(record, task, "{} was still pending after its event loop had ended")

    def _fail_callback(self, test: MonitoredTest, error: BaseException, message: str) -> None:
        own = raising_locations(error, self._is_project)
        if own:
            what = f"exception of a callback of the event loop was never retrieved: {message}"
            where = (f"failed at {own[-1]}",)
            self._findings.append(Finding("unhandled", test, what, where, own[-1], error=error))


def _failure(test: MonitoredTest, snapshot: TaskSnapshot, error: BaseException) -> Finding:
    return of_task("unhandled", test, snapshot, "exception of {} was never retrieved", error)


def _has_exception_handler(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if the program has set an exception handler on `loop`."""
    handler = loop.get_exception_handler()
    return handler is not None and module_name(handler).partition(".")[0] not in _RUNNERS
