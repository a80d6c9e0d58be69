"""Running an event loop from inside one of its own steps, or from inside a step of another loop.

``run_all_sync`` needs this in a running test, and asyncio does not offer it. Theory: the running task is suspended
(``_leave_task``), the loop runs whole iterations (``_run_once``), and the task becomes the current one again. One trap:
the outer iteration has counted its handles before it called us, and will pop that many; those that we have run have to
be replaced with handles that do nothing.

uvloop exposes neither queue nor iterations. There, the steps that tasks schedule are run here, one after the other, as
long as they need nothing else: a task that waits for a timer or I/O cannot resume inside a synchronous call.

Private names of CPython used here: ``_run_once`` and ``_ready`` of the loop; ``_enter_task``, ``_leave_task`` and
``_set_running_loop`` of asyncio.
"""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeAlias

from .._asyncio.idle_hooks import call_at_deadline
from .._asyncio.patching import patched
from .._introspect import real_clock


@contextmanager
def current_task_suspended(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Make the running task of `loop` not the current one inside the block, so that others can be."""
    task = asyncio.current_task(loop)
    if task is None:
        yield
        return
    _leave_task(loop, task)
    try:
        yield
    finally:
        _enter_task(loop, task)


@contextmanager
def no_running_loop() -> Iterator[None]:
    """Hide the running loop inside the block, so that this thread can run another one."""
    loop = asyncio._get_running_loop()
    if loop is None:
        yield
        return
    with current_task_suspended(loop):
        asyncio._set_running_loop(None)
        try:
            yield
        finally:
            asyncio._set_running_loop(loop)


Drive: TypeAlias = Callable[[Callable[[], bool], float | None], bool]
"""``drive(is_done, deadline)`` runs the loop until `is_done`, or until `deadline` (``time.monotonic()``).

Returns False if it had to give up before either; only with uvloop, see above.
"""


@contextmanager
def nested(loop: asyncio.AbstractEventLoop) -> Iterator[Drive]:
    """Return a function that runs `loop`, the running loop, from here; start the tasks to run inside the block."""
    with (
        current_task_suspended(loop),
        _iterations(loop) if isinstance(loop, asyncio.BaseEventLoop) else _steps(loop) as drive,
    ):
        yield drive


@contextmanager
def _iterations(loop: Any) -> Iterator[Drive]:
    def drive(is_done: Callable[[], bool], deadline: float | None) -> bool:
        with call_at_deadline(loop, deadline, _noop_handle):
            while not is_done() and (deadline is None or real_clock.monotonic() < deadline):
                loop._run_once()
        return True

    counted_by_outer_iteration = len(loop._ready)
    try:
        yield drive
    finally:
        while len(loop._ready) < counted_by_outer_iteration:
            loop._ready.append(asyncio.Handle(_noop_handle, (), loop))


@contextmanager
def _steps(loop: asyncio.AbstractEventLoop) -> Iterator[Drive]:
    queue: deque[asyncio.Handle] = deque()

    def call_soon(callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, loop, context)
        queue.append(handle)
        return handle

    def drive(is_done: Callable[[], bool], deadline: float | None) -> bool:
        while queue and not is_done() and (deadline is None or real_clock.monotonic() < deadline):
            _run(queue.popleft())
        return bool(queue) or is_done()

    try:
        with patched(loop, "call_soon", lambda _: call_soon):
            yield drive
    finally:
        for handle in queue:
            loop.call_soon(_run, handle)


def _run(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()


def _noop_handle() -> None:
    """Do nothing, for a handle that only completes the number."""
