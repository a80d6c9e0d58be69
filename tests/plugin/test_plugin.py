"""The plugin in a session: options, errors, and the complete removal of patches (rules 9 and 10)."""

import subprocess
import sys
from textwrap import dedent

import pytest

RUNNERS = {
    "pytest-asyncio": ("pytest_asyncio.plugin", "pytest.mark.asyncio"),
    "pytest-asyncio, a loop for the module": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='module')"),
    "anyio": ("anyio.pytest_plugin", "[pytest.mark.anyio, pytest.mark.parametrize('anyio_backend', ['asyncio'])]"),
}

LEFTOVERS = """
    pytestmark = {mark}
    ended = []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async def test_held(background_tasks):
        background_tasks.start_capturing()
        asyncio.create_task(forever())

    async def test_failing(background_tasks):
        background_tasks.start_capturing()
        asyncio.create_task(forever())
        assert False, "in the middle"

    async def test_started(background_tasks):
        background_tasks.start_capturing()
        asyncio.create_task(forever())
        with pytest.raises(TimeoutError):
            await background_tasks.run_all_async(timeout=0.01)

    async def test_released(background_tasks):
        background_tasks.start_capturing()
        waiting = asyncio.gather(asyncio.create_task(forever()), return_exceptions=True)
        await asyncio.sleep(0)

    async def test_cancelled(background_tasks):
        background_tasks.start_capturing()
        asyncio.create_task(forever()).cancel()

    async def test_afterwards():
        assert_unpatched()
        assert_clean(asyncio.get_running_loop())
        assert "forever" not in [task.get_coro().__name__ for task in asyncio.all_tasks()]
        assert len(ended) == 2, "those that had started"
"""

UNPATCHED = """
    import asyncio, pytest, uvloop
    from starlette.background import BackgroundTask

    def entrances():
        return (
            asyncio.BaseEventLoop.create_task, asyncio.BaseEventLoop.call_exception_handler,
            asyncio.runners._cancel_all_tasks, asyncio.events.get_running_loop, vars(uvloop.Loop).get("create_task"),
            BackgroundTask.__call__, BackgroundTask.__init__,
        )

    as_imported = entrances()  # the session that runs this one may have a monitor

    def assert_unpatched():
        assert entrances() == as_imported

    def assert_clean(loop):
        assert "call_soon" not in vars(loop)
        assert "select" not in vars(getattr(loop, "_selector", type("", (), {})()))
"""


REPORTS_OFF = ("--background-tasks-unhandled=ignore", "--background-tasks-destroyed=ignore")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run a generated project in process, without the plugins of the environment."""

    def run(source: str, *args: str, plugins: tuple[str, ...] = ("pytest_asyncio.plugin",)) -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(dedent(UNPATCHED) + dedent(source))
        named = [word for plugin in ("pytest_background_tasks.plugin", *plugins) for word in ("-p", plugin)]
        options = ["-o", "asyncio_default_fixture_loop_scope=function"] if "pytest_asyncio.plugin" in plugins else []
        return pytester.runpytest_inprocess("-W", "error", *named, *options, *args)

    return run


@pytest.mark.parametrize("runner", RUNNERS)
def test_tests_leave_no_patches_or_tasks_behind(run, runner: str) -> None:
    """After tasks that were held, started, failed or awaited by others, the next test finds everything restored."""
    plugin, mark = RUNNERS[runner]
    result = run(LEFTOVERS.replace("{mark}", mark), *REPORTS_OFF, plugins=(plugin,))
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: in the middle*"])
    result.stdout.no_fnmatch_line("*never awaited*")
    result.stdout.no_fnmatch_line("*destroyed*")


def test_context_values_of_a_test_are_garbage_collected(run) -> None:
    """The values of its context variables are freed, although pytest keeps the item."""
    run(
        """
        import contextvars, gc, weakref

        class Session: ...

        session = contextvars.ContextVar("session")
        sessions = weakref.WeakSet()

        async def job(): ...

        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", range(3))
        async def test_it(background_tasks, number):
            session.set(Session())
            sessions.add(session.get())
            background_tasks.start_capturing()
            asyncio.create_task(job())
            await background_tasks.run_all_async()

        def test_afterwards():
            gc.collect()
            assert not sessions
        """,
        plugins=("pytest_asyncio.plugin",),
    ).assert_outcomes(passed=4)


def test_tasks_left_on_the_loop_of_a_def_test_are_cancelled(run) -> None:
    """As with a runner, tasks have time to clean up before the loop is closed."""
    result = run(
        """
        import asyncio

        cleaned_up = []
        never = asyncio.Event()  # kept, or the garbage collector may destroy the heartbeat

        async def heartbeat():
            try:
                await never.wait()
            finally:
                await asyncio.sleep(0)
                cleaned_up.append("heartbeat")

        async def job():
            asyncio.create_task(heartbeat())
            await asyncio.sleep(0)

        def test_it(background_tasks):
            background_tasks.start_capturing(ignore="heartbeat")
            asyncio.create_task(job())
            background_tasks.run_all_sync()
            assert cleaned_up == []

        def test_afterwards():
            assert cleaned_up == ["heartbeat"]
        """,
        plugins=(),
    )
    result.assert_outcomes(passed=2)


def test_tasks_on_a_loop_in_another_thread_end_with_the_test(run) -> None:
    """The tasks have also cleaned up: the fixture waits for them, although their loop keeps running."""
    result = run(
        """
        import asyncio, pytest
        from anyio.from_thread import start_blocking_portal

        log = []

        @pytest.fixture
        def portal():
            with start_blocking_portal() as portal:
                yield portal
                log.append("the loop ends")

        async def job():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.1)
                log.append("cleaned up")

        async def start():
            asyncio.create_task(job())

        def test_it(portal, background_tasks):
            background_tasks.start_capturing()
            portal.call(start)
            background_tasks.run_until_idle_sync()

        def test_afterwards():
            assert log == ["cleaned up", "the loop ends"]
        """,
        plugins=(),
    )
    result.assert_outcomes(passed=2)


def test_asyncio_is_patched_only_while_capturing(run) -> None:
    """Patches are installed only while a test captures."""
    run(
        """
        def test_it(background_tasks):
            assert_unpatched()
            background_tasks.stop_capturing()
            background_tasks.start_capturing()
            with pytest.raises(AssertionError):
                assert_unpatched()
            background_tasks.stop_capturing()
            background_tasks.stop_capturing()
            assert_unpatched()
            with background_tasks.capturing():
                with background_tasks.capturing():
                    pass
                with pytest.raises(AssertionError):
                    assert_unpatched()
            assert_unpatched()
        """,
        *REPORTS_OFF,
    ).assert_outcomes(passed=1)


def test_foreign_patches_are_preserved(run) -> None:
    run(
        """
        def test_it(background_tasks):
            original = asyncio.BaseEventLoop.create_task
            foreign = lambda self, coro, **kwargs: original(self, coro, **kwargs)
            background_tasks.start_capturing()
            asyncio.BaseEventLoop.create_task = foreign
            background_tasks.stop_capturing()
            assert asyncio.BaseEventLoop.create_task is foreign
            assert asyncio.run(asyncio.sleep(0, 1)) == 1
            asyncio.BaseEventLoop.create_task = original
        """
    ).assert_outcomes(passed=1)


def test_fixture_used_after_its_test_raises_an_error(run) -> None:
    result = run(
        """
        kept = []

        def test_first(background_tasks):
            kept.append(background_tasks)

        def test_second():
            kept[0].start_capturing()

        def test_third():
            kept[0].task_count
        """
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*BackgroundTasksError: background_tasks of *::test_first was used after that test had ended*"]
    )


def test_capturing_block_left_after_its_test_patches_nothing(run) -> None:
    """Leaving the block after the test patches nothing."""
    run(
        """
        blocks = []

        def test_first(background_tasks):
            blocks.append(background_tasks.capturing())
            blocks[0].__enter__()

        def test_second():
            assert_unpatched()
            blocks[0].__exit__(None, None, None)
            assert_unpatched()
        """,
        *REPORTS_OFF,
    ).assert_outcomes(passed=2)


def test_plugin_works_without_pytest_asyncio(run) -> None:
    """With ``-p no:asyncio``, a def test needs no runner plugin."""
    run(
        """
        def test_it(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.sleep(0, 42))
            assert background_tasks.run_all_sync() == [42]
        """,
        "-p",
        "no:asyncio",
        plugins=(),
    ).assert_outcomes(passed=1)


def test_fixture_works_under_xdist_and_in_random_order(run) -> None:
    source = """
        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", range(6))
        async def test_it(background_tasks, number):
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.sleep(0, number))
            assert await background_tasks.run_all_async() == [number]
    """
    plugins = ("pytest_asyncio.plugin", "xdist", "pytest_randomly")
    run(source, "-n2", plugins=plugins).assert_outcomes(passed=6)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("background_tasks_timeout = soon", "background_tasks_timeout = soon: not a number of seconds"),
        ("background_tasks_timeout = -1", "background_tasks_timeout = -1: not a number of seconds"),
        (
            "background_tasks_project_packages = my-package",
            "background_tasks_project_packages: 'my-package' is not an import name",
        ),
    ],
)
def test_a_wrong_ini_value_is_a_usage_error(run, pytester: pytest.Pytester, line: str, message: str) -> None:
    """The error comes before any test runs, and says what to write instead."""
    pytester.makeini(f"[pytest]\n{line}")
    result = run("def test_it(): ...")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*write e.g.*"])


def test_default_timeout_comes_from_the_ini_file(run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nbackground_tasks_timeout = 0.05")
    result = run(
        """
        def test_it(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.sleep(3600))
            background_tasks.run_all_sync()
        """
    )
    result.stdout.fnmatch_lines(["*did not end within 0.05 s*", "*sleep (Task-*, created at *) waits at *"])


def test_traceback_shows_only_lines_of_the_project(run) -> None:
    """The traceback goes from the line of the test to the line that failed."""
    result = run(
        """
        async def job():
            raise ValueError("broken job")

        @pytest.mark.asyncio
        async def test_async(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(job())
            await background_tasks.run_all_async()

        def test_sync(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(job())
            background_tasks.run_all_sync()
        """,
        "--tb=short",
    )
    result.assert_outcomes(failed=2)
    for test, call in (
        ("async", "await background_tasks.run_all_async()"),
        ("sync", "background_tasks.run_all_sync()"),
    ):
        result.stdout.fnmatch_lines(
            [
                f"*: in test_{test}",
                f"    {call}",
                "*: in job",
                '    raise ValueError("broken job")',
                "E   ValueError: broken job",
                f"E   in background task Task-* (job), created at *.py:* in test_{test}",
            ],
        )
    assert "pytest_background_tasks" not in result.stdout.str().partition("FAILURES")[2]


def test_failing_test_reports_held_tasks(run) -> None:
    """A held task is often the reason for the failure."""
    result = run(
        """
        async def send_mail(to): ...

        def test_it(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(send_mail("ada"))
            assert not "sent"
        """
    )
    result.stdout.fnmatch_lines(["*Captured background_tasks call*", "never run: send_mail(to='ada') held: Task-*"])


@pytest.mark.parametrize("call", ["await background_tasks.run_all_async()", "background_tasks.run_all_sync()"])
def test_failing_test_reports_that_no_task_was_run(run, call: str) -> None:
    """Capturing that begins too late, or never, is the likeliest reason; running nothing is not an error."""
    result = run(
        f"""
        pytestmark = pytest.mark.asyncio

        async def test_failing(background_tasks):
            assert {call} == []
            background_tasks.start_capturing()
            assert not "sent"

        async def test_passing(background_tasks):
            assert {call} == []
        """,
        plugins=("pytest_asyncio.plugin",),
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"{call} had nothing to run: "
            "nothing was captured; call start_capturing() before the code that starts the task"
        ]
    )
    assert result.stdout.str().count("nothing was captured") == 1


def test_plugin_can_be_disabled(pytester: pytest.Pytester) -> None:
    """``-p no:background_tasks`` works with the plugin installed as users have it."""
    pytester.makepyfile("def test_it(background_tasks): ...")
    result = pytester.runpytest_subprocess("-p", "no:background_tasks")
    result.stdout.fnmatch_lines(["*fixture 'background_tasks' not found*"])
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_unused_plugin_does_not_import_asyncio_or_the_engine(pytester: pytest.Pytester) -> None:
    """It imports neither asyncio (which pytest itself imports from Python 3.14 on) nor the engine."""
    pytester.makepyfile("def test_it(): pass")
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("modules:", *(name for name in sys.modules if name.startswith(("asyncio", "pytest_background"))))
        """
    )

    def modules(*options: str) -> set[str]:
        command = [sys.executable, "-m", "pytest", "-s", *options, str(pytester.path)]
        environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        [line] = [line for line in output.splitlines() if "modules:" in line]
        return set(line.partition("modules:")[2].split())

    plain = modules()
    added = modules("-p", "pytest_background_tasks.plugin") - plain
    if "asyncio" in plain:  # from Python 3.14 on, so that the session is monitored
        assert not {name for name in added if name.startswith("pytest_background_tasks._control")}
        added = modules("-p", "pytest_background_tasks.plugin", *REPORTS_OFF) - plain
    monitor = ("_monitor", "_monitor.kinds", "_introspect", "_introspect.real_clock", "_introspect.untrusted")
    plugin = ("", ".judgement", ".plugin_names", ".report_properties", ".explore")
    explore = (".command_line", ".failure_cache", ".hooks", ".marks", ".settings")
    names = (*monitor, *(f"plugin{name}" for name in plugin), *(f"plugin.explore{name}" for name in explore))
    assert added == {"pytest_background_tasks", *(f"pytest_background_tasks.{name}" for name in names)}


def test_virtual_time_without_threads_or_other_plugins(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without other threads, plugins and libraries, shortcuts that save time change nothing."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio, sys, threading

        def test_it(virtual_time):
            async def main():
                assert threading.active_count() == 1
                for _ in range(3):
                    await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(0))
                assert await asyncio.to_thread(lambda: virtual_time.now) == 3 * 3600

            asyncio.run(main())
            assert not {"anyio", "uvloop"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess("-p", "pytest_background_tasks.plugin")
    result.assert_outcomes(passed=1)


def test_timeouts_use_real_time_when_a_test_freezes_time(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """freezegun does this, in the module time and in all modules that have imported its names."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio, sys, time
        import pytest
        from pytest_background_tasks import BackgroundTasksTimeout

        @pytest.fixture(autouse=True)
        def frozen(monkeypatch):
            real, now = time.monotonic, time.monotonic()
            for name, module in list(sys.modules.items()):
                if not name.startswith(("threading", "selectors")):
                    for attribute in [each for each, value in vars(module).items() if value is real]:
                        monkeypatch.setattr(module, attribute, lambda: now)
            assert time.monotonic() == time.monotonic()

        def test_it(frozen, background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.Event().wait())
            with pytest.raises(BackgroundTasksTimeout):
                background_tasks.run_all_sync(timeout=0.01)
        """
    )
    result = pytester.runpytest_subprocess("-p", "pytest_background_tasks.plugin", timeout=20)
    result.assert_outcomes(passed=1)


def test_fixture_is_listed_with_its_docstring(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--fixtures", "-o", "asyncio_default_fixture_loop_scope=function")
    result.stdout.fnmatch_lines(
        ["background_tasks -- *", "    Hold the background tasks that the code under test starts*"]
    )
