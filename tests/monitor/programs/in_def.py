"""`def` tests that run a loop: one for each call, for the test, or for the module."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from cell import IS_WIDE, LACKS, SCOPE
from misbehaving import BUGS, bugs_except, teardown, trigger
from well_behaved import CORRECT_PROGRAMS


@pytest.fixture(scope="module" if IS_WIDE else "function")
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    if SCOPE == "call":
        yield asyncio.run
        return
    with asyncio.Runner() as runner:
        if IS_WIDE:
            runner.run(BUGS["failed_in_module"].trigger())
        yield runner.run


@pytest.fixture(autouse=True)
def surroundings(name: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> Iterator[None]:
    run(trigger(name, "fixture"))
    yield
    run(teardown.wake_all())


@pytest.mark.parametrize("name", bugs_except(LACKS))
def test_bug(name: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(trigger(name, "test"))


@pytest.mark.parametrize("name", CORRECT_PROGRAMS)
def test_program(name: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(CORRECT_PROGRAMS[name]())
