"""Tests that are coroutines; the runner creates their loop."""

from collections.abc import AsyncIterator

import pytest
from cell import IS_WIDE, LACKS
from sins import SINS, commit, sins_but, teardown
from virtues import VIRTUES

if IS_WIDE:

    @pytest.fixture(scope="module", autouse=True)
    async def module() -> AsyncIterator[None]:
        if "failed_in_module" not in LACKS:
            await SINS["failed_in_module"].commit()
        yield  # noqa: PT022  # the anyio plugin keeps its loop as long as an async fixture has a teardown


@pytest.fixture(autouse=True)
async def surroundings(name: str) -> AsyncIterator[None]:
    await commit(name, "fixture")
    yield
    await teardown.ring()


@pytest.mark.parametrize("name", sins_but(LACKS))
async def test_sin(name: str) -> None:
    await commit(name, "test")


@pytest.mark.parametrize("name", VIRTUES)
async def test_virtue(name: str) -> None:
    await VIRTUES[name]()
