"""The removal of instruments and fixtures: in whatever order they end, nothing of the plugin is left in asyncio."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_background_tasks import BackgroundTasks
from pytest_background_tasks._control.test_context import TestContext
from pytest_background_tasks._introspect.project_code import ProjectCode
from pytest_background_tasks._monitor.task_monitor import TaskMonitor
from pytest_background_tasks.virtual_time import driving

from .conftest import Functions, Session


async def outer_job() -> None: ...


@pytest.mark.parametrize("fixtures", ["background_tasks, virtual_time", "virtual_time, background_tasks"])
@pytest.mark.parametrize("last", ["pass", "background_tasks.stop_capturing()", "assert 0", "asyncio.run(main())"])
def test_both_fixtures_end_in_each_order(restoring_session: Session, fixtures: str, last: str) -> None:
    """The test stops capturing or does not, passes or fails; the next test finds asyncio as the first test did."""
    result = restoring_session(
        f"""
        before = []

        def test_before(functions):
            before.append(functions())

        def test_it({fixtures}, functions):
            background_tasks.start_capturing()
            asyncio.run(asyncio.sleep(3600))
            assert virtual_time.now == 3600
            assert functions() != before[0]
            {last}

        def test_after(functions):
            assert functions() == before[0]
            asyncio.run(asyncio.sleep(0))
        """,
        "--background-tasks-leaked=ignore",
    )
    result.assert_outcomes(passed=2 if "0" in last else 3, failed=1 if "0" in last else 0)


RUNNING = """
    import asyncio
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session):
        async def main():
            for number, item in enumerate(session.items):
                following = session.items[number + 1] if number + 1 < len(session.items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                await asyncio.sleep(0)

        loop = asyncio.{factory}()
        loop.run_until_complete(main())
        loop.close()
        return True
"""


@pytest.mark.parametrize("fixtures", ["background_tasks", "background_tasks, virtual_time"])
def test_fixture_may_end_while_its_loop_runs(restoring_session: Session, fixtures: str) -> None:
    """A whole test, with its setup and teardown, is one step of a loop that continues."""
    result = restoring_session(
        f"""
        before = []

        def test_before(functions):
            before.append(functions(asyncio.get_running_loop()))

        def test_it({fixtures}, functions):
            background_tasks.start_capturing()
            task = asyncio.create_task(job())
            assert background_tasks.held_tasks[0].task is task
            assert functions(asyncio.get_running_loop()) != before[0]

        def test_after(functions):
            assert functions(asyncio.get_running_loop()) == before[0]
        """,
        "--background-tasks-leaked=ignore",
        conftest=RUNNING.format(factory="new_event_loop"),
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("factory", ["asyncio", "uvloop"])
@pytest.mark.parametrize("is_closed", [True, False])
def test_fixture_may_end_before_its_loop_is_closed_or_afterwards(
    restoring_session: Session, factory: str, is_closed: bool
) -> None:
    """A loop that is closed, or no longer runs, has no function of the plugin left."""
    fixtures = "background_tasks" if factory == "uvloop" else "background_tasks, virtual_time"
    result = restoring_session(
        f"""
        import {factory}

        @pytest.fixture
        def loop(functions):
            loop = {factory}.new_event_loop()
            before = functions(*[loop] * {not is_closed})
            yield loop
            assert functions(*[loop] * {not is_closed}) == before
            loop.close()
            assert not {{"call_soon", "call_at", "time", "create_task"}} & vars(loop).keys()

        def test_it(loop, {fixtures}):
            background_tasks.start_capturing()
            loop.run_until_complete(main())
            with pytest.raises(OSError):
                loop.run_until_complete(background_tasks.run_until_idle_async())
            if {is_closed}:
                loop.close()
        """,
        "--background-tasks-unhandled=ignore",
    )
    result.assert_outcomes(passed=1)


class Instruments:
    """A capture, a virtual time and a monitor, as the fixtures and the session create them."""

    def __init__(self) -> None:
        is_project = ProjectCode(Path(__file__).parent)
        self.context = TestContext(is_project, "a property", None, 10, 0.02)
        self.tasks = BackgroundTasks(self.context)
        self.is_project = is_project
        self.open: dict[str, ExitStack] = {}

    def toggle(self, name: str) -> None:
        if name in self.open:
            self.open.pop(name).close()
        else:
            self.open[name] = stack = ExitStack()
            stack.enter_context(getattr(self, name)())

    def close(self) -> None:
        for name in [*self.open][::-1]:
            self.toggle(name)
        self.context.close()

    @contextmanager
    def capture(self) -> Iterator[None]:
        self.tasks.start_capturing()
        yield
        self.tasks.stop_capturing()

    @contextmanager
    def time(self) -> Iterator[None]:
        with driving(self.context):
            yield

    @contextmanager
    def monitor(self) -> Iterator[None]:
        monitor = TaskMonitor(self.is_project)
        monitor.open()
        yield
        monitor.close()


async def some_jobs() -> None:
    task = asyncio.create_task(outer_job())
    asyncio.ensure_future(outer_job())
    await asyncio.sleep(0)
    await task


def use_instruments(functions: Functions, names: list[str]) -> None:
    """Open or close each instrument in `names`, in this order, and run a loop in between; then close the rest."""
    with closing(asyncio.new_event_loop()) as loop, closing(uvloop.new_event_loop()) as other:
        before = functions(loop, other)
        instruments = Instruments()
        try:
            for name in names:
                instruments.toggle(name)
                loop.run_until_complete(some_jobs())
        finally:
            instruments.close()
        assert functions(loop, other) == before
        loop.run_until_complete(some_jobs())


NAMES = ("capture", "time", "monitor")
unhurried = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@unhurried
@given(names=st.lists(st.sampled_from(NAMES), max_size=8))
@example(names=["monitor", "capture", "time", "capture", "monitor", "time"])
@example(names=["monitor", "capture", "monitor", "capture"])
@example(names=["capture", "monitor", "capture", "monitor"])
def test_instruments_leave_nothing_in_any_order(functions_of_asyncio: Functions, names: list[str]) -> None:
    """They are removed in reverse order, or the one that was added first is removed first."""
    use_instruments(functions_of_asyncio, names)


def test_capture_finds_the_creator_with_the_monitor_of_an_inner_session(without_instruments: None) -> None:
    """The monitor is added after the capture."""
    instruments = Instruments()
    instruments.toggle("capture")
    instruments.toggle("monitor")

    async def create() -> None:
        asyncio.create_task(outer_job())

    try:
        asyncio.run(create())
        [task] = instruments.tasks.captured_tasks
        assert (task.created_at.function, task.state) == (create.__qualname__, "held")
    finally:
        instruments.close()
