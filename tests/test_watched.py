"""What goes wrong in silence is told for the right test, by the right line; of correct programs nothing is told.

One small project per runner and loop is put together from `watched/` and run in this process without plugin autoload.
"""

import asyncio
import re
import runpy
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp.test_utils
import pytest
import starlette.testclient
import uvloop

from pytest_background_tasks import BackgroundTaskWarning

PARTS = Path(__file__).with_name("watched")
PRELOADED = [aiohttp.test_utils, starlette.testclient]  # else each project imports them anew

SINS: dict[str, Any] = runpy.run_path(str(PARTS / "sins.py"))["SINS"]


class Runner(NamedTuple):
    """What runs the tests of a project.

    Attributes:
        options: of pytest.
        tests: the part of `watched/` that is its test module.
        addition: what is appended to it.
        fails: sins with which the runner lets the test fail by itself.
        is_wide: whether its loop goes on when the test is over.

    """

    options: tuple[str, ...]
    tests: str
    addition: str = ""
    fails: tuple[str, ...] = ()
    is_wide: bool = False

    @property
    def cancels(self) -> bool:
        """Whether it cancels what is left on its loop. pytest-asyncio does since 1.1."""
        return "pytest_asyncio.plugin" not in self.options or version("pytest-asyncio").split(".")[:2] > ["1", "0"]

    @property
    def expected(self) -> list[tuple[str, str, str, int]]:
        """What is told: in which test, of what kind, by which line."""
        sins = {name: sin for name, sin in SINS.items() if name not in self.fails}
        told = [(f"sin {name}", sin.report, "sins.py", sin.line) for name, sin in sins.items()]
        if self.is_wide or not self.cancels:  # it outlives its test, and fails when the last test is over, if ever
            name, sin = "sin failed_while_cancelled", SINS["failed_while_cancelled"]
            told.remove((name, sin.report, "sins.py", sin.line))
            told += [(name, SINS["leaked"].report, "sins.py", sin.line)]
            if self.cancels:
                told += [("virtue run_beside", sin.report, "sins.py", sin.line)]
        return sorted(told)


REPORTS = ("--background-tasks-leaked=warn", "--background-tasks-deadlock=error")
PYTEST_ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
AUTO = (*PYTEST_ASYNCIO, "--asyncio-mode=auto")
OF_ANYIO = "pytestmark = pytest.mark.anyio\n@pytest.fixture{}\ndef anyio_backend(): return 'asyncio'\n"
WIDE_ANYIO = OF_ANYIO.format("(scope='module')") + (
    "@pytest.fixture(scope='module', autouse=True)\nasync def keep_loop(anyio_backend): yield\n"
)
SEEN_BY_ANYIO = ("failed", "failed_in_callback", "failed_in_timer")
RUNNERS = {
    "pytest-asyncio": Runner(AUTO, "in_async"),
    "pytest-asyncio, a loop for the module": Runner(
        AUTO, "in_async", "pytestmark = pytest.mark.asyncio(loop_scope='module')\n", is_wide=True
    ),
    "anyio": Runner(("-p", "anyio.pytest_plugin"), "in_async", OF_ANYIO.format(""), SEEN_BY_ANYIO),
    "anyio, a loop for the module": Runner(
        ("-p", "anyio.pytest_plugin"), "in_async", WIDE_ANYIO, SEEN_BY_ANYIO, is_wide=True
    ),
    "pytest-aiohttp": Runner((*AUTO, "-p", "pytest_aiohttp.plugin"), "in_aiohttp"),
    "unittest": Runner((), "in_unittest"),
    "asyncio.run": Runner((), "in_def"),
    "TestClient": Runner((), "in_test_client"),
    "with TestClient": Runner((), "in_test_client", "IS_ENTERED = True\n"),
}


class Told(NamedTuple):
    """A warning that pytest has recorded."""

    test: str
    category: str
    file: str
    line: int
    text: str


class Recorder:
    """Takes our warnings of a session, and which of its tests did not pass."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.failed: list[str] = []

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        file = Path(warning_message.filename).name
        category = warning_message.category
        if issubclass(category, BackgroundTaskWarning):
            text = str(warning_message.message)
            self.told.append(Told(name_in(nodeid), category.__name__, file, warning_message.lineno, text))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(name_in(report.nodeid))


def name_in(nodeid: str) -> str:
    """``test_x.py::test_sin[failed]`` and ``test_x.py::TestWatched::test_sin_failed`` are ``sin failed``."""
    kind, name = re.split(r"[\[_]", nodeid.rpartition("::test_")[2].rstrip("]").replace("asyncio-", ""), maxsplit=1)
    return f"{kind} {name}"


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of loops that every runner makes, by asyncio's policy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies, since 3.14
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy() if request.param == "uvloop" else None)
        yield request.param
        asyncio.set_event_loop_policy(None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
def test_watched(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, runner: Runner, loop: str, tidy: object
) -> None:
    """Each sin is told once, of its test, by its line, with its error; nothing else is told."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    parts = {name: (PARTS / f"{name}.py").read_text() for name in ("sins", "virtues", runner.tests)}
    tests = parts.pop(runner.tests)
    pytester.makepyfile(**parts, test_watched=f"import pytest\n{tests}\n{runner.addition}")
    recorder = Recorder()
    options = ("-p", "pytest_background_tasks.plugin", *REPORTS, "-W", "always")
    pytester.runpytest_inprocess(*options, *runner.options, plugins=[recorder, tidy])
    assert sorted(told[:4] for told in recorder.told) == runner.expected
    for told in recorder.told:
        sin = next(sin for sin in SINS.values() if sin.line == told.line)
        assert told.category != "UnhandledTaskWarning" or sin.error in told.text
        assert ("sin" in told.test) or "test_sin[failed_while_cancelled" in told.text
    assert sorted(recorder.failed) == sorted(f"sin {name}" for name in runner.fails)
