"""Requests to an aiohttp server that a fixture has started."""

from typing import Any

import pytest
from aiohttp import web
from sins import SINS
from virtues import VIRTUES


async def run(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    await (SINS[name].commit if name in SINS else VIRTUES[name])()
    return web.Response()


@pytest.fixture
async def client(aiohttp_client: Any) -> Any:
    app = web.Application()
    app.router.add_get("/{name}", run)
    return await aiohttp_client(app)


@pytest.mark.parametrize("name", SINS)
async def test_sin(name: str, client: Any) -> None:
    async with client.get(f"/{name}") as response:
        assert response.status == 200


@pytest.mark.parametrize("name", VIRTUES)
async def test_virtue(name: str, client: Any) -> None:
    async with client.get(f"/{name}") as response:
        assert response.status == 200
