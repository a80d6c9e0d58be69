"""The pytest hooks that find tests with ``@explore`` and summarize their results.

A session without such a test loads only this file, the settings and the stored schedules.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from ..._introspect.untrusted import attribute
from ..report_properties import OUTCOME_OF_REPORT, value_of
from . import marks, settings
from .failure_cache import FAILURE_CACHE, FailureCache

_RUNNING = "explore_running"
SUITE = "explore_suite"
"""The name of the plugin for ``--explore``."""

_SHOWN = 10  # largest number of explored tests that the terminal summary lists


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all with the prefix ``explore``."""
    settings.add_to(parser)


@pytest.hookimpl(trylast=True)  # after pytest's own debugger is registered
def pytest_configure(config: pytest.Config) -> None:
    """Read the options and register the mark."""
    settings.read(config)
    config.pluginmanager.register(FailureCache(config), FAILURE_CACHE)
    if config.getoption("usepdb", False):  # missing with -p no:debugging
        from .debugger import Debugger

        Debugger.take_place_of_pytests(config.pluginmanager)
    if config.get_verbosity() > 0:
        config.pluginmanager.register(Verbose(), "explore_verbose")
    marks.register(config)
    if config.getini(marks.ACCEPT):
        import_module(f"{__package__}.accepted").read_ini(config)
    if config.option.explore:
        _register_running(config)
        if config.option.explore_last:
            suite = import_module(f"{__package__}.suite_last").LastExplorer(config)
        else:
            suite = import_module(f"{__package__}.suite").SuiteExplorer(config)
        config.pluginmanager.register(suite, SUITE)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Return the seed, if the command line sets one; a random seed is printed only here."""
    seed = config.option.explore_seed
    return None if seed is None else f"explore: --explore-seed={seed}"


def pytest_pycollect_makeitem(collector: Any, obj: Any) -> None:
    """Parametrize explored tests with ``anyio_backend`` too, if their module or class does so for its tests."""
    own: Any = attribute(obj, "pytestmark", ())
    if type(own) is list and any(type(mark) is pytest.Mark and mark.name == marks.MARK for mark in own):
        for mark in collector.iter_markers("parametrize"):
            names = mark.args[0] if mark.args else mark.kwargs.get("argnames", "")
            if "anyio_backend" in (names.split(",") if isinstance(names, str) else names):
                pytest.mark.usefixtures("anyio_backend")(obj)


def pytest_itemcollected(item: Any) -> None:
    """Check the marks of an explored test; sessions without such a test do not load the hooks that run it."""
    if item.get_closest_marker(marks.ACCEPT) is not None:
        import_module(f"{__package__}.accepted").check_mark(item)
    if item.get_closest_marker(marks.MARK) is None or marks.arguments_of(item) is None:
        return
    _register_running(item.config)


def _register_running(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(_RUNNING):
        # `from . import` would find the module of an earlier session in this process, which pytester has unloaded.
        config.pluginmanager.register(import_module(f"{__package__}.run_hooks"), _RUNNING)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check that a replay has exactly one test."""
    if session.config.option.explore_replay is not None:
        from .replay import check_single

        suite: Any = session.config.pluginmanager.getplugin(SUITE)
        check_single(
            session,
            [
                item.nodeid
                for item in session.items
                if marks.arguments_of(item) is not None or (suite is not None and suite.may_explore(item))
            ],
        )


class Verbose:
    """The plugin for -v: shows the verdict next to PASSED."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Add the verdict to the status, if there is one."""
        if report.when != "call" or not report.passed or hasattr(report, "wasxfail"):
            return None
        names = ("verdict", "runs", "distinct", "cut_short")
        outcome = getattr(report, OUTCOME_OF_REPORT, None)  # of a suite
        if outcome is None:
            outcome = {name: value_of(f"explore_{name}", report.user_properties) for name in names}
        if outcome["verdict"] is None:
            return None
        from .suite_outcome import verdict_in_words

        return "passed", ".", f"PASSED ({verdict_in_words(outcome)})"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the results of the explored tests that passed."""
    reports = [
        (report.nodeid, text)
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and (text := value_of("explore", report.user_properties))
    ]
    if not reports or config.get_verbosity() < 0:
        return
    from .command_line import relative

    # A search that ran out of budget is always listed.
    shown = reports if len(reports) <= _SHOWN else [each for each in reports if each[1].startswith("incomplete")]
    terminalreporter.section("explored", sep="-")
    for name, text in shown:
        terminalreporter.write_line(f"{relative(config, name)}\n    {text}")
    if len(shown) < len(reports):
        counts = dict.fromkeys(("exhaustive", "bounded", "replayed"), 0)
        for _, text in reports:
            verdict = text.partition(":")[0]
            if verdict in counts:
                counts[verdict] += 1
        terminalreporter.write_line(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
