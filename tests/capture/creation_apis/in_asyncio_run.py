"""`start` is one `asyncio.run`."""

import asyncio
from collections.abc import Callable

import checks
import pytest


@pytest.fixture
def start() -> Callable[[str], None]:
    def start(name: str) -> None:
        asyncio.run(checks.start_here(name))

    return start
