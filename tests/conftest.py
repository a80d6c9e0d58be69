"""Helpers that several test modules share."""

import asyncio
import gc
import signal
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import pytest
import uvloop
from hypothesis import settings

from pytest_background_tasks import Schedule
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.execution import Execution, execute, playing
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._introspect.project_code import ProjectCode

pytest_plugins = ["pytester"]

settings.register_profile("unhurried", deadline=None)  # the machine may be busy
settings.load_profile("unhurried")


class Tidy:
    """A plugin for a generated project that keeps tasks in a set ``kept``, which it clears when the session ends.

    Otherwise the garbage collector reports the tasks, and the objects that they refer to, at some later moment: in
    another project, whose warnings are errors.
    """

    def pytest_sessionfinish(self) -> None:
        for name in ("misbehaving", "test_it"):
            kept = getattr(sys.modules.get(name), "kept", set())
            for task in kept:
                if task.done() and not task.cancelled():
                    task.exception()
            kept.clear()
        gc.collect()


@pytest.fixture
def tidy() -> Tidy:
    return Tidy()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of event loop that every runner creates, by asyncio's policy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies, since 3.14
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy() if request.param == "uvloop" else None)
        yield request.param
        asyncio.set_event_loop_policy(None)


EXPLORED = """
    import asyncio, pytest
    from pytest_background_tasks import explore

    async def twice():
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Run a project of explored tests in process, without the plugins of the environment."""

    def run(source: str, *args: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(test_it=dedent(EXPLORED) + dedent(source))
        named = [word for plugin in ("pytest_background_tasks.plugin", *plugins) for word in ("-p", plugin)]
        options = ["-o", "asyncio_default_fixture_loop_scope=function"] if "pytest_asyncio.plugin" in plugins else []
        return pytester.runpytest_inprocess("-W", "error", *named, *options, *args)

    return run


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt this process and those that it starts, as in a terminal; a shell's "&" ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_real_time() -> Iterator[None]:
    """Assert that the test takes less than half a minute, even on the busiest machine, although it sleeps for hours."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 30


Scenario = Callable[[], Coroutine[Any, Any, object]]


class RunSchedule(Protocol):
    def __call__(
        self, scenario: Scenario, text: str = "", *, with_details: bool = False, **options: Any
    ) -> Execution: ...


@pytest.fixture(scope="session")
def run_schedule() -> RunSchedule:
    """Return a function that runs a scenario under a schedule given as text."""

    def run_once(scenario: Scenario, text: str = "", *, with_details: bool = False, **options: Any) -> Execution:
        options.setdefault("is_project_file", ProjectCode(Path(__file__).parent))
        with HelperThread() as helper, DeterministicProcess(may_raise=True) as around:
            around.refresh()
            return execute(
                playing(scenario), Schedule.parse(text), Options(**options), helper, with_details=with_details
            )

    return run_once
