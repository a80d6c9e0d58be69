"""The tests are `def`; `start` is below. The tasks that it starts are run after it has returned."""

import asyncio
from collections.abc import Callable

import checks
import pytest
from matrix import HELD, NOT_CAPTURED
from ways import WAYS

from pytest_background_tasks import BackgroundTasks


@pytest.mark.parametrize("name", HELD)
def test_run_sync(name: str, start: Callable[[str], None], background_tasks: BackgroundTasks) -> None:
    start(name)
    checks.assert_held(WAYS[name], background_tasks)
    checks.assert_done(WAYS[name], background_tasks, background_tasks.run_all_sync())


@pytest.mark.parametrize("name", HELD)
def test_run_async(name: str, start: Callable[[str], None], background_tasks: BackgroundTasks) -> None:
    start(name)
    checks.assert_held(WAYS[name], background_tasks)
    checks.assert_done(WAYS[name], background_tasks, asyncio.run(background_tasks.run_all_async()))


@pytest.mark.parametrize("name", NOT_CAPTURED)
def test_not_captured(name: str, start: Callable[[str], None], background_tasks: BackgroundTasks) -> None:
    start(name)
    checks.assert_not_captured(background_tasks)
