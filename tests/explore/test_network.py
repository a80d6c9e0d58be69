"""Sockets of an explored test live in the process, and what arrives at them is varied."""

import asyncio
import gc
import os
import select
import signal
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_background_tasks import Explorer, NetworkEvent, UncontrolledOperation
from pytest_background_tasks._network.network import SOCKETS

Scenario = Callable[[], Coroutine[Any, Any, None]]
HOST = "127.0.0.1"


def explored(scenario: Scenario, **options: Any) -> Any:
    return Explorer(**{"arrivals": "network", **options}).explore(scenario)


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.fixture
def real_server() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as server:
        yield server


def test_two_requests_reach_a_server_in_either_order() -> None:
    orders = set()

    async def scenario() -> None:
        served = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.append(await reader.readline())
            writer.write(b"done\n")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, HOST, 80):
            await asyncio.gather(ask(80, b"1\n"), ask(80, b"2\n"))
        orders.add(b"".join(served))

    assert explored(scenario, max_deviations=1).verdict == "bounded"
    assert orders == {b"1\n2\n", b"2\n1\n"}


def test_connections_that_arrive_at_once_are_accepted_in_any_order() -> None:
    """Linux tells a server only that there are some; each of them may still be the late one."""
    orders = set()

    async def scenario() -> None:
        accepted: list[str] = []

        class Server(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                accepted.append(str(transport.get_extra_info("peername")[1] - 49_152))
                transport.close()

        loop = asyncio.get_running_loop()
        async with await loop.create_server(Server, HOST, 80):
            readers_and_writers = await asyncio.gather(*[asyncio.open_connection(HOST, 80) for _ in range(3)])
            for reader, writer in readers_and_writers:
                await reader.read()
                writer.close()
                await writer.wait_closed()
        orders.add("".join(accepted))

    assert explored(scenario, max_deviations=2, max_schedules=500).verdict == "incomplete"
    assert orders == {"012", "021", "102", "120", "201", "210"}


def test_each_event_of_a_connection_is_recorded_for_what_it_is() -> None:
    """Also the second of two connections that one callback accepts."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, HOST, 80):
            await asyncio.gather(ask(80, b"one\n"), ask(80, b"two\n"))
        raise AssertionError

    events: dict[str, list[NetworkEvent]] = {}
    for step in explored(scenario).failure.trace.steps:
        if step.detail.network is not None:
            events.setdefault(step.task, []).append(step.detail.network)
    place = f"{HOST}:80"
    for name, data in (("ask", b"one\n"), ("ask#2", b"two\n")):
        assert events[f"{name}:sent"][:2] == [
            NetworkEvent("connection", place),
            NetworkEvent("data", place, 4, data),
        ]
        assert events[f"{name}:received"] == [
            NetworkEvent("established", place),
            NetworkEvent("data", place, 4, data.upper()),
        ]


def test_server_that_is_closed_while_it_accepts_leaves_no_warning() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, HOST, 80)
        _, writer = await asyncio.open_connection(HOST, 80)
        server.close()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert explored(scenario).verdict in ("bounded", "exhaustive")
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_what_arrives_at_one_socket_keeps_its_order() -> None:
    received = set()

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for part in (b"one ", b"two ", b"three"):
                writer.write(part)
                await asyncio.sleep(0)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, HOST, 80):
            reader, writer = await asyncio.open_connection(HOST, 80)
            parts = []
            while part := await reader.read(100):
                parts.append(part)
            writer.close()
            await writer.wait_closed()
        received.add(tuple(parts))

    assert explored(scenario, max_deviations=2).verdict == "bounded"
    assert {b"".join(parts) for parts in received} == {b"one two three"}
    assert len(received) > 1  # more arrives at once if it is late


@pytest.mark.parametrize("way", ["fileno", "socket", "dup", "detach"])
def test_descriptor_is_ready_when_the_socket_is(way: str) -> None:
    """Also if it becomes known only after data has arrived, and in whatever way."""

    async def scenario() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 80):
            end = socket.socket()
            end.setblocking(False)
            await asyncio.get_running_loop().sock_connect(end, (HOST, 80))
            await asyncio.sleep(1)
            kept = end.dup() if way == "dup" else socket.socket(fileno=end.detach()) if way == "detach" else end
            poll = select.poll()
            poll.register(kept if way == "socket" else kept.fileno(), select.POLLIN)
            assert len(poll.poll(0)) == 1
            assert kept.recv(1) == b""
            kept.close()
            end.close()

    assert explored(scenario, max_deviations=1).failure is None


def test_late_data_is_not_seen_by_code_that_polls_the_descriptor() -> None:
    """As httpcore does, to find out if a server has closed an idle connection."""
    seen = set()

    async def scenario() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 80) as server:
            assert server.is_serving()
            reader, writer = await asyncio.open_connection(HOST, 80)
            await asyncio.sleep(0)
            poll = select.poll()
            poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
            is_readable = bool(poll.poll(0))
            seen.add((is_readable, reader.at_eof()))
            await reader.read()
            writer.close()
            await writer.wait_closed()

    explored(scenario)
    assert (False, True) not in seen
    assert len(seen) > 1


def test_connecting_suspends_and_can_be_late() -> None:
    """A timeout can strike while a connection is made, as on a real network."""
    winners = set()

    async def scenario() -> None:
        async def connect(name: str) -> str:
            _, writer = await asyncio.open_connection(HOST, 80)
            writer.close()
            await writer.wait_closed()
            return name

        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 80):
            tasks = {asyncio.create_task(connect(name), name=name) for name in ("first", "second")}
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            winners.update(task.result() for task in done)
            await asyncio.wait(tasks)
            await asyncio.sleep(1)  # the server closes its ends

    explored(scenario, max_deviations=1)
    assert winners == {"first", "second"}


def test_failing_schedule_names_the_connection_by_the_task_that_made_it() -> None:
    async def scenario() -> None:
        served = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.append(await reader.readline())
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, HOST, 80):
            await asyncio.gather(ask(80, b"1\n"), ask(80, b"2\n"))
        assert served == [b"1\n", b"2\n"]

    failure = explored(scenario).failure
    assert str(failure.schedule) == "ask#1:received+1"
    assert explored(scenario, replay=failure.schedule).verdict == "failed"


def test_real_server_is_refused_with_its_address(real_server: socket.socket) -> None:
    port = real_server.getsockname()[1]

    async def scenario() -> None:
        await asyncio.open_connection(HOST, port)

    with pytest.raises(UncontrolledOperation, match=f"the test talks to {HOST}:{port}, a real server"):
        explored(scenario)
    real_server.setblocking(False)
    with pytest.raises(BlockingIOError):
        real_server.accept()


def test_a_port_of_the_test_stays_its_own_after_it_was_closed(real_server: socket.socket) -> None:
    """Another process may listen at the same number; the test does not mean that one."""
    port = real_server.getsockname()[1]

    async def scenario() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, port):
            pass
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)

    assert explored(scenario).failure is None


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_other_machine_is_refused_with_its_address(host: str) -> None:
    async def scenario() -> None:
        await asyncio.open_connection(host, 80)

    with pytest.raises(UncontrolledOperation, match="which is outside this machine") as raised:
        explored(scenario)
    assert host in str(raised.value)


def test_name_of_another_machine_is_refused_before_it_is_resolved() -> None:
    async def scenario() -> None:
        await asyncio.open_connection("server.invalid", 80)

    with pytest.raises(UncontrolledOperation, match="the test talks to server.invalid, which is outside"):
        explored(scenario)


def test_real_receiver_of_datagrams_is_refused_with_its_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        to = receiver.getsockname()

        async def scenario() -> None:
            await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=to)

        with pytest.raises(UncontrolledOperation, match=f"{HOST}:{to[1]}, a real server"):
            explored(scenario)


def test_refusal_counts_even_if_the_program_catches_it() -> None:
    async def scenario() -> None:
        with pytest.raises(UncontrolledOperation):
            await asyncio.open_connection("192.0.2.1", 80)

    with pytest.raises(UncontrolledOperation):
        explored(scenario)


def test_port_without_a_listener_refuses_connections() -> None:
    async def scenario() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, 1)

    assert explored(scenario).verdict == "exhaustive"


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_failure_says_that_nothing_in_the_test_listens_there(is_wrapped: bool) -> None:
    async def scenario() -> None:
        try:
            await asyncio.open_connection(HOST, 1)
        except ConnectionRefusedError:
            if not is_wrapped:
                raise
            raise RuntimeError("no service") from None

    error = explored(scenario).failure.error
    assert error.__notes__[0] == "A connection was refused: nothing in the test listens at 127.0.0.1:1."


def test_other_failure_says_nothing_of_connections() -> None:
    async def scenario() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, 1)
        raise RuntimeError

    assert "refused" not in explored(scenario).failure.error.__notes__[0]


def test_localhost_is_resolved_as_on_this_machine() -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0) as server:
            reader, writer = await asyncio.open_connection("localhost", server.sockets[0].getsockname()[1])
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    assert explored(scenario, max_deviations=1).verdict == "bounded"


def test_listener_bound_before_the_run_is_served_in_the_process() -> None:
    """For as long as a run lasts: afterwards it is as before."""
    with socket.create_server((HOST, 0)) as bound:
        port = bound.getsockname()[1]

        async def scenario() -> None:
            async with await asyncio.start_server(lambda _, writer: writer.close(), sock=bound.dup()):
                reader, writer = await asyncio.open_connection(HOST, port)
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()

        assert explored(scenario, max_deviations=1).verdict == "bounded"
        with socket.create_connection((HOST, port)):
            bound.accept()[0].close()


def test_blocking_socket_is_refused_instead_of_blocking_the_loop() -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, HOST, 80):
            with socket.create_connection((HOST, 80)) as sock:
                sock.recv(1)

    with pytest.raises(UncontrolledOperation, match=r"the test calls recv\(\) of a socket that blocks"):
        explored(scenario)


def test_blocking_tls_is_refused_instead_of_waiting_forever() -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, HOST, 80):
            with socket.create_connection((HOST, 80)) as sock:
                ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")

    with pytest.raises(UncontrolledOperation, match=r"wrap_socket\(\) reads from the descriptor"):
        explored(scenario)


def test_pipes_and_pairs_of_sockets_work() -> None:
    received = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        pipe = os.fdopen(read_end, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        os.write(write_end, b"through a pipe\n")
        received.append(await reader.readline())
        os.close(write_end)
        transport.close()

        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        reading = asyncio.create_task(loop.sock_recv(one, 100))
        await loop.sock_sendall(other, b"through a pair")
        received.append(await reading)
        one.close()
        other.close()
        await asyncio.sleep(0)

    assert explored(scenario, max_deviations=1).verdict in ("bounded", "exhaustive")
    assert set(received) == {b"through a pipe\n", b"through a pair"}


def test_unix_sockets_work(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def scenario() -> None:
        path.unlink(missing_ok=True)
        async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    assert explored(scenario, max_deviations=1).verdict in ("bounded", "exhaustive")


class Process(NamedTuple):
    """What a process has that an exploration must not change."""

    descriptors: set[Path]
    threads: list[threading.Thread]
    methods: dict[str, Any]
    functions: tuple[Any, ...]

    @classmethod
    def now(cls) -> "Process":
        functions = socket.getaddrinfo, os.sendfile
        descriptors = set(Path("/proc/self/fd").iterdir())
        return cls(descriptors, threading.enumerate(), dict(vars(socket.socket)), functions)


async def open_and_forget() -> None:
    """Leave a server, a connection and a datagram socket open."""
    loop = asyncio.get_running_loop()
    await loop.create_server(asyncio.Protocol, HOST, 80)
    await loop.create_connection(asyncio.Protocol, HOST, 80)
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (HOST, 80))


MANY = 10_000 if sys.version_info < (3, 12) else 1000
"""One version with many runs is enough."""


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_left_after_many_runs() -> None:
    """Neither a descriptor, nor a port, a thread or a replaced method."""
    before = Process.now()

    async def scenario() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 81):
            await asyncio.gather(*[asyncio.open_connection(HOST, 81) for _ in range(2)])
        await open_and_forget()

    assert explored(scenario, max_deviations=9, max_schedules=MANY).runs == MANY
    gc.collect()
    assert Process.now() == before
    assert SOCKETS == {}


@pytest.mark.usefixtures("interruptible")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_left_after_ctrl_c() -> None:
    before, runs = Process.now(), []

    async def scenario() -> None:
        runs.append(1)
        await open_and_forget()
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0), asyncio.sleep(0))
        if len(runs) == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        explored(scenario, arrivals=["network", "yield"])
    gc.collect()
    assert Process.now() == before
    assert SOCKETS == {}


def test_sockets_of_other_threads_stay_real(real_server: socket.socket) -> None:
    """A thread from before the exploration, such as a debugger's, uses real ones."""
    wanted, done = threading.Event(), threading.Event()

    def work() -> None:
        wanted.wait(10)
        with socket.create_connection(real_server.getsockname()):
            done.set()

    thread = threading.Thread(target=work, name="pydevd")
    thread.start()

    async def scenario() -> None:
        wanted.set()
        done.wait(10)

    explored(scenario)
    thread.join()
    real_server.accept()[0].close()


def test_tasks_that_a_protocol_starts_can_be_delayed() -> None:
    """Their names contain that of the event in which they were started."""

    async def scenario() -> None:
        ended: list[int] = []

        async def job(number: int) -> None:
            await asyncio.sleep(1)
            ended.append(number)

        class Server(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                tasks.extend(asyncio.create_task(job(number)) for number in data)

        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Server, HOST, 80):
            _, writer = await asyncio.open_connection(HOST, 80)
            writer.write(bytes([1, 2]))
            await asyncio.sleep(0.1)
            await asyncio.gather(*tasks)
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(1)
        assert ended == [1, 2]

    failure = explored(scenario, arrivals="sleep").failure
    assert str(failure.schedule) == "main:sent/job#1@1+1"
    assert explored(scenario, arrivals="sleep", replay=str(failure.schedule)).verdict == "failed"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_system_without_such_sockets_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: code that opens sockets is refused, and all other code is explored."""
    for module in ("_explore.network_of_loop", "_explore.determinism"):
        monkeypatch.setattr(f"pytest_background_tasks.{module}.IS_SUPPORTED", False)

    async def serve() -> None:
        await asyncio.start_server(print, HOST, 0)

    async def sleep() -> None:
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(1))

    with pytest.raises(UncontrolledOperation, match="sockets in memory need Linux or macOS"):
        explored(serve)
    gc.collect()  # asyncio has left a socket open
    assert explored(sleep, arrivals="sleep").verdict == "exhaustive"
