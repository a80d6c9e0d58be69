"""A sleep in a fake stands for I/O, whose duration is unknown; a length that was written differently is a statement.

Four wrong programs and twelve correct ones, explored by ``@explore`` and by ``pytest --explore``.
"""

from collections.abc import Callable

import pytest

APP = """
import asyncio

class Shop:
    "Sells one seat twice if another buyer looks while the first one pays."
    def __init__(self, look, pay):
        self.look, self.pay, self.sold = look, pay, []

    async def buy(self, name, looks=0):
        for _ in range(looks):
            await self.look()
        if not self.sold:
            await self.pay()
            self.sold.append(name)

async def add(store, looks=0):
    for _ in range(looks):
        await store.look()
    value = await store.get()
    await store.set(value + 1)

class Debounced:
    def __init__(self, call):
        self.call, self.timer = call, None

    def __call__(self):
        if self.timer:
            self.timer.cancel()
        self.timer = asyncio.create_task(self.later())

    async def later(self):
        await asyncio.sleep(0.05)
        self.call()

async def fetch(get):
    for pause in (0.01, 0.02):
        try:
            return await get()
        except ConnectionError:
            await asyncio.sleep(pause)
    return await get()

class Ticker:
    def __init__(self, length):
        self.ticks, self.length = 0, length

    async def run(self):
        while True:
            await asyncio.sleep(self.length)
            self.ticks += 1

class Cache(dict):
    def put(self, key, value):
        self[key] = value
        asyncio.get_running_loop().call_later(0.02, self.pop, key, None)
"""

TESTS = """
import asyncio
import pytest
import app
{more}

async def io():
    await asyncio.sleep(0.01)

async def slow():
    await asyncio.sleep(0.02)

class Store:
    def __init__(self):
        self.value = 0

    async def look(self):
        await asyncio.sleep(0.01)

    async def get(self):
        return self.value

    async def set(self, value):
        await asyncio.sleep(0.01)
        self.value = value

# Wrong programs.

async def test_wrong_equal_calls():
    shop = app.Shop(io, io)
    await asyncio.gather(shop.buy("ada"), shop.buy("bob", looks=2))
    assert len(shop.sold) == 1

async def test_wrong_one_long_call_against_two_short_ones():
    ada, shop = app.Shop(io, slow), app.Shop(io, slow)
    shop.sold = ada.sold
    await asyncio.gather(ada.buy("ada"), shop.buy("bob", looks=2))
    assert len(shop.sold) == 1

async def test_wrong_lost_update():
    store = Store()
    await asyncio.gather(app.add(store), app.add(store, looks=2))
    assert store.value == 2

async def test_missed_different_calls():
    shop = app.Shop(slow, io)
    await asyncio.gather(shop.buy("ada"), shop.buy("bob", looks=1))
    assert len(shop.sold) == 1

# Correct programs.

async def test_debounce():
    calls = []
    debounced = app.Debounced(lambda: calls.append(1))
    for _ in range(3):
        debounced()
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(calls) == 1

async def test_first_completed():
    fast, late = asyncio.create_task(io()), asyncio.create_task(slow())
    done, _ = await asyncio.wait([fast, late], return_when="FIRST_COMPLETED")
    assert done == {fast}
    await late

async def test_as_completed():
    got = []
    async def fake(length):
        await asyncio.sleep(length)
        got.append(length)
    await asyncio.gather(*map(fake, (0.03, 0.01, 0.02)))
    assert got == [0.01, 0.02, 0.03]

async def test_retry_with_backoff():
    answers = iter([ConnectionError, ConnectionError, None])
    async def get():
        await asyncio.sleep(0.01)
        if error := next(answers):
            raise error
        return "page"
    assert await asyncio.wait_for(app.fetch(get), 0.5) == "page"

async def test_timeout_around_a_long_sleep():
    async def endless():
        await asyncio.sleep(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(endless(), 0.01)

async def test_polling():
    store = Store()
    working = asyncio.create_task(app.add(store, looks=1))
    for _ in range(5):
        if working.done():
            break
        await asyncio.sleep(0.01)
    assert store.value == 1

async def test_polling_in_a_helper():
    store = Store()
    working = asyncio.create_task(app.add(store, looks=1))
    async def wait_until(condition):
        for _ in range(10):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError
    await wait_until(working.done)

async def test_ticker():
    ticker = app.Ticker(0.01)
    running = asyncio.create_task(ticker.run())
    await asyncio.sleep(0.035)
    assert ticker.ticks == 3
    running.cancel()

async def test_cache_expires():
    cache = app.Cache()
    cache.put("x", 1)
    await asyncio.sleep(0.01)
    assert "x" in cache
    await asyncio.sleep(0.02)
    assert "x" not in cache

async def test_heartbeats_while_a_server_thinks():
    async def ask():
        await asyncio.sleep(0.05)
    ticker = app.Ticker(0.02)
    running = asyncio.create_task(ticker.run())
    await ask()
    assert ticker.ticks == 2
    running.cancel()

async def test_concurrency_is_faster():
    began = asyncio.get_running_loop().time()
    await asyncio.gather(io(), io(), io())
    assert asyncio.get_running_loop().time() - began < 0.015

async def test_true_of_io_slow_consumer_drops():
    queue, dropped = asyncio.Queue(2), []
    async def produce():
        for each in range(3):
            if queue.full():
                dropped.append(each)
            else:
                queue.put_nowait(each)
            await asyncio.sleep(0.01)
    async def consume():
        for _ in range(3):
            await asyncio.sleep(0.01)
            if not queue.empty():
                queue.get_nowait()
    await asyncio.gather(produce(), consume())
    assert not dropped
"""

Failing = Callable[..., set[str]]


@pytest.fixture
def failing(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> Failing:
    """Run the programs; return the names of those that fail."""

    def failing(more: str, *args: str) -> set[str]:
        pytester.makepyfile(app=APP)
        plugins = ("pytest_asyncio.plugin",)
        result = run(TESTS.replace("{more}", more), "--asyncio-mode=auto", "-p", "no:randomly", *args, plugins=plugins)
        ran = sum(result.parseoutcomes().get(each, 0) for each in ("passed", "failed", "deselected"))
        assert ran == 16
        lines = [line for line in result.outlines if line.startswith("FAILED ")]
        return {line.partition("::test_")[2].partition(" ")[0] for line in lines}

    return failing


def test_equal_sleeps_of_fakes_end_in_any_order(failing: Failing) -> None:
    """Three of the wrong programs are found; a correct one fails, whose producer and consumer rely on equal speed."""
    more = "from pytest_background_tasks import explore\npytestmark = pytest.mark.explore(max_schedules=3000)"
    assert failing(more) == {
        "wrong_equal_calls",
        "wrong_one_long_call_against_two_short_ones",
        "wrong_lost_update",
        "true_of_io_slow_consumer_drops",
    }


def test_durations_in_a_suite_are_as_written(failing: Failing) -> None:
    """A suite was not written to be explored: only the program fails whose sleeps are due at the same moment."""
    real_time = "not concurrency_is_faster"  # the usual run measures it
    assert failing("", "--explore", "--explore-max-deviations=2", "-k", real_time) == {
        "wrong_one_long_call_against_two_short_ones"
    }
