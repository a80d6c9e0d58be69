"""A run that a report shows records which step has caused each event of the network."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pytest_background_tasks import Explorer
from pytest_background_tasks._explore.recording_network import RecordingStreamSocket
from pytest_background_tasks._network.network import SOCKETS

Scenario = Callable[[], Coroutine[Any, Any, None]]
HOST = "127.0.0.1"


def causes(scenario: Scenario, replay: str = "") -> dict[str, list[tuple[str, list[str]]]]:
    """For each source of arrivals of a failing scenario: its events, each with its causes as ``task@step``.

    A callback, such as the one in which asyncio closes a socket, stands for the step that asked for it.
    """
    options = {"replay": replay} if replay else {"max_deviations": 0}
    steps = Explorer(arrivals="network", **options).explore(scenario).failure.trace.steps

    def name(index: int) -> str:
        step = steps[index]
        if step.delivered == "call" and step.detail.network is None:
            return name(step.detail.woken_by)
        return f"{step.task}@{step.number}"

    found: dict[str, list[tuple[str, list[str]]]] = {}
    for step in steps:
        if step.detail.network is None:
            assert step.detail.caused_by == ()
        else:
            by = [name(index) for index in step.detail.caused_by]
            found.setdefault(step.task, []).append((step.detail.network.kind, by))
    return found


class Pair:
    """The two ends of a connection, without transports."""

    def __init__(self) -> None:
        with socket.create_server((HOST, 80)) as listener:
            self.client = socket.create_connection((HOST, 80))
            self.server = listener.accept()[0]
        for each in (self.client, self.server):
            each.setblocking(False)

    def close(self) -> None:
        self.client.close()
        self.server.close()


async def arrival_at(file: Any) -> None:
    """Wait until a file is readable, also if it is already."""
    arrived, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(file, arrived.set)
    await arrived.wait()
    loop.remove_reader(file)


def test_each_event_of_a_connection_is_caused_by_a_step_of_the_other_side() -> None:
    """The connection by the one that connects, data by the one that writes, the end by the one that closes."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            writer.write(line.upper())
            await asyncio.sleep(1)
            writer.write(b"more\n")
            await reader.read()
            writer.close()

        async def ask() -> None:
            reader, writer = await asyncio.open_connection(HOST, 80)
            writer.write(b"hello\n")
            await reader.readline()
            await reader.readline()
            writer.close()
            await asyncio.sleep(1)

        async with await asyncio.start_server(serve, HOST, 80):
            await asyncio.gather(ask())
        raise AssertionError

    by_task = {
        source: [(kind, [each.partition("@")[0].rpartition("/")[2] for each in by]) for kind, by in events]
        for source, events in causes(scenario).items()
    }
    assert by_task == {
        "ask:sent": [("connection", ["ask"]), ("data", ["ask"]), ("eof", ["ask"])],
        "ask:received": [("established", ["ask"]), ("data", ["serve"]), ("data", ["serve"])],
    }


def test_late_data_is_caused_by_the_step_that_sent_it() -> None:
    """Data that another step has sent meanwhile arrives with it, and both are its causes."""

    async def scenario() -> None:
        pair, loop = Pair(), asyncio.get_running_loop()

        async def send() -> None:
            pair.client.send(b"one")
            await asyncio.sleep(0)

        async def send_more() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            pair.client.send(b"two")

        got = asyncio.ensure_future(loop.sock_recv(pair.server, 99))
        await asyncio.gather(send(), send_more())
        try:
            assert await got == b"one"
        finally:
            pair.close()

    assert causes(scenario, replay="main:sent@1+4") == {"main:sent": [("data", ["send@0", "send_more@2"])]}


def test_data_is_caused_by_each_step_that_sent_an_unread_part() -> None:
    async def scenario() -> None:
        pair, loop = Pair(), asyncio.get_running_loop()

        async def send(data: bytes) -> None:
            pair.client.send(data)
            pair.client.send(data)

        got = asyncio.ensure_future(loop.sock_recv(pair.server, 3))
        await asyncio.gather(send(b"ab"), send(b"cd"))
        await got
        await loop.sock_recv(pair.server, 99)
        got = asyncio.ensure_future(loop.sock_recv(pair.server, 99))
        await asyncio.gather(send(b"ef"))
        await got
        pair.close()
        raise AssertionError

    found = causes(scenario)["main:sent"]
    assert found == [("data", ["send@0", "send#2@0"]), ("data", ["send#3@0"])]


def test_room_is_caused_by_the_step_that_reads() -> None:
    async def scenario() -> None:
        pair, loop = Pair(), asyncio.get_running_loop()

        async def fill() -> None:
            await loop.sock_sendall(pair.client, bytes(5_000_000))

        async def read() -> None:
            await asyncio.sleep(1)
            pair.server.recv(1)
            await asyncio.sleep(1)
            pair.server.recv(4_000_000)

        await asyncio.gather(fill(), read())
        pair.close()
        raise AssertionError

    assert causes(scenario) == {"main:received": [("room", ["read@2"])]}


def test_reset_is_caused_by_the_step_that_closes() -> None:
    """It closes with unread data."""

    async def scenario() -> None:
        pair, loop = Pair(), asyncio.get_running_loop()

        async def close() -> None:
            pair.client.send(b"not read")
            pair.server.close()

        got = asyncio.ensure_future(loop.sock_recv(pair.client, 9))
        await asyncio.gather(close())
        try:
            await got
        finally:
            pair.close()

    assert causes(scenario) == {"main:received": [("reset", ["close@0"])]}


def test_half_closed_connection_is_ended_by_the_step_that_shuts_it_down() -> None:
    """Not by the later one that closes the socket."""

    async def scenario() -> None:
        pair, loop = Pair(), asyncio.get_running_loop()

        async def shut() -> None:
            pair.client.shutdown(socket.SHUT_WR)

        async def close() -> None:
            pair.client.close()

        got = asyncio.ensure_future(loop.sock_recv(pair.server, 9))
        await asyncio.gather(shut(), close())
        await got
        pair.close()
        raise AssertionError

    assert causes(scenario) == {"main:sent": [("eof", ["shut@0"])]}


def test_refusal_is_caused_by_the_step_that_connects() -> None:
    async def scenario() -> None:
        async def connect() -> None:
            await asyncio.open_connection(HOST, 80)

        await asyncio.gather(connect())

    [(_, found)] = causes(scenario).items()
    assert found == [("refused", ["connect@0"])]


def test_client_that_waits_for_room_in_a_backlog_is_let_in_by_the_step_that_accepts() -> None:
    """The connection itself is the client's doing."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.bind((HOST, 80))
        listener.listen(0)
        listener.setblocking(False)
        clients = [socket.socket() for _ in range(2)]
        for each in clients:
            each.setblocking(False)

        async def connect(client: socket.socket) -> None:
            await loop.sock_connect(client, (HOST, 80))

        async def accept() -> None:
            await asyncio.sleep(1)
            await arrival_at(listener)
            listener.accept()[0].close()
            await arrival_at(listener)
            listener.accept()[0].close()

        await asyncio.gather(*map(connect, clients), accept())
        for each in (*clients, listener):
            each.close()
        raise AssertionError

    events = [each for source in causes(scenario).values() for each in source]
    assert sorted(events) == [
        ("connection", ["connect#2@0"]),
        ("connection", ["connect@0"]),
        ("established", ["accept@2"]),
        ("established", ["connect@0"]),
    ]


@pytest.mark.parametrize("kind", ["internet", "unix"])
def test_datagram_is_caused_by_the_step_that_sent_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    free = Path("socket").unlink

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET if kind == "internet" else socket.AF_UNIX
        address: Any = (HOST, 80) if kind == "internet" else "socket"
        receiver, sender = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        receiver.bind(address)
        for each in (receiver, sender):
            each.setblocking(False)

        async def send(data: bytes) -> None:
            sender.sendto(data, address)

        got = asyncio.ensure_future(loop.sock_recv(receiver, 9))
        await asyncio.gather(send(b"1"), send(b"2"))
        await got
        receiver.recv(9)  # the second one, of which the loop knows nothing
        got = asyncio.ensure_future(loop.sock_recv(receiver, 9))
        await asyncio.gather(send(b"3"))
        await got
        receiver.close()
        sender.close()
        if kind == "unix":
            free()
        raise AssertionError

    assert causes(scenario) == {"main:datagrams": [("data", ["send@0"]), ("data", ["send#3@0"])]}


def test_refused_datagram_is_caused_by_the_step_that_sent_it() -> None:
    async def scenario() -> None:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setblocking(False)
        sender.connect((HOST, 80))
        got = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(sender, 9))

        async def send() -> None:
            sender.send(b"1")

        await asyncio.gather(send())
        try:
            await got
        finally:
            sender.close()

    assert causes(scenario) == {"main:datagrams": [("refused", ["send@0"])]}


def test_data_that_was_sent_outside_the_loop_has_no_cause() -> None:
    """Before the loop runs, or in another thread."""

    def sent_before() -> Coroutine[Any, Any, None]:
        pair = Pair()
        pair.client.send(b"before")

        async def scenario() -> None:
            await arrival_at(pair.server)
            pair.close()
            raise AssertionError

        return scenario()

    async def sent_in_a_thread() -> None:
        pair = Pair()
        thread = threading.Thread(target=pair.client.send, args=(b"thread",))
        thread.start()
        thread.join()
        await arrival_at(pair.server)
        pair.close()
        raise AssertionError

    assert list(causes(sent_before).values()) == [[("data", [])]]
    assert list(causes(sent_in_a_thread).values()) == [[("data", [])]]


def test_pipe_has_no_known_cause() -> None:
    async def scenario() -> None:
        readable, writable = os.pipe()
        os.write(writable, b"1")
        await arrival_at(readable)
        os.close(readable)
        os.close(writable)
        raise AssertionError

    assert causes(scenario) == {"main:descriptor": [("ready", [])]}


def test_only_the_runs_that_a_report_shows_record_it() -> None:
    """All other runs have the plain sockets, at which there is nothing to pay."""
    recording = []

    async def scenario() -> None:
        pair = Pair()
        recording.append(isinstance(SOCKETS[pair.client.fileno()], RecordingStreamSocket))
        pair.close()
        raise AssertionError

    assert Explorer(arrivals="network").explore(scenario).failure is not None
    assert recording[0] is False
    assert recording[-1] is True
