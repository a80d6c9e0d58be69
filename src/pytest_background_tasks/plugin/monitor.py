"""The pytest hooks of the monitor, which tell it which test is running, and report its findings.

Registered by ``plugin.py`` at the first test for which asyncio is loaded, so that other sessions do not pay for them.

Findings are reported after the whole teardown of a test, from the outermost wrapper: earlier, a fixture might still
retrieve an exception; later, an error would count as one of pytest itself.
"""

from __future__ import annotations

import ast
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from .._introspect.syntax import syntax_tree
from .._introspect.untrusted import add_note, attribute
from .._monitor.finding import Finding, Kind
from .._monitor.policy import Policy, policy_of
from .._monitor.task_monitor import TaskMonitor
from .._monitor.task_record import Fixture, MonitoredTest
from ..warnings import BackgroundTaskWarning, DestroyedTaskWarning, LeakedTaskWarning, UnhandledTaskExceptionWarning
from .leak_summary import PROPERTY
from .report_properties import is_named

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .._capture.session import CaptureSession
    from .._introspect.location import SourceLocation
    from .._introspect.project_code import ProjectCode

_CATEGORIES = {
    "unhandled": UnhandledTaskExceptionWarning,
    "leaked": LeakedTaskWarning,
    "destroyed": DestroyedTaskWarning,
}

_DEADLOCKS = "background_tasks_deadlocks"
# setup_class, setUpClass and setup_module set attributes of these.
_SCOPE_ATTRIBUTES = {"class": "cls", "module": "module"}


class MonitorPlugin:
    """The hooks of a monitored session.

    Args:
        is_project: project code.
        defaults: the modes of the session, which a test may override.
    """

    def __init__(self, is_project: ProjectCode, defaults: Policy) -> None:
        self._is_project = is_project
        self._defaults = defaults
        self._modes = defaults
        self._monitor = TaskMonitor(is_project)
        self._monitor.open()
        self._fixtures: dict[pytest.FixtureDef[Any], tuple[Fixture, object]] = {}
        self._raised: list[BaseException] = []
        self._reported_kinds: set[Kind] = set()
        self._is_suspended = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin the test, before its fixtures are set up."""
        self._is_project[str(item.path)] = True
        self._modes = modes_of_item(item, self._defaults)
        self._monitor.test_started(MonitoredTest(item.nodeid, self._modes))
        self._raised.clear()
        if self._modes.deadlock == "error":
            self._detect_deadlocks(item.config.pluginmanager)

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Finish setup or call. Search for destroyed tasks before a fixture's teardown ends their loop."""
        if call.when == "call":
            self._monitor.force_garbage_collection()
        if call.excinfo is not None and call.when != "teardown":
            self._raised.append(call.excinfo.value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
        """Attribute the tasks of a fixture that outlives the test to the fixture."""
        if fixturedef.scope == "function" or self._is_suspended:
            return
        fixture = Fixture(lambda: fixturedef.cached_result is not None)
        self._fixtures[fixturedef] = fixture, _home_of(fixturedef.scope, request)
        request.addfinalizer(lambda: self._end(fixturedef))  # added first, therefore called last
        self._monitor.fixture_setup(fixture)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Report the findings after the test."""
        __tracebackhide__ = True
        try:
            result = yield
        except BaseException as error:
            self._raised.append(error)
            for other in self._issue(item):
                add_note(error, f"{type(other).__name__}: {other}")
            raise
        errors = self._issue(item)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("background tasks", errors).with_traceback(errors[0].__traceback__)
        return result

    def pytest_unconfigure(self) -> None:
        """Close the monitor."""
        self._monitor.close()

    @contextmanager
    def observing(self, capture: CaptureSession) -> Iterator[None]:
        """Let the errors of the fixture name failed background tasks; collect the findings before held tasks end."""
        self._monitor.capture = capture
        capture.other_failures = self._monitor.failures
        yield
        self._monitor.capture = None
        self._monitor.collect_captured(capture.tasks)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Attribute nothing to the running test, nor to fixtures, inside the block."""
        before, self._is_suspended = self._is_suspended, True
        try:
            with self._monitor.suspended():
                yield
        finally:
            self._is_suspended = before

    def _detect_deadlocks(self, plugins: pytest.PytestPluginManager) -> None:
        if not plugins.has_plugin(_DEADLOCKS):
            from .deadlocks import DeadlockPlugin

            wanted = DeadlockPlugin(self._monitor, self._is_project, lambda: self._modes.deadlock == "error")
            plugins.register(wanted, _DEADLOCKS)

    def _end(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Mark the fixture as torn down, so that it is no longer an owner."""
        self._fixtures.pop(fixturedef)[0].is_over = True

    def _issue(self, item: pytest.Item) -> list[Exception]:
        """Report the findings, and return the errors to raise for them."""
        errors: list[Exception] = []
        properties = item.user_properties
        properties[:] = [each for each in properties if not is_named(PROPERTY, each)]  # drops those of an earlier run
        for report in self._monitor.collect(self._owners):
            if self._is_new(report, item) and (mode := report.mode) != "ignore":
                if report.kind == "leaked":
                    properties.append((PROPERTY, report.summary))
                errors += self._report(report, mode, item)
        self._raised.clear()
        return errors

    def _owners(self) -> Iterator[tuple[Fixture, object]]:
        for definition, (fixture, home) in self._fixtures.items():
            if definition.cached_result is not None:
                value = definition.cached_result[0]
                yield fixture, _values_in(home) if value is None and home is not None else value

    def _is_new(self, report: Finding, item: pytest.Item) -> bool:
        """Return False if the test has failed with this error, or had no chance to clean up because it failed."""
        if report.error is not None:
            return not any(report.error is error for raised in self._raised for error in _leaves(raised))
        return not self._raised or report.test.id != item.nodeid

    def _report(self, report: Finding, mode: str, item: pytest.Item) -> list[Exception]:
        category = _CATEGORIES[report.kind]
        is_first = report.kind not in self._reported_kinds
        self._reported_kinds.add(report.kind)
        # pytest itself shows the traceback of an error.
        as_error = category(report.text(item.nodeid, is_first=is_first, with_traceback=False))
        if mode != "error":
            try:
                text = report.text(item.nodeid, is_first=is_first, with_traceback=True)
                warnings.warn_explicit(text, category, report.at.file, report.at.line)
            except category:  # -W error
                mode = "error"
        return [_raised(as_error, report.at, report.error)] if mode == "error" else []


def _home_of(scope: str, request: pytest.FixtureRequest) -> object:
    """Return the module or the class of a fixture; None if it has none, as in a test that is not Python code."""
    try:
        return getattr(request, _SCOPE_ATTRIBUTES.get(scope, ""), None)
    except Exception:  # pytest asserts that there is one
        return None


def _values_in(home: object) -> list[object]:
    return list((attribute(home, "__dict__") or {}).values())


def _raised(error: BackgroundTaskWarning, at: SourceLocation, cause: BaseException | None) -> BackgroundTaskWarning:
    """Return `error` with a traceback that leads to the line `at`, as if it had been raised there."""
    __tracebackhide__ = True
    raising = syntax_tree("raise error from cause")
    assert raising is not None, "it is Python"
    for node in ast.walk(raising):
        if isinstance(node, (ast.stmt, ast.expr)):  # columns would underline unrelated code in that line
            node.col_offset = node.end_col_offset = 0
    # The code object begins at that line, because pytest shows source lines from its beginning.
    code = compile(raising, at.file, "exec").replace(co_name=at.function, co_firstlineno=at.line)
    try:
        exec(code, {"error": error, "cause": cause})
    except BackgroundTaskWarning:
        return error
    raise AssertionError("it has been raised")  # pragma: no cover - it has been raised


def modes_of_item(item: pytest.Item, defaults: Policy) -> Policy:
    """Return the modes of a test.

    Raises:
        pytest.UsageError: if one of its marks is wrong, or stands above ``@explore``.
    """
    if "background_tasks" not in item.keywords:  # of the test, its class or its module; called for every test
        return defaults
    if item.get_closest_marker("explore") and any(mark.name == "background_tasks" for mark in item.own_markers):
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.background_tasks(...) has no effect above @explore: a background task whose "
            f"exception is never retrieved always fails such a test; to find leaks, write  @explore(fail_on_leaks=True)"
        )
    marks = [(mark.args, mark.kwargs) for mark in item.iter_markers("background_tasks")]
    try:
        return policy_of(defaults, marks)
    except ValueError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if issubclass(type(error), BaseExceptionGroup):
        for inner in BaseExceptionGroup.exceptions.__get__(error):
            yield from _leaves(inner)
    else:
        yield error
