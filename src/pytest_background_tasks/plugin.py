"""pytest's side: options and the fixture. Thin; imports the rest when it is needed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .fixture import BackgroundTasks
    from .virtual_time import VirtualTime

pytest_plugins = ["pytest_background_tasks.exploring.hooks"]  # the pytest side of @explore

_tasks_of_test: pytest.StashKey[BackgroundTasks] = pytest.StashKey()
_time_of_test: pytest.StashKey[VirtualTime] = pytest.StashKey()
_timeout: pytest.StashKey[float | None] = pytest.StashKey()
_grace: pytest.StashKey[float] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The ini options, all under the prefix ``background_tasks``."""
    parser.addini(
        "background_tasks_timeout",
        "seconds of real time that run_all_async() and its kin wait before they fail (0: for ever)",
        default="10",
    )
    parser.addini(
        "background_tasks_grace",
        "seconds of real time that a connection in use must be silent before virtual time goes on",
        default="0.02",
    )
    parser.addini(
        "background_tasks_packages",
        "import names of packages whose background tasks are captured as if they lay under the rootdir",
        type="args",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the ini options now, so that a wrong one ends the session before it has begun."""
    config.stash[_timeout] = _seconds(config, "background_tasks_timeout", "10 (0: wait for ever)") or None
    config.stash[_grace] = _seconds(config, "background_tasks_grace", "0.02")
    for package in config.getini("background_tasks_packages"):
        if not all(part.isidentifier() for part in package.split(".")):
            raise pytest.UsageError(
                f"background_tasks_packages: {package!r} is not an import name; write e.g. "
                f"background_tasks_packages = mypackage another.package"
            )


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
    """Hold the background tasks that the code under test starts; look at them, and run them when you like.

    start_capturing(), then run_all_async() or run_all_sync(). See the documentation of BackgroundTasks.
    """
    from .fixture import BackgroundTasks
    from .session import own_code

    config = request.config
    is_own = own_code(config)
    is_own[str(request.path)] = True  # the test's module, wherever it lies (--pyargs)
    test = inspect.unwrap(request.function) if request.function is not None else None
    code = getattr(test, "__code__", None)
    tasks = BackgroundTasks(is_own, request.node.nodeid, code, config.stash[_timeout], config.stash[_grace])
    request.node.stash[_tasks_of_test] = tasks
    yield tasks
    del request.node.stash[_tasks_of_test]  # the item lives as long as the session
    tasks._close()


@pytest.fixture
def virtual_time(background_tasks: BackgroundTasks, request: pytest.FixtureRequest) -> Iterator[VirtualTime]:
    """Run the test's event loop on virtual time: sleep(3600) takes no real time.

    virtual_time.now, await virtual_time.advance(seconds). See the documentation of VirtualTime.
    """
    with background_tasks._virtual_time()._driving() as time:
        request.node.stash[_time_of_test] = time
        yield time
        del request.node.stash[_time_of_test]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that could not go on has failed, also if the code under test caught the error that said so."""
    __tracebackhide__ = True
    try:
        result = yield
    except Exception as error:
        tasks = item.stash.get(_tasks_of_test, None)
        if tasks is not None and tasks._lost_error is not None:
            error.add_note(f"before that: {tasks._lost_error}")
        if tasks is not None and (told := tasks._told()):
            item.add_report_section("call", "background_tasks", told)
        raise
    tasks = item.stash.get(_tasks_of_test, None)
    if tasks is not None and tasks._lost_error is not None:
        raise tasks._lost_error
    time = item.stash.get(_time_of_test, None)
    if time is not None:
        time._check_used()
    return result
