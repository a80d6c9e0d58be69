"""Silent failures are reported for the right test, at the right line; for correct programs, nothing is reported.

One small project per runner and loop is put together from `programs/` and run in this process without plugin autoload.
"""

import re
import runpy
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp.test_utils
import pytest
import starlette.testclient

from pytest_background_tasks import BackgroundTaskWarning

PARTS = Path(__file__).with_name("programs")
PRELOADED = [aiohttp.test_utils, starlette.testclient]  # otherwise each project imports them again

BUGS: dict[str, Any] = runpy.run_path(str(PARTS / "misbehaving.py"))["BUGS"]


NO_MODULE = {
    "failed_in_later_test": "its loop is gone when the test is over",
    "failed_in_module": "it has no loop for the module",
}
NO_TEARDOWN = {**NO_MODULE, "failed_in_teardown": "its loop is gone when the call is over"}
FAILS_MODULE = {"failed_in_module": "the anyio plugin lets the fixture fail, and with it every test of the module"}


class Runner(NamedTuple):
    """A runner of a project's tests.

    Attributes:
        options: the options of pytest.
        tests: the part of `programs/` that is its test module.
        above: the text above it.
        settings: the values of the module's other parameters.
        lacks: the misbehaving that cannot be committed under it, and why.
        fails: the tests that the runner itself fails with the exception; then the plugin reports nothing.
        is_wide: whether its loop keeps running after the test.
    """

    options: tuple[str, ...]
    tests: str
    above: str = ""
    settings: Mapping[str, object] = MappingProxyType({})
    lacks: Mapping[str, str] = MappingProxyType({})
    fails: tuple[str, ...] = ()
    is_wide: bool = False

    @property
    def cancels(self) -> bool:
        """True if the runner cancels the remaining tasks of its loop. pytest-asyncio does since 1.1."""
        return "pytest_asyncio.plugin" not in self.options or version("pytest-asyncio").split(".")[:2] > ["1", "0"]

    @property
    def expected(self) -> list[tuple[str, str, str, int]]:
        """Return the expected reports: the test, the kind and the line of each."""
        warning = []
        for name, bug in BUGS.items():
            if name in self.lacks:
                continue
            kinds = [(f"bug {name}", bug.report)]
            if bug.place == "module":  # it is reported for the test for which it is set up
                kinds = [(FIRST, bug.report)]
            elif name == "failed_in_later_test":
                kinds += [(LAST, UNHANDLED)]
            elif name == "failed_while_cancelled" and (self.is_wide or not self.cancels):
                # The task outlives its test, and fails after the last one, if ever.
                kinds = [(f"bug {name}", LEAKED), *([(LAST, UNHANDLED)] if self.cancels else [])]
            warning += [
                (test, kind, "misbehaving.py", bug.line) for test, kind in kinds if not self._is_seen(test, kind, name)
            ]
        return sorted(warning)

    def _is_seen(self, test: str, kind: str, bug: str) -> bool:
        return test in self.fails and kind == UNHANDLED and bug != "failed_while_cancelled"


UNHANDLED, LEAKED = "UnhandledTaskExceptionWarning", "LeakedTaskWarning"
FIRST, LAST = "bug failed", "program earlier_tasks_woken"
REPORTS = ("--background-tasks-leaked=warn", "--background-tasks-deadlock=error")
PYTEST_ASYNCIO = ("-p", "pytest_asyncio.plugin", "--asyncio-mode=auto", "-o")
FUNCTION = (*PYTEST_ASYNCIO, "asyncio_default_fixture_loop_scope=function")
MODULE = (*PYTEST_ASYNCIO, "asyncio_default_fixture_loop_scope=module")
AIOHTTP = ("-p", "pytest_aiohttp.plugin")
ANYIO = ("-p", "anyio.pytest_plugin")
OF_MODULE = "import pytest\npytestmark = pytest.mark.asyncio(loop_scope='module')\n"
OF_ANYIO = (
    "import pytest\npytestmark = pytest.mark.anyio\n"
    "@pytest.fixture(scope={!r})\ndef anyio_backend(): return 'asyncio'\n"
)
SEEN_BY_ANYIO = tuple(
    f"bug failed{where}" for where in ("", "_behind_shield", "_in_teardown", "_in_fixture", "_in_callback", "_in_timer")
)
RUNNERS = {
    "pytest-asyncio": Runner(FUNCTION, "in_async", lacks=NO_MODULE),
    "pytest-asyncio, module": Runner(MODULE, "in_async", OF_MODULE, is_wide=True),
    "anyio": Runner(ANYIO, "in_async", OF_ANYIO.format("function"), lacks=NO_MODULE, fails=SEEN_BY_ANYIO),
    "anyio, module": Runner(
        ANYIO,
        "in_async",
        OF_ANYIO.format("module"),
        lacks=FAILS_MODULE,
        fails=(*SEEN_BY_ANYIO, LAST),
        is_wide=True,
    ),
    "pytest-aiohttp": Runner((*FUNCTION, *AIOHTTP), "in_aiohttp", lacks=NO_MODULE),
    "pytest-aiohttp, module": Runner((*MODULE, *AIOHTTP), "in_aiohttp", OF_MODULE, is_wide=True),
    "unittest": Runner((), "in_unittest", lacks=NO_MODULE),
    "asyncio.run": Runner((), "in_def", settings={"SCOPE": "call"}, lacks=NO_TEARDOWN),
    "asyncio.Runner": Runner((), "in_def", settings={"SCOPE": "function"}, lacks=NO_MODULE),
    "asyncio.Runner, module": Runner((), "in_def", settings={"SCOPE": "module"}, is_wide=True),
    "TestClient": Runner((), "in_test_client", settings={"IS_ENTERED": False}, lacks=NO_TEARDOWN),
    "with TestClient": Runner((), "in_test_client", settings={"IS_ENTERED": True}, lacks=NO_MODULE),
    "with TestClient, module": Runner((), "in_test_client", settings={"IS_ENTERED": True}, is_wide=True),
}


class RecordedWarning(NamedTuple):
    """A warning that pytest has recorded."""

    test: str
    category: str
    file: str
    line: int
    text: str


class Recorder:
    """A plugin that records the warnings of a session, and the tests that did not pass."""

    def __init__(self) -> None:
        self.recorded: list[RecordedWarning] = []
        self.failed: list[str] = []

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        file = Path(warning_message.filename).name
        category = warning_message.category
        if issubclass(category, BackgroundTaskWarning):
            text = str(warning_message.message)
            self.recorded.append(
                RecordedWarning(name_in(nodeid), category.__name__, file, warning_message.lineno, text)
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(name_in(report.nodeid))


def name_in(nodeid: str) -> str:
    """Return ``bug failed`` for ``test_x.py::test_bug[failed]`` and ``test_x.py::TestWatched::test_bug_failed``."""
    kind, name = re.split(r"[\[_]", nodeid.rpartition("::test_")[2].rstrip("]").replace("asyncio-", ""), maxsplit=1)
    return f"{kind} {name}"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
def test_findings_under_every_runner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, runner: Runner, loop: str, tidy: object
) -> None:
    """Each bug is reported once, for its test, at its line, with its exception; nothing else is reported."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    parts = {name: (PARTS / f"{name}.py").read_text() for name in ("misbehaving", "well_behaved", runner.tests)}
    tests = parts.pop(runner.tests)
    settings = {"IS_WIDE": runner.is_wide, "LACKS": dict(runner.lacks), **runner.settings}
    cell = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
    pytester.makepyfile(**parts, cell=cell, test_findings_under_every_runner=f"{runner.above}\n{tests}")
    recorder = Recorder()
    options = ("-p", "pytest_background_tasks.plugin", *REPORTS, "-W", "always")
    pytester.runpytest_inprocess(*options, *runner.options, plugins=[recorder, tidy])
    assert sorted(warning[:4] for warning in recorder.recorded) == runner.expected
    for warning in recorder.recorded:
        name, bug = next((name, bug) for name, bug in BUGS.items() if bug.line == warning.line)
        assert warning.category != UNHANDLED or bug.error in warning.text
        attributed = rf"attributed to .*test_bug\[{name}.*, which has ended"
        assert warning.test in {f"bug {name}", FIRST} or re.search(attributed, warning.text)
    assert sorted(recorder.failed) == sorted(runner.fails)
