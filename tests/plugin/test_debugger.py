"""``--pdb`` and breakpoints in explored tests, typed into the real debugger."""

from textwrap import dedent
from typing import Any

import pytest

pytest.importorskip("pexpect")

# A worker of pytest-xdist has another thread, and Python warns about that when pexpect forks.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
    import asyncio, pytest
    from pytest_background_tasks import explore

"""
OVERTAKEN = """
    @pytest.fixture
    def done():
        return []

    async def client(name, done):
        await asyncio.sleep(0)
        await book(name, done)

    async def book(name, done):
        BREAKPOINT
        if name == "second":
            assert done, "overtaken"
        done.append(name)

    @explore
    async def test_it(done, caplog):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1))
            group.create_task(client("first", done))
            group.create_task(client("second", done))
        assert not caplog.records

    def test_afterwards(): ...
"""


@pytest.fixture
def spawn(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Start pytest on a generated project, to type into."""

    def spawn(source: str, *args: str) -> Any:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.setenv("PYTHON_COLORS", "0")
        pytester.makepyfile(test_it=dedent(HEAD) + dedent(source))
        return pytester.spawn_pytest(" ".join(["-p", "pytest_background_tasks.plugin", *args]), expect_timeout=60)

    return spawn


def ask(child: Any, question: str, answer: str) -> None:
    child.sendline(question)
    child.expect_exact(answer)
    child.expect_exact("(Pdb) ")


def test_pdb_enters_at_the_failure_in_the_running_loop(spawn) -> None:
    """The frames lead from the task's first line to the line that raises; after that the session continues."""
    child = spawn(OVERTAKEN.replace("BREAKPOINT", "pass"), "--pdb")
    child.expect_exact("replay:")
    child.expect_exact('-> assert done, "overtaken"')
    child.expect_exact("(Pdb) ")
    ask(child, "p name, done", "('second', [])")
    ask(child, "p len(asyncio.all_tasks())", "4")
    ask(child, "up", "await book(name, done)")
    child.sendline("c")
    child.expect_exact("1 failed, 1 passed")
    child.wait()


def test_pdb_enters_at_the_failure_of_a_test_with_async_fixtures(spawn) -> None:
    """Its fixtures are set up at that moment, and torn down when the session continues."""
    child = spawn(
        """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def done():
            await asyncio.sleep(1)
            yield []
            print("torn down")

        async def client(name, done):
            await asyncio.sleep(0)
            assert name == "first" or done, "overtaken"
            done.append(name)

        @explore
        @pytest.mark.asyncio
        async def test_it(done):
            await asyncio.gather(client("first", done), client("second", done))

        def test_afterwards(): ...
        """,
        "--pdb",
        "-p pytest_asyncio.plugin",
        "-o asyncio_default_fixture_loop_scope=function",
    )
    child.expect_exact("replay:")
    child.expect_exact('"overtaken"')
    child.expect_exact("(Pdb) ")
    ask(child, "p name, done, len(asyncio.all_tasks())", "('second', [], 3)")
    child.sendline("c")
    child.expect_exact("1 failed, 1 passed")
    child.wait()


def test_pdb_at_a_deadlock_shows_where_the_test_waits(spawn) -> None:
    child = spawn(
        """
        @explore
        async def test_it():
            event = asyncio.Event()
            await event.wait()
        """,
        "--pdb",
    )
    child.expect_exact("-> await event.wait()")
    child.expect_exact("(Pdb) ")
    ask(child, "p event.is_set()", "False")
    child.sendline("q")
    child.expect_exact("Quitting debugger")
    child.wait()


def test_pdb_is_unchanged_in_other_tests(spawn) -> None:
    child = spawn(
        """
        def test_it():
            number = 7
            assert not number
        """,
        "--pdb",
    )
    child.expect_exact("-> assert not number")
    child.expect_exact("(Pdb) ")
    ask(child, "p number", "7")
    child.sendline("c")
    child.expect_exact("1 failed")
    child.wait()


@pytest.mark.parametrize("stop", ["breakpoint()", "pytest.set_trace()"])
def test_breakpoint_stops_only_in_the_replayed_order(spawn, stop: str) -> None:
    child = spawn(
        OVERTAKEN.replace("BREAKPOINT", f"if name == 'second': {stop}"),
        "--explore-replay=client@1+1",
        "test_it.py::test_it",
    )
    child.expect_exact("(Pdb) ")
    ask(child, "p name", "'second'")
    ask(child, "p len(asyncio.all_tasks())", "4")
    child.sendline("c")
    child.expect_exact("This was a replay of one schedule")
    child.expect_exact("1 failed")
    child.wait()


@pytest.mark.parametrize(("option", "before"), [("", 0), ("--explore-replay=client#2@1+1", 1)])
def test_trace_enters_once_where_the_test_begins(spawn, option: str, before: int) -> None:
    """In the first run; for a replay, in the run of the requested schedule, which follows the default order."""
    child = spawn(
        """
        runs = []

        class TestIt:
            @explore
            async def test_it(self, request):
                runs.append("a run")
                await asyncio.gather(self.client(), self.client())

            async def client(self):
                await asyncio.sleep(0)
        """,
        "--trace",
        option,
    )
    child.expect_exact('-> runs.append("a run")')
    child.expect_exact("(Pdb) ")
    ask(child, "p len(runs), len(asyncio.all_tasks())", f"({before}, 1)")
    ask(child, "n", "-> await asyncio.gather(")
    child.sendline("c")
    assert child.expect_exact(["(Pdb) ", "1 passed"]) == 1
    child.wait()


def test_quitting_at_a_breakpoint_ends_the_session(spawn) -> None:
    """Not in any of the following runs: a task group hides that the user has quit, but the plugin notices."""
    child = spawn(OVERTAKEN.replace("BREAKPOINT", "if name == 'second': breakpoint()"))
    child.expect_exact("(Pdb) ")
    child.sendline("q")
    child.expect_exact("Quitting debugger")
    child.expect_exact("no tests ran")
    child.wait()


def test_pdb_shows_an_unreproducible_failure_like_pytest(spawn, pytester: pytest.Pytester) -> None:
    """The debugger is entered where pytest itself would have entered it, with the original error.

    The test runs once more to find that out, and is not explored again.
    """
    pytester.makeconftest(
        """
        import pytest

        mended, runs = [], []

        @pytest.fixture
        def is_mended():
            runs.extend(mended)
            return mended

        def pytest_unconfigure():
            print(f"{len(runs)} runs since then")

        @pytest.hookimpl(tryfirst=True)
        def pytest_exception_interact():
            mended.append(True)
        """
    )
    child = spawn(
        """
        @explore
        async def test_it(is_mended):
            number = 7
            assert is_mended
        """,
        "--pdb",
    )
    child.expect_exact("-> assert is_mended")
    child.expect_exact("(Pdb) ")
    ask(child, "p number", "7")
    child.sendline("c")
    child.expect_exact("1 failed")
    child.expect_exact("1 runs since then")
    child.wait()
