"""Nothing is left of an in-process network: no descriptor, whatever the program has left open."""

import gc
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def without_warnings() -> Iterator[None]:
    """Programs here leave sockets open on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def tidy(folder: Path) -> object:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"data")
            server.recv(2)
    return None


def everything_is_open(folder: Path) -> object:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"data")
    return listener, client, server, client.dup(), client.makefile("rb"), socket.socket(type=socket.SOCK_DGRAM)


def a_backlog(folder: Path) -> object:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    clients = [socket.socket() for _ in range(4)]
    for each in clients:
        each.setblocking(False)
        each.connect_ex(listener.getsockname())
    return listener, clients


def descriptors_on_their_way(folder: Path) -> object:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / str(len(list(folder.iterdir())))))
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    server, _ = listener.accept()
    for _ in range(3):
        socket.send_fds(client, [b"data"], [0, 1, listener.fileno()])
    server.recv(4)
    server.recvmsg(4)
    return listener, client, server


def closed_behind_our_back(folder: Path) -> object:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    os.close(client.detach())
    return listener


def dropped(folder: Path) -> object:
    listener = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    assert server.recv(1) == b""  # without the socket that was dropped, this is the end
    return server, listener


def descriptors() -> list[str]:
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    "program", [tidy, everything_is_open, a_backlog, descriptors_on_their_way, closed_behind_our_back, dropped]
)
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "dropped"])
def test_no_descriptor_is_left(
    in_process_network: Any, tmp_path: Path, program: Callable[[Path], object], is_kept: bool
) -> None:
    gc.collect()
    before = descriptors()
    for _ in range(200):
        with in_process_network():
            left = program(tmp_path)
            if not is_kept:
                del left
        left = None
    gc.collect()
    assert descriptors() == before
