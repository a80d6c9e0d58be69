"""The protocols by which the patches and the integrations pass tasks to a session of capturing."""

import asyncio
from typing import Any, Protocol

from .held_task import HeldTask
from .origin import Origin


class TaskSink(Protocol):
    """The receiver of background tasks, which decides whether to hold each of them."""

    thread: int

    def hold_call(
        self, coroutine: Any, origin: Origin, started_as: tuple[Any, tuple[Any, ...], dict[str, Any]]
    ) -> HeldTask | None:
        """Return the held task for the call behind `coroutine`, or None. Called on the running loop."""

    def loop_for_def_test(self) -> asyncio.AbstractEventLoop:
        """Return a loop that never runs by itself, for the tasks of a `def` test."""
