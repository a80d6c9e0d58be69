"""The functions of asyncio as a list, and projects that run in a monitored session."""

import asyncio
import selectors
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

import pytest
import uvloop
from starlette.background import BackgroundTask

from pytest_background_tasks._asyncio.instrument import hub

OWNERS: list[Any] = [
    asyncio,
    asyncio.base_events,
    asyncio.events,
    asyncio.futures,
    asyncio.runners,
    asyncio.tasks,
    asyncio.Future,
    asyncio.Task,
    asyncio.tasks._PyTask,
    asyncio.TaskGroup,
    *asyncio.SelectorEventLoop.__mro__[:-1],
    *uvloop.Loop.__mro__[:-1],
    *selectors.DefaultSelector.__mro__[:-1],
    BackgroundTask,
]

Functions = Callable[..., dict[tuple[str, str], object]]
Session = Callable[..., pytest.RunResult]

MONITORED = ("--background-tasks-unhandled=warn", "--background-tasks-leaked=warn")
NOT_MONITORED = ("--background-tasks-unhandled=ignore", "--background-tasks-destroyed=ignore")
JOBS = """
    import asyncio, pytest

    async def job():
        await asyncio.sleep(0)
        raise OSError("no server")

    async def main():
        tasks.append(asyncio.create_task(job()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    tasks = []
"""


def _own_functions(owner: Any) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(owner).items()
        if not name.startswith("__") and (callable(value) or isinstance(value, (classmethod, staticmethod)))
    }


@pytest.fixture
def without_instruments() -> Iterator[None]:
    """Remove the instruments of the session that runs this test, for which functions of asyncio are replaced."""
    outer, hub._instruments = hub._instruments, []
    hub._update()
    yield
    hub._instruments[:0] = outer
    hub._update()


@pytest.fixture
def functions_of_asyncio(without_instruments: None) -> Iterator[Functions]:
    """Return a function that lists each function of asyncio, and each function that given loops have themselves.

    Two lists are equal if nothing was replaced in between, or if everything was restored. If a test fails, the fixture
    restores what the test has left.
    """

    def functions(*loops: Any) -> dict[tuple[str, str], object]:
        selectors_of_loops = [loop._selector for loop in loops if getattr(loop, "_selector", None) is not None]
        owners = {repr(owner): owner for owner in OWNERS}
        owners |= {
            f"{type(owner).__name__} {number}": owner for number, owner in enumerate([*loops, *selectors_of_loops])
        }
        return {(of, name): value for of, owner in owners.items() for name, value in _own_functions(owner).items()}

    before = [_own_functions(owner) for owner in OWNERS]
    yield functions
    for owner, functions_before in zip(OWNERS, before, strict=True):
        functions_after = _own_functions(owner)
        for name in functions_after.keys() - functions_before.keys():
            delattr(owner, name)
        for name, value in functions_before.items():
            if functions_after.get(name) is not value:
                setattr(owner, name, value)


@pytest.fixture
def session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tidy: object, without_instruments: None
) -> Session:
    """Run a project in process, without the plugins of the environment; warnings are shown."""

    def session(
        source: str,
        *options: str,
        plugins: tuple[object, ...] = (),
        name: str = "test_it",
        **files: str,
    ) -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(**{"conftest": "", **{file: dedent(text) for file, text in files.items()}})
        path = pytester.makepyfile(**{name: dedent(source)})
        # The garbage collector may find here a loop that an earlier session has left unclosed.
        shown = ("-W", "always", "-W", "ignore:unclosed:ResourceWarning")
        options = (str(path), *shown, "-p", "pytest_background_tasks.plugin", *options)
        return pytester.runpytest_inprocess(*options, plugins=[*plugins, tidy], no_reraise_ctrlc=True)

    return session


class FunctionsPlugin:
    """A plugin for a session: the fixture `functions`."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    @pytest.fixture
    def functions(self) -> Functions:
        return self._functions


@pytest.fixture
def restoring_session(session: Session, functions_of_asyncio: Functions) -> Session:
    """Run a project with `JOBS` and the fixture `functions`, monitored; afterwards asyncio must be as before."""

    def restoring_session(source: str, *options: str, **files: str) -> pytest.RunResult:
        before = functions_of_asyncio()
        plugins = (FunctionsPlugin(functions_of_asyncio),)
        result = session(dedent(JOBS) + dedent(source), *MONITORED, *options, plugins=plugins, **files)
        assert functions_of_asyncio() == before
        return result

    return restoring_session
