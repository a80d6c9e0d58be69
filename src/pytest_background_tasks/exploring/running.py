"""The hooks of pytest through which tests with ``@explore`` are run and reported.

Registered when the first of them is collected: no other session pays for hooks that are called for every test.

What is used of pytest's inside, tried from 8.4 on: ``_pyfuncitem`` of a request.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from . import settings
from .hooks import explored_of


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Refuse what cannot be explored before any fixture is set up."""
    __tracebackhide__ = True
    explored = explored_of(item)
    if explored is not None:
        from .fixtures import check
        from .replay import check_allowed

        check_allowed(item.config)
        options = settings.options_of(item, {"without": explored.without} if explored.without else {})
        check(item, options.get("without", ()), is_default=not explored.without)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> None:
    """Refuse the same when it is asked for on the way, with ``getfixturevalue``; what is there already is shared."""
    __tracebackhide__ = True
    item = request._pyfuncitem  # of a wider scope, `request.node` is what has that scope
    if explored_of(item) is not None:
        from .fixtures import check_one

        check_one(item, fixturedef.argname, fixturedef.func)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    """Explore it; whoever else runs async tests does not see it."""
    __tracebackhide__ = True
    explored = explored_of(pyfuncitem)
    if explored is None:
        return None
    if pyfuncitem.config.getoption("trace", False):  # pytest has wrapped it; the debugger is entered by a run
        pyfuncitem.obj = pyfuncitem.obj.__wrapped__
    if getattr(pyfuncitem.obj, "__func__", pyfuncitem.obj) is not explored.outer:
        raise TypeError(
            f"another decorator stands above @explore of {pyfuncitem.name}, and would be there once for all runs; "
            f"write @explore above it:\n    @explore\n    @other\n    async def {pyfuncitem.originalname}(...):"
        )
    backend = pyfuncitem.funcargs.get("anyio_backend", "asyncio")
    if "asyncio" not in backend:
        pytest.skip(f"@explore plays asyncio, and this is {backend}")
    from .verdict import explore_item

    explore_item(pyfuncitem, explored)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: Any, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say below the traceback of a failed test how it came about."""
    report = yield
    if call.when != "teardown" and call.excinfo is not None and explored_of(item) is not None:
        from .verdict import add_to_report

        add_to_report(item, report)
    return report
