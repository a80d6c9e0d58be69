"""``pytest --explore``: the usual run first, untouched; then a small exploration that can only add a failure."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]
Outcomes = Callable[[], dict[str, Any]]

AUTO = ("--asyncio-mode=auto", "-p", "no:randomly")


def test_failure_under_a_deviation_fails_the_test_and_is_replayed_by_the_printed_command(
    suite: Run, outcomes: Outcomes, shop: str
) -> None:
    result = suite(shop)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *assert 2 == 1",
            "This test passes in asyncio's default order and fails with one deviation*",
            "  ! buy resumes late from its sleep, at test_it.py:*",
            "    --explore-arrivals='thread answer network'",
            "replay:  pytest test_it.py::test_shop --explore --explore-replay buy@1+1",
            "*explored after the usual run (--explore)*",
            "1 test explored in * runs: 1 with more than one order, 0 with one order only",
            "1 test failed under a deviation from asyncio's default order",
            "    test_it.py::test_shop",
            "        AssertionError: assert 2 == 1",
        ]
    )
    outcome = outcomes()["test_shop"]
    assert (outcome["verdict"], outcome["schedule"], outcome["reason"]) == ("failed", "buy@1+1", None)
    again = suite(shop, "test_it.py::test_shop", "--explore-replay", "buy@1+1")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["This was a replay of one schedule; verdict: failed."])


def test_findings_can_be_reported_only(suite: Run, shop: str) -> None:
    """With ``--explore-only-report`` the test passes, and the summary has the finding."""
    result = suite(shop, "--explore-only-report")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 test failed under a deviation*", "        pytest *--explore-replay buy@1+1"])
    assert (suite(shop, "--explore-only-report").stdout.str()).count("buy@1+1") == 1
    cached = suite(shop)
    cached.stdout.fnmatch_lines(["This schedule failed last time and was tried first."])


USUAL = """
    import logging

    @pytest.fixture
    async def room(record_property):
        print("opens")
        record_property("runs", len(seen))
        yield
        print("closes")

    seen = []

    async def test_it(room):
        print("runs", len(seen))
        logging.getLogger("shop").warning("logged %d", len(seen))
        seen.append(1)
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
        assert not {fails} or len(seen) < {fails}

    def test_extra_runs():
        print("seen", len(seen))
"""


@pytest.mark.parametrize("option", ["--capture=fd", "--capture=sys", "--capture=no", "--capture=tee-sys"])
def test_only_the_usual_run_is_heard(suite: Run, option: str) -> None:
    """Neither printed nor logged output of extra runs is shown, captured or live."""
    result = suite(USUAL.replace("{fails}", "0"), option, "-rP", "-o", "log_cli=true")
    result.assert_outcomes(passed=2)
    text = result.stdout.str()
    assert "seen 1\n" not in text  # there were extra runs
    captured_and_live = 2 if option == "--capture=tee-sys" else 1
    assert [text.count(word) for word in ("opens\n", "runs 0\n", "closes\n")] == [captured_and_live] * 3
    assert "runs 1" not in text
    assert "logged 0" in text
    assert "logged 1" not in text


def test_durations_and_properties_are_those_of_the_usual_run(suite: Run, outcomes: Outcomes) -> None:
    suite(
        """
        import time

        async def work():
            time.sleep(0.02)
            await asyncio.sleep(0.01)

        async def test_it(record_property):
            record_property("name", "value")
            await asyncio.gather(work(), work())
        """,
        "--junitxml=out.xml",
        "-o",
        "junit_family=legacy",
        "--explore-max-seconds=9",
    )
    text = Path("out.xml").read_text()
    assert text.count("<property ") == 1
    case = text.partition('name="test_it"')[2]
    assert float(case.partition('time="')[2].partition('"')[0]) < outcomes()["test_it"]["seconds"] / 2


def test_output_of_a_failing_run_is_heard(suite: Run) -> None:
    """Live output and the report both end with the run that failed; none of the others is heard."""
    source = """
        async def work(done, name):
            await asyncio.sleep(0.01)
            done.append(name)

        async def test_it():
            done = []
            await asyncio.gather(work(done, "a"), work(done, "b"))
            print("order", *done)
            assert done == ["a", "b"]
    """
    for option in ("-s", "--capture=fd"):
        lines = suite(source, option).stdout.str().splitlines()
        assert [line.removeprefix("test_it.py ") for line in lines if "order a b" in line or "order b a" in line] == [
            "order a b",
            "order b a",
        ]


def test_no_run_sees_records_of_another(suite: Run, outcomes: Outcomes) -> None:
    """Log records, output and properties of the usual run are not there in an explored one."""
    result = suite(
        """
        import logging

        async def test_it(caplog, capsys, record_property, request):
            logging.getLogger().warning("once")
            print("once")
            record_property("name", "value")
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
            assert len(caplog.records) == 1
            assert capsys.readouterr().out == "once\\n"
            assert request.node.user_properties == [("name", "value")]
        """,
        "-W",
        "ignore:record_property:pytest.PytestWarning",
    )
    result.assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] == "bounded"


def test_garbage_of_extra_runs_is_not_heard(suite: Run, outcomes: Outcomes) -> None:
    """Neither in the test nor in a later one; nor is an exception in a thread."""
    result = suite(
        """
        import gc, threading

        class Noisy:
            def __del__(self):
                raise OSError("not closed")

        runs = []

        def work():
            if len(runs) > 1:
                raise OSError("again")

        async def test_it():
            runs.append(1)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            if len(runs) > 1:
                noisy = Noisy()
                noisy.circle = noisy
                await asyncio.create_subprocess_exec("true")

        def test_later():
            gc.collect()
        """
    )
    result.assert_outcomes(passed=2)
    assert outcomes()["test_it"]["reason"] == "process"


def test_hooks_after_the_call_see_the_usual_run(suite: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        seen = []

        def pytest_runtest_makereport(item, call):
            if call.when == "call":
                seen.append((item.funcargs["number"], item.function.__name__))

        def pytest_unconfigure():
            print("seen", seen)
        """
    )
    result = suite(
        """
        numbers = []

        @pytest.fixture
        def number():
            numbers.append(1)
            return len(numbers)

        async def test_it(number):
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["seen [[](1, 'test_it')]"])


def test_nothing_of_a_run_outlives_its_test(suite: Run) -> None:
    result = suite(
        """
        import gc, weakref

        class Thing: ...

        things = weakref.WeakSet()

        async def test_it():
            thing = Thing()
            things.add(thing)
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))

        def test_later():
            gc.collect()
            assert not things
        """
    )
    result.assert_outcomes(passed=2)


def test_nothing_to_vary_costs_one_more_run(suite: Run, outcomes: Outcomes) -> None:
    result = suite(
        """
        calls = []

        async def test_it():
            calls.append(1)
            await asyncio.sleep(1)

        def test_calls():
            assert len(calls) == 2
        """
    )
    result.assert_outcomes(passed=2)
    assert outcomes()["test_it"]["verdict"] == "exhaustive"
    result.stdout.fnmatch_lines(["1 test explored in 1 run: 0 with more than one order, 1 with one order only"])


@pytest.mark.parametrize("where", ["ini", "mark", "explored"])
def test_an_accepted_schedule_does_not_fail_the_test(
    suite: Run, pytester: pytest.Pytester, where: str, outcomes: Outcomes, shop: str
) -> None:
    """The search goes on behind it, and the summary or the verdict names it; so does a schedule that passes now."""
    source = shop
    if where == "ini":
        pytester.makeini(
            "[pytest]\nexplore_accept =\n    test_it.py::test_shop buy@1+1\n    test_it.py::test_shop buy@9+1"
        )
    else:
        decorators = "    @pytest.mark.explore_accept('buy@1+1', 'buy@9+1')\n"
        if where == "explored":
            decorators += "    @explore(max_deviations=1, arrivals=['sleep'])\n"
        source = source.replace("    async def test_shop", f"{decorators}    async def test_shop")
    result = suite(source)
    result.assert_outcomes(passed=1)
    if where == "explored":
        result.stdout.fnmatch_lines(["*; buy@9+1, which failed before, passes now; buy@1+1 fails, which is accepted"])
        return
    outcome = outcomes()["test_shop"]
    assert (outcome["verdict"], outcome["accepted"], outcome["now_passing"]) == ("bounded", ["buy@1+1"], ["buy@9+1"])
    result.stdout.fnmatch_lines(
        [
            "accepted: test_it.py::test_shop fails under buy@1+1",
            "no longer fails: test_it.py::test_shop under buy@9+1",
        ]
    )


@pytest.mark.parametrize(
    ("source", "ini", "message"),
    [
        (
            "@pytest.mark.explore_accept\nasync def test_it(): ...",
            "",
            "*test_it (test_it.py:7 in test_it): the mark explore_accept takes schedules; write e.g. *client@1+1*",
        ),
        (
            "@pytest.mark.explore_accept('b@')\nasync def test_it(): ...",
            "",
            "*test_it (test_it.py:7 in test_it): invalid schedule: *",
        ),
        ("", "buy@1+1", "*explore_accept: 'buy@1+1' is not a test id, a space and a schedule"),
        ("", "test_it.py::test_it buy@", "*explore_accept: 'test_it.py::test_it buy@' is not *"),
    ],
)
def test_wrong_accepted_schedules_end_the_session(
    suite: Run, pytester: pytest.Pytester, source: str, ini: str, message: str
) -> None:
    pytester.makeini(f"[pytest]\nexplore_accept =\n    {ini}")
    result = suite(source)
    assert result.ret != 0
    result.stderr.fnmatch_lines([message])


def test_the_mark_no_explore_is_known_without_the_option(run: Run) -> None:
    source = "@pytest.mark.no_explore\nasync def test_it(): pass"
    run(source, "--strict-markers", *AUTO, plugins=("pytest_asyncio.plugin",)).assert_outcomes(passed=1)


def test_the_usual_run_is_torn_down_before_the_exploration(suite: Run, outcomes: Outcomes) -> None:
    """A fixture that takes a lock without waiting is set up once at a time; wider fixtures stay set up."""
    result = suite(
        """
        held, log = [], []

        @pytest.fixture(scope="module", autouse=True)
        def database():
            log.append("module")
            yield
            print("log", log)

        @pytest.fixture
        async def lock():
            assert not held
            held.append(1)
            yield
            held.clear()

        async def work():
            await asyncio.sleep(0.01)

        async def test_it(lock):
            await asyncio.gather(work(), work())
        """,
        "-s",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*log [[]'module']"])
    assert outcomes()["test_it"]["verdict"] == "bounded"


def test_error_in_the_teardown_of_the_usual_run_is_an_error_of_the_teardown(suite: Run, outcomes: Outcomes) -> None:
    result = suite(
        """
        @pytest.fixture
        async def room():
            yield
            print("closing")
            raise OSError("door")

        async def work():
            await asyncio.sleep(0.01)

        async def test_it(room):
            await asyncio.gather(work(), work())
        """
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["* ERROR at teardown of test_it *", "E *OSError: door", "*Captured stdout teardown*"])
    assert result.stdout.str().count("closing\n") == 1
    assert outcomes()["test_it"]["reason"] == "not-passed"


def test_a_search_that_stops_at_its_limit_is_listed(suite: Run, outcomes: Outcomes) -> None:
    source = """
        async def work():
            for _ in range(3):
                await asyncio.sleep(0.01)

        async def test_it():
            await asyncio.gather(*[work() for _ in range(4)])
    """
    result = suite(source, "--explore-max-schedules=5")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "1 test passed in all orders until a limit was reached (incomplete):",
            "    test_it.py::test_it: 5 runs; --explore-max-schedules=5",
        ]
    )
    suite(source, "--explore-max-seconds=0.000001")
    assert outcomes()["test_it"]["stopped_by"] == "seconds"


def test_explored_tests_keep_their_own_options(suite: Run, outcomes: Outcomes) -> None:
    """A test with ``@explore`` is explored as without ``--explore``, and is not part of the summary."""
    result = suite(
        """
        @explore(max_deviations=0)
        async def test_it():
            order = []
            await asyncio.gather(*[asyncio.create_task(put(order, each)) for each in "ab"])
            assert order == ["a", "b"]

        async def put(order, name):
            order.append(name)
        """,
        "-v",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASSED (bounded, 1 run, 1 distinct)*"])
    assert outcomes() == {}


SAME = """
    import os, tempfile, unittest, warnings

    class TestClass:
        @pytest.fixture(scope="class")
        def shared(self):
            yield []

        def setup_method(self):
            self.number = 1

        @pytest.mark.parametrize("left", [1, 2])
        async def test_parameters(self, shared, left, tmp_path, monkeypatch, capsys, caplog, request):
            monkeypatch.setenv("LEFT", str(left))
            (tmp_path / "file").write_text("x")
            print("out")
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
            assert capsys.readouterr().out == "out\\n"
            assert request.node.name == f"test_parameters[{left}]"
            assert self.number == 1

        def test_nothing_is_left(self, shared):
            assert "LEFT" not in os.environ
            assert shared == []

    async def fails():
        raise OSError("lost")

    async def test_leaves_a_task():
        asyncio.create_task(asyncio.sleep(99))
        await asyncio.sleep(0)

    async def test_loses_an_exception():
        asyncio.create_task(fails())
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def test_closes_no_generator():
        async def numbers():
            yield 1
            yield 2

        async for _ in numbers():
            break

    async def test_stops_its_loop():
        asyncio.get_running_loop().call_later(0.01, asyncio.get_running_loop().stop)
        await asyncio.sleep(0.02)

    async def test_warns():
        warnings.warn("soon", FutureWarning)

    async def test_exits():
        raise SystemExit(3)

    class TestCase(unittest.IsolatedAsyncioTestCase):
        async def test_subtests(self):
            for number in range(3):
                with self.subTest(number=number):
                    await asyncio.sleep(0)
                    self.assertNotEqual(number, 1)

        @unittest.skip("not now")
        async def test_skipped(self): ...

        @unittest.expectedFailure
        async def test_expected(self):
            self.fail()

    @pytest.mark.parametrize("number", range(2))
    async def test_after_all(number): ...
"""


@pytest.mark.parametrize("leaked", ["warn", "error"])
def test_results_are_those_of_a_session_without_exploring(
    suite: Run, run: Run, leaked: str, outcomes: Outcomes
) -> None:
    """Outcomes, errors, warnings and findings of the monitor are the same, test by test."""
    options = ("-W", "default", "-rA", f"--background-tasks-leaked={leaked}", "--background-tasks-unhandled=warn")
    plain = run(SAME, *AUTO, *options, plugins=("pytest_asyncio.plugin",))
    explored = suite(SAME, *options)
    assert plain.parseoutcomes() == explored.parseoutcomes()
    kinds = ("PASSED", "FAILED", "ERROR test_it", "SKIPPED", "XFAIL", "  test_it.py:", "test_it.py::")

    def told(result: pytest.RunResult) -> list[str]:
        before_summary = [line for line in result.outlines if line.startswith(kinds)]
        return [line for line in before_summary if "run as usual" not in line]

    assert told(plain) == told(explored)
    assert {each["reason"] for each in outcomes().values()} <= {None, "not-passed", "not-async", "default-order"}


@pytest.mark.parametrize("option", ["--explore-only-report", "--explore-loop=asyncio", "--explore-json=out.json"])
def test_options_of_a_suite_need_the_option_explore(run: Run, option: str) -> None:
    result = run("def test_it(): ...", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: {option.partition('=')[0]} has an effect only together with --explore; add it"]
    )


def test_replay_of_a_test_without_the_decorator_needs_the_option_explore(run: Run, shop: str) -> None:
    result = run(shop, *AUTO, "--explore-replay=buy@1+1", plugins=("pytest_asyncio.plugin",))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*a test without @explore needs --explore as well"])


def test_verdicts_are_shown_beside_passed(suite: Run, two_orders: str) -> None:
    result = suite(two_orders, "-v")
    result.stdout.fnmatch_lines(["*PASSED (bounded, * runs, * distinct)*"])
    result.stdout.fnmatch_lines(["1 test passed in every order with at most 1 deviation (bounded)"])


def test_summary_names_what_was_not_varied(suite: Run, two_orders: str) -> None:
    """The list follows the options."""
    suite(two_orders)
    left_out = json.loads(Path("out.json").read_text())["not_varied"]
    assert "the order in which created tasks start" in left_out
    suite(two_orders, "--explore-arrivals=any", "--explore-faults=cancel slow")
    assert json.loads(Path("out.json").read_text())["not_varied"] == [
        "durations written in the code",
        "failures of what a task waits for",
        "resets, refusals, early ends and split reads of connections",
    ]


STREAM = """
    import gc, warnings

    runs = []

    class Stream:
        def __init__(self, *leaking):
            runs.append(1)
            self.is_closed = len(runs) not in leaking
            self.itself = self

        def __del__(self):
            if not self.is_closed:
                warnings.warn("unclosed stream", ResourceWarning)

    async def test_leaks():
        Stream({leaking})
        await twice()

    def test_collects():
        gc.collect()
"""


@pytest.mark.parametrize(("leaking", "failed"), [("2, 3, 4", 0), ("1", 1)], ids=["explored", "usual"])
def test_garbage_warns_only_if_the_usual_run_has_left_it(suite: Run, leaking: str, failed: int) -> None:
    """The garbage of explored runs is collected, unheard, before the next test; older garbage is left alone."""
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    gc.disable()  # else the garbage may be collected at any moment
    try:
        result = suite(STREAM.replace("{leaking}", leaking), "--explore-arrivals=yield")
    finally:
        gc.enable()
        if frozen:
            gc.freeze()
    result.assert_outcomes(passed=2 - failed, failed=failed)
