"""An external answer may come later than a timer, or just before it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytest_background_tasks import DeadlockError, Explorer, answer


class Channel:
    """Hands items to waiting receivers. An item is lost if its receiver is cancelled after that."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.waiting: list[asyncio.Future[int]] = []

    async def receive(self) -> int:
        if self.items:
            return self.items.pop(0)
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    def send(self, item: int) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(item)
                return
        self.items.append(item)


def lost_item(hops: int, read: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def through(hops: int) -> None:
        if hops:
            await asyncio.create_task(through(hops - 1))

    async def scenario() -> None:
        channel = Channel()

        async def produce() -> None:
            await read()
            await through(hops)
            channel.send(1)

        async def consume() -> int:
            while True:
                try:
                    async with asyncio.timeout(1):
                        return await channel.receive()
                except TimeoutError:
                    pass

        producing = asyncio.create_task(produce())
        consuming = asyncio.create_task(consume())
        await producing
        assert await asyncio.wait_for(consuming, 10) == 1

    return scenario


async def in_thread() -> None:
    await asyncio.to_thread(len, "")


@pytest.mark.parametrize(("hops", "schedule"), [(0, "produce@1!slow-1"), (1, "produce@1!slow-3")])
def test_timer_may_fire_in_the_middle_of_what_an_answer_started(hops: int, schedule: str) -> None:
    """The item is dropped only if the timeout fires in the very iteration in which it is sent (as in anyio#728)."""
    exploration = Explorer(max_deviations=1).explore(lost_item(hops, in_thread))
    assert exploration.failure is not None
    assert isinstance(exploration.failure.error, TimeoutError)
    assert str(exploration.failure.schedule) == schedule


def test_answers_have_no_length() -> None:
    """The same item is dropped if a fake awaits `answer`, and also if its answer comes after the timer."""
    exploration = Explorer(max_deviations=1).explore(lost_item(0, answer))
    assert exploration.failure is not None
    assert str(exploration.failure.schedule) == "produce@1!slow-0"


def charging(call: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def scenario() -> None:
        charged = []

        async def charge() -> None:
            charged.append(1)
            await call()

        for _ in range(2):
            try:
                async with asyncio.timeout(5):
                    await charge()
                    break
            except TimeoutError:
                pass
        assert len(charged) == 1

    return scenario


@pytest.mark.parametrize(("call", "schedule"), [(in_thread, "main@1!slow"), (answer, "main@1+2")])
def test_answer_after_a_timeout(call: Callable[[], Coroutine[Any, Any, object]], schedule: str) -> None:
    """A customer pays twice if the answer takes longer than the timeout after which the program tries again."""
    exploration = Explorer().explore(charging(call))
    assert exploration.failure is not None
    assert isinstance(exploration.failure.error, AssertionError)
    assert str(exploration.failure.schedule) == schedule


async def in_sleep() -> None:
    await asyncio.sleep(1)


def test_sleeps_are_slow_on_request() -> None:
    """A sleep takes as long as it says, unless ``faults="slow"``."""
    assert Explorer().explore(charging(in_sleep)).failure is None
    assert Explorer(faults="slow").explore(charging(in_sleep)).verdict == "failed"


@pytest.mark.parametrize("call", [in_thread, answer])
def test_timeout_that_ends_the_test_itself_cuts_the_run(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Every answer may take longer than a limit: that alone is no finding, whatever error the program makes of it."""

    async def scenario() -> None:
        try:
            async with asyncio.timeout(300):
                await call()
        except TimeoutError as error:
            raise ConnectionError("the server does not answer") from error

    exploration = Explorer(max_deviations=3).explore(scenario)
    assert exploration.verdict == "exhaustive"
    assert exploration.cut_short > 0


def test_later_timeout_is_a_failure() -> None:
    """A test that ends in another timeout than the one that fired early has lost something."""
    exploration = Explorer(max_deviations=1).explore(lost_item(0, in_thread))
    assert exploration.failure is not None
    assert exploration.failure.trace.steps[-1].time == 11


def test_answer_may_come_in_behind_later_timers() -> None:
    """The answer of a fake enters in each order with three timers of different length; the search ends."""
    seen = set()

    async def scenario() -> None:
        order: list[str] = []

        async def ask() -> None:
            await answer()
            order.append("answer")

        async def tick(seconds: int) -> None:
            await asyncio.sleep(seconds)
            order.append(str(seconds))

        await asyncio.gather(ask(), tick(1), tick(60), tick(3600))
        seen.add(" ".join(order))

    assert Explorer(max_deviations=99, arrivals="answer").explore(scenario).verdict == "exhaustive"
    assert seen == {"answer 1 60 3600", "1 answer 60 3600", "1 60 answer 3600", "1 60 3600 answer"}


def test_answer_does_not_wait_for_a_heartbeat_without_end(heartbeat: Callable[[], None]) -> None:
    """A delayed answer lets time pass for five timers at most, so the search ends."""
    moments = set()

    async def scenario() -> None:
        heartbeat()
        await answer()
        moments.add(asyncio.get_running_loop().time())

    assert Explorer(max_deviations=99).explore(scenario).verdict == "exhaustive"
    assert len(moments) == 6


@pytest.mark.parametrize("timers", [0, 1])
def test_slow_answer_comes_although_a_task_polls(timers: int) -> None:
    """A task that waits with ``sleep(0)`` keeps the loop busy; a timer fires nevertheless, and so the answer comes."""

    async def scenario() -> None:
        for _ in range(timers):
            asyncio.get_running_loop().call_later(1, len, "")
        asking = asyncio.create_task(in_thread())
        while not asking.done():
            await asyncio.sleep(0)

    assert Explorer(replay="in_thread@1!slow").explore(scenario).verdict == "replayed"


async def stuck(channel: Channel) -> None:
    await channel.receive()


def test_deadlock_behind_a_slow_answer_is_a_failure() -> None:
    """A run is cut only if the timeout itself ends the test."""

    async def scenario() -> None:
        try:
            await asyncio.wait_for(in_thread(), 1)
        except TimeoutError:
            await stuck(Channel())

    exploration = Explorer().explore(scenario)
    assert exploration.failure is not None
    assert isinstance(exploration.failure.error, DeadlockError)


def test_answer_is_one_bare_yield_outside_an_exploration() -> None:
    """Without an exploration, `answer` lets the other tasks run once, like ``sleep(0)``."""

    async def scenario() -> list[str]:
        order = []

        async def other() -> None:
            order.append("other")

        task = asyncio.create_task(other())
        await answer()
        order.append("answer")
        await task
        return order

    assert asyncio.run(scenario()) == ["other", "answer"]
