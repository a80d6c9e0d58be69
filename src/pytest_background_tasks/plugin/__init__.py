"""The plugin's entry point: options and fixtures. It imports the rest only when needed."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from .._introspect import real_clock  # noqa: F401  # loaded now, before a test can freeze time
from .._introspect.untrusted import code_of_function
from .._monitor.kinds import KINDS
from .explore import hooks
from .judgement import CONTEXT, judged
from .plugin_names import MONITOR

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .._monitor.policy import Policy
    from ..fixture import BackgroundTasks
    from ..virtual_network import VirtualNetwork
    from ..virtual_time import VirtualTime
    from .monitor import MonitorPlugin

_open_fixtures: pytest.StashKey[list[ExitStack]] = pytest.StashKey()
_timeout: pytest.StashKey[float | None] = pytest.StashKey()
_grace: pytest.StashKey[float] = pytest.StashKey()
_modes: pytest.StashKey[dict[str, str]] = pytest.StashKey()

_running = threading.local()  # its `item` is the test that is running in this thread


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options, all with the prefix ``background_tasks``; then those of `@explore`."""
    parser.addini(
        "background_tasks_timeout",
        "timeout of run_all_async() and the other running methods, in seconds of real time (0 disables it)",
        default="10",
    )
    parser.addini(
        "background_tasks_grace_period",
        "seconds of real time that a connection in use must be silent before virtual time advances",
        default="0.02",
    )
    parser.addini(
        "background_tasks_project_packages",
        "import names of packages whose background tasks are captured as if they were under the rootdir",
        type="args",
        default=[],
    )
    group = parser.getgroup("background tasks")
    for name, kind in KINDS.items():
        text = f"{kind.help} ({'|'.join(kind.modes)}; default: {kind.default})"
        parser.addini(f"background_tasks_{name}", text, default=kind.default)
        group.addoption(f"--background-tasks-{name}", choices=kind.modes, help=text)
    # Not listed in pytest_plugins: for that, pytest reads the metadata of every installed package.
    pluginmanager.register(hooks, hooks.__name__)


def pytest_configure(config: pytest.Config) -> None:
    """Read the ini options early, so that a wrong one ends the session before it begins."""
    config.stash[_open_fixtures] = []
    config.stash[_timeout] = _seconds(config, "background_tasks_timeout", "10 (0 disables it)") or None
    config.stash[_grace] = _seconds(config, "background_tasks_grace_period", "0.02")
    for package in config.getini("background_tasks_project_packages"):
        if not all(part.isidentifier() for part in package.split(".")):
            raise pytest.UsageError(
                f"background_tasks_project_packages: {package!r} is not an import name; write e.g. "
                f"background_tasks_project_packages = mypackage another.package"
            )
    config.stash[_modes] = {name: _mode(config, name) for name in KINDS}
    config.addinivalue_line(
        "markers",
        f"background_tasks({', '.join(KINDS)}, allow): how findings about the background tasks of "
        'this test are reported, e.g. leaked="error", allow=["heartbeat*"]',
    )


def _mode(config: pytest.Config, name: str) -> str:
    chosen: str = config.getoption(f"background_tasks_{name}") or config.getini(f"background_tasks_{name}")
    modes = KINDS[name].modes
    if chosen not in modes:
        raise pytest.UsageError(
            f"background_tasks_{name} = {chosen}: not one of {', '.join(modes)}; "
            f"write e.g. background_tasks_{name} = {modes[1]}"
        )
    return chosen


def _defaults(config: pytest.Config) -> Policy:
    from .._monitor.policy import Policy

    return Policy(**config.stash[_modes], allow=())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read the marks early, so that a wrong one ends the session before it begins."""
    marked = [item for item in items if "background_tasks" in item.keywords]
    if marked:
        from .monitor import modes_of_item

        defaults = _defaults(config)
        for item in marked:
            modes_of_item(item, defaults)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before plugins that run the test by themselves (pytest-forked)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Start the monitor at the first test for which asyncio is loaded and findings are reported.

    The test may be one of a session that a test of another session runs in this process (pytester does). The outer test
    is suspended meanwhile: it does not capture the tasks of the inner test, and has no findings about them.
    """
    if "asyncio" in sys.modules and not item.config.pluginmanager.has_plugin(MONITOR):
        _start_monitor(item)
    outer: pytest.Item | None = getattr(_running, "item", None)
    _running.item = item
    try:
        with nullcontext() if outer is None else _suspended(outer):
            return (yield)
    finally:
        _running.item = outer


@contextmanager
def _suspended(item: pytest.Item) -> Iterator[None]:
    context = item.stash.get(CONTEXT, None)
    monitoring: MonitorPlugin | None = item.config.pluginmanager.get_plugin(MONITOR)
    with (
        nullcontext() if context is None else context.capture.suspended(),
        nullcontext() if monitoring is None else monitoring.suspended(),
    ):
        yield


def _start_monitor(item: pytest.Item) -> None:
    config = item.config
    is_wanted = any(mode != KINDS[name].disabled for name, mode in config.stash[_modes].items())
    if is_wanted or "background_tasks" in item.keywords:
        from .monitor import MonitorPlugin
        from .project import project_code

        monitoring = MonitorPlugin(project_code(config), _defaults(config))
        config.pluginmanager.register(monitoring, MONITOR)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report which lines leak how many tasks in how many tests."""
    reports = chain.from_iterable(terminalreporter.stats.values())
    telling = [each for each in reports if issubclass(type(each), pytest.TestReport) and each.user_properties]
    if not telling:
        return
    from .leak_summary import leaks_in, summary

    if leaks := leaks_in(telling):
        terminalreporter.section("leaked background tasks")
        for line in summary(leaks):
            terminalreporter.line(line)


def _seconds(config: pytest.Config, name: str, example: str) -> float:
    text = config.getini(name)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise pytest.UsageError(f"{name} = {text}: not a number of seconds; write e.g. {name} = {example}")
    return seconds


@pytest.fixture
def background_tasks(request: pytest.FixtureRequest) -> Iterator[BackgroundTasks]:
    """Hold the background tasks that the code under test starts, inspect them, and run them on demand.

    Call start_capturing(), then run_all_async() or run_all_sync(). See the documentation of BackgroundTasks.
    """
    from .._control.test_context import TestContext
    from ..fixture import BackgroundTasks
    from .project import project_code

    config = request.config
    is_project = project_code(config)
    is_project[str(request.path)] = True  # the test's module, wherever it is (--pyargs)
    code = code_of_function(request.function)
    context = TestContext(is_project, request.node.nodeid, code, config.stash[_timeout], config.stash[_grace])
    request.node.stash[CONTEXT] = context
    monitoring: MonitorPlugin | None = config.pluginmanager.get_plugin(MONITOR)
    with _closed_with_session(config) as stack:
        stack.callback(context.close)
        if monitoring is not None:
            stack.enter_context(monitoring.observing(context.capture))
        stack.callback(request.node.stash.__delitem__, CONTEXT)  # the item lives as long as the session
        yield BackgroundTasks(context)


@pytest.fixture
def virtual_time(background_tasks: BackgroundTasks, request: pytest.FixtureRequest) -> Iterator[VirtualTime]:  # noqa: ARG001  # it makes the context
    """Run the test's event loop on virtual time: sleep(3600) takes no real time.

    Use virtual_time.now and await virtual_time.advance(seconds). See the documentation of VirtualTime.
    """
    from ..virtual_time import driving

    with _closed_with_session(request.config) as stack:
        yield stack.enter_context(driving(request.node.stash[CONTEXT]))


@pytest.fixture
def virtual_network(request: pytest.FixtureRequest) -> Iterator[VirtualNetwork]:
    """Let the servers and clients of a test talk to each other in its own process, without real ports.

    Request it before the fixtures that start servers. See the documentation of VirtualNetwork.
    """
    from ..virtual_network import virtual_network_of_test

    with _closed_with_session(request.config) as stack:
        yield stack.enter_context(virtual_network_of_test())


@contextmanager
def _closed_with_session(config: pytest.Config) -> Iterator[ExitStack]:
    """Close the stack after the block, or with the session if the block never ends.

    After a KeyboardInterrupt in the teardown of a fixture, pytest calls no other finalizer of that test.
    """
    with ExitStack() as stack:
        config.stash[_open_fixtures].append(stack)
        stack.callback(config.stash[_open_fixtures].remove, stack)  # comes last, even if the test's end fails
        yield stack


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the test whose fixtures were not torn down, if there is one."""
    unclosed: list[ExitStack] = config.stash.get(_open_fixtures, [])
    for stack in unclosed[::-1]:  # each removes itself
        stack.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a deadlocked test even if the code under test caught the error; add the notes of a failed test."""
    __tracebackhide__ = True
    with judged(item):
        return (yield)
