"""Requests of Starlette's `TestClient`; each has a loop of its own unless the client is entered."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sins import SINS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from virtues import VIRTUES

RUNS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    **{name: sin.commit for name, sin in SINS.items()},
    **VIRTUES,
}
IS_ENTERED = False


async def run(request: Request) -> Response:
    await RUNS[request.path_params["name"]]()
    return Response()


@pytest.fixture
def client() -> Iterator[TestClient]:
    client = TestClient(Starlette(routes=[Route("/{name}", run)]))
    with ExitStack() as stack:
        if IS_ENTERED:
            stack.enter_context(client)
        yield client


@pytest.mark.parametrize("name", SINS)
def test_sin(name: str, client: TestClient) -> None:
    assert client.get(f"/{name}").status_code == 200


@pytest.mark.parametrize("name", VIRTUES)
def test_virtue(name: str, client: TestClient) -> None:
    assert client.get(f"/{name}").status_code == 200
