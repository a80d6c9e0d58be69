"""Tests that are coroutines; the runner creates their loop."""

from collections.abc import AsyncIterator

import pytest
from cell import IS_WIDE, LACKS
from misbehaving import BUGS, bugs_except, teardown, trigger
from well_behaved import CORRECT_PROGRAMS

if IS_WIDE:

    @pytest.fixture(scope="module", autouse=True)
    async def module() -> AsyncIterator[None]:
        if "failed_in_module" not in LACKS:
            await BUGS["failed_in_module"].trigger()
        yield  # noqa: PT022  # the anyio plugin keeps its loop as long as an async fixture has a teardown


@pytest.fixture(autouse=True)
async def surroundings(name: str) -> AsyncIterator[None]:
    await trigger(name, "fixture")
    yield
    await teardown.wake_all()


@pytest.mark.parametrize("name", bugs_except(LACKS))
async def test_bug(name: str) -> None:
    await trigger(name, "test")


@pytest.mark.parametrize("name", CORRECT_PROGRAMS)
async def test_program(name: str) -> None:
    await CORRECT_PROGRAMS[name]()
