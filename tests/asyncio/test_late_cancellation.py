"""Cancelling a task that has already failed does not retrieve its exception, and changes nothing else."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytest_background_tasks import BackgroundTasks, Explorer
from pytest_background_tasks._asyncio.late_cancellation import cancelling_too_late

PLUGINS = ("pytest_asyncio.plugin",)
FAIL = """
    import gc
    pytestmark = pytest.mark.asyncio
    contexts = []
    InPython = asyncio.tasks._PyTask

    class Own(asyncio.Task):
        pass

    async def fail():
        raise KeyError("third job")

    async def failed(**kwargs):
        task = asyncio.get_running_loop().create_task(fail(), **kwargs)
        await asyncio.sleep(0.001)
        assert task.done()
        return task
"""
EAGER = pytest.param(
    "loop.set_task_factory(asyncio.eager_task_factory)",
    marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks"),
)


async def fail() -> None:
    raise KeyError("third job")


async def failed(**kwargs: Any) -> asyncio.Task[None]:
    task = asyncio.create_task(fail(), **kwargs)
    await asyncio.sleep(0.001)
    assert task.done()
    return task


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "loop.set_debug(True)",
        "loop.set_task_factory(lambda loop, coroutine, **kwargs: asyncio.Task(coroutine, loop=loop, **kwargs))",
        "loop.set_task_factory(lambda loop, coroutine, **kwargs: Own(coroutine, loop=loop, **kwargs))",
        "loop.set_task_factory(lambda loop, coroutine, **kwargs: InPython(coroutine, loop=loop, **kwargs))",
        "loop.set_exception_handler(lambda loop, context: contexts.append(context))",
        EAGER,
    ],
)
@pytest.mark.parametrize("keeping", ["kept = task", "del task; gc.collect()"])
def test_failure_is_reported_for_every_task_factory(run, setting: str, keeping: str) -> None:
    """Only the monitor reports it, once: the loop's exception handler is called as often as without the plugin."""
    result = run(
        f"""{FAIL}
    async def test_it(caplog):
        loop = asyncio.get_running_loop()
        {setting}
        task = await failed()
        name = task.get_name()
        assert not task.cancel()
        assert not task.cancel("again")
        {keeping}
        assert not contexts and not [record for record in caplog.records if repr(name) in record.getMessage()]
    """,
        "--background-tasks-unhandled=error",
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=1, errors=1)
    # A task may lose its name to a task factory on CPython 3.13.0.
    result.stdout.fnmatch_lines(
        ["E  *UnhandledTaskExceptionWarning: exception of background task *fail* was never retrieved*"]
    )


def test_failure_of_a_task_cancelled_by_a_helper_is_reported(run) -> None:
    """It is reported even if a helper that closes everything cancels it: an exit stack, a timer, a done callback."""
    result = run(
        f"""{FAIL}
    import contextlib

    async def test_exit_stack():
        with contextlib.ExitStack() as stack:
            task = await failed()
            stack.callback(task.cancel)

    async def test_timer():
        asyncio.get_running_loop().call_later(0.002, (await failed()).cancel)
        await asyncio.sleep(0.004)

    async def test_done_callback():
        task = asyncio.get_running_loop().create_task(fail())
        task.add_done_callback(lambda task: task.cancel())
        await asyncio.sleep(0.001)

    async def test_scope():
        async with asyncio.TaskGroup() as group:
            task = await failed()
            group.create_task(asyncio.sleep(0)).add_done_callback(lambda _: task.cancel())
    """,
        "--background-tasks-unhandled=error",
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=4, errors=4)


def test_session_restores_task_cancel(run) -> None:
    """Neither the patched method nor an unreported exception is left."""
    cancel = vars(asyncio.Task)["cancel"]
    run(
        f"""{FAIL}
    async def test_it():
        asyncio.kept = await failed()
        asyncio.kept.cancel()
    """,
        "-W",
        "ignore::pytest_background_tasks.BackgroundTaskWarning",
        plugins=PLUGINS,
    )
    assert vars(asyncio.Task)["cancel"] is cancel
    assert not vars(asyncio).pop("kept")._log_traceback


@pytest.mark.background_tasks(unhandled="ignore")
def test_task_cancel_looks_and_behaves_like_asyncios() -> None:
    """The method has asyncio's name, signature and return values, whether or not it was called before."""

    async def cancel_some(end: Callable[[asyncio.Task[None]], bool]) -> list[bool]:
        tasks = [asyncio.create_task(asyncio.sleep(1)) for _ in range(3)]
        return [end(task) for task in [*tasks, *tasks]] + [end(await failed())]

    def end(task: asyncio.Task[None]) -> bool:
        return task.cancel(msg="bye")

    before = asyncio.run(cancel_some(end))
    with cancelling_too_late(lambda _: False), cancelling_too_late(lambda _: False):
        assert asyncio.Task.cancel.__name__ == "cancel"
        assert asyncio.run(cancel_some(end)) == before == [True] * 6 + [False]
    assert "__abstractmethods__" not in vars(asyncio.Task)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_forgotten", [True, False])
async def test_cancelled_captured_task_keeps_its_failure_until_reset(
    background_tasks: BackgroundTasks, is_forgotten: bool
) -> None:
    """Cancelling does not clear the failure; it lasts until the test forgets the task."""
    background_tasks.start_capturing()
    task = asyncio.create_task(fail())
    with pytest.raises(KeyError):
        await background_tasks.run_all_async()
    again = asyncio.create_task(fail())
    again.add_done_callback(lambda task: task.cancel())
    await asyncio.wait([again])
    assert not task.cancel()
    assert again._log_traceback
    if is_forgotten:
        background_tasks.reset()
        assert not again._log_traceback
    else:
        assert isinstance(again.exception(), KeyError)


def test_failure_of_a_cancelled_captured_task_is_reported(run) -> None:
    result = run(
        f"""{FAIL}
    async def test_it(background_tasks):
        background_tasks.start_capturing()
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        task.cancel()
    """,
        "--background-tasks-unhandled=error",
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=1, errors=1)


async def cancelled_too_late() -> None:
    task = await failed()
    task.cancel()


async def cancelled_too_late_and_created_by_class() -> None:
    task = asyncio.Task(fail(), loop=asyncio.get_running_loop())
    await asyncio.sleep(1)
    task.cancel()


async def cancelled_by_its_waiter() -> None:
    task = await failed()
    await asyncio.wait([task])
    task.cancel()
    await asyncio.sleep(1)


async def cancelled_with_all_tasks() -> None:
    tasks = [await failed(), asyncio.create_task(asyncio.sleep(60))]
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize(
    "scenario",
    [cancelled_too_late, cancelled_too_late_and_created_by_class, cancelled_by_its_waiter, cancelled_with_all_tasks],
)
def test_exploration_fails_if_a_cancelled_task_had_failed(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A cancelled task with an exception that was never retrieved fails the exploration, and its replay."""
    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert "was never retrieved" in failure.error.__notes__[0]
    with pytest.raises(KeyError):
        failure.reproduce()


async def retrieved_before_cancel() -> None:
    task = await failed()
    assert isinstance(task.exception(), KeyError)
    task.cancel()


async def retrieved_after_cancel() -> None:
    task = await failed()
    task.cancel()
    [error] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(error, KeyError)


async def retrieved_in_a_callback() -> None:
    task = asyncio.create_task(fail())
    task.add_done_callback(asyncio.Task.exception)
    await asyncio.sleep(1)
    task.cancel()


@pytest.mark.parametrize("scenario", [retrieved_before_cancel, retrieved_after_cancel, retrieved_in_a_callback])
def test_retrieved_exception_is_not_a_failure(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    assert Explorer().explore(scenario).verdict == "exhaustive"
