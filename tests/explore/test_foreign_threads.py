"""A thread that no schedule controls ends an exploration, however the test waits for it; one that ends is harmless."""

import _thread
import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import execnet
import pytest

from pytest_background_tasks import Explorer, UncontrolledOperation
from pytest_background_tasks._explore import foreign_threads

from ..conftest import RunSchedule


class Worker(threading.Thread):
    """A thread that completes futures, like aiosqlite's; if `slow`, only after `let`."""

    def __init__(self, *, slow: bool = False) -> None:
        super().__init__(daemon=True)
        self.calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.let = threading.Event()
        if not slow:
            self.let.set()
        self.errors: list[BaseException] = []

    def run(self) -> None:
        while call := self.calls.get():
            function, future = call
            self.let.wait(10)
            try:
                future.get_loop().call_soon_threadsafe(future.set_result, function())
            except BaseException as error:
                self.errors.append(error)

    def ask(self, function: Callable[[], object]) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        self.calls.put((function, future))
        return future


@pytest.fixture(params=[False, True], ids=["responsive", "busy"])
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    thread = Worker(slow=request.param)
    yield thread
    thread.let.set()
    thread.calls.put(None)
    if thread.ident:
        thread.join()
    assert not thread.errors


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_threads, "GRACE", 0.2)


async def by_timeout(answer: "asyncio.Future[int]") -> int:
    async with asyncio.timeout(1):
        return await answer


async def by_wait_for(answer: "asyncio.Future[int]") -> int:
    return await asyncio.wait_for(answer, 1)


async def by_wait(answer: "asyncio.Future[int]") -> int:
    done, _ = await asyncio.wait([answer], timeout=1)
    return done.pop().result()


async def by_fail_after(answer: "asyncio.Future[int]") -> int:
    with anyio.fail_after(1):
        return await answer


async def by_shield(answer: "asyncio.Future[int]") -> int:
    return await asyncio.wait_for(asyncio.shield(answer), 1)


async def by_polling(answer: "asyncio.Future[int]") -> int:
    for _ in range(100):
        if answer.done():
            break
        await asyncio.sleep(0.01)
    return answer.result()


async def by_callback(answer: "asyncio.Future[int]") -> int:
    got: list[int] = []
    answer.add_done_callback(lambda future: got.append(future.result()))
    await asyncio.sleep(1)
    return got[0]


async def by_own_deadline(answer: "asyncio.Future[int]") -> int:
    task = asyncio.current_task()
    assert task is not None
    deadline = asyncio.get_running_loop().call_later(1, task.cancel)
    try:
        return await answer
    finally:
        deadline.cancel()


WAIT_FUNCTIONS = (by_timeout, by_wait_for, by_wait, by_fail_after, by_shield, by_polling, by_callback, by_own_deadline)


@pytest.mark.parametrize("wait", WAIT_FUNCTIONS)
def test_foreign_thread_is_refused_however_it_is_awaited(
    wait: Callable[["asyncio.Future[int]"], Awaitable[int]], worker: Worker
) -> None:
    async def scenario() -> None:
        worker.start()
        assert await wait(worker.ask(lambda: 42)) == 42

    with pytest.raises(UncontrolledOperation, match=r"Thread-\d+, a .*\.Worker\n(.*\n)?Use asyncio.to_thread "):
        Explorer().explore(scenario)


def test_error_names_the_line_at_which_the_task_waits(worker: Worker) -> None:
    async def scenario() -> None:
        worker.start()
        async with asyncio.timeout(1):
            await worker.ask(lambda: 42)

    line = scenario.__code__.co_firstlineno + 3
    with pytest.raises(
        UncontrolledOperation, match=rf"main waits at .*test_foreign_threads.py:{line} in .*scenario, for a future"
    ):
        Explorer().explore(scenario)


def test_threading_timer_is_refused() -> None:
    async def scenario() -> None:
        answered = asyncio.Event()
        timer = threading.Timer(30, asyncio.get_running_loop().call_soon_threadsafe, [answered.set])
        timer.start()
        try:
            await asyncio.wait_for(answered.wait(), 60)
        finally:
            timer.cancel()

    with pytest.raises(UncontrolledOperation, match=r"Thread-\d+, a threading.Timer"):
        Explorer().explore(scenario)


def test_thread_pool_of_the_program_is_refused() -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(1, "shop") as pool:
            async with asyncio.timeout(1):
                assert await asyncio.wrap_future(pool.submit(sum, [1, 2])) == 3

    with pytest.raises(UncontrolledOperation, match=r"shop_0"):
        Explorer().explore(scenario)


def test_a_process_pool_is_refused_and_ends() -> None:
    async def scenario() -> None:
        with ProcessPoolExecutor(1) as pool:
            async with asyncio.timeout(1):
                assert await asyncio.wrap_future(pool.submit(sum, [1, 2])) == 3

    with pytest.raises(UncontrolledOperation, match=r"_ExecutorManagerThread|QueueManagerThread"):
        Explorer().explore(scenario)


def test_run_in_executor_with_a_process_pool_uses_the_helper_thread() -> None:
    async def scenario() -> None:
        with ProcessPoolExecutor(1) as pool:
            async with asyncio.timeout(1):
                assert await asyncio.get_running_loop().run_in_executor(pool, sum, [1, 2]) == 3

    assert Explorer().explore(scenario).failure is None


def test_thread_started_without_the_threading_module_is_refused() -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait(10)

    async def scenario() -> None:
        _thread.start_new_thread(work, ())
        begun.wait(10)
        await asyncio.sleep(1)

    try:
        with pytest.raises(UncontrolledOperation, match=r"thread \d+"):
            Explorer().explore(scenario)
    finally:
        end.set()


def test_run_coroutine_threadsafe_from_a_foreign_thread_is_refused() -> None:
    thread_errors: list[BaseException] = []

    async def nothing() -> None: ...

    def work(loop: asyncio.AbstractEventLoop) -> None:
        coroutine = nothing()
        try:
            asyncio.run_coroutine_threadsafe(coroutine, loop).result()
        except BaseException as error:
            thread_errors.append(error)
        coroutine.close()

    async def scenario() -> None:
        thread = threading.Thread(target=work, args=[asyncio.get_running_loop()])
        thread.start()
        await asyncio.sleep(1)
        thread.join()

    with pytest.raises(UncontrolledOperation, match="work"):
        Explorer().explore(scenario)
    assert [type(error) for error in thread_errors] == [UncontrolledOperation]


@pytest.mark.parametrize("jumps", [False, True])
def test_failure_is_not_claimed_while_a_foreign_thread_is_running(jumps: bool) -> None:
    end = threading.Event()

    async def scenario() -> None:
        threading.Thread(target=end.wait, args=[10]).start()
        if jumps:
            await asyncio.sleep(1)
        assert end.is_set()

    try:
        with pytest.raises(UncontrolledOperation, match="wait"):
            Explorer().explore(scenario)
    finally:
        end.set()


def test_passing_run_is_no_proof_while_a_foreign_thread_is_running() -> None:
    end = threading.Event()

    async def scenario() -> None:
        threading.Thread(target=end.wait, args=[10]).start()

    try:
        with pytest.raises(UncontrolledOperation, match="wait"):
            Explorer().explore(scenario)
    finally:
        end.set()


def test_threads_that_end_without_calling_the_loop_are_harmless() -> None:
    async def scenario() -> None:
        joined = threading.Thread(target=len, args=[""])
        joined.start()
        joined.join()
        go = threading.Event()
        ending = threading.Thread(target=go.wait, args=[10])
        ending.start()
        go.set()
        await asyncio.sleep(1)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(sum, [1, 2]).result() == 3
        await asyncio.to_thread(threading.Thread(target=len, args=[""]).start)

    assert Explorer().explore(scenario).verdict == "exhaustive"


def test_idle_thread_started_before_the_run_is_harmless(worker: Worker) -> None:
    worker.start()

    async def scenario() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(0.5)

    assert Explorer().explore(scenario).verdict == "exhaustive"


@pytest.mark.parametrize("wait", WAIT_FUNCTIONS)
def test_thread_started_before_the_run_causes_no_false_failure(
    wait: Callable[["asyncio.Future[int]"], Awaitable[int]],
) -> None:
    """A connection opened by a fixture of wider scope answers on the loop of a finished run, and stays open."""
    worker = Worker(slow=True)
    worker.start()
    runs = 0

    async def scenario() -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            worker.let.set()
        assert await wait(worker.ask(lambda: 42)) == 42

    with pytest.raises(UncontrolledOperation, match=r"a .*\.Worker"):
        Explorer().explore(scenario)
    worker.calls.put(None)
    worker.join()
    assert not worker.errors


def test_thread_started_before_the_run_causes_no_false_proof() -> None:
    worker = Worker()
    worker.start()

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                worker.ask(lambda: None)
                await asyncio.get_running_loop().create_future()

    with pytest.raises(UncontrolledOperation, match=r"a .*\.Worker"):
        Explorer().explore(scenario)
    worker.calls.put(None)
    worker.join()


def test_refused_run_waits_for_the_results_of_its_threads() -> None:
    """A connection is closed, so that no thread is left over or dies with an error."""
    worker = Worker()

    @asynccontextmanager
    async def connection() -> AsyncIterator[None]:
        worker.start()
        try:
            await worker.ask(lambda: None)
            yield
        finally:
            await worker.ask(lambda: None)
            worker.calls.put(None)

    async def scenario() -> None:
        async with connection():
            await asyncio.sleep(1)

    with pytest.raises(UncontrolledOperation):
        Explorer().explore(scenario)
    worker.join(5)
    assert not worker.is_alive()
    assert not worker.errors


def test_closed_loop_drops_thread_results_and_rejects_other_calls(run_schedule: RunSchedule) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def scenario() -> None:
        loops.append(asyncio.get_running_loop())

    run_schedule(scenario)
    answers: list[object] = []
    future = loops[0].create_future()

    def call() -> None:
        answers.append(loops[0].call_soon_threadsafe(future.set_result, 1).cancelled())
        try:
            loops[0].call_soon_threadsafe(len, "")
        except RuntimeError as error:
            answers.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert answers == [True, "Event loop is closed"]


def test_threads_of_pytest_plugins_are_harmless() -> None:
    """Threads of pytest-xdist's execnet, and a timer of pytest-timeout."""
    gateways = execnet.Group()

    def timeout_timer() -> None: ...

    timeout_timer.__module__ = "pytest_timeout"

    async def scenario() -> None:
        gateways.makegateway("popen")
        timer = threading.Timer(30, partial(timeout_timer))
        timer.start()
        await asyncio.sleep(1)
        timer.cancel()

    try:
        assert Explorer().explore(scenario).verdict == "exhaustive"
    finally:
        gateways.terminate(1)
