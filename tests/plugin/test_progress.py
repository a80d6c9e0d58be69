"""A long exploration shows its progress on a terminal, and Ctrl-C says how far it had got."""

import sys
from textwrap import dedent
from typing import Any

import pytest

# A worker of pytest-xdist has another thread, and Python warns about that when pexpect forks.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.usefixtures("interruptible"),
]

LONG = """
    import asyncio, time
    from pytest_background_tasks import explore

    async def work():
        for _ in range(4):
            await asyncio.sleep(0.01)
        time.sleep(0.002)

    @explore(max_schedules=3000)
    async def test_long():
        await asyncio.gather(*[work() for _ in range(4)])
"""
INTERRUPTED = """
    import asyncio
    from pytest_background_tasks import explore

    runs = []

    async def work(done, name):
        await asyncio.sleep(0.01)
        done.append(name)

    @explore
    async def test_it():
        runs.append(1)
        done = []
        await asyncio.gather(work(done, "a"), work(done, "b"))
        if {when}:
            raise KeyboardInterrupt
        assert {passes} or done == ["a", "b"]
"""


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_progress_is_shown_on_a_terminal_and_removed_at_the_end(pytester: pytest.Pytester, plain: None) -> None:
    pexpect: Any = pytest.importorskip("pexpect")
    pytester.makepyfile(test_it=dedent(LONG))
    words = ["-m", "pytest", "-q", "-p", "pytest_background_tasks.plugin", "test_it.py"]
    with pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=60, dimensions=(30, 80)) as child:
        child.expect(r"exploring: (\d+) of 3000")
        first = int(child.match[1])
        child.expect(r"exploring: (\d+) of 3000")
        assert first < int(child.match[1])
        child.sendintr()
        child.expect(r"KeyboardInterrupt: test_it.py::test_long: \d+ schedules explored, none failed; running: work")
        child.expect(pexpect.EOF)
        assert "exploring:" not in child.before


def test_progress_is_not_written_to_a_log(
    pytester: pytest.Pytester, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest("from pytest_background_tasks.plugin.explore import progress\nprogress._FIRST = 0")
    pytester.makepyfile(test_it=dedent(LONG).replace("3000", "20").replace("time.sleep(0.002)", ""))
    result = pytester.runpytest_subprocess("-p", "pytest_background_tasks.plugin", "-s")
    result.assert_outcomes(passed=1)
    assert "exploring:" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("when", "passes", "message"),
    [
        ("len(runs) == 1", True, "0 schedules explored, none failed; running: asyncio's default order"),
        ("len(runs) == 6", True, r"\d schedules explored, none failed; running: .*@.*"),
        (
            "done[0] == 'b' and len(runs) > 4",
            False,
            r"\d schedules explored; work#1@1\+\d fails and is not minimized yet",
        ),
    ],
)
def test_ctrl_c_says_how_far_the_exploration_had_got(
    pytester: pytest.Pytester, plain: None, when: str, passes: bool, message: str
) -> None:
    """A schedule that fails is kept: the next session tries it first."""
    pytester.makepyfile(test_it=dedent(INTERRUPTED).format(when=when, passes=passes))
    options = ("-p", "pytest_background_tasks.plugin", "--explore-arrivals=sleep")
    result = pytester.runpytest_subprocess(*options)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.re_match_lines([f".*KeyboardInterrupt: test_it.py::test_it: {message}.*"])
    if not passes:
        pytester.makepyfile(test_it=dedent(INTERRUPTED).format(when=False, passes=passes))
        again = pytester.runpytest_subprocess(*options)
        again.stdout.fnmatch_lines(["This schedule failed last time and was tried first."])
