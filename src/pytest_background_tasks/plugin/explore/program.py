"""One run of a test: pytest and the test's own runner set up its fixtures, call it and tear them down.

The runner is the plugin that runs the test in a session without exploration: pytest-asyncio, anyio's plugin, aiohttp's,
or unittest. It gets a `ControlledLoop` where it creates an event loop. A test without a runner runs on such a loop.

Private names used here: of pytest, tested from 8.4 on, the handlers of the logging plugin, ``_report_sections`` of an
item, and ``_excinfo`` of a method of a ``TestCase``; of unittest, ``_setupAsyncioRunner`` and ``_asyncioRunner`` of an
``IsolatedAsyncioTestCase``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import pytest

from ..._explore.cleanup import leave_nothing
from ..._explore.run import Run
from ..judgement import judged
from .fresh_fixtures import FreshFixtures
from .given import Example
from .marks import inner_test, is_method_of_unittest
from .stash import RUN


class ProgramOfTest:
    """The program of a test, for an exploration.

    Args:
        item: the test.
        fixtures: its fixtures.
        is_project: maps file names to True for project code.
        debugged: the number of the run in which ``--trace`` enters the debugger.
        example: the example to explore; None if Hypothesis does not call the test.
        before_run: called before each run.

    Attributes:
        number: the number of runs so far.
    """

    def __init__(
        self,
        item: Any,
        fixtures: FreshFixtures,
        is_project: Mapping[str, bool],
        debugged: int,
        example: Example | None,
        before_run: Callable[[], object],
    ) -> None:
        self._item = item
        self._before_run = before_run
        self._example = example
        self._is_project = is_project
        self._fixtures = fixtures
        self._properties = len(item.user_properties)
        self._sections = len(item._report_sections)
        manager = item.config.pluginmanager
        self._capture = manager.getplugin("capturemanager")
        self._logging = manager.getplugin("logging-plugin")
        self._debugged = debugged if item.config.getoption("trace", False) else None
        self._passed_once = False
        self.number: int = 0

    def __call__(self, run: Run) -> BaseException | None:
        """Run the test, with fresh fixtures; return its first error."""
        item = self._item
        self._before_run()
        self._forget_reports()
        self.number += 1
        item.stash[RUN] = run
        try:
            with run.replacing_policy():
                return self._run(run)
        finally:
            del item.stash[RUN]

    def _run(self, run: Run) -> BaseException | None:
        found: list[BaseException] = []
        later: list[BaseException] = []
        try:
            with self._noting(found, f"in the setup of a fixture before run {self.number}"):
                self._fixtures.set_up()
            is_set_up = not found
            if is_set_up:
                with self._noting(found), judged(self._item):
                    self._call(run)
        finally:
            with self._noting(later, f"in the teardown of a fixture after run {self.number}"):
                self._fixtures.tear_down(run)
        if later and run.stop is not None:
            later = [run.stop]  # the teardown of each fixture may have failed with it
        if self.number == 1:
            self._passed_once = is_set_up and not later
        elif self._passed_once and not is_set_up:
            raise found[0]  # not a failure of this order: the schedule does not apply to the setup
        elif self._passed_once and later and not (found or run.schedule):
            raise later[0]
        if found and later:
            found[0].add_note(f"then the teardown of its fixtures failed too: {later[0]!r}")
        return next(iter(found + later), None)

    @contextmanager
    def _noting(self, errors: list[BaseException], note: str = "") -> Iterator[None]:
        """Add the error that the block raises to `errors`; a Ctrl-C propagates."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if note:
                error.add_note(note)
            error.__traceback__ = self._from_project(error.__traceback__)
            errors.append(error)

    def _from_project(self, traceback: TracebackType | None) -> TracebackType | None:
        """Return the traceback from its first line of project code on; all of it if there is none."""
        inner = traceback
        while inner is not None and not self._is_project[inner.tb_frame.f_code.co_filename]:
            inner = inner.tb_next
        return inner or traceback

    def _call(self, run: Run) -> None:
        item = self._item
        backend = getattr(item, "funcargs", {}).get("anyio_backend", "asyncio")
        if "asyncio" not in backend:
            pytest.skip(f"an exploration supports only asyncio, and the backend is {backend}")
        example = self._example
        test = run.as_main(self._with_debugger(example.of(item.instance) if example else item.obj))
        if is_method_of_unittest(item):
            with _calling_quickly(item, test), run.controlling_loops(1):
                type(item).runtest(item)
            if failures := vars(item).pop("_excinfo", None):
                raise failures[0].value
        else:
            item.obj = example.called_with(test) if example else test
            with run.controlling_loops(1):
                type(item).runtest(item)

    def _with_debugger(self, test: Callable[..., Any]) -> Callable[..., Any]:
        if self.number != self._debugged:
            return test
        from .debugger import entered

        return entered(test)

    def _forget_reports(self) -> None:
        """Discard printed, logged and recorded output: no run sees that of another, and the report has the last."""
        del self._item.user_properties[self._properties :], self._item._report_sections[self._sections :]
        if self._capture is not None:
            self._capture.read_global_capture()
        if self._logging is not None and self._logging.caplog_handler.records:
            self._logging.caplog_handler.clear()
            self._logging.report_handler.reset()


@contextmanager
def _calling_quickly(item: Any, test: Callable[..., Any]) -> Iterator[None]:
    """Let a ``TestCase`` call `test` as its method, and run it without debug mode, which makes it ten times slower."""
    case = item.instance

    def set_up_runner() -> None:
        case._asyncioRunner = asyncio.Runner()

    def add_subtest(_: object, test: object, failure: Any) -> None:
        if failure is not None:
            failure[1].add_note(f"in {test}")
            item._addexcinfo(failure)

    setattr(case, item.name, test)
    case._setupAsyncioRunner = set_up_runner
    item.addSubTest = add_subtest
    try:
        yield
    finally:
        del item.addSubTest


def run_without_runner(item: Any, run: Run) -> bool | None:
    """Run a test that is still an ``async def`` when pytest itself would call it; None if it is not.

    It runs on the loop on which a plugin has run its fixtures, if there is one.
    """
    __tracebackhide__ = True
    if not inspect.iscoroutinefunction(inner_test(item.obj)):
        return None
    arguments = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
    own = None if any(not loop.is_closed() for loop in run.loops) else run.new_loop()
    loop = own or next(each for each in run.loops if not each.is_closed())
    try:
        loop.run_until_complete(item.obj(**arguments))
    finally:
        if own is not None:
            run.look_at_end(own)
            leave_nothing(own)
    return True
