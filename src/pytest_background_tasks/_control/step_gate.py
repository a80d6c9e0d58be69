"""A gate that holds back the steps of some tasks until they are requested.

A task schedules its next step with ``call_soon`` of its loop: after a bare yield, and when the future that it waits for
is done. While a loop has tasks behind the gate, that method is replaced, and their steps are kept here, at most one for
each task. (The loop cannot notify one task's step from another's, but the callback can: it is a method of the task.)
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import Context
from typing import Any

from .._asyncio.patching import patched
from .._introspect.untrusted import owner_of


class StepGate:
    """The gate for some tasks of one `loop`, whose method is restored when no task is left."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held_back: dict[int, asyncio.Handle | None] = {}
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._when_ready: dict[int, Callable[[], object]] = {}
        self._covering = ExitStack()

    def __contains__(self, task: object) -> bool:
        return id(task) in self._tasks

    def close(self, task: "asyncio.Task[Any]") -> None:
        """Hold back the steps of `task` from now on."""
        if not self._tasks:
            self._covering.enter_context(patched(self._loop, "call_soon", self._covered))
        self._tasks[id(task)] = task

    def open(self, task: "asyncio.Task[Any]") -> None:
        """Let `task` run freely again; a step that was held back goes to the end of the loop's queue."""
        if self._tasks.pop(id(task), None) is None:
            return
        self._when_ready.pop(id(task), None)
        if not self._tasks:
            self._covering.close()
        step = self._held_back.pop(id(task), None)
        if step is not None and not step.cancelled():
            self._loop.call_soon(step._run)

    def is_ready(self, task: "asyncio.Task[Any]") -> bool:
        """Return True if the next step of `task` is held back here."""
        return self._held_back.get(id(task)) is not None

    def on_ready(self, task: "asyncio.Task[Any]", notify: Callable[[], object]) -> None:
        """Call `notify` when the next step of `task` arrives here."""
        self._when_ready[id(task)] = notify

    def run_step(self, task: "asyncio.Task[Any]") -> None:
        """Run the step that is held back, immediately; no other task may be the current one."""
        step = self._held_back.pop(id(task))
        assert step is not None
        step._run()

    def _covered(self, call_soon: Callable[..., asyncio.Handle]) -> Callable[..., asyncio.Handle]:
        def gated_call_soon(
            callback: Callable[..., object], *args: Any, context: Context | None = None
        ) -> asyncio.Handle:
            task = id(owner_of(callback))
            if task not in self._tasks:
                return call_soon(callback, *args, context=context)
            step = self._held_back[task] = asyncio.Handle(callback, args, self._loop, context)
            notify = self._when_ready.pop(task, None)
            if notify is not None:
                notify()
            return step

        return gated_call_soon
