"""The options and marks that decide what is reported for a test, and how."""

from textwrap import dedent

import pytest

from pytest_background_tasks._asyncio.instrument import hub

from .conftest import LEAKING


def test_the_nearest_mark_decides(run) -> None:
    result = run(
        """
        pytestmark = pytest.mark.background_tasks(leaked="error")

        async def test_strict():
            keep(poll())
            await turns()

        @pytest.mark.background_tasks(leaked="warn")
        async def test_lenient():
            keep(poll())
            await turns()

        @pytest.mark.background_tasks(leaked="ignore")
        async def test_ignoring():
            keep(poll())
            await turns()
        """
    )
    result.assert_outcomes(passed=3, errors=1, warnings=1)


@pytest.mark.parametrize(
    "allow",
    [
        '["po*"]',
        "poll",
        "[poll]",
        '"test_it:poll"',
        "[lambda task: task.function == 'poll']",
        "lambda task: not task.arguments",
        '["heart*", poll]',
    ],
)
def test_allowed_tasks_may_leak(run, allow: str) -> None:
    """Any kind of target can be used; other tasks are reported."""
    result = run(
        f"""
        @pytest.mark.background_tasks(leaked="error", allow={allow})
        async def test_it():
            keep(poll())
            await turns()

        @pytest.mark.background_tasks(leaked="error", allow={allow})
        async def test_other():
            keep(asyncio.sleep(3600))
            await turns()
        """
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR test_it.py::test_other*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"error"', "{}('error'): the arguments are unhandled, leaked, destroyed* and allow, by keyword"),
        ('leaked="yes"', "{}(leaked='yes'): leaked must be one of 'ignore', 'warn', 'error'"),
        ('leeked="warn"', "{}(leeked='warn'): the arguments are unhandled, leaked, destroyed*"),
        ("allow=[3]", "*a target is a coroutine function*not an object of type 'int'"),
    ],
)
def test_a_wrong_mark_is_a_usage_error(run, arguments: str, message: str) -> None:
    result = run(LEAKING.replace("async def test", f"@pytest.mark.background_tasks({arguments})\n    async def test"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = message.format("@pytest.mark.background_tasks").replace("[", "[[]")
    result.stderr.fnmatch_lines([f"*test_it.py::test_it: {message}*"])


@pytest.mark.parametrize("arguments", ['leaked="error"', 'failed="ignore"', 'allow="poll"'])
def test_a_mark_above_explore_is_a_usage_error(run, arguments: str) -> None:
    """It would have no effect, and the test would pass or fail without notice."""
    result = run(
        f"""
        from pytest_background_tasks import explore

        @pytest.mark.background_tasks({arguments})
        @explore
        async def test_it():
            keep(poll())
        """
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*test_it.py::test_it: *has no effect above @explore*write  @explore(fail_on_leaks=True)*"]
    )


def test_module_mark_applies_to_tests_that_are_not_explored(run) -> None:
    result = run(
        """
        from pytest_background_tasks import explore

        pytestmark = pytest.mark.background_tasks(leaked="error")

        @explore
        async def test_explored():
            keep(poll())

        async def test_other():
            keep(poll())
        """
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR test_it.py::test_other*"])


@pytest.mark.parametrize("kind", ["unhandled", "leaked", "destroyed", "deadlock"])
def test_a_wrong_mode_is_a_usage_error(run, kind: str) -> None:
    result = run("", ini=f"background_tasks_{kind} = loud")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*background_tasks_{kind} = loud: not one of *write e.g. background_tasks_{kind} = *"]
    )
    result = run("", f"--background-tasks-{kind}=loud")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*invalid choice: 'loud'*"])


def test_gc_mode_forces_garbage_collection(run) -> None:
    """It is a task that nothing can ever wake; tasks with a living reference are not collected."""
    source = """
        @pytest.fixture(autouse=True)
        def no_collector():
            gc.disable()
            yield
            gc.enable()

        async def test_lost():
            asyncio.create_task(poll())
            await turns()

        async def test_asleep():
            asyncio.create_task(asyncio.sleep(3600))
            await turns()

        bell = asyncio.Event()

        async def test_known_to_an_event():
            asyncio.create_task(bell.wait())
            await turns()

        def test_lost_in_a_def_test():
            asyncio.run(test_lost())
    """
    result = run(source, ini="background_tasks_destroyed = gc")
    result.assert_outcomes(passed=4, warnings=2)
    for test in ("test_lost", "test_lost_in_a_def_test"):
        result.stdout.fnmatch_lines(
            [f"test_it.py::{test}", "*DestroyedTaskWarning*poll* was garbage-collected while pending*"]
        )


def test_plugin_patches_nothing_when_reports_are_off(run) -> None:
    """If no report is enabled, nothing is loaded or patched; one mark turns the monitor on, until the session ends."""
    off = ("--background-tasks-unhandled=ignore", "--background-tasks-destroyed=ignore")
    before = len(hub._instruments)
    source = f"""
        from pytest_background_tasks._asyncio.instrument import hub

        async def test_it():
            asyncio.create_task(send_mail())
            await turns()
            assert len(hub._instruments) - {before} == COUNT
    """
    run(source.replace("COUNT", "0"), *off).assert_outcomes(passed=1)
    marked = 'pytestmark = pytest.mark.background_tasks(unhandled="warn")\n' + dedent(source)
    run(marked.replace("COUNT", "1"), *off).assert_outcomes(passed=1, warnings=1)
    assert len(hub._instruments) == before
