"""The code under test: every way to start a background task, and code that starts tasks which are none.

Copied into each project that `test_creation_apis.py` generates. `# here` marks the line that creates the task; a way
without it passes the call to the loop.
"""

import asyncio
import inspect
from asyncio import create_task
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from functools import wraps
from threading import Thread
from typing import Any, NamedTuple
from unittest.mock import AsyncMock

import anyio
import fastapi
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import Response

ran: list[str] = []
"""Whom the jobs have greeted."""

tenant = ContextVar("tenant", default="nobody")


async def greet(name: str) -> str:
    await asyncio.sleep(0)
    ran.append(name)
    return f"hello {name}"


def greet_in_thread(name: str) -> None:
    ran.append(name)


async def greet_tenant() -> str:
    return await greet(tenant.get())


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


@logged
async def greet_logged(name: str) -> str:
    return await greet(name)


class Greeter:
    async def greet(self, name: str) -> str:
        return await greet(name)


class OwnTask(asyncio.Task[Any]):
    pass


greeter = Greeter()
greet_mock = AsyncMock(greet, name="greet_mock", side_effect=greet)


class Way(NamedTuple):
    """A way to start a background task, and the expected task.

    Attributes:
        start: starts the task, and may return a response to send.
        title: the code of the way.
        since: the first Python version that has it.
        needs_loop: whether it fails without a running loop.
        is_response: whether it needs a client that receives a response.
        needs_endpoint: whether only an endpoint of FastAPI has it.
        needs_thread: whether the task waits for a thread.

    """

    start: Callable[..., Response | None]
    title: str
    name: str = "Task-*"
    function: str = "greet"
    arguments: dict[str, Any] = {"name": "Ada"}  # noqa: RUF012  # a NamedTuple's default
    result: str | None = "hello Ada"
    since: tuple[int, int] = (3, 11)
    needs_loop: bool = True
    is_response: bool = False
    needs_endpoint: bool = False
    needs_thread: bool = False

    @property
    def line(self) -> int | None:
        """The line that creates the task, if it is visible."""
        lines, first = inspect.getsourcelines(self.start)
        return next((number for number, line in enumerate(lines, first) if line.endswith("# here\n")), None)

    @property
    def created_at(self) -> tuple[str, int, str]:
        if self.line is None:
            return (__file__, greet.__code__.co_firstlineno, greet.__qualname__)
        return (__file__, self.line, self.start.__qualname__)


WAYS: dict[str, Way] = {}
NOT_BACKGROUND: dict[str, tuple[Callable[[], Awaitable[None]], str]] = {}


def way(title: str, **known: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(start: Callable[..., Any]) -> Callable[..., Any]:
        WAYS[start.__name__] = Way(start, title, **known)
        return start

    return register


def not_background(title: str) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def register(function: Callable[[], Awaitable[None]]) -> None:
        NOT_BACKGROUND[function.__name__] = (function, title)

    return register


@way("`asyncio.create_task(job())`", needs_loop=False)
def asyncio_create_task() -> None:
    asyncio.create_task(greet("Ada"))  # here


@way("`from asyncio import create_task`", needs_loop=False)
def imported_create_task() -> None:
    create_task(greet("Ada"))  # here


@way("`loop.create_task(job())`")
def loop_create_task() -> None:
    asyncio.get_running_loop().create_task(greet("Ada"))  # here


@way("`asyncio.ensure_future(job())`")
def ensure_future() -> None:
    asyncio.ensure_future(greet("Ada"))  # here


@way("`asyncio.run_coroutine_threadsafe(job(), loop)` in another thread")
def run_coroutine_threadsafe() -> None:
    loop = asyncio.get_running_loop()
    thread = Thread(target=lambda: asyncio.run_coroutine_threadsafe(greet("Ada"), loop))
    thread.start()
    thread.join()


@way("`loop.call_soon(asyncio.create_task, job())`")
def call_soon() -> None:
    asyncio.get_running_loop().call_soon(asyncio.create_task, greet("Ada"))


@way("`loop.call_soon_threadsafe(loop.create_task, job())` in another thread")
def call_soon_threadsafe() -> None:
    loop = asyncio.get_running_loop()
    thread = Thread(target=lambda: loop.call_soon_threadsafe(loop.create_task, greet("Ada")))
    thread.start()
    thread.join()


@way("`asyncio.create_task(job(), name=…)`", needs_loop=False, name="greeting")
def create_task_with_name() -> None:
    asyncio.create_task(greet("Ada"), name="greeting")  # here


@way("`asyncio.create_task(job(), context=…)`", needs_loop=False, function="greet_tenant", arguments={})
def create_task_with_context() -> None:
    context = copy_context()
    context.run(tenant.set, "Ada")
    asyncio.create_task(greet_tenant(), context=context)  # here


@way("`asyncio.create_task(job(), eager_start=True)`", needs_loop=False, since=(3, 14))
def create_task_with_eager_start() -> None:
    asyncio.create_task(greet("Ada"), eager_start=True)  # here


@way("a loop with `asyncio.eager_task_factory`", since=(3, 12))
def eager_task_factory() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        asyncio.create_task(greet("Ada"))  # here
    finally:
        loop.set_task_factory(None)  # uvloop does not run with it on 3.13.0


@way("a loop with a task factory of the project's own")
def own_task_factory() -> None:
    asyncio.get_running_loop().set_task_factory(lambda loop, job, **kwargs: OwnTask(job, loop=loop, **kwargs))
    asyncio.create_task(greet("Ada"))  # here


@way("the coroutine of an `AsyncMock`", needs_loop=False, function="greet_mock")
def async_mock() -> None:
    asyncio.create_task(greet_mock("Ada"))  # here


@way(
    "a decorated coroutine function",
    needs_loop=False,
    function="greet_logged",
    arguments={"args": ("Ada",), "kwargs": {}},
)
def decorated_function() -> None:
    asyncio.create_task(greet_logged("Ada"))  # here


@way("a bound method", needs_loop=False, function="Greeter.greet", arguments={"self": greeter, "name": "Ada"})
def bound_method() -> None:
    asyncio.create_task(greeter.greet("Ada"))  # here


@way("Starlette: `BackgroundTasks.add_task(job)`", result=None, is_response=True)
def starlette_add_task() -> Response:
    tasks = BackgroundTasks()
    tasks.add_task(greet, "Ada")  # here
    return Response(background=tasks)


@way(
    "Starlette: `BackgroundTasks.add_task(job)`, a `def` function",
    function="greet_in_thread",
    result=None,
    is_response=True,
    needs_thread=True,
)
def starlette_add_task_def() -> Response:
    tasks = BackgroundTasks()
    tasks.add_task(greet_in_thread, "Ada")  # here
    return Response(background=tasks)


@way("Starlette: `Response(background=BackgroundTask(job))`", result=None, is_response=True)
def starlette_background() -> Response:
    return Response(background=BackgroundTask(greet, "Ada"))  # here


@way("FastAPI: a parameter `tasks: BackgroundTasks`", result=None, needs_endpoint=True)
def fastapi_parameter(tasks: fastapi.BackgroundTasks) -> None:
    tasks.add_task(greet, "Ada")  # here


@not_background("children of an `asyncio.TaskGroup`")
async def task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(greet("Ada"))


@not_background("`asyncio.gather(job())`")
async def gather() -> None:
    await asyncio.gather(greet("Ada"))


@not_background("`asyncio.wait_for(job(), …)`")
async def wait_for() -> None:
    await asyncio.wait_for(greet("Ada"), 10)


@not_background("`asyncio.as_completed([job()])`")
async def as_completed() -> None:
    for first in asyncio.as_completed([greet("Ada")]):
        await first


@not_background("`asyncio.shield(job())`")
async def shield() -> None:
    await asyncio.shield(greet("Ada"))


@not_background("`start_soon(job)` of an anyio task group")
async def anyio_task_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(greet, "Ada")


@not_background("the handlers of `asyncio.start_server`")
async def handler_of_start_server() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet("Ada")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.read()
        writer.close()
        await writer.wait_closed()


async def begin(name: str, tasks: fastapi.BackgroundTasks | None = None) -> Response | None:
    """Start the way `name` in the running loop, and run one iteration of the loop, which may make the call."""
    if name in NOT_BACKGROUND:
        function, _ = NOT_BACKGROUND[name]
        await function()
        return None
    response = WAYS[name].start(tasks) if WAYS[name].needs_endpoint else WAYS[name].start()
    await asyncio.sleep(0)
    return response
