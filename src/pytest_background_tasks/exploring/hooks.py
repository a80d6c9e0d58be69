"""The hooks of pytest through which tests with ``@explore`` are found, run and reported.

A session without such a test loads this file and the settings, and nothing else of the explorer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from . import settings

if TYPE_CHECKING:
    from .decorator import Explored

_SHOWN = 10  # explored tests that the terminal summary shows one by one


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all under the prefix ``explore``."""
    settings.add_to(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and register the mark."""
    settings.read(config)
    config.addinivalue_line("markers", "explore: the test is run in every order that asyncio could have produced")


def pytest_report_header(config: pytest.Config) -> str | None:
    """The seed, if it is none that anybody knows."""
    seed = config.option.explore_seed
    return None if seed is None else f"explore: --explore-seed={seed}"


def _explored(item: Any) -> Explored | None:
    found: Explored | None = getattr(getattr(item, "obj", None), "_explored", None)
    return found


def pytest_pycollect_makeitem(collector: Any, obj: Any) -> None:
    """In a module whose tests have ``anyio_backend`` parametrized, explored tests have it too."""
    if hasattr(obj, "_explored"):
        for mark in collector.iter_markers("parametrize"):
            names = mark.args[0] if mark.args else mark.kwargs.get("argnames", "")
            if "anyio_backend" in (names.split(",") if isinstance(names, str) else names):
                pytest.mark.usefixtures("anyio_backend")(obj)


def pytest_itemcollected(item: Any) -> None:
    """Explored tests are no tests of pytest-asyncio, which warns of a mark on what it takes for a ``def`` test."""
    if _explored(item) is not None:
        marks = item.iter_markers_with_node

        def without_asyncio(name: str | None = None) -> Iterator[tuple[Any, pytest.Mark]]:
            return ((node, mark) for node, mark in marks(name) if mark.name != "asyncio")

        item.iter_markers_with_node = without_asyncio


def pytest_collection_finish(session: pytest.Session) -> None:
    """A replay is of one test."""
    if session.config.option.explore_replay is not None:
        explored = [item.nodeid for item in session.items if _explored(item) is not None]
        if len(explored) != 1:
            shown = "".join(f"\n  {name}" for name in explored[:_SHOWN])
            raise pytest.UsageError(
                f"--explore-replay plays one test, and {len(explored) or 'no'} explored tests are selected{shown}\n"
                f"  write e.g.  pytest test_file.py::test_name --explore-replay 'client@1+1'"
            )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Refuse what cannot be explored before any fixture is set up."""
    __tracebackhide__ = True
    explored = _explored(item)
    if explored is not None:
        from .fixtures import check

        options = settings.options_of(item, {"without": explored.without} if explored.without else {})
        check(item, options.get("without", ()), is_default=not explored.without)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    """Explore it; whoever else runs async tests does not see it."""
    __tracebackhide__ = True
    explored = _explored(pyfuncitem)
    if explored is None:
        return None
    if getattr(pyfuncitem.obj, "__func__", pyfuncitem.obj) is not explored.outer:
        raise TypeError(
            f"another decorator stands above @explore of {pyfuncitem.name}, and would be there once for all runs; "
            f"write @explore above it:\n    @explore\n    @other\n    async def {pyfuncitem.originalname}(...):"
        )
    backend = pyfuncitem.funcargs.get("anyio_backend", "asyncio")
    if "asyncio" not in backend:
        pytest.skip(f"@explore plays asyncio, and this is {backend}")
    from .verdict import explore_item

    explore_item(pyfuncitem, explored)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: Any, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say below the traceback of a failed test how it came about."""
    report = yield
    if call.when != "teardown" and call.excinfo is not None and _explored(item) is not None:
        from .verdict import add_to_report

        add_to_report(item, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(report: Any) -> Generator[None, Any, Any]:
    """With -v, the verdict stands beside PASSED."""
    result = yield
    short = dict(getattr(report, "user_properties", ())).get("explore_short")
    if short and report.when == "call" and result and result[2] == "PASSED":
        return (*result[:2], f"PASSED ({short})")
    return result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What is known of the explored tests that passed."""
    reports = [
        (report.nodeid, dict(report.user_properties)["explore"])
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and "explore" in dict(report.user_properties)
    ]
    if not reports or config.get_verbosity() < 0:
        return
    from .nodeid import relative

    # A search that was cut short is worth a line in any case.
    shown = reports if len(reports) <= _SHOWN else [each for each in reports if each[1].startswith("truncated")]
    terminalreporter.section("explored", sep="-")
    for name, text in shown:
        terminalreporter.write_line(f"{relative(config, name)}\n    {text}")
    if len(shown) < len(reports):
        counts = dict.fromkeys(("exhausted", "bounded"), 0)
        for _, text in reports:
            verdict = text.partition(":")[0]
            if verdict in counts:
                counts[verdict] += 1
        terminalreporter.write_line(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
