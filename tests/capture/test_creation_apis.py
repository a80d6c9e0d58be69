"""Every way to start a background task is captured, on both loops, under every runner; docs/ways-in.md agrees.

One small project per runner and loop is put together from `creation_apis/` and run in this process without plugin
autoload: `ways.py` is the code under test, `checks.py` has the assertions, and the files that `RUNNERS` names are the
tests.
"""

import runpy
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp.test_utils
import fastapi.routing
import httpx
import pytest
import starlette.testclient

PARTS = Path(__file__).with_name("creation_apis")
PAGE = Path(__file__).parents[2] / "docs" / "ways-in.md"
PRELOADED = [aiohttp.test_utils, fastapi.routing, httpx, starlette.testclient]  # else each project imports them again

code_under_test = runpy.run_path(str(PARTS / "ways.py"))
WAYS: dict[str, Any] = code_under_test["WAYS"]
NOT_BACKGROUND: dict[str, Any] = code_under_test["NOT_BACKGROUND"]


class Runner(NamedTuple):
    """A runner of a project's tests.

    Attributes:
        title: the name in the docs.
        options: the options of pytest.
        tests: the parts of `creation_apis/` that are its test module.
        mark: the mark on each of its tests.
        has_loop: whether a loop is running when the tests start tasks.
        has_endpoint: whether the tests start tasks in an endpoint of FastAPI.

    """

    title: str
    options: tuple[str, ...]
    tests: tuple[str, ...]
    mark: str = ""
    has_loop: bool = True
    has_endpoint: bool = False

    def cell(self, name: str) -> str:
        """Return the table cell of a way: held, raises, or empty with the reason."""
        if WAYS[name].needs_endpoint and not self.has_endpoint:
            return "no endpoint"
        if WAYS[name].is_response and not self.has_loop:
            return "no response"
        return "held" if self.has_loop or not WAYS[name].needs_loop else "raises"


PYTEST_ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
STRICT = (*PYTEST_ASYNCIO, "--asyncio-mode=strict")
AUTO = (*PYTEST_ASYNCIO, "--asyncio-mode=auto")
RUNNERS = {
    "strict": Runner("pytest-asyncio, strict", STRICT, ("asynchronous",), mark="asyncio"),
    "auto": Runner("pytest-asyncio, auto", AUTO, ("asynchronous",)),
    "anyio": Runner("anyio", ("-p", "anyio.pytest_plugin"), ("asynchronous", "in_anyio"), mark="anyio"),
    "aiohttp": Runner("pytest-aiohttp", (*AUTO, "-p", "pytest_aiohttp.plugin"), ("asynchronous", "in_aiohttp")),
    "unittest": Runner("`IsolatedAsyncioTestCase`", (), ("in_unittest",)),
    "def": Runner("`def`", ("--deselect=test_ways.py::test_not_captured",), ("synchronous", "in_def"), has_loop=False),
    "asyncio_run": Runner("`asyncio.run` in `def`", (), ("synchronous", "in_asyncio_run")),
    "client": Runner("`TestClient`", (), ("synchronous", "in_test_client"), has_endpoint=True),
    "with_client": Runner("`with TestClient`", (), ("synchronous", "in_test_client_with"), has_endpoint=True),
    "asgi": Runner("`httpx.ASGITransport`", AUTO, ("asynchronous", "in_asgi_transport"), has_endpoint=True),
}


def write_project(pytester: pytest.Pytester, runner: Runner, loop: str) -> int:
    """Write the files of the project, and return the number of its tests."""
    ways = [name for name, way in WAYS.items() if way.since <= sys.version_info]
    matrix = {
        "LOOP": loop,
        "HELD": [name for name in ways if runner.cell(name) == "held"],
        "RAISES": [name for name in ways if runner.cell(name) == "raises"],
        "NOT_CAPTURED": list(NOT_BACKGROUND) if runner.has_loop else [],
    }
    tests = "\n".join(part(name) for name in runner.tests)
    if runner.mark:
        tests += f"\npytestmark = pytest.mark.{runner.mark}\n"
    pytester.makeconftest("pytest_plugins = ['checks']")
    pytester.makepyfile(
        ways=part("ways"),
        checks=part("checks"),
        app=part("app"),
        matrix="\n".join(f"{name} = {value!r}" for name, value in matrix.items()),
        test_ways=tests,
    )
    return 2 * len(matrix["HELD"]) + len(matrix["RAISES"]) + len(matrix["NOT_CAPTURED"])


def part(name: str) -> str:
    return (PARTS / f"{name}.py").read_text()


@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
def test_every_way_to_create_a_task_is_captured(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, runner: Runner, loop: str
) -> None:
    """Each way is captured, held and run, or raises as in production; other tasks run as usual."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    number = write_project(pytester, runner, loop)
    result = pytester.runpytest_inprocess("-Werror", "-p", "pytest_background_tasks.plugin", *runner.options)
    result.assert_outcomes(passed=number)


@pytest.mark.skipif(
    not entry_points(group="pytest11", name="background_tasks"), reason="the plugin is on the path, but not installed"
)
def test_installed_plugin_is_found_by_its_entry_point(pytester: pytest.Pytester) -> None:
    """The fixture needs no configuration: pytest finds the entry point."""
    number = write_project(pytester, RUNNERS["auto"], "asyncio")
    result = pytester.runpytest_subprocess("-Werror", "-p", "no:randomly", *AUTO[2:])
    result.assert_outcomes(passed=number)


def test_page_matches_the_projects() -> None:
    """The table and the list of docs/ways-in.md agree with the assertions of the projects."""
    page = PAGE.read_text()
    for part_of_page in (table_of_ways(), list_of_tasks_not_captured()):
        assert part_of_page in page, f"write into {PAGE.name}:\n{part_of_page}"


CELL_TEXTS = {"held": "✓", "raises": "raises", "no endpoint": "", "no response": ""}


def table_of_ways() -> str:
    titles = ["way in", "since", "`created_at`", *(runner.title for runner in RUNNERS.values())]
    rows = [titles, ["---"] * len(titles)]
    for name, way in WAYS.items():
        cells = [CELL_TEXTS[runner.cell(name)] for runner in RUNNERS.values()]
        rows.append([way.title, "{}.{}".format(*way.since), "the line" if way.line else "the job", *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def list_of_tasks_not_captured() -> str:
    return "".join(f"- {title}\n" for _, title in NOT_BACKGROUND.values())
