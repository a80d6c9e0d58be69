"""Virtual time takes no real time, keeps the exact order, and waits for the real world."""

import asyncio
import inspect
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import anyio
import pytest
import uvloop
from aiohttp import ClientSession, ClientTimeout, web
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks import (
    BackgroundTasks,
    BackgroundTasksError,
    BackgroundTasksTimeout,
    DeadlockError,
    VirtualTime,
)


@pytest.fixture
def no_real_time() -> Iterator[None]:
    """Assert that the test takes less than half a minute, even on the busiest machine, although it sleeps for hours."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 30


@pytest.mark.usefixtures("no_real_time")
class TestTime:
    async def test_sleeping_takes_no_real_time(self, virtual_time: VirtualTime) -> None:
        assert virtual_time.now == 0
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(3600)
        assert virtual_time.now == 3600
        assert loop.time() - before == 3600

    async def test_timeouts_expire_at_their_virtual_time(self, virtual_time: VirtualTime) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.sleep(61)
        assert virtual_time.now == 60
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        assert virtual_time.now == 60.1
        with anyio.move_on_after(9.9):
            await anyio.sleep(100)
        assert virtual_time.now == 70

    async def test_timers_with_equal_deadlines_fire_in_order_of_creation(self, virtual_time: VirtualTime) -> None:
        """This holds in whatever way they were set for that moment."""
        order: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_later(10, order.append, number)
        await asyncio.sleep(5)
        for number in range(20, 40):
            loop.call_later(5, order.append, number)
        await asyncio.sleep(5)
        assert order == list(range(40))

    async def test_timers_fire_after_a_year_of_virtual_time(self, virtual_time: VirtualTime) -> None:
        """By then, the loop's resolution is less than the distance to the next float."""
        for _ in range(3):
            await asyncio.sleep(365 * 86400)
            await asyncio.sleep(0.5)
        assert round(virtual_time.now, 3) == 3 * 365 * 86400 + 1.5
        await virtual_time.advance(365 * 86400)

    async def test_cancelled_timers_are_skipped(self, virtual_time: VirtualTime) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(200):
            loop.call_later(1, list).cancel()
        virtual_time.autojump = False
        await virtual_time.advance(10)
        assert virtual_time.now == 10

    async def test_timer_rescheduled_for_now_advances_time(self, virtual_time: VirtualTime) -> None:
        """aiohttp's keep-alive does this until its moment has passed."""
        loop = asyncio.get_running_loop()
        close_at = loop.time() + 15
        closed = asyncio.Event()

        def check() -> None:
            if loop.time() <= close_at:
                loop.call_at(close_at, check)
            else:
                closed.set()

        loop.call_at(close_at, check)
        await closed.wait()
        assert virtual_time.now == 15

    async def test_wall_clock_is_unchanged(self, virtual_time: VirtualTime) -> None:
        before = time.time()
        await asyncio.sleep(3600)
        assert time.time() - before < 60

    @pytest.mark.parametrize("uptime", [0.5, 211.9, 212.1, 400, 2**15 - 200, 2**17 - 4000])
    def test_loop_time_differences_are_independent_of_uptime(
        self, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch, uptime: float
    ) -> None:
        """A loop's time begins at the uptime. Floats lose their last digit when they pass a power of two."""

        async def ages() -> list[float]:
            loop = asyncio.get_running_loop()
            ages = []
            for latency in (0.01, 0.05, 0.1, 0.3, 1.1):
                await asyncio.sleep(latency)
                loaded_at = loop.time()
                await virtual_time.advance(299)
                await asyncio.sleep(1)
                ages.append(loop.time() - loaded_at)
                await virtual_time.advance(latency)
                ages.append(loop.time() - loaded_at)
                with anyio.move_on_after(latency):
                    await anyio.sleep(3600)
                ages.append(loop.time() - loaded_at)
            return ages

        def ages_from(uptime: float) -> list[float]:
            with monkeypatch.context() as patch:
                patch.setattr(time, "monotonic", lambda: uptime)
                return asyncio.run(ages())

        assert ages_from(uptime) == ages_from(0)
        assert ages_from(uptime)[::3] == [300] * 5

    async def test_repr_shows_the_time_and_autojump(self, virtual_time: VirtualTime) -> None:
        await asyncio.sleep(2.5)
        assert repr(virtual_time) == "<virtual_time 2.5 s>"
        virtual_time.autojump = False
        assert repr(virtual_time) == "<virtual_time 2.5 s, autojump off>"


@pytest.mark.usefixtures("no_real_time")
class TestAdvance:
    async def test_advance_runs_all_timers_that_are_due(self, virtual_time: VirtualTime) -> None:
        """It has run in order, including timers that are set meanwhile, and tasks have run to where they wait again."""
        virtual_time.autojump = False
        log: list[tuple[str, float]] = []

        async def every(name: str, seconds: float, then: asyncio.Queue[float]) -> None:
            while True:
                await asyncio.sleep(seconds)
                log.append((name, virtual_time.now))
                then.put_nowait(virtual_time.now)

        async def take(queue: asyncio.Queue[float]) -> None:
            while True:
                log.append(("took", await queue.get()))

        queue: asyncio.Queue[float] = asyncio.Queue()
        tasks = [asyncio.create_task(each) for each in (every("a", 20, queue), every("b", 30, queue), take(queue))]
        await virtual_time.advance(60)
        assert virtual_time.now == 60
        assert log == [
            ("a", 20), ("took", 20), ("b", 30), ("took", 30), ("a", 40), ("took", 40), ("b", 60), ("a", 60),
            ("took", 60), ("took", 60),
        ]  # fmt: skip
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def test_advance_moves_time_by_exactly_the_requested_amount(self, virtual_time: VirtualTime) -> None:
        virtual_time.autojump = False
        alarm = asyncio.create_task(asyncio.sleep(60))
        await virtual_time.advance(59.999)
        assert not alarm.done()
        await virtual_time.advance(0.001)
        assert alarm.done()

    async def test_concurrent_advances_end_at_their_own_times(self, virtual_time: VirtualTime) -> None:
        log: list[tuple[float, float]] = []

        async def advance(seconds: float) -> None:
            await virtual_time.advance(seconds)
            log.append((seconds, virtual_time.now))

        await asyncio.gather(*map(advance, (20, 10, 15, 10)))
        assert log == [(10, 10), (10, 10), (15, 15), (20, 20)]

    async def test_advance_by_zero_runs_ready_tasks(self, virtual_time: VirtualTime) -> None:
        task = asyncio.create_task(asyncio.sleep(0, "done"))
        await virtual_time.advance(0)
        assert task.result() == "done"
        assert virtual_time.now == 0

    async def test_advance_limits_autojump(self, virtual_time: VirtualTime) -> None:
        alarm = asyncio.create_task(asyncio.sleep(60))
        await virtual_time.advance(10)
        assert (virtual_time.now, alarm.done()) == (10, False)
        await alarm
        assert virtual_time.now == 60

    async def test_advance_waits_for_threads_that_start_meanwhile(self, virtual_time: VirtualTime) -> None:
        async def report() -> str:
            await asyncio.sleep(10)
            return await asyncio.to_thread(lambda: threading.Event().wait(0.05) or "reported")

        task = asyncio.create_task(report())
        await virtual_time.advance(10)
        assert task.result() == "reported"

    async def test_debug_mode_reports_no_slow_callbacks(
        self, virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A loop in debug mode warns of callbacks that take longer than 0.1 s."""
        asyncio.get_running_loop().set_debug(True)
        alarm = asyncio.create_task(asyncio.sleep(60))
        await virtual_time.advance(50)
        await alarm
        assert [record.message for record in caplog.records if "took" in record.message] == []

    async def test_sleep_without_autojump_is_a_deadlock_error(self, virtual_time: VirtualTime) -> None:
        virtual_time.autojump = False
        with pytest.raises(DeadlockError, match=r"(?s)a sleep of 5 s.*autojump is False:  await virtual_time.advance"):
            await asyncio.sleep(5)

    async def test_advance_times_out_on_a_livelock(
        self, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It gives up after the timeout of a running method, and names the tasks that keep running."""

        async def spin() -> None:
            while True:
                await asyncio.sleep(0)

        spinning = asyncio.create_task(spin())
        monkeypatch.setattr(virtual_time._context, "timeout", 0.05)
        with pytest.raises(BackgroundTasksTimeout, match=r"(?s)advance\(5\) did not finish.*the time is 0 s now.*spin"):
            await virtual_time.advance(5)
        spinning.cancel()


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (-5, ValueError, r"advance\(-5\): time does not go backwards; write e.g. advance\(5\)"),
        (float("inf"), ValueError, "finite number of seconds"),
        (float("nan"), ValueError, "finite number of seconds"),
        ("5", TypeError, r"advance\('5'\): write a number of seconds"),
        (True, TypeError, r"advance\(True\): write a number of seconds"),
    ],
)
async def test_advance_rejects_an_invalid_number_of_seconds(
    virtual_time: VirtualTime, seconds: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await virtual_time.advance(seconds)  # type: ignore[arg-type]


async def test_autojump_is_a_bool(virtual_time: VirtualTime) -> None:
    with pytest.raises(TypeError, match=r"virtual_time.autojump = True or False"):
        virtual_time.autojump = 0  # type: ignore[assignment]


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from([0, 0.25, 0.5, 1, 3600]), max_size=4), max_size=6))
def test_sleeping_tasks_wake_by_deadline_and_then_in_order_of_creation(sleeps: list[list[float]]) -> None:
    """Tasks that sleep resume in the order of their wake-up times, then in the order in which they fell asleep."""
    woken: list[tuple[float, int]] = []
    asleep: dict[tuple[float, int], int] = {}

    async def sleeper(number: int, naps: list[float]) -> None:
        for nap in naps:
            if nap:
                due = loop_time() + nap
                asleep[due, number] = len(asleep)
                await asyncio.sleep(nap)
                woken.append((due, number))

    def loop_time() -> float:
        return asyncio.get_running_loop().time()

    async def main() -> None:
        await asyncio.gather(*[sleeper(number, naps) for number, naps in enumerate(sleeps)])

    with make_virtual_time() as virtual_time:
        asyncio.run(main())
        assert virtual_time.now == max(map(sum, sleeps), default=0)
    assert woken == sorted(woken, key=lambda each: (each[0], asleep[each]))


def make_virtual_time():
    from pathlib import Path

    from pytest_background_tasks._control.test_context import TestContext
    from pytest_background_tasks._introspect.project_code import ProjectCode
    from pytest_background_tasks.virtual_time import driving

    return driving(TestContext(ProjectCode(Path(__file__).parent), "a property", None, 10, 0.02))


class TestExternalActivity:
    """Time does not run ahead of real work."""

    async def test_time_waits_for_threads(self, virtual_time: VirtualTime) -> None:
        """The thread may be asyncio's, an executor's or anyio's; awaited alone, gathered, or with a timeout."""
        loop = asyncio.get_running_loop()

        def work() -> str:
            threading.Event().wait(0.05)
            return "done"

        async with asyncio.timeout(0.001):
            assert await asyncio.to_thread(work) == "done"
            assert await loop.run_in_executor(None, work) == "done"
            assert await asyncio.gather(*[loop.run_in_executor(None, work) for _ in range(2)]) == ["done"] * 2
            assert await anyio.to_thread.run_sync(work) == "done"
        assert virtual_time.now == 0

    async def test_idle_thread_pool_does_not_stop_time(self, virtual_time: VirtualTime, no_real_time: None) -> None:
        await asyncio.to_thread(list)
        await anyio.to_thread.run_sync(list)
        for _ in range(2000):
            await asyncio.sleep(3600)
        assert virtual_time.now == 7_200_000

    async def test_thread_of_a_library_gets_a_grace_period(self, virtual_time: VirtualTime) -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        threading.Timer(0.005, lambda: loop.call_soon_threadsafe(answer.set_result, "done")).start()
        async with asyncio.timeout(0.001):
            assert await answer == "done"

    @pytest.mark.parametrize(
        "code", ["time.sleep(0.1); print('done')", "print('done', flush=True); os.close(1); time.sleep(0.3)"]
    )
    async def test_time_waits_for_child_processes(self, virtual_time: VirtualTime, code: str) -> None:
        """This holds even if the process has no more output."""
        async with asyncio.timeout(0.001):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", f"import os, time; {code}", stdout=subprocess.PIPE
            )
            assert (await process.communicate())[0] == b"done\n"
        assert virtual_time.now == 0

    async def test_peer_gets_a_grace_period(self, virtual_time: VirtualTime) -> None:
        """An open connection that is not in use does not hold back time."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                peer, _ = server.accept()
                with peer:
                    while peer.recv(10):
                        threading.Event().wait(0.005)
                        peer.sendall(b"!")

            thread = threading.Thread(target=serve)
            thread.start()
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(*server.getsockname())
                for _ in range(3):
                    writer.write(b"?")
                    assert await reader.readexactly(1) == b"!"
            assert virtual_time.now < 1
            start = time.monotonic()
            await asyncio.sleep(3600)
            assert time.monotonic() - start < 30
            writer.close()
            await writer.wait_closed()
            thread.join()

    async def test_aiohttp_server_and_client_have_no_spurious_timeout(self, virtual_time: VirtualTime) -> None:
        """No timeout fires wrongly; a sleep of an hour in another task, or in a handler, returns at once."""

        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(float(request.query["after"]))
            return web.Response(text="x" * 300_000)

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        start = time.monotonic()
        async with ClientSession(timeout=ClientTimeout(total=30)) as session:
            for after in (0, 10, 29):
                async with session.get(f"http://{host}:{port}/?after={after}") as response:
                    assert len(await response.text()) == 300_000
            with pytest.raises(TimeoutError):
                await session.get(f"http://{host}:{port}/?after=31")
            before = virtual_time.now
            await asyncio.sleep(3600)
            assert virtual_time.now - before == 3600
        await runner.cleanup()
        assert time.monotonic() - start < 30

    async def test_listening_server_does_not_stop_time(self, virtual_time: VirtualTime, no_real_time: None) -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
            for _ in range(2000):
                await asyncio.sleep(3600)


class TestDeadlock:
    async def test_deadlock_error_says_which_task_waits_for_what(self, virtual_time: VirtualTime) -> None:
        lock, event = asyncio.Lock(), asyncio.Event()

        async def hold() -> None:
            async with lock:
                await event.wait()

        async def enter() -> None:
            async with lock:
                pass

        tasks = [asyncio.create_task(hold(), name="holder"), asyncio.create_task(enter(), name="waiter")]
        with pytest.raises(DeadlockError) as caught:
            await asyncio.wait(tasks)
        message = str(caught.value)
        assert "the test waits at tests/test_virtual_time.py:" in message
        assert "for the tasks holder (hold), waiter (enter)" in message
        assert "holder (hold) waits at" in message
        assert "for an event" in message
        assert "waiter (enter) waits at" in message
        assert "for a lock held by holder (hold)" in message
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def test_running_method_fails_at_once(
        self, virtual_time: VirtualTime, background_tasks: BackgroundTasks, no_real_time: None
    ) -> None:
        """It does not wait for its timeout, which is in real time."""
        background_tasks.start_capturing()
        asyncio.create_task(asyncio.Event().wait())
        with pytest.raises(DeadlockError, match=r"for the task Task-\d+ \(wait\)"):
            await background_tasks.run_all_async(timeout=60)

    async def test_held_tasks_are_named(self, virtual_time: VirtualTime, background_tasks: BackgroundTasks) -> None:
        event = asyncio.Event()

        async def ring() -> None:
            event.set()

        background_tasks.start_capturing()
        asyncio.create_task(ring())
        with pytest.raises(DeadlockError, match=r"held: .*ring"):
            await event.wait()


class TestWithHeldTasks:
    async def test_a_run_takes_no_real_time(
        self, virtual_time: VirtualTime, background_tasks: BackgroundTasks, no_real_time: None
    ) -> None:
        async def job() -> float:
            await asyncio.sleep(3600)
            return virtual_time.now

        background_tasks.start_capturing()
        asyncio.create_task(job())
        assert await background_tasks.run_all_async(timeout=30) == [3600]
        asyncio.create_task(job())
        assert background_tasks.run_all_sync(timeout=30) == [7200]

    def test_run_all_sync_in_a_def_test_uses_virtual_time(
        self, virtual_time: VirtualTime, background_tasks: BackgroundTasks, no_real_time: None
    ) -> None:
        async def job() -> float:
            await asyncio.sleep(3600)
            return virtual_time.now

        background_tasks.start_capturing()
        asyncio.create_task(job())
        assert background_tasks.run_all_sync() == [3600]

    def test_time_continues_from_loop_to_loop(self, virtual_time: VirtualTime) -> None:
        asyncio.run(asyncio.sleep(10))
        with asyncio.Runner() as one, asyncio.Runner() as other:
            one.run(asyncio.sleep(10))
            other.run(asyncio.sleep(10))
            one.run(asyncio.sleep(10))
        assert virtual_time.now == 40

    async def test_timeout_of_a_running_method_is_in_real_time(
        self, virtual_time: VirtualTime, background_tasks: BackgroundTasks
    ) -> None:
        gate = threading.Event()
        background_tasks.start_capturing()
        asyncio.create_task(asyncio.to_thread(gate.wait))
        with pytest.raises(BackgroundTasksTimeout):
            await background_tasks.run_all_async(timeout=0.05)
        assert virtual_time.now == 0
        gate.set()

    async def test_step_without_autojump_suggests_advance(
        self, virtual_time: VirtualTime, background_tasks: BackgroundTasks
    ) -> None:
        """The error names the task to step, and the call that makes time pass, because nothing else helps."""
        virtual_time.autojump = False
        background_tasks.start_capturing()
        asyncio.create_task(asyncio.sleep(5), name="napper")
        await background_tasks.step_async("napper")
        with pytest.raises(DeadlockError) as caught:
            await background_tasks.step_async("napper")
        assert "for the next step of napper (sleep)" in str(caught.value)
        assert str(caught.value).endswith("await virtual_time.advance(seconds)")
        assert "run_all" not in str(caught.value)


class TestUnsupportedLoops:
    def test_uvloop_is_rejected_with_an_alternative(self, virtual_time: VirtualTime) -> None:
        async def main() -> None: ...

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            with pytest.raises(
                BackgroundTasksError, match=r"uvloop.Loop: its timers are out of Python's reach.*asyncio.new_event_loop"
            ):
                runner.run(main())
        asyncio.run(main())

    def test_coroutine_rejected_on_uvloop_is_closed(self, virtual_time: VirtualTime) -> None:
        """There is no warning that the coroutine was never awaited."""

        async def main() -> None: ...

        loop, coroutine = uvloop.new_event_loop(), main()
        with pytest.raises(BackgroundTasksError, match=r"its timers are out of Python's reach"):
            loop.run_until_complete(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        loop.close()
        asyncio.run(main())

    def test_loop_with_its_own_clock_is_rejected(self, virtual_time: VirtualTime) -> None:
        class Loop(asyncio.SelectorEventLoop):
            def time(self) -> float:
                return 0.0

        async def main() -> None: ...

        with asyncio.Runner(loop_factory=Loop) as runner:
            with pytest.raises(BackgroundTasksError, match=r"Loop has a clock of its own, and a loop cannot have two"):
                runner.run(main())
        asyncio.run(main())

    async def test_loop_in_another_thread_keeps_real_time(self, virtual_time: VirtualTime) -> None:
        async def main() -> str:
            await asyncio.sleep(0.001)
            try:
                await virtual_time.advance(1)
            except BackgroundTasksError as error:
                return str(error)
            return ""

        def on_uvloop() -> str:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(main())

        said = await asyncio.to_thread(asyncio.run, main())
        assert "drives the loops that run in the test's own thread" in said
        assert "cannot move the time of uvloop.Loop" in await asyncio.to_thread(on_uvloop)
        assert virtual_time.now == 0


RUNNERS = {
    "pytest-asyncio": ("pytest_asyncio.plugin", "pytest.mark.asyncio"),
    "pytest-asyncio, a loop for the class": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='class')"),
    "pytest-asyncio, a loop for the module": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='module')"),
    "pytest-asyncio, a loop for the session": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='session')"),
    "anyio": ("anyio.pytest_plugin", "[pytest.mark.anyio, pytest.mark.parametrize('anyio_backend', ['asyncio'])]"),
}

PROJECT = """
    import asyncio, time, unittest, pytest

    pytestmark = {mark}
    started = time.monotonic()

    @pytest.fixture
    async def slept():
        await asyncio.sleep(0.01)
        yield
        await asyncio.sleep(0.01)

    class TestIt:
        async def test_real_before(self):
            loop = asyncio.get_running_loop()
            assert abs(loop.time() - time.monotonic()) < 30
            if "function" not in "{scope}":
                loop.call_later(7200, list)

        async def test_virtual(self, slept, virtual_time):
            await asyncio.sleep(3600)
            assert virtual_time.now == 3600
            virtual_time.autojump = False
            await virtual_time.advance(3600)
            assert virtual_time.now == 7200

        async def test_virtual_again(self, virtual_time, slept, background_tasks):
            await asyncio.sleep(3600)
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.sleep(60, "slept"))
            assert await background_tasks.run_all_async() == ["slept"]

        async def test_deadlock(self, virtual_time):
            await asyncio.Event().wait()

        async def test_real_after(self):
            loop = asyncio.get_running_loop()
            assert abs(loop.time() - time.monotonic()) < 30
            assert not {{"time", "call_at", "call_soon"}} & set(vars(loop))
            assert "select" not in vars(loop._selector)
            await asyncio.sleep(0.01)
            assert time.monotonic() - started < 30
"""


@pytest.mark.parametrize("runner", RUNNERS)
def test_virtual_time_under_every_runner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    """The test's loop runs in virtual time and is restored; a deadlock is an error of its own test."""
    plugin, mark = RUNNERS[runner]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(dedent(PROJECT).format(mark=mark, scope="wider" if "loop" in runner else "function"))
    options = ["-o", "asyncio_default_fixture_loop_scope=function"] if "asyncio.p" in plugin else []
    if "session" in runner or "module" in runner or "class" in runner:
        options[-1] = f"asyncio_default_fixture_loop_scope={runner.rpartition(' ')[2]}"
    if "asyncio.p" in plugin:
        options += ["-o", "asyncio_mode=auto"]
    result = pytester.runpytest_inprocess(
        "-W", "error", "-p", "pytest_background_tasks.plugin", "-p", plugin, "--tb=short", *options
    )
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["E*DeadlockError: every task is blocked:", "E*the test waits at*for an event"])


def test_virtual_time_under_unittest_and_in_def_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a `def` test without a loop, the error says that virtual time was not used."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio, time, unittest, pytest

        class TestJobs(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def take(self, virtual_time):
                self.virtual_time = virtual_time

            async def asyncSetUp(self):
                await asyncio.sleep(60)

            async def test_it(self):
                await self.virtual_time.advance(60)
                self.assertEqual(self.virtual_time.now, 120)

        def test_no_loop(virtual_time):
            pass

        def test_own_failure(virtual_time):
            raise ValueError("mine")

        def test_asyncio_run(virtual_time):
            asyncio.run(asyncio.sleep(3600))

        def test_loop_is_restored():
            assert asyncio.BaseEventLoop.run_forever.__module__ == "asyncio.base_events"
            with asyncio.Runner() as runner:
                loop = runner.get_loop()
                assert abs(loop.time() - time.monotonic()) < 30
        """
    )
    result = pytester.runpytest_inprocess("-W", "error", "-p", "pytest_background_tasks.plugin", "--tb=short")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*test_no_loop requested virtual_time, but no asyncio event loop has run in the test's own thread*",
            "E*ValueError: mine",
        ]
    )


def test_virtual_time_under_pytest_aiohttp(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client and a server communicate over loopback in the test's loop."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio
        from aiohttp import web

        async def test_it(aiohttp_client, virtual_time):
            async def slow(request):
                await asyncio.sleep(200)
                return web.Response(text="done")
            app = web.Application()
            app.router.add_get("/", slow)
            client = await aiohttp_client(app)
            response = await client.get("/")
            assert await response.text() == "done"
            assert 200 <= virtual_time.now < 201
            await asyncio.sleep(3600)
        """
    )
    result = pytester.runpytest_inprocess(
        *("-W", "error", "-p", "pytest_background_tasks.plugin", "-p", "pytest_aiohttp.plugin", "--tb=short"),
        *("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("value", ["soon", "-1", "inf"])
def test_invalid_grace_period_is_a_usage_error(pytester: pytest.Pytester, value: str) -> None:
    result = pytester.runpytest_inprocess(
        "-o", f"background_tasks_grace_period={value}", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    result.stderr.fnmatch_lines(
        [f"*background_tasks_grace_period = {value}: not a number of seconds; write e.g.*= 0.02"]
    )


@pytest.mark.usefixtures("no_real_time")
class TestExistingLoop:
    """The clock is installed on a loop that existed before."""

    async def test_fixture_requested_during_a_test_drives_the_running_loop(
        self, request: pytest.FixtureRequest
    ) -> None:
        """It drives the running loop from now on."""
        virtual_time: VirtualTime = request.getfixturevalue("virtual_time")
        assert virtual_time.autojump
        await asyncio.sleep(3600)
        assert virtual_time.now == 3600

    def test_earlier_timers_fire_first_among_equal_deadlines(self, virtual_time: VirtualTime) -> None:
        loop, fired = asyncio.new_event_loop(), []
        due = math.ceil(loop.time()) + 5

        async def main() -> None:
            for number in range(4, 8):
                loop.call_at(due, fired.append, number)
            await asyncio.sleep(10)

        for _ in range(4):
            loop.call_at(due, fired.append, "before")
        loop.run_until_complete(main())
        loop.close()
        assert fired == ["before"] * 4 + [4, 5, 6, 7]

    async def test_debug_mode_records_the_caller_of_call_soon(self, virtual_time: VirtualTime) -> None:
        """The innermost frame belongs to the program, as with asyncio's own clock."""
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        handle: Any = loop.call_soon(list)
        assert handle._source_traceback[-1].filename == __file__

    async def test_invalid_timer_raises_the_type_error_of_asyncio(self, virtual_time: VirtualTime) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="when cannot be None"):
            loop.call_at(None, list)  # type: ignore[arg-type]

    def test_closed_loop_accepts_no_timers(self, virtual_time: VirtualTime) -> None:
        async def main() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        loop = asyncio.run(main())
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.call_later(1, list)


def test_virtual_time_under_nest_asyncio(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loops run without run_forever()."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio

        def run_until_complete(loop, coroutine):
            asyncio._set_running_loop(loop)
            task = asyncio.ensure_future(coroutine, loop=loop)
            while not task.done():
                loop._run_once()
            asyncio._set_running_loop(None)
            return task.result()

        def test_it(monkeypatch, request):
            monkeypatch.setattr(asyncio, "_nest_patched", True, raising=False)
            monkeypatch.setattr(asyncio.SelectorEventLoop, "run_until_complete", run_until_complete)
            virtual_time = request.getfixturevalue("virtual_time")
            asyncio.run(asyncio.sleep(3600))
            assert virtual_time.now == 3600
        """
    )
    pytester.runpytest_subprocess("-p", "pytest_background_tasks.plugin", timeout=20).assert_outcomes(passed=1)


def test_loop_attributes_set_by_the_program_are_kept() -> None:
    """Only the replacements of the clock itself are removed."""
    loop, asked = asyncio.new_event_loop(), []

    def call_soon(callback: Any, *args: Any, **kwargs: Any) -> asyncio.Handle:
        asked.append(callback)
        return asyncio.BaseEventLoop.call_soon(loop, callback, *args, **kwargs)

    loop.call_soon = call_soon  # type: ignore[method-assign]  # as a program does that counts its callbacks
    with make_virtual_time():
        loop.run_until_complete(asyncio.sleep(3600))
    assert vars(loop)["call_soon"] is call_soon
    assert asked
    loop.close()
