"""The tests are methods of an `IsolatedAsyncioTestCase`."""

from collections.abc import Callable
from typing import Any
from unittest import IsolatedAsyncioTestCase

import checks
import pytest
from matrix import HELD, NOT_CAPTURED

from pytest_background_tasks import BackgroundTasks


class TestWays(IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def take_fixture(self, background_tasks: BackgroundTasks) -> None:
        self.background_tasks = background_tasks


def add_test(check: Callable[..., Any], name: str) -> None:
    async def test(self: TestWays) -> None:
        await check(name, checks.start_here, self.background_tasks)

    setattr(TestWays, f"test_{check.__name__}[{name}]", test)


for name in HELD:
    add_test(checks.run_async, name)
    add_test(checks.run_sync, name)
for name in NOT_CAPTURED:
    add_test(checks.not_captured, name)
