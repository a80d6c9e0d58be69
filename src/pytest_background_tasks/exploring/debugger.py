"""``--pdb`` for explored tests: it enters where the failing schedule fails, while the loop is running. And ``--trace``.

pytest enters the debugger when the test has ended. Of an explored test nothing is left then: its loop is closed, its
tasks are cancelled. So the test is called again, as pytest calls it, and plays that one schedule; at the moment of the
failure pytest's debugger is entered from inside.

What is used of pytest's inside, tried from 8.4 on: the plugin ``pdbinvoke`` and its two hooks.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from .verdict import EXPLORATION, LOOK

_NAME = "pdbinvoke"


async def entered(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run `coroutine`, a test, and enter the debugger at its first line; not in a run in which breakpoints are off."""
    code = coroutine.cr_code  # type: ignore[attr-defined]

    def enter(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001 - called by Python
        if frame.f_code is not code:
            return None
        pytest.set_trace()
        return frame.f_trace  # set by the debugger, in all frames

    sys.settrace(enter)
    return await coroutine


class Debugger:
    """Stands in the place of pytest's plugin for ``--pdb``, which it enters."""

    def __init__(self, pytests: Any) -> None:
        self._pytests = pytests

    @classmethod
    def take_place_of_pytests(cls, plugins: pytest.PytestPluginManager) -> None:
        """Do so, if it is there."""
        pytests = plugins.getplugin(_NAME)
        if pytests is not None:
            plugins.unregister(pytests)
            plugins.register(cls(pytests), _NAME)

    def pytest_exception_interact(self, node: Any, call: pytest.CallInfo[Any], report: Any) -> None:
        """Enter the debugger: for an explored test in its failing run, else as ever."""
        if call.when != "call" or EXPLORATION not in node.stash:
            self._pytests.pytest_exception_interact(node=node, call=call, report=report)
            return
        entered = []
        capture = node.config.pluginmanager.getplugin("capturemanager")

        def enter(error: BaseException) -> None:
            entered.append(error)
            if capture is not None:
                capture.read_global_capture()  # the report, which is shown now, has it
            call.excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, error.__traceback__))  # type: ignore[arg-type]
            self._pytests.pytest_exception_interact(node=node, call=call, report=report)

        assert call.excinfo is not None
        excinfo, properties = call.excinfo, list(node.user_properties)
        node.stash[LOOK] = enter
        try:
            with suppress(type(excinfo.value)):
                node.ihook.pytest_runtest_call(item=node)
        finally:
            del node.stash[LOOK], node.stash[EXPLORATION]
            call.excinfo, node.user_properties[:] = excinfo, properties
        if not entered:  # it did not fail again, or nowhere
            self._pytests.pytest_exception_interact(node=node, call=call, report=report)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """As ever."""
        self._pytests.pytest_internalerror(excinfo=excinfo)
