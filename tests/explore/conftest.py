"""Fixtures shared by the tests of the explorer."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import pytest

from pytest_background_tasks import Schedule, Trace
from pytest_background_tasks._explore.determinism import DeterministicProcess
from pytest_background_tasks._explore.execution import Execution, execute
from pytest_background_tasks._explore.helper_thread import HelperThread
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._introspect.project_code import ProjectCode

Scenario = Callable[[], Coroutine[Any, Any, object]]


class RunSchedule(Protocol):
    def __call__(self, scenario: Scenario, text: str = "", *, tells: bool = False, **options: Any) -> Execution: ...


@pytest.fixture(scope="session")
def run_schedule() -> RunSchedule:
    """Return a function that runs a scenario under a schedule given as text."""

    def run_once(scenario: Scenario, text: str = "", *, tells: bool = False, **options: Any) -> Execution:
        options.setdefault("is_project_file", ProjectCode(Path(__file__).parent))
        with HelperThread() as helper, DeterministicProcess(may_raise=True) as around:
            around.refresh()
            return execute(scenario, Schedule.parse(text), Options(**options), helper, tells=tells)

    return run_once


def beat() -> None:
    """Set the same timer again, one second later."""
    asyncio.get_running_loop().call_later(1, beat)


@pytest.fixture(scope="session")
def heartbeat() -> Callable[[], None]:
    """Return a callback, called ``beat``, that sets itself again without end."""
    return beat


@pytest.fixture(scope="session")
def order() -> Callable[[Trace], str]:
    """Return the steps of tasks in a trace, in order: ``main@0 client@0``."""

    def order_of(trace: Trace) -> str:
        return " ".join(f"{step.task}@{step.number}" for step in trace.steps if step.delivered != "call")

    return order_of
