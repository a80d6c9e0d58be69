"""`start` is a request inside `with TestClient(app)`; its loop keeps running in another thread."""

from collections.abc import Callable, Iterator

import pytest
from app import app
from starlette.testclient import TestClient


@pytest.fixture
def start() -> Iterator[Callable[[str], None]]:
    with TestClient(app) as client:

        def start(name: str) -> None:
            assert client.get(f"/{name}").status_code == 200

        yield start
