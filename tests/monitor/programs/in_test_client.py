"""Requests of Starlette's `TestClient`; each has its own loop unless the client is entered."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cell import IS_ENTERED, IS_WIDE, LACKS
from misbehaving import BUGS, bugs_except, teardown, trigger
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from well_behaved import CORRECT_PROGRAMS


async def run(request: Request) -> Response:
    place, name = request.path_params["place"], request.path_params["name"]
    if place == "teardown":
        await teardown.wake_all()
    elif place == "module":
        await BUGS[name].trigger()
    elif name in CORRECT_PROGRAMS and place == "test":
        await CORRECT_PROGRAMS[name]()
    else:
        await trigger(name, place)
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


@pytest.mark.parametrize("name", bugs_except(LACKS))
def test_bug(name: str, client: TestClient) -> None:
    assert client.get(f"/test/{name}").status_code == 200


@pytest.mark.parametrize("name", CORRECT_PROGRAMS)
def test_program(name: str, client: TestClient) -> None:
    assert client.get(f"/test/{name}").status_code == 200
