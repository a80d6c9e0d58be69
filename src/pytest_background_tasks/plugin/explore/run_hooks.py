"""The pytest hooks that run and report tests with ``@explore``.

They are registered when the first such test is collected, so that other sessions do not pay for hooks that are called
for every test.

Private name of pytest used here, tested from 8.4 on: ``_pyfuncitem`` of a request.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from . import settings
from .stash import explored_of


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Refuse a test that cannot be explored, before any fixture is set up."""
    __tracebackhide__ = True
    explored = explored_of(item)
    if explored is not None:
        from .fixture_rules import check
        from .replay import check_allowed

        check_allowed(item.config)
        options = settings.options_of(
            item, {"exclude_fixtures": explored.exclude_fixtures} if explored.exclude_fixtures else {}
        )
        check(item, options.get("exclude_fixtures", ()), is_default=not explored.exclude_fixtures)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> None:
    """Refuse such fixtures also when they are requested dynamically, with ``getfixturevalue``."""
    __tracebackhide__ = True
    item = request._pyfuncitem  # for a wider scope, `request.node` is not the test
    if explored_of(item) is not None:
        from .fixture_rules import check_fixture

        check_fixture(item, fixturedef.argname, fixturedef.func)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    """Explore the test, before other plugins that run async tests see it."""
    __tracebackhide__ = True
    explored = explored_of(pyfuncitem)
    if explored is None:
        return None
    if pyfuncitem.config.getoption("trace", False):  # pytest has wrapped it; a run enters the debugger instead
        pyfuncitem.obj = pyfuncitem.obj.__wrapped__
    if getattr(pyfuncitem.obj, "__func__", pyfuncitem.obj) is not explored.outer:
        raise TypeError(
            f"{pyfuncitem.name} has a decorator above @explore, which would apply once for all runs; "
            f"write @explore above it:\n    @explore\n    @other\n    async def {pyfuncitem.originalname}(...):"
        )
    backend = pyfuncitem.funcargs.get("anyio_backend", "asyncio")
    if "asyncio" not in backend:
        pytest.skip(f"@explore supports only asyncio, and the backend is {backend}")
    from .run_test import explore_item

    explore_item(pyfuncitem, explored)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: Any, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test how the failure came about."""
    report = yield
    if call.when != "teardown" and call.excinfo is not None and explored_of(item) is not None:
        from .run_test import add_to_report

        add_to_report(item, report)
    return report
