"""The reports of a test's background tasks: modes, marks, fixtures that outlive the test, pytest's own reports."""

import sys
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree

import pytest

CODE = """
    import asyncio, gc, sys
    import pytest

    kept = set()

    async def send_mail(to="ada"):
        raise ConnectionError("no server")

    async def poll():
        await asyncio.get_running_loop().create_future()

    async def turns():
        for _ in range(3):
            await asyncio.sleep(0)

    def keep(coroutine):
        kept.add(asyncio.create_task(coroutine))
"""
PYTEST_ASYNCIO = ("-p", "pytest_asyncio.plugin", "--asyncio-mode=auto")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tidy: object):
    """Run a generated project in process, without the plugins of the environment; warnings are shown."""

    def run(source: str, *options: str, plugins: tuple[str, ...] = PYTEST_ASYNCIO, ini: str = "") -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(test_it=dedent(CODE) + dedent(source))
        scope = "asyncio_default_fixture_loop_scope = function\n" if "pytest_asyncio.plugin" in plugins else ""
        pytester.makeini(f"[pytest]\n{scope}{ini}")
        # pytest-asyncio 1.0, the oldest supported version, leaves a loop unclosed.
        options = (
            "-W",
            "always",
            "-W",
            "ignore:unclosed:ResourceWarning",
            "-p",
            "pytest_background_tasks.plugin",
            *plugins,
            *options,
        )
        return pytester.runpytest_inprocess(*options, plugins=[tidy])

    return run


FAILING = """
    async def test_it():
        asyncio.create_task(send_mail())
        await turns()
"""
LEAKING = """
    async def test_it():
        keep(poll())
        await turns()
"""


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
    for internal in ("watching.py", "entries are hidden", "^^"):
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


def test_first_warning_of_each_kind_says_how_to_silence_it(run) -> None:
    result = run(
        """
        @pytest.mark.parametrize("number", range(3))
        async def test_it(number):
            asyncio.create_task(send_mail())
            await turns()
        """
    )
    result.assert_outcomes(passed=3, warnings=3)
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


SERVER = """
    class Server:
        def __init__(self):
            self.jobs = set()

        async def beat(self):
            while True:
                await self.bell.wait()
                self.jobs.add(asyncio.create_task(poll()))      # by a task of its own
                self.bell.clear()

        def start(self):
            self.bell = asyncio.Event()
            self.jobs.add(asyncio.create_task(self.beat()))

        def submit(self, coroutine):
            self.jobs.add(asyncio.create_task(coroutine))

        async def stop(self):
            for job in self.jobs:
                job.cancel()
            await asyncio.gather(*self.jobs, return_exceptions=True)

    @pytest.fixture(scope="module")
    async def server():
        server = Server()
        server.start()
        yield server
        {end}

    pytestmark = pytest.mark.asyncio(loop_scope="module")
"""
HANDED_OVER = """
    async def test_it(server):
        server.submit(poll())
        server.submit(send_mail())
        server.bell.set()
        await turns()
"""
MODULE_LOOP = ("-o", "asyncio_default_fixture_loop_scope=module")


def test_tasks_kept_by_a_module_fixture_are_not_leaked(run) -> None:
    """The server owns the tasks that it started, and those that the test passed to it."""
    result = run(
        dedent(SERVER.replace("{end}", "await server.stop()") + HANDED_OVER)
        + dedent("""
        async def test_afterwards(server):
            assert len(server.jobs) == 4
        """),
        "--background-tasks-leaked=error",
        *MODULE_LOOP,
    )
    result.assert_outcomes(passed=2)


def test_tasks_left_by_a_module_fixture_are_reported_at_its_end(run) -> None:
    """It is reported under the name of its test. A task that the fixture created for itself is not a leak."""
    result = run(
        dedent(SERVER.replace("{end}", "") + HANDED_OVER)
        + dedent("""
        async def test_afterwards(server):
            pass
        """),
        "--background-tasks-leaked=warn",
        *MODULE_LOOP,
    )
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines_random(
        [
            "*LeakedTaskWarning: background task Task-* (poll) * still pending*",
            "*UnhandledTaskExceptionWarning: exception of background task Task-* (send_mail) was never retrieved*",
            "*attributed to test_it.py::test_it, which has ended",
        ]
    )


def test_tasks_kept_by_setup_class_or_setup_module_are_not_leaked(run) -> None:
    result = run(
        """
        runner = asyncio.Runner()

        def setup_module():
            runner.__enter__()

        def teardown_module():
            for task in kept:
                task.cancel()
            runner.close()

        class TestIt:
            @classmethod
            def setup_class(cls):
                cls.jobs = []

            @classmethod
            def teardown_class(cls):
                runner.run(asyncio.wait(cls.jobs))
                assert isinstance(cls.jobs[0].exception(), ConnectionError)

            def test_it(self):
                async def start():
                    keep(poll())
                    self.jobs.append(asyncio.create_task(send_mail()))
                    await turns()

                runner.run(start())
        """,
        "--background-tasks-leaked=error",
        "--background-tasks-unhandled=error",
    )
    result.assert_outcomes(passed=1)


def test_failed_task_of_a_fixture_is_reported(run) -> None:
    result = run(
        """
        @pytest.fixture(scope="module")
        async def server():
            asyncio.create_task(send_mail())
            await turns()

        @pytest.fixture
        async def client():
            kept.add(asyncio.create_task(send_mail("bob")))
            await turns()

        async def test_wide(server): ...
        async def test_narrow(client): ...
        """,
        *MODULE_LOOP,
    )
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines(["test_it.py::test_wide", "*UnhandledTaskExceptionWarning*"])
    result.stdout.fnmatch_lines(["test_it.py::test_narrow", "*UnhandledTaskExceptionWarning*"])


def test_a_fixture_may_clean_up_after_the_test(run) -> None:
    """A check at the end of the test's call would report tasks that its teardown awaits."""
    result = run(
        """
        @pytest.fixture
        async def jobs():
            jobs = []
            yield jobs
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

        async def test_it(jobs):
            jobs += [asyncio.create_task(poll()), asyncio.create_task(send_mail())]
            await turns()
        """,
        "--background-tasks-leaked=error",
    )
    result.assert_outcomes(passed=1)


def test_failure_after_its_test_names_that_test(run) -> None:
    """It is reported as soon as it is known, under the name of the test that created the task."""
    result = run(
        """
        pytestmark = pytest.mark.asyncio(loop_scope="module")
        now = []

        async def fail_later():
            now.append(asyncio.Event())
            await now[0].wait()
            await send_mail()

        async def test_guilty():
            asyncio.create_task(fail_later())
            await turns()

        async def test_innocent():
            now[0].set()
            await turns()

        async def test_last(): ...
        """
    )
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_innocent",
            "*UnhandledTaskExceptionWarning*",
            "*attributed to test_it.py::test_guilty, which has ended",
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


def test_plugin_patches_nothing_when_reports_are_off(run) -> None:
    """If no report is enabled, nothing is loaded or patched; one mark turns the monitor on."""
    off = ("--background-tasks-unhandled=ignore", "--background-tasks-destroyed=ignore")
    source = """
        before = asyncio.BaseEventLoop.create_task

        async def test_it():
            asyncio.create_task(send_mail())
            await turns()
            assert (asyncio.BaseEventLoop.create_task is before) == {is_off}
    """
    run(source.replace("{is_off}", "True"), *off).assert_outcomes(passed=1)
    marked = 'pytestmark = pytest.mark.background_tasks(unhandled="warn")\n' + dedent(source)
    run(marked.replace("{is_off}", "False"), *off).assert_outcomes(passed=1, warnings=1)
    assert "watching" not in getattr(sys.modules["asyncio"].BaseEventLoop.create_task, "__qualname__", "")


DEADLOCK = """
    async def hold(lock):
        async with lock:
            await asyncio.Event().wait()

    async def hang():
        lock = asyncio.Lock()
        keep(hold(lock))
        await asyncio.sleep(0)
        async with lock:
            pass
"""
HANGING = {
    "pytest-asyncio": (PYTEST_ASYNCIO, "async def test_it(): await hang()"),
    "anyio": (
        ("-p", "anyio.pytest_plugin"),
        "@pytest.mark.anyio\n@pytest.mark.parametrize('anyio_backend', ['asyncio'])\n"
        "async def test_it(anyio_backend): await hang()",
    ),
    "unittest": (
        (),
        "import unittest\nclass TestIt(unittest.IsolatedAsyncioTestCase):\n    async def test_it(self): await hang()",
    ),
    "asyncio.run": ((), "def test_it(): asyncio.run(hang())"),
    "blocking portal": (
        (),
        "from anyio.from_thread import start_blocking_portal\n"
        "def test_it():\n    with start_blocking_portal() as portal: portal.call(hang)",
    ),
    "with the fixture": (PYTEST_ASYNCIO, "async def test_it(background_tasks): await hang()"),
}


@pytest.mark.parametrize("runner", HANGING)
def test_deadlocked_test_fails_at_once(run, runner: str) -> None:
    """At the line that waits, the error says what each task waits for, and which task holds it."""
    plugins, test = HANGING[runner]
    result = run(dedent(DEADLOCK) + f"\n{test}\n", "--background-tasks-deadlock=error", "--tb=short", plugins=plugins)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        [
            "    async with lock:",
            "E   *DeadlockError: every task is blocked:",
            "E     *waits at test_it.py:* in hang, for a lock held by Task-* (hold)",
            "E     Task-* (hold) waits at test_it.py:* in hold, for an event",
        ]
    )


@pytest.mark.skipif(not list(Path("/proc/self/task").glob("*/children")), reason="children are not listed here")
def test_resource_tracker_process_does_not_hide_a_deadlock(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its resource tracker is a child process that lasts until Python exits; others may still send something."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio, subprocess, sys
        from multiprocessing.resource_tracker import ensure_running

        import pytest
        from pytest_background_tasks._control.wakeup_sources import _processes

        ensure_running()

        def test_it():
            with pytest.raises(Exception, match="every task is blocked"):
                asyncio.run(wait())

        def test_another_child_process():
            with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
                assert list(_processes()) == ["a child process"]
                child.stdin.close()
            assert not list(_processes())

        async def wait():
            await asyncio.Event().wait()
        """
    )
    options = ("-p", "pytest_background_tasks.plugin", "--background-tasks-deadlock=error")
    pytester.runpytest_subprocess(*options, timeout=20).assert_outcomes(passed=2)


def test_caught_deadlock_error_fails_the_test(run) -> None:
    result = run(
        dedent(DEADLOCK)
        + dedent("""
        async def serve():
            try:
                await hang()
            except Exception:
                pass

        async def test_it():
            await asyncio.create_task(serve())
        """),
        "--background-tasks-deadlock=error",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*DeadlockError: every task is blocked*"])


def test_no_deadlock_error_while_an_external_wakeup_is_possible(run) -> None:
    """It may be a timer, a thread, a process or a peer."""
    result = run(
        """
        import sys, threading

        async def test_timer():
            await asyncio.sleep(0.05)

        async def test_executor():
            await asyncio.to_thread(threading.Event().wait, 0.05)

        async def test_thread():
            loop, event = asyncio.get_running_loop(), asyncio.Event()
            threading.Timer(0.05, loop.call_soon_threadsafe, [event.set]).start()
            await event.wait()

        async def test_process():
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            assert await process.wait() == 0

        async def test_peer():
            async def answer(reader, writer):
                await asyncio.to_thread(threading.Event().wait, 0.05)
                writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            server.close()
        """,
        "--background-tasks-deadlock=error",
        "--background-tasks-unhandled=error",
    )
    result.assert_outcomes(passed=5)


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


def test_deadlock_on_virtual_time_is_reported_once(run) -> None:
    result = run(
        dedent(DEADLOCK) + "\nasync def test_it(virtual_time): await hang()\n", "--background-tasks-deadlock=error"
    )
    result.assert_outcomes(failed=1)
    errors = [
        line for line in result.outlines if line.startswith("E ") and "DeadlockError: every task is blocked" in line
    ]
    assert len(errors) == 1
