"""The plugin for ``pytest --explore``: it explores each test of a suite after its usual run, and sums up.

Each test leaves a `SuiteOutcome` in its report, which pytest-xdist carries from a worker to the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..report_properties import OUTCOME_OF_REPORT
from . import reasons
from .marks import arguments_of, async_test_of
from .settings import options_in_suite
from .stash import RUN, TIMEOUT
from .suite_outcome import SuiteOutcome, run_as_usual
from .suite_run import (
    OUTCOME,
    SECONDS,
    TEARDOWN_ERROR,
    TEARDOWN_OUTPUT,
    explore_after_usual_run,
    location_of_test,
    reason_before,
)
from .suite_summary import as_json, summary


class SuiteExplorer:
    """The plugin.

    Args:
        config: the configuration of the session.
    """

    TITLE = "explored after the usual run (--explore)"
    """The title of the summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._excluded: list[str] = config.getini("explore_exclude")
        self._loop: str | None = config.option.explore_loop
        self._only_report: bool = config.option.explore_only_report
        self._json: str | None = config.option.explore_json
        self._is_worker = hasattr(config, "workerinput")
        self._options = options_in_suite(config)
        self._outcomes: dict[str, SuiteOutcome] = {}

    def may_explore(self, item: Any) -> bool:
        """Return True if a test has no reason against its exploration."""
        return reason_before(item, self._excluded, self._loop) is None

    def runtest_of(self, item: Any) -> Callable[[], object]:
        """Return the function that runs a test as usual, and explores it."""
        return partial(explore_after_usual_run, item, item.runtest, only_report=self._only_report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: Any) -> Generator[None, object, object]:
        """Explore the test after its usual run."""
        __tracebackhide__ = True
        if arguments_of(item) is not None or RUN in item.stash:
            return (yield)
        if reason := reason_before(item, self._excluded, self._loop):
            item.stash[OUTCOME] = run_as_usual(*reason, location_of_test(item))
            return (yield)
        item.runtest = self.runtest_of(item)
        try:
            return (yield)
        finally:
            del item.runtest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> Generator[None, object, object]:
        """Raise the error of the teardown that came before the exploration."""
        __tracebackhide__ = True
        for name, text in item.stash.get(TEARDOWN_OUTPUT, ()):
            item.add_report_section("teardown", name, text)
        if TEARDOWN_OUTPUT in item.stash:
            del item.stash[TEARDOWN_OUTPUT]
        first = item.stash.get(TEARDOWN_ERROR, None)
        if first is None:
            return (yield)
        del item.stash[TEARDOWN_ERROR]
        try:
            yield
        except BaseException as second:
            raise BaseExceptionGroup("errors in teardown", [first, second]) from None
        raise first

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: Any, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the outcome of the test to its report; its duration is that of the usual run."""
        report = yield
        if call.when == "setup" and not report.passed and arguments_of(item) is None:
            reason = reasons.NOT_ASYNC if async_test_of(item) is None else reasons.NOT_PASSED
            outcome: SuiteOutcome | None = run_as_usual(reason, location=location_of_test(item))
        elif call.when == "call":
            outcome = item.stash.get(OUTCOME, None)
            report.duration -= item.stash.get(SECONDS, 0.0)
        else:
            return report
        for key in (OUTCOME, SECONDS):
            if key in item.stash:
                del item.stash[key]
        if outcome is not None:
            setattr(report, OUTCOME_OF_REPORT, outcome.as_dict())
        return report

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: Any, settings: Any) -> None:
        """Remember the limit of pytest-timeout, which applies to each explored run too."""
        item.stash[TIMEOUT] = settings

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the outcome; the last one counts, if a test is run again."""
        if (outcome := getattr(report, OUTCOME_OF_REPORT, None)) is not None:
            self._outcomes[report.nodeid] = SuiteOutcome(**outcome)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the JSON file."""
        if self._json is not None and not self._is_worker:
            path = Path(session.config.invocation_params.dir, self._json)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(as_json(self._outcomes, self._options), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Print what was explored, what failed, and what was run as usual, by reason."""
        if not self._outcomes:
            return
        terminalreporter.ensure_newline()
        terminalreporter.section(self.TITLE, sep="-")
        width = terminalreporter._tw.fullwidth - 1
        for line in summary(self._outcomes, self._options, verbosity=config.get_verbosity(), width=width):
            terminalreporter.write_line(line)
