"""Tests that are coroutines; the runner makes their loop."""

import pytest
from sins import SINS
from virtues import VIRTUES


@pytest.mark.parametrize("name", SINS)
async def test_sin(name: str) -> None:
    await SINS[name].commit()


@pytest.mark.parametrize("name", VIRTUES)
async def test_virtue(name: str) -> None:
    await VIRTUES[name]()
