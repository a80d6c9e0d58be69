"""``pytest --explore`` with other options and plugins of pytest."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]
Outcomes = Callable[[], dict[str, Any]]


def test_exitfirst_and_last_failed(suite: Run, shop: str) -> None:
    source = shop + "\n    async def test_other(): pass\n"
    suite(source, "-x").assert_outcomes(failed=1)
    again = suite(source, "--lf")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["This schedule failed last time and was tried first."])


def test_a_test_that_is_run_again_is_explored_again(suite: Run, pytester: pytest.Pytester, shop: str) -> None:
    """Plugins like pytest-rerunfailures run all phases of an item a second time."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for report in runtestprotocol(item, nextitem=item, log=False):
                assert report.when != "call" or "assert 2 == 1" in str(report.longrepr)
            item._initrequest()
            runtestprotocol(item, nextitem=nextitem)
            return True
        """
    )
    result = suite(shop)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1 test explored in * run*: *", "        AssertionError: assert 2 == 1"])


def test_under_xdist(suite: Run, outcomes: Outcomes, shop: str) -> None:
    """The controller sums up what its workers have explored, and writes the JSON file."""
    result = suite(
        shop + "\n    async def test_other(): pass\n",
        "-n2",
        plugins=("pytest_asyncio.plugin", "xdist.plugin"),
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["2 tests explored in * runs: 1 with more than one order, 1 with one order only"])
    assert set(outcomes()) == {"test_shop", "test_other"}


def test_collect_only_explores_nothing(suite: Run, shop: str) -> None:
    result = suite(shop, "--collect-only")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*explored*")


def test_warnings_of_extra_runs_are_not_reported(suite: Run, outcomes: Outcomes, two_orders: str) -> None:
    source = "\n    import warnings\n" + two_orders.replace(
        "async def test_it():", "async def test_it():\n        warnings.warn('soon', FutureWarning)"
    )
    result = suite(source, "-W", "always::FutureWarning")
    result.assert_outcomes(passed=1, warnings=1)
    assert outcomes()["test_it"]["runs"] > 1


def test_coverage_is_that_of_the_usual_run(
    suite: Run, outcomes: Outcomes, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytest_cov")
    # In this process, pytest-cov would keep coverage from saving what this process has measured.
    monkeypatch.setattr(pytester, "runpytest_inprocess", pytester.runpytest_subprocess)
    result = suite(
        """
        runs = []

        async def test_it():
            runs.append(1)
            if len(runs) > 1:
                extra = 1
        """,
        "--cov=.",
        "--cov-report=term-missing",
        "-W",
        "ignore",
        plugins=("pytest_asyncio.plugin", "pytest_cov.plugin"),
    )
    result.assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] == "exhaustive"
    result.stdout.fnmatch_lines(["test_it.py *%*, 13"])


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_limits_the_usual_run_only(suite: Run, method: str, outcomes: Outcomes) -> None:
    """An exploration may take longer than the limit of pytest-timeout."""
    pytest.importorskip("pytest_timeout")
    result = suite(
        """
        import time

        async def work():
            time.sleep(0.1)
            await asyncio.sleep(0.01)

        async def test_it():
            await asyncio.gather(work(), work())
        """,
        "--timeout=0.5",
        f"--timeout-method={method}",
        plugins=("pytest_asyncio.plugin", "pytest_timeout"),
    )
    result.assert_outcomes(passed=1)
    assert outcomes()["test_it"]["seconds"] > 0.5


def test_timeout_ends_an_explored_run_that_blocks(suite: Run, outcomes: Outcomes) -> None:
    """The limit of pytest-timeout is for each run; a run that exceeds it is a reason, and no failure."""
    pytest.importorskip("pytest_timeout")
    result = suite(
        """
        import threading

        async def work(order, name):
            await asyncio.sleep(0.01)
            order.append(name)

        async def test_it():
            order = []
            await asyncio.gather(work(order, "a"), work(order, "b"))
            if order == ["b", "a"]:
                threading.Event().wait()
        """,
        "--timeout=0.5",
        "--timeout-method=thread",
        plugins=("pytest_asyncio.plugin", "pytest_timeout"),
    )
    result.assert_outcomes(passed=1)
    outcome = outcomes()["test_it"]
    assert outcome["reason"] == "timeout"
    assert outcome["detail"] == "Failed: Timeout (>0.5s) from pytest-timeout."


def test_methods_of_a_test_case_are_explored(suite: Run, outcomes: Outcomes, shop: str) -> None:
    result = suite(
        "\n    import unittest\n"
        + shop.partition("    async def test_shop")[0]
        + """
    class TestShop(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            self.shop = Shop()

        async def test_it(self):
            await asyncio.gather(self.shop.buy(), self.shop.look_and_buy())
            self.assertEqual(self.shop.sold, 1)

        async def test_subtests(self):
            with self.subTest("one"):
                await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.01))
"""
    )
    result.assert_outcomes(failed=1, passed=1)
    assert {name: each["verdict"] for name, each in outcomes().items()} == {
        "TestShop::test_it": "failed",
        "TestShop::test_subtests": "bounded",
    }
