"""`start` is a request through `httpx.ASGITransport`."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from app import app


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:

        async def start(name: str) -> None:
            assert (await client.get(f"/{name}")).status_code == 200

        yield start
