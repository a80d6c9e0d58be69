"""A virtual clock drives a loop that already exists, and rejects a loop that it cannot drive."""

import asyncio
import inspect
import math
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks import BackgroundTasksError, VirtualTime


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
