"""``pytest --explore --explore-last``: the suite runs as usual, and is explored after its last test."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]
Outcomes = Callable[[], dict[str, Any]]

LAST = "--explore-last"
AUTO = ("--asyncio-mode=auto", "-p", "no:randomly")


@pytest.fixture
def wrong() -> str:
    """A check that fails under one deviation, ``work@1+1``."""
    return """
    async def work(done, name="a"):
        await asyncio.sleep(0.01)
        done.append(name)

    async def late(done):
        await work(done, "b")

    async def check():
        done = []
        await asyncio.gather(work(done), late(done))
        assert done == ["a", "b"]
"""


@pytest.mark.parametrize(
    "state",
    [
        """
    rows = []

    def insert():
        rows.append(1)

    def count():
        return len(rows)
""",
        """
    import sqlite3
    from contextlib import closing

    def insert():
        with closing(sqlite3.connect("shared.db", isolation_level=None)) as connection:
            connection.execute("create table if not exists rows (id)")
            connection.execute("insert into rows values (1)")

    def count():
        with closing(sqlite3.connect("shared.db")) as connection:
            return connection.execute("select count(*) from rows").fetchone()[0]
""",
    ],
    ids=["global", "sqlite"],
)
def test_no_test_sees_what_explorations_leave_behind(
    suite: Run, pytester: pytest.Pytester, state: str, outcomes: Outcomes
) -> None:
    source = (
        state
        + """
    async def work():
        insert()
        await asyncio.sleep(0.01)

    async def test_work():
        await asyncio.gather(work(), work())

    def test_count():
        assert count() == 2
"""
    )
    suite(source).assert_outcomes(failed=1, passed=1)
    (pytester.path / "shared.db").unlink(missing_ok=True)
    suite(source, LAST).assert_outcomes(passed=2)
    assert outcomes()["test_work"]["verdict"] == "bounded"


def test_output_up_to_the_explorations_is_that_of_a_session_without(run: Run, suite: Run, wrong: str) -> None:
    source = (
        wrong
        + """
    import warnings

    @pytest.fixture(scope="session")
    def database():
        print("opens")
        yield
        print("closes")

    async def test_check(database):
        print("checks")
        await check()

    async def test_failing(database):
        warnings.warn("soon", FutureWarning)
        assert 0

    def test_printing():
        print("prints")
"""
    )
    for option in ("-v", "-q", "-s"):
        plain = run(source, *AUTO, option, plugins=("pytest_asyncio.plugin",)).stdout.str()
        last = suite(source, LAST, option).stdout.str()
        usual = last.partition("\nexploring ")[0]
        assert "checks" in usual or option != "-s"
        assert usual.count("\n") > 2 or option == "-q"
        assert plain.startswith(usual)


def test_a_failure_is_reported_as_that_of_its_test(suite: Run, outcomes: Outcomes, wrong: str) -> None:
    """It counts once, as failed, in the terminal and the JUnit file; the session fails."""
    source = wrong + "\n    async def test_check(): await check()\n    async def test_other(): pass\n"
    result = suite(source, LAST, "--junitxml=out.xml")
    assert result.ret == 1
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py ..*[[]100%[]]",
            "exploring 2 of 2 tests F.",
            "*= FAILURES =*",
            "  ! work resumes late from its sleep, at test_it.py:*",
            "replay:  pytest test_it.py::test_check --explore --explore-replay work@1+1",
            "*explored after the last test (--explore-last)*",
            "2 tests explored in * runs: 1 with more than one order, 1 with one order only",
            "FAILED test_it.py::test_check - *",
        ]
    )
    assert {name: each["verdict"] for name, each in outcomes().items()} == {
        "test_check": "failed",
        "test_other": "exhaustive",
    }
    xml = Path("out.xml").read_text()
    assert re.findall('<testcase [^>]*name="([^"]*)"', xml) == ["test_other", "test_check"]
    assert 'failures="1"' in xml
    assert 'tests="2"' in xml
    assert '<property name="explore_schedule" value="work@1+1"' in xml


def test_verbose_output_has_each_verdict(suite: Run, wrong: str) -> None:
    source = (
        wrong
        + """
    async def test_check(): await check()
    async def test_other(): pass
    async def test_starting(): await (await asyncio.create_subprocess_exec("true")).wait()
"""
    )
    suite(source, LAST, "-v").stdout.fnmatch_lines(
        [
            "test_it.py::test_check PASSED *",
            "exploring 3 of 3 tests*",
            "test_it.py::test_check FAILED *",
            "test_it.py::test_other (exhaustive, 1 run, 1 distinct)",
            "test_it.py::test_starting (not explored: process)",
        ]
    )


def test_the_failing_test_is_selected_the_next_time(suite: Run, wrong: str) -> None:
    """Its schedule is tried first, also if the failure was only reported; it is forgotten once it passes."""
    source = wrong + "\n    async def test_check(): await check()\n    async def test_other(): pass\n"
    suite(source, LAST, "--explore-only-report").assert_outcomes(passed=2)
    suite(source, LAST).stdout.fnmatch_lines(["This schedule failed last time and was tried first."])
    again = suite(source, LAST, "--lf")
    again.assert_outcomes(failed=1)
    suite(source.replace("sleep(0.01)", "sleep(0)"), LAST).assert_outcomes(passed=2)
    suite(source, LAST).stdout.no_fnmatch_line("This schedule failed last time*")


def test_findings_can_be_reported_only(suite: Run, outcomes: Outcomes, wrong: str) -> None:
    result = suite(wrong + "\n    async def test_check(): await check()\n", LAST, "--explore-only-report")
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 test failed under a deviation*", "        pytest *--explore-replay work@1+1"])
    assert outcomes()["test_check"]["schedule"] == "work@1+1"


def test_maxfail_ends_the_explorations(suite: Run, outcomes: Outcomes, wrong: str) -> None:
    """Tests that are not explored for this reason say so; so do those behind a test that fails as usual."""
    source = wrong + "\n    async def test_check(): await check()\n    async def test_other(): pass\n"
    result = suite(source, LAST, "-x")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["1 test run as usual only:", "        1 the session ended before its exploration"])
    assert outcomes()["test_other"]["reason"] == "unfinished"
    suite(source + "\n    def test_failing(): assert 0\n", LAST, "-x").assert_outcomes(failed=1, passed=2)
    assert {each["reason"] for each in outcomes().values()} == {"unfinished", "not-async"}


def test_an_interrupt_keeps_what_is_known(
    suite: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes, wrong: str
) -> None:
    monkeypatch.setattr(pytester, "runpytest_inprocess", pytester.runpytest_subprocess)  # it would interrupt this test
    result = suite(
        wrong
        + """
    runs = []

    async def test_check(): await check()

    async def test_interrupted():
        runs.append(1)
        if len(runs) > 1:
            raise KeyboardInterrupt

    async def test_other(): pass
""",
        LAST,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["  ! work resumes late from its sleep, at *", "FAILED test_it.py::test_check *"])
    assert [each["verdict"] or each["reason"] for each in outcomes().values()] == ["failed", "unfinished", "unfinished"]


def test_wider_fixtures_are_set_up_once_more(suite: Run, outcomes: Outcomes) -> None:
    """In the order of the suite: once for all tests of a class, a module or the session; no output of them is heard."""
    result = suite(
        """
        from pathlib import Path

        log = []

        def fixture(scope):
            @pytest.fixture(scope=scope, name=scope)
            def fixture():
                log.append(scope)
                print("opens", scope)
                yield
                print("closes", scope)
                if scope == "session":
                    Path("log").write_text(" ".join(log))
            return fixture

        session, module, of_class = fixture("session"), fixture("module"), fixture("class")

        async def work():
            await asyncio.sleep(0.01)

        @pytest.mark.parametrize("number", [1, 2])
        async def test_number(session, module, number):
            assert number
            await asyncio.gather(work(), work())

        @pytest.mark.usefixtures("class", "module")
        class TestIt:
            async def test_first(self, tmp_path):
                self.seen = getattr(self, "seen", 0) + 1
                assert self.seen == 1
                await asyncio.gather(work(), work())

            async def test_second(self):
                await asyncio.gather(work(), work())
        """,
        LAST,
        "-s",
    )
    result.assert_outcomes(passed=4)
    assert {each["verdict"] for each in outcomes().values()} == {"bounded"}
    assert Path("log").read_text() == "session module class session module class"
    text = result.stdout.str()
    assert [text.count(f"{verb} {scope}") for verb in ("opens", "closes") for scope in ("session", "class")] == [1] * 4


@pytest.mark.parametrize("place", ["setup", "teardown"])
def test_a_fixture_that_cannot_be_set_up_again_is_a_reason(suite: Run, outcomes: Outcomes, place: str) -> None:
    """It is no error of the suite, and the tests that do not need it are explored."""
    result = suite(
        """
        opened = []

        @pytest.fixture(scope="module")
        def port():
            opened.append(1)
            assert len(opened) == 1 or PLACE != "setup", "in use"
            yield
            assert len(opened) == 1 or PLACE != "teardown", "in use"

        async def test_it(port): ...

        async def test_other(): ...
        """.replace("PLACE", repr(place)),
        LAST,
    )
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    assert outcomes()["test_other" if place == "setup" else "test_it"]["verdict"] == "exhaustive"
    refused = outcomes()["test_it" if place == "setup" else "test_other"]
    assert (refused["reason"], refused["detail"]) == ("setup", "AssertionError: in use")


def test_a_test_that_does_not_pass_is_not_explored(suite: Run, outcomes: Outcomes) -> None:
    """Neither is one whose teardown fails."""
    result = suite(
        """
        import unittest

        @pytest.fixture
        async def broken():
            yield
            raise OSError

        async def test_teardown(broken): ...

        async def test_failing(): assert 0

        async def test_skipping(): pytest.skip()

        class TestIt(unittest.IsolatedAsyncioTestCase):
            async def test_method(self):
                self.fail()
        """,
        LAST,
    )
    result.assert_outcomes(passed=1, failed=2, skipped=1, errors=1)
    assert {each["reason"] for each in outcomes().values()} == {"not-passed"}
    result.stdout.no_fnmatch_line("exploring *")


@pytest.mark.parametrize(("number", "reason"), [(1, "not-passed"), (2, "setup")])
def test_an_error_of_a_hook_around_the_call_is_a_reason(
    suite: Run, pytester: pytest.Pytester, outcomes: Outcomes, number: int, reason: str
) -> None:
    """In the usual run the test fails, as always; after it, it has passed."""
    pytester.makeconftest(
        f"""
        import pytest

        calls = []

        @pytest.hookimpl(wrapper=True, trylast=True)
        def pytest_runtest_call(item):
            calls.append(item)
            yield
            assert len(calls) != {number}
        """
    )
    suite("async def test_it(): ...", LAST).assert_outcomes(**{"failed" if number == 1 else "passed": 1})
    assert outcomes()["test_it"]["reason"] == reason


def test_async_fixtures_of_each_scope_are_set_up_in_each_run(suite: Run, outcomes: Outcomes) -> None:
    result = suite(
        """
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def queue():
            queue = asyncio.Queue()
            yield queue
            assert queue.empty()

        @pytest.mark.asyncio(loop_scope="session")
        async def test_it(queue):
            assert queue.empty()
            await asyncio.gather(queue.put(1), queue.get(), asyncio.sleep(0.01), asyncio.sleep(0.01))
        """,
        LAST,
    )
    result.assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] == "bounded"


def test_anyios_plugin(suite: Run, outcomes: Outcomes, wrong: str) -> None:
    result = suite(
        wrong
        + """
    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="module")
    def anyio_backend():
        return "asyncio"

    @pytest.fixture(scope="module")
    async def queue(anyio_backend):
        yield asyncio.Queue()

    async def test_check(queue): await check()

    async def test_other(queue):
        await asyncio.gather(queue.put(1), queue.get())
""",
        LAST,
        plugins=("anyio.pytest_plugin",),
    )
    result.assert_outcomes(failed=1, passed=1)
    assert outcomes()["test_other"]["verdict"] == "exhaustive"


def test_test_cases(suite: Run, outcomes: Outcomes, wrong: str) -> None:
    result = suite(
        wrong
        + """
    import unittest

    class TestIt(unittest.IsolatedAsyncioTestCase):
        @classmethod
        def setUpClass(cls):
            cls.number = 1

        async def asyncSetUp(self):
            self.done = []

        async def test_check(self):
            await check()

        async def test_other(self):
            assert self.number == 1
            await asyncio.gather(work(self.done, "a"), work(self.done, "b"))
            self.assertEqual(len(self.done), 2)
""",
        LAST,
    )
    result.assert_outcomes(failed=1, passed=1)
    assert {name: each["verdict"] for name, each in outcomes().items()} == {
        "TestIt::test_check": "failed",
        "TestIt::test_other": "bounded",
    }


@pytest.mark.parametrize("options", [(), ("-x",), ("--explore-only-report",)], ids=str)
def test_each_worker_explores_at_its_end(suite: Run, outcomes: Outcomes, wrong: str, options: tuple[str, ...]) -> None:
    """Under pytest-xdist the controller sums up, counts each test once, and stores the failing schedules."""
    plugins = ("pytest_asyncio.plugin", "xdist.plugin")
    source = (
        wrong
        + """
    runs = []

    @pytest.mark.parametrize("number", range(3))
    async def test_number(number):
        runs.append(number)
        numbers = set(runs)
        assert set(runs[: len(numbers)]) == numbers, "each test of a worker runs as usual before the first is explored"

    async def test_check(): await check()
"""
    )
    result = suite(source, LAST, "-n2", "--junitxml=out.xml", *options, plugins=plugins)
    is_failure = "--explore-only-report" not in options
    assert result.ret == (pytest.ExitCode.INTERRUPTED if "-x" in options else is_failure)  # as xdist does
    result.assert_outcomes(failed=int(is_failure), passed=3 + (not is_failure))
    assert len(outcomes()) == 4
    assert outcomes()["test_check"]["schedule"] == "work@1+1"
    if options != ("-x",):
        assert [outcomes()[f"test_number[{number}]"]["verdict"] for number in range(3)] == ["exhaustive"] * 3
    assert Path("out.xml").read_text().count("<testcase ") == 4
    suite(source).stdout.fnmatch_lines(["This schedule failed last time and was tried first."])


def test_the_debugger_is_entered_in_the_failing_run(suite: Run, pytester: pytest.Pytester, wrong: str) -> None:
    pytester.makeconftest(
        """
        import pdb

        class Debugger(pdb.Pdb):
            def interaction(self, frame, traceback, *args):
                frames = [frame]
                traceback = getattr(traceback, "__traceback__", traceback)  # the exception, since Python 3.13
                while traceback is not None:
                    frames.append(traceback.tb_frame)
                    traceback = traceback.tb_next
                print("debugs", next(each.f_locals["done"] for each in frames if each and "done" in each.f_locals))
        """
    )
    source = wrong + "\n    async def test_check(): await check()\n"
    result = suite(source, LAST, "--pdb", "--pdbcls=conftest:Debugger")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["debugs [[]'b', 'a'[]]"])


def test_durations_are_those_of_the_usual_runs(suite: Run, wrong: str) -> None:
    source = "\n    import time\n" + wrong.replace("        done = []", "        time.sleep(0.02)\n        done = []")
    result = suite(source + "\n    async def test_check(): await check()\n", LAST, "--durations=0", "-vv")
    assert len(re.findall(r"s (?:setup|call|teardown) +test_it.py::test_check", result.stdout.str())) == 4
    [seconds] = re.findall(r"([\d.]+)s call +test_it.py::test_check", result.stdout.str())
    assert 0.02 <= float(seconds) < 0.2


def test_only_the_usual_run_and_the_failing_one_are_heard(suite: Run, wrong: str) -> None:
    source = (
        wrong
        + """
    @pytest.fixture
    def own(): print("own")

    async def test_check(own, record_property):
        record_property("name", "value")
        print("checks")
        await check()
"""
    )
    result = suite(source, LAST, "--junitxml=out.xml", "-o", "junit_family=legacy")
    text = result.stdout.str()
    assert [text.count("\nchecks\n"), text.count("\nown\n")] == [2, 2]
    assert Path("out.xml").read_text().count('<property name="name"') == 1


def test_the_replay_command_replays(suite: Run, wrong: str) -> None:
    source = wrong + "\n    async def test_check(): await check()\n    async def test_other(): pass\n"
    again = suite(source, LAST, "test_it.py::test_check", "--explore-replay", "work@1+1")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["This was a replay of one schedule; verdict: failed.", "1 test replayed"])


def test_the_option_needs_explore(run: Run) -> None:
    result = run("async def test_it(): pass", LAST)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --explore-last has an effect only together with --explore; add it"])
