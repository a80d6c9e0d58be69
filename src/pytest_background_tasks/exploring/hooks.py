"""The hooks of pytest through which tests with ``@explore`` are found, and told of.

A session without such a test loads this file, the settings and what is kept, and nothing else of the explorer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any

import pytest

from ..properties import value_of
from ..untrusted import attribute
from . import settings
from .kept import KEPT, Kept

if TYPE_CHECKING:
    from .decorator import Explored

_RUNNING = "explore_running"
_SHOWN = 10  # explored tests that the terminal summary shows one by one


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all under the prefix ``explore``."""
    settings.add_to(parser)


@pytest.hookimpl(trylast=True)  # after pytest's own debugger is registered
def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and register the mark."""
    settings.read(config)
    config.pluginmanager.register(Kept(config), KEPT)
    if config.getoption("usepdb", False):  # not there with -p no:debugging
        from .debugger import Debugger

        Debugger.take_place_of_pytests(config.pluginmanager)
    if config.get_verbosity() > 0:
        config.pluginmanager.register(Verbose(), "explore_verbose")
    config.addinivalue_line("markers", "explore: the test is run in every order that asyncio could have produced")


def pytest_report_header(config: pytest.Config) -> str | None:
    """The seed, if it is none that anybody knows."""
    seed = config.option.explore_seed
    return None if seed is None else f"explore: --explore-seed={seed}"


def explored_of(item: Any) -> Explored | None:
    """What ``@explore`` has made of the test, if it has."""
    return explored_in(item.obj) if issubclass(type(item), pytest.Function) else None


def explored_in(test: Any) -> Explored | None:
    """Return what ``@explore`` has made of a function; `test` may be anything that a module or a class contains."""
    decorator = sys.modules.get(f"{__package__}.decorator")
    if decorator is None:  # nobody has imported it
        return None
    kind = type(test)
    is_method = kind is MethodType or kind is staticmethod or kind is classmethod
    found = attribute(test.__func__ if is_method else test, "_explored")
    return found if type(found) is decorator.Explored else None


def pytest_pycollect_makeitem(collector: Any, obj: Any) -> None:
    """In a module whose tests have ``anyio_backend`` parametrized, explored tests have it too."""
    if explored_in(obj) is not None:
        for mark in collector.iter_markers("parametrize"):
            names = mark.args[0] if mark.args else mark.kwargs.get("argnames", "")
            if "anyio_backend" in (names.split(",") if isinstance(names, str) else names):
                pytest.mark.usefixtures("anyio_backend")(obj)


def pytest_itemcollected(item: Any) -> None:
    """Explored tests are no tests of pytest-asyncio, which warns of a mark on what it takes for a ``def`` test."""
    if explored_of(item) is not None:
        marks = item.iter_markers_with_node

        def without_asyncio(name: str | None = None) -> Iterator[tuple[Any, pytest.Mark]]:
            return ((node, mark) for node, mark in marks(name) if mark.name != "asyncio")

        item.iter_markers_with_node = without_asyncio
        if not item.config.pluginmanager.has_plugin(_RUNNING):  # from now on; other sessions' tests do without
            from . import running

            item.config.pluginmanager.register(running, _RUNNING)


def pytest_collection_finish(session: pytest.Session) -> None:
    """A replay is of one test."""
    if session.config.option.explore_replay is not None:
        from .replay import check_one

        check_one(session, [item.nodeid for item in session.items if explored_of(item) is not None])


class Verbose:
    """With -v, the verdict stands beside PASSED."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Say it if there is one."""
        if report.when != "call" or not report.passed or hasattr(report, "wasxfail"):
            return None
        properties = report.user_properties
        verdict = value_of("explore_verdict", properties)
        if verdict is None:
            return None
        from ..amounts import amount

        cut_short = value_of("explore_cut", properties)
        cut = "" if cut_short is None else f", {cut_short} cut short"
        runs = amount(value_of("explore_runs", properties), "run")
        counts = f"{runs}, {value_of('explore_distinct', properties)} distinct{cut}"
        return "passed", ".", f"PASSED ({verdict}, {counts})"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What is known of the explored tests that passed."""
    reports = [
        (report.nodeid, text)
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and (text := value_of("explore", report.user_properties))
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
        counts = dict.fromkeys(("exhausted", "bounded", "replayed"), 0)
        for _, text in reports:
            verdict = text.partition(":")[0]
            if verdict in counts:
                counts[verdict] += 1
        terminalreporter.write_line(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
