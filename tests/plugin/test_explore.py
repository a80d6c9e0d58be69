"""A test with `@explore` is an ordinary test of pytest; invalid uses are errors."""

import pytest


def test_explored_tests_need_no_async_plugin_and_have_a_mark(run) -> None:
    source = """
        @explore
        async def test_it():
            await twice()

        def test_other(): ...
    """
    run(source, "--strict-markers").assert_outcomes(passed=2)
    run(source, "-m", "not explore").assert_outcomes(passed=1, deselected=1)


@pytest.mark.parametrize(
    ("plugin", "head", "args"),
    [
        ("pytest_asyncio.plugin", "pytestmark = pytest.mark.asyncio", ()),
        ("pytest_asyncio.plugin", "pytestmark = pytest.mark.asyncio(loop_scope='module')", ()),
        ("pytest_asyncio.plugin", "", ("--asyncio-mode=auto",)),
        ("anyio.pytest_plugin", "pytestmark = pytest.mark.anyio", ()),
        (
            "anyio.pytest_plugin",
            "pytestmark = [pytest.mark.anyio, pytest.mark.parametrize('anyio_backend', ['asyncio'])]",
            (),
        ),
    ],
)
def test_async_plugins_do_not_interfere(run, plugin: str, head: str, args: tuple[str, ...]) -> None:
    source = f"""
        from pytest_background_tasks._explore.controlled_loop import ControlledLoop
        {head}

        @explore
        async def test_explored():
            await twice()
            assert isinstance(asyncio.get_running_loop(), ControlledLoop)
    """
    run(source, *args, plugins=(plugin,)).assert_outcomes(passed=1)


def test_backends_other_than_asyncio_are_skipped(run) -> None:
    result = run(
        """
        pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])

        @explore
        async def test_it():
            await twice()
        """,
        plugins=("anyio.pytest_plugin",),
    )
    result.assert_outcomes(passed=1, skipped=1)


def test_parametrize_marks_and_classes_work(run) -> None:
    """Each run of a test in a class gets a new instance."""
    run(
        """
        class TestIt:
            def setup_method(self):
                self.fresh = True

            @pytest.mark.parametrize("number", [1, 2])
            @explore
            async def test_it(self, number):
                assert vars(self) == {"fresh": True}
                self.used = number
                await twice()

        class TestWithoutFixtures:
            @explore
            @pytest.mark.xfail(strict=True, raises=ZeroDivisionError)
            async def test_it(self):
                assert vars(self) == {}
                self.used = True
                await twice()
                1 / 0

        @pytest.mark.skip
        @explore
        async def test_skipped(): ...

        @explore
        async def test_skips_itself():
            pytest.skip("no reason")
        """
    ).assert_outcomes(passed=2, xfailed=1, skipped=2)


def test_background_tasks_fixture_works_in_explored_tests(run) -> None:
    """Virtual time does not count as a timeout, and the explorer itself detects deadlocks."""
    result = run(
        """
        async def job():
            await asyncio.sleep(3600)
            return 7

        @explore
        async def test_runs(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(job())
            assert await background_tasks.run_all_async() == [7]

        @explore
        async def test_waits_forever(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(job())
            await asyncio.Event().wait()
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*DeadlockError: every task is blocked:", "never run: job() held: *"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@explore\ndef test_it(): ...", "*TypeError: @explore needs an async def, and test_it is not one"),
        (
            "@explore(2)\nasync def test_it(): ...",
            "*TypeError: explore(2, ...): write  @explore  or  @explore(max_*",
        ),
        ("@explore(max_deviations=-1)\nasync def test_it(): ...", "*ValueError: max_deviations=-1 is less than 0*"),
        ("@explore(faults=1)\nasync def test_it(): ...", "*faults=1 is neither the name of a fault nor an exception*"),
        ("@explore(depth=1)\nasync def test_it(): ...", "*unknown option depth=*"),
        ("@explore(replay='client@')\nasync def test_it(): ...", "*invalid schedule*"),
        ("@explore(fail_on_leak=True)\nasync def test_it(): ...", "*did you mean fail_on_leaks=[?]"),
        (
            "@explore(first=[])\nasync def test_it(): ...",
            "*valid options: max_schedules, *, reseed_random, exclude_fixtures",
        ),
        ("@explore(replay='client@1!cancl')\nasync def test_it(): ...", "*did you mean !cancel[?]"),
        (
            "@explore(exclude_fixtures=5)\nasync def test_it(): ...",
            "*exclude_fixtures=5: 5 is not the name of a fixture; write e.g. *",
        ),
        ("@explore(exclude_fixtures=[1])\nasync def test_it(): ...", "*1 is not the name of a fixture*"),
        ("@explore\n@explore\nasync def test_it(): ...", "*test_it has @explore twice*"),
        ("class TestIt:\n    @explore\n    @staticmethod\n    async def test_it(): ...", "*above @staticmethod*"),
        (
            "import unittest\nclass TestIt(unittest.TestCase):\n    @explore\n    async def test_it(self): ...",
            "*TestIt is a unittest.TestCase, which does not run async tests; write*unittest.IsolatedAsyncioTestCase*",
        ),
        (
            "@pytest.mark.explore(depth=1)\nasync def test_it(): ...",
            "*explore of test_it (*test_it.py:* in test_it): *depth=*",
        ),
        ("pytestmark = pytest.mark.explore(2)\nasync def test_it(): ...", "*the argument 2 has no name; write e.g. *"),
    ],
)
def test_error_for_invalid_use_says_what_to_write(run, source: str, message: str) -> None:
    result = run("\n" + source)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR)
    (result.stderr if result.ret == pytest.ExitCode.USAGE_ERROR else result.stdout).fnmatch_lines([message])
    for foreign in ("*pytest_background_tasks*.py:*", "*asyncio*.py:*"):
        result.stdout.no_fnmatch_line(foreign)


def test_captured_tasks_run_in_every_order(run) -> None:
    """Once a running call has started it; the failure is reported although one of the tasks has not run a step yet."""
    result = run(
        """
    @explore
    async def test_an_update_is_lost(background_tasks):
        total = [0]

        async def add(waits):
            if waits:
                await asyncio.sleep(0)
            before = total[0]
            await asyncio.sleep(0)
            total[0] = before + 1

        background_tasks.start_capturing()
        asyncio.create_task(add(False))
        asyncio.create_task(add(True))
        await background_tasks.run_all_async()
        assert total == [2]
    """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*assert [[]1] == [[]2]",
            "This test passes in asyncio's default order and fails with one deviation*",
            "replay:*",
        ]
    )


@pytest.mark.parametrize("cancel", ["'cancel'", "['cancel:job*']"])
def test_captured_tasks_can_be_cancelled_externally(run, cancel: str) -> None:
    """Like a task that the test has started itself; a pattern and a function match it as well."""
    source = f"""
        async def job(log):
            await asyncio.sleep(1)
            log.append("done")

        @explore(faults={cancel})
        async def test_it(background_tasks):
            log = []
            background_tasks.start_capturing()
            asyncio.create_task(job(log))
            await background_tasks.run_all_async()
            assert log == ["done"]
    """
    result = run(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["replay: *--explore-replay 'job@*!cancel*'"])


def test_module_level_parametrize_applies_to_explored_tests(run) -> None:
    """Explored tests get the parameters of the mark, and no backend."""
    result = run(
        """
        pytestmark = pytest.mark.parametrize("number, letter", [(1, "a")])

        @explore
        async def test_it(number, letter):
            assert (number, letter) == (1, "a")
        """
    )
    result.assert_outcomes(passed=1)


def test_pytest_timeout_ends_the_exploration(run) -> None:
    """It raises from a signal handler, wherever the program is, and so only once."""
    result = run(
        """
        runs = []

        @explore
        async def test_it():
            runs.append(1)
            if len(runs) == 2:
                pytest.fail("Timeout (>1.0s) from pytest-timeout.")
            await asyncio.gather(asyncio.sleep(1), asyncio.sleep(1))
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * Failed: Timeout (>1.0s) from pytest-timeout."])
    result.stdout.no_fnmatch_line("*NonDeterministicTest*")


@pytest.mark.parametrize("option", ["fail_on_leaks='yes'", "faults=1", "max_seconds='60'", "seed=[1]", "arrivals=5"])
def test_option_of_the_wrong_type_is_an_error_at_its_line(run, option: str) -> None:
    result = run(f"@explore({option})\nasync def test_it(): ...")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["test_it.py:*: in <module>", f"E   TypeError: {option.partition('=')[0]}=*write *"])
