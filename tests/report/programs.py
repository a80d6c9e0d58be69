"""Small programs that fail, one for each way in which a run can differ or fail. The snapshots name their lines."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from unittest.mock import AsyncMock


async def late_start():
    seen = []

    async def first():
        seen.append(1)

    async def second():
        seen.append(2)

    await asyncio.gather(first(), second())
    assert seen == [1, 2]


async def late_sleep():
    seen = []

    async def nap(number):
        await asyncio.sleep(1)
        seen.append(number)

    await asyncio.gather(nap(1), nap(2))
    assert seen == [1, 2]


async def late_timer():
    seen = []
    loop = asyncio.get_running_loop()
    loop.call_later(1, seen.append, 1)
    loop.call_later(1, seen.append, 2)
    await asyncio.sleep(2)
    assert seen == [1, 2]


async def late_thread():
    seen = []

    def work(number):
        return number

    async def call(number):
        seen.append(await asyncio.to_thread(work, number))

    await asyncio.gather(call(1), call(2))
    assert seen == [1, 2]


async def late_mock():
    seen = []
    mock = AsyncMock(side_effect=lambda number: number)

    async def call(number):
        seen.append(await mock(number))

    await asyncio.gather(call(1), call(2))
    assert seen == [1, 2]


async def any_step():
    seen = []
    event = asyncio.Event()

    async def wait(number):
        await event.wait()
        seen.append(number)

    tasks = [asyncio.create_task(wait(1)), asyncio.create_task(wait(2))]
    await asyncio.sleep(0)
    event.set()
    await asyncio.gather(*tasks)
    assert seen == [1, 2]


async def late_from_a_thread_of_its_own():
    seen = []
    loop = asyncio.get_running_loop()

    async def call():
        answers = [loop.run_in_executor(None, int, number) for number in (1, 2)]
        for answer in answers:
            answer.add_done_callback(lambda done: seen.append(done.result()))
        await asyncio.gather(*answers)

    await call()
    assert seen == [1, 2]


async def cancel_after():
    done = []

    async def client():
        await asyncio.sleep(5)
        done.append(1)

    await asyncio.gather(client(), return_exceptions=True)
    assert done


async def cancel_start():
    done = []

    async def client():
        done.append(1)

    await asyncio.gather(client(), return_exceptions=True)
    assert done


async def failing_answer():
    state = {"busy": False}

    async def save():
        state["busy"] = True
        try:
            await asyncio.sleep(0)
        except ConnectionError:
            return
        state["busy"] = False

    await asyncio.gather(save())
    assert not state["busy"]


async def slow_answer():
    result = []

    async def fetch():
        try:
            async with asyncio.timeout(10):
                await asyncio.to_thread(sum, [1])
                result.append(1)
        except TimeoutError:
            pass

    await fetch()
    assert result


async def several():
    order = []

    async def one():
        await asyncio.sleep(0)
        order.append("one")

    async def two():
        await asyncio.sleep(0)
        order.append("two")

    async def three():
        await asyncio.sleep(0)
        order.append("three")

    await asyncio.gather(one(), two(), three())
    assert order != ["three", "two", "one"]


async def deadlock():
    lock = asyncio.Lock()
    async with lock:
        async with lock:
            pass


async def livelock():
    async def spin():
        while True:
            await asyncio.sleep(0)

    await spin()


async def leak():
    async def job():
        await asyncio.sleep(3600)

    asyncio.create_task(job())
    await asyncio.sleep(0)


async def background():
    keep = []

    async def job():
        await asyncio.sleep(0)
        raise KeyError("lost")

    keep.append(asyncio.create_task(job()))
    for _ in range(3):
        await asyncio.sleep(0)


async def background_late():
    keep, ready = [], []

    async def job():
        await asyncio.sleep(0)
        ready[0]

    keep.append(asyncio.create_task(job()))
    await asyncio.sleep(0)
    ready.append(1)
    for _ in range(6):
        await asyncio.sleep(0)


async def never_came():
    got = []

    async def job():
        await asyncio.sleep(0)
        got.append(1)

    asyncio.create_task(job())
    for _ in range(2):
        await asyncio.sleep(0)
    assert got


async def twenty():
    total = 0

    async def add():
        nonlocal total
        before = total
        await asyncio.sleep(0)
        total = before + 1

    await asyncio.gather(*(add() for _ in range(20)))
    assert total == 1


async def hostile_names():
    total = 0

    async def add(wait):
        nonlocal total
        for _ in range(wait):
            await asyncio.sleep(0)
        before = total  # 读 总数
        await asyncio.sleep(0)
        total = before + 1

    first = asyncio.create_task(add(0), name="任务一号任务一号任务一号任务一号任务一号")
    second = asyncio.create_task(add(1), name="\x1b[31m<script>\n\u202e evil " + "x" * 200)
    await asyncio.gather(first, second)
    assert total == 2


async def long():
    total = 0

    async def add(wait):
        nonlocal total
        for number in range(wait):
            await asyncio.sleep(0)
            hash(number)
        before = total
        await asyncio.sleep(0)
        total = before + 1
        for number in range(300):
            await asyncio.sleep(0)
            hash(number)

    await asyncio.gather(add(300), add(301))
    assert total == 2


async def timed_out():
    ready = asyncio.Event()

    async def server():
        raise OSError("no port")

    async def client():
        await ready.wait()

    async with asyncio.timeout(5):
        await asyncio.gather(server(), client(), return_exceptions=True)


Program = Callable[[], Coroutine[Any, Any, None]]
PROGRAMS: dict[Program, dict[str, Any]] = {
    late_start: {},
    late_sleep: {"arrivals": "sleep"},
    late_timer: {},
    late_thread: {"arrivals": "thread"},
    late_from_a_thread_of_its_own: {"arrivals": "thread"},
    late_mock: {"arrivals": "mock"},
    any_step: {"arrivals": "any"},
    cancel_after: {"replay": "client@1!cancel+1"},
    cancel_start: {"faults": "cancel"},
    failing_answer: {"faults": [ConnectionError]},
    slow_answer: {"faults": "slow"},
    several: {},
    deadlock: {},
    livelock: {"max_steps": 50},
    leak: {"fail_on_leaks": True},
    background: {},
    background_late: {},
    never_came: {},
    twenty: {},
    hostile_names: {},
    long: {"max_deviations": 1},
    timed_out: {},
}
