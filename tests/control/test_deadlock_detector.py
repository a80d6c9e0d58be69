"""Waiting for a held task indirectly raises an error at once (rule 4)."""

import asyncio
import contextlib
import threading
import time
import unittest
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient

from pytest_background_tasks import BackgroundTasks, BackgroundTasksTimeout, DeadlockError


async def set_event(event: asyncio.Event) -> None:
    event.set()


async def test_waiting_for_an_event_that_a_held_task_would_set(background_tasks: BackgroundTasks) -> None:
    """The error is raised at the line that waits, and names the held task and the line that created it."""
    background_tasks.start_capturing()
    done = asyncio.Event()
    task = asyncio.create_task(set_event(done))
    with pytest.raises(DeadlockError) as caught:
        await done.wait()
    message = str(caught.value)
    assert "held: set_event" in message
    assert "the test waits at tests/control/test_deadlock_detector.py:" in message
    assert "test_waiting_for_an_event" in message
    assert "run_all_async()" in message
    assert "start_capturing(ignore='set_event')" in message
    await task


async def test_joining_a_queue_that_a_held_task_would_empty(background_tasks: BackgroundTasks) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.put_nowait(1)

    async def empty() -> None:
        await queue.get()
        queue.task_done()

    with background_tasks.capturing():
        asyncio.create_task(empty())
        with pytest.raises(DeadlockError, match=r"held: .*empty"):
            await queue.join()
        await background_tasks.run_all_async()
        await queue.join()


async def test_running_a_task_that_waits_for_a_held_task_is_a_deadlock(background_tasks: BackgroundTasks) -> None:
    """Running one of two tasks that need each other fails at once, and the error says where that task waits."""
    event = asyncio.Event()

    async def wait_for_it() -> None:
        await event.wait()

    background_tasks.start_capturing()
    asyncio.create_task(wait_for_it())
    asyncio.create_task(set_event(event))
    with pytest.raises(DeadlockError, match=r"wait_for_it"):
        await background_tasks.run_async(wait_for_it)
    await background_tasks.run_all_async()
    assert event.is_set()
    assert [task.state for task in background_tasks.captured_tasks] == ["done", "done"]


async def test_running_method_keeps_its_own_timeout(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This timeout may be longer than the silence after which a test counts as deadlocked."""
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.1)
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    asyncio.create_task(asyncio.to_thread(time.sleep, 0.4))
    assert await background_tasks.run_async("to_thread", timeout=5) == [None]


async def test_no_deadlock_error_while_awaited_tasks_sleep(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a group or a gather, a test may sleep longer than that silence, as if it slept itself."""
    monkeypatch.setattr("pytest_background_tasks._control.deadlock_detector._LONG_POLL_INTERVAL", 0.05)
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.1)
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    await asyncio.gather(asyncio.sleep(0.4), asyncio.sleep(0.4))
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0.4))


def test_deadlock_in_asyncio_run_of_a_def_test(background_tasks: BackgroundTasks) -> None:
    async def main() -> None:
        event = asyncio.Event()
        asyncio.create_task(set_event(event))
        await event.wait()

    background_tasks.start_capturing()
    with pytest.raises(DeadlockError, match="held: set_event"):
        asyncio.run(main())


def test_deadlock_in_a_thread_that_the_test_joins(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread gets the error after the timeout; the test does not wait forever."""
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.1)
    background_tasks.start_capturing()

    async def main() -> None:
        event = asyncio.Event()
        asyncio.create_task(set_event(event))
        with pytest.raises(DeadlockError, match="held: set_event") as raised:
            await event.wait()
        errors.append(raised.value)

    errors: list[Exception] = []
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert len(errors) == 1


def make_app() -> FastAPI:
    app = FastAPI()
    app.state.ready = asyncio.Event()

    @app.get("/")
    async def wait() -> None:
        asyncio.create_task(set_event(app.state.ready))
        await app.state.ready.wait()

    @app.get("/slow")
    async def answer_slowly() -> None:
        await asyncio.sleep(0.5)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        asyncio.create_task(websocket.send_text("later"))
        await websocket.receive_text()

    return app


@pytest.mark.parametrize("portal", [False, True], ids=["request", "with"])
def test_deadlock_in_an_endpoint_behind_a_test_client(background_tasks: BackgroundTasks, portal: bool) -> None:
    """The endpoint gets the error, and through the client, so does the test."""
    background_tasks.start_capturing()
    client = TestClient(make_app())
    with pytest.raises(DeadlockError, match="held: set_event"):
        if portal:
            with client:
                client.get("/")
        else:
            client.get("/")


def test_deadlock_of_a_websocket_that_waits_for_a_held_task(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    with pytest.raises(DeadlockError, match="held: WebSocket.send_text"):
        with TestClient(make_app()).websocket_connect("/ws") as websocket:
            websocket.receive_text()


def test_no_deadlock_error_while_a_portal_waits_for_the_test(background_tasks: BackgroundTasks) -> None:
    """While the test's thread has something to do, the idle loop of its client is not a deadlock."""
    background_tasks.start_capturing()
    with TestClient(make_app()).websocket_connect("/ws") as websocket:
        threading.Event().wait(0.2)
        background_tasks.run_all_sync()
        assert websocket.receive_text() == "later"
        websocket.send_text("thanks")


def test_no_deadlock_error_while_a_slow_test_is_at_work(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds however long the test's thread is at work (in a debugger, say)."""
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.1)
    background_tasks.start_capturing()
    with TestClient(make_app()).websocket_connect("/ws") as websocket:
        time.sleep(0.5)
        background_tasks.run_all_sync()
        assert websocket.receive_text() == "later"
        websocket.send_text("thanks")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(make_app()) as client:
        client.get("/slow")
        yield client


def test_no_deadlock_error_while_a_client_waits_for_another_loop(
    client: TestClient, background_tasks: BackgroundTasks
) -> None:
    """The test waits for the loop of an older client; the other loop is silent meanwhile."""
    background_tasks.start_capturing()
    with TestClient(make_app()).websocket_connect("/ws") as websocket:
        client.get("/slow")
        websocket.send_text("thanks")


async def test_no_deadlock_error_without_held_tasks(background_tasks: BackgroundTasks) -> None:
    """After the held tasks have run, the detector does not concern itself with waiting."""
    background_tasks.start_capturing()

    async def never() -> None:
        await asyncio.Event().wait()

    asyncio.create_task(never())
    with pytest.raises(BackgroundTasksTimeout, match="never"):
        await background_tasks.run_all_async(timeout=0.05)


def test_swallowed_deadlock_error_fails_the_test(pytester: pytest.Pytester) -> None:
    """A test fails even if the code under test swallows the error."""
    pytester.makepyfile(
        """
        import asyncio, pytest

        async def swallow(event):
            try:
                await event.wait()
            except Exception:
                pass

        @pytest.mark.asyncio
        async def test_it(background_tasks):
            background_tasks.start_capturing()
            event = asyncio.Event()
            asyncio.create_task(asyncio.sleep(0))
            await swallow(event)

        @pytest.mark.asyncio
        async def test_stubborn(background_tasks):
            background_tasks.start_capturing()
            event = asyncio.Event()
            asyncio.create_task(asyncio.sleep(0))
            await swallow(event)
            await swallow(event)

        @pytest.mark.asyncio
        async def test_other_failure(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.sleep(0))
            await swallow(asyncio.Event())
            raise ValueError("other")
        """
    )
    result = pytester.runpytest_inprocess(
        "-p", "no:randomly", "-Werror", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*DeadlockError: every task is blocked*", "*held: sleep*"])
    result.stdout.fnmatch_lines(["*ValueError: other*", "*before that: every task is blocked*"])


async def test_deadlock_error_is_raised_at_every_blocked_line(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(set_event(asyncio.Event()))
    with pytest.raises(DeadlockError):
        await asyncio.Event().wait()
    with pytest.raises(DeadlockError):
        await asyncio.Event().wait()


class TestUnittest(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _take(self, background_tasks: BackgroundTasks) -> None:
        self.background_tasks = background_tasks

    async def test_deadlock_error_is_caught_by_assert_raises(self) -> None:
        self.background_tasks.start_capturing()
        asyncio.create_task(set_event(asyncio.Event()))
        with self.assertRaisesRegex(DeadlockError, "held: set_event"):  # noqa: PT027
            await asyncio.Event().wait()


def test_deadlock_error_is_raised_in_every_loop(background_tasks: BackgroundTasks) -> None:
    """In a Hypothesis test, each example runs in a new loop."""

    async def main() -> None:
        asyncio.create_task(set_event(asyncio.Event()))
        await asyncio.Event().wait()

    background_tasks.start_capturing()
    for _ in range(5):
        with pytest.raises(DeadlockError):
            asyncio.run(main())


def test_code_that_swallows_the_deadlock_error_is_cancelled(background_tasks: BackgroundTasks) -> None:
    """A worker that swallows the error and waits again is cancelled a few times, and then left waiting."""
    caught: list[type[BaseException]] = []

    async def worker() -> None:
        while len(caught) < 3:
            try:
                await asyncio.Event().wait()
            except BaseException as error:
                caught.append(type(error))
        asyncio.get_running_loop().call_later(0.01, done.set)
        await done.wait()

    async def main() -> None:
        asyncio.create_task(set_event(asyncio.Event()))
        await worker()

    done = asyncio.Event()
    background_tasks.start_capturing()
    asyncio.run(main())
    assert caught == [DeadlockError, asyncio.CancelledError, asyncio.CancelledError]


def test_deadlock_on_uvloop_is_detected_after_inactivity(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop exposes neither its queue nor its timers; a test that sleeps gets no error."""

    async def main() -> None:
        event = asyncio.Event()
        asyncio.create_task(set_event(event))
        await asyncio.sleep(0.5)
        with pytest.raises(DeadlockError, match=r"(?s)held: set_event.*for 0.2 s from uvloop"):
            await event.wait()
        await background_tasks.run_all_async()
        await event.wait()

    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.2)
    background_tasks.start_capturing()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_heartbeat_does_not_hide_a_deadlock(background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers that wake other tasks delay the error, but do not prevent it."""
    app = make_app()

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        beating = asyncio.create_task(beat())
        yield
        beating.cancel()

    app.router.lifespan_context = lifespan
    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.1)
    background_tasks.start_capturing(ignore=beat)
    with TestClient(app) as client:
        with pytest.raises(DeadlockError, match="held: .*send_text"):
            with client.websocket_connect("/ws") as websocket:
                websocket.receive_text()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_thread_waiting_for_a_held_task_does_not_block_loop_close(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch, new_loop: Any
) -> None:
    """The test gets the error; then the thread's wait ends cancelled, and the runner can end."""
    outcomes: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def wait_in_thread() -> None:
            try:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
            except BaseException as error:
                outcomes.append(type(error).__name__)

        await asyncio.to_thread(wait_in_thread)

    monkeypatch.setattr(background_tasks._context.detector, "_limit", 0.1)
    background_tasks.start_capturing("sleep")
    with pytest.raises(DeadlockError), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert outcomes == ["CancelledError"]
