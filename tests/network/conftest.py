"""Runs a program on the kernel's sockets and on the in-process network, and records what it sees."""

import contextlib
import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_background_tasks._network.network import InProcessNetwork
from pytest_background_tasks._network.socket_methods import NetworkOnDemand, socket_methods_replaced

_LONGEST = 40
PAUSES = (0.0, 0.002, 0.02)  # seconds after each step on the kernel, whose network may be late on a busy machine


class FreeHost:
    """The surroundings of a network where any thread may do anything."""

    def name(self, kind: str) -> str:
        return kind

    def refuses(self, name: str) -> bool:
        return False

    def owns_thread(self) -> bool:
        return True

    def may_leave(self) -> bool:
        return False

    def refuse(self, problem: Any) -> Any:
        return problem

    def watches_sockets(self) -> bool:
        return False

    def refuse_to_block(self, call: str) -> None:
        """Any thread may wait."""


@contextlib.contextmanager
def in_process_network() -> Iterator[InProcessNetwork]:
    """Let new sockets belong to a new in-process network."""
    with socket_methods_replaced(), NetworkOnDemand(lambda: InProcessNetwork(FreeHost())) as current:
        yield current.network


class Recorder:
    """Calls functions, and records their results or exceptions; ports and paths are replaced by names."""

    def __init__(self, folder: str, pause: float = 0) -> None:
        self.entries: list[str] = []
        self._pause = pause
        self._folder = folder
        self._ports: dict[int, str] = {}
        self._sockets: list[socket.socket] = []

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        text = f"{getattr(call, '__name__', call)}{self._shown(args)}"
        result = None
        try:
            result = call(*args, **kwargs)
        except Exception as problem:
            self.note(text, type(problem).__name__, self._shown(problem.args))
        else:
            if isinstance(result, tuple) and result and isinstance(result[0], socket.socket):
                self._sockets.append(result[0])
            self.note(text, repr(self._shown(result)))
        if self._pause:
            time.sleep(self._pause)
        return result

    def note(self, *things: Any) -> None:
        self.entries.append(" ".join(each if isinstance(each, str) else str(self._shown(each)) for each in things))

    def ready(self, sock: socket.socket) -> None:
        """Record whether the socket is ready to be read and written, as Python's selectors understand poll()."""
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN | select.POLLOUT)
        event = dict(poll.poll(0)).get(sock.fileno(), 0)
        readable = "readable" if event & ~select.POLLOUT else "-"
        writable = "writable" if event & ~select.POLLIN else "-"
        self.note(f"ready: {readable} {writable}")

    def _shown(self, thing: Any) -> Any:
        if isinstance(thing, (bytes, bytearray, memoryview)) and len(thing) > _LONGEST:
            return f"<{len(thing)} bytes {zlib.crc32(thing):x}>"
        if isinstance(thing, (str, bytes)):
            folder: Any = self._folder if isinstance(thing, str) else os.fsencode(self._folder)
            return thing.replace(folder, type(thing)()) if folder else thing
        if isinstance(thing, socket.socket):
            return f"<socket {thing.family} {thing.type} {thing.proto} {thing.gettimeout()}>"
        if isinstance(thing, tuple):
            if len(thing) in (2, 4) and isinstance(thing[0], str) and type(thing[1]) is int and 1024 < thing[1] < 65536:
                port = self._ports.setdefault(thing[1], f"port {len(self._ports) + 1}")
                return (thing[0], port, *thing[2:])
            return tuple(map(self._shown, thing))
        if isinstance(thing, list):
            return [*map(self._shown, thing)]
        return thing if isinstance(thing, (int, float, type(None), bool, str)) else type(thing).__name__

    # Sockets.

    def new(self, *args: Any, **kwargs: Any) -> socket.socket:
        sock = socket.socket(*args, **kwargs)
        self._sockets.append(sock)
        return sock

    def path(self, name: str = "s") -> str:
        return f"{self._folder}/{name}"

    def listener(self, kind: str, backlog: int = 16, name: str = "s") -> socket.socket:
        """Return a socket that listens, of the kind tcp, tcp6 or unix."""
        sock = self.new(FAMILIES[kind], socket.SOCK_STREAM)
        sock.bind({"tcp": ("127.0.0.1", 0), "tcp6": ("::1", 0)}.get(kind, self.path(name)))
        sock.listen(backlog)
        return sock

    def pair(self, kind: str, *, blocks: bool = False) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a connection: the client's and the server's."""
        with self.listener(kind, name=f"pair{len(self._sockets)}") as listener:
            client = self.new(FAMILIES[kind], socket.SOCK_STREAM)
            client.connect(listener.getsockname())
            server, _ = listener.accept()
        self._sockets.append(server)
        for each in (client, server):
            each.setblocking(blocks)
            if kind != "unix":  # otherwise the kernel may wait, to send fewer packets
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, server

    def datagrams(self, kind: str, name: str = "d") -> socket.socket:
        """Return a bound datagram socket, of the kind udp, udp6 or unix."""
        sock = self.new(FAMILIES[kind], socket.SOCK_DGRAM)
        sock.bind({"udp": ("127.0.0.1", 0), "udp6": ("::1", 0)}.get(kind, self.path(name)))
        sock.setblocking(False)
        return sock

    @contextlib.contextmanager
    def meanwhile(self, call: Callable[..., Any], *args: Any) -> Iterator[None]:
        """Call a function in another thread while the block runs."""
        thread = threading.Thread(target=call, args=args)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def close(self) -> None:
        """Close all sockets, and forget their ports."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()
        self._ports.clear()


FAMILIES = {
    "tcp": socket.AF_INET,
    "tcp6": socket.AF_INET6,
    "udp": socket.AF_INET,
    "udp6": socket.AF_INET6,
    "unix": socket.AF_UNIX,
}


def recorded(program: Callable[..., None], *args: Any, pause: float = 0) -> list[str]:
    """Run a program of recorded steps; return its record."""
    with tempfile.TemporaryDirectory() as folder:
        do = Recorder(folder, pause)
        try:
            program(do, *args)
        finally:
            do.close()
        return do.entries


def assert_same(program: Callable[..., None], *args: Any, pauses: tuple[float, ...] = PAUSES) -> None:
    """Assert that a program sees the same on the kernel's sockets and on those of the in-process network."""
    with in_process_network():
        ours = recorded(program, *args)
    for pause in pauses:
        kernels = recorded(program, *args, pause=pause)
        if kernels == ours:
            return
    assert ours == kernels


@pytest.fixture(scope="session", name="assert_same")
def _assert_same() -> Callable[..., None]:
    return assert_same


@pytest.fixture(scope="session", name="in_process_network")
def _in_process_network() -> Callable[[], contextlib.AbstractContextManager[InProcessNetwork]]:
    return in_process_network


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server, for ``localhost``, and of a client that trusts it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    key, certificate = (str(tmp_path_factory.mktemp("tls") / name) for name in ("key", "certificate"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "9", "-keyout", key, "-out", certificate),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)
