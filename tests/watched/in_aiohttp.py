"""Requests to an aiohttp server that a fixture has started."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from cell import IS_WIDE, LACKS
from sins import SINS, commit, sins_but, teardown
from virtues import VIRTUES

if IS_WIDE:

    @pytest.fixture(scope="module", autouse=True)
    async def module() -> None:
        await SINS["failed_in_module"].commit()


async def run(request: web.Request) -> web.Response:
    place, name = request.match_info["place"], request.match_info["name"]
    if place == "teardown":
        await teardown.ring()
    elif name in VIRTUES and place == "test":
        await VIRTUES[name]()
    else:
        await commit(name, place)
    return web.Response()


async def get(client: Any, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 200


@pytest.fixture
async def client(aiohttp_client: Any, name: str) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_get("/{place}/{name}", run)
    client = await aiohttp_client(app)
    await get(client, f"/fixture/{name}")
    yield client
    await get(client, f"/teardown/{name}")


@pytest.mark.parametrize("name", sins_but(LACKS))
async def test_sin(name: str, client: Any) -> None:
    await get(client, f"/test/{name}")


@pytest.mark.parametrize("name", VIRTUES)
async def test_virtue(name: str, client: Any) -> None:
    await get(client, f"/test/{name}")
