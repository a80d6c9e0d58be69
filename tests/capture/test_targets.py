"""Targets: how they match, and how an object that is not a target is rejected."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any
from unittest.mock import ANY, AsyncMock, create_autospec, patch

import pytest
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as Tasks

from pytest_background_tasks import BackgroundTasks


async def send_mail(to: str, *, urgent: bool = False) -> str:
    return to


async def other() -> None: ...


def retried(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@retried
async def retried_job() -> None: ...


@retried
async def retried_other() -> None: ...


@logged
async def logged_job() -> None: ...


def made_asynchronous(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@made_asynchronous
def plain_job() -> None: ...


class Service:
    async def refresh(self) -> None: ...

    async def __call__(self) -> None: ...

    @staticmethod
    async def prune() -> None: ...

    @classmethod
    async def build(cls) -> None: ...

    class Inner:
        async def tidy(self) -> None: ...


service, second = Service(), Service()


async def with_an_attribute() -> None: ...


with_an_attribute.mock = "no mock"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("target", "matching", "not_matching"),
    [
        (send_mail, lambda: send_mail("ada"), other),
        (retried_job, retried_job, retried_other),
        (logged_job, logged_job, other),
        (plain_job, plain_job, other),
        (functools.partial(send_mail, "ada"), lambda: send_mail("bob"), other),
        (service.refresh, service.refresh, second.refresh),
        (Service.refresh, service.refresh, other),
        (Service.prune, service.prune, other),
        (Service.build, service.build, other),
        (service, service, service.refresh),
        ("send_mail", lambda: send_mail("ada"), other),
        ("Service.*", service.refresh, other),
        (with_an_attribute, with_an_attribute, other),
        ("refresh", service.refresh, service.prune),
        ("tidy", Service.Inner().tidy, service.prune),
        ("*test_targets:Service.refresh", service.refresh, service.prune),
        ("*test_targets.Service.refresh", service.refresh, service.prune),
        (lambda task: task.function == "send_mail", lambda: send_mail("ada"), other),
        (lambda task: task.arguments.get("to") == "ada", lambda: send_mail("ada"), lambda: send_mail("bob")),
    ],
)
async def test_a_target_matches(
    background_tasks: BackgroundTasks, target: Any, matching: Any, not_matching: Any
) -> None:
    """In ``only``, a target holds the matching tasks and lets the others run; in ``ignore``, the reverse."""
    with background_tasks.capturing(target):
        await asyncio.gather(asyncio.create_task(not_matching()))
        asyncio.create_task(matching())
    assert background_tasks.task_count == 1
    assert await background_tasks.run_async(target) == [ANY]
    background_tasks.reset()
    with background_tasks.capturing(ignore=target):
        asyncio.create_task(not_matching())
        await asyncio.gather(asyncio.create_task(matching()))
    assert background_tasks.task_count == 1


async def test_pattern_matches_the_task_name(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing("mail-*", other)
    asyncio.create_task(send_mail("ada"), name="mail-1")
    asyncio.create_task(other())
    await asyncio.create_task(send_mail("bob"), name="post-1")
    assert [task.name for task in background_tasks.captured_tasks] == ["mail-1", ANY]


async def test_captured_task_is_a_target(background_tasks: BackgroundTasks) -> None:
    """It matches only itself, even if another task is alike."""
    background_tasks.start_capturing()
    asyncio.create_task(send_mail("ada"))
    asyncio.create_task(send_mail("ada"))
    first, second = background_tasks.captured_tasks
    assert await background_tasks.run_async(second) == ["ada"]
    assert (first.state, second.state) == ("held", "done")
    assert first != second
    assert first == background_tasks.captured_tasks[0]
    assert len({first, second, *background_tasks.captured_tasks}) == 2


async def test_several_targets_can_be_ignored(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing(ignore=[send_mail, "other"])
    await asyncio.gather(asyncio.create_task(send_mail("ada")), asyncio.create_task(other()))
    assert background_tasks.task_count == 0


async def test_target_is_captured_in_a_task_group(background_tasks: BackgroundTasks) -> None:
    """A task of a group is captured too; the group waits for it, so it starts at once."""
    background_tasks.start_capturing(send_mail)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(send_mail("ada"))
    assert task.result() == "ada"
    assert [captured.state for captured in background_tasks.captured_tasks] == ["done"]


async def test_star_pattern_does_not_hold_the_main_task(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing("*")

    async def main() -> int:
        return 1

    assert await asyncio.to_thread(asyncio.run, main()) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: AsyncMock(name="send_mail"),
        lambda: AsyncMock(send_mail, name="send_mail"),
        lambda: create_autospec(send_mail),
    ],
)
async def test_a_mock_is_a_target(background_tasks: BackgroundTasks, make: Callable[[], Any]) -> None:
    """A task that runs a call of the mock is known by the mock, its name, and its arguments."""
    mock = make()
    background_tasks.start_capturing(mock)
    asyncio.create_task(mock(to="ada"))
    await asyncio.create_task(AsyncMock(name="another")())
    [captured] = background_tasks.captured_tasks
    assert captured.arguments["to"] == "ada"
    await background_tasks.run_async(mock)
    mock.assert_awaited_once_with(to="ada")


async def test_a_patched_function_is_a_target_by_name(background_tasks: BackgroundTasks) -> None:
    """``patch`` names the mock after the function that it replaces, and the spec names the arguments."""
    with patch(f"{__name__}.send_mail", autospec=True) as mock:
        background_tasks.start_capturing("send_mail")
        asyncio.create_task(mock("ada", urgent=True))
        [captured] = background_tasks.captured_tasks
        assert captured.function == "send_mail"
        assert captured.arguments == {"to": "ada", "urgent": True}
        assert await background_tasks.run_async(mock) == [ANY]


async def test_mock_without_a_spec_has_its_call_arguments(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(AsyncMock(name="job")(1, two=2))
    [captured] = background_tasks.captured_tasks
    assert captured.arguments == {"args": (1,), "two": 2}
    background_tasks.reset()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: send_mail, "send_mail"),
        (lambda: asyncio.Queue.join, "Queue.join"),
        (lambda: AsyncMock(name="poll"), "poll"),
        (lambda: "send*", "'send*'"),
        (lambda: functools.partial(send_mail, "ada"), "functools.partial(<function send_mail at 0x*>, 'ada')"),
        (AsyncMock, "<AsyncMock id=*>"),  # it has no name
    ],
)
def test_error_shows_a_readable_name_of_the_target(
    background_tasks: BackgroundTasks, make: Callable[[], Any], said: str
) -> None:
    """A function is shown by its name, a mock by the object that it replaces, anything else by its repr."""
    with pytest.raises(AssertionError) as caught:
        background_tasks.assert_captured(make())
    assert fnmatchcase(str(caught.value).splitlines()[0], f"no captured task matches {said}, *")


def write_log(message: str) -> None:
    raise AssertionError("not called by looking")


async def test_function_of_a_starlette_task_is_a_target(background_tasks: BackgroundTasks) -> None:
    """This includes a plain def."""
    background_tasks.start_capturing()
    await BackgroundTask(write_log, "hello")()
    assert [task.arguments for task in background_tasks.captured_tasks] == [{"message": "hello"}]
    with pytest.raises(AssertionError, match="not called by looking"):
        await background_tasks.run_async(write_log)


async def test_failing_starlette_task_does_not_stop_the_others(
    background_tasks: BackgroundTasks,
) -> None:
    """The tasks are held separately; in production, the first failure would prevent the others."""
    ran = []

    async def count() -> None:
        ran.append(1)

    background_tasks.start_capturing()
    tasks = Tasks([BackgroundTask(count), BackgroundTask(write_log, "hello"), BackgroundTask(count)])
    await tasks()
    assert background_tasks.task_count == 3
    with pytest.raises(AssertionError, match="not called by looking"):
        await background_tasks.run_all_async()
    assert ran == [1, 1]


async def test_method_of_a_starlette_task_is_a_target(background_tasks: BackgroundTasks) -> None:
    """Each access creates a new method object; the method of another object does not match."""
    background_tasks.start_capturing()
    await BackgroundTask(service.refresh)()
    assert background_tasks.captured(second.refresh) == []
    assert await background_tasks.run_async(service.refresh) == [None]


async def test_target_given_before_its_starlette_task_is_not_called(background_tasks: BackgroundTasks) -> None:
    """It is not called as a predicate, although it could be one."""
    background_tasks.start_capturing(write_log)
    await BackgroundTask(write_log, "hello")()
    assert background_tasks.task_count == 1
    background_tasks.reset()


async def test_predicate_that_does_not_return_a_bool_is_an_error(background_tasks: BackgroundTasks) -> None:
    def nothing(task: object) -> None: ...

    background_tasks.start_capturing()
    asyncio.create_task(other())
    with pytest.raises(TypeError, match=r"returned None .*(?s:.*)you wrote:  .*run_async\(nothing\)(?s:.*)'nothing'"):
        await background_tasks.run_async(nothing)
    background_tasks.reset()


def test_failing_predicate_fails_the_test(pytester: pytest.Pytester) -> None:
    """It does not fail the code under test, which might swallow the error, or a server's loop, which it would end."""
    pytester.makepyfile(
        """
        import asyncio
        from starlette.applications import Starlette
        from starlette.responses import Response
        from starlette.routing import Route
        from starlette.testclient import TestClient

        async def send_mail(recipient): ...

        async def order(request):
            asyncio.create_task(send_mail("ada"))
            return Response()

        def test_it(background_tasks):
            background_tasks.start_capturing(lambda task: task.arguments["to"] == "ada")
            app = Starlette(routes=[Route("/", order)])
            assert TestClient(app).get("/").status_code == 200
        """
    )
    result = pytester.runpytest_inprocess("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*KeyError: 'to'*", "*in the predicate that decides whether to hold send_mail(recipient='ada')*"]
    )


async def test_function_of_a_starlette_task_is_not_called_as_a_predicate(
    background_tasks: BackgroundTasks,
) -> None:
    """This holds even if another task is compared first."""
    background_tasks.start_capturing()
    asyncio.create_task(other())
    await BackgroundTask(write_log, "hello")()
    assert [task.function for task in background_tasks.captured(write_log)] == ["write_log"]
    with pytest.raises(AssertionError, match="not called by looking"):
        background_tasks.run_sync(write_log)
    assert background_tasks.run_all_sync() == [None]


async def test_asyncio_task_is_a_target(background_tasks: BackgroundTasks) -> None:
    """The task that the code under test got matches itself."""
    background_tasks.start_capturing()
    asyncio.create_task(send_mail("ada"))
    task = asyncio.create_task(send_mail("bob"))
    assert await background_tasks.run_async(task) == ["bob"]


INVALID_PREDICATE = "a function that does not accept the captured task"
PREDICATE = "lambda task: task.name == 'name'"


def no_argument() -> bool:
    return True


@pytest.mark.parametrize(
    ("target", "what", "wrong", "right"),
    [
        (lambda: send_mail("ada"), "a coroutine (an unused call)", "send_mail()", "send_mail"),
        (lambda: 42, "an object of type 'int'", "42", "'name'"),
        (lambda: None, "an object of type 'NoneType'", "None", "'name'"),
        (lambda: Service, "an object of type 'type'", f"{Service!r}", "'name'"),
        (lambda: (send_mail, other), "a tuple of them", "[first, second]", "*[first, second]"),
        (lambda: lambda: True, INVALID_PREDICATE, "lambda: ...", PREDICATE),
        (lambda: no_argument, INVALID_PREDICATE, "no_argument", PREDICATE),
        (lambda: functools.partial(write_log, "a"), INVALID_PREDICATE, "partial", PREDICATE),
    ],
    ids=["coroutine", "number", "none", "class", "tuple", "lambda", "function", "object"],
)
def test_invalid_target_is_a_type_error(
    background_tasks: BackgroundTasks, target: Any, what: str, wrong: str, right: str
) -> None:
    """A TypeError shows the wrong call and the right one."""
    with pytest.raises(TypeError) as raised:
        background_tasks.start_capturing(target())
    first, second, third = str(raised.value).splitlines()
    assert first.endswith(f"a CapturedTask or a predicate, not {what}")
    assert second == f"  you wrote:  background_tasks.start_capturing({wrong})"
    assert third == f"  write:      background_tasks.start_capturing({right})"
    with pytest.raises(TypeError, match=r"start_capturing\(ignore="):
        background_tasks.start_capturing(ignore=[target()])
    assert background_tasks.task_count == 0
