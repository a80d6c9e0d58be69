"""`def` tests that run a loop: one for each call, for the test, or for the module."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from cell import IS_WIDE, LACKS, SCOPE
from sins import SINS, commit, sins_but, teardown
from virtues import VIRTUES


@pytest.fixture(scope="module" if IS_WIDE else "function")
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    if SCOPE == "call":
        yield asyncio.run
        return
    with asyncio.Runner() as runner:
        if IS_WIDE:
            runner.run(SINS["failed_in_module"].commit())
        yield runner.run


@pytest.fixture(autouse=True)
def surroundings(name: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> Iterator[None]:
    run(commit(name, "fixture"))
    yield
    run(teardown.ring())


@pytest.mark.parametrize("name", sins_but(LACKS))
def test_sin(name: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(commit(name, "test"))


@pytest.mark.parametrize("name", VIRTUES)
def test_virtue(name: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(VIRTUES[name]())
