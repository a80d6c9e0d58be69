"""The plugin for ``pytest --explore --explore-last``: it explores the tests of a suite after the last one has run.

By then the fixtures of a test are torn down, and those of wider scope too. So each test that has passed goes through
pytest's protocol again, in the order of the session: the hooks set up its wider fixtures, call it, which explores it,
and tear down what the next test does not need. They report nothing but a failure under a deviation.

Private names used here: of pytest, tested from 8.4 on, ``_initrequest`` and ``_request`` of an item; of pytest-xdist,
``item_index`` of a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from ..report_properties import OUTCOME_OF_REPORT
from . import reasons
from .failure_cache import FAILURE_CACHE, FailureCache
from .fresh_fixtures import set_up_kept
from .quiet import quiet, restoring
from .stash import EXPLORATION
from .suite import SuiteExplorer
from .suite_outcome import SuiteOutcome, run_as_usual, verdict_in_words
from .suite_run import ENDS_SESSION, OUTCOME, explore, location_of_test, outcome_of, run_usual
from .usual_report import withdraw

_OF_WORKER = "explore_outcomes"
"""The key of the outcomes in the output of a worker of pytest-xdist."""


class LastExplorer(SuiteExplorer):
    """The plugin.

    Args:
        config: the configuration of the session.
    """

    TITLE = "explored after the last test (--explore-last)"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._config = config
        self._passed: dict[Any, float] = {}  # tests to explore, and the seconds that the call of each has taken
        self._explored: Any = None
        self._unreported: dict[str, dict[str, Any]] = {}  # outcomes that no report carries to pytest-xdist's controller

    def runtest_of(self, item: Any) -> Callable[[], object]:
        """Return the function that runs a test as usual, or explores it afterwards."""
        if item is self._explored:
            return partial(explore, item, only_report=self._only_report)
        return partial(run_usual, item, item.runtest)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: Any, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Remember the test if all of its usual run passes."""
        report = yield from super().pytest_runtest_makereport(item, call)
        if item is self._explored:
            return report
        outcome = getattr(report, OUTCOME_OF_REPORT, None)
        if outcome is not None and outcome["reason"] == reasons.UNFINISHED.code:
            self._passed[item] = report.duration
        if item in self._passed and not report.passed:
            del self._passed[item]
            outcome = run_as_usual(reasons.NOT_PASSED, location=location_of_test(item)).as_dict()
            setattr(report, OUTCOME_OF_REPORT, outcome)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Explore the tests that have passed, until the session is to stop."""
        result = yield
        self._write(f"\nexploring {len(self._passed)} of {len(session.items)} tests ")
        for item, next_item in pairwise([*self._passed, None]):
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            self._explored = item
            self._config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: pytest.Item | None) -> bool | None:
        """Explore the test instead of running it, if its usual run is over."""
        if item is not self._explored:
            return None
        for plugin in self._config.pluginmanager.get_plugins() if self._is_worker else ():
            if hasattr(plugin, "item_index"):
                plugin.item_index = item.session.items.index(item)  # it reports only this test
        item._initrequest()
        item.setup = partial(set_up_kept, item)
        try:
            self._explore(item, nextitem)
        finally:
            vars(item).pop("setup", None)
            item._request = False  # as pytest does; all of it would live as long as the session
            item.funcargs = None
        return True

    def _explore(self, item: Any, next_item: pytest.Item | None) -> None:
        hooks, has_failed = item.ihook, False
        try:
            with _set_up(item, next_item):
                run = partial(hooks.pytest_runtest_call, item=item)
                call = pytest.CallInfo.from_call(run, when="call", reraise=ENDS_SESSION)
                has_failed = EXPLORATION in item.stash
                self._report(item, call)
        except ENDS_SESSION:
            raise
        except BaseException as error:
            item.stash[OUTCOME] = outcome_of(item, reasons.SETUP, error)
        if has_failed:  # the plugin for --junitxml takes the properties of a test from its last report
            call = pytest.CallInfo.from_call(int, when="teardown")
            hooks.pytest_runtest_logreport(report=hooks.pytest_runtest_makereport(item=item, call=call))
        else:
            outcome = item.stash[OUTCOME]
            self._unreported[item.nodeid] = outcome.as_dict()
            self._add(item.nodeid, outcome)
            self._show(item.nodeid, outcome)

    def _report(self, item: Any, call: pytest.CallInfo[None]) -> None:
        """Report the failure of a test under a deviation, if it has one."""
        if EXPLORATION in item.stash:
            hooks = item.ihook
            report = hooks.pytest_runtest_makereport(item=item, call=call)
            report.duration = self._passed[item]
            hooks.pytest_runtest_logreport(report=report)
            hooks.pytest_exception_interact(node=item, call=call, report=report)
        elif call.excinfo is not None:  # of a hook of another plugin
            raise call.excinfo.value

    def _add(self, test: str, outcome: SuiteOutcome) -> None:
        self._outcomes[test] = outcome
        cache: FailureCache = self._config.pluginmanager.getplugin(FAILURE_CACHE)
        cache.update(test, outcome.verdict, outcome.schedule)

    def _show(self, test: str, outcome: SuiteOutcome) -> None:
        if self._config.get_verbosity() > 0:
            verdict = verdict_in_words(outcome.as_dict())
            self._write(f"\n{test} ({verdict if outcome.reason is None else f'not explored: {outcome.reason}'})")
        else:
            self._write(".")

    def _write(self, text: str) -> None:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if self._passed and terminal is not None:
            terminal.write(text, flush=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Let a failure under a deviation replace the report of the usual run, so that its test counts once."""
        super().pytest_runtest_logreport(report)
        outcome = getattr(report, OUTCOME_OF_REPORT, None)
        if report.when == "call" and outcome is not None and outcome["verdict"] == "failed":
            withdraw(self._config, report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the outcomes of a worker to the controller, or write the JSON file."""
        if self._is_worker:
            self._config.workeroutput[_OF_WORKER] = self._unreported
        super().pytest_sessionfinish(session)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Collect the outcomes of a worker; one that has crashed has none."""
        for test, outcome in getattr(node, "workeroutput", {}).get(_OF_WORKER, {}).items():
            self._add(test, SuiteOutcome(**outcome))


@contextmanager
def _set_up(item: Any, next_item: pytest.Item | None) -> Iterator[None]:
    """Set up the wider fixtures of a test around the block, unheard."""
    try:
        with _unheard(item):
            item.ihook.pytest_runtest_setup(item=item)
        yield
    finally:
        with _unheard(item):
            item.ihook.pytest_runtest_teardown(item=item, nextitem=next_item)


@contextmanager
def _unheard(item: Any) -> Iterator[None]:
    """Discard all output of the block."""
    restore = restoring(item)
    with quiet(item):
        yield
    restore()
