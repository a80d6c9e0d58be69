"""Failed, leaked and destroyed background tasks of a test are found, and no others."""

import sys
from textwrap import dedent

import pytest

from .conftest import FAILING, LEAKING


def test_failure_is_reported_by_default(run) -> None:
    """The report has the line that created the task, the traceback, and the ini line that silences it."""
    result = run(FAILING)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_it",
            "*test_it.py:20: UnhandledTaskExceptionWarning: "
            "exception of background task Task-* (send_mail) was never retrieved",
            "*created at test_it.py:20 in test_it",
            "*background_tasks_unhandled = ignore*",
            '*raise ConnectionError("no server")',
            "*ConnectionError: no server",
        ]
    )


def test_task_without_a_name_is_reported_by_its_function(run) -> None:
    """On CPython 3.13.0, every task of a program's task factory has no name."""
    result = run(
        """
        def factory(loop, coroutine, **kwargs):
            task = asyncio.Task(coroutine, loop=loop, **kwargs)
            task.set_name(None)
            return task

        async def test_it():
            asyncio.get_running_loop().set_task_factory(factory)
            asyncio.create_task(send_mail())
            await turns()
        """
    )
    result.stdout.fnmatch_lines(
        ["*UnhandledTaskExceptionWarning: exception of background task send_mail was never retrieved"]
    )


def test_leak_is_reported_on_request(run) -> None:
    run(LEAKING).assert_outcomes(passed=1, warnings=0)
    result = run(LEAKING, "--background-tasks-leaked=warn")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*test_it.py:17: LeakedTaskWarning: background task Task-* (poll) * still pending*",
            "*created at test_it.py:17 in keep",
            "*called at test_it.py:20 in test_it",
            "*waits at test_it.py:10 in poll",
        ]
    )


def test_held_task_that_never_ran_is_leaked(run) -> None:
    source = """
        async def test_never_run(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(send_mail())

        async def test_forgotten(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(send_mail())
            background_tasks.reset()

        async def test_run(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(send_mail())
            await background_tasks.run_all_async(return_exceptions=True)
    """
    run(source).assert_outcomes(passed=3, warnings=0)
    result = run(source, "--background-tasks-leaked=warn")
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(
        ["test_it.py::test_never_run", "*LeakedTaskWarning: background task Task-* (send_mail) was held and never run"]
    )


def test_forgotten_await_is_reported_at_its_line(run) -> None:
    """Python reports the coroutine, and the plugin the task that it left held, if requested."""
    result = run(
        """
        async def test_it(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(send_mail())
            background_tasks.run_all_async()  # await is missing
        """,
        "--background-tasks-leaked=warn",
    )
    result.assert_outcomes(passed=1, warnings=2)
    result.stdout.fnmatch_lines_random(
        [
            "*RuntimeWarning: coroutine 'BackgroundTasks.run_all_async' was never awaited",
            "    background_tasks.run_all_async()  # await is missing",
            "*LeakedTaskWarning: background task Task-* (send_mail) was held and never run",
        ]
    )


def test_failure_of_a_started_captured_task_is_reported(run) -> None:
    """It is monitored like any other task."""
    result = run(
        """
        async def test_it(background_tasks):
            background_tasks.start_capturing()
            task = asyncio.create_task(send_mail())
            await asyncio.wait([task])
            assert background_tasks.captured_tasks[0].state == "failed"
        """
    )
    result.assert_outcomes(passed=1, warnings=1)


@pytest.mark.parametrize(("count", "raised"), [(1, "*ConnectionError*"), (2, "*ExceptionGroup*(2 sub-exceptions)*")])
def test_failure_raised_by_the_runner_is_not_reported_again(run, count: int, raised: str) -> None:
    """The anyio plugin raises the exceptions that its loop's handler was called with, several of them in a group."""
    source = f"""
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_it(anyio_backend):
            for _ in range({count}):
                asyncio.create_task(send_mail())
            await turns()
    """
    result = run(source, plugins=("-p", "anyio.pytest_plugin"))
    result.assert_outcomes(failed=1, warnings=0)
    result.stdout.fnmatch_lines([raised])


def test_leaks_of_a_failed_test_are_not_reported(run) -> None:
    """Failed tasks are reported even then, because they may be the reason."""
    result = run(
        """
        async def test_it():
            keep(poll())
            asyncio.create_task(send_mail())
            await turns()
            assert False, "before it cleans up"
        """,
        "--background-tasks-leaked=warn",
    )
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.no_fnmatch_line("*LeakedTaskWarning*")


def test_library_tasks_are_not_reported(run, pytester: pytest.Pytester) -> None:
    """Every warning is an error here: code that is not project code is not monitored."""
    library = pytester.mkpydir("site-packages")
    (library / "library.py").write_text(
        dedent("""
        import asyncio

        kept = set()

        async def fail():
            raise ConnectionError

        async def wait():
            await asyncio.get_running_loop().create_future()

        async def start_tasks():
            asyncio.create_task(fail())
            asyncio.create_task(wait())
            kept.add(asyncio.create_task(wait()))
            asyncio.get_running_loop().call_soon(int, "x")
            for _ in range(3):
                await asyncio.sleep(0)
        """)
    )
    pytester.syspathinsert(library)
    result = run(
        """
        import library

        async def test_it():
            await library.start_tasks()
            gc.collect()
        """,
        "-W",
        "error",
        "--background-tasks-leaked=error",
        "--background-tasks-destroyed=error",
    )
    result.assert_outcomes(passed=1)


def test_records_are_discarded_with_their_tasks(run) -> None:
    """The tests share one loop; the records die with their tasks."""
    result = run(
        """
        pytestmark = pytest.mark.asyncio(loop_scope="module")

        @pytest.mark.parametrize("number", range(20))
        async def test_it(number, request):
            tasks = [asyncio.create_task(turns()) for _ in range(10)]
            await asyncio.gather(*tasks)
            del tasks
            plugins = request.config.pluginmanager.get_plugins()
            [monitoring] = [plugin for plugin in plugins if type(plugin).__name__ == "MonitorPlugin"]
            await asyncio.sleep(0)
            assert len(monitoring._monitor._records) <= 1
        """
    )
    result.assert_outcomes(passed=20)


def test_explicit_exception_handler_call_is_not_reported(run) -> None:
    """A job scheduler has reported the error in its own way; only reports of the loop are repeated."""
    result = run(
        """
        async def test_it():
            try:
                await send_mail()
            except ConnectionError as error:
                asyncio.get_running_loop().call_exception_handler({"message": "a job failed", "exception": error})
        """
    )
    result.assert_outcomes(passed=1, warnings=0)


def test_leaks_of_a_failed_unittest_are_not_reported(run) -> None:
    """pytest learns of the failure only after the call."""
    result = run(
        """
        import unittest

        class TestIt(unittest.IsolatedAsyncioTestCase):
            async def test_it(self):
                keep(poll())
                await turns()
                assert False, "before it cleans up"
        """,
        "--background-tasks-leaked=warn",
        plugins=(),
    )
    result.assert_outcomes(failed=1, warnings=0)


def test_task_created_by_the_loop_is_reported_by_its_function(run) -> None:
    result = run(
        """
        async def test_it():
            asyncio.get_running_loop().call_soon(asyncio.create_task, send_mail())
            await turns()
        """
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["    created at test_it.py:* in send_mail"])


def test_task_destroyed_with_its_loop_is_leaked(run) -> None:
    result = run(
        """
        def test_it():
            loop = asyncio.new_event_loop()
            loop.create_task(poll())
            loop.run_until_complete(turns())
            loop.close()
            del loop
            gc.collect()
        """,
        "--background-tasks-leaked=warn",
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*LeakedTaskWarning: *poll* was still pending after its event loop had ended*"])


def test_tasks_created_outside_tests_are_not_reported(run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import asyncio

        async def fail():
            raise ConnectionError

        async def main():
            asyncio.create_task(fail())
            await asyncio.sleep(0)

        def pytest_runtest_logfinish():
            asyncio.run(main())
        """
    )
    run("def test_it(): pass").assert_outcomes(passed=1, warnings=0)


def test_task_factory_may_return_objects_without_attributes(run) -> None:
    result = run(
        """
        class Handle:
            __slots__ = ("__weakref__", "task")

            def __init__(self, task):
                self.task = task

            def __getattr__(self, name):
                return getattr(self.task, name)

        async def test_it():
            loop = asyncio.get_running_loop()
            loop.set_task_factory(lambda loop, coro, **kwargs: Handle(asyncio.Task(coro, loop=loop, **kwargs)))
            handle = asyncio.create_task(turns())
            loop.set_task_factory(None)
            assert isinstance(handle, Handle)
            await handle.task
        """
    )
    result.assert_outcomes(passed=1, warnings=0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_task_that_ends_at_once_is_reported(run) -> None:
    """It no longer has a coroutine; asking for it crashes CPython 3.12.1."""
    result = run(
        """
        async def test_it():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            keep(send_mail())
        """
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*UnhandledTaskExceptionWarning: exception of background task *send_mail* was never retrieved"]
    )


def test_task_wrapped_by_a_task_factory_keeps_its_function(run) -> None:
    """Tracing tools do this, such as Sentry."""
    result = run(
        """
        def wrapping(loop, coro, **kwargs):
            async def traced():
                return await coro

            return asyncio.Task(traced(), loop=loop, **kwargs)

        @pytest.mark.background_tasks(leaked="error", allow="poll")
        async def test_it():
            asyncio.get_running_loop().set_task_factory(wrapping)
            keep(send_mail())
            keep(poll())
            await turns()
        """
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*UnhandledTaskExceptionWarning: exception of background task *send_mail* was never retrieved"]
    )
