"""`@explore` in pytest: an ordinary test, fresh fixtures, options, and reports."""

import pytest

SHOP = """
    class Shop:
        left = 2

        async def sell(self):
            before = self.left
            await asyncio.sleep(0)
            self.left = before - 1

    @pytest.fixture
    def shop():
        return Shop()

    async def look_and_sell(shop):
        await asyncio.sleep(0)
        await shop.sell()

    @explore(arrivals=["yield", "sleep"])
    async def test_two_customers(shop):
        print("a run")
        async with asyncio.TaskGroup() as group:
            group.create_task(shop.sell())
            group.create_task(look_and_sell(shop))
        assert shop.left == 0
"""


# An ordinary test.


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


# Fixtures.


def test_fixtures_of_function_scope_are_fresh_in_every_run(run) -> None:
    run(
        """
        made, ended = [], []

        @pytest.fixture(scope="module")
        def shared():
            made.append("shared")
            return []

        @pytest.fixture
        def fresh(shared, tmp_path, monkeypatch):
            made.append("fresh")
            assert not list(tmp_path.iterdir())
            (tmp_path / "used").touch()
            yield []
            ended.append("fresh")

        @explore
        async def test_it(fresh, shared, request, background_tasks):
            assert fresh == [] and request.getfixturevalue("fresh") is fresh
            fresh.append(1)
            assert background_tasks.task_count == 0
            await twice()

        def test_afterwards():
            assert made.count("shared") == 1
            assert made.count("fresh") == len(ended) > 3
        """
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("yield\n    assert len(runs) < 3, 'cannot clean up'", "*in the teardown of a fixture after run 3*"),
        ("assert len(runs) < 3, 'no more room'\n    yield", "*in the setup of a fixture before run 3*"),
        ("if len(runs) == 3: pytest.skip('enough')\n    yield", "*1 skipped*"),
    ],
)
def test_a_fixture_may_end_the_exploration(run, body: str, line: str) -> None:
    source = f"""
runs = []

@pytest.fixture
def room():
    runs.append(1)
    {body}

@explore
async def test_it(room):
    await twice()
"""
    result = run(source)
    result.stdout.fnmatch_lines([line])
    for foreign in ("*explorer/*", "*CallInfo*"):
        result.stdout.no_fnmatch_line(foreign)


def test_error_names_an_async_fixture(run) -> None:
    """Also an autouse fixture of any scope; the test can exclude that one."""
    source = """
        @pytest.fixture(autouse=True, scope="session")
        async def clean_db():
            yield

        @explore{options}
        async def test_it():
            await twice()
    """
    result = run(source.replace("{options}", ""), plugins=("pytest_asyncio.plugin",))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*its fixture clean_db is async (*test_it.py:* in clean_db)",
            "*async with clean_db_of_the_test() as clean_db:",
            "*or exclude it:  @explore(exclude_fixtures=[[]'clean_db'])",
        ]
    )
    run(source.replace("{options}", "(exclude_fixtures=['clean_db'])")).assert_outcomes(passed=1)
    run(source.replace("{options}", ""), "--explore-exclude-fixtures=clean_db").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ("exclude_fixtures=['nothing']", "", "*exclude_fixtures='nothing': test_it has no such fixture*"),
        ("exclude_fixtures='tmp_path'", "tmp_path", "*test_it requests tmp_path, and exclude_fixtures= excludes it*"),
        ("", "virtual_time", "*provides virtual time already*"),
        pytest.param(
            "",
            "subtests",
            "*cannot see failures inside subtests*",
            marks=pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests came with pytest 9"),
        ),
    ],
)
def test_unsupported_fixtures_are_errors(run, options: str, arguments: str, message: str) -> None:
    result = run(
        f"""
        @explore({options})
        async def test_it({arguments}): ...
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("name", "scope", "message"),
    [
        ("virtual_time", "function", "*provides virtual time already*"),
        ("clean_db", "function", "*its fixture clean_db is async*"),
        ("clean_db", "module", "*its fixture clean_db is async*"),
    ],
)
@pytest.mark.parametrize("by", ["test", "fixture"])
def test_unsupported_fixtures_requested_at_run_time_are_errors(
    run, name: str, scope: str, message: str, by: str
) -> None:
    """With getfixturevalue: pytest does not know of them before."""
    result = run(
        f"""
        @pytest.fixture(scope="{scope}")
        async def clean_db():
            yield

        @pytest.fixture(scope="{scope}")
        def store(request):
            if "{by}" == "fixture":
                request.getfixturevalue("{name}")

        @explore
        async def test_it(request, store):
            request.getfixturevalue("{name}")
        """,
        plugins=("pytest_asyncio.plugin",),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"E*UsageError: test_it uses @explore{message}"])


# background_tasks in an explored test.


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


# Bad input.


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@explore\ndef test_it(): ...", "*TypeError: @explore needs an async def, and test_it is not one"),
        (
            "@explore(2)\nasync def test_it(): ...",
            "*TypeError: explore(2, ...): write  @explore  or  @explore(max_*",
        ),
        ("@explore(max_deviations=-1)\nasync def test_it(): ...", "*ValueError: max_deviations=-1 is less than 0*"),
        ("@explore(inject_errors=1)\nasync def test_it(): ...", "*1 is not an exception*"),
        ("@explore(depth=1)\nasync def test_it(): ...", "*unknown option depth=*"),
        ("@explore(replay='client@')\nasync def test_it(): ...", "*invalid schedule*"),
        ("@explore(fail_on_leak=True)\nasync def test_it(): ...", "*did you mean fail_on_leaks=[?]"),
        (
            "@explore(first=[])\nasync def test_it(): ...",
            "*valid options: max_schedules, *, fail_on_leaks, exclude_fixtures",
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
            "import hypothesis as h\n@explore\n@h.given(h.strategies.none())\nasync def test_it(x): ...",
            "*Use an Explorer inside the test:",
        ),
        (
            "import hypothesis as h\n@h.given(h.strategies.none())\n@explore\nasync def test_it(x): ...",
            "*Use an Explorer inside the test:",
        ),
        (
            "import unittest\nclass TestIt(unittest.TestCase):\n    @explore\n    async def test_it(self): ...",
            "*does not support methods of a unittest.TestCase",
        ),
        (
            "from unittest.mock import patch\n@patch('os.getcwd')\n@explore\nasync def test_it(x): ...",
            "*has a decorator above @explore*",
        ),
    ],
)
def test_error_for_invalid_use_says_what_to_write(run, source: str, message: str) -> None:
    result = run("\n" + source)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    result.stdout.fnmatch_lines([message])
    if "@h.given" not in source:  # Hypothesis shows all frames
        for foreign in ("*pytest_background_tasks*.py:*", "*asyncio*.py:*"):
            result.stdout.no_fnmatch_line(foreign)


# Options.


@pytest.mark.parametrize(
    ("ini", "args", "own", "deviations"),
    [
        ("", (), "", 2),
        ("explore_max_deviations = 1", (), "", 1),
        ("explore_max_deviations = 1", ("--explore-max-deviations=3",), "", 3),
        ("explore_max_deviations = 1", ("--explore-max-deviations=3",), "max_deviations=0", 0),
    ],
)
def test_keywords_override_the_command_line_which_overrides_the_ini(
    run, pytester: pytest.Pytester, ini: str, args: tuple[str, ...], own: str, deviations: int
) -> None:
    pytester.makeini(f"[pytest]\n{ini}")
    source = f"""
        @explore({own})
        async def test_it():
            async def client():
                for _ in range(3):
                    await asyncio.sleep(0)
            await asyncio.gather(client(), client())
    """
    result = run(source, *args)
    covered = f"with up to {deviations} deviation{'s' * (deviations != 1)} from" if deviations else "in"
    result.stdout.fnmatch_lines([f"*bounded: no failure {covered} asyncio's default order (*"])


def test_cancel_must_find_a_task_only_if_it_is_an_option_of_the_test(run) -> None:
    source = """
        @explore{own}
        async def test_it():
            await asyncio.sleep(0)
    """
    result = run(source.replace("{own}", ""), "--explore-cancel=true")
    result.stdout.fnmatch_lines(["*exhaustive: * (excluding cancellations, injected errors and slow results); *"])
    result = run(source.replace("{own}", "(cancel=True)"), "--explore-cancel=true")
    result.stdout.fnmatch_lines(["E*ExplorationError: cancel=True found no task to cancel: *"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explore_max_schedules = many", "explore_max_schedules = many: invalid value"),
        ("explore_max_schedules = 0", "explore_max_schedules = 0: max_schedules=0 is less than 1*"),
        ("explore_slow_results = perhaps", "explore_slow_results = perhaps: invalid value"),
        ("explore_arrivals = post", "explore_arrivals = post: arrivals=('post',): unknown kind 'post'*"),
    ],
)
def test_invalid_value_is_a_usage_error(run, pytester: pytest.Pytester, line: str, message: str) -> None:
    pytester.makeini(f"[pytest]\n{line}")
    result = run("def test_it(): ...")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}", "  write e.g. *"])


def test_suggested_option_is_quoted_for_the_shell(run) -> None:
    result = run("def test_it(): ...", "--explore-arrivals=slep")
    result.stderr.fnmatch_lines(["  write e.g.  --explore-arrivals='start sleep'"])


def test_a_random_seed_is_shown(run) -> None:
    result = run(SHOP, "--explore-seed=random")
    result.stdout.re_match_lines([r"explore: --explore-seed=\d+"])


# Reports.


def test_failure_reports_its_deviation_and_how_to_replay_it(run) -> None:
    """The assertion comes first, in full; the output is that of one run; the traceback has no frames of the plugin."""
    result = run(SHOP)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert shop.left == 0",
            "E*assert 1 == 0",
            "*- explore -*",
            "This test passes in asyncio's default order and fails with one deviation:",
            "  ! sell resumes late after yielding, at test_it.py:13",
            "        await asyncio.sleep(0)",
            "What happened, with lines of test_it.py:",
            "  sell * look_and_sell",
            "  -- in the default order, sell resumes here (line 14) --",
            "! resumes late",
            "  14 self.left = before - 1",
            "Side by side from the divergence on, by line number:",
            "This can happen if the delayed event is external in production:",
            "    'yield'  asyncio.sleep(0), which stands for I/O in a test",
            "    @explore(arrivals=[[]'sleep'])",  # one of the kinds that the test has
            "Found in run *",
            "replay:  pytest test_it.py::test_two_customers --explore-replay sell@1+1",
        ]
    )
    assert result.outlines.count("a run") == 1
    assert "pytest_background_tasks/" not in result.stdout.str()


def test_the_table_is_as_wide_as_the_terminal(run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SHOP.replace("before - 1", "before - 1  # " + "x" * 200)
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        result = run(source)
        shown = [line for line in result.outlines if "…" in line]
        assert {len(line) for line in shown} == {columns}


def test_the_table_has_pytests_colours(run, pytester: pytest.Pytester) -> None:
    """If the terminal supports colours; elsewhere, as in the JUnit file, it is plain text."""
    result = run(SHOP, "--color=yes", "--junit-xml=junit.xml")
    text = result.stdout.str()
    assert "\x1b[33m\x1b[1mresumes late\x1b[0m" in text
    assert text.count("in the default order, sell resumes here") == 1
    assert text.index("test_it.py\x1b[0m:30: AssertionError") < text.index("resumes late")
    xml = (pytester.path / "junit.xml").read_text()
    assert "! resumes late" in xml
    assert "x1B" not in xml


def test_xdist_worker_sends_the_table_to_the_controller(run) -> None:
    result = run(SHOP, "-n1", "--color=yes", plugins=("xdist",))
    result.stdout.fnmatch_lines(["! resumes late", "replay:*"])


def test_deadlock_in_the_default_order_has_a_table(run) -> None:
    """A deadlock has no traceback that would explain it."""
    result = run(
        """
        @explore
        async def test_it():
            lock = asyncio.Lock()
            async with lock:
                async with lock:
                    pass
        """
    )
    result.stdout.fnmatch_lines(
        ["This test fails in asyncio's default order*", "What happened*", "  * async with lock:", "  waits for a lock"]
    )


def test_failure_in_the_default_order_is_reported_as_such(run) -> None:
    result = run(
        """
        @explore
        async def test_it():
            assert False, "as ever"
        """
    )
    result.stdout.fnmatch_lines(["E*as ever*", "This test fails in asyncio's default order: no deviation was needed*"])


def test_report_shows_only_the_last_of_many_runs(run, pytester: pytest.Pytester) -> None:
    """Its printed, logged and recorded output."""
    result = run(
        """
        import logging

        @explore
        async def test_it(record_property, caplog):
            print("printed")
            logging.getLogger().warning("logged")
            assert len(caplog.records) == 1
            record_property("key", "value")
            await twice()
        """,
        "-rP",
        "--junit-xml=junit.xml",
        "-o",
        "junit_family=legacy",
    )
    result.assert_outcomes(passed=1)
    assert result.stdout.str().count("printed") == 1
    assert result.stdout.str().count("logged") == 1
    xml = (pytester.path / "junit.xml").read_text()
    assert xml.count('name="key"') == 1
    assert 'name="explore" value="' in xml


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_passing_test_reports_its_verdict(run, plugins: tuple[str, ...]) -> None:
    source = """
        @explore
        async def test_it():
            await twice()

        @explore(max_schedules=2)
        async def test_short():
            await twice()

        @explore
        async def test_one():
            pass
    """
    args = ("-n1",) if plugins else ()
    result = run(source, "-v", *args, plugins=plugins)
    result.stdout.fnmatch_lines(
        [
            "*PASSED (exhaustive, * runs, * distinct)*",
            "*PASSED (incomplete, 2 runs, * distinct)*",
            "*PASSED (exhaustive, 1 run, 1 distinct)*",
            "*- explored -*",
            "test_it.py::test_it",
            "    exhaustive: no failure in any order of the explored events (*",
            "    incomplete: no failure before the budget ran out; *",
        ]
    )


def test_passed_line_counts_the_runs_that_were_cut_short(run) -> None:
    """A test that ends with its cancelled client has not reached its assertions."""
    result = run(
        """
        @explore(cancel=True)
        async def test_it():
            await twice()
        """,
        "-v",
    )
    result.stdout.re_match_lines([r".*PASSED \(\w+, \d+ runs, \d+ distinct, [1-9]\d* cut short\)"])


def test_summary_of_many_explored_tests_counts_verdicts(run) -> None:
    result = run(
        """
        @pytest.mark.parametrize("number", range(12))
        @explore
        async def test_it(number):
            await twice()
        """
    )
    result.stdout.fnmatch_lines(["*- explored -*", "12 exhaustive"])


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
            "This test passes in asyncio's default order and fails with one deviation:",
            "replay:*",
        ]
    )


@pytest.mark.parametrize("cancel", ["True", "'job*'", "job"])
def test_captured_tasks_can_be_cancelled_externally(run, cancel: str) -> None:
    """Like a task that the test has started itself; a pattern and a function match it as well."""
    source = f"""
        async def job(log):
            await asyncio.sleep(1)
            log.append("done")

        @explore(cancel={cancel})
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


def test_failure_without_a_traceback_has_a_report(run) -> None:
    result = run(
        """
        @explore
        async def test_it():
            pytest.fail("in words", pytrace=False)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["in words", "*- explore -*", "This test fails in asyncio's default order*", "replay:*"]
    )


def test_output_lines_of_other_tests_are_unchanged(run) -> None:
    result = run(
        """
        @explore
        async def test_it():
            pass

        def test_other():
            pass
        """,
        "-v",
    )
    result.stdout.re_match_lines([r".*::test_it PASSED \(.*", r".*::test_other PASSED +\[.*"])


def test_incomplete_search_has_a_line_in_a_long_summary(run) -> None:
    """The other tests are only counted."""
    result = run(
        """
        @pytest.mark.parametrize("number", range(12))
        @explore
        async def test_it(number):
            await twice()

        @explore(max_schedules=2)
        async def test_short():
            await twice()
        """
    )
    result.stdout.fnmatch_lines(["test_it.py::test_short", "    incomplete: *", "12 exhaustive"])


def test_error_names_the_async_fixture_that_a_fixture_extends(run, pytester: pytest.Pytester) -> None:
    """The fixture that it extends is set up with it."""
    pytester.makeconftest("import pytest\n\n@pytest.fixture\nasync def room():\n    return 1\n")
    result = run(
        """
        @pytest.fixture
        def room(room):
            return room

        @explore
        async def test_it(room):
            pass
        """
    )
    result.stdout.fnmatch_lines(["*test_it uses @explore, but its fixture room is async (conftest.py:*)"])


@pytest.mark.parametrize("without", ["debugging", "capture", "logging", "terminal"])
def test_builtin_pytest_plugins_may_be_disabled(run, without: str) -> None:
    result = run(SHOP, "-p", f"no:{without}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if without != "terminal":
        result.stdout.fnmatch_lines(["! resumes late", "replay:*"])


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


def test_one_error_names_a_whole_chain_of_async_fixtures(run) -> None:
    """The error says what to write for all of them: fixtures that others request come first."""
    result = run(
        """
        @pytest.fixture
        async def session(engine):
            yield engine

        @pytest.fixture
        async def engine(url):
            return url

        @pytest.fixture
        def url():
            return "sqlite://"

        @explore
        async def test_it(session): ...
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*test_it uses @explore, but its fixtures session (test_it.py:* in session), "
            "engine (test_it.py:* in engine) are async",
            "*make each an asynccontextmanager, e.g. session_of_the_test; or, if it has no yield, "
            "a plain coroutine function, e.g. make_engine, and write inside the test:",
            "*engine = await make_engine(url)",
            "*async with session_of_the_test(engine) as session:",
        ]
    )
    result.stdout.no_fnmatch_line("*exclude_fixtures=*")


def test_fixture_that_another_requests_cannot_be_excluded(run) -> None:
    """The error does not advise it, and excluding it does not end in pytest's own error."""
    source = """
        @pytest.fixture
        async def stock():
            return 2

        @pytest.fixture
        def shop(stock):
            return stock

        @explore{}
        async def test_it(shop): ...
    """
    result = run(source.format(""))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*its fixture stock is async*"])
    result.stdout.no_fnmatch_line("*exclude_fixtures=*")
    result = run(source.format("(exclude_fixtures=['stock'])"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*exclude_fixtures='stock': the fixture shop of test_it requests it; "
            "exclude that too, or remove stock from exclude_fixtures="
        ]
    )


def test_autouse_fixture_and_its_dependency_can_be_excluded(run) -> None:
    run(
        """
        @pytest.fixture
        async def stock():
            return 2

        @pytest.fixture(autouse=True)
        def shop(stock):
            return stock

        @explore(exclude_fixtures=["stock", "shop"])
        async def test_it(): ...
        """
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "option", ["fail_on_leaks='yes'", "slow_results=1", "max_seconds='60'", "seed=[1]", "arrivals=5"]
)
def test_option_of_the_wrong_type_is_an_error_at_its_line(run, option: str) -> None:
    result = run(f"@explore({option})\nasync def test_it(): ...")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["test_it.py:*: in <module>", f"E   TypeError: {option.partition('=')[0]}=*write e.g. *"]
    )
