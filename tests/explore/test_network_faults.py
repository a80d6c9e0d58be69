"""Faults of the network in an explored test: what each end of a connection sees, and what the result says of it."""

import asyncio
import gc
import logging
import socket
import ssl
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from inline_snapshot import snapshot

from pytest_background_tasks import Explorer, NetworkFault, ReplayError, Schedule
from pytest_background_tasks._explore.network_faults import PossibleFaults

Scenario = Callable[[], Coroutine[Any, Any, None]]
HOST = "127.0.0.1"


class Exchange:
    """A client that asks once, and a server that answers in two parts; both log what they see."""

    def __init__(self, *, is_unix: bool = False) -> None:
        self.client: list[str] = []
        self.server: list[str] = []
        self._is_unix = is_unix

    async def run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/s"
            if self._is_unix:
                server = await asyncio.start_unix_server(self._serve, path)
            else:
                server = await asyncio.start_server(self._serve, HOST, 80)
            async with server:
                await asyncio.create_task(self._ask(path), name="ask")
                await asyncio.sleep(1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._read(reader, self.server, 4)
        writer.write(b"head")
        writer.write(b"tail")
        await self._read(reader, self.server, 4)
        await self._close(writer)

    async def _ask(self, path: str) -> None:
        try:
            reader, writer = await (
                asyncio.open_unix_connection(path) if self._is_unix else asyncio.open_connection(HOST, 80)
            )
        except OSError as error:
            self.client.append(type(error).__name__)
            return
        writer.write(b"ask?")
        await self._read(reader, self.client, 8)
        writer.write(b"more")
        await asyncio.sleep(0.1)
        writer.write(b"more")
        await self._close(writer)

    async def _read(self, reader: asyncio.StreamReader, log: list[str], wanted: int) -> None:
        try:
            while wanted and (data := await reader.read(100)):
                log.append(data.decode())
                wanted -= len(data)
            if wanted:
                log.append("EOF")
        except OSError as error:
            log.append(type(error).__name__)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of a server and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def replayed(schedule: str, **options: Any) -> Exchange:
    """Return what was seen under a schedule, which must not fail."""
    last: list[Exchange] = []

    async def scenario() -> None:
        last[:] = [Exchange(**options)]
        await last[0].run()

    exploration = Explorer(replay=schedule).explore(scenario)
    assert exploration.failure is None, exploration.failure
    return last[0]


@pytest.mark.parametrize("is_unix", [False, True])
@pytest.mark.parametrize(
    ("schedule", "client", "server"),
    [
        ("", "headtail", "ask? more"),
        ("ask:received@1!split-1", "h eadtail", "ask? more"),
        ("ask:sent@1!split-3", "headtail", "ask ? more"),
        ("ask:sent@1!split-99", "headtail", "ask ? more"),
        ("ask:received@1!eof", "EOF", "ask? EOF"),
        ("ask:received@1!eof-3", "hea EOF", "ask? EOF"),
        ("ask:received@1!reset", "ConnectionResetError", "ask? ConnectionResetError"),
        ("ask:received@1!reset-3", "hea ConnectionResetError", "ask? ConnectionResetError"),
        ("ask:sent@1!eof-2", "EOF", "as EOF EOF"),
        ("ask:sent@1!reset", "ConnectionResetError", "ConnectionResetError ConnectionResetError"),
    ],
)
def test_each_end_sees_a_fault_as_that_of_something_between_them(
    schedule: str, client: str, server: str, is_unix: bool
) -> None:
    """Data is lost or comes in parts, and the end of the connection reaches both, as if a proxy had caused it."""
    if is_unix:
        schedule = schedule.replace("received@1", "received@0")  # connecting is no event of its own
    exchange = replayed(schedule, is_unix=is_unix)
    assert (" ".join(exchange.client), " ".join(exchange.server)) == (client, server)


def test_a_server_never_sees_a_connection_that_is_refused() -> None:
    exchange = replayed("ask:received!refused")
    assert (exchange.client, exchange.server) == (["ConnectionRefusedError"], [])


def test_the_next_attempt_after_a_refusal_succeeds() -> None:
    """A fault takes place once; the second connection has the names of a second one."""

    async def scenario() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 80):
            for _ in range(2):
                try:
                    reader, writer = await asyncio.open_connection(HOST, 80)
                except ConnectionRefusedError:
                    refused.append(1)
                else:
                    assert await reader.read() == b""
                    writer.close()

    refused: list[int] = []
    exploration = Explorer(replay="main:received#1!refused, main:sent#2+1").explore(scenario)
    assert exploration.failure is None, exploration.failure
    assert refused == [1]


def test_writing_to_a_connection_that_a_proxy_has_closed_resets_it() -> None:
    """The first write after the EOF succeeds, as on TCP; those that follow learn that the connection is reset."""
    seen = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        class Client(asyncio.Protocol):
            def connection_lost(self, error: Exception | None) -> None:
                seen.append(type(error).__name__)

            def eof_received(self) -> bool:
                transport.write(b"one")
                return True

        class Server(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                served[:] = [transport]
                transport.write(b"hello")

        server = await loop.create_server(Server, HOST, 80)
        async with server:
            transport, _ = await loop.create_connection(Client, HOST, 80)
            await asyncio.sleep(1)
            transport.write(b"two")
            await asyncio.sleep(1)
            seen.append("closed" if transport.is_closing() else "open")
            transport.close()
            served[0].close()

    served: list[Any] = []
    assert Explorer(replay="main:received@1!eof").explore(scenario).failure is None
    assert seen == ["open", "NoneType", "BrokenPipeError", "closed"]


def explored_faults(scenario: Scenario, **options: Any) -> Any:
    return Explorer(**{"arrivals": "network", "max_deviations": 1, **options}).explore(scenario)


async def exchange() -> None:
    await Exchange().run()


def test_faults_are_tried_only_on_request_and_the_verdict_names_them() -> None:
    """A verdict says which faults of the network it covers and which it does not, if there is a network."""
    assert explored_faults(exchange).injected == ()
    assert "network faults" in explored_faults(exchange).not_varied
    exploration = explored_faults(exchange, faults=["reset", "split", "eof"])
    assert exploration.injected == ("resets", "early ends", "split reads")
    assert "refusals" in exploration.not_varied
    assert "network faults" not in exploration.not_varied

    async def no_network() -> None:
        await asyncio.sleep(1)

    exploration = Explorer(faults=["reset"]).explore(no_network)
    assert exploration.injected == ()
    assert "resets" not in exploration.not_varied


@pytest.mark.parametrize("fault", ["reset", "eof", "refused", "split"])
def test_each_fault_is_tried_at_each_place_where_it_can_take_place(fault: str) -> None:
    seen = set()

    async def scenario() -> None:
        each = Exchange()
        await each.run()
        seen.add(" ".join(each.client))

    exploration = explored_faults(scenario, faults=fault)
    assert exploration.failure is None, exploration.failure
    assert {
        "reset": {"ConnectionResetError", "head ConnectionResetError"},
        "eof": {"EOF", "head EOF"},
        "refused": {"ConnectionRefusedError"},
        "split": {"h eadtail", "head tail", "headtai l"},
    }[fault] <= seen


def test_places_of_faults() -> None:
    """A fault cuts before the data, at the ends of the first parts that were sent, and in the middle, of a body too."""
    data = PossibleFaults("data", (4, 10, 20, 30, 100))
    assert data.places("reset") == data.places("eof") == (0, 4, 10, 20, 50)
    assert data.places("split") == (1, 4, 10, 20, 50, 99)
    http = PossibleFaults("data", (100,), body=60)
    assert http.places("eof") == (0, 50, 60, 80)
    assert PossibleFaults("data", (1,)).places("split") == ()
    assert PossibleFaults("data", (1,)).places("reset") == (0,)
    assert PossibleFaults("eof").places("reset") == (0,)
    assert PossibleFaults("eof").places("eof") == ()
    assert PossibleFaults("established").places("refused") == (0,)
    assert PossibleFaults("room").places("reset") == ()


def test_a_fault_that_cannot_take_place_is_an_error_of_the_replay() -> None:
    for schedule in ("ask:received!reset", "ask:sent@1!refused", "ask@1!eof", "main:timer!reset"):
        with pytest.raises(ReplayError, match="cannot be replayed"):
            replayed(schedule)


def test_a_previous_failure_counts_only_if_its_fault_is_still_asked_for() -> None:
    async def scenario() -> None:
        each = Exchange()
        await each.run()
        assert "EOF" not in each.client

    failing = Schedule([NetworkFault("ask:received", 1, "eof")])
    assert Explorer(previous_failures=[failing], max_schedules=1).explore(scenario).failure is None
    found = Explorer(previous_failures=[failing], faults="eof").explore(scenario).failure
    assert found is not None
    assert (found.found_by, found.schedule) == ("previous", failing)


def test_a_fault_and_a_delay_of_one_arrival() -> None:
    """What the fault has left arrives late."""
    exchange = replayed("ask:received@1!split-1, ask:received@2+3")
    assert exchange.client == ["h", "eadtail"]
    assert replayed("ask:sent@1!reset, ask:sent@1+4").server[0] == "ConnectionResetError"


def test_a_failure_is_reduced_to_the_simplest_fault() -> None:
    """A reset before any data is simpler than one in its middle."""

    async def scenario() -> None:
        each = Exchange()
        await each.run()
        assert "ConnectionResetError" not in each.client

    failure = Explorer(faults="reset", seed=1).explore(scenario).failure
    assert failure is not None
    [deviation] = failure.schedule
    assert isinstance(deviation, NetworkFault)
    assert deviation.after == 0


def test_result_of_the_network_may_be_slower_than_a_timeout() -> None:
    """A client that tries again after a timeout has ordered twice, if the answer was only late."""
    orders = []

    async def scenario() -> None:
        orders.clear()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readline():
                orders.append(1)
                writer.write(b"done\n")
            writer.close()

        async with await asyncio.start_server(serve, HOST, 80):
            for _ in range(2):
                reader, writer = await asyncio.open_connection(HOST, 80)
                try:
                    async with asyncio.timeout(5):
                        writer.write(b"order\n")
                        await reader.readline()
                        break
                except TimeoutError:
                    pass
                finally:
                    writer.close()
            writer.close()
            await asyncio.sleep(1)
        assert len(orders) == 1

    assert explored_faults(scenario).failure is None
    failure = explored_faults(scenario, faults="slow").failure
    assert failure is not None
    assert str(failure.schedule) == snapshot("main:sent#1@1!slow")
    told = "main's 6 bytes arrive at 127.0.0.1:80 only after another timer has fired: b'order\\n'"
    assert told in note(failure)


def note(failure: Any) -> str:
    return " ".join("".join(failure.error.__notes__).split())


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ("ask:received!refused", "ask's connection to 127.0.0.1:80 is refused"),
        ("ask:received@1!reset", "ask's connection to 127.0.0.1:80 is reset before it receives data"),
        ("ask:received@1!reset-2", "ask's connection to 127.0.0.1:80 is reset after it has received 2 bytes more"),
        ("ask:received@1!eof", "ask's connection to 127.0.0.1:80 is closed before it receives data"),
        ("ask:received@1!eof-1", "ask's connection to 127.0.0.1:80 is closed after it has received 1 byte more"),
        ("ask:received@1!split-1", "ask's connection to 127.0.0.1:80 receives only 1 byte at first"),
        ("ask:sent@1!reset", "ask's connection is reset before its data arrives at 127.0.0.1:80"),
        ("ask:sent@1!eof-2", "ask's connection is closed after 2 bytes more have arrived at 127.0.0.1:80"),
        ("ask:sent@1!split-2", "ask's data arrives at 127.0.0.1:80 in two parts, 2 bytes first"),
    ],
)
def test_report_says_what_happens_at_the_connection(schedule: str, sentence: str) -> None:
    async def scenario() -> None:
        each = Exchange()
        await each.run()
        assert each.client + each.server == ["headtail", "ask?", "more"]

    failure = Explorer(replay=schedule).explore(scenario).failure
    assert failure is not None
    assert f"! {sentence}" in note(failure)
    assert "remove the fault from faults=" in note(failure)


LINES = [b"%d" % number * number + b"\n" for number in range(1, 9)]


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: set[Any]) -> None:
    """Send lines, and read what comes, which must be the beginning of the same lines; add the end to ``ends``."""
    got = b""

    async def read() -> None:
        nonlocal got
        while data := await reader.read(7):
            got += data

    async def write() -> None:
        for line in LINES:
            writer.write(line)
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        writer.close()  # not write_eof(), which on CPython fails in a callback of the loop after a reset

    results = await asyncio.gather(read(), write(), return_exceptions=True)
    with suppress(OSError):
        await writer.wait_closed()
    assert b"".join(LINES).startswith(got)
    assert all(isinstance(each, OSError | None) for each in results), results
    ends.add((len(got), *(type(each).__name__ for each in results)))


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_with_faults_each_end_reads_the_beginning_of_what_was_sent(kind: str, tls: Any, tmp_path: Path) -> None:
    """Bytes may be lost at the end; none is changed, repeated or out of order, and no side waits forever."""
    ends: set[Any] = set()

    async def scenario() -> None:
        served = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            served.append(task)
            await talk(reader, writer, ends)

        path = str(tmp_path / "s")
        if kind == "unix":
            server = await asyncio.start_unix_server(serve, path)
        else:
            server = await asyncio.start_server(serve, HOST, 80, ssl=tls[0] if kind == "tls" else None)
        async with server:
            try:
                if kind == "unix":
                    streams = await asyncio.open_unix_connection(path)
                else:
                    context = tls[1] if kind == "tls" else None
                    streams = await asyncio.open_connection(
                        HOST, 80, ssl=context, server_hostname=context and "localhost"
                    )
            except OSError as error:
                ends.add((0, type(error).__name__))
                return
            await talk(*streams, ends)
            await asyncio.gather(*served)

    options: Any = {"faults": ["reset", "eof", "refused", "split"], "max_schedules": 400}
    exploration = explored_faults(scenario, **options, max_deviations=2)
    assert exploration.failure is None, exploration.failure
    assert len(ends) > 5


def test_runs_with_faults_leave_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    explored_faults(exchange, faults=["reset", "eof", "refused", "split"], max_deviations=2, max_schedules=300)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_report_names_the_task_that_has_sent_the_data() -> None:
    """Several tasks may share a connection, which is named after the one that has opened it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data + b"!")
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(echo, HOST, 80):
            reader, writer = await asyncio.create_task(asyncio.open_connection(HOST, 80), name="opens")

            async def ask() -> None:
                writer.write(b"ask")
                assert await reader.readexactly(4) == b"ask!"

            try:
                await asyncio.create_task(ask())
            finally:
                writer.close()
                await asyncio.sleep(1)

    failure = explored_faults(scenario, faults="split").failure
    assert "! ask's data arrives at 127.0.0.1:80 in two parts, 1 byte first, on opens's connection" in note(failure)


def test_report_shows_the_task_that_a_fault_wakes() -> None:
    """The lines of the handler that takes a part of the data for all of it explain the failure."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = await reader.read(100)
        writer.write(b"Hello " + name)
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(greet, HOST, 80):
            reader, writer = await asyncio.open_connection(HOST, 80)
            writer.write(b"Ada")
            answer = await reader.read()
            writer.close()
            await asyncio.sleep(1)
        assert answer == b"Hello Ada"

    failure = explored_faults(scenario, faults="split").failure
    assert str(failure.schedule) == "main:sent@1!split-1"
    assert "… name = await reader.read(100)" in note(failure)


def test_a_failed_handler_of_a_server_is_not_lost_if_the_test_ends_just_then() -> None:
    """asyncio itself retrieves its exception, in a callback that is still queued."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            writer.write(b"answer\n")
        finally:
            writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(serve, HOST, 80):
            reader, writer = await asyncio.open_connection(HOST, 80)
            writer.write(b"ask\n")
            with suppress(ConnectionError):
                await reader.readline()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    logging.getLogger("asyncio").addFilter(no_record := lambda _: False)
    try:
        exploration = Explorer(faults="reset", max_schedules=150).explore(scenario)
    finally:
        logging.getLogger("asyncio").removeFilter(no_record)
    assert exploration.failure is None, exploration.failure


def test_an_exception_that_asyncio_logs_itself_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A handler of a server that fails closes its connection; the client sees that, and so can a test."""
    got = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        raise ValueError

    async def scenario() -> None:
        async with await asyncio.start_server(serve, HOST, 80):
            reader, writer = await asyncio.open_connection(HOST, 80)
            got.append(await reader.read())
            writer.close()

    assert explored_faults(scenario).failure is None
    assert set(got) == {b""}
    assert "client_connected_cb" in caplog.text


def test_a_socket_without_a_connection_has_no_fault() -> None:
    """Such a socket is ready to be read, so that reading tells its error."""
    alone: Any = None

    async def scenario() -> None:
        nonlocal alone
        loop, called = asyncio.get_running_loop(), list[int]()
        with socket.socket() as alone:
            alone.setblocking(False)
            loop.add_reader(alone, read, called)
            await asyncio.sleep(0.1)
        assert called

    def read(called: list[int]) -> None:
        called.append(1)
        asyncio.get_running_loop().remove_reader(alone)

    exploration = explored_faults(scenario, faults=["reset", "eof", "split"])
    assert exploration.failure is None, exploration.failure
    with pytest.raises(ReplayError, match="main:descriptor!reset cannot be replayed"):
        Explorer(replay="main:descriptor!reset").explore(scenario)
