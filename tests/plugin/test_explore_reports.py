"""The reports of explored tests: failures, verdicts and the summary."""

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


def test_a_random_seed_is_shown(run) -> None:
    result = run(SHOP, "--explore-seed=random")
    result.stdout.re_match_lines([r"explore: --explore-seed=\d+"])


def test_failure_reports_its_deviation_and_how_to_replay_it(run) -> None:
    """The assertion comes first, in full; the output is that of one run; the traceback has no frames of the plugin."""
    result = run(SHOP)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert shop.left == 0",
            "E*assert 1 == 0",
            "*- explore -*",
            "This test passes in asyncio's default order and fails with one deviation*",
            "  ! sell resumes late after yielding, at test_it.py:13",
            "        await asyncio.sleep(0)",
            "What happened, with lines of test_it.py:",
            "  sell * look_and_sell",
            "  -- in the default order, sell resumes here (line 14) --",
            "! resumes late",
            "  14 self.left = before - 1",
            "Side by side from the divergence on, by line number:",
            "This can happen if the delayed event is external in production:",
            "    'yield'   asyncio.sleep(0), which stands for I/O in a test",
            "    arrivals=[[]'sleep'[]]",  # one of the kinds that the test has
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
        @explore(faults="cancel")
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


@pytest.mark.parametrize("without", ["debugging", "capture", "logging", "terminal"])
def test_builtin_pytest_plugins_may_be_disabled(run, without: str) -> None:
    result = run(SHOP, "-p", f"no:{without}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if without != "terminal":
        result.stdout.fnmatch_lines(["! resumes late", "replay:*"])
