"""Virtual time takes no real time, keeps the exact order, and fails a test that waits forever."""

import asyncio
import threading
import time

import anyio
import pytest

from pytest_background_tasks import BackgroundTasks, BackgroundTasksTimeout, DeadlockError, VirtualTime


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
