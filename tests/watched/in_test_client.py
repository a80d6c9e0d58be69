"""Requests of Starlette's `TestClient`; each has its own loop unless the client is entered."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cell import IS_ENTERED, IS_WIDE, LACKS
from sins import SINS, commit, sins_but, teardown
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from virtues import VIRTUES


async def run(request: Request) -> Response:
    place, name = request.path_params["place"], request.path_params["name"]
    if place == "teardown":
        await teardown.ring()
    elif place == "module":
        await SINS[name].commit()
    elif name in VIRTUES and place == "test":
        await VIRTUES[name]()
    else:
        await commit(name, place)
    return Response()


@pytest.fixture(scope="module" if IS_WIDE else "function")
def client() -> Iterator[TestClient]:
    client = TestClient(Starlette(routes=[Route("/{place}/{name}", run)]))
    with ExitStack() as stack:
        if IS_ENTERED:
            stack.enter_context(client)
        if IS_WIDE:
            client.get("/module/failed_in_module")
        yield client


@pytest.fixture(autouse=True)
def surroundings(name: str, client: TestClient) -> Iterator[None]:
    assert client.get(f"/fixture/{name}").status_code == 200
    yield
    assert client.get(f"/teardown/{name}").status_code == 200


@pytest.mark.parametrize("name", sins_but(LACKS))
def test_sin(name: str, client: TestClient) -> None:
    assert client.get(f"/test/{name}").status_code == 200


@pytest.mark.parametrize("name", VIRTUES)
def test_virtue(name: str, client: TestClient) -> None:
    assert client.get(f"/test/{name}").status_code == 200
