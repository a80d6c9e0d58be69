"""The capture and the monitor agree on the creator of each task, and on which of them reports it."""

import re
import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import pytest_background_tasks
from pytest_background_tasks import BackgroundTaskWarning

from .conftest import MONITORED, NOT_MONITORED, Session

WAYS = Path(__file__).parents[1] / "capture" / "creation_apis" / "ways.py"
PLUGIN = Path(pytest_background_tasks.__file__).parent
MORE_WAYS = """
import asyncio
from ways import greet

def spawn(coroutine):
    return asyncio.create_task(coroutine)  # spawn

def helper():
    spawn(greet("Ada"))  # helper

def helper_of_helper():
    helper()

def comprehension():
    [asyncio.create_task(greet(name)) for name in ["Ada"]]  # comprehension

def in_a_lambda():
    (lambda: asyncio.get_running_loop().create_task(greet("Ada")))()  # lambda

MORE = {way.__name__: way for way in (helper, helper_of_helper, comprehension, in_a_lambda)}
"""
COMPREHENSION = "comprehension" if sys.version_info >= (3, 12) else "comprehension.<locals>.<listcomp>"
LINES_OF_MORE = {  # the mark of the line, and its function
    "helper": ("spawn", "spawn"),
    "helper_of_helper": ("spawn", "spawn"),
    "comprehension": ("comprehension", COMPREHENSION),
    "in_a_lambda": ("lambda", "in_a_lambda.<locals>.<lambda>"),
}
PROJECT = """
    import asyncio, sys
    import pytest
    from more import MORE
    from ways import WAYS

    def has_task(way):
        if way.title.endswith("eager_task_factory`") and {no_eager_tasks}:
            return False
        return way.since <= sys.version_info and not (way.is_response or way.needs_endpoint)

    @pytest.fixture(params=[*(name for name, way in WAYS.items() if has_task(way)), *MORE])
    def name(request):
        return request.param

    async def start(name, captured_tasks=lambda: ()):
        asyncio.get_running_loop().set_debug(True)
        before = asyncio.all_tasks()
        (MORE[name] if name in MORE else WAYS[name].start)()
        await asyncio.sleep(0)
        tasks = (asyncio.all_tasks() - before) | {each.task for each in captured_tasks()}
        lines[name, "Python"] = [
            (frame.filename, frame.lineno) for task in tasks for frame in getattr(task, "_source_traceback", None) or ()
        ]
        for _ in range(20):
            await asyncio.sleep(0)
"""
ALONE = """
    def test_line(name):
        asyncio.run(start(name))
"""
CAPTURING = """
    def test_line(name, background_tasks):
        background_tasks.start_capturing({0})
        asyncio.run(start(name, lambda: background_tasks.captured_tasks))
        for task in background_tasks.captured_tasks:
            lines[name, "capture"] = str(task.created_at)
"""
INSTRUMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "none": (ALONE, NOT_MONITORED),
    "the monitor": (ALONE, MONITORED),
    "the capture": (CAPTURING.format(""), NOT_MONITORED),
    "both, and the task is held": (CAPTURING.format(""), MONITORED),
    "both, and the task is not held": (CAPTURING.format("ignore='*'"), MONITORED),
}


class LinesPlugin:
    """A plugin for a session: the line that each instrument gives for each way, from the tests and from reports."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Any] = {}
        self.called: dict[str, str] = {}
        self.reports: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            item.module.lines = self.lines  # type: ignore[attr-defined]

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        if issubclass(warning_message.category, BackgroundTaskWarning):
            text = str(warning_message.message)
            self.reports.append(text.partition("\n")[0])
            way = nodeid.partition("[")[2].rstrip("]")
            assert (way, "the monitor") not in self.lines, "a task is reported once"
            [self.lines[way, "the monitor"]] = re.findall(r"created at (.*)", text)
            for line in re.findall(r"called at (more.*)", text):
                self.called[way] = line

    def of(self, instrument: str) -> dict[str, Any]:
        return {way: line for (way, by), line in self.lines.items() if by == instrument}


@pytest.fixture
def lines_of(session: Session, loop: str) -> Callable[[str], LinesPlugin]:
    """Run every way in a session with some instruments. The jobs fail, so the monitor reports each of them."""

    def lines_of(instruments: str) -> LinesPlugin:
        test, options = INSTRUMENTS[instruments]
        steps = "[await asyncio.sleep(0) for _ in range(9)]"  # otherwise an eager task has ended before it is recorded
        ways = WAYS.read_text().replace("await asyncio.sleep(0)", steps, 1)
        ways = ways.replace('return f"hello {name}"', "raise OSError(name)")
        lines = LinesPlugin()
        # The eager factory of CPython 3.13.0 does not know what uvloop passes to it.
        no_eager_tasks = loop == "uvloop" and sys.version_info[:2] == (3, 13)
        project = dedent(PROJECT).replace("{no_eager_tasks}", str(no_eager_tasks))
        result = session(project + dedent(test), *options, plugins=(lines,), ways=ways, more=MORE_WAYS)
        result.assert_outcomes(passed=len(lines.of("Python")), warnings=len(lines.reports))
        return lines

    return lines_of


@pytest.fixture(scope="module")
def created_at() -> dict[str, str]:
    """The line of each way: the line with its mark, or else the definition of its job."""
    ways = runpy.run_path(str(WAYS))["WAYS"]
    marked = {line.partition("  # ")[2]: number for number, line in enumerate(MORE_WAYS.strip().splitlines(), 1)}
    return {
        **{name: "ways.py:{1} in {2}".format(*way.created_at) for name, way in ways.items()},
        **{name: f"more.py:{marked[mark]} in {function}" for name, (mark, function) in LINES_OF_MORE.items()},
    }


@pytest.mark.parametrize("instruments", [name for name in INSTRUMENTS if name != "none"])
def test_instruments_agree_on_the_line_that_creates_a_task(
    lines_of: Callable[[str], LinesPlugin], created_at: dict[str, str], instruments: str
) -> None:
    """Capture and monitor give the same line for each way, on both loops, alone and together."""
    lines = lines_of(instruments)
    ways = lines.of("Python")
    wanted = {way: created_at[way] for way in ways}
    if "not held" not in instruments and instruments != "the monitor":
        assert lines.of("capture") == wanted
    if instruments != "the capture":
        # The future of another thread retrieves the error of its task.
        unseen = (
            {} if "is held" in instruments else {"run_coroutine_threadsafe": created_at["run_coroutine_threadsafe"]}
        )
        assert lines.of("the monitor") | unseen == wanted
        assert lines.called == dict.fromkeys(["helper", "helper_of_helper"], "more.py:8 in helper")


@pytest.mark.parametrize("instruments", INSTRUMENTS)
@pytest.mark.parametrize("loop", ["asyncio"], indirect=True)
def test_traceback_of_a_creation_has_no_frame_of_the_plugin(
    lines_of: Callable[[str], LinesPlugin], created_at: dict[str, str], instruments: str
) -> None:
    """In debug mode a task has the traceback of its creation, and its repr names the last frame."""
    lines = lines_of(instruments)
    frames = lines.of("Python")
    last = {way: frames[way][-1:] for way in frames}
    assert not {way: frame for way, frame in last.items() if any(PLUGIN in Path(file).parents for file, _ in frame)}
    innermost = {
        way: [f"{Path(file).name}:{line}" for file, line in frames[way] if Path(file).name in {"ways.py", "more.py"}]
        for way in frames
    }
    by_loop = {way for way, line in created_at.items() if line.endswith(" in greet")}
    for way in frames.keys() - by_loop - {"own_task_factory"}:
        assert innermost[way][-1] == created_at[way].partition(" ")[0]


HELD = """
    import asyncio, gc
    import pytest

    kept = set()

    async def job():
        await asyncio.sleep(0)
        raise OSError("no server")

    async def endless():
        await asyncio.Event().wait()

    def start(coroutine):
        kept.add(asyncio.create_task(coroutine))

    async def turns():
        for _ in range(5):
            await asyncio.sleep(0)

"""
PYTEST_ASYNCIO = (
    "-p",
    "pytest_asyncio.plugin",
    "--asyncio-mode=auto",
    "-o",
    "asyncio_default_fixture_loop_scope=function",
)
REPORTS = (*MONITORED, "--background-tasks-destroyed=gc", *PYTEST_ASYNCIO)


@pytest.mark.parametrize(
    "end",
    [
        "background_tasks.reset()",
        "[task] = kept; task.cancel(); await turns()",
        "background_tasks.held_tasks[0].task.cancel(); await background_tasks.run_all_async(return_exceptions=True)",
        "results = await background_tasks.run_all_async(return_exceptions=True); assert type(results[0]) is OSError",
        "with pytest.raises(OSError): await background_tasks.run_all_async()",
        "with pytest.raises(OSError): await background_tasks.held_tasks[0].task",
    ],
    ids=["reset", "cancelled", "cancelled and run", "run, with its error", "run", "awaited"],
)
def test_monitor_has_no_finding_about_a_held_task(session: Session, loop: str, end: str) -> None:
    """A held task may be pending for as long as the test likes, even while garbage is collected."""
    result = session(
        dedent(HELD)
        + dedent(f"""
    async def test_it(background_tasks):
        background_tasks.start_capturing()
        start(job())
        await turns()
        gc.collect()
        assert [task.state for task in background_tasks.captured_tasks] == ["held"]
        {end}
    """),
        *REPORTS,
    )
    result.assert_outcomes(passed=1, warnings=0)


def test_held_task_is_neither_cancelled_nor_reported_when_its_runner_ends(session: Session, loop: str) -> None:
    """The runner cancels, and the monitor reports, only tasks that are not held."""
    result = session(
        dedent(HELD)
        + dedent("""
    @pytest.mark.parametrize("ignore", [(), "endless"])
    def test_it(background_tasks, ignore):
        async def main():
            start(endless())
            await turns()

        background_tasks.start_capturing(ignore=ignore)
        asyncio.run(main())
        assert [task.state for task in background_tasks.captured_tasks] == ([] if ignore else ["held"])
        background_tasks.reset()
    """),
        *MONITORED,
    )
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        ["*::test_it?endless?", "*LeakedTaskWarning: *(endless) was still pending when its event loop shut down*"]
    )


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("pass", "was held and never run"),
        ("background_tasks.held_tasks[0].task.add_done_callback(print)", "was held and never run"),
        ("await background_tasks.run_until_idle_async()", "was still pending when its event loop shut down*"),
        ("background_tasks.reset(); background_tasks.stop_capturing(); start(endless())", "was still pending when*"),
    ],
    ids=["held", "held, with a callback", "started", "not held"],
)
def test_captured_task_that_its_test_leaves_is_reported_once(session: Session, loop: str, end: str, told: str) -> None:
    """The fixture or the end of the loop leads to the finding, but not both."""
    result = session(
        dedent(HELD)
        + dedent(f"""
    async def test_it(background_tasks):
        background_tasks.start_capturing()
        start(endless())
        {end}
    """),
        *REPORTS,
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines([f"*LeakedTaskWarning: background task *(endless) {told}*"])


def test_started_task_that_a_def_test_leaves_is_reported_once(session: Session) -> None:
    """As in an async test."""
    result = session(
        dedent(HELD)
        + dedent("""
    def test_it(background_tasks):
        background_tasks.start_capturing()
        start(endless())
        background_tasks.run_until_idle_sync()
    """),
        *MONITORED,
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*LeakedTaskWarning: background task *(endless) was started and has not ended*"])


def test_failed_task_that_is_not_held_is_reported_once(session: Session, loop: str) -> None:
    """The monitor reports it as in a test that captures nothing, whatever the reason is that it is not held."""
    result = session(
        dedent(HELD)
        + dedent("""
    @pytest.mark.parametrize("moment", ["before", "ignored", "not named", "after"])
    async def test_it(background_tasks, moment):
        if moment != "before":
            only, ignore = {"ignored": ((), job), "not named": ((endless,), ()), "after": ((), ())}[moment]
            background_tasks.start_capturing(*only, ignore=ignore)
        if moment == "after":
            background_tasks.stop_capturing()
        start(job())
        if moment == "before":
            background_tasks.start_capturing()
        await turns()
        assert background_tasks.task_count == 0
    """),
        *REPORTS,
    )
    result.assert_outcomes(passed=4, warnings=4)
    lines = re.findall(r"created at (test_it.py:\d+ in start)$", result.stdout.str(), re.MULTILINE)
    assert len(lines) == 4
    assert len(set(lines)) == 1


WAITED_FOR = """
    async def group():
        async with asyncio.TaskGroup() as group:
            group.create_task(quick())

    async def gather():
        await asyncio.gather(quick())

    async def wait_for():
        await asyncio.wait_for(asyncio.shield(quick()), 60)

    async def quick():
        await asyncio.sleep(0)

    @pytest.fixture(params=[group, gather, wait_for], ids=lambda way: way.__name__)
    def way(request):
        return request.param
"""


def test_task_that_asyncio_waits_for_has_one_creator_for_both_instruments(session: Session, loop: str) -> None:
    """Neither takes it for a background task; a capture with `only` gives the same line in each session."""
    source = (
        dedent(HELD)
        + dedent(WAITED_FOR)
        + dedent("""
    created = []

    @pytest.mark.parametrize("named", [(), (quick,)])
    async def test_it(way, named, background_tasks, request):
        background_tasks.start_capturing(*named)
        await way()
        functions = [task.created_at.function for task in background_tasks.captured_tasks]
        created.append((way.__name__, functions))

    def test_created():
        print("created:", created)
    """)
    )
    printed = []
    for options in (MONITORED, NOT_MONITORED):
        result = session(source, "-s", *options, *PYTEST_ASYNCIO)
        result.assert_outcomes(passed=7, warnings=0)
        [line] = [line for line in result.outlines if "created:" in line]
        printed.append(line)
    assert printed[0] == printed[1]
    assert "('group', ['TaskGroup.create_task'])" in printed[0]
    assert "('gather', ['gather'])" in printed[0]
    assert "('group', [])" in printed[0]
