"""Properties of the in-process network, found by random programs."""

import asyncio
import contextlib
import functools
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

LINGER_NOT = struct.pack("ii", 1, 0)
SIZES = st.one_of(st.integers(1, 300), st.integers(1, 200_000), st.just(1_500_000))


@st.composite
def directions(draw: st.DrawFn) -> tuple[list[int], list[int], bool]:
    """What one side sends: the sizes of its parts, those of the reads on the other side, and if it drains."""
    return draw(st.lists(SIZES, max_size=8)), draw(st.lists(SIZES, min_size=1, max_size=5)), draw(st.booleans())


def content(sizes: list[int]) -> list[bytes]:
    """Return parts that differ, so that a part that is lost or in another order is found."""
    return [bytes([number % 251 + 1]) * (size - 1) + b"\0" for number, size in enumerate(sizes)]


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Any, received: Any) -> None:
    async def write() -> None:
        for part in content(sent[0]):
            writer.write(part)
            if sent[2]:
                await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def read() -> bytes:
        expected = sum(received[0])
        sizes = [max(each, expected // 300) for each in received[1]]  # few reads, for the time that they take
        data = bytearray()
        while len(data) < expected and (part := await reader.read(sizes[len(data) % len(sizes)])):
            data += part
        return bytes(data)

    _, data = await asyncio.gather(write(), read())
    assert data == b"".join(content(received[0]))
    if writer.can_write_eof():
        assert await reader.read() == b""


async def exchange(kind: str, there: Any, back: Any, contexts: Any) -> None:
    """Send in both directions at once; assert that both sides read what was sent."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer, back, there)
            handled.set_result(None)
        except BaseException as problem:
            handled.set_exception(problem)
        finally:
            writer.close()
            await writer.wait_closed()

    handled = asyncio.get_running_loop().create_future()
    server_tls, client_tls = contexts or (None, None)
    name = "localhost" if contexts else None
    with tempfile.TemporaryDirectory() as folder:
        if kind == "unix":
            path = f"{folder}/s"
            server = await asyncio.start_unix_server(handler, path, ssl=server_tls)
            connected = asyncio.open_unix_connection(path, ssl=client_tls, server_hostname=name)
        else:
            server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=server_tls)
            address = server.sockets[0].getsockname()
            connected = asyncio.open_connection(*address, ssl=client_tls, server_hostname=name)
        reader, writer = await connected
        await talk(reader, writer, there, back)
        await handled
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@settings(max_examples=40)
@given(there=directions(), back=directions())
def test_a_peer_reads_what_was_sent_in_order(in_process_network: Any, kind: str, there: Any, back: Any) -> None:
    """Whatever the sizes of writes and reads, in both directions at once, after half-closes too."""
    with in_process_network():
        asyncio.run(asyncio.wait_for(exchange(kind, there, back, None), 60))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@settings(max_examples=15)
@given(there=directions(), back=directions())
def test_a_peer_reads_what_was_sent_with_tls(
    in_process_network: Any, tls: Any, kind: str, there: Any, back: Any
) -> None:
    with in_process_network():
        asyncio.run(asyncio.wait_for(exchange(kind, there, back, tls), 60))


LITTLE = st.one_of(st.integers(0, 10), st.integers(0, 2000))
OPERATIONS = st.one_of(
    *(st.tuples(st.just(name), LITTLE) for name in ("send", "recv", "recvmsg", "peek")),
    st.tuples(st.just("shutdown"), st.sampled_from([socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])),
    *(st.tuples(st.just(name), st.just(0)) for name in ("error", "ready", "close", "abort", "peer", "own")),
)


def random_program(do: Any, kind: str, operations: list[tuple[bool, tuple[str, int]]]) -> None:
    pair = do.pair(kind)
    for is_client, (name, number) in operations:
        sock = pair[not is_client]
        if sock.fileno() == -1:
            continue
        do.note("client" if is_client else "server")
        calls: dict[str, Callable[[], Any]] = {
            "send": functools.partial(do, sock.send, bytes([number % 256]) * number),
            "recv": functools.partial(do, sock.recv, number),
            "recvmsg": functools.partial(do, sock.recvmsg, number + 1),
            "peek": functools.partial(do, sock.recv, number, socket.MSG_PEEK),
            "shutdown": functools.partial(do, sock.shutdown, number),
            "error": functools.partial(do, sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR),
            "ready": functools.partial(do.ready, sock),
            "peer": functools.partial(do, sock.getpeername),
            "own": functools.partial(do, sock.getsockname),
            "close": functools.partial(do, sock.close),
            "abort": functools.partial(abort, do, sock),
        }
        calls[name]()
    for sock in pair:
        if sock.fileno() != -1:
            do.ready(sock)


def abort(do: Any, sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    do(sock.close)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@settings(max_examples=150)
@given(operations=st.lists(st.tuples(st.booleans(), OPERATIONS), max_size=25))
def test_any_operations_on_a_connection_see_the_same_as_on_the_kernels_sockets(
    assert_same: Any, kind: str, operations: Any
) -> None:
    """The data always fits into the kernel's buffers, for how much of it fits depends on their sizes."""
    assert_same(random_program, kind, operations)


def test_methods_are_restored_exactly(in_process_network: Any) -> None:
    before = dict(vars(socket.socket)), dict(vars(socket))
    with contextlib.suppress(ZeroDivisionError), in_process_network():
        assert vars(socket.socket) != before[0]
        raise ZeroDivisionError
    assert (dict(vars(socket.socket)), dict(vars(socket))) == before
