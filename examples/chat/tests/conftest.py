import pytest
from starlette.testclient import TestClient

from resync.api.app import app
from resync.parts import use
from resync.store import Store


@pytest.fixture
def store(tmp_path):
    """A new store in its own file, which the service uses."""
    with use(store=Store(tmp_path / "resync.db")) as parts:
        yield parts.store


@pytest.fixture(params=["one loop for all requests", "a loop for each request"])
def client(request):
    """A client of the application, once inside `with TestClient(...)` and once without it."""
    client = TestClient(app)
    if request.param == "a loop for each request":
        yield client
    else:
        with client:
            yield client
