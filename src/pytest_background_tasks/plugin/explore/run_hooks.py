"""The pytest hooks that run and report tests with ``@explore``.

They are registered when the first such test is collected, so that other sessions do not pay for hooks that are called
for every test.

Private name of pytest used here, tested from 8.4 on: ``_pyfuncitem`` of a request.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from ..._explore.several import several
from .marks import arguments_of
from .other_loops import replaced
from .settings import options_of
from .stash import CHOSEN, EXPLORATION, RUN


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Refuse a test that cannot be explored; set up only the fixtures that all its runs share."""
    __tracebackhide__ = True
    arguments = arguments_of(item)
    if arguments is None:
        return
    from .fixture_rules import check
    from .fresh_fixtures import set_up_kept
    from .replay import check_allowed

    check_allowed(item.config)
    without = options_of(item, dict(arguments)).get("exclude_fixtures", ())
    check(item, several(without), is_default="exclude_fixtures" not in arguments)
    item.setup = partial(set_up_kept, item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, object, object]:
    """Refuse fixtures that cannot be explored, and let those that need a loop create one that is controlled."""
    __tracebackhide__ = True
    item = request._pyfuncitem  # for a wider scope, `request.node` is not the test
    run = item.stash.get(RUN, None)
    if run is None and arguments_of(item) is None:
        return (yield)
    from .fixture_rules import check_fixture
    from .fresh_fixtures import creates_loop

    check_fixture(item, fixturedef.argname)
    if run is None or not creates_loop(fixturedef):
        return (yield)
    with run.controlling_loops(), run.named(fixturedef.argname):
        value = yield
    chosen = replaced(fixturedef.argname, value, run.policy)
    if chosen is not value:
        item.stash.setdefault(CHOSEN, {})[fixturedef.argname] = value
        value, fixturedef.cached_result = chosen, (chosen, *fixturedef.cached_result[1:])
    request.addfinalizer(partial(run.name_next, fixturedef.argname))  # called before the fixture's own
    return value


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: Any) -> Generator[None, object, object]:
    """Explore the test where pytest would run it."""
    __tracebackhide__ = True
    arguments = arguments_of(item)
    if arguments is None:
        return (yield)

    def runtest() -> None:
        __tracebackhide__ = True
        from .run_test import explore_item

        explore_item(item, arguments)

    item.runtest = runtest
    try:
        return (yield)
    finally:
        del item.runtest


def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    """Run an explored test that no plugin runs."""
    __tracebackhide__ = True
    run = pyfuncitem.stash.get(RUN, None)
    if run is None or pyfuncitem.config.pluginmanager.hasplugin("aiohttp.pytest_plugin"):
        return None
    from .program import run_without_runner

    return run_without_runner(pyfuncitem, run)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: Any, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test how the failure came about."""
    report = yield
    is_explored = EXPLORATION in item.stash or arguments_of(item) is not None
    if call.when != "teardown" and call.excinfo is not None and is_explored:
        from .run_test import add_to_report

        add_to_report(item, report)
    return report
