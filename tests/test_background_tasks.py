"""Examples of the fixture `background_tasks`, from the first steps on: read from top to bottom, copy what you need.

The code under test is a small shop. Like most programs, it starts background work with `asyncio.create_task`, and it
does not know that it is being tested.
"""

import asyncio
import contextvars
import unittest
from collections.abc import Iterator
from unittest.mock import AsyncMock, patch

import pytest
from fastapi import BackgroundTasks as FastAPIBackgroundTasks
from fastapi import FastAPI
from starlette.testclient import TestClient

from pytest_background_tasks import BackgroundTasks, BackgroundTasksTimeout, DeadlockError

# --- the code under test -------------------------------------------------------------------------------------------

sent: list[str] = []
user = contextvars.ContextVar("user", default="nobody")


async def send_mail(to: str, subject: str = "hello") -> str:
    await asyncio.sleep(0)
    sent.append(f"{subject} to {to}")
    return f"sent to {to}"


async def update_stock(item: str) -> str:
    if item == "unicorn":
        raise LookupError("no unicorn in stock")
    return f"{item} counted"


async def order(item: str, customer: str) -> str:
    """Take an order; the answer does not wait for the mail and the stock."""
    asyncio.create_task(send_mail(customer, subject=f"your {item}"), name=f"mail-{item}")
    asyncio.create_task(update_stock(item))
    return "thank you"


@pytest.fixture(autouse=True)
def empty_outbox() -> Iterator[None]:
    sent.clear()
    yield
    sent.clear()


# --- first steps: the guide's own example --------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_my_background_task(background_tasks):
    # Start capturing background tasks
    background_tasks.start_capturing()

    # Define an async function
    async def my_task():
        return "task_result"

    # Create a background task (will be captured, not executed)
    asyncio.create_task(my_task())

    # Verify the task was captured
    assert background_tasks.task_count == 1

    # Execute the task manually
    results = await background_tasks.run_all_async()

    # Verify the result
    assert results[0] == "task_result"


# --- look at what was started --------------------------------------------------------------------------------------


async def test_held_tasks_run_only_when_the_test_runs_them(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    assert await order("tea", "ada") == "thank you"
    assert background_tasks.task_count == 2
    assert sent == []
    assert await background_tasks.run_all_async() == ["sent to ada", "tea counted"]
    assert sent == ["your tea to ada"]


async def test_captured_task_describes_its_call_and_origin(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("tea", "ada")
    mail, stock = background_tasks.captured_tasks
    assert mail.name == "mail-tea"
    assert mail.function == "send_mail"
    assert mail.arguments == {"to": "ada", "subject": "your tea"}
    assert mail.created_at.function == "order"
    assert mail.created_at.file == __file__
    assert mail.state == "held"
    assert isinstance(mail.task, asyncio.Task)
    assert stock.function == "update_stock"


async def test_captured_task_tuple_has_named_fields(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("teapot", "ada")
    for captured in background_tasks.captured_tasks:
        assert (captured.coroutine, captured.args, captured.kwargs) == tuple(captured)


async def test_captured_task_equals_the_tuple_in_the_guide(background_tasks: BackgroundTasks) -> None:
    """A captured task is a tuple `(coroutine, args, kwargs)`, and kwargs has the arguments after the coroutine."""
    background_tasks.start_capturing()
    coroutine = send_mail("ada")
    asyncio.create_task(coroutine, name="mail")
    assert background_tasks.captured_tasks == [(coroutine, (), {"name": "mail"})]


async def test_captured_task_has_state_result_and_exception(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("unicorn", "ada")
    mail, stock = background_tasks.captured_tasks
    await background_tasks.run_all_async(return_exceptions=True)
    assert (mail.state, stock.state) == ("done", "failed")
    assert mail.result() == "sent to ada"
    assert isinstance(stock.exception(), LookupError)


async def test_started_task_has_the_line_where_it_is_suspended(background_tasks: BackgroundTasks) -> None:
    doorbell = asyncio.Event()

    async def wait_for_customers() -> None:
        await doorbell.wait()

    background_tasks.start_capturing()
    asyncio.create_task(wait_for_customers())
    [captured] = background_tasks.captured_tasks
    assert captured.suspended_at is None
    with pytest.raises(BackgroundTasksTimeout, match="wait_for_customers .* waits at"):
        await background_tasks.run_all_async(timeout=0.01)
    assert captured.state == "started"
    assert captured.suspended_at is not None
    assert captured.suspended_at.function.endswith("wait_for_customers")
    doorbell.set()
    await captured.task
    assert captured.suspended_at is None


async def test_tasks_that_have_run_stay_listed(background_tasks: BackgroundTasks) -> None:
    """A task that has run is still listed, and does not run again."""
    background_tasks.start_capturing()
    await order("tea", "ada")
    await background_tasks.run_all_async()
    assert background_tasks.task_count == 2
    assert background_tasks.held_tasks == []
    assert await background_tasks.run_all_async() == []
    assert sent == ["your tea to ada"]


async def test_captured_tasks_returns_a_new_list(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("tea", "ada")
    background_tasks.captured_tasks.clear()
    assert background_tasks.task_count == len(background_tasks.captured_tasks) == 2


async def test_captured_task_has_a_readable_repr(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("tea", "ada")
    assert repr(background_tasks.captured_tasks[0]).startswith(
        "<CapturedTask send_mail(to='ada', subject='your tea') held: mail-tea, created at tests/"
    )


async def test_fixture_repr_shows_its_state(background_tasks: BackgroundTasks) -> None:
    """A failing `assert background_tasks.task_count == 1` shows the state of the fixture."""
    assert repr(background_tasks).startswith("<background_tasks not capturing: start_capturing() was never called; 0")
    background_tasks.start_capturing()
    await order("tea", "ada")
    assert repr(background_tasks) == "<background_tasks capturing; 2 captured, 2 held>"


# --- phases of a test ----------------------------------------------------------------------------------------------


async def test_reset_between_phases(background_tasks: BackgroundTasks) -> None:
    """`reset` forgets the tasks of the preparation; capturing stays on."""
    background_tasks.start_capturing()
    await order("tea", "ada")
    background_tasks.reset()
    await order("coffee", "bob")
    await background_tasks.run_all_async()
    assert sent == ["your coffee to bob"]


async def test_tasks_run_normally_after_stop_capturing(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("tea", "ada")
    background_tasks.stop_capturing()
    await asyncio.create_task(send_mail("bob"))
    assert sent == ["hello to bob"]
    assert len(background_tasks.held_tasks) == 2
    await background_tasks.run_all_async()
    assert sent == ["hello to bob", "your tea to ada"]


async def test_capture_only_inside_a_block(background_tasks: BackgroundTasks) -> None:
    with background_tasks.capturing():
        await order("tea", "ada")
    await asyncio.create_task(send_mail("bob"))
    assert background_tasks.task_count == 2


async def test_an_inner_block_restores_the_outer_targets(background_tasks: BackgroundTasks) -> None:
    with background_tasks.capturing(send_mail):
        with background_tasks.capturing(update_stock):
            await order("tea", "ada")
        await order("coffee", "bob")
    assert [task.function for task in background_tasks.captured_tasks] == ["update_stock", "send_mail"]


async def test_capturing_while_capturing_changes_the_targets(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("tea", "ada")
    background_tasks.start_capturing(send_mail)
    await order("coffee", "bob")
    functions = [task.function for task in background_tasks.captured_tasks]
    assert functions == ["send_mail", "update_stock", "send_mail"]


async def test_stop_before_start_is_harmless(background_tasks: BackgroundTasks) -> None:
    background_tasks.stop_capturing()
    background_tasks.start_capturing()
    await order("tea", "ada")
    assert background_tasks.task_count == 2


# --- choose --------------------------------------------------------------------------------------------------------


async def test_capture_selected_tasks(background_tasks: BackgroundTasks) -> None:
    """Targets are a function, a pattern for the name of the task or the function, or a predicate."""
    for only in (send_mail, "mail-*", "send_*", lambda task: task.arguments.get("to") == "ada"):
        background_tasks.start_capturing(only)
        await order("tea", "ada")
        assert [task.function for task in background_tasks.captured_tasks] == ["send_mail"]
        background_tasks.reset()


async def test_ignored_tasks_run_normally(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing(ignore=[update_stock, "heartbeat*"])
    await order("tea", "ada")
    assert [task.function for task in background_tasks.captured_tasks] == ["send_mail"]


async def test_run_selected_tasks(background_tasks: BackgroundTasks) -> None:
    """The other tasks stay held; a target may also be the task itself."""
    background_tasks.start_capturing()
    await order("tea", "ada")
    await order("coffee", "bob")
    assert await background_tasks.run_async(send_mail) == ["sent to ada", "sent to bob"]
    coffee = background_tasks.held_tasks[-1]
    assert background_tasks.run_sync(coffee) == ["coffee counted"]
    assert [task.arguments for task in background_tasks.held_tasks] == [{"item": "tea"}]


async def test_mock_can_be_used_as_a_target(background_tasks: BackgroundTasks) -> None:
    with patch(f"{__name__}.send_mail", AsyncMock(send_mail, name="send_mail")) as mock:
        background_tasks.start_capturing()
        await order("tea", "ada")
        assert background_tasks.captured_tasks[0].arguments == {"to": "ada", "subject": "your tea"}
        await background_tasks.run_async(mock)
        mock.assert_awaited_once_with("ada", subject="your tea")


# --- waiting -------------------------------------------------------------------------------------------------------


async def test_awaiting_a_held_task_starts_it(background_tasks: BackgroundTasks) -> None:
    """A held task starts when another task waits for it: `await`, `gather`, `wait`, `wait_for`, `shield` …"""
    background_tasks.start_capturing()
    task = asyncio.create_task(send_mail("ada"))
    assert await task == "sent to ada"
    assert background_tasks.held_tasks == []


async def test_a_held_task_can_be_cancelled(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    task = asyncio.create_task(send_mail("ada"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent == []


async def test_indirect_wait_for_a_held_task_is_a_deadlock(background_tasks: BackgroundTasks) -> None:
    """A test that waits for an event which only a held task would set gets an error instead of hanging."""
    opened = asyncio.Event()

    async def open_shop() -> None:
        opened.set()

    background_tasks.start_capturing()
    asyncio.create_task(open_shop())
    with pytest.raises(DeadlockError, match="held: .*open_shop"):
        await opened.wait()


# --- failures ------------------------------------------------------------------------------------------------------


async def test_failure_is_raised_after_the_other_tasks_have_run(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("unicorn", "ada")
    with pytest.raises(LookupError, match="no unicorn in stock") as caught:
        await background_tasks.run_all_async()
    assert sent == ["your unicorn to ada"]
    assert "update_stock" in caught.value.__notes__[0]


async def test_return_exceptions_returns_failures_as_results(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("unicorn", "ada")
    sent_to, error = await background_tasks.run_all_async(return_exceptions=True)
    assert sent_to == "sent to ada"
    assert isinstance(error, LookupError)


# --- every kind of test --------------------------------------------------------------------------------------------


def test_create_task_is_captured_in_a_def_test(background_tasks: BackgroundTasks) -> None:
    """Outside a running loop, create_task is captured as well."""
    background_tasks.start_capturing()
    asyncio.create_task(send_mail("ada"))
    assert background_tasks.run_all_sync() == ["sent to ada"]


def test_held_tasks_run_after_asyncio_run(background_tasks: BackgroundTasks) -> None:
    """A held task outlives its loop."""
    background_tasks.start_capturing()
    assert asyncio.run(order("tea", "ada")) == "thank you"
    assert background_tasks.run_all_sync() == ["sent to ada", "tea counted"]


async def test_run_all_sync_inside_an_async_test(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    await order("tea", "ada")
    assert background_tasks.run_all_sync() == ["sent to ada", "tea counted"]


class TestUnittest(unittest.IsolatedAsyncioTestCase):
    """A TestCase gets the fixture through its autouse fixture."""

    @pytest.fixture(autouse=True)
    def take_fixture(self, background_tasks: BackgroundTasks) -> None:
        self.background_tasks = background_tasks

    async def test_fixture_in_a_unittest_class(self) -> None:
        self.background_tasks.start_capturing()
        await order("tea", "ada")
        self.assertEqual(await self.background_tasks.run_all_async(), ["sent to ada", "tea counted"])


@pytest.mark.parametrize("with_lifespan", [False, True])
def test_tasks_of_an_app_behind_a_test_client(background_tasks: BackgroundTasks, with_lifespan: bool) -> None:
    """The app runs on another loop in another thread; without `with`, that loop ends after each request."""
    app = FastAPI()

    @app.post("/orders/{item}")
    async def post(item: str) -> str:
        user.set("ada")
        return await order(item, "ada")

    background_tasks.start_capturing()
    client = TestClient(app)
    if with_lifespan:
        with client:
            assert client.post("/orders/tea").json() == "thank you"
            background_tasks.run_all_sync()
    else:
        assert client.post("/orders/tea").json() == "thank you"
        background_tasks.run_all_sync()
    assert sent == ["your tea to ada"]


def test_fastapi_background_tasks_are_held(background_tasks: BackgroundTasks) -> None:
    """The tasks no longer run inside the response; the callable and its arguments are the captured tuple."""
    app = FastAPI()

    @app.post("/mail")
    async def post(later: FastAPIBackgroundTasks) -> None:
        later.add_task(send_mail, "ada", subject="welcome")

    background_tasks.start_capturing()
    TestClient(app).post("/mail")
    assert background_tasks.captured_tasks == [(send_mail, ("ada",), {"subject": "welcome"})]
    assert sent == []
    background_tasks.run_all_sync()
    assert sent == ["welcome to ada"]
