"""Requests to an aiohttp server that a fixture has started."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from cell import IS_WIDE, LACKS
from misbehaving import BUGS, bugs_except, teardown, trigger
from well_behaved import CORRECT_PROGRAMS

if IS_WIDE:

    @pytest.fixture(scope="module", autouse=True)
    async def module() -> None:
        await BUGS["failed_in_module"].trigger()


async def run(request: web.Request) -> web.Response:
    place, name = request.match_info["place"], request.match_info["name"]
    if place == "teardown":
        await teardown.wake_all()
    elif name in CORRECT_PROGRAMS and place == "test":
        await CORRECT_PROGRAMS[name]()
    else:
        await trigger(name, place)
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


@pytest.mark.parametrize("name", bugs_except(LACKS))
async def test_bug(name: str, client: Any) -> None:
    await get(client, f"/test/{name}")


@pytest.mark.parametrize("name", CORRECT_PROGRAMS)
async def test_program(name: str, client: Any) -> None:
    await get(client, f"/test/{name}")
