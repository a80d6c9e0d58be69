"""`start` is a request to an aiohttp server."""

from collections.abc import Callable
from typing import Any

import checks
import pytest
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    await checks.start_here(request.match_info["name"])
    return web.Response()


@pytest.fixture
async def start(aiohttp_client: Any) -> Callable[..., Any]:
    app = web.Application()
    app.router.add_get("/{name}", answer)
    client = await aiohttp_client(app)

    async def start(name: str) -> None:
        async with client.get(f"/{name}") as response:
            assert response.status == 200

    return start
