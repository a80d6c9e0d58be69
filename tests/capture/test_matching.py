"""Selecting captured tasks, and the messages if the expected one is missing."""

import asyncio
import functools
import operator
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY, AsyncMock

import pytest
from dirty_equals import IsStr
from inline_snapshot import snapshot

from pytest_background_tasks import BackgroundTasks


async def send_mail(to: str, subject: str = "hello") -> None: ...


async def update_stock(item: str) -> None: ...


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> None: ...

    return wrapper


@logged
async def logged_job(first: int, second: int = 2) -> None: ...


@pytest.fixture
async def shop(background_tasks: BackgroundTasks) -> BackgroundTasks:
    """Hold two mails and a stock-taking."""
    background_tasks.start_capturing()
    asyncio.create_task(send_mail("ada", subject="your tea"), name="mail-1")
    asyncio.create_task(update_stock("tea"), name="stock")
    asyncio.create_task(send_mail("bob"), name="mail-2")
    return background_tasks


def detail(error: pytest.ExceptionInfo[AssertionError]) -> str:
    """Return the message, with lines of this file as N."""
    import re

    return re.sub(r"test_matching.py:\d+", "test_matching.py:N", str(error.value))


async def test_captured_lists_matching_tasks(shop: BackgroundTasks) -> None:
    """A task matches by target and by the names of the parameters, including defaults, whatever its state."""
    assert [task.name for task in shop.captured(send_mail)] == ["mail-1", "mail-2"]
    assert [task.name for task in shop.captured(send_mail, subject="hello")] == ["mail-2"]
    assert [task.name for task in shop.captured("*", to="ada")] == ["mail-1"]
    assert shop.captured(send_mail, to="eve") == []
    assert shop.captured(send_mail, cc="ada") == []
    await shop.run_all_async()
    assert [task.state for task in shop.captured(send_mail)] == ["done", "done"]


async def test_arguments_are_compared_by_equality(shop: BackgroundTasks) -> None:
    assert len(shop.captured(send_mail, to=ANY)) == 2
    assert shop.assert_captured(send_mail, to=IsStr(regex="a.a"), subject=ANY).name == "mail-1"


async def test_assert_captured_returns_the_matching_task(shop: BackgroundTasks) -> None:
    captured = shop.assert_captured(send_mail, to="bob")
    assert captured == shop.captured_tasks[2]
    assert await shop.run_async(captured) == [None]


async def test_error_without_a_match_lists_the_nearest_first(shop: BackgroundTasks) -> None:
    """The list is nearest first, and says in which argument the nearest tasks differ."""
    with pytest.raises(AssertionError) as error:
        shop.assert_captured(send_mail, to="bob", subject="your tea")
    assert detail(error) == snapshot("""\
no captured task matches send_mail(to='bob', subject='your tea'), expected exactly one; captured:
  send_mail(to='ada', subject='your tea') held: mail-1, created at tests/capture/test_matching.py:N in shop
      to='ada', expected 'bob'
  send_mail(to='bob', subject='hello') held: mail-2, created at tests/capture/test_matching.py:N in shop
      subject='hello', expected 'your tea'
  update_stock(item='tea') held: stock, created at tests/capture/test_matching.py:N in shop
      another function\
""")


async def test_error_names_an_unknown_argument(shop: BackgroundTasks) -> None:
    with pytest.raises(AssertionError, match=r"it has no argument 'too' \(it has to, subject\)"):
        shop.assert_captured(send_mail, too="ada")


async def test_several_matches_are_an_error(shop: BackgroundTasks) -> None:
    with pytest.raises(AssertionError, match=r"2 captured tasks match send_mail, expected exactly one(?s:.*)matches"):
        shop.assert_captured(send_mail)


async def test_misspelled_name_lists_similar_tasks_first(shop: BackgroundTasks) -> None:
    with pytest.raises(AssertionError, match=r"matches 'send_male', expected exactly one; captured:\n  send_mail"):
        shop.assert_captured("send_male")


def test_assert_captured_without_captured_tasks(background_tasks: BackgroundTasks) -> None:
    background_tasks.assert_nothing_captured()
    with pytest.raises(AssertionError, match=r"nothing was captured; call start_capturing\(\) before the code"):
        background_tasks.assert_captured(send_mail)


async def test_assert_nothing_captured(shop: BackgroundTasks) -> None:
    shop.assert_nothing_captured("heartbeat*")
    message = r"expected no captured task that matches send_mail; captured:\n  send_mail\(to='ada'"
    with pytest.raises(AssertionError, match=message):
        shop.assert_nothing_captured(send_mail)
    with pytest.raises(AssertionError, match=r"expected no captured task that matches anything; captured:(\n  .*){3}$"):
        shop.assert_nothing_captured()
    shop.reset()
    shop.assert_nothing_captured()


async def test_decorated_function_is_matched_by_its_own_parameters(background_tasks: BackgroundTasks) -> None:
    """This holds although ``wrapper(*args, **kwargs)`` runs."""
    background_tasks.start_capturing()
    asyncio.create_task(logged_job(1))
    background_tasks.assert_captured(logged_job, first=1, second=2)
    background_tasks.assert_captured("logged_job", args=(1,))
    with pytest.raises(AssertionError, match="second=2, expected 3"):
        background_tasks.assert_captured(logged_job, second=3)


async def test_mock_is_matched_by_its_arguments(background_tasks: BackgroundTasks) -> None:
    mock = AsyncMock(send_mail, name="send_mail")
    background_tasks.start_capturing()
    asyncio.create_task(mock("ada"))
    background_tasks.assert_captured(mock, to="ada", subject="hello")
    with pytest.raises(AssertionError, match=r"matches send_mail\(to='bob'\)"):
        background_tasks.assert_captured(mock, to="bob")


@pytest.mark.parametrize("verb", ["captured", "assert_captured", "assert_nothing_captured"])
def test_invalid_target_is_a_type_error(background_tasks: BackgroundTasks, verb: str) -> None:
    with pytest.raises(TypeError, match=rf"you wrote:  background_tasks.{verb}\(send_mail\(\)\)"):
        getattr(background_tasks, verb)(send_mail("ada"))


async def test_parameters_of_a_predicate_are_not_used_for_matching(background_tasks: BackgroundTasks) -> None:
    """Its parameters are not those of the function that it selects."""
    background_tasks.start_capturing()
    asyncio.create_task(logged_job(1))
    background_tasks.assert_captured(lambda task: task.kwargs == {}, args=(1,), kwargs={})


async def test_predicate_implemented_in_c(background_tasks: BackgroundTasks) -> None:
    """The parameters of such a predicate may be unknown."""
    is_without_arguments = operator.methodcaller("__contains__", ())
    background_tasks.start_capturing()
    asyncio.create_task(logged_job(1))
    assert background_tasks.captured(is_without_arguments) == background_tasks.captured_tasks
    background_tasks.assert_captured(is_without_arguments, args=(1,), kwargs={})
