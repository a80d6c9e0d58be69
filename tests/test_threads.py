"""What may still come from outside, where only luck would show it in a whole test."""

import sys
from concurrent.futures import Future
from typing import Any

import pytest

from pytest_background_tasks.control.threads import _waits_for_loop


@pytest.mark.parametrize(("answer", "waits"), [(Future(), True), (None, False)], ids=["waits", "has gone on"])
def test_a_thread_that_goes_on_while_we_look(answer: Future[int] | None, waits: bool) -> None:
    """`Future.result` forgets its `self` before it returns; its thread does not wait any more."""
    threading: dict[str, Any] = {"__name__": "threading", "look": lambda: _waits_for_loop(sys._getframe(1))}
    exec("def wait(): return look()", threading)
    futures: dict[str, Any] = {"__name__": "concurrent.futures._base", "wait": threading["wait"]}
    exec("def result(self, timeout): return wait()", futures)
    assert futures["result"](answer, None) is waits
