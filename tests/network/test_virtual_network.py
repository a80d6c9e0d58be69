"""The fixture `virtual_network`: servers and clients of an ordinary test talk to each other in its process."""

import asyncio
import multiprocessing
import os
import smtplib
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Client, Listener
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from pytest_background_tasks import BackgroundTasksError, Explorer, VirtualNetwork, VirtualTime
from pytest_background_tasks._network.network import SOCKETS

HOST = "127.0.0.1"
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"
EACH_RUNNER = pytest.mark.parametrize("runner", ["pytest-asyncio", "anyio", "aiohttp", "unittest"])


@pytest.fixture
def real_server() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as server:
        yield server


@pytest.fixture
def real_receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        receiver.settimeout(3)
        yield receiver


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())
    writer.close()
    await writer.wait_closed()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"hello\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_server_and_client_talk_without_a_real_port(virtual_network: VirtualNetwork) -> None:
    import _socket

    async with await asyncio.start_server(answer, HOST, 8080):
        outside = _socket.socket()
        assert outside.connect_ex((HOST, 8080)) != 0
        outside.close()
        assert await ask(8080) == b"HELLO\n"


async def test_addresses_that_listen_are_known(virtual_network: VirtualNetwork) -> None:
    assert virtual_network.listening == ()
    async with await asyncio.start_server(answer, HOST, 0), await asyncio.start_server(answer, "::1", 8080):
        assert virtual_network.listening == ((HOST, 49_152), ("::1", 8080, 0, 0))
        assert repr(virtual_network) == "<virtual_network, ('127.0.0.1', 49152), ('::1', 8080, 0, 0) listening>"
    assert repr(virtual_network) == "<virtual_network, nothing listening>"


async def test_with_virtual_time_waiting_takes_no_time(
    virtual_network: VirtualNetwork, virtual_time: VirtualTime
) -> None:
    """A connection in use does not hold virtual time still, as a real one would."""

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)
        await answer(reader, writer)

    async with await asyncio.start_server(answer_late, HOST, 0) as server:
        async with asyncio.timeout(4000):
            assert await ask(server.sockets[0].getsockname()[1]) == b"HELLO\n"
    assert virtual_time.now == 3600


async def test_address_without_a_listener_of_the_test_is_real(
    virtual_network: VirtualNetwork, real_server: socket.socket
) -> None:
    reader, writer = await asyncio.open_connection(*real_server.getsockname())
    end = real_server.accept()[0]
    end.sendall(b"from outside")
    end.close()
    assert await reader.read() == b"from outside"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("is_bound", [False, True])
async def test_datagrams_reach_a_real_receiver_and_its_answer_comes_back(
    real_receiver: socket.socket, virtual_network: VirtualNetwork, is_bound: bool
) -> None:
    """Also of a socket that is bound, and that the loop watches already."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            received.put_nowait(data)

    to: Any = real_receiver.getsockname()
    loop = asyncio.get_running_loop()
    where: dict[str, Any] = {"local_addr": (HOST, 0)} if is_bound else {"remote_addr": to}
    transport, _ = await loop.create_datagram_endpoint(Client, **where)
    own = transport.get_extra_info("socket").getsockname()
    transport.sendto(b"question", to if is_bound else None)
    question, sender = real_receiver.recvfrom(100)
    assert (question, sender[0]) == (b"question", HOST)
    if is_bound:
        assert sender == own
    real_receiver.sendto(b"answer", sender)
    assert await asyncio.wait_for(received.get(), 3) == b"answer"
    transport.close()


async def test_real_server_at_a_port_that_a_server_of_the_test_has_left(
    real_server: socket.socket, virtual_network: VirtualNetwork
) -> None:
    with socket.create_server(real_server.getsockname()):
        pass
    with socket.create_connection(real_server.getsockname(), timeout=3):
        pass


async def test_port_without_any_listener_refuses_connections(virtual_network: VirtualNetwork) -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, 1)


def test_blocking_client_in_a_thread_talks_to_the_server_of_the_loop(virtual_network: VirtualNetwork) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"found")

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urllib.request.urlopen(f"http://{HOST}:{server.server_port}/", timeout=10) as response:
            assert response.read() == b"found"
        thread.join()


async def test_blocking_client_of_smtp_in_a_thread(virtual_network: VirtualNetwork) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            writer.write(b"221 bye\r\n" if line.lower().startswith(b"quit") else b"250 fine\r\n")
        writer.close()
        await writer.wait_closed()

    def deliver(port: int) -> tuple[int, bytes]:
        with smtplib.SMTP(HOST, port, timeout=10) as client:
            return client.noop()

    async with await asyncio.start_server(greet, HOST, 0) as server:
        assert await asyncio.to_thread(deliver, server.sockets[0].getsockname()[1]) == (250, b"fine")
        await asyncio.sleep(0.01)


def test_explorer_inside_the_test_has_a_network_of_its_own(virtual_network: VirtualNetwork) -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(answer, HOST, 8080):
            assert await ask(8080) == b"HELLO\n"

    with socket.create_server((HOST, 8080)) as server, socket.create_connection((HOST, 8080)) as client:
        assert Explorer(arrivals="network", max_deviations=1).explore(scenario).verdict == "bounded"
        assert virtual_network.listening == ((HOST, 8080),)
        with server.accept()[0] as accepted:
            accepted.sendall(b"hello")
            assert client.recv(100) == b"hello"


@pytest.mark.parametrize("is_wrapped_first", [False, True])
def test_blocking_tls_on_a_connection_in_memory_is_refused(
    virtual_network: VirtualNetwork, tls: tuple[ssl.SSLContext, ssl.SSLContext], is_wrapped_first: bool
) -> None:
    """It would wait for bytes at the descriptor, forever."""
    with socket.create_server((HOST, 0)) as server, socket.socket() as client:
        if not is_wrapped_first:
            client.connect(server.getsockname())
        with pytest.raises(BackgroundTasksError, match="wrap_socket"):
            with tls[1].wrap_socket(client, server_hostname="localhost") as wrapped:
                wrapped.connect(server.getsockname())


def test_blocking_tls_on_a_real_connection_works(
    real_server: socket.socket, virtual_network: VirtualNetwork, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    def serve() -> None:
        with tls[0].wrap_socket(real_server.accept()[0], server_side=True) as accepted:
            accepted.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with tls[1].wrap_socket(socket.socket(), server_hostname="localhost") as client:
        client.settimeout(5)
        client.connect(real_server.getsockname())
        assert client.recv(100) == b"hello"
    thread.join()


def test_blocking_socket_obeys_its_timeout(virtual_network: VirtualNetwork) -> None:
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            client.recv(1)


def blocking_ask(port: int) -> bytes:
    with socket.create_connection((HOST, port)) as client:
        client.sendall(b"hello\n")
        return client.recv(100)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that were started before the network."""
    with ThreadPoolExecutor(2) as pool:
        pool.submit(int).result()
        yield pool


@pytest.fixture
def resident(pool: ThreadPoolExecutor) -> Iterator["Queue[Any]"]:
    """A service of another test, say: it runs in a thread of the pool before and during the test."""
    calls: Queue[Any] = Queue()
    started = threading.Event()

    def serve() -> None:
        started.set()
        while (call := calls.get()) is not None:
            call()

    future = pool.submit(serve)
    started.wait()
    yield calls
    calls.put(None)
    future.result()


async def test_thread_of_a_pool_is_the_tests_while_it_works_for_it(
    pool: ThreadPoolExecutor, resident: "Queue[Any]", virtual_network: VirtualNetwork
) -> None:
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(answer, HOST, 8080):
        assert await loop.run_in_executor(pool, blocking_ask, 8080) == b"HELLO\n"
    created: Queue[socket.socket] = Queue()
    resident.put(lambda: created.put(socket.create_server((HOST, 0))))
    with created.get():
        assert virtual_network.listening == ()


def test_next_test_on_the_same_loop(pytester: pytest.Pytester) -> None:
    """The threads to which the loop sends functions are then older than the test."""
    pytester.makepyfile(
        """
        import asyncio, pytest, urllib.request

        async def answer(reader, writer):
            await reader.readline()
            writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
            writer.close()
            await writer.wait_closed()

        def get():
            with urllib.request.urlopen("http://127.0.0.1:8080/") as response:
                return response.read()

        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.asyncio(loop_scope="module")
        async def test_it(virtual_network, number):
            async with await asyncio.start_server(answer, "127.0.0.1", 8080):
                assert await asyncio.to_thread(get) == b"hello"

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="module")
        async def keeps_the_loop(anyio_backend):
            yield

        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.anyio
        async def test_anyio(virtual_network, keeps_the_loop, number):
            import anyio.to_thread
            async with await asyncio.start_server(answer, "127.0.0.1", 8080):
                assert await anyio.to_thread.run_sync(get) == b"hello"
        """
    )
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.runpytest("-p", "no:randomly").assert_outcomes(passed=4)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_sockets_of_a_forked_process_are_real(virtual_network: VirtualNetwork) -> None:
    """Those that it has inherited are closed: both processes would read from one of them."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        process = context.Process(target=serve_once, args=(sender, client))
        process.start()
        address = receiver.recv()
        with socket.create_connection(address, timeout=5) as real:
            assert real.recv(100) == b"inherited: BrokenPipeError"
        process.join()
        server.settimeout(5)
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"still there")
            assert accepted.recv(100) == b"still there"


def serve_once(sender: Any, inherited: socket.socket) -> None:
    try:
        inherited.send(b"child")
    except OSError as problem:
        result = f"inherited: {type(problem).__name__}"
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(5)
        sender.send(server.getsockname())
        with server.accept()[0] as accepted:
            accepted.sendall(result.encode())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_keeps_real_sockets(virtual_network: VirtualNetwork, method: str) -> None:
    """They lead to other processes; and it reads and writes them by their descriptors."""
    with multiprocessing.get_context(method).Manager() as manager:
        assert manager.list([1, 2])[1] == 2
    with Listener((HOST, 0)) as listener, Client(listener.address) as client, listener.accept() as accepted:
        client.send("hello")
        assert accepted.recv() == "hello"
        assert virtual_network.listening == ()


def test_nothing_is_left_after_the_test(pytester: pytest.Pytester) -> None:
    """Neither a descriptor, nor a port, nor a replaced method."""
    pytester.makepyfile(
        """
        import asyncio, gc, os, socket

        before = dict(vars(socket.socket)), os.sendfile, socket.getaddrinfo

        async def test_first(virtual_network):
            global descriptors
            descriptors = len(os.listdir("/proc/self/fd"))
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 8080)
            reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
            writer.close()
            await writer.wait_closed()
            server.close()
            await asyncio.sleep(0.01)

        async def test_second(virtual_network):
            assert len(os.listdir("/proc/self/fd")) == descriptors
            async with await asyncio.start_server(print, "127.0.0.1", 8080): pass

        def test_last():
            assert (dict(vars(socket.socket)), os.sendfile, socket.getaddrinfo) == before
        """
    )
    pytester.makeini(INI)
    pytester.runpytest("-p", "no:randomly").assert_outcomes(passed=3)
    assert SOCKETS == {}


def test_workers_of_xdist_never_collide(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.parametrize("number", range(4))
        async def test_same_port(virtual_network, number):
            async with await asyncio.start_server(print, "127.0.0.1", 8080):
                await asyncio.sleep(0.05)
        """
    )
    pytester.makeini(INI)
    pytester.runpytest("-n", "2").assert_outcomes(passed=4)


def test_loop_without_python_sockets_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import uvloop

        def test_it(virtual_network):
            loop = uvloop.new_event_loop()
            done = loop.create_future()
            done.set_result(None)
            try:
                loop.run_until_complete(done)
            finally:
                loop.close()
        """
    )
    pytester.makeini(INI)
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*BackgroundTasksError: virtual_network cannot serve uvloop.Loop: its sockets*"])


@EACH_RUNNER
def test_runner(pytester: pytest.Pytester, runner: str) -> None:
    """The fixture works under each runner."""
    body = """
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 8080)
    reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
"""
    if runner == "unittest":
        source = f"""
import asyncio, pytest, unittest

@pytest.mark.usefixtures("virtual_network")
class TestIt(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
{body.replace(chr(10) + "    ", chr(10) + "        ")}
"""
    else:
        mark = "@pytest.mark.anyio\n" if runner == "anyio" else ""
        source = f"""
import asyncio, pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

{mark}async def test_it(virtual_network):
{body}
"""
    pytester.makepyfile(source)
    plugins = {
        "pytest-asyncio": ["-p", "pytest_asyncio", "-o", "asyncio_mode=auto"],
        "anyio": ["-p", "anyio"],
        "aiohttp": ["-p", "pytest_asyncio", "-p", "aiohttp.pytest_plugin", "-o", "asyncio_mode=auto"],
        "unittest": [],
    }[runner]
    pytester.runpytest_subprocess("-p", "no:randomly", *plugins).assert_outcomes(passed=1)


def test_suite_with_the_fixture_is_explored(pytester: pytest.Pytester) -> None:
    """While exploring, the fixture shows the network of the run."""
    pytester.makepyfile(
        """
        import asyncio

        async def test_it(virtual_network):
            async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0):
                (host, port), = virtual_network.listening
                reader, writer = await asyncio.open_connection(host, port)
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
        """
    )
    pytester.makeini(INI)
    result = pytester.runpytest("--explore")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 test explored in * runs: 1 with more than one order*"])


@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_unix_sockets(virtual_network: VirtualNetwork, tmp_path: Path, kind: str) -> None:
    path: Any = tmp_path / "socket" if kind == "path" else f"\0{os.getpid()} of a test"
    async with await asyncio.start_unix_server(answer, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
