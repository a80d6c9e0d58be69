"""Possible external events that a whole test would show only by luck."""

import sys
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from pytest_background_tasks._control.threads import _waits_for_loop, is_at_work


@pytest.mark.parametrize(("answer", "waits"), [(Future(), True), (None, False)], ids=["waits", "has resumed"])
def test_thread_leaving_future_result_is_no_longer_waiting(answer: Future[int] | None, waits: bool) -> None:
    """`Future.result` deletes its `self` before it returns; its thread no longer waits."""
    inner: dict[str, Any] = {"__name__": "threading", "look": lambda: _waits_for_loop(sys._getframe(1))}
    exec("def wait(): return look()", inner)
    futures: dict[str, Any] = {"__name__": "concurrent.futures._base", "wait": inner["wait"]}
    exec("def result(self, timeout): return wait()", futures)
    assert futures["result"](answer, None) is waits


def test_thread_that_has_not_read_its_result_yet_is_at_work() -> None:
    """On a busy machine, that may take longer than the allowed silence."""
    answer: Future[int] = Future()
    thread = threading.Thread(target=answer.result)
    thread.start()
    while not answer._condition._waiters:
        pass
    with answer._condition:  # the thread waits, and cannot resume inside this block
        before = is_at_work(thread.ident)
        answer.set_result(1)
        after = is_at_work(thread.ident)
    thread.join()
    assert (before, after) == (False, True)
