"""Methods of an `IsolatedAsyncioTestCase`."""

from collections.abc import Callable, Coroutine
from typing import Any
from unittest import IsolatedAsyncioTestCase

from sins import SINS
from virtues import VIRTUES


def method(run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def test(_: object) -> None:
        await run()

    return test


class TestWatched(IsolatedAsyncioTestCase):
    for name, sin in SINS.items():
        locals()[f"test_sin_{name}"] = method(sin.commit)
    for name, virtue in VIRTUES.items():
        locals()[f"test_virtue_{name}"] = method(virtue)
