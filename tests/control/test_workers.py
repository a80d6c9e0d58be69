"""Work outside the loop is waited for, however its answer is awaited; a worker that cannot answer is not."""

import asyncio
import multiprocessing
import queue
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
import pytest

from pytest_background_tasks import BackgroundTasks, BackgroundTasksTimeout, VirtualTime
from pytest_background_tasks._control import external_activity, kernel_thread
from pytest_background_tasks._control.workers import WorkerActivity
from pytest_background_tasks._introspect import real_clock

_linux = pytest.mark.skipif(sys.platform != "linux", reason="there the kernel says which thread was woken")


def read(seconds: float = 0.02) -> str:
    """Stand in for a call that takes real time."""
    time.sleep(seconds)
    return "data"


def in_thread() -> "asyncio.Future[str]":
    return asyncio.get_running_loop().run_in_executor(None, read)


async def direct() -> str:
    return await in_thread()


async def gathered() -> str:
    return (await asyncio.gather(in_thread(), in_thread()))[1]


async def shielded() -> str:
    return await asyncio.shield(in_thread())


async def waited() -> str:
    done, _ = await asyncio.wait([in_thread()], timeout=3600)
    return done.pop().result()


async def as_completed() -> str:
    for answer in asyncio.as_completed([in_thread()], timeout=3600):
        return await answer
    raise AssertionError


async def by_callback() -> str:
    call, done = in_thread(), asyncio.Event()
    call.add_done_callback(lambda _: done.set())
    await done.wait()
    return call.result()


async def wrapped() -> str:
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.wrap_future(pool.submit(read))


async def queued() -> str:
    """The thread puts its answer into a queue."""
    loop, answers = asyncio.get_running_loop(), asyncio.Queue[str]()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(answers.put_nowait, read())).start()
    return await answers.get()


async def through_anyio() -> str:
    async with anyio.create_task_group() as group:
        answers = []

        async def ask() -> None:
            answers.append(await anyio.to_thread.run_sync(read))

        group.start_soon(ask)
    return answers[0]


async def thread_behind_thread() -> str:
    """The thread waits for the answer of another one."""
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.to_thread(lambda: pool.submit(read).result(timeout=10))


async def from_a_child_of_a_thread() -> str:
    command = [sys.executable, "-c", "import time; time.sleep(0.1); print('data', end='')"]
    return (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)).stdout


async def from_a_database() -> str:
    async with aiosqlite.connect(":memory:") as database, database.execute("SELECT 'data'") as rows:
        [(answer,)] = await rows.fetchall()
        return str(answer)


WAYS = [direct, gathered, shielded, waited, as_completed, by_callback, wrapped, queued, through_anyio]
WAYS += [thread_behind_thread, from_a_child_of_a_thread, from_a_database]


@pytest.mark.parametrize("way", WAYS)
async def test_virtual_time_waits_for_a_worker(virtual_time: VirtualTime, way: Callable[[], Awaitable[str]]) -> None:
    async with asyncio.timeout(0.001):
        assert await way() == "data"
    assert virtual_time.now == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_loop_is_not_idle_while_a_worker_works(
    background_tasks: BackgroundTasks, way: Callable[[], Awaitable[str]]
) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(way())
    await background_tasks.run_until_idle_async()
    assert task.result() == "data"


async def test_polling_an_executor_call_waits_for_it(virtual_time: VirtualTime) -> None:
    call = in_thread()
    while not call.done():
        await asyncio.sleep(1)
    assert virtual_time.now <= 1


class Worker(threading.Thread):
    """A worker that answers calls through the loop, one after the other, like aiosqlite's."""

    def __init__(self, calls: Any) -> None:
        super().__init__(daemon=True)
        self.calls = calls

    def run(self) -> None:
        while call := self.calls.get():
            function, future = call
            result = function()
            future.get_loop().call_soon_threadsafe(future.set_result, result)

    def ask(self, function: Callable[[], Any]) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        self.calls.put((function, future))
        return future


class ForWorker(Worker):
    """The same worker with a ``for`` statement."""

    def run(self) -> None:
        for function, future in iter(self.calls.get, None):
            result = function()
            future.get_loop().call_soon_threadsafe(future.set_result, result)


@pytest.fixture(scope="module", params=["Queue", "SimpleQueue", "for Queue", "for SimpleQueue"])
def old_worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """A thread that is older than the test, and has already answered a call."""
    kind, _, name = request.param.rpartition(" ")
    worker = (ForWorker if kind else Worker)(getattr(queue, name)())
    worker.start()

    async def ask() -> None:
        assert await worker.ask(lambda: 1) == 1

    asyncio.run(ask())
    yield worker
    worker.calls.put(None)
    worker.join()


async def test_virtual_time_waits_for_an_earlier_worker(old_worker: Worker, virtual_time: VirtualTime) -> None:
    """This holds whether it takes long or no time at all; between its calls, time advances."""
    for number in range(40):
        async with asyncio.timeout(0.001):
            assert await old_worker.ask(lambda number=number: number) == number
            if number % 8 == 0:
                assert await old_worker.ask(read) == "data"
        await asyncio.sleep(60)
    assert virtual_time.now == 2400


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(tmp_path / "shop.db") as database:
        await database.execute("CREATE TABLE sold (seat INTEGER)")
        yield database


async def test_virtual_time_waits_for_a_connection_of_a_fixture(
    database: aiosqlite.Connection, virtual_time: VirtualTime
) -> None:
    for number in range(20):
        async with asyncio.timeout(0.001):
            await database.execute("INSERT INTO sold VALUES (?)", (number,))
            await database.commit()
        await asyncio.sleep(60)
    assert virtual_time.now == 1200


async def test_virtual_time_waits_for_computation_and_file_io_in_threads(
    virtual_time: VirtualTime, tmp_path: Path
) -> None:
    def write() -> int:
        database = sqlite3.connect(tmp_path / "shop.db")
        database.execute("CREATE TABLE sold (seat INTEGER)")
        database.executemany("INSERT INTO sold VALUES (?)", ((number,) for number in range(5000)))
        database.commit()
        database.close()
        return sum(range(500_000))

    async with asyncio.timeout(0.001):
        await asyncio.gather(*[asyncio.to_thread(write) if not number else in_thread() for number in range(4)])
    assert virtual_time.now == 0


def square(number: int) -> int:
    time.sleep(0.1)
    return number * number


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(square, 1).result()
        yield pool


@pytest.mark.parametrize("is_shielded", [False, True])
async def test_virtual_time_waits_for_a_process_pool(
    processes: Executor, virtual_time: VirtualTime, is_shielded: bool
) -> None:
    async with asyncio.timeout(0.001):
        call = asyncio.get_running_loop().run_in_executor(processes, square, 3)
        assert await (asyncio.shield(call) if is_shielded else call) == 9
    await asyncio.sleep(3600)
    assert virtual_time.now == 3600


async def test_virtual_time_waits_for_a_multiprocessing_pool(virtual_time: VirtualTime) -> None:
    loop = asyncio.get_running_loop()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answer = loop.create_future()
        pool.apply_async(square, (3,), callback=partial(loop.call_soon_threadsafe, answer.set_result))
        async with asyncio.timeout(0.001):
            assert await answer == 9
        pool.close()
        pool.join()
    assert virtual_time.now == 0


async def test_loop_is_not_idle_while_a_process_pool_works(
    processes: Executor, background_tasks: BackgroundTasks
) -> None:
    background_tasks.start_capturing()
    call = asyncio.get_running_loop().run_in_executor(processes, square, 4)
    await background_tasks.run_until_idle_async()
    assert call.result() == 16


async def answer_after(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 42


def by_run_coroutine_threadsafe(loop: asyncio.AbstractEventLoop, seconds: float) -> int:
    return asyncio.run_coroutine_threadsafe(answer_after(seconds), loop).result(timeout=20)


def by_from_thread(_: object, seconds: float) -> int:
    return anyio.from_thread.run(answer_after, seconds)


def by_event(loop: asyncio.AbstractEventLoop, seconds: float) -> int:
    answered = threading.Event()
    loop.call_soon_threadsafe(loop.call_later, seconds, answered.set)
    return 42 if answered.wait(timeout=20) else 0


def by_lock(loop: asyncio.AbstractEventLoop, seconds: float) -> int:
    lock = threading.Lock()
    with lock:
        loop.call_soon_threadsafe(loop.call_later, seconds, lock.release)
        lock.acquire()
    return 42


@pytest.mark.parametrize("seconds", [0, 60])
@pytest.mark.parametrize("ask", [by_run_coroutine_threadsafe, by_from_thread, by_event, by_lock])
async def test_time_advances_while_a_thread_waits_for_the_loop(
    virtual_time: VirtualTime, ask: Callable[[asyncio.AbstractEventLoop, float], int], seconds: float
) -> None:
    assert await anyio.to_thread.run_sync(ask, asyncio.get_running_loop(), seconds) == 42
    assert virtual_time.now == seconds


@_linux
async def test_time_advances_for_a_blocking_client_of_a_server_in_the_test(virtual_time: VirtualTime) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    def get(port: int) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            return bytes(response.read())

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        assert await asyncio.to_thread(get, server.sockets[0].getsockname()[1]) == b"ok"
    assert virtual_time.now == 60


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
@pytest.mark.parametrize("timeout", [None, 3600])
async def test_time_advances_while_a_thread_waits_for_a_queue(
    virtual_time: VirtualTime, kind: Any, timeout: float | None
) -> None:
    """The thread may belong to the loop's executor, or be a separate one."""
    items = kind()
    call = asyncio.ensure_future(asyncio.to_thread(items.get, timeout=timeout))
    thread = threading.Thread(target=items.get)
    thread.start()
    for _ in range(100):
        await asyncio.sleep(60)
    items.put("item")
    items.put("item")
    assert await call == "item"
    thread.join()
    assert virtual_time.now == 6000


@pytest.mark.parametrize("wait", [threading.Event.wait, lambda stop, seconds: time.sleep(seconds) or stop.is_set()])
async def test_time_advances_during_a_heartbeat_in_a_thread(
    virtual_time: VirtualTime, wait: Callable[[threading.Event, float], bool]
) -> None:
    stop = threading.Event()

    def beat() -> None:
        while not wait(stop, 0.01):
            pass

    thread = threading.Thread(target=beat)
    thread.start()
    await asyncio.sleep(3600)
    stop.set()
    thread.join()


async def test_time_advances_during_a_heartbeat_on_a_busy_machine(
    virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat is recognized even if it never sleeps as long as one check of the threads takes."""
    stop, beats = threading.Event(), [0]

    def beat() -> None:
        while not stop.is_set():
            beats[0] += 1
            time.sleep(0.001)

    def wait_for_a_beat() -> None:
        before = beats[0]
        while beats[0] == before:
            let_others_run()

    let_others_run = real_clock.let_others_run
    thread = threading.Thread(target=beat)
    thread.start()
    monkeypatch.setattr(real_clock, "let_others_run", wait_for_a_beat)
    await asyncio.sleep(3600)
    stop.set()
    thread.join()


class TestMessages:
    """A message about time that stands still names the reason."""

    @pytest.fixture
    def gate(self) -> Iterator[threading.Event]:
        gate = threading.Event()
        yield gate
        gate.set()

    def run(self, pytester: pytest.Pytester, source: str, seconds: float = 0.5) -> pytest.RunResult:
        """Run it in a separate process: `multiprocessing`, if imported again here, leaves a child that it forgets."""
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess(
            "-p",
            "no:randomly",
            "-o",
            "asyncio_mode=auto",
            "-o",
            "asyncio_default_fixture_loop_scope=function",
            "-o",
            f"background_tasks_timeout={seconds}",
        )

    def test_thread_that_never_ends_fails_the_test_after_the_timeout(self, pytester: pytest.Pytester) -> None:
        result = self.run(
            pytester,
            """
            import asyncio, threading, time

            finished = []

            def poll():
                while not finished:
                    time.sleep(0.01)

            async def test_it(virtual_time):
                call = asyncio.ensure_future(asyncio.to_thread(poll))
                try:
                    await asyncio.sleep(60)
                finally:
                    finished.append(1)
            """,
        )
        result.stdout.fnmatch_lines(
            [
                "E*DeadlockError: *",
                "E * the test waits at *:12 in test_it, for a sleep of 60 s (60 s left)",
                "E *Virtual time stands still because of:",
                "E *thread asyncio_0, at work at *:7 in poll",
                "E *raise background_tasks_timeout*",
            ]
        )

    def test_advance_names_a_child_process(self, pytester: pytest.Pytester) -> None:
        result = self.run(
            pytester,
            """
            import asyncio, sys

            async def test_it(virtual_time):
                child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
                waiting = asyncio.create_task(child.wait(), name="waiting")
                try:
                    await virtual_time.advance(5)
                finally:
                    child.kill()
                    await waiting
            """,
        )
        result.stdout.fnmatch_lines(
            [
                "E*BackgroundTasksTimeout: virtual_time.advance(5) did not finish within 0.5 s of real time; "
                "time stands still at 0 s because of:",
                "E *the child process *, which waiting (wait) waits for",
            ]
        )

    def test_advance_names_a_process_pool_and_its_work(self, pytester: pytest.Pytester) -> None:
        result = self.run(
            pytester,
            """
            import asyncio, multiprocessing, time
            from concurrent.futures import ProcessPoolExecutor

            async def test_it(virtual_time):
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    asyncio.get_running_loop().run_in_executor(pool, time.sleep, 2)
                    await virtual_time.advance(5)
            """,
        )
        result.stdout.fnmatch_lines(["E*a pool of processes, at work on sleep"])

    async def test_run_until_idle_names_a_thread(
        self, background_tasks: BackgroundTasks, gate: threading.Event
    ) -> None:
        def work() -> None:
            while not gate.is_set():
                time.sleep(0.005)

        background_tasks.start_capturing()
        asyncio.create_task(asyncio.shield(asyncio.to_thread(work)) and asyncio.to_thread(work))
        with pytest.raises(
            BackgroundTasksTimeout, match=r"thread asyncio_\d, at work at .*test_workers\.py:\d+ in .*work"
        ):
            await background_tasks.run_until_idle_async(timeout=0.3)
        gate.set()

    async def test_timeout_suggests_tasks_to_ignore(self, background_tasks: BackgroundTasks) -> None:
        async def beat() -> None:
            await asyncio.Event().wait()

        async def listen() -> None:
            await asyncio.Event().wait()

        background_tasks.start_capturing()
        tasks = [asyncio.create_task(job()) for job in (beat, listen, beat)]
        with pytest.raises(BackgroundTasksTimeout, match=r"start_capturing\(ignore=\['.*beat', '.*listen'\]\)"):
            await background_tasks.run_all_async(timeout=0.05)
        for task in tasks:
            task.cancel()


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a kernel that reports nothing about threads, as on macOS and Windows."""
    monkeypatch.setattr(kernel_thread, "_read", lambda *_: b"")


@pytest.mark.usefixtures("no_kernel")
class TestWithoutKernelInformation:
    """If the kernel reports nothing, a blocked worker gets a short time to answer."""

    @pytest.mark.parametrize("way", WAYS)
    async def test_worker_gets_a_grace_period(
        self, virtual_time: VirtualTime, way: Callable[[], Awaitable[str]]
    ) -> None:
        async with asyncio.timeout(0.001):
            assert await way() == "data"

    async def test_time_advances_while_a_thread_waits_for_a_queue(self, virtual_time: VirtualTime) -> None:
        items = queue.SimpleQueue[str]()
        call = asyncio.ensure_future(asyncio.to_thread(items.get))
        await asyncio.sleep(60)
        items.put("item")
        assert await call == "item"


def test_grace_period_begins_when_the_last_worker_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for the worker has yet to wake up, however long the loop has been idle."""
    looks = [WorkerActivity(("a worker",), is_any_listening=False), *[WorkerActivity((), is_any_listening=True)] * 2]
    moments = [0.0]

    class Seen:
        def activity(self, _: object) -> WorkerActivity:
            return looks.pop(0)

    monkeypatch.setattr(real_clock, "monotonic", lambda: moments[-1])
    monkeypatch.setattr(external_activity, "_thread_count", lambda: 1)
    loop = asyncio.new_event_loop()
    subject = external_activity.ExternalActivity(loop, 5.0, Seen())  # type: ignore[arg-type]
    assert subject.in_progress()
    moments.append(10.0)
    assert subject.in_progress()
    moments.append(20.0)
    assert not subject.in_progress()
    loop.close()
