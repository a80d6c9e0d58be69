"""Findings in the reports of pytest: warnings, errors, the summary, JUnit XML and xdist."""

from textwrap import dedent
from xml.etree import ElementTree

import pytest

from .conftest import FAILING, LEAKING, PYTEST_ASYNCIO


@pytest.mark.parametrize("how", ["option", "ini", "mark", "-W error"])
def test_error_is_raised_in_the_teardown(run, how: str) -> None:
    """The test has passed; its teardown has not, and shows the traceback of the task."""
    options = {"option": ["--background-tasks-unhandled=error"], "-W error": ["-W", "error"]}.get(how, [])
    ini = "background_tasks_unhandled = error" if how == "ini" else ""
    mark = "@pytest.mark.background_tasks(unhandled='error')" if how == "mark" else ""
    result = run(FAILING.replace("async def test", f"{mark}\n    async def test"), "--tb=short", *options, ini=ini)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_it*",
            "test_it.py:7: in send_mail",
            '    raise ConnectionError("no server")',
            "E   ConnectionError: no server",
            "test_it.py:*: in test_it",
            "    asyncio.create_task(send_mail())",
            "E   pytest_background_tasks.UnhandledTaskExceptionWarning: "
            "exception of background task Task-* (send_mail) was never retrieved",
            "*created at test_it.py:* in test_it",
        ]
    )
    for internal in ("monitor.py", "entries are hidden", "^^"):
        assert internal not in result.stdout.str()


@pytest.mark.parametrize("style", ["auto", "long", "short"])
@pytest.mark.parametrize("what", ["send_mail", "poll"])
def test_error_shows_the_line_but_not_the_whole_module(run, what: str, style: str) -> None:
    """This holds however long the module is; a call over several lines is shown to its end."""
    long = "".join(f"NUMBER_{number} = {number}\n" for number in range(300))
    test = f"""
        async def test_it():
            kept.add(asyncio.create_task(  # here
                {what}(),
            ))
            await turns()
    """
    ini = "background_tasks_leaked = error\nbackground_tasks_unhandled = error\n"
    result = run(long + dedent(test), f"--tb={style}", ini=ini)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.re_match_lines([r"[> ] +kept.add\(asyncio.create_task\(  # here", "E .*background task .*"])
    assert len(result.outlines) < 40


def test_several_errors_are_reported_together(run) -> None:
    result = run(
        """
        async def test_it():
            asyncio.create_task(send_mail())
            keep(poll())
            await turns()
        """,
        "--background-tasks-unhandled=error",
        "--background-tasks-leaked=error",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*UnhandledTaskExceptionWarning: *send_mail*", "*LeakedTaskWarning: *poll*"])


def test_first_warning_of_each_kind_says_how_to_fix_and_to_silence_it(run) -> None:
    result = run(
        """
        @pytest.mark.parametrize("number", range(3))
        async def test_it(number):
            asyncio.create_task(send_mail())
            await turns()
        """
    )
    result.assert_outcomes(passed=3, warnings=3)
    assert result.stdout.str().count("to fix it:  await the task in the code that starts it, or handle the exc") == 1
    assert result.stdout.str().count("background_tasks_unhandled = ignore") == 1


def test_summary_counts_leaks_by_line_in_descending_order(run) -> None:
    source = """
        async def test_one():
            keep(poll())
            await turns()

        @pytest.mark.parametrize("number", range(3))
        async def test_many(number):
            for _ in range(2):
                kept.add(asyncio.create_task(poll()))
            await turns()
    """
    lines = [
        "*leaked background tasks*",
        "7 tasks in 4 tests, by the line that created them:",
        "     6 in 3 tests: test_it.py:26 in test_many: poll",
        "     1 in 1 test: test_it.py:17 in keep: poll",
    ]
    run(source, "--background-tasks-leaked=warn").stdout.fnmatch_lines(lines)
    run(source, "--background-tasks-leaked=error").stdout.fnmatch_lines(lines)
    run(source, "--background-tasks-leaked=warn", "-n2", plugins=(*PYTEST_ASYNCIO, "-p", "xdist")).stdout.fnmatch_lines(
        lines
    )
    run(source).stdout.no_fnmatch_line("*leaked background tasks*")


def test_rerun_test_is_counted_once(run, pytester: pytest.Pytester) -> None:
    """pytest-rerunfailures runs the same item several times. Its worst run counts."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item):
            for _ in range(3):
                runtestprotocol(item)
            return True
        """
    )
    result = run(LEAKING, "--background-tasks-leaked=error", "--junitxml=report.xml")
    result.stdout.fnmatch_lines(["1 task in 1 test, by the line that created them:"])
    reports = list(ElementTree.parse(pytester.path / "report.xml").getroot().iter("property"))
    assert len({report.attrib["value"] for report in reports}) == 1


def test_reports_work_with_a_plugin_that_runs_tests_itself(run, pytester: pytest.Pytester) -> None:
    """pytest-forked is such a plugin."""
    pytester.makeconftest(
        """
        import pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, nextitem=nextitem)
            return True
        """
    )
    run(FAILING).assert_outcomes(passed=1, warnings=1)


def test_reports_arrive_under_xdist(run) -> None:
    result = run(FAILING, "-n2", plugins=(*PYTEST_ASYNCIO, "-p", "xdist"))
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["test_it.py::test_it", "*UnhandledTaskExceptionWarning: *send_mail*"])


def test_reports_arrive_in_junit_xml(run, pytester: pytest.Pytester) -> None:
    run(LEAKING, "--background-tasks-leaked=error", "--junitxml=report.xml")
    [suite] = ElementTree.parse(pytester.path / "report.xml").getroot()
    assert suite.attrib["errors"] == "1"
    [error] = suite.iter("error")
    assert "LeakedTaskWarning" in error.attrib["message"]
    [leak] = suite.iter("property")
    assert leak.attrib == {"name": "background_tasks_leaked", "value": "test_it.py:17 in keep: poll"}


def test_teardown_error_is_shown_first(run) -> None:
    result = run(
        """
        @pytest.fixture
        def broken():
            yield
            raise ValueError("in teardown")

        async def test_it(broken):
            asyncio.create_task(send_mail())
            await turns()
        """,
        "--background-tasks-unhandled=error",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["E*ValueError: in teardown", "E*UnhandledTaskExceptionWarning: exception of background task*send_mail*"]
    )


def test_failed_callback_is_reported_with_its_own_cure(run) -> None:
    result = run(
        """
        async def test_it():
            asyncio.get_running_loop().call_soon(divmod, 1, 0)
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
            await turns()
        """
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*UnhandledTaskExceptionWarning: exception of a callback of the event loop was never retrieved: *lambda*",
            "*to fix it:  handle the exception in the callback",
        ]
    )
