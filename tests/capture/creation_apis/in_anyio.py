"""On asyncio only. `start` is an async fixture, which is not a background task."""

from collections.abc import Callable
from typing import Any

import checks
import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start() -> Callable[..., Any]:
    return checks.start_here
