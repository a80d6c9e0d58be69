"""Running exactly one step of a captured task.

A step is one run of a task from where it resumes to where it suspends next, or ends. After its first step on request, a
task runs only on request, until a running method resumes it, or another task waits for it. A step that is ready runs
immediately, so nothing else runs in between; otherwise, the call waits until the step is ready.

Private names of CPython used here: ``_fut_waiter`` of a task, ``_scheduled`` of the loop.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from .._capture.held_task import HeldTask, runs_elsewhere
from .._introspect.project_code import OwnCode
from .._introspect.suspension import waits_for
from .._introspect.wait_reason import WaitReason
from ..errors import BackgroundTasksError, BackgroundTasksTimeout, DeadlockError
from .cross_loop import on_loop_async, on_loop_sync
from .idle import telling
from .idle_hooks import alarm, has_lulls
from .nested_loop import stepped_aside
from .run_until_idle import Watching
from .running_call import noted, outcome, story
from .step_gate import Brake
from .timeout import deadline_of


class Stepper:
    """The steps of the tasks of one test.

    Args:
        watching: returns the external activity of a loop.
        is_own: project code.
    """

    def __init__(self, watching: Watching, is_own: OwnCode) -> None:
        self._watching = watching
        self._is_own = is_own
        self._brakes: dict[asyncio.AbstractEventLoop, Brake] = {}

    async def step_async(self, task: HeldTask, timeout: float | None) -> None:
        """Run one step of `task`; raise its exception, or an error if it cannot resume within `timeout` seconds."""
        __tracebackhide__ = True
        loop = task.runner.get_loop()
        is_on_its_way = None if runs_elsewhere(loop) else self._stop(task)
        await on_loop_async(loop, partial(self._step, task, is_on_its_way, timeout))
        _raise_failure(task)

    def step_sync(self, task: HeldTask, timeout: float | None) -> None:
        """Do the same from a synchronous call."""
        __tracebackhide__ = True
        loop = task.runner.get_loop()
        is_on_its_way = None if runs_elsewhere(loop) else self._stop(task)
        if loop is asyncio._get_running_loop() and self._brakes[loop].is_ready(task.runner):
            self._run(task)
        elif not has_lulls(loop) and loop is asyncio._get_running_loop():
            raise BackgroundTasksError(
                f"{story(task, self._is_own)}\n{type(loop).__module__} cannot wait for that inside a synchronous call. "
                f"In an async test write\n  await background_tasks.step_async(…)"
            )
        else:
            on_loop_sync(loop, partial(self._step, task, is_on_its_way, timeout))
        _raise_failure(task)

    def _stop(self, task: HeldTask) -> bool:
        """Run `task` only on request from now on; return True if its next step has already been scheduled."""
        runner = task.runner
        brake = self._brakes.setdefault(runner.get_loop(), Brake(runner.get_loop()))
        if runner in brake:
            return False
        is_on_its_way = not task.held and _is_queued(runner)
        brake.hold(runner)
        task.release()
        task.let_go = partial(brake.let_go, runner)
        return is_on_its_way

    async def _step(self, task: HeldTask, is_on_its_way: bool | None, timeout: float | None) -> None:
        __tracebackhide__ = True
        if is_on_its_way is None:
            is_on_its_way = self._stop(task)
        runner = task.runner
        brake = self._brakes[runner.get_loop()]
        if is_on_its_way:
            while not asyncio.Task.done(task) and not brake.is_ready(runner) and _is_queued(runner):  # noqa: ASYNC110  # no event shows that a step has run
                await asyncio.sleep(0)
            return
        if not brake.is_ready(runner):
            await self._ready(task, brake, timeout)
        self._run(task)

    @waits_for(lambda reasons, variables: WaitReason("step", f"the next step of {reasons.name(variables['task'])}"))
    async def _ready(self, task: HeldTask, brake: Brake, timeout: float | None) -> None:
        __tracebackhide__ = True
        loop: Any = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def end(error: Callable[[], Exception] | None = None) -> None:
            if not ready.done():
                ready.set_result(None) if error is None else ready.set_exception(error())

        def look() -> None:
            if not loop._scheduled:
                end(lambda: self._never(task))

        brake.when_ready(task.runner, end)
        deadline = deadline_of(timeout)
        with alarm(loop, deadline, lambda: end(lambda: self._too_late(task, timeout))):
            if has_lulls(loop):
                with telling(self._watching(loop), look):
                    await ready
            else:
                await ready

    def _run(self, task: HeldTask) -> None:
        runner = task.runner
        loop = runner.get_loop()
        with stepped_aside(loop):
            self._brakes[loop].run(runner)
        if asyncio.Task.done(task):
            task.release()

    def _never(self, task: HeldTask) -> DeadlockError:
        return DeadlockError(
            f"no next step: {story(task, self._is_own)}, and nothing else can run.\n"
            f"First run or step whatever it is waiting for, or provide it in the test."
        )

    def _too_late(self, task: HeldTask, timeout: float | None) -> BackgroundTasksTimeout:
        return BackgroundTasksTimeout(
            f"no next step within {timeout or 0:g} s: {story(task, self._is_own)}\n"
            f"First run or step whatever it is waiting for, let virtual time pass (the fixture virtual_time), or allow "
            f"more time, timeout=… (seconds)."
        )


def _is_queued(task: "asyncio.Task[Any]") -> bool:
    """Return True if the next step of `task` has already been scheduled."""
    awaited = getattr(task, "_fut_waiter", None)
    return awaited is None or asyncio.Future.done(awaited)


def _raise_failure(task: HeldTask) -> None:
    __tracebackhide__ = True
    if asyncio.Task.done(task) and task.failed:
        raise noted(outcome(task), task)
