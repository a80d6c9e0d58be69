"""``--pdb`` and ``--trace`` for explored tests: entered where the failing schedule fails, in the running loop.

pytest enters the debugger after the test has ended. By then the loop of an explored test is closed and its tasks are
cancelled. So the test is called again, as pytest calls it, and runs only the failing schedule; pytest's debugger is
entered from inside the test at the moment of the failure.

Private names of pytest used here, tested from 8.4 on: the plugins ``pdbinvoke``, with its two hooks, and ``pdbtrace``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import unwrap
from types import FrameType
from typing import Any

import pytest

from .stash import EXPLORATION, ON_FAILURE

_NAME, _TRACE = "pdbinvoke", "pdbtrace"


def entered(test: Callable[..., Any]) -> Callable[..., Any]:
    """Return `test`, which enters the debugger at its first line, unless breakpoints are disabled."""
    code = unwrap(test).__code__

    @wraps(test)
    async def enter_and_run(*args: Any, **kwargs: Any) -> Any:
        def enter(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001 - called by Python
            if frame.f_code is not code:
                return None
            pytest.set_trace()
            return frame.f_trace  # set by the debugger, in all frames

        sys.settrace(enter)
        return await test(*args, **kwargs)

    return enter_and_run


@contextmanager
def tracing_by_us(plugins: pytest.PytestPluginManager) -> Iterator[None]:
    """Keep pytest's plugin for ``--trace`` from entering the debugger in each run."""
    pytests = plugins.getplugin(_TRACE)
    if pytests is not None:
        plugins.unregister(pytests)
    try:
        yield
    finally:
        if pytests is not None:
            plugins.register(pytests, _TRACE)


class Debugger:
    """The plugin that replaces pytest's plugin for ``--pdb``, and calls it."""

    def __init__(self, pytests: Any) -> None:
        self._pytests = pytests

    @classmethod
    def take_place_of_pytests(cls, plugins: pytest.PytestPluginManager) -> None:
        """Replace pytest's plugin, if it is registered."""
        pytests = plugins.getplugin(_NAME)
        if pytests is not None:
            plugins.unregister(pytests)
            plugins.register(cls(pytests), _NAME)

    def pytest_exception_interact(self, node: Any, call: pytest.CallInfo[Any], report: Any) -> None:
        """Enter the debugger: for an explored test in its failing run, otherwise as pytest does."""
        if call.when != "call" or EXPLORATION not in node.stash:
            self._pytests.pytest_exception_interact(node=node, call=call, report=report)
            return
        entered = []
        capture = node.config.pluginmanager.getplugin("capturemanager")

        def enter(error: BaseException) -> None:
            entered.append(error)
            if capture is not None:
                capture.read_global_capture()  # the report, which is shown now, contains it
            call.excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, error.__traceback__))  # type: ignore[arg-type]
            self._pytests.pytest_exception_interact(node=node, call=call, report=report)

        assert call.excinfo is not None
        excinfo, properties = call.excinfo, list(node.user_properties)
        node.stash[ON_FAILURE] = enter
        try:
            with suppress(type(excinfo.value)):
                node.ihook.pytest_runtest_call(item=node)
        finally:
            del node.stash[ON_FAILURE], node.stash[EXPLORATION]
            call.excinfo, node.user_properties[:] = excinfo, properties
        if not entered:  # the test did not fail again, or at no line
            self._pytests.pytest_exception_interact(node=node, call=call, report=report)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Call pytest's plugin."""
        self._pytests.pytest_internalerror(excinfo=excinfo)
