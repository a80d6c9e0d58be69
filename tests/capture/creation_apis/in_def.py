"""`start` in a `def` test, without a running loop. A way that needs one raises as it does without the plugin."""

import asyncio
from collections.abc import Callable

import pytest
from matrix import RAISES
from ways import WAYS, ran

from pytest_background_tasks import BackgroundTasks


@pytest.fixture
def start() -> Callable[[str], None]:
    def start(name: str) -> None:
        WAYS[name].start()

    return start


@pytest.mark.filterwarnings("ignore:coroutine 'greet' was never awaited")
@pytest.mark.parametrize("name", RAISES)
def test_raises(name: str, start: Callable[[str], None], background_tasks: BackgroundTasks) -> None:
    asyncio.set_event_loop(None)  # as after asyncio.run: before 3.14, ensure_future would use a loop set here
    with pytest.raises(RuntimeError, match=r"no (running|current) event loop"):
        start(name)
    assert (background_tasks.captured_tasks, ran) == ([], [])
