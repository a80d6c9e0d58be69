"""``pytest --explore``: a test that cannot be explored keeps its usual result, and has a reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]
Outcomes = Callable[[], dict[str, Any]]

REASONS = {
    "not-async": "def test_it(): pass",
    "not-passed": "async def test_it(): pytest.skip('not here')",
    "expected-failure": "@pytest.mark.xfail\nasync def test_it(): pass",
    "excluded": "@pytest.mark.no_explore\nasync def test_it(): await twice()",
    "hypothesis": """
from hypothesis import given, strategies

@given(number=strategies.integers())
async def test_it(number): pass
""",
    "fixture": "async def test_it(virtual_time): pass",
    "setup": """
opened = []

@pytest.fixture
async def room():
    assert not opened
    opened.append(1)
    yield

async def test_it(room): pass
""",
    "network": """
import socket

@pytest.fixture(scope="session")
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening

async def test_it(server):
    _, writer = await asyncio.open_connection(*server.getsockname())
    writer.close()
    await writer.wait_closed()
""",
    "process": "async def test_it():\n    await (await asyncio.create_subprocess_exec('true')).wait()",
    "signal": """
import signal

async def test_it():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
""",
    "thread": """
import threading

async def test_it():
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work():
        threading.Event().wait(0.2)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work).start()
    await done.wait()
""",
    "different": """
runs = []

async def test_it():
    runs.append(1)
    await asyncio.gather(*[asyncio.sleep(0.1) for _ in range(len(runs) + 1)])
""",
    "default-order": """
runs = []

async def test_it():
    assert not runs
    runs.append(1)
""",
    "loop": """
from unittest import mock

async def test_it():
    with mock.patch.object(asyncio.get_running_loop(), "time", lambda: 5.0):
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0)
""",
    "skips": """
runs = []

async def test_it():
    runs.append(1)
    if len(runs) > 1:
        pytest.skip("once is enough")
""",
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_test_that_cannot_be_explored_has_a_reason_and_its_usual_result(
    suite: Run, reason: str, outcomes: Outcomes
) -> None:
    """Each reason is counted once in the summary, with a line of the project."""
    result = suite(REASONS[reason])
    assert result.ret == 0
    assert outcomes()["test_it"]["reason"] == reason
    assert outcomes()["test_it"]["location"].startswith("test_it.py:")
    from pytest_background_tasks.plugin.explore.reasons import REASONS as KNOWN

    text = next(each.text for each in KNOWN if each.code == reason)
    result.stdout.fnmatch_lines(["1 test run as usual only:", f"        1 {text}"])


def test_failing_test_is_not_explored_and_fails_as_usual(suite: Run, outcomes: Outcomes) -> None:
    result = suite(
        """
        import unittest

        async def test_it():
            assert 0

        @pytest.mark.xfail
        async def test_expected():
            assert 0

        @pytest.fixture
        async def broken():
            raise OSError

        async def test_broken(broken): ...

        class TestIt(unittest.IsolatedAsyncioTestCase):
            async def test_method(self):
                self.fail()
        """
    )
    result.assert_outcomes(failed=2, xfailed=1, errors=1)
    assert {name: each["reason"] for name, each in outcomes().items()} == {
        **dict.fromkeys(("test_it", "test_broken", "TestIt::test_method"), "not-passed"),
        "test_expected": "expected-failure",
    }


def test_a_mark_xfail_whose_condition_is_false_is_no_reason(suite: Run, outcomes: Outcomes) -> None:
    suite("@pytest.mark.xfail(False, reason='elsewhere')\nasync def test_it(): pass").assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] == "exhaustive"


@pytest.mark.parametrize("pattern", ["test_it.py", "test_it.py::test_s*", "test_it.py::test_shop[1-a b]", "*shop*"])
def test_tests_can_be_excluded_in_the_ini_file(
    suite: Run, pytester: pytest.Pytester, pattern: str, outcomes: Outcomes, shop: str
) -> None:
    """A line is a file, a test id (with parameters), or a pattern of ids."""
    source = shop.replace(
        "    async def test_shop()",
        """
    @pytest.mark.parametrize("left, name", [(1, "a b")])
    async def test_shop(left, name)""",
    )
    pytester.makeini(f"[pytest]\nexplore_exclude =\n    {pattern}\n    other.py")
    suite(source).assert_outcomes(passed=1)
    assert [each["reason"] for each in outcomes().values()] == ["excluded"]


def test_a_suite_with_its_own_loop_runs_as_usual_unless_asked(suite: Run, outcomes: Outcomes, shop: str) -> None:
    source = "\n    import uvloop\n" + (
        """
    @pytest.fixture(scope="session")
    def event_loop_policy():
        return uvloop.EventLoopPolicy()
"""
        + shop
    )
    quiet = ("-W", "ignore::DeprecationWarning")
    result = suite(source, *quiet)
    result.assert_outcomes(passed=1)
    assert outcomes()["test_shop"]["reason"] == "loop"
    result.stdout.fnmatch_lines(["*test_it.py:*: the fixture event_loop_policy (test_it.py:*), *"])
    suite(source, *quiet, "--explore-loop=asyncio").assert_outcomes(failed=1)


def test_a_loop_that_an_option_of_the_backend_chooses_is_a_reason(suite: Run, outcomes: Outcomes) -> None:
    source = """
        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"use_uvloop": True}

        async def test_it(): ...
    """
    suite(source, plugins=("anyio.pytest_plugin",)).assert_outcomes(passed=1)
    assert (outcomes()["test_it"]["reason"], outcomes()["test_it"]["detail"]) == (
        "loop",
        "anyio_backend with use_uvloop=True",
    )
    suite(source, "--explore-loop=asyncio", plugins=("anyio.pytest_plugin",)).assert_outcomes(passed=1)
    assert outcomes()["test_it"]["verdict"] == "exhaustive"


def test_a_test_on_another_backend_than_asyncio_runs_as_usual(suite: Run, outcomes: Outcomes) -> None:
    """Here it is asyncio's by another name, since not every machine has trio."""
    result = suite(
        """
        import sys
        from anyio._backends import _asyncio

        sys.modules["anyio._backends._other"] = _asyncio

        @pytest.mark.anyio
        async def test_it(): ...

        @pytest.fixture
        def anyio_backend():
            return "other"
        """,
        plugins=("anyio.pytest_plugin",),
    )
    result.assert_outcomes(passed=1)
    assert (outcomes()["test_it"]["reason"], outcomes()["test_it"]["detail"]) == ("backend", "other")


def test_without_a_runner_nothing_is_explored(suite: Run, outcomes: Outcomes) -> None:
    result = suite("async def test_it(): pass", plugins=())
    result.assert_outcomes(failed=1)
    assert outcomes()["test_it"]["reason"] == "not-passed"


ORDERS = """
async def note(order, name):
    await asyncio.sleep(0.01)
    order.append(name)

async def is_late():
    order = []
    await asyncio.gather(note(order, "a"), note(order, "b"))
    return order == ["b", "a"]

async def fail():
    raise OSError

"""
FAILING = {
    "assertion": "async def test_it():\n    assert not await is_late()",
    "blocked": "async def test_it():\n    if await is_late():\n        await asyncio.Event().wait()",
    "endless": "async def test_it():\n    late = await is_late()\n    while late:\n        await asyncio.sleep(0)",
    "leaking": "async def test_it():\n    if await is_late():\n        task = asyncio.create_task(asyncio.sleep(1))",
    "lost exception": """
async def test_it():
    if await is_late():
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
""",
    "cancelled": """
async def test_it():
    order = []
    await asyncio.gather(asyncio.create_task(note(order, "a")), return_exceptions=True)
    assert order
""",
    "slow result": """
async def test_it():
    async def ask(late):
        try:
            await asyncio.wait_for(asyncio.to_thread(int), 1)
        except TimeoutError:
            late.append(1)

    late = []
    await asyncio.create_task(ask(late))
    assert not late
""",
}
REFUSED = {
    **REASONS,
    "dynamic virtual_time": """
runs = []

async def test_it(request):
    if runs:
        request.getfixturevalue("virtual_time")
    runs.append(1)
""",
    "dynamic subtests": "async def test_it(request):\n    request.getfixturevalue('subtests')",
    "waiting thread": """
async def test_it():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result())
""",
}
OPTIONS = {
    "leaking": "--explore-fail-on-leaks=true",
    "cancelled": "--explore-faults=cancel",
    "slow result": "--explore-faults=slow",
}


@pytest.mark.parametrize("name", [*FAILING, *REFUSED])
def test_no_text_names_a_decorator_that_the_test_does_not_have(suite: Run, name: str) -> None:
    """Neither in a failure's report, nor in the summary with all advices, nor in the JSON file."""
    result = suite(ORDERS + {**FAILING, **REFUSED}[name], "-v", OPTIONS.get(name, "--explore-faults="))
    text = result.stdout.str() + result.stderr.str() + Path("out.json").read_text()
    assert "1 test failed under a deviation" in text if name in FAILING else "1 test run as usual only" in text
    assert "@explore" not in text


def test_a_replay_without_a_test_does_not_ask_for_the_option_that_is_there(suite: Run) -> None:
    result = suite("def test_it(): ...", "--explore-replay=work@1+1")
    result.stderr.fnmatch_lines(["ERROR: --explore-replay needs exactly one explored test, but none are selected"])
    assert "@explore" not in result.stderr.str()
