"""Libraries keep working while a test captures, and project code is captured wherever it is installed."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, TypeAlias

import aiohttp
import httpcore
import httpx
import pytest
import uvicorn
import uvloop
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiojobs import Scheduler
from fastapi import BackgroundTasks as FastAPITasks
from fastapi import FastAPI
from quart import Quart

from pytest_background_tasks import BackgroundTaskNotFound, BackgroundTasks

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Return a function that runs a coroutine on a new loop of either kind."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


async def audit(text: str) -> str:
    """The project's background task that each of the servers starts."""
    return f"audited {text}"


async def assert_audited(background_tasks: BackgroundTasks, *texts: str) -> None:
    """Assert that only the audits were captured, and run them."""
    assert [task.function for task in background_tasks.captured_tasks] == ["audit"] * len(texts)
    assert await background_tasks.run_all_async() == [f"audited {text}" for text in texts]


def test_start_server_and_open_connection(background_tasks: BackgroundTasks, run: Run) -> None:
    """The handler is project code, and runs; the task that it starts is held."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = (await reader.readline()).decode()
        asyncio.create_task(audit(text))
        writer.write(text.upper().encode())
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        background_tasks.start_capturing()
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            assert await reader.read() == b"HELLO\n"
            writer.close()
            await writer.wait_closed()
        await assert_audited(background_tasks, "hello\n")

    run(main())


class TwoAddresses(AbstractResolver):
    """A resolver that returns two addresses for every host; no server listens at the first one."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in ("127.0.0.2", "127.0.0.1")
        ]

    async def close(self) -> None: ...


def test_aiohttp_server_and_client(background_tasks: BackgroundTasks, run: Run) -> None:
    """The client races two addresses through aiohappyeyeballs, keeps its connection and reuses it."""

    async def answer(request: web.Request) -> web.Response:
        asyncio.create_task(audit(request.path))
        return web.Response(text="done")

    async def main() -> None:
        background_tasks.start_capturing()
        app = web.Application()
        app.router.add_get("/{path}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://shop.example:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=TwoAddresses())) as session:
            for path in ("/one", "/two"):
                async with session.get(url + path) as response:
                    assert await response.text() == "done"
        await runner.cleanup()
        await assert_audited(background_tasks, "/one", "/two")

    run(main())


@pytest.fixture
def server() -> uvicorn.Server:
    """A uvicorn server that is not started; each of its requests starts one audit and then another."""
    app = FastAPI()

    @app.get("/{path}")
    async def answer(path: str, tasks: FastAPITasks) -> str:
        asyncio.create_task(audit(path))
        tasks.add_task(audit, "response")
        return "done"

    return uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))


async def url_of(server: uvicorn.Server) -> str:
    while not server.started:
        await asyncio.sleep(0)
    return "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())


async def ask(server: uvicorn.Server) -> None:
    url = await url_of(server)
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/one")).json() == "done"
    server.should_exit = True


async def serve_in_gather(background_tasks: BackgroundTasks, server: uvicorn.Server) -> None:
    background_tasks.start_capturing()
    await asyncio.gather(server.serve(), ask(server))


async def serve_in_task_group(background_tasks: BackgroundTasks, server: uvicorn.Server) -> None:
    background_tasks.start_capturing()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        group.create_task(ask(server))


async def serve_before_capturing(background_tasks: BackgroundTasks, server: uvicorn.Server) -> None:
    serving = asyncio.create_task(server.serve())
    background_tasks.start_capturing()
    await ask(server)
    await serving


@pytest.mark.parametrize("serve", [serve_in_gather, serve_in_task_group, serve_before_capturing])
def test_uvicorn(
    background_tasks: BackgroundTasks, run: Run, server: uvicorn.Server, serve: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    """A server in the test's loop answers and ends; both kinds of background tasks are held."""

    async def main() -> None:
        await serve(background_tasks, server)
        assert [task.function for task in background_tasks.captured_tasks] == ["audit", "audit"]
        assert await background_tasks.run_all_async() == ["audited one", None]

    run(main())


@asynccontextmanager
async def served(server: uvicorn.Server) -> AsyncIterator[str]:
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        yield await url_of(server)
        server.should_exit = True


def test_httpx(background_tasks: BackgroundTasks, run: Run, server: uvicorn.Server) -> None:
    """Requests that wait for one of two connections get it."""

    async def main() -> None:
        background_tasks.start_capturing()
        limits = httpx.Limits(max_connections=2)
        async with served(server) as url, httpx.AsyncClient(base_url=url, limits=limits) as client:
            responses = await asyncio.gather(*(client.get(f"/{number}") for number in range(6)))
            assert [response.json() for response in responses] == ["done"] * 6
        assert background_tasks.task_count == 12
        assert len(await background_tasks.run_all_async()) == 12

    run(main())


def test_httpcore(background_tasks: BackgroundTasks, run: Run, server: uvicorn.Server) -> None:
    """A pool of one connection serves requests one after the other."""

    async def main() -> None:
        background_tasks.start_capturing()
        async with served(server) as url, httpcore.AsyncConnectionPool(max_connections=1) as pool:
            responses = await asyncio.gather(*(pool.request("GET", f"{url}/{number}") for number in range(3)))
            assert [response.content for response in responses] == [b'"done"'] * 3
        assert background_tasks.task_count == 6
        assert len(await background_tasks.run_all_async()) == 6

    run(main())


def test_aiojobs(background_tasks: BackgroundTasks, run: Run) -> None:
    """Jobs of the project are held; the scheduler accepts more, waits for them, and ends."""

    async def main() -> None:
        background_tasks.start_capturing()
        async with Scheduler(limit=2) as scheduler:
            await scheduler.spawn(audit("run"))
            waited_for = await scheduler.spawn(audit("waited for"))
            assert [task.state for task in background_tasks.captured_tasks] == ["held", "held"]
            assert await waited_for.wait() == "audited waited for"
            assert await background_tasks.run_async("audit") == ["audited run"]
            await scheduler.spawn(audit("left to the scheduler"))
        assert [task.result() for task in background_tasks.captured_tasks] == [
            "audited run",
            "audited waited for",
            "audited left to the scheduler",
        ]

    run(main())


SHOP = """
    import asyncio

    async def restock(item):
        return f"{item} restocked"

    def order(item):
        return asyncio.create_task(restock(item))
"""
AIOLIB = """
    import asyncio

    async def keep_alive():
        return "alive"

    def connect():
        return asyncio.create_task(keep_alive())

    def spawn(job):
        return asyncio.create_task(job)
"""


@pytest.fixture(params=["inside", "outside"])
def installed(
    request: pytest.FixtureRequest,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A site-packages folder, inside the project or outside, with the project's wheel and a third-party library."""
    environment = pytester.path if request.param == "inside" else tmp_path_factory.mktemp("outside")
    site_packages = environment / "lib" / "site-packages"
    for folder, package, source in (
        (pytester.path / "src", "shop", SHOP),
        (site_packages, "shop", SHOP),
        (site_packages, "aiolib", AIOLIB),
    ):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(dedent(source))
    monkeypatch.syspath_prepend(str(site_packages))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return site_packages


def run_tests(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess("-Werror", "-p", "pytest_background_tasks.plugin", *options)


def test_installed_wheel_of_the_project_is_captured(pytester: pytest.Pytester, installed: Path) -> None:
    """The installed copy runs, and is captured, because its source is under the rootdir."""
    result = run_tests(
        pytester,
        f"""
        import asyncio
        import shop

        def test_it(background_tasks):
            assert shop.__file__.startswith({str(installed)!r})
            background_tasks.start_capturing()

            async def main():
                shop.order("tea")

            asyncio.run(main())
            assert [task.function for task in background_tasks.captured_tasks] == ["restock"]
            assert background_tasks.run_all_sync() == ["tea restocked"]
        """,
    )
    result.assert_outcomes(passed=1)


def test_only_project_tasks_of_a_library_are_held(pytester: pytest.Pytester, installed: Path) -> None:
    """The library's tasks run; tasks that it starts for the project, or the project starts of it, are held."""
    result = run_tests(
        pytester,
        """
        import asyncio
        import aiolib
        import shop

        def test_it(background_tasks):
            background_tasks.start_capturing()

            async def main():
                assert await asyncio.wait_for(aiolib.connect(), 10) == "alive"
                aiolib.spawn(shop.restock("tea"))
                asyncio.create_task(aiolib.keep_alive())

            asyncio.run(main())
            assert [task.function for task in background_tasks.captured_tasks] == ["restock", "keep_alive"]
            assert background_tasks.run_all_sync() == ["tea restocked", "alive"]
        """,
    )
    result.assert_outcomes(passed=1)


LIBRARY_TEST = """
    import asyncio
    import aiolib

    def test_it(background_tasks):
        background_tasks.start_capturing({only})

        async def main():
            aiolib.connect()

        asyncio.run(main())
        assert [task.function for task in background_tasks.captured_tasks] == ["keep_alive"]
        assert background_tasks.run_all_sync() == ["alive"]
"""


def test_library_named_in_the_ini_file_is_captured(pytester: pytest.Pytester, installed: Path) -> None:
    """A package in background_tasks_project_packages counts as project code."""
    result = run_tests(pytester, LIBRARY_TEST.format(only=""), "-o", "background_tasks_project_packages=aiolib")
    result.assert_outcomes(passed=1)


def test_library_function_named_as_a_target_is_captured(pytester: pytest.Pytester, installed: Path) -> None:
    """start_capturing(function) holds the tasks of that function, whatever code starts them."""
    result = run_tests(pytester, LIBRARY_TEST.format(only="aiolib.keep_alive"))
    result.assert_outcomes(passed=1)


TRACER = """
def traced(create_task):
    async def trace_coroutine(coro):
        return await coro

    def wrap_coro_or_future(coro, **kwargs):
        return create_task(trace_coroutine(coro), **kwargs)

    return wrap_coro_or_future
"""


def test_opentelemetry_instrumentation_keeps_tasks_captured(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Its instrumentation of asyncio wraps each coroutine, and creates the task itself."""
    tracer = ModuleType("opentelemetry.instrumentation.asyncio")
    exec(compile(TRACER, f"site-packages/{tracer.__name__}.py", "exec"), vars(tracer))
    monkeypatch.setattr(asyncio, "create_task", tracer.traced(asyncio.create_task))

    async def main() -> None:
        background_tasks.start_capturing()
        asyncio.create_task(audit("one"))
        task = background_tasks.assert_captured(audit, text="one")
        assert task.created_at.function.endswith("main")
        await assert_audited(background_tasks, "one")
        asyncio.create_task(audit("two"))
        background_tasks.reset()  # without a warning that a coroutine was never awaited

    run(main())
    gc.collect()


async def send(to: str, sent: list[str]) -> None:
    sent.append(to)


def quart_app(sent: list[str]) -> Any:
    app = Quart(__name__)

    @app.post("/users/<name>")
    async def register(name: str) -> dict[str, str]:
        app.add_background_task(send, name, sent)
        return {}

    return app


def test_quart_tasks_are_not_held_and_the_error_says_so(background_tasks: BackgroundTasks, run: Run) -> None:
    async def test() -> None:
        background_tasks.start_capturing()
        await quart_app([]).test_client().post("/users/ada")
        with pytest.raises(AssertionError) as raised:
            background_tasks.assert_captured("*")
        assert str(raised.value).splitlines()[1:4] == [
            "  no task that would be held was started; not held:",
            "  Quart.add_background_task.<locals>._wrapper, which quart started",
            "    to hold it:  background_tasks.start_capturing('Quart.add_background_task*')"
            "  or, in the ini file,  background_tasks_project_packages = quart",
        ]
        with pytest.raises(BackgroundTaskNotFound, match=r"_wrapper, which quart started"):
            await background_tasks.run_async(send)
        assert await background_tasks.run_all_async() == []
        assert "had nothing to run: no task that would be held" in background_tasks._context.failure_notes()

    run(test())


def test_the_hint_for_quart_helps(background_tasks: BackgroundTasks, run: Run) -> None:
    async def test() -> None:
        sent: list[str] = []
        background_tasks.start_capturing("Quart.add_background_task*")
        await quart_app(sent).test_client().post("/users/bob")
        background_tasks.assert_captured("Quart.add_background_task*")
        assert sent == []
        await background_tasks.run_all_async()
        assert sent == ["bob"]

    run(test())


@pytest.mark.parametrize(
    ("options", "capturing"),
    [(("-o", "background_tasks_project_packages=taskiq"), ""), ((), "'Receiver.callback'")],
    ids=["packages", "target"],
)
def test_the_hint_for_taskiq_helps(pytester: pytest.Pytester, options: tuple[str, ...], capturing: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from taskiq import InMemoryBroker

        broker, sent = InMemoryBroker(), []

        @broker.task
        async def send(to):
            sent.append(to)

        @pytest.mark.asyncio
        async def test_captured(background_tasks):
            sent.clear()
            background_tasks.start_capturing({capturing})
            await send.kiq("ada")
            background_tasks.assert_captured("Receiver.callback")
            assert sent == []
            await background_tasks.run_all_async()
            assert sent == ["ada"]

        @pytest.mark.asyncio
        async def test_error(background_tasks):
            background_tasks.start_capturing("nothing" if {bool(options)} else "send")
            await send.kiq("ada")
            with pytest.raises(AssertionError, match="Receiver.callback, which"):
                background_tasks.assert_captured("send")
        """
    )
    pytester.runpytest_subprocess("-W", "ignore", *options).assert_outcomes(passed=2)


def test_error_explains_why_tasks_were_not_held(background_tasks: BackgroundTasks, run: Run) -> None:
    async def test() -> None:
        background_tasks.start_capturing(ignore="audit")
        asyncio.create_task(audit("this"))
        async with asyncio.TaskGroup() as group:
            group.create_task(send("ada", []))
        with pytest.raises(BackgroundTaskNotFound) as raised:
            await background_tasks.run_async("*")
        assert str(raised.value).splitlines()[1:] == [
            "not held:",
            "  audit, which the targets of start_capturing() exclude",
            "  send, which TaskGroup.create_task starts and waits for",
        ]

    run(test())


def test_list_of_tasks_that_were_not_held_is_limited(background_tasks: BackgroundTasks, run: Run) -> None:
    async def test() -> None:
        background_tasks.start_capturing(ignore=lambda _: True)
        for number in range(200):
            space: dict[str, Any] = {}
            exec(f"async def job_{number}(): pass", space)
            asyncio.create_task(space[f"job_{number}"]())
        with pytest.raises(AssertionError, match="and 47 more$"):
            background_tasks.assert_captured("send")

    run(test())
