"""The tests are `async def`. `start` may be replaced below."""

from collections.abc import Callable
from typing import Any

import checks
import pytest
from matrix import HELD, NOT_CAPTURED

from pytest_background_tasks import BackgroundTasks


@pytest.fixture
def start() -> Callable[..., Any]:
    return checks.start_here


@pytest.mark.parametrize("name", HELD)
async def test_run_async(name: str, start: Callable[..., Any], background_tasks: BackgroundTasks) -> None:
    await checks.run_async(name, start, background_tasks)


@pytest.mark.parametrize("name", HELD)
async def test_run_sync(name: str, start: Callable[..., Any], background_tasks: BackgroundTasks) -> None:
    await checks.run_sync(name, start, background_tasks)


@pytest.mark.parametrize("name", NOT_CAPTURED)
async def test_not_captured(name: str, start: Callable[..., Any], background_tasks: BackgroundTasks) -> None:
    await checks.not_captured(name, start, background_tasks)
