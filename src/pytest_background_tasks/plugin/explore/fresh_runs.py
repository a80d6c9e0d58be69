"""The runs of one explored test: give each run fresh fixtures, and discard output captured from the previous run.

pytest has no public way to set up a test's fixtures twice. Private names of pytest used here, tested from 8.4 on:
``session._setupstate`` and its ``stack``, ``_initrequest``, ``_instance`` and ``_obj`` of an item, the stash key of
``tmp_path``, and the handlers of the logging plugin.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from _pytest.tmpdir import tmppath_result_key

from .fixture_rules import has_own


class FreshRuns:
    """A factory of the test's coroutine, called before each run, outside any loop.

    Args:
        item: the test.
        test: its function.
        debugged: the number of the run in which ``--trace`` enters the debugger.

    Attributes:
        number: the number of runs so far.
    """

    def __init__(self, item: Any, test: Callable[..., Any], debugged: int) -> None:
        self._item = item
        self._test = test
        self._has_fixtures = has_own(item)
        self._properties = len(item.user_properties)
        manager = item.config.pluginmanager
        self._capture = manager.getplugin("capturemanager")
        self._logging = manager.getplugin("logging-plugin")
        self._debugged = debugged if item.config.getoption("trace", False) else None
        self.number: int = 0

    def __call__(self) -> Coroutine[Any, Any, object]:
        """Prepare a run and return its coroutine."""
        if self.number:
            self._renew()
        self.number += 1
        coroutine: Coroutine[Any, Any, object] = self._coroutine()
        if self.number == self._debugged:
            from .debugger import entered

            return entered(coroutine)
        return coroutine

    def _coroutine(self) -> Any:
        item = self._item
        test = self._test
        if inspect.ismethod(item.obj):
            test = test.__get__(item.obj.__self__)
        return test(**{name: item.funcargs[name] for name in item._fixtureinfo.argnames})

    def _renew(self) -> None:
        item = self._item
        if self._has_fixtures:
            self._tear_down()
        for name in ("_instance", "_obj"):  # a new instance of the test's class
            vars(item).pop(name, None)
        item.obj  # noqa: B018 - binds it again; pytest shows the whole traceback of an item without it
        if self._has_fixtures:
            self._set_up()
        self._forget_reports()

    def _tear_down(self) -> None:
        finalizers, _ = self._item.session._setupstate.stack.pop(self._item)
        errors = []
        while finalizers:
            try:
                finalizers.pop()()
            except BaseException as error:  # the other finalizers still run
                errors.append(error)
        if errors:
            failure = errors[0] if len(errors) == 1 else BaseExceptionGroup("errors in teardown", errors[::-1])
            failure.add_note(f"in the teardown of a fixture after run {self.number}")
            raise failure

    def _set_up(self) -> None:
        item = self._item
        item.stash.setdefault(tmppath_result_key, {})  # tmp_path's second teardown needs it
        item._initrequest()
        try:
            item.session._setupstate.setup(item)
        except BaseException as error:
            error.add_note(f"in the setup of a fixture before run {self.number + 1}")
            raise

    def _forget_reports(self) -> None:
        """Discard printed, logged and recorded output, so that the report shows only the last run."""
        del self._item.user_properties[self._properties :]
        if self._capture is not None:
            self._capture.read_global_capture()
        if self._logging is not None and self._logging.caplog_handler.records:
            self._logging.caplog_handler.clear()
            self._logging.report_handler.reset()
