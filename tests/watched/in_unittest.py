"""Methods of an `IsolatedAsyncioTestCase`, whose loop is the test's own."""

from collections.abc import Callable, Coroutine
from typing import Any
from unittest import IsolatedAsyncioTestCase

from cell import LACKS
from sins import commit, sins_but, teardown
from virtues import VIRTUES


def method(run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def test(_: object) -> None:
        await run()

    return test


class TestWatched(IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        await commit(self._testMethodName.removeprefix("test_sin_"), "fixture")

    async def asyncTearDown(self) -> None:
        await teardown.ring()

    for name in sins_but(LACKS):
        locals()[f"test_sin_{name}"] = method(lambda name=name: commit(name, "test"))
    for name, virtue in VIRTUES.items():
        locals()[f"test_virtue_{name}"] = method(virtue)
