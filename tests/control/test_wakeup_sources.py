"""An idle loop is not deadlocked while a timer, a thread, a process, a peer or a signal may wake it."""

import asyncio
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import ClientSession, web

from pytest_background_tasks import BackgroundTasks, DeadlockError


async def set_event(event: asyncio.Event) -> None:
    event.set()


async def test_no_deadlock_error_while_a_timer_is_pending(background_tasks: BackgroundTasks) -> None:
    """A timeout of the test itself is not a deadlock."""
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.05)


async def test_no_deadlock_error_while_a_thread_is_running(background_tasks: BackgroundTasks) -> None:
    """The detector waits for a thread that was started through asyncio, through anyio, or directly."""
    anyio_to_thread = pytest.importorskip("anyio.to_thread")
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    gate = threading.Event()
    threading.Timer(0.1, gate.set).start()
    assert await asyncio.to_thread(gate.wait, 10)
    gate.clear()
    threading.Timer(0.1, gate.set).start()
    assert await anyio_to_thread.run_sync(gate.wait, 10)
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    threading.Timer(0.1, loop.call_soon_threadsafe, [event.set]).start()
    await event.wait()


class Database:
    """A database that works in its own thread and answers through the loop, like aiosqlite."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[None], float] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, seconds = call
            threading.Event().wait(seconds)
            future.get_loop().call_soon_threadsafe(future.set_result, None)

    async def execute(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, seconds))
        await future

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    database = Database()
    asyncio.run(database.execute(0))
    yield database
    database.close()


async def test_no_deadlock_error_while_an_earlier_thread_is_at_work(
    database: Database, background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector waits while the thread is at work, and no longer when it has nothing to do."""
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    await database.execute(0)
    await database.execute(0.3)
    # At once if the thread is back at its position before the test, else after the limit.
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 1)
    with pytest.raises(DeadlockError):
        await asyncio.Event().wait()


async def test_no_deadlock_error_for_a_worker_that_was_just_given_work(background_tasks: BackgroundTasks) -> None:
    """The worker looks idle, because it has not begun its work yet."""
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(5):
            await asyncio.wait([loop.run_in_executor(pool, threading.Event().wait, 0.05)])


async def test_no_deadlock_error_while_a_child_process_is_running(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    process = await asyncio.create_subprocess_exec("sleep", "0.1", stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b""
    assert process.returncode == 0


async def test_no_deadlock_error_while_a_peer_may_send_data(background_tasks: BackgroundTasks) -> None:
    """The detector waits for a connection to a peer outside the loop."""
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1)
                peer.sendall(b"!")

        thread = threading.Thread(target=answer)
        thread.start()
        reader, writer = await asyncio.open_connection(*server.getsockname())
        writer.write(b"?")
        assert await reader.read() == b"!"
        writer.close()
        await writer.wait_closed()
        thread.join()


def python(code: str, *files: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], pass_fds=files)


async def test_no_deadlock_error_while_a_process_may_connect(background_tasks: BackgroundTasks) -> None:
    """The loop does not know the process, which was started with ``subprocess`` or ``multiprocessing``."""
    connected = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        background_tasks.start_capturing()
        asyncio.create_task(set_event(asyncio.Event()))
        address = server.sockets[0].getsockname()
        with python(f"import socket, time; time.sleep(0.5); socket.create_connection({address})"):
            await connected.wait()


async def test_no_deadlock_error_while_a_datagram_may_arrive(background_tasks: BackgroundTasks) -> None:
    """Any peer may send it, because the socket has none."""
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.setblocking(False)
        send = f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'!', {here.getsockname()})"
        with python(f"import socket, time; time.sleep(0.5); {send}"):
            assert await loop.sock_recv(here, 1) == b"!"


async def test_no_deadlock_error_while_a_signal_may_arrive(background_tasks: BackgroundTasks) -> None:
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGALRM, rung.set)
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    await rung.wait()
    loop.remove_signal_handler(signal.SIGALRM)


async def test_no_deadlock_error_while_a_socket_pair_has_an_external_end(background_tasks: BackgroundTasks) -> None:
    """Neither end of a pair has a name; if both are in this loop, no event is possible."""
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        code = f"import os, time; time.sleep(0.5); os.write({there.fileno()}, b'!')"
        with python(code, there.fileno()):
            assert await loop.sock_recv(here, 1) == b"!"
        there.setblocking(False)
        loop.add_reader(there, list)
        with pytest.raises(DeadlockError) as caught:
            await loop.sock_recv(here, 1)
        loop.remove_reader(there)
    assert "nothing has come" not in str(caught.value)


async def test_connection_with_both_ends_in_one_loop_is_a_deadlock(background_tasks: BackgroundTasks) -> None:
    """A handler that waits for a held task, and a client that waits for the handler, are a deadlock."""
    ready = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await ready.wait()
        finally:
            writer.close()

    background_tasks.start_capturing()
    asyncio.create_task(set_event(ready))
    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with pytest.raises(DeadlockError, match="held: set_event"):
            await reader.read()
        await background_tasks.run_all_async()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_deadlock_between_an_aiohttp_client_and_server(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sets a timer of five minutes; the error still comes, after the timeout of a running method."""
    ready = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await ready.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.3)
    background_tasks.start_capturing()
    asyncio.create_task(set_event(ready))
    async with ClientSession() as session:
        with pytest.raises(DeadlockError, match=r"(?s)held: set_event.*no event for 0.3 s from a timer"):
            await session.get(f"http://{host}:{port}/")
        await background_tasks.run_all_async()
        async with session.get(f"http://{host}:{port}/") as response:
            assert await response.text() == "done"
    await runner.cleanup()
