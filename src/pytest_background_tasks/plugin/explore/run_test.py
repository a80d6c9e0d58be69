"""The exploration of one test, and its report."""

from __future__ import annotations

import shutil
from types import TracebackType
from typing import Any

import pytest

from ..._explore.exploration import explored
from ..._explore.options import Options
from ..._introspect.project_code import PACKAGE
from ..._report.layout import Row, Span, Tone, plain
from ..._report.terminal import section
from ..project import project_code
from . import other_loops
from .decorator import ExploredTest
from .failure_cache import FAILURE_CACHE, FailureCache
from .fresh_runs import FreshRuns
from .html_report import report_line
from .replay import replay_line
from .settings import options_of
from .stash import EXPLORATION, ON_FAILURE

_PASSES_THROUGH = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception, pytest.UsageError)


def _passes_through(error: BaseException) -> bool:
    """Return True if `error` ends the exploration and is not a failure of one order, such as a skip."""
    # pytest-timeout raises wherever the program is when the time is over.
    is_of_timeout = isinstance(error, pytest.fail.Exception) and str(error).endswith("from pytest-timeout.")
    return is_of_timeout or isinstance(error, _PASSES_THROUGH)


_NAME = "explore"
_MARKUP: dict[Tone, dict[str, bool]] = {
    "": {},
    "name": {"bold": True},
    "muted": {"light": True},
    "deviates": {"yellow": True, "bold": True},
    "fails": {"red": True},
}


def explore_item(item: Any, test: ExploredTest) -> None:
    """Explore a test and raise its failure."""
    __tracebackhide__ = True
    if ON_FAILURE in item.stash:
        item.stash[EXPLORATION].failure.reproduce(item.stash[ON_FAILURE])
        return
    options = options_of(item, test.options)
    options.pop("exclude_fixtures", None)
    cache: FailureCache = item.config.pluginmanager.getplugin(FAILURE_CACHE)
    options["previous_failures"] = cache.schedules_of(item.nodeid)
    options["require_cancel"] = "cancel" in test.options  # a default also applies to tests without such a task
    is_project = project_code(item.config)
    is_project[test.test.__code__.co_filename] = True  # the test's module, wherever its file is (--pyargs)
    rounds = FreshRuns(item, test.test, 2 if options.get("replay") else 1)  # the default order runs before a replay
    try:
        asked = Options.of({**options, "propagate": _passes_through, "is_project_file": is_project})
        exploration = explored(rounds, asked)
    except BaseException as error:
        raise error.with_traceback(_of_user(error.__traceback__)) from error.__cause__
    failure = exploration.failure
    item.user_properties += [
        ("explore", str(exploration)),
        ("explore_verdict", exploration.verdict),
        ("explore_runs", exploration.runs),
        ("explore_distinct", exploration.distinct),
        *([("explore_cut_short", exploration.cut_short)] if exploration.cut_short else ()),
        *([("explore_schedule", str(failure.schedule))] if failure else ()),
    ]
    if failure is not None:
        item.stash[EXPLORATION] = exploration
        if not failure.schedule and (note := other_loops.note(item)):
            failure.error.add_note(note)
        raise failure.error


def _of_user(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the plugin's own frames at its start."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(PACKAGE):
        traceback = traceback.tb_next
    return traceback


def add_to_report(item: Any, report: pytest.TestReport) -> None:
    """Add to the report of a failed test how the failure came about."""
    shown: Any = report.longrepr
    if hasattr(shown, "reprtraceback"):
        # A deadlock has no line of code, and "All traceback entries are hidden" does not help.
        shown.reprtraceback.extraline = None
    exploration = item.stash.get(EXPLORATION, None)
    if exploration is None or exploration.failure is None:
        return
    if not item.config.getoption("usepdb", False):  # otherwise the debugger needs it
        del item.stash[EXPLORATION]  # the item lives as long as the session
    replay = replay_line(item, str(exploration.failure.schedule))
    rows = section(exploration, replay, _width(item.config))
    if report.failed and (picture := report_line(item, exploration.failure, plain(rows), replay)):
        rows.append((Span(picture),))
    if hasattr(shown, "addsection"):
        shown.addsection(_NAME, plain(rows))
        _paint(shown, rows)
    else:
        report.sections.append((_NAME, plain(rows)))


def _width(config: pytest.Config) -> int:
    """Return the width of pytest's terminal; a worker of pytest-xdist has none."""
    if config.pluginmanager.hasplugin("terminalreporter"):
        return config.get_terminal_writer().fullwidth
    return shutil.get_terminal_size().columns


def _paint(shown: Any, rows: list[Row]) -> None:
    """Colour the section in terminals that support it; JUnit and other reports get plain text."""
    write = shown.toterminal

    def to_terminal(writer: Any) -> None:
        if not writer.hasmarkup:
            write(writer)
            return
        sections = shown.sections
        shown.sections = [each for each in sections if each[0] != _NAME]
        write(writer)
        shown.sections = sections
        writer.sep("-", _NAME)
        for row in rows:
            for span in row:
                writer.write(span.text, **_MARKUP[span.tone])
            writer.line()

    shown.toterminal = to_terminal
