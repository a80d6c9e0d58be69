"""Patched libraries are found if they are installed, and are never required."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.background import BackgroundTask

from pytest_background_tasks import BackgroundTasks
from pytest_background_tasks._capture.patches import installed
from pytest_background_tasks._introspect import unsupported_version
from pytest_background_tasks.errors import BackgroundTasksError


def test_missing_library_is_not_found() -> None:
    assert installed("no_such_library_anywhere") is None


@pytest.mark.parametrize("source", ["raise RuntimeError('broken')", "import no_such_library_anywhere"])
def test_broken_library_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A broken library that the project may not even use must not break the tests."""
    (tmp_path / "broken_library.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("broken_library") is None


def test_warnings_of_an_imported_library_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning does not concern the test, even if warnings are errors."""
    (tmp_path / "warning_library.py").write_text("import warnings; warnings.warn('old', DeprecationWarning)")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("warning_library") is sys.modules.pop("warning_library")


async def test_task_created_with_its_class_is_not_captured(background_tasks: BackgroundTasks) -> None:
    """A task that is not created through asyncio's functions runs as usual."""

    async def job() -> int:
        return 42

    background_tasks.start_capturing()
    task = asyncio.Task(job())
    background_tasks.assert_nothing_captured()
    await asyncio.sleep(0)
    assert task.result() == 42


@pytest.mark.parametrize("absent", ["uvloop", "starlette"])
def test_plugin_works_without_an_optional_library(pytester: pytest.Pytester, absent: str) -> None:
    """This runs in a separate process, where the library cannot be found."""
    pytester.makepyfile(
        f"""
        import asyncio, importlib.util, sys

        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else find_spec(name, *rest)

        async def job():
            return 42

        def test_it(background_tasks):
            assert {absent!r} not in sys.modules
            background_tasks.start_capturing()
            asyncio.create_task(job())
            assert background_tasks.run_all_sync() == [42]
            assert {absent!r} not in sys.modules
        """
    )
    pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:aiohttp", "-p", "no:anyio").assert_outcomes(passed=1)


class OtherBackgroundTask:
    def __init__(self, call: object) -> None: ...

    async def __call__(self) -> None: ...


@pytest.mark.parametrize("found", [OtherBackgroundTask, None])
async def test_unsupported_starlette_is_named_when_its_task_is_missing(
    background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch, found: object
) -> None:
    """All other tasks are captured, and no error is reported about them."""

    async def job() -> int:
        return 42

    monkeypatch.setattr(unsupported_version, "_met", {})
    monkeypatch.setattr("starlette.background.BackgroundTask", found)
    background_tasks.start_capturing()
    asyncio.create_task(job())
    assert background_tasks.assert_captured(job).name
    with pytest.raises(AssertionError) as caught:
        background_tasks.assert_captured("send_mail")
    [note] = caught.value.__notes__
    assert note.startswith("starlette ")
    assert note.endswith("this plugin supports starlette 0.49 and later: its background tasks are not captured")
    background_tasks.reset()


@pytest.mark.parametrize("library", ["uvloop", "trio", "numpy.random"])
def test_incompatible_library_does_not_break_the_plugin(pytester: pytest.Pytester, library: str) -> None:
    """The module may be a stub, or of an unsupported version."""
    pytester.makepyfile(
        f"""
        import asyncio, sys
        from types import ModuleType
        from pytest_background_tasks import explore

        sys.modules[{library!r}] = ModuleType({library!r})

        async def job():
            return 42

        def test_captured(background_tasks):
            background_tasks.start_capturing()
            asyncio.create_task(job())
            assert background_tasks.run_all_sync() == [42]

        def test_virtual_time(virtual_time):
            asyncio.run(asyncio.sleep(3600))
            assert virtual_time.now == 3600

        @explore
        async def test_explored():
            assert await asyncio.gather(job(), job()) == [42, 42]
        """
    )
    pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:aiohttp", "-p", "no:anyio").assert_outcomes(passed=3)


async def test_starlette_task_called_after_stop_capturing_runs_normally(background_tasks: BackgroundTasks) -> None:
    """A Starlette task that is called afterwards runs as usual."""
    ran: list[int] = []

    async def job() -> None:
        ran.append(1)

    task = BackgroundTask(job)
    background_tasks.start_capturing()
    background_tasks.stop_capturing()
    await task()
    assert ran == [1]
    background_tasks.start_capturing(ignore=job)
    await task()
    assert ran == [1, 1]
    assert background_tasks.task_count == 0


async def test_create_task_on_a_closed_loop_raises_as_without_the_plugin(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    loop = asyncio.new_event_loop()
    loop.close()
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coroutine)
    coroutine.close()


async def test_create_task_of_a_non_coroutine_raises_as_without_the_plugin(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    with pytest.raises(TypeError, match="a coroutine was expected"):
        asyncio.create_task(42)  # type: ignore[arg-type]
    assert "call_soon" not in vars(asyncio.get_running_loop())
    assert background_tasks.task_count == 0


def test_create_task_raises_in_a_trio_test(background_tasks: BackgroundTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test on trio does not count as a `def` test: a call that raises in production raises there as well."""

    async def job() -> None: ...

    coroutine = job()
    monkeypatch.setitem(sys.modules, "trio", SimpleNamespace(lowlevel=SimpleNamespace(current_task=object)))
    background_tasks.start_capturing()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.create_task(coroutine)
    coroutine.close()
    with pytest.raises(BackgroundTasksError, match="this test runs on trio"):
        background_tasks.run_all_async().send(None)
