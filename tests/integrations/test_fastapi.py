"""For held background tasks of a FastAPI request, the same resources are open as in production."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import httpx
import pytest
from fastapi import BackgroundTasks as Later
from fastapi import Depends, FastAPI, UploadFile
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.testclient import TestClient

from pytest_background_tasks import BackgroundTasks


class Session:
    def __init__(self, log: list[str], name: str = "session") -> None:
        self.is_open, self.log, self.name = True, log, name

    def add(self, row: str) -> None:
        assert self.is_open, "session is closed"
        self.log.append(row)

    def close(self) -> None:
        self.is_open = False
        self.log.append(f"{self.name} closed")


@pytest.fixture
def log() -> list[str]:
    return []


async def write(session: Session, row: str) -> None:
    session.add(row)


async def fail(session: Session) -> None:
    session.add("failing")
    raise ConnectionError("no server")


def app_with(get_session: Callable[..., Any]) -> FastAPI:
    app = FastAPI()

    @app.post("/rows/{row}")
    async def order(row: str, later: Later, session: Annotated[Session, Depends(get_session)]) -> None:
        later.add_task(write, session, row)

    @app.post("/two")
    async def order_two(later: Later, session: Annotated[Session, Depends(get_session)]) -> None:
        later.add_task(write, session, "one")
        later.add_task(write, session, "two")

    @app.post("/failing")
    async def order_failing(later: Later, session: Annotated[Session, Depends(get_session)]) -> None:
        later.add_task(fail, session)

    @app.post("/response")
    async def answer(session: Annotated[Session, Depends(get_session)]) -> Response:
        return Response(background=BackgroundTask(write, session, "with response"))

    return app


async def post(app: FastAPI, path: str, **arguments: Any) -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        (await client.post(path, **arguments)).raise_for_status()


@pytest.fixture(params=["async def", "def"])
def get_session(request: pytest.FixtureRequest, log: list[str]) -> Callable[[], Any]:
    async def get_async() -> AsyncIterator[Session]:
        session = Session(log)
        try:
            yield session
        except ConnectionError:
            log.append("rolled back")
            raise
        finally:
            session.close()

    def get_sync() -> Iterator[Session]:
        session = Session(log)
        try:
            yield session
        except ConnectionError:
            log.append("rolled back")
            raise
        finally:
            session.close()

    return get_async if request.param == "async def" else get_sync


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/rows/tea", ["tea", "session closed"]),
        ("/two", ["one", "two", "session closed"]),
        ("/response", ["with response", "session closed"]),
    ],
)
async def test_dependency_stays_open_until_its_last_held_task_has_ended(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any], path: str, expected: list[str]
) -> None:
    app = app_with(get_session)
    await post(app, path)
    assert log == expected, "in production"
    log.clear()
    background_tasks.start_capturing()
    await post(app, path)
    assert log == []
    await background_tasks.run_all_async()
    assert log == expected


async def test_each_request_has_its_own_dependency(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any]
) -> None:
    background_tasks.start_capturing()
    app = app_with(get_session)
    await post(app, "/rows/tea")
    await post(app, "/rows/coffee")
    await background_tasks.run_async(lambda task: task.arguments["row"] == "coffee")
    assert log == ["coffee", "session closed"]
    await background_tasks.run_all_async()
    assert log == ["coffee", "session closed", "tea", "session closed"]


async def test_exit_code_receives_the_error_of_the_task(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any]
) -> None:
    background_tasks.start_capturing()
    await post(app_with(get_session), "/failing")
    with pytest.raises(ConnectionError, match="no server"):
        await background_tasks.run_all_async()
    assert log == ["failing", "rolled back", "session closed"]


async def test_dependencies_of_dependencies_close_in_reverse_order(
    background_tasks: BackgroundTasks, log: list[str]
) -> None:
    async def engine() -> AsyncIterator[Session]:
        session = Session(log, "engine")
        yield session
        session.close()

    async def get_session(engine: Annotated[Session, Depends(engine)]) -> AsyncIterator[Session]:
        session = Session(log)
        yield session
        assert engine.is_open
        session.close()

    background_tasks.start_capturing()
    await post(app_with(get_session), "/rows/tea")
    await background_tasks.run_all_async()
    assert log == ["tea", "session closed", "engine closed"]


async def test_an_uploaded_file_can_be_read(background_tasks: BackgroundTasks) -> None:
    app, read = FastAPI(), []

    async def keep(file: UploadFile) -> None:
        read.append(await file.read())

    @app.post("/files")
    async def upload(file: UploadFile, later: Later) -> None:
        later.add_task(keep, file)

    background_tasks.start_capturing()
    await post(app, "/files", files={"file": b"tea"})
    [task] = background_tasks.captured_tasks
    await background_tasks.run_all_async()
    assert read == [b"tea"]
    assert task.arguments["file"].file.closed


def test_dependency_stays_open_with_an_entered_client_in_a_def_test(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any]
) -> None:
    background_tasks.start_capturing()
    with TestClient(app_with(get_session)) as client:
        client.post("/rows/tea")
        assert log == []
        background_tasks.run_all_sync()
        assert log == ["tea", "session closed"]


def test_dependency_closes_with_the_loop_of_a_client_not_entered(
    background_tasks: BackgroundTasks, log: list[str]
) -> None:
    async def get_session() -> AsyncIterator[Session]:
        session = Session(log)
        try:
            yield session
        finally:
            session.close()

    background_tasks.start_capturing()
    TestClient(app_with(get_session)).post("/rows/tea")
    with pytest.raises(AssertionError, match="session is closed") as raised:
        background_tasks.run_all_sync()
    assert "its loop was closed before the test ran the task" in raised.value.__notes__[-1]
    assert log == ["session closed"]


async def test_tasks_that_are_not_held_run_as_in_production(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any]
) -> None:
    background_tasks.start_capturing(ignore="write")
    await post(app_with(get_session), "/two")
    assert log == ["one", "two", "session closed"]


async def test_reset_closes_the_dependency(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any]
) -> None:
    background_tasks.start_capturing()
    await post(app_with(get_session), "/two")
    background_tasks.reset()
    await background_tasks.run_until_idle_async()
    assert log == ["session closed"]


async def test_cancelling_the_held_task_closes_the_dependency(
    background_tasks: BackgroundTasks, log: list[str], get_session: Callable[[], Any]
) -> None:
    background_tasks.start_capturing()
    await post(app_with(get_session), "/rows/tea")
    background_tasks.captured_tasks[0].task.cancel()
    await background_tasks.run_until_idle_async()
    assert log == ["session closed"]


def test_dependency_is_closed_at_the_end_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import httpx, pytest
        from fastapi import BackgroundTasks, Depends, FastAPI

        app, log = FastAPI(), []

        async def get_session():
            try:
                yield "session"
            finally:                                # the loop ends before the fixture does
                log.append("closed")

        async def write(session): ...

        @app.post("/")
        async def order(later: BackgroundTasks, session: str = Depends(get_session)):
            later.add_task(write, session)

        @pytest.mark.asyncio
        async def test_1(background_tasks):
            background_tasks.start_capturing()
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await client.post("/")
            assert log == []

        def test_2():
            assert log == ["closed"]
        """
    )
    options = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:randomly")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before, a task does not show its context")
async def test_the_exit_code_runs_in_the_context_of_the_request(
    background_tasks: BackgroundTasks, log: list[str]
) -> None:
    variable = ContextVar("variable", default="unset")

    async def get_session() -> AsyncIterator[Session]:
        token = variable.set("set")
        yield Session(log)
        variable.reset(token)

    background_tasks.start_capturing()
    await post(app_with(get_session), "/rows/tea")
    await background_tasks.run_all_async()
    assert log == ["tea"]


async def test_dependency_in_a_task_group_is_closed_and_the_error_says_so(
    background_tasks: BackgroundTasks, log: list[str]
) -> None:
    async def get_session() -> AsyncIterator[Session]:
        async with anyio.create_task_group() as group:
            assert group
            session = Session(log)
            yield session
            session.close()

    background_tasks.start_capturing()
    await post(app_with(get_session), "/rows/tea")
    with pytest.raises(AssertionError, match="session is closed") as raised:
        await background_tasks.run_all_async()
    assert "the dependencies of its request, which are open in production, were closed" in raised.value.__notes__[0]


async def test_error_of_exit_code_names_where_it_ran(background_tasks: BackgroundTasks, log: list[str]) -> None:
    async def get_session() -> AsyncIterator[Session]:
        yield Session(log)
        raise ValueError("of the exit code")

    background_tasks.start_capturing()
    await post(app_with(get_session), "/rows/tea")
    with pytest.raises(ValueError, match="of the exit code") as raised:
        await background_tasks.run_all_async()
    assert raised.value.__notes__[0].startswith("in the exit code of a request's dependency")


async def test_error_of_exit_code_does_not_replace_the_error_of_the_task(
    background_tasks: BackgroundTasks, log: list[str]
) -> None:
    async def get_session() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        except ConnectionError:
            raise ValueError("of the exit code") from None

    background_tasks.start_capturing()
    await post(app_with(get_session), "/failing")
    with pytest.raises(ConnectionError, match="no server") as raised:
        await background_tasks.run_all_async()
    assert raised.value.__notes__[0] == "the exit code of a dependency then raised ValueError('of the exit code')"
