"""The sockets that a loop has registered are read through handles of our own."""

import os
import socket
from pathlib import Path

from pytest_background_tasks._control.sockets import socket_of


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_file_that_is_not_a_socket_has_none_and_no_handle_stays_open() -> None:
    """A loop waits for a child process through a pipe or a pidfd, and is asked many times meanwhile."""
    reading, writing = os.pipe()
    before = open_files()
    assert [socket_of(fd) for fd in (reading, writing) * 10] == [None] * 20
    assert open_files() == before
    os.close(reading)
    os.close(writing)
    assert socket_of(reading) is None


def test_socket_has_a_handle_that_can_be_closed() -> None:
    one, other = socket.socketpair()
    with one, other:
        handle = socket_of(one.fileno())
        assert handle is not None
        handle.close()
        one.send(b"x")
        assert other.recv(1) == b"x"
