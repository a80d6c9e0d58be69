"""What a suspended task waits for is said in words."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from threading import Event

import anyio
import pytest

from pytest_background_tasks._introspect.location import SourceLocation
from pytest_background_tasks._introspect.project_code import ProjectCode
from pytest_background_tasks._introspect.suspension import task_label, wait_point_of
from pytest_background_tasks._introspect.wait_reason import WaitPoint, WaitReason

IS_PROJECT_FILE = defaultdict(bool, {__file__: True})


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def reason_text(coroutine: Awaitable[object], after: Callable[[], object] = lambda: None) -> str:
    """Return the reason for which a task that runs `coroutine` waits, in words."""
    return re.sub(r"Task-\d+", "Task", str(await reason(coroutine, after)))


async def reason(coroutine: Awaitable[object], after: Callable[[], object] = lambda: None) -> WaitReason:
    task = asyncio.ensure_future(coroutine)
    await settle()
    try:
        wait = wait_point_of(task, IS_PROJECT_FILE)
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


async def wait_for_event():
    await asyncio.Event().wait()


async def wait_for_condition():
    async with (condition := asyncio.Condition()):
        await condition.wait()


async def wait_at_barrier():
    await asyncio.Barrier(2).wait()


async def get_from_queue():
    await asyncio.Queue().get()


async def put_into_queue():
    queue = asyncio.Queue(1)
    queue.put_nowait(1)
    await queue.put(2)


async def join_queue():
    queue = asyncio.Queue()
    queue.put_nowait(1)
    queue.put_nowait(2)
    await queue.join()


async def sleep_in_asyncio():
    await asyncio.sleep(60)


async def sleep_in_anyio():
    await anyio.sleep(60)


async def yield_repeatedly():
    while True:
        await asyncio.sleep(0)


async def await_task():
    await asyncio.create_task(forever())


async def gather_tasks():
    await asyncio.gather(forever(), forever())


async def gather_futures():
    await asyncio.gather(*[asyncio.get_running_loop().create_future() for _ in range(2)])


async def wait_for_tasks():
    await asyncio.wait([asyncio.create_task(forever(), name=f"job-{number}") for number in range(5)])


async def wait_for_coroutine():
    await asyncio.wait_for(forever(), 60)


async def wait_for_future():
    await asyncio.wait_for(asyncio.get_running_loop().create_future(), 60)


async def wait_inside_timeout():
    async with asyncio.timeout(60):
        await asyncio.Event().wait()


async def await_shielded_task():
    task = asyncio.ensure_future(forever())
    try:
        await asyncio.shield(task)
    finally:
        task.cancel()  # nobody else would, and it may be garbage-collected before the loop does


async def iterate_as_completed():
    task = asyncio.ensure_future(forever())
    try:
        for each in asyncio.as_completed([task]):
            await each
    finally:
        task.cancel()


async def exit_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(), name="one")
        group.create_task(forever(), name="two")


async def exit_group_of_one():
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(), name="one")


async def exit_anyio_group():
    async with anyio.create_task_group() as group:
        group.start_soon(forever, name="one")
        group.start_soon(forever, name="two")


async def await_future():
    await asyncio.get_running_loop().create_future()


async def receive_from_stream():
    send, receive = anyio.create_memory_object_stream(0)
    with send, receive:
        await receive.receive()


async def send_to_full_stream():
    send, receive = anyio.create_memory_object_stream(0)
    with send, receive:
        await send.send(1)


async def read_from_stream_reader():
    await asyncio.StreamReader().readline()


WORDS = {
    wait_for_event: "an event",
    wait_for_condition: "a condition to be notified",
    wait_at_barrier: "a barrier (1 of 2 tasks have arrived)",
    get_from_queue: "an item from a queue",
    put_into_queue: "space in a queue (maxsize 1)",
    join_queue: "2 unfinished items of a queue",
    sleep_in_asyncio: "a sleep of 60 s (60 s left)",
    sleep_in_anyio: "a sleep of 60 s (60 s left)",
    yield_repeatedly: "its next turn in the event loop",
    await_task: "the task Task (forever)",
    gather_tasks: "the tasks Task (forever), Task (forever)",
    gather_futures: "2 futures",
    wait_for_tasks: "the tasks job-0 (forever), job-1 (forever), job-2 (forever) and 2 more",
    wait_for_future: "a future",
    wait_inside_timeout: "an event",
    await_shielded_task: "the task Task (forever), shielded",
    iterate_as_completed: "the next task that as_completed() yields",
    exit_group: "the tasks one (forever), two (forever)",
    exit_group_of_one: "the task one (forever)",
    exit_anyio_group: "the tasks one, two",
    await_future: "a future",
    receive_from_stream: "an item from a stream",
    send_to_full_stream: "space in a stream",
    read_from_stream_reader: "data on a stream",
}


KINDS = {
    wait_for_event: "event",
    wait_for_condition: "event",
    wait_at_barrier: "event",
    get_from_queue: "queue",
    put_into_queue: "queue",
    join_queue: "queue",
    sleep_in_asyncio: "sleep",
    yield_repeatedly: "turn",
    await_task: "task",
    exit_group: "task",
    await_shielded_task: "task",
    await_future: "future",
    gather_futures: "future",
    receive_from_stream: "stream",
    read_from_stream_reader: "stream",
}


@pytest.mark.parametrize("function", KINDS, ids=lambda function: function.__name__)
async def test_each_wait_has_a_kind(function) -> None:
    """A program compares that, and not the words."""
    assert (await reason(function())).kind == KINDS[function]


@pytest.mark.parametrize("function", WORDS, ids=lambda function: function.__name__)
async def test_each_wait_has_a_description(function) -> None:
    words = await reason_text(function())
    assert re.sub(r"\(59\.\d+ s left\)", "(60 s left)", words) == WORDS[function]


async def test_wait_for_is_described_by_the_awaited_object() -> None:
    """Before 3.12 that is a task of its own."""
    assert await reason_text(wait_for_coroutine()) in {"the task Task (forever)", "an event"}


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
async def test_lock_holder_is_named(make, what: str) -> None:
    """Not who waits for it as well."""
    lock = make()
    holder = asyncio.create_task(enter(lock), name="holder")
    await settle()
    another = asyncio.create_task(enter(lock), name="another")
    try:
        assert await reason_text(enter(lock)) == f"{what} held by holder (enter)"
    finally:
        for task in (holder, another):
            task.cancel()
        await asyncio.wait([holder, another])


async def test_lock_acquired_without_async_with_has_no_known_holder() -> None:
    """Also if the code that took it is inside another lock of the kind."""

    async def take(lock, other):
        async with other:
            await lock.acquire()
            await forever()

    lock = asyncio.Lock()
    holder = asyncio.create_task(take(lock, asyncio.Lock()))
    await settle()
    assert await reason_text(enter(lock)) == "a lock"
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
async def test_thread_is_described_by_its_function(function, words: str) -> None:
    event = Event()
    assert await reason_text(function(event), after=event.set) == words


async def test_wait_for_a_child_process_is_described() -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)

    async def wait_for_it():
        await process.wait()

    assert await reason_text(wait_for_it()) == "a child process to exit"
    process.stdin.close()
    await process.wait()


async def test_wait_inside_an_async_generator_has_the_generators_line() -> None:
    async def numbers():
        await asyncio.Event().wait()
        yield 1

    async def consume():
        async for _ in numbers():
            pass

    task = asyncio.create_task(consume())
    await settle()
    wait = wait_point_of(task, IS_PROJECT_FILE)
    assert wait is not None
    assert wait.function.endswith("numbers")
    assert wait.waiting_for == "an event"
    task.cancel()
    await asyncio.wait([task])


async def test_unnamed_task_is_described_by_its_function() -> None:
    task = asyncio.create_task(asyncio.sleep(0), name="nap")
    assert task_label(task) == "nap (sleep)"
    task.set_name(None)  # type: ignore[arg-type]
    assert task_label(task) == "sleep"
    await task


async def test_task_that_is_not_suspended_has_no_wait() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    assert wait_point_of(task, IS_PROJECT_FILE) is None
    await task
    assert wait_point_of(task, IS_PROJECT_FILE) is None
    assert wait_point_of(asyncio.current_task(), IS_PROJECT_FILE) is None


async def test_wait_without_project_code_has_the_innermost_line(tmp_path) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    await settle()
    wait = wait_point_of(task, ProjectCode(tmp_path))
    assert wait is not None
    assert wait.function == "sleep"
    assert wait.waiting_for.startswith("a sleep of 60 s (")
    task.cancel()
    await asyncio.wait([task])


def test_text_of_a_wait_has_its_line_and_reason() -> None:
    wait = WaitPoint("/srv/api.py", 3, "answer", WaitReason("event", "an event"))
    assert str(wait) == "/srv/api.py:3 in answer, for an event"
    assert wait.location == SourceLocation("/srv/api.py", 3, "answer")
