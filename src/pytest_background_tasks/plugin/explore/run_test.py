"""The exploration of one test, and its report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ..._explore.exploration import explored
from ..._explore.options import Options
from ..._explore.result import Exploration
from ..._introspect.project_code import PACKAGE
from ..._introspect.untrusted import code_of_function
from ..._report.layout import Row, Span, Tone, plain
from ..._report.terminal import section
from ..plugin_names import MONITOR
from ..project import project_code
from .accepted import accepted_of
from .arguments import ExploreArguments
from .command_line import relative
from .debugger import tracing_by_us
from .failure_cache import FAILURE_CACHE, FailureCache
from .fresh_fixtures import FreshFixtures
from .given import Example, is_given, run_examples
from .html_report import report_line
from .other_loops import note
from .program import ProgramOfTest
from .progress import Progress
from .replay import replay_line
from .settings import options_of
from .stash import EXPLORATION, ON_FAILURE

if TYPE_CHECKING:
    from ..monitor import MonitorPlugin

_PASSES_THROUGH = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception, pytest.UsageError)


def _passes_through(error: BaseException) -> bool:
    """Return True if `error` ends the exploration and is not a failure of one order, such as a skip."""
    return is_of_timeout(error) or isinstance(error, _PASSES_THROUGH)


def is_of_timeout(error: BaseException) -> bool:
    """Return True if pytest-timeout has raised `error`, wherever the program was when the time was over."""
    return isinstance(error, pytest.fail.Exception) and str(error).endswith("from pytest-timeout.")


_NAME = "explore"
_MARKUP: dict[Tone, dict[str, bool]] = {
    "": {},
    "name": {"bold": True},
    "muted": {"light": True},
    "deviates": {"yellow": True, "bold": True},
    "fails": {"red": True},
}


def explore_item(item: Any, arguments: ExploreArguments) -> None:
    """Explore a test and raise its failure.

    Args:
        item: the test, after its setup.
        arguments: the arguments of its mark.
    """
    __tracebackhide__ = True
    if is_given(item.obj):
        explorations: list[Exploration] = []
        run_examples(item, lambda example: explorations.append(_explore_or_reproduce(item, arguments, example)))
        _set_properties(item, explorations)
    else:
        _set_properties(item, [_explore_or_reproduce(item, arguments, None)])


def _explore_or_reproduce(item: Any, arguments: ExploreArguments, example: Example | None) -> Exploration:
    __tracebackhide__ = True
    with exploring(item) as fixtures:
        if ON_FAILURE not in item.stash:
            return _explore(item, arguments, fixtures, example)
        exploration: Exploration = item.stash[EXPLORATION]
        assert exploration.failure is not None
        exploration.failure.reproduce(item.stash[ON_FAILURE])
        return exploration


@contextmanager
def exploring(item: Any) -> Iterator[FreshFixtures]:
    """Run a test inside the block only, with fresh fixtures; the exploration, not the monitor, reports what fails."""
    plugins = item.config.pluginmanager
    monitoring: MonitorPlugin | None = plugins.get_plugin(MONITOR)
    unmonitored = nullcontext() if monitoring is None else monitoring.suspended()
    with FreshFixtures(item) as fixtures, tracing_by_us(plugins), unmonitored:
        yield fixtures


def _explore(item: Any, arguments: ExploreArguments, fixtures: FreshFixtures, example: Example | None) -> Exploration:
    __tracebackhide__ = True
    options = options_of(item, dict(arguments))
    options.pop("exclude_fixtures", None)
    options["require_cancel"] = "faults" in arguments  # a default also applies to tests without such a task
    exploration = exploration_of(item, options, fixtures, example)
    failure = exploration.failure
    if failure is not None:
        if not failure.schedule and (text := note(item)):
            failure.error.add_note(text)
        fail_with(item, exploration)
    return exploration


def exploration_of(
    item: Any,
    options: dict[str, Any],
    fixtures: FreshFixtures,
    example: Example | None = None,
    *,
    in_suite: float | None = None,
    before_run: Callable[[], object] = int,
) -> Exploration:
    """Explore a test, and return the result.

    Args:
        item: the test.
        options: the options of an `Explorer`.
        fixtures: its fixtures.
        example: the example to explore, if Hypothesis calls the test.
        in_suite: if the test was not written to be explored: seconds that a function may take in a thread.
        before_run: called before each run.

    Raises:
        BaseException: whatever makes it impossible to explore the test.
    """
    __tracebackhide__ = True
    cache: FailureCache = item.config.pluginmanager.getplugin(FAILURE_CACHE)
    options["previous_failures"] = cache.schedules_of(item.nodeid)
    options["accepted"] = accepted_of(item)
    is_project = project_code(item.config)
    if code := code_of_function(example.test if example else item.obj):
        is_project[code.co_filename] = True  # the test's module, wherever its file is (--pyargs)
    debugged = 2 if options.get("replay") else 1  # the default order runs before a replay
    program = ProgramOfTest(item, fixtures, is_project, debugged, example, before_run)
    try:
        asked = Options.of({**options, "propagate": _passes_through, "is_project_file": is_project})
        with Progress(item.config, asked.max_schedules) as progress:
            return explored(program, asked if in_suite is None else asked.in_suite(in_suite), progress)
    except KeyboardInterrupt as interrupt:
        interrupt.args = (f"{relative(item.config, item.nodeid)}: {interrupt}",)
        if failing := getattr(interrupt, "failing", None):
            cache.update(item.nodeid, "failed", failing)
        raise
    except BaseException as error:
        raise error.with_traceback(_of_user(error.__traceback__)) from error.__cause__


def fail_with(item: Any, exploration: Exploration) -> NoReturn:
    """Raise the failure of a test, which `add_to_report` will explain."""
    __tracebackhide__ = True
    assert exploration.failure is not None
    item.stash[EXPLORATION] = exploration
    _set_properties(item, [exploration])
    raise exploration.failure.error


def _set_properties(item: Any, explorations: list[Exploration]) -> None:
    """Add the result to the report; of several examples, that which is covered least."""
    if not explorations:
        return
    least = min(explorations, key=lambda each: _COVERAGE.index(each.verdict))
    failure, count = least.failure, len(explorations)
    cut_short = sum(each.cut_short for each in explorations)
    of_examples = f"; the least covered of {count} examples" if count > 1 else ""
    item.user_properties[:] = [each for each in item.user_properties if each[0] not in _PROPERTIES]
    item.user_properties += [
        ("explore", f"{least}{of_examples}"),
        ("explore_verdict", least.verdict),
        ("explore_runs", sum(each.runs for each in explorations)),
        ("explore_distinct", sum(each.distinct for each in explorations)),
        *([("explore_cut_short", cut_short)] if cut_short else ()),
        *([("explore_schedule", str(failure.schedule))] if failure else ()),
    ]


_COVERAGE = ("failed", "incomplete", "bounded", "replayed", "exhaustive")  # verdicts, from the one that says least
_PROPERTIES = {
    "explore",
    *(f"explore_{name}" for name in ("verdict", "runs", "distinct", "cut_short", "schedule")),
}


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
