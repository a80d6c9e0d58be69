"""Methods of an `IsolatedAsyncioTestCase`, whose loop is the test's own."""

from collections.abc import Callable, Coroutine
from typing import Any
from unittest import IsolatedAsyncioTestCase

from cell import LACKS
from misbehaving import bugs_except, teardown, trigger
from well_behaved import CORRECT_PROGRAMS


def method(run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def test(_: object) -> None:
        await run()

    return test


class TestWatched(IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        await trigger(self._testMethodName.removeprefix("test_bug_"), "fixture")

    async def asyncTearDown(self) -> None:
        await teardown.wake_all()

    for name in bugs_except(LACKS):
        locals()[f"test_bug_{name}"] = method(lambda name=name: trigger(name, "test"))
    for name, program in CORRECT_PROGRAMS.items():
        locals()[f"test_program_{name}"] = method(program)
