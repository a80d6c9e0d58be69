"""The monitor, which records the background tasks of a session and collects the findings about them.

How it works. Every task is created through ``create_task`` of its loop's class (see ``_capture/patches.py``), and
asyncio reports a lost task to ``call_exception_handler`` of that class, at whatever moment the garbage collector
chooses. Both are wrapped while the monitor is open, and so is the function that a runner calls to cancel the remaining
tasks. All mutable state is in here.

Only background tasks of project code are monitored (rule 2 of the design): code that awaits the task it starts is
responsible for that task, as long as it waits; the tasks of a library are the library's business.

Private names of CPython used here: ``asyncio.runners._cancel_all_tasks``, which is replaced, ``_log_traceback`` of a
task, and ``_source_traceback``, which is changed.
"""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import count
from operator import attrgetter
from types import CoroutineType, FrameType
from typing import Any, TypeAlias

from .._asyncio.forced_end import cancel_surely, circle_from
from .._asyncio.late_cancellation import cancelling_too_late
from .._capture.call import code_of
from .._capture.held_task import HeldTask
from .._capture.opentelemetry import traced
from .._capture.origin import creator_of, is_of_project, on_behalf
from .._introspect.location import raising_sites, waiting_site
from .._introspect.project_code import OwnCode
from .._introspect.suspension import known
from .._introspect.task_state import is_done, is_task, loop_of
from .._introspect.untrusted import module_name, qualified_name
from .._util import replaced
from .finding import Report, of_task
from .reachability import keeps
from .task_record import ATTRIBUTE, Fixture, Record, Seen, Watched, failure_of, is_abandoned, record_of, unretrieved

Keepers: TypeAlias = Callable[[], Iterable[tuple[Fixture, object]]]

_TOLD_BY_LOOP = {"handle", "protocol"}  # keys of the loop's own reports; other callers report errors themselves
_RUNNERS = {"anyio", "pytest_asyncio", "pytest_aiohttp"}  # their exception handlers are not the program's


class Watch:
    """The records of all background tasks, and the findings about them.

    Args:
        is_own: project code.
    """

    def __init__(self, is_own: OwnCode) -> None:
        self._is_own = is_own
        self._test: Watched | None = None
        self._tell_loop: Callable[[asyncio.AbstractEventLoop], None] | None = None
        self._making: list[Fixture] = []
        self._has_fixtures_tasks = False  # whether a fixture has ever started a task
        self._records: set[Record] = set()
        self._numbers = count()
        self._forget = self._records.discard
        self._cancelled_too_late: set[Record] = set()
        self._reports: list[Report] = []
        self._is_searching = False
        self._patches = ExitStack()
        self._patched: set[type] = set()

    def open(self) -> None:
        """Start to monitor every loop of the process."""
        self._patches.enter_context(replaced(asyncio.runners, "_cancel_all_tasks", _judging(self)))
        self._patches.enter_context(cancelling_too_late(self._keeps_failure))
        self._patch(asyncio.BaseEventLoop)

    def close(self) -> None:
        """Remove all patches."""
        self._test = None
        self._patches.close()
        for record in self._cancelled_too_late.copy():
            self._let_go(record, record())

    def begin(self, test: Watched) -> None:
        """Begin `test`: tasks that are created from now on are attributed to it."""
        self._test = test
        uvloop: Any = sys.modules.get("uvloop")
        if hasattr(uvloop, "Loop"):
            self._patch(uvloop.Loop)

    def make(self, fixture: Fixture) -> None:
        """Begin the setup of `fixture`: tasks that are created until it is set up belong to it."""
        self._making.append(fixture)

    @contextmanager
    def telling_loops(self, tell: Callable[[asyncio.AbstractEventLoop], None]) -> Iterator[None]:
        """Call `tell` with the loop of each task that any code creates inside the block."""
        self._tell_loop = tell
        try:
            yield
        finally:
            self._tell_loop = None

    def search(self) -> None:
        """Run the garbage collector, which collects only tasks that nothing can ever wake."""
        test = self._test
        if test is None or test.modes.destroyed != "gc" or all(record.is_over for record in self._in_order()):
            return
        self._is_searching = True
        try:
            gc.collect()
        finally:
            self._is_searching = False

    def finish(self, keepers: Keepers) -> list[Report]:
        """Finish the test. Return the findings about its tasks, and about those that earlier tests have left behind.

        Args:
            keepers: returns the fixtures that outlive the test and their values, in the order of their setup.
        """
        for record in self._in_order():
            task = record()
            if task is not None:
                self._judge(record, task, keepers)
        for record in self._cancelled_too_late.copy():
            if record() is None:  # its exception was retrieved, or asyncio would have reported it
                self._cancelled_too_late.discard(record)
        reports, self._reports = self._reports, []
        self._test = None
        return reports

    def failures(self) -> list[tuple[str, BaseException]]:
        """Return what has failed in the running test or is owned by a wider fixture, retrieved or not."""
        failures = [
            (f"background task {report.seen.known_as}" if report.seen else "a callback", report.error)
            for report in self._reports
            if report.test is self._test and report.error is not None
        ]
        for record in self._in_order():
            task = record()
            if task is not None and (record.test is self._test or record.is_kept) and not record.has_failed:
                error = failure_of(task)
                if error is not None:
                    failures.append((f"background task {known(task)}", error))
        return failures

    def finish_captured(self, tasks: Sequence[HeldTask]) -> None:
        """Collect the findings about captured `tasks` that the fixture is about to forget."""
        test = self._test
        if test is None:
            return
        for task in tasks:
            error = unretrieved(task)
            if error is not None:
                self._reports.append(_failure(test, self._seen(task), error))
            elif task.held:
                self._reports.append(of_task("leaked", test, self._seen(task), "{} was held and never run"))
            elif is_abandoned(task.runner):
                self._reports.append(of_task("leaked", test, self._seen(task), "{} was started and has not ended"))

    def _seen(self, task: HeldTask) -> Seen:
        return Seen(task.get_name(), task.call, task.creation, waiting_site(task.get_coro(), self._is_own))

    def note(self, loop: asyncio.AbstractEventLoop, task: Any, coroutine: Any, frame: FrameType) -> None:
        """Record `task`, which has just been created in `frame`."""
        test, tell_loop = self._test, self._tell_loop
        if tell_loop is not None:
            tell_loop(loop)
        if test is None or not (type(task) is asyncio.Task or is_task(task)):  # a task factory may make anything
            return
        creator = creator_of(frame, loop, self._is_own)
        if not (creator.through if creator.waits else is_of_project(creator, coroutine, self._is_own)):
            return
        record = Record(task, self._forget)
        record.number = next(self._numbers)
        record.watch = self
        record.test = test
        record.creator = creator
        called = traced(coroutine)
        if type(called) is CoroutineType:  # the usual case
            record.name, record.code = called.__qualname__, called.cr_code
        else:
            record.name, record.code = qualified_name(called), code_of(called)
        record.fixture = self._fixture_at_work(loop) if self._making or self._has_fixtures_tasks else None
        record.keeper = None
        record.has_failed = False
        record.loss = None
        object.__setattr__(task, ATTRIBUTE, record)  # the class of a task may define how its attributes are set
        self._records.add(record)

    def hear(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> bool:
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
        record: Record | None,
        task: Any,
        error: BaseException | None,
    ) -> None:
        if _somebody_listens(loop):
            return
        if record is not None and error is not None:
            self._fail(record, task, error)
        elif record is not None and is_abandoned(task, record):
            self._lose(record, task, loop)
        elif error is not None and self._test is not None and not _TOLD_BY_LOOP.isdisjoint(context):
            self._fail_callback(self._test, error, context.get("message", ""))

    def hear_of_cancelling(self, loop: asyncio.AbstractEventLoop) -> None:
        """Collect the leaks on `loop`, before a runner cancels the remaining tasks."""
        self.search()
        for record in self._in_order():
            task = record()
            if task is not None and loop_of(task) is loop and record.may_leak and is_abandoned(task, record):
                self._leak(record, task, "{} was still pending when its event loop shut down, and was cancelled")

    def _in_order(self) -> list[Record]:
        # Copied at once: another thread may add records, and the garbage collector may remove some.
        return sorted(self._records.copy(), key=attrgetter("number")) if self._records else []

    def _record_of(self, task: object) -> Record | None:
        record = record_of(task)
        return record if record is not None and record.watch is self else None

    def _fixture_at_work(self, loop: asyncio.AbstractEventLoop) -> Fixture | None:
        """Return the fixture that is being set up, or whose task is running: a server's task starts its own tasks."""
        making = self._making
        while making and making[-1].is_set_up():
            making.pop()
        if making:
            self._has_fixtures_tasks = True
            return making[-1]
        creating = record_of(asyncio.current_task(loop))
        return creating.fixture if creating is not None else None

    def _keeps_failure(self, task: Any) -> bool:
        """Return True if `task`, which failed and is cancelled before its exception was retrieved, has a record."""
        record = self._record_of(task)
        if record is None:
            return False
        self._cancelled_too_late.add(record)
        return True

    def _unseen_error(self, record: Record, task: Any) -> BaseException | None:
        """Return the exception to report. No exception handler is called for a task that was cancelled."""
        is_too_late = record in self._cancelled_too_late
        is_heard = not is_too_late and _somebody_listens(loop_of(task))
        return None if record.has_failed or is_heard else unretrieved(task)

    def _judge(self, record: Record, task: Any, keepers: Keepers) -> None:
        error = self._unseen_error(record, task)
        has_leaked = record.may_leak and is_abandoned(task, record)
        if error is None and not has_leaked:
            if is_done(task):
                self._let_go(record, task)
            return
        if record.fixture is None and record.keeper is None:
            record.keeper = next((fixture for fixture, value in keepers() if keeps(value, task)), None)
        if record.is_kept:
            return
        if error is not None:
            self._fail(record, task, error)
        else:
            self._leak(record, task, "{} is still pending, and its test has ended")

    def _let_go(self, record: Record, task: Any) -> None:
        self._forget(record)
        if record in self._cancelled_too_late:
            self._cancelled_too_late.discard(record)
            if task is not None:
                task._log_traceback = False

    def _fail(self, record: Record, task: Any, error: BaseException) -> None:
        if record.has_failed:
            return
        record.has_failed = True
        # The exception says more than the leak. By identity: equality would compare objects of the program.
        self._reports = [report for report in self._reports if report is not record.loss]
        self._reports.append(_failure(record.test, record.seen(task, self._is_own), error))

    def _leak(self, record: Record, task: Any, what: str) -> None:
        record.loss = of_task("leaked", record.test, record.seen(task, self._is_own), what)
        self._reports.append(record.loss)

    def _lose(self, record: Record, task: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Collect a destroyed task: destroyed if its loop still runs, else leaked by its loop."""
        if not loop.is_closed() and (loop.is_running() or self._is_searching):
            what = (
                "{} was garbage-collected while pending: only the event loop, which keeps weak references, "
                "referred to it"
            )
            record.loss = of_task("destroyed", record.test, record.seen(task, self._is_own), what)
            self._reports.append(record.loss)
        elif record.may_leak:
            self._leak(record, task, "{} was still pending after its event loop had ended")

    def _fail_callback(self, test: Watched, error: BaseException, message: str) -> None:
        own = raising_sites(error, self._is_own)
        if own:
            what = f"exception of a callback of the event loop was never retrieved: {message}"
            where = (f"failed at {own[-1]}",)
            self._reports.append(Report("unhandled", test, what, where, own[-1], error=error))

    def _patch(self, loop_class: Any) -> None:
        if loop_class not in self._patched:
            self._patched.add(loop_class)
            self._patches.enter_context(replaced(loop_class, "create_task", _noting(self)))
            self._patches.enter_context(replaced(loop_class, "call_exception_handler", _hearing(self)))


def _failure(test: Watched, seen: Seen, error: BaseException) -> Report:
    return of_task("unhandled", test, seen, "exception of {} was never retrieved", error)


def _somebody_listens(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if the program has set an exception handler on `loop`."""
    handler = loop.get_exception_handler()
    return handler is not None and module_name(handler).partition(".")[0] not in _RUNNERS


def _noting(watch: Watch) -> Callable[[Any], Any]:
    def wrapper(create_task: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(create_task)
        @on_behalf
        def noting_create_task(self: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
            task = create_task(self, coro, **kwargs)
            if frames := getattr(task, "_source_traceback", None):  # in debug mode
                _leave_out_this_file(frames)
            watch.note(self, task, coro, sys._getframe(1))
            return task

        return noting_create_task

    return wrapper


def _leave_out_this_file(frames: Any) -> None:
    if frames[-1].filename == __file__:  # comes last if the program has a task factory
        del frames[-1]


def _hearing(watch: Watch) -> Callable[[Any], Any]:
    def wrapper(call_exception_handler: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call_exception_handler)
        def hearing_call_exception_handler(self: asyncio.AbstractEventLoop, context: dict[str, Any]) -> Any:
            return call_exception_handler(self, context) if watch.hear(self, context) else None

        return hearing_call_exception_handler

    return wrapper


def _judging(watch: Watch) -> Callable[[Any], Any]:
    def wrapper(cancel_all_tasks: Callable[..., Any]) -> Callable[..., Any]:
        is_asyncios_own = module_name(cancel_all_tasks) == "asyncio.runners"

        @wraps(cancel_all_tasks)
        def judging_cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> Any:
            watch.hear_of_cancelling(loop)
            tasks = asyncio.all_tasks(loop)
            if not tasks and is_asyncios_own:
                return None  # it would only look for tasks again, and return
            _end_captured_circles(tasks, loop)
            return cancel_all_tasks(loop)

        return judging_cancel_all_tasks

    return wrapper


def _end_captured_circles(tasks: Iterable[Any], loop: asyncio.AbstractEventLoop) -> None:
    """Cancel captured tasks that wait for each other, since the runner would fail with a `RecursionError`."""
    captured = [task for task in tasks if isinstance(task, HeldTask) and task in circle_from(task)]
    for task in captured:
        cancel_surely(task)
    if captured:
        loop.run_until_complete(asyncio.sleep(0))
