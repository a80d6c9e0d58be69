"""Several sessions in one process, some of which break off: each has its own instruments, and none is left."""

import asyncio
from textwrap import dedent

import pytest

from pytest_background_tasks import BackgroundTasks

from .conftest import Functions, Session


async def outer_job() -> None: ...


def test_session_inside_a_test_that_captures_is_separate(
    restoring_session: Session, background_tasks: BackgroundTasks, functions_of_asyncio: Functions
) -> None:
    """The outer test holds no inner task; the inner session neither reports nor captures an outer task."""
    background_tasks.start_capturing()
    asyncio.create_task(outer_job(), name="outer")
    inside = functions_of_asyncio()
    result = restoring_session(
        """
        def test_monitored():
            asyncio.run(main())
            assert tasks[0].done()

        def test_captured(background_tasks):
            assert background_tasks.captured_tasks == []
            background_tasks.start_capturing()
            asyncio.run(main())
            [task] = background_tasks.captured_tasks
            assert (task.state, task.function) == ("held", "job")
            with pytest.raises(OSError):
                background_tasks.run_all_sync()
        """
    )
    result.assert_outcomes(passed=2, warnings=1)
    assert functions_of_asyncio() == inside
    assert [task.name for task in background_tasks.captured_tasks] == ["outer"]
    asyncio.create_task(outer_job(), name="later")
    assert [task.name for task in background_tasks.held_tasks] == ["outer", "later"]
    assert background_tasks.run_all_sync() == [None, None]


NESTED = """
    def test_nested({fixture}):
        {capturing}
        plugin = ["-p", "no:cacheprovider", "-p", "pytest_background_tasks.plugin"]
        assert pytest.main([*plugin, "--rootdir", {inner!r}, {inner!r}]) == 0
        {captured}
"""
INNER = """
    import asyncio, warnings
    import pytest
    from unittest.mock import AsyncMock

    kept = []

    async def fail():
        raise OSError("no server")

    async def work():
        pass

    def test_inner():
        async def main():
            kept.append(asyncio.create_task({job}))
            for _ in range(4):
                await asyncio.sleep(0)
            assert kept[0].done()

        asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("place", "job"),
    [
        ("elsewhere", "fail()"),
        ("elsewhere", "AsyncMock(side_effect=OSError)()"),
        ("below", "work()"),
        ("below", "fail()"),
    ],
)
def test_failure_in_an_inner_session_is_not_reported_by_the_outer_session(
    restoring_session: Session,
    pytester: pytest.Pytester,
    tmp_path_factory: pytest.TempPathFactory,
    place: str,
    job: str,
) -> None:
    """The inner session ignores the failures of its tasks; the outer session reports none, wherever they are."""
    inner = tmp_path_factory.mktemp("elsewhere") if place == "elsewhere" else pytester.mkdir("inner")
    inner.joinpath("test_inner.py").write_text(dedent(INNER).format(job=job))
    inner.joinpath("pytest.ini").write_text("[pytest]\nbackground_tasks_unhandled = ignore\n")
    result = restoring_session(NESTED.format(fixture="", capturing="", captured="", inner=str(inner)))
    result.assert_outcomes(passed=1, warnings=0)


@pytest.mark.parametrize("place", ["elsewhere", "below"])
def test_outer_capture_holds_no_task_of_an_inner_session(
    restoring_session: Session, pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, place: str
) -> None:
    """The inner test captures nothing, so its tasks run."""
    inner = tmp_path_factory.mktemp("elsewhere") if place == "elsewhere" else pytester.mkdir("inner")
    inner.joinpath("test_inner.py").write_text(dedent(INNER).format(job="work()"))
    inner.joinpath("pytest.ini").write_text("[pytest]\n")
    capturing = "background_tasks.start_capturing()"
    captured = "assert background_tasks.captured_tasks == []"
    result = restoring_session(
        NESTED.format(fixture="background_tasks", capturing=capturing, captured=captured, inner=str(inner))
    )
    result.assert_outcomes(passed=1, warnings=0)


def test_sessions_in_succession_are_separate(restoring_session: Session) -> None:
    """A task that the first session leaves, done or pending, is not reported by the second session."""
    first = restoring_session(
        """
        def test_it(background_tasks, virtual_time):
            background_tasks.start_capturing()
            asyncio.run(main())

        def test_monitored():
            asyncio.run(main())
        """,
        name="test_first",
    )
    first.assert_outcomes(passed=2, warnings=2)
    second = restoring_session(
        """
        import gc

        def test_it(background_tasks):
            gc.collect()
            background_tasks.start_capturing()
            assert background_tasks.captured_tasks == []
            asyncio.run(asyncio.sleep(0))
        """,
        name="test_second",
    )
    second.assert_outcomes(passed=1, warnings=0)


BREAKS = {
    "interrupt in a test": ("", "raise KeyboardInterrupt", "", 2),
    "interrupt on the loop": ("", "asyncio.run(interrupted())", "", 2),
    "interrupt in a teardown": ("raise KeyboardInterrupt", "", "", 2),
    "exit": ("", "pytest.exit('enough')", "", 2),
    "internal error": ("", "", "def pytest_runtest_logreport(): raise RuntimeError('internal')", 3),
    "internal error in a test": ("", "", "def pytest_pyfunc_call(): raise SystemError('internal')", 1),
    "usage error": ("", "raise pytest.UsageError('wrong')", "", 1),
}


@pytest.mark.parametrize("how", BREAKS)
def test_session_that_breaks_off_leaves_nothing(restoring_session: Session, how: str) -> None:
    """When it ends, the test captures, its time is virtual, and the session is monitored."""
    teardown, body, hook, status = BREAKS[how]
    result = restoring_session(
        f"""
        async def interrupted():
            asyncio.create_task(job())
            raise KeyboardInterrupt

        @pytest.fixture
        def after():
            yield
            {teardown or "pass"}

        def test_it(background_tasks, virtual_time, after, functions):
            background_tasks.start_capturing()
            asyncio.run(main())
            {body or "pass"}

        def test_next(after):
            asyncio.run(main())
        """,
        conftest=hook,
    )
    assert result.ret == status
