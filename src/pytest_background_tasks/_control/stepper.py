"""Running exactly one step of a captured task.

A step is one run of a task from where it resumes to where it suspends next, or ends. After its first step on request, a
task runs only on request, until a running method resumes it, or another task waits for it. A step that is ready runs
immediately, so nothing else runs in between; otherwise, the call waits until the step is ready.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from .._asyncio.idle_hooks import call_at_deadline
from .._capture.held_task import HeldTask, runs_elsewhere
from .._introspect.internals import awaited_by, has_selector, timers_of
from .._introspect.project_code import ProjectCode
from .._introspect.suspension import waits_for
from .._introspect.wait_reason import WaitReason
from ..errors import BackgroundTasksError, BackgroundTasksTimeout, DeadlockError
from .cross_loop import on_loop_async, on_loop_sync
from .idle import on_idle
from .nested_loop import current_task_suspended
from .run_until_idle import ActivityOf
from .running_call import describe, outcome, with_note
from .step_gate import StepGate
from .timeout import deadline_of


class Stepper:
    """The steps of the tasks of one test.

    Args:
        activity_of: returns the external activity of a loop.
        is_project: project code.
    """

    def __init__(self, activity_of: ActivityOf, is_project: ProjectCode) -> None:
        self._activity_of = activity_of
        self._is_project = is_project
        self._gates: dict[asyncio.AbstractEventLoop, StepGate] = {}

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
        if loop is asyncio._get_running_loop() and self._gates[loop].is_ready(task.runner):
            self._run(task)
        elif not has_selector(loop) and loop is asyncio._get_running_loop():
            raise BackgroundTasksError(
                f"{describe(task, self._is_project)}\n{type(loop).__module__} cannot wait for that inside a "
                f"synchronous call. In an async test write\n  await background_tasks.step_async(…)"
            )
        else:
            on_loop_sync(loop, partial(self._step, task, is_on_its_way, timeout))
        _raise_failure(task)

    def _stop(self, task: HeldTask) -> bool:
        """Run `task` only on request from now on; return True if its next step has already been scheduled."""
        runner = task.runner
        gate = self._gates.setdefault(runner.get_loop(), StepGate(runner.get_loop()))
        if runner in gate:
            return False
        is_on_its_way = not task.held and _is_queued(runner)
        gate.close(runner)
        task.release()
        task.open_gate = partial(gate.open, runner)
        return is_on_its_way

    async def _step(self, task: HeldTask, is_on_its_way: bool | None, timeout: float | None) -> None:
        __tracebackhide__ = True
        if is_on_its_way is None:
            is_on_its_way = self._stop(task)
        runner = task.runner
        gate = self._gates[runner.get_loop()]
        if is_on_its_way:
            while not asyncio.Task.done(task) and not gate.is_ready(runner) and _is_queued(runner):  # noqa: ASYNC110  # no event shows that a step has run
                await asyncio.sleep(0)
            return
        if not gate.is_ready(runner):
            await self._ready(task, gate, timeout)
        self._run(task)

    @waits_for(lambda reasons, variables: WaitReason("step", f"the next step of {reasons.name(variables['task'])}"))
    async def _ready(self, task: HeldTask, gate: StepGate, timeout: float | None) -> None:
        __tracebackhide__ = True
        loop: Any = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def end(error: Callable[[], Exception] | None = None) -> None:
            if not ready.done():
                ready.set_result(None) if error is None else ready.set_exception(error())

        def check() -> None:
            if not timers_of(loop):
                end(lambda: self._never(task))

        gate.on_ready(task.runner, end)
        deadline = deadline_of(timeout)
        with call_at_deadline(loop, deadline, lambda: end(lambda: self._too_late(task, timeout))):
            if has_selector(loop):
                with on_idle(self._activity_of(loop), check):
                    await ready
            else:
                await ready

    def _run(self, task: HeldTask) -> None:
        runner = task.runner
        loop = runner.get_loop()
        with current_task_suspended(loop):
            self._gates[loop].run_step(runner)
        if asyncio.Task.done(task):
            task.release()

    def _never(self, task: HeldTask) -> DeadlockError:
        return DeadlockError(
            f"no next step: {describe(task, self._is_project)}, and nothing else can run.\n"
            f"First run or step whatever it is waiting for, or provide it in the test."
        )

    def _too_late(self, task: HeldTask, timeout: float | None) -> BackgroundTasksTimeout:
        return BackgroundTasksTimeout(
            f"no next step within {timeout or 0:g} s: {describe(task, self._is_project)}\n"
            f"First run or step whatever it is waiting for, let virtual time pass (the fixture virtual_time), or allow "
            f"more time, timeout=… (seconds)."
        )


def _is_queued(task: "asyncio.Task[Any]") -> bool:
    """Return True if the next step of `task` has already been scheduled."""
    awaited = awaited_by(task)
    return awaited is None or asyncio.Future.done(awaited)


def _raise_failure(task: HeldTask) -> None:
    __tracebackhide__ = True
    if asyncio.Task.done(task) and task.failed:
        raise with_note(outcome(task), task)
