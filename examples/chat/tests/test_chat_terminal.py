import asyncio
import io
import socket

import pytest
import uvicorn

from resync import talk
from resync.api.app import app
from resync.store import Judgement, Verdict


@pytest.fixture
def listening_socket():
    """A socket that accepts connections before the server does, so that the test need not wait for the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening_socket:
        yield listening_socket


@pytest.fixture
def terminal(monkeypatch, listening_socket):
    """The terminal client as started in a shell, with one line of input."""
    port = listening_socket.getsockname()[1]
    monkeypatch.setattr("sys.argv", ["talk", "grace", "--port", str(port)])
    monkeypatch.setattr("sys.stdin", io.StringIO("Is it?\n"))
    return talk.main


@pytest.mark.asyncio
async def test_a_terminal_talks_to_a_real_server_while_its_audit_is_held(
    terminal, listening_socket, store, background_tasks, capsys
):
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening_socket]))
    background_tasks.start_capturing()

    await asyncio.to_thread(terminal)

    server.should_exit = True
    await serving
    assert capsys.readouterr().out == "> grace: perhaps.\n> \n"
    assert background_tasks.task_count == 1
    assert await store.judgements() == []

    await background_tasks.run_all_async()

    assert await store.judgements() == [Judgement(1, Verdict.DOUBTFUL)]
