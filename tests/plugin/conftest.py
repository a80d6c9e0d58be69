"""Fixtures for the tests of ``pytest --explore``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]

AUTO = ("--asyncio-mode=auto", "-p", "no:randomly")


@pytest.fixture
def suite(run: Run) -> Run:
    """Run a project under pytest-asyncio with ``--explore``."""

    def suite(source: str, *args: str, plugins: tuple[str, ...] = ("pytest_asyncio.plugin",)) -> pytest.RunResult:
        auto = AUTO if "pytest_asyncio.plugin" in plugins else AUTO[1:]
        return run(source, "--explore", "--explore-json=out.json", *auto, *args, plugins=plugins)

    return suite


@pytest.fixture
def outcomes() -> Callable[[], dict[str, Any]]:
    """Return the outcome of each test in the JSON file, by the name of the test."""

    def outcomes() -> dict[str, Any]:
        document = json.loads(Path("out.json").read_text())
        return {each["test"].partition("::")[2]: each for each in document["tests"]}

    return outcomes


@pytest.fixture
def shop() -> str:
    """A test that fails under one deviation, ``buy@1+1``: the last item is sold twice."""
    return """
    class Shop:
        def __init__(self):
            self.left, self.sold = 1, 0

        async def buy(self):
            if self.left:
                await asyncio.sleep(0.01)
                self.left -= 1
                self.sold += 1

        async def look_and_buy(self):
            await asyncio.sleep(0.01)
            await self.buy()

    async def test_shop():
        shop = Shop()
        await asyncio.gather(shop.buy(), shop.look_and_buy())
        assert shop.sold == 1
"""


@pytest.fixture
def two_orders() -> str:
    """A test with two tasks whose answers come at once."""
    return """
    async def work():
        await asyncio.sleep(0.01)

    async def test_it():
        await asyncio.gather(work(), work())
"""
