"""``pytest --explore`` varies only what asyncio leaves open: correct programs raise no alarm."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]
Outcomes = Callable[[], dict[str, Any]]

PLAIN_TASKS = """
    async def work():
        await asyncio.sleep(0.01)

    async def test_tasks_that_the_loop_has_not_created():
        await asyncio.gather(*[asyncio.Task(work()) for _ in range(2)])

    async def job():
        for _ in range(3):
            await asyncio.sleep(0)

    async def test_a_pause_is_one_turn():
        await asyncio.gather(*[asyncio.create_task(work()) for _ in range(2)])
        task = asyncio.create_task(job())
        await asyncio.sleep(0)
        assert not task.done()
        await task

    async def test_a_timer_that_is_due_fires_in_the_next_iteration():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0, future.set_result, None)
        await asyncio.gather(*[asyncio.create_task(work()) for _ in range(2)])
        for _ in range(3):
            await asyncio.wait([future], timeout=0)
        assert future.done()
"""
CORRECT = """
    async def put(order, name):
        order.append(name)

    async def test_tasks_start_in_order():
        order = []
        await asyncio.gather(*[asyncio.create_task(put(order, each)) for each in "abc"])
        assert order == ["a", "b", "c"]

    async def test_sleep_0_alternates():
        order = []

        async def alternate(name):
            for _ in range(3):
                order.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(alternate("a"), alternate("b"))
        assert "".join(order) == "ababab"

    async def test_mocks_answer_at_once():
        from unittest.mock import AsyncMock
        order = []

        async def ask(mock, name):
            await mock()
            order.append(name)

        await asyncio.gather(ask(AsyncMock(), "a"), ask(AsyncMock(), "b"))
        assert order == ["a", "b"]

    async def test_sleeps_go_by_the_clock():
        order = []

        async def sleep(seconds):
            await asyncio.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(*map(sleep, (0.03, 0.01, 0.02)))
        assert order == [0.01, 0.02, 0.03]

    async def test_locks_are_fair():
        lock, order = asyncio.Lock(), []

        async def work(name):
            async with lock:
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(*map(work, "abc"))
        assert order == ["a", "b", "c"]
"""
PAUSES = """
    import contextlib, socket

    async def work(done):
        await asyncio.sleep(0.01)
        for _ in range(3):
            await asyncio.sleep(0)
        done.append(1)

    async def test_short_sleep():
        done = []
        tasks = [asyncio.create_task(work(done)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert len(done) == 2

    async def test_sleep_of_equal_length():
        done = []
        tasks = [asyncio.create_task(work(done)) for _ in range(2)]
        await asyncio.sleep(0)  # on a busy machine, they might otherwise begin to sleep much later
        await asyncio.sleep(0.01)
        for _ in range(4):
            await asyncio.sleep(0)
        assert len(done) == 2

    async def settle():
        await asyncio.sleep(0.01)
        for _ in range(4):
            await asyncio.sleep(0)

    async def test_helper():
        done = []
        tasks = [asyncio.create_task(work(done)) for _ in range(2)]
        await asyncio.sleep(0)
        await settle()
        assert len(done) == 2

    async def test_turns_after_a_wait():
        done, ready = [], asyncio.Event()

        async def answer():
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
            await asyncio.sleep(0)
            done.append(1)

        async def ring():
            await asyncio.sleep(0.01)
            ready.set()

        tasks = [asyncio.create_task(answer()), asyncio.create_task(ring())]
        await ready.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert done

    @contextlib.asynccontextmanager
    async def settled():
        yield
        for _ in range(3):
            await asyncio.sleep(0)

    async def test_turns_in_a_context_manager():
        done, (ours, theirs) = [], socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            asyncio.get_running_loop().add_reader(ours, lambda: done.append(ours.recv(1)))
            async with settled():
                theirs.send(b"!")
            asyncio.get_running_loop().remove_reader(ours)
            assert done == [b"!"]
"""


@pytest.mark.parametrize("source", [CORRECT, PAUSES, PLAIN_TASKS], ids=["guarantees", "pauses", "turns"])
def test_correct_programs_raise_no_alarm(suite: Run, source: str, outcomes: Outcomes) -> None:
    """The order of starts and of ``sleep(0)`` is asyncio's; a test's own pause lets the other tasks continue."""
    count = source.count("async def test_")
    suite(source).assert_outcomes(passed=count)
    assert all(each["verdict"] in ("exhaustive", "bounded") for each in outcomes().values())
    assert len(outcomes()) == count


LIMITS = """
    async def in_thread(done):
        await asyncio.to_thread(len, "")
        done.append(1)

    async def test_guard():
        await asyncio.wait_for(in_thread([]), 5)

    async def test_guard_of_a_helper():
        async def ask(done):
            async with asyncio.timeout(1):
                await asyncio.to_thread(len, "")
                done.append(1)

        done = []
        await ask(done)
        assert done

    async def test_limit_that_is_looked_at():
        done, pending = await asyncio.wait([asyncio.create_task(in_thread([]))], timeout=1)
        assert not pending

    async def test_pause():
        done = []
        task = asyncio.create_task(in_thread(done))
        await asyncio.sleep(0.01)
        assert done

    async def test_limit_of_the_program_that_reaches_the_test():
        await limited(asyncio.to_thread(len, ""))

    async def test_sleep_under_a_limit_of_the_program():
        assert await asyncio.create_task(limited(asyncio.sleep(0.01, "done"))) == "done"

    async def test_error_of_the_program():
        try:
            await limited(asyncio.to_thread(len, ""))
        except TimeoutError:
            pytest.fail("too late")
"""


def test_slow_results_never_come_behind_a_limit_of_the_test_itself(
    suite: Run, outcomes: Outcomes, pytester: pytest.Pytester
) -> None:
    """A limit or a pause in a test is as long as whatever it waits for; a timeout that ends the test is no failure."""
    pytester.makepyfile(program="import asyncio\nasync def limited(work):\n    return await asyncio.wait_for(work, 1)")
    source = f"    from program import limited\n{LIMITS}"
    suite(source, "--explore-faults=slow").assert_outcomes(passed=7)
    assert {each["verdict"] for each in outcomes().values()} <= {"exhaustive", "bounded"}


def test_slow_results_find_a_program_that_tries_twice(suite: Run, pytester: pytest.Pytester) -> None:
    """A result that comes after a timeout of the program is tried on request only."""
    pytester.makepyfile(
        program="""
        import asyncio

        async def pay(charge):
            for _ in range(2):
                try:
                    return await asyncio.wait_for(asyncio.to_thread(charge), 1)
                except TimeoutError:
                    pass
        """
    )
    source = """
    from program import pay

    async def test_pay():
        charges = []
        await pay(lambda: charges.append(1))
        assert len(charges) == 1
    """
    suite(source).assert_outcomes(passed=1)
    result = suite(source, "--explore-faults=slow")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["  ! * receives its result only after another timer has fired, at*", "replay: *@1!slow*"]
    )


def test_private_tasks_of_the_program_are_not_cancelled(
    suite: Run, outcomes: Outcomes, pytester: pytest.Pytester
) -> None:
    """Only the code that starts a task can cancel it, so ``--explore-faults=cancel`` cancels those of the tests."""
    pytester.makepyfile(
        program="""
        import asyncio

        class Service:
            def start(self):
                self.worker = asyncio.create_task(self.work())
            async def work(self):
                await asyncio.sleep(1)
                return "done"
        """
    )
    source = """
    from program import Service

    async def test_service():
        service = Service()
        service.start()
        assert await asyncio.gather(service.worker, return_exceptions=True) == ["done"]

    async def test_own_task():
        worker = asyncio.create_task(Service().work())
        assert await asyncio.gather(worker, return_exceptions=True) == ["done"]
    """
    suite(source, "--explore-faults=cancel").assert_outcomes(passed=1, failed=1)
    verdicts = {name: each["verdict"] for name, each in outcomes().items()}
    assert verdicts == {"test_service": "exhaustive", "test_own_task": "failed"}


def test_answers_of_fakes_are_explored(suite: Run) -> None:
    """`answer` in a fake has no length in a suite either."""
    result = suite(
        """
        from pytest_background_tasks import answer

        async def test_slowest():
            order = []

            async def ask():
                await answer()
                order.append("answer")

            async def wait():
                await asyncio.sleep(1)
                order.append("sleep")

            await asyncio.gather(ask(), wait())
            assert order == ["answer", "sleep"]
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*--explore-replay ask@1+*"])


def test_anyio_pauses_raise_no_alarm(suite: Run, outcomes: Outcomes) -> None:
    result = suite(
        """
        import anyio
        from anyio.lowlevel import checkpoint

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def work(done):
            await anyio.sleep(0.01)
            await checkpoint()
            await checkpoint()
            done.append(1)

        @pytest.mark.parametrize("pause", [anyio.wait_all_tasks_blocked, lambda: anyio.sleep(0), checkpoint])
        async def test_it(pause):
            done = []
            async with anyio.create_task_group() as group:
                group.start_soon(work, done)
                group.start_soon(work, done)
                await checkpoint()  # on a busy machine, they might otherwise begin to sleep much later
                await anyio.sleep(0.01)
                for _ in range(4):
                    await pause()
                assert len(done) == 2
        """,
        plugins=("anyio.pytest_plugin",),
    )
    result.assert_outcomes(passed=3)
    assert {each["verdict"] for each in outcomes().values()} <= {"exhaustive", "bounded"}


def test_a_pause_beside_a_task_that_polls_ends(suite: Run, outcomes: Outcomes) -> None:
    """A task that never stops polling with ``sleep(0)`` does not keep the test from going on."""
    result = suite(
        """
        async def poll():
            while True:
                await asyncio.sleep(0)

        async def work():
            await asyncio.sleep(0.01)

        async def test_it():
            await asyncio.gather(work(), work())
            task = asyncio.create_task(poll())
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
        """
    )
    result.assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] in ("exhaustive", "bounded")


def test_mocks_suspend_if_their_answers_are_varied(suite: Run) -> None:
    source = """
        from unittest.mock import AsyncMock

        async def ask(mock, order, name):
            await mock()
            order.append(name)

        async def test_it():
            order = []
            await asyncio.gather(ask(AsyncMock(), order, "a"), ask(AsyncMock(), order, "b"))
            assert order == ["a", "b"]
    """
    suite(source).assert_outcomes(passed=1)
    suite(source, "--explore-arrivals=mock").assert_outcomes(failed=1)


def test_an_exception_that_is_lost_in_each_order_is_no_failure(suite: Run, outcomes: Outcomes) -> None:
    """One that is lost under a deviation only is a failure."""
    source = """
        def fail(_):
            raise OSError

        async def work(order, name):
            await asyncio.sleep(0.01)
            order.append(name)

        async def test_it():
            order = []
            first, second = [asyncio.create_task(work(order, name)) for name in "ab"]
            await asyncio.gather(first, second)
            if CONDITION:
                asyncio.get_running_loop().call_soon(fail, None)
                await asyncio.sleep(0)
    """
    ignored = "--background-tasks-unhandled=ignore"
    suite(source.replace("CONDITION", "True"), ignored).assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] == "bounded"
    suite(source.replace("CONDITION", "order == ['b', 'a']"), ignored).assert_outcomes(failed=1)


def test_time_passes_while_a_task_polls(suite: Run, outcomes: Outcomes) -> None:
    """A test that polls with ``sleep(0)`` until another has slept is no livelock; nor is one that polls a clock."""
    suite(
        """
        import time

        async def work(done):
            await asyncio.sleep(0.01)
            done.append(1)

        async def test_it():
            done = []
            tasks = [asyncio.create_task(work(done)) for _ in range(2)]
            while len(done) < 2:
                await asyncio.sleep(0)

        async def test_clock():
            end = time.time() + 0.05
            while time.time() < end:
                await asyncio.sleep(0.01)
        """
    ).assert_outcomes(passed=2)
    assert {name: each["verdict"] for name, each in outcomes().items()} == {
        "test_it": "bounded",
        "test_clock": "exhaustive",
    }


def test_a_busy_test_is_neither_late_nor_stuck(suite: Run, outcomes: Outcomes) -> None:
    """Hundreds of turns at one moment: a far timer does not fire, and a cancelled one is no reason for a deadlock."""
    suite(
        """
        async def work():
            await asyncio.sleep(0.01)

        async def busy(turns):
            for _ in range(turns):
                await asyncio.sleep(0)

        async def test_timeout():
            await asyncio.gather(work(), work())
            await asyncio.wait_for(asyncio.create_task(busy(200)), 15)

        async def test_timeout_that_begins_late():
            await asyncio.gather(work(), work())
            limit = asyncio.get_running_loop().call_later(60, print)
            await asyncio.create_task(busy(150))
            await asyncio.wait_for(asyncio.create_task(busy(20)), 0.05)
            assert asyncio.get_running_loop().time() < limit.when()

        async def test_cancelled_timer():
            await asyncio.gather(work(), work())
            asyncio.get_running_loop().call_later(60, print).cancel()
            await asyncio.create_task(busy(200))
        """
    ).assert_outcomes(passed=3)
    assert {name: each["verdict"] for name, each in outcomes().items()} == dict.fromkeys(
        ("test_timeout", "test_timeout_that_begins_late", "test_cancelled_timer"), "bounded"
    )


def test_pause_lasts_until_nothing_is_on_its_way_over_the_network(suite: Run) -> None:
    """What is late when the pause begins may still be echoed twice, as it would have been in the default order."""
    suite(
        """
        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                self.transport.write(data)

        class Client(Echo):
            def __init__(self, echoes):
                self.received, self.echoes = [], echoes

            def data_received(self, data):
                self.received.append(data)
                if len(self.received) < self.echoes:
                    self.transport.write(data)

        async def test_it():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Echo, "127.0.0.1", 8080)
            transport, client = await loop.create_connection(lambda: Client(2), "127.0.0.1", 8080)
            reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
            transport.write(b"hello")
            for _ in range(2):
                writer.write(b"ping")
                await reader.readexactly(4)
            await asyncio.sleep(0)
            assert client.received == [b"hello", b"hello"]
            transport.close()
            writer.close()
            server.close()
            await asyncio.sleep(0.01)
        """
    ).assert_outcomes(passed=1)
