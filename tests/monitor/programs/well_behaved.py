"""The code under test: correct programs, about which nothing may be reported."""

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from misbehaving import fail, later_test, turns, wait_for_ever


async def awaited_later() -> None:
    task = asyncio.create_task(fail())
    await turns()
    with pytest.raises(ConnectionError):
        await task


async def retrieved_in_callback() -> None:
    errors: list[BaseException | None] = []
    task = asyncio.create_task(fail())
    task.add_done_callback(lambda task: errors.append(task.exception()))
    del task
    await turns()
    assert [type(error) for error in errors] == [ConnectionError]


async def exception_retrieved() -> None:
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    assert isinstance(task.exception(), ConnectionError)


async def gathered() -> None:
    task = asyncio.create_task(fail())
    [first, second] = await asyncio.gather(task, fail(), return_exceptions=True)
    assert isinstance(first, ConnectionError)
    assert isinstance(second, ConnectionError)


async def grouped() -> None:
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_ever())
            group.create_task(fail())


async def grouped_by_anyio() -> None:
    with pytest.raises(ExceptionGroup):
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_ever)
            group.start_soon(fail)


async def cancelled_and_awaited() -> None:
    task = asyncio.create_task(wait_for_ever())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_at_the_end() -> None:
    """The runner gives the task time to end."""
    task = asyncio.create_task(wait_for_ever())
    await turns()
    task.cancel()


async def ask(task: asyncio.Task[None]) -> None:
    assert isinstance(task.exception(), ConnectionError)


async def wait_and_gather(task: asyncio.Task[None]) -> None:
    await asyncio.gather(task, return_exceptions=True)


async def wait_and_catch(task: asyncio.Task[None]) -> None:
    with pytest.raises(ConnectionError):
        await task


async def wait_behind_shield(task: asyncio.Task[None]) -> None:
    with pytest.raises(ConnectionError):
        await asyncio.shield(task)


RETRIEVALS = (ask, wait_and_gather, wait_and_catch, wait_behind_shield)


async def retrieved_and_cancelled() -> None:
    for retrieve in RETRIEVALS:
        task = asyncio.create_task(fail())
        await turns()
        await retrieve(task)
        assert not task.cancel()


async def cancelled_and_retrieved() -> None:
    """The teardown of a fixture cancels all tasks, and then waits for them."""
    for retrieve in RETRIEVALS:
        task = asyncio.create_task(fail())
        await turns()
        assert not task.cancel()
        await retrieve(task)


async def cancelled_in_the_step_that_fails() -> None:
    tasks = [asyncio.create_task(fail()) for _ in range(3)]
    tasks[0].add_done_callback(lambda _: [task.cancel() for task in tasks])
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [ConnectionError] * 3


async def fire_and_forget() -> None:
    tasks = set()
    for _ in range(3):
        task = asyncio.create_task(turns())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.sleep(0)


async def ended_long_ago() -> None:
    ended = asyncio.Event()
    asyncio.create_task(turns()).add_done_callback(lambda _: ended.set())
    await ended.wait()
    gc.collect()


async def timed_out() -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(wait_for_ever(), 0.001)
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.001):
            await wait_for_ever()


async def shielded() -> None:
    release = asyncio.Event()
    task = asyncio.create_task(release.wait())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.001)
    release.set()
    await task


async def waited_to_the_end() -> None:
    """asyncio starts tasks for a waiter that does not give up."""
    await asyncio.shield(turns())
    await asyncio.wait_for(asyncio.shield(turns()), 1)
    await asyncio.gather(turns(), asyncio.gather(turns(), asyncio.shield(turns())))
    for each in asyncio.as_completed([turns(), turns()], timeout=1):
        await each
    for wait in (asyncio.shield, asyncio.gather):
        with pytest.raises(ConnectionError):
            await wait(fail())
    with pytest.raises(ConnectionError):
        await next(iter(asyncio.as_completed([fail()])))


async def outlived_its_waiter_and_ended() -> None:
    release = asyncio.Event()
    ended = []

    async def end() -> None:
        await release.wait()
        ended.append(True)

    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.shield(end())
    with pytest.raises(ConnectionError):
        await asyncio.gather(fail(), end())
    release.set()
    await turns()
    assert ended == [True, True]


async def cancelled_with_its_waiter() -> None:
    """Tasks that are not shielded are cancelled with their waiter."""
    for wait in (asyncio.gather, lambda coroutine: asyncio.gather(asyncio.gather(coroutine))):
        waiter = asyncio.create_task(asyncio.wait_for(wait(wait_for_ever()), 60))
        await turns()
        waiter.cancel()
        await turns()


async def handled_by_own_exception_handler() -> None:
    """The program tests its own error handling."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    handled: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: handled.append(context["exception"]))
    asyncio.create_task(fail())
    await turns()
    gc.collect()
    loop.set_exception_handler(before)
    assert [type(error) for error in handled] == [ConnectionError]


async def retrieved_in_thread() -> None:
    loop = asyncio.get_running_loop()
    errors = []

    def ask() -> None:
        try:
            asyncio.run_coroutine_threadsafe(fail(), loop).result()
        except ConnectionError as error:
            errors.append(error)

    await asyncio.to_thread(ask)
    assert len(errors) == 1


async def queue_of_workers() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        while True:
            await queue.get()
            queue.task_done()

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for number in range(9):
        queue.put_nowait(number)
    await queue.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def asyncio_server() -> None:
    """The handler tasks of a server belong to asyncio."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    writer.close()
    server.close()


async def run_in_another_thread() -> None:
    """Another loop runs in another thread."""
    thread = threading.Thread(target=asyncio.run, args=(awaited_later(),))
    thread.start()
    await asyncio.to_thread(thread.join)


async def earlier_tasks_woken() -> None:
    """Let the tasks of earlier tests fail now, at the very end."""
    await later_test.wake_all()


CORRECT_PROGRAMS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    function.__name__: function
    for function in (
        awaited_later,
        retrieved_in_callback,
        exception_retrieved,
        gathered,
        grouped,
        grouped_by_anyio,
        cancelled_and_awaited,
        cancelled_at_the_end,
        retrieved_and_cancelled,
        cancelled_and_retrieved,
        cancelled_in_the_step_that_fails,
        fire_and_forget,
        ended_long_ago,
        timed_out,
        shielded,
        waited_to_the_end,
        outlived_its_waiter_and_ended,
        cancelled_with_its_waiter,
        handled_by_own_exception_handler,
        retrieved_in_thread,
        queue_of_workers,
        asyncio_server,
        run_in_another_thread,
        earlier_tasks_woken,
    )
}
