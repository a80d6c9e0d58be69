"""What a suspended task waits for is said in words."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from threading import Event

import anyio
import pytest

from pytest_background_tasks.own import OwnCode
from pytest_background_tasks.sites import SourceLocation
from pytest_background_tasks.wait_reason import WaitPoint, WaitReason
from pytest_background_tasks.waits import known, wait_of

IS_OWN = defaultdict(bool, {__file__: True})


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def told(coroutine: Awaitable[object], after: Callable[[], object] = lambda: None) -> str:
    """Return the reason for which a task that runs `coroutine` waits, in words."""
    return re.sub(r"Task-\d+", "Task", str(await reason(coroutine, after)))


async def reason(coroutine: Awaitable[object], after: Callable[[], object] = lambda: None) -> WaitReason:
    task = asyncio.ensure_future(coroutine)
    await settle()
    try:
        wait = wait_of(task, IS_OWN)
        assert wait is not None
        assert wait.file == __file__
        assert wait.waiting_for == str(wait.reason)
        return wait.reason
    finally:
        after()
        task.cancel()
        await asyncio.wait([task])
        task.cancelled() or task.exception()


async def forever() -> None:
    await asyncio.Event().wait()


async def enter(lock) -> None:
    async with lock:
        await forever()


async def of_event():
    await asyncio.Event().wait()


async def of_condition():
    async with (condition := asyncio.Condition()):
        await condition.wait()


async def of_barrier():
    await asyncio.Barrier(2).wait()


async def of_get():
    await asyncio.Queue().get()


async def of_put():
    queue = asyncio.Queue(1)
    queue.put_nowait(1)
    await queue.put(2)


async def of_join():
    queue = asyncio.Queue()
    queue.put_nowait(1)
    queue.put_nowait(2)
    await queue.join()


async def of_sleep():
    await asyncio.sleep(60)


async def of_anyio_sleep():
    await anyio.sleep(60)


async def of_bare_yield():
    while True:
        await asyncio.sleep(0)


async def of_task():
    await asyncio.create_task(forever())


async def of_gather():
    await asyncio.gather(forever(), forever())


async def of_gathered_futures():
    await asyncio.gather(*[asyncio.get_running_loop().create_future() for _ in range(2)])


async def of_wait():
    await asyncio.wait([asyncio.create_task(forever(), name=f"job-{number}") for number in range(5)])


async def of_wait_for():
    await asyncio.wait_for(forever(), 60)


async def of_wait_for_future():
    await asyncio.wait_for(asyncio.get_running_loop().create_future(), 60)


async def of_timeout():
    async with asyncio.timeout(60):
        await asyncio.Event().wait()


async def of_shield():
    await asyncio.shield(forever())


async def of_as_completed():
    for each in asyncio.as_completed([forever()]):
        await each


async def of_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(), name="one")
        group.create_task(forever(), name="two")


async def of_group_of_one():
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(), name="one")


async def of_anyio_group():
    async with anyio.create_task_group() as group:
        group.start_soon(forever, name="one")
        group.start_soon(forever, name="two")


async def of_future():
    await asyncio.get_running_loop().create_future()


async def of_stream():
    send, receive = anyio.create_memory_object_stream(0)
    with send, receive:
        await receive.receive()


async def of_full_stream():
    send, receive = anyio.create_memory_object_stream(0)
    with send, receive:
        await send.send(1)


async def of_reader():
    await asyncio.StreamReader().readline()


WORDS = {
    of_event: "an event",
    of_condition: "a condition to be notified",
    of_barrier: "a barrier (1 of 2 tasks have arrived)",
    of_get: "an item from a queue",
    of_put: "space in a queue (maxsize 1)",
    of_join: "2 unfinished items of a queue",
    of_sleep: "a sleep of 60 s (60 s left)",
    of_anyio_sleep: "a sleep of 60 s (60 s left)",
    of_bare_yield: "its next turn in the event loop",
    of_task: "the task Task (forever)",
    of_gather: "the tasks Task (forever), Task (forever)",
    of_gathered_futures: "2 futures",
    of_wait: "the tasks job-0 (forever), job-1 (forever), job-2 (forever) and 2 more",
    of_wait_for_future: "a future",
    of_timeout: "an event",
    of_shield: "the task Task (forever), shielded",
    of_as_completed: "the next task that as_completed() yields",
    of_group: "the tasks one (forever), two (forever)",
    of_group_of_one: "the task one (forever)",
    of_anyio_group: "the tasks one, two",
    of_future: "a future",
    of_stream: "an item from a stream",
    of_full_stream: "space in a stream",
    of_reader: "data on a stream",
}


KINDS = {
    of_event: "event",
    of_condition: "event",
    of_barrier: "event",
    of_get: "queue",
    of_put: "queue",
    of_join: "queue",
    of_sleep: "sleep",
    of_bare_yield: "turn",
    of_task: "task",
    of_group: "task",
    of_shield: "task",
    of_future: "future",
    of_gathered_futures: "future",
    of_stream: "stream",
    of_reader: "stream",
}


@pytest.mark.parametrize("function", KINDS, ids=lambda function: function.__name__)
async def test_each_way_of_waiting_has_its_kind(function) -> None:
    """A program compares that, and not the words."""
    assert (await reason(function())).kind == KINDS[function]


@pytest.mark.parametrize("function", WORDS, ids=lambda function: function.__name__)
async def test_each_way_of_waiting_has_its_words(function) -> None:
    words = await told(function())
    assert re.sub(r"\(59\.\d+ s left\)", "(60 s left)", words) == WORDS[function]


async def test_of_wait_for_it_tells_what_is_waited_for() -> None:
    """Before 3.12 that is a task of its own."""
    assert await told(of_wait_for()) in {"the task Task (forever)", "an event"}


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (asyncio.Lock, "a lock"),
        (lambda: asyncio.Semaphore(1), "a semaphore"),
        (anyio.Lock, "a lock"),
        (lambda: anyio.Semaphore(1), "a semaphore"),
        (lambda: anyio.CapacityLimiter(1), "a limiter"),
    ],
)
async def test_who_is_inside_a_lock_is_named_as_its_holder(make, what: str) -> None:
    """Not who waits for it as well."""
    lock = make()
    holder = asyncio.create_task(enter(lock), name="holder")
    await settle()
    another = asyncio.create_task(enter(lock), name="another")
    try:
        assert await told(enter(lock)) == f"{what} held by holder (enter)"
    finally:
        for task in (holder, another):
            task.cancel()
        await asyncio.wait([holder, another])


async def test_a_lock_that_was_taken_by_hand_has_no_known_holder() -> None:
    """Also if the code that took it is inside another lock of the kind."""

    async def take(lock, other):
        async with other:
            await lock.acquire()
            await forever()

    lock = asyncio.Lock()
    holder = asyncio.create_task(take(lock, asyncio.Lock()))
    await settle()
    assert await told(enter(lock)) == "a lock"
    holder.cancel()
    await asyncio.wait([holder])


async def sleep_in_thread(event: Event) -> None:
    await asyncio.to_thread(event.wait)


async def sleep_in_anyio_thread(event: Event) -> None:
    await anyio.to_thread.run_sync(event.wait)


async def sleep_in_executor(event: Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (sleep_in_thread, "a thread that runs Event.wait"),
        (sleep_in_anyio_thread, "a thread that runs Event.wait"),
        (sleep_in_executor, "a thread"),
    ],
)
async def test_a_thread_is_named_by_what_it_runs(function, words: str) -> None:
    event = Event()
    assert await told(function(event), after=event.set) == words


async def test_a_child_process() -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)

    async def wait_for_it():
        await process.wait()

    assert await told(wait_for_it()) == "a child process to exit"
    process.stdin.close()
    await process.wait()


async def test_inside_an_asynchronous_generator_the_line_is_the_generators() -> None:
    async def numbers():
        await asyncio.Event().wait()
        yield 1

    async def consume():
        async for _ in numbers():
            pass

    task = asyncio.create_task(consume())
    await settle()
    wait = wait_of(task, IS_OWN)
    assert wait is not None
    assert wait.function.endswith("numbers")
    assert wait.waiting_for == "an event"
    task.cancel()
    await asyncio.wait([task])


async def test_a_task_without_a_name_is_known_by_its_function() -> None:
    task = asyncio.create_task(asyncio.sleep(0), name="nap")
    assert known(task) == "nap (sleep)"
    task.set_name(None)  # type: ignore[arg-type]
    assert known(task) == "sleep"
    await task


async def test_what_runs_or_has_not_started_or_has_ended_waits_for_nothing() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    assert wait_of(task, IS_OWN) is None
    await task
    assert wait_of(task, IS_OWN) is None
    assert wait_of(asyncio.current_task(), IS_OWN) is None


async def test_without_a_line_of_the_projects_own_it_is_the_innermost(tmp_path) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    await settle()
    wait = wait_of(task, OwnCode(tmp_path))
    assert wait is not None
    assert wait.function == "sleep"
    assert wait.waiting_for.startswith("a sleep of 60 s (")
    task.cancel()
    await asyncio.wait([task])


def test_it_reads_as_a_place_and_a_reason() -> None:
    wait = WaitPoint("/srv/api.py", 3, "answer", WaitReason("event", "an event"))
    assert str(wait) == "/srv/api.py:3 in answer, for an event"
    assert wait.location == SourceLocation("/srv/api.py", 3, "answer")
