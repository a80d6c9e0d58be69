"""Tests of the claims that docs/comparison.md makes about other libraries: `python benchmarks/peers.py`.

Only claims that fit in a few lines are tested. A test that fails names a cell of the page that is no longer true. Cells
that say `no` are tested only where a misunderstanding is likely. Two of the libraries need Python 3.12.
"""

import asyncio
import datetime
import importlib.metadata
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiotools
import async_solipsism
import blockbuster
import freezegun
import frontrun
import looptime
import pytest
import simloom
import simloop
import time_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "quality"))
from test_correct import PROGRAMS, anyio_threads, anyio_time_outs

HERE = str(Path(__file__).parent)

PEERS = (
    "pytest-asyncio", "anyio", "pyleak", "blockbuster", "async-solipsism", "looptime", "aiotools", "time-machine",
    "freezegun", "frontrun", "simloop", "simloom", "hypothesis",
)  # fmt: skip

RUNS = 50

Main = Callable[[], Coroutine[Any, Any, Any]]
Program = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Program:
    """Run a test file in a separate process, with all installed plugins."""

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it="import asyncio, pytest, threading, time\n" + source)
        options += ("-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:background_tasks")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=15)

    return run


ON_ASYNCIO = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
RUNNERS = pytest.mark.parametrize("mark", ["asyncio", "anyio"])


# Background work


def test_pytest_asyncio_has_loop_scopes(run: Program) -> None:
    run("""
@pytest.mark.asyncio(loop_scope="module")
class TestIt:
    async def test_1(self): asyncio.get_running_loop().mark = 1
    async def test_2(self): assert asyncio.get_running_loop().mark
""").assert_outcomes(passed=2)


def test_anyio_runs_tests_and_async_fixtures_on_trio(run: Program) -> None:
    run("""
@pytest.fixture
async def five(anyio_backend_name): return 5
@pytest.fixture
def anyio_backend(): return "trio"
@pytest.mark.anyio
async def test_it(five, anyio_backend_name): assert (five, anyio_backend_name) == (5, "trio")
""").assert_outcomes(passed=1)


@pytest.mark.parametrize(("mark", "kept", "failed"), [("asyncio", "", 0), ("anyio", "", 1), ("anyio", "kept = ", 0)])
def test_error_fails_an_anyio_test_if_asyncio_reports_it(run: Program, mark: str, kept: str, failed: int) -> None:
    """asyncio reports it when the task is destroyed, so not for a task that is still referenced, and not later."""
    run(f"""
async def fails(): raise LookupError
@pytest.mark.{mark}
async def test_it():
    global kept
    {kept}asyncio.create_task(fails())
    await asyncio.sleep(0.01)
{ON_ASYNCIO}""").assert_outcomes(passed=1 - failed, failed=failed)


@RUNNERS
def test_leaked_tasks_are_cancelled_silently(run: Program, mark: str) -> None:
    run(
        f"""
@pytest.mark.{mark}
async def test_it():
    global task
    task = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(0)
def test_after(): assert task.cancelled()
{ON_ASYNCIO}""",
        *("-W", "error", "-p", "no:randomly", "-W", "ignore::DeprecationWarning"),
    ).assert_outcomes(passed=2)


@RUNNERS
def test_deadlocked_test_hangs(run: Program, mark: str) -> None:
    with pytest.raises(pytest.Pytester.TimeoutExpired):
        run(f"""
@pytest.mark.{mark}
@pytest.mark.no_leaks
async def test_it(): await asyncio.get_running_loop().create_future()
{ON_ASYNCIO}""")


def test_pyleak_reports_tasks_threads_and_blocking_calls_on_request(run: Program) -> None:
    result = run("""
@pytest.mark.asyncio
@pytest.mark.no_leaks(tasks=True, enable_task_creation_tracking=True)
async def test_task(): global kept; kept = asyncio.create_task(asyncio.sleep(3600))
@pytest.mark.no_leaks
def test_thread(): threading.Thread(target=time.sleep, args=(1,)).start()
@pytest.mark.asyncio
@pytest.mark.no_leaks
async def test_blocking(): time.sleep(0.5)
@pytest.mark.asyncio
async def test_not_asked(): global too; too = asyncio.create_task(asyncio.sleep(3600))
""")
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(["*Creation Stack:", "*Detected 1 leaked threads*", "*EventLoopBlockError*"])


def test_blockbuster_raises_at_the_call_that_blocks() -> None:
    async def main() -> None:
        time.sleep(0.01)  # noqa: ASYNC251 - the call under test

    with blockbuster.blockbuster_ctx(), pytest.raises(blockbuster.BlockingError, match=r"time\.sleep"):
        asyncio.run(main())


# Time


def on_solipsism(main: Main) -> Any:
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(main())


def on_looptime(main: Main, **options: Any) -> Any:
    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(**options)) as runner:
        return runner.run(main())


def on_aiotools(main: Main) -> Any:
    async def patched() -> Any:
        with aiotools.VirtualClock().patch_loop():
            return await main()

    return asyncio.run(patched())


CLOCKS = pytest.mark.parametrize("on", [on_solipsism, on_looptime, on_aiotools])


@CLOCKS
def test_sleeps_and_timeouts_take_no_real_time(on: Callable[[Main], Any]) -> None:
    async def main() -> None:
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()

    start = time.time()
    on(main)
    assert time.time() - start < 60


def test_looptime_is_turned_on_for_all_tests_by_one_option(run: Program) -> None:
    run("@pytest.mark.asyncio\nasync def test_it(): await asyncio.sleep(3600)", "--looptime").assert_outcomes(passed=1)


async def thread() -> str:
    try:
        async with asyncio.timeout(5):
            await asyncio.to_thread(time.sleep, 0.2)
    except TimeoutError:
        return "timed out"
    return "waited"


async def blocked() -> bool:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.to_thread(time.sleep, 0.1)
    ticking.cancel()
    return ticks < 10


def test_time_waits_for_threads() -> None:
    assert (on_solipsism(thread), on_solipsism(blocked)) == ("waited", True)
    assert (on_looptime(thread), on_looptime(blocked)) == ("waited", False)
    assert on_aiotools(thread) == "timed out"


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_time_does_not_wait_for_real_connections(seconds: float) -> None:
    async def connection() -> str:
        def serve() -> None:
            peer, _ = server.accept()
            time.sleep(seconds)
            peer.close()

        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=serve).start()
            reader, writer = await asyncio.open_connection(*server.getsockname())
            try:
                async with asyncio.timeout(5):
                    await reader.read()
            except TimeoutError:
                return "timed out"
            finally:
                writer.close()
        return "waited"

    for options in ({}, {"idle_step": 0.01, "idle_timeout": 1}):
        assert on_looptime(connection, **options) == "timed out"
    assert on_aiotools(connection) == "timed out"


def test_solipsism_has_an_in_memory_network() -> None:
    async def main() -> bytes:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"!")
            writer.close()

        async with await asyncio.start_server(answer, "server.invalid", 1):
            reader, _ = await asyncio.open_connection("server.invalid", 1)
            return await reader.read()

    assert on_solipsism(main) == b"!"


def test_solipsism_and_limited_looptime_detect_endless_waits() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(async_solipsism.SleepForeverError):
        on_solipsism(main)
    with pytest.raises(looptime.IdleTimeoutError):
        on_looptime(main, idle_timeout=0.1)


def test_aiotools_and_freezegun_move_loop_time_by_hand() -> None:
    async def woken(move: Callable[[], object]) -> bool:
        sleeping = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        move()
        for _ in range(3):
            await asyncio.sleep(0)
        return sleeping.done()

    async def on_virtual_clock() -> bool:
        clock = aiotools.VirtualClock()
        with clock.patch_loop():
            return await woken(lambda: setattr(clock, "vtime", 3600))

    assert asyncio.run(on_virtual_clock())
    with freezegun.freeze_time("2030-01-01") as frozen:
        assert asyncio.run(woken(lambda: frozen.tick(3601)))
    with time_machine.travel("2030-01-01T00:00Z", tick=False) as traveller:
        assert not asyncio.run(woken(lambda: traveller.shift(3601)))


def test_sleep_is_real_with_time_machine_and_hangs_with_freezegun(run: Program) -> None:
    start = time.perf_counter()
    with time_machine.travel("2030-01-01T00:00Z", tick=False):
        asyncio.run(asyncio.sleep(0.1))
        assert datetime.datetime.now().year == 2030
    with freezegun.freeze_time("2030-01-01", real_asyncio=True):
        asyncio.run(asyncio.sleep(0.1))
    assert time.perf_counter() - start > 0.19
    with pytest.raises(pytest.Pytester.TimeoutExpired):
        run(
            "import freezegun\ndef test_it():\n with freezegun.freeze_time('2030-01-01'): asyncio.run(asyncio.sleep(1))"
        )


# Orders


async def promised_callback_order() -> None:
    """asyncio documents that callbacks are called in the order in which they are registered."""
    seen: list[int] = []
    for number in range(3):
        asyncio.get_running_loop().call_soon(seen.append, number)
    await asyncio.sleep(1)
    assert seen == [0, 1, 2]


def fails_in_simloop(main: Main) -> bool:
    return simloop.explore(main, range(RUNS)) is not None


def fails_in_simloom(main: Main) -> bool:
    return bool(simloom.explore(main, runs=RUNS, world=False).failed)


def test_simloop_and_simloom_do_not_keep_the_order_of_callbacks() -> None:
    assert fails_in_simloop(promised_callback_order)
    assert fails_in_simloom(promised_callback_order)


def test_simloop_and_simloom_accept_correct_programs_except_two() -> None:
    logging.disable()
    runnable = [program for program in PROGRAMS if program is not anyio_threads]
    assert [program for program in runnable if fails_in_simloop(program)] == []
    assert [program for program in runnable if fails_in_simloom(program)] == [anyio_time_outs]


class Total:
    def __init__(self) -> None:
        self.value = 0
        self.guard = asyncio.Lock()

    async def add(self) -> None:
        before = self.value
        await asyncio.sleep(0)
        self.value = before + 1

    async def add_guarded(self) -> None:
        async with self.guard:
            await self.add()

    def add_in_a_thread(self) -> None:
        before = self.value
        self.value = before + 1


async def lost_update() -> None:
    async def later() -> None:
        await asyncio.sleep(0)
        await total.add()

    total = Total()
    await asyncio.gather(total.add(), later())
    assert total.value == 2


def explored_by_frontrun(worker: Any, count: int = 2, **options: Any) -> Any:
    result = frontrun.explore(
        setup=Total, workers=worker, count=count, invariant=lambda total: total.value == count, **options
    )
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def test_frontrun_needs_fewer_runs_and_names_conflicts_in_threads() -> None:
    proved = explored_by_frontrun(Total.add_guarded, 3, preemption_bound=None, stop_on_first=False)
    assert (proved.property_holds, proved.num_explored) == (True, 6)
    of_threads = explored_by_frontrun(Total.add_in_a_thread).explanation
    assert "[write Total.value]" in of_threads
    of_tasks = explored_by_frontrun(Total.add).explanation
    assert "Task interleaving" in of_tasks
    assert "Total.value" not in of_tasks


def test_frontrun_does_not_keep_the_order_of_waiters_of_an_event() -> None:
    class Turns:
        def __init__(self) -> None:
            self.event, self.waiting, self.woken = asyncio.Event(), [], []

        async def wait(self) -> None:
            me = object()
            self.waiting.append(me)
            await self.event.wait()
            self.woken.append(me)

        async def set(self) -> None:
            await asyncio.sleep(0)
            self.event.set()

    explored = frontrun.explore(
        setup=Turns, workers=[Turns.wait, Turns.wait, Turns.set], invariant=lambda turns: turns.waiting == turns.woken
    )
    assert asyncio.run(explored).property_holds is False


@pytest.mark.parametrize(("worker", "is_drawn"), [("add", False), ("add_in_a_thread", True)])
def test_frontrun_draws_threads(run: Program, pytester: pytest.Pytester, worker: str, is_drawn: bool) -> None:
    run(
        f"""
import sys; sys.path.insert(0, {HERE!r})
from peers import Total, explored_by_frontrun
def test_it(): explored_by_frontrun(Total.{worker})
""",
        *("--frontrun-patch-locks", "--frontrun-report=page.html"),
    )
    assert (pytester.path / "page.html").exists() == is_drawn


def test_simloop_shrinks_draws_and_replays_with_shared_fixtures(run: Program, pytester: pytest.Pytester) -> None:
    result = run(
        f"""
import simloop, sys; sys.path.insert(0, {HERE!r})
from peers import lost_update
made = []
@pytest.fixture
def fixture(): made.append(1)
@simloop.sim_test(seeds=20)
async def test_it(fixture): await lost_update()
def test_after(): assert made == [1]
""",
        *("--simloop-shrink", "--simloop-timeline=pages", "-p", "no:randomly"),
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*replay: *--simloop-replay=*", "*schedule shrink*", "*minimized: FIFO except*"])
    assert list((pytester.path / "pages").glob("*.html"))


def test_simloom_shrinks_and_replays_but_takes_no_fixtures(run: Program) -> None:
    result = run(f"""
import simloom, sys; sys.path.insert(0, {HERE!r})
from peers import lost_update
@pytest.fixture
def fixture(): pass
@simloom.test()
async def test_it(): await lost_update()
@simloom.test()
async def test_fixture(world, fixture): pass
""")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*--simloom-seed=*", "*shrunk: *", "*.tape.json*", "*at most one positional*"])


def test_hypothesis_shrinks_inputs_and_prints_a_replay(run: Program) -> None:
    result = run("""
from hypothesis import settings, stateful, strategies
class Machine(stateful.RuleBasedStateMachine):
    total = 0
    @stateful.rule(by=strategies.integers(0, 100))
    def add(self, by): self.total += by; assert self.total < 50
TestIt = Machine.TestCase
TestIt.settings = settings(print_blob=True)
""")
    result.stdout.fnmatch_lines(["*state.add(by=50)", "*@reproduce_failure(*"])


if __name__ == "__main__":
    print(
        ", ".join(f"{peer} {importlib.metadata.version(peer)}" for peer in PEERS), "on Python", sys.version.split()[0]
    )
    os.environ["FRONTRUN_ACTIVE"] = "1"
    alone = ["-c", os.devnull, "--rootdir", HERE, "--confcutdir", HERE, "-p", "no:background_tasks"]
    options = ["-q", "-W", "ignore", "-p", "pytester", "-p", "no:cacheprovider", "--no-frontrun-patch-locks"]
    sys.exit(pytest.main([*alone, *options, __file__, *sys.argv[1:]]))
