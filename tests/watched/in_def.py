"""`def` tests that run a loop of their own."""

import asyncio

import pytest
from sins import SINS
from virtues import VIRTUES


@pytest.mark.parametrize("name", SINS)
def test_sin(name: str) -> None:
    asyncio.run(SINS[name].commit())


@pytest.mark.parametrize("name", VIRTUES)
def test_virtue(name: str) -> None:
    asyncio.run(VIRTUES[name]())
