"""Programs on asyncio's own loop see the same callbacks on the in-process network as on the kernel's sockets."""

import asyncio
import contextlib
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__)
CONTENT = FILE.read_bytes()
LINGER_NOT = struct.pack("ii", 1, 0)
PROGRAMS: list[Callable[..., Awaitable[None]]] = []
ENDED = "connection_lost"


def program(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    PROGRAMS.append(function)
    return function


class Recording(asyncio.Protocol):
    """Records its callbacks; data that arrives in several parts is one entry."""

    def __init__(self, name: str = "client", *, keeps_open: bool = False) -> None:
        self.name = name
        self.entries: list[str] = []
        self.transport: Any = None
        self.keeps_open = keeps_open
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.paused = asyncio.get_running_loop().create_future()
        self.resumed = asyncio.get_running_loop().create_future()

    def note(self, entry: str) -> None:
        if not (self.entries and entry == self.entries[-1] == "data_received"):
            self.entries.append(entry)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.note("connection_made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.note("data_received")

    def eof_received(self) -> bool:
        self.note("eof_received")
        if not self.ended.done():
            self.ended.set_result(None)
        return self.keeps_open

    def pause_writing(self) -> None:
        self.note("pause_writing")
        if not self.paused.done():
            self.paused.set_result(None)

    def resume_writing(self) -> None:
        self.note("resume_writing")
        if not self.resumed.done():
            self.resumed.set_result(None)

    def connection_lost(self, problem: Exception | None) -> None:
        self.note(f"{ENDED} {type(problem).__name__}")
        if not self.lost.done():
            self.lost.set_result(None)

    async def got(self, count: int) -> None:
        while len(self.data) < count:
            await asyncio.sleep(0)


class Record:
    """What a program has seen, and its kind of sockets."""

    def __init__(self, kind: str, folder: str) -> None:
        self.kind = kind
        self.entries: list[Any] = []
        self._folder = folder

    def note(self, *things: Any) -> None:
        self.entries.append(things)

    async def outcome(self, awaitable: Awaitable[Any]) -> Any:
        """Record the result or the type of the exception."""
        try:
            result = await awaitable
        except Exception as problem:
            self.note(type(problem).__name__, getattr(problem, "errno", None))
            return None
        self.note("returned", result if isinstance(result, (bytes, int, type(None))) else type(result).__name__)
        return result

    async def server(self, *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        if self.kind == "unix":
            return await loop.create_unix_server(*args, path=f"{self._folder}/s", **kwargs)
        return await loop.create_server(*args, host="127.0.0.1", port=0, **kwargs)

    async def connected(self, factory: Any, server: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        address = server.sockets[0].getsockname()
        if self.kind == "unix":
            return await loop.create_unix_connection(factory, address, **kwargs)
        return await loop.create_connection(factory, *address, **kwargs)

    @contextlib.asynccontextmanager
    async def pair(self, *, keeps_open: bool = False) -> Any:
        """Give the protocols of both ends of a connection; record their callbacks after the block."""
        made: list[Recording] = []

        def accepted() -> Recording:
            made.append(Recording("server", keeps_open=keeps_open))
            return made[0]

        server = await self.server(accepted)
        _, client = await self.connected(lambda: Recording(keeps_open=keeps_open), server)
        while not (made and made[0].transport):
            await asyncio.sleep(0)
        try:
            yield client, made[0]
        finally:
            for each in (client, made[0]):
                each.transport.close()
                await each.lost
                self.note(each.name, *each.entries, len(each.data))
            server.close()
            await server.wait_closed()


@program
async def echo(record: Record) -> None:
    async with record.pair() as (client, server):
        client.transport.write(b"request")
        await server.got(7)
        server.transport.write(b"answer")
        await client.got(6)
        client.transport.close()
        await client.lost
        await server.lost


@program
async def eof_both_ways(record: Record) -> None:
    async with record.pair(keeps_open=True) as (client, server):
        client.transport.write(b"request")
        client.transport.write_eof()
        await server.ended
        server.transport.write(b"answer")
        server.transport.write_eof()
        await client.ended
        record.note(client.data, server.data)


@program
async def eof_closes(record: Record) -> None:
    async with record.pair() as (client, server):
        client.transport.write(b"x" * 300_000)
        client.transport.write_eof()
        await server.lost
        await client.lost


@program
async def abort(record: Record) -> None:
    async with record.pair() as (client, server):
        server.transport.pause_reading()
        client.transport.write(b"unread")
        server.transport.abort()
        await client.lost
        await server.lost


@program
async def abort_with_unread_data_on_both_sides(record: Record) -> None:
    async with record.pair() as (client, server):
        for each in (client, server):
            each.transport.pause_reading()
            each.transport.write(b"unread")
        client.transport.abort()
        await client.lost
        server.transport.resume_reading()
        await server.lost


@program
async def reset(record: Record) -> None:
    async with record.pair() as (client, server):
        sock = client.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        client.transport.close()
        await server.lost


@program
async def writes_after_the_other_side_has_closed(record: Record) -> None:
    async with record.pair(keeps_open=True) as (client, server):
        server.transport.close()
        await client.ended
        for _ in range(3):
            client.transport.write(b"late")
        await client.lost


@program
async def pausing_and_resuming(record: Record) -> None:
    async with record.pair() as (client, server):
        server.transport.pause_reading()
        client.transport.write(bytes(20_000_000))
        await client.paused
        server.transport.resume_reading()
        await client.resumed
        await server.got(20_000_000)


@program
async def the_reader_closes_while_the_writer_is_paused(record: Record) -> None:
    async with record.pair() as (client, server):
        server.transport.pause_reading()
        client.transport.write(bytes(20_000_000))
        await client.paused
        server.transport.close()
        await client.lost


@program
async def many_small_writes(record: Record) -> None:
    async with record.pair() as (client, server):
        for number in range(1000):
            client.transport.write(b"%03d" % number)
        await server.got(3000)
        record.note(server.data)


async def streams(record: Record, handler: Any) -> tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]:
    def protocol() -> Any:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), handler)

    server = await record.server(protocol)
    if record.kind == "unix":
        return server, *await asyncio.open_unix_connection(server.sockets[0].getsockname())
    return server, *await asyncio.open_connection(*server.sockets[0].getsockname())


async def end(record: Record, writer: asyncio.StreamWriter, handled: asyncio.Event, server: asyncio.Server) -> None:
    """Close the connection of `streams`, and its server once that has ended too."""
    writer.close()
    await record.outcome(writer.wait_closed())
    await handled.wait()
    server.close()
    await server.wait_closed()


@program
async def close_while_the_other_side_drains(record: Record) -> None:
    handled = asyncio.Event()
    closing = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        handled.set()

    server, reader, writer = await streams(record, handler)
    writer.write(bytes(20_000_000))
    asyncio.get_running_loop().call_soon(closing.set)
    await record.outcome(writer.drain())
    await record.outcome(reader.read())
    await end(record, writer, handled, server)


@program
async def stream_readers(record: Record) -> None:
    handled = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        handled.set()

    server, reader, writer = await streams(record, handler)
    writer.write(b"a\nb\n")
    await record.outcome(reader.readline())
    await record.outcome(reader.readexactly(2))
    writer.write(b"half")
    writer.write_eof()
    await record.outcome(reader.readexactly(10))
    await record.outcome(reader.read())
    await end(record, writer, handled, server)


@program
async def sock_methods(record: Record) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_UNIX if record.kind == "unix" else socket.AF_INET
    listener, client = socket.socket(family), socket.socket(family)
    listener.bind(f"{record._folder}/s" if record.kind == "unix" else ("127.0.0.1", 0))
    for each in (listener, client):
        each.setblocking(False)
    if record.kind != "unix":  # it would ask for the name of a server
        await record.outcome(loop.sock_connect(client, listener.getsockname()))
        client.close()
        client = socket.socket(family)
        client.setblocking(False)
    listener.listen()
    accepting = loop.create_task(loop.sock_accept(listener))
    await record.outcome(loop.sock_connect(client, listener.getsockname()))
    server, _ = await accepting
    receiving = loop.create_task(loop.sock_recv(server, 100))
    await record.outcome(loop.sock_sendall(client, b"data"))
    await record.outcome(receiving)
    sending = loop.create_task(loop.sock_sendall(client, b"x" * 10_000_000))
    received, buffer = 0, bytearray(100_000)
    while received < 10_000_000:
        received += await loop.sock_recv_into(server, buffer)
    await record.outcome(sending)
    with FILE.open("rb") as file:  # noqa: ASYNC230
        sending = loop.create_task(loop.sock_sendfile(client, file, 10, 1000))
        received = 0
        while received < 1000:
            received += len(await loop.sock_recv(server, 10_000))
        await record.outcome(sending)
    client.close()
    await record.outcome(loop.sock_recv(server, 1))
    await record.outcome(loop.sock_sendall(server, b"1"))
    await record.outcome(loop.sock_sendall(server, b"1"))
    server.close()
    listener.close()


@program
async def sendfile(record: Record) -> None:
    async with record.pair() as (client, server):
        with FILE.open("rb") as file:  # noqa: ASYNC230
            await record.outcome(asyncio.get_running_loop().sendfile(client.transport, file))
        await server.got(len(CONTENT))
        record.note(server.data == CONTENT)


@program
async def closing_a_server(record: Record) -> None:
    made: list[Recording] = []

    def accepted() -> Recording:
        made.append(Recording("server"))
        return made[0]

    server = await record.server(accepted)
    _, client = await record.connected(Recording, server)
    while not made:
        await asyncio.sleep(0)
    address = server.sockets[0].getsockname()
    server.close()
    again = asyncio.open_unix_connection(address) if record.kind == "unix" else asyncio.open_connection(*address)
    await record.outcome(again)
    client.transport.close()
    await client.lost
    await made[0].lost
    record.note(*client.entries, *made[0].entries)
    await server.wait_closed()


@program
async def a_refused_connection(record: Record) -> None:
    free = socket.socket(socket.AF_UNIX if record.kind == "unix" else socket.AF_INET)
    free.bind(f"{record._folder}/free" if record.kind == "unix" else ("127.0.0.1", 0))
    address = free.getsockname()
    loop = asyncio.get_running_loop()
    if record.kind == "unix":
        await record.outcome(loop.create_unix_connection(Recording, address))
    else:
        await record.outcome(loop.create_connection(Recording, *address))
    free.close()


@program
async def datagram_endpoints(record: Record) -> None:
    class Datagrams(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.received = asyncio.Queue[Any]()

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.received.put_nowait(data)

        def error_received(self, problem: Exception) -> None:
            self.received.put_nowait(type(problem).__name__)

        def connection_lost(self, problem: Exception | None) -> None:
            self.received.put_nowait(problem)

    loop = asyncio.get_running_loop()
    one, receiver = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    address = one.get_extra_info("sockname")
    other, sender = await loop.create_datagram_endpoint(Datagrams, remote_addr=address)
    other.sendto(b"hello")
    await record.outcome(receiver.received.get())
    one.sendto(b"back", other.get_extra_info("sockname"))
    await record.outcome(sender.received.get())
    one.close()
    await record.outcome(receiver.received.get())
    other.sendto(b"to nobody")
    record.note(await sender.received.get())
    other.close()
    record.note(await sender.received.get())


def run(program: Callable[..., Any], kind: str, *args: Any) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        record = Record(kind, folder)
        asyncio.run(asyncio.wait_for(program(record, *args), 30))
        return record.entries


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: each.__name__)
def test_a_program_on_asyncios_loop_sees_the_same_as_on_the_kernels_sockets(
    in_process_network: Any, program: Any, kind: str
) -> None:
    with in_process_network():
        ours = run(program, kind)
    assert ours == run(program, kind)


async def starting_tls(record: Record, ends: str, contexts: Any) -> None:
    loop = asyncio.get_running_loop()
    server_context, client_context = contexts
    async with record.pair() as (client, server):
        upgraded = Recording("tls server"), Recording("tls client")
        client.transport.write(b"STARTTLS")
        await server.got(8)
        server.transport.pause_reading()
        client.transport.pause_reading()
        tasks = (
            loop.create_task(loop.start_tls(server.transport, upgraded[0], server_context, server_side=True)),
            loop.create_task(
                loop.start_tls(client.transport, upgraded[1], client_context, server_hostname="localhost")
            ),
        )
        for each, transport in zip(upgraded, await asyncio.gather(*tasks), strict=True):
            each.transport = transport
        upgraded[1].transport.write(b"x" * 1_000_000)
        await upgraded[0].got(1_000_000)
        upgraded[0].transport.write(b"answer")
        await upgraded[1].got(6)
        getattr(upgraded[0].transport, ends)()
        for each in upgraded:
            await each.lost
            record.note(each.name, *each.entries, len(each.data))
        for each in (client, server):  # their transports belong to TLS now
            each.lost.set_result(None)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("ends", ["close", "abort"])
def test_a_connection_that_starts_tls_sees_the_same_as_on_the_kernels_sockets(
    in_process_network: Any, tls: Any, kind: str, ends: str
) -> None:
    with in_process_network():
        ours = run(starting_tls, kind, ends, tls)
    assert ours == run(starting_tls, kind, ends, tls)


def test_a_selector_reports_sockets_in_the_order_in_which_they_became_ready(in_process_network: Any) -> None:
    """Those that are still ready stay in front."""

    def order() -> list[list[int]]:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            clients, servers = [], []
            for _ in range(4):
                clients.append(stack.enter_context(socket.create_connection(listener.getsockname())))
                servers.append(stack.enter_context(listener.accept()[0]))
            epoll = stack.enter_context(contextlib.closing(__import__("select").epoll()))
            for each in servers:
                epoll.register(each.fileno(), 1)
            numbers = {each.fileno(): number for number, each in enumerate(servers)}
            seen = []
            for number in (2, 0, 3, 1):
                clients[number].send(b"1")
                servers[number].recv(1, socket.MSG_PEEK)  # it has arrived
            seen.append([numbers[descriptor] for descriptor, _ in epoll.poll(0)])
            servers[2].recv(1)
            clients[2].send(b"1")
            servers[2].recv(1, socket.MSG_PEEK)
            seen.append([numbers[descriptor] for descriptor, _ in epoll.poll(0)])
            seen.append([numbers[descriptor] for descriptor, _ in epoll.poll(0)])
            return seen

    with in_process_network():
        ours = order()
    kernels = order()
    assert ours == kernels
    assert ours[0] == [2, 0, 3, 1]
