"""`start` is a request of Starlette's `TestClient`; its loop ends with the request."""

from collections.abc import Callable

import pytest
from app import app
from starlette.testclient import TestClient


@pytest.fixture
def start() -> Callable[[str], None]:
    def start(name: str) -> None:
        assert TestClient(app).get(f"/{name}").status_code == 200

    return start
