"""The tasks of a failure that get a column of their own: those that explain it."""

from __future__ import annotations

from dataclasses import replace

from .._explore.schedule import NetworkFault
from .._explore.trace import SETUP
from .model import FailureView, RunView, StepView


def truncated_at_end(run: RunView) -> RunView:
    """Return `run` without the steps that follow the end of the test itself."""
    ends = (index for index, step in enumerate(run.steps) if step.outcome and step.task == run.test)
    end = next(ends, len(run.steps)) + 1
    deviations = (each if (each.step or 0) < end else replace(each, step=None) for each in run.deviations)
    return replace(run, steps=run.steps[:end], deviations=tuple(deviations))


def columns_of(view: FailureView, at_most: int) -> list[str]:
    """Return the tasks that get a column, in the order in which they start by default.

    Tasks are preferred in this order: those that deviate, those that run where the orders diverge, those that woke the
    deviating ones, those that a fault at a connection wakes, those that fail or are suspended at the end, those that
    run while another is delayed, and those that later run the same code as a deviating one. If that leaves one task
    only, others that run later join it. A task gets no column if it runs no code of the project, or only starts others
    and waits for them.
    """
    run = truncated_at_end(view.failing)
    start = run.begin if view.divergence is None else view.divergence
    last_deviation = max((each.step for each in run.deviations if each.step is not None), default=start)
    deviating = {each.task for each in run.deviations}
    diverging = {task for each in (view.baseline, run) if each for task in _first_task(each, view.divergence)}
    faults = {each.step for each in run.deviations if isinstance(each.deviation, NetworkFault)} - {None}
    woken = {step.task for step in run.steps if step.woken_by in faults}
    wakers = {index for each in run.deviations if (index := _waker(run, each.step)) is not None}
    meanwhile, later = _running(run, start, last_deviation + 1), _running(run, start, len(run.steps))
    code = {task: _code(run, task) for task in run.tasks}
    shared = {function for task in deviating for function in code.get(task, ())}
    outcomes = {
        step.task: step.outcome
        for index, step in enumerate(run.steps)
        if index > run.begin or not step.task.startswith(f"{SETUP}/")
    }

    def weight(task: str) -> tuple[bool, ...]:
        outcome = outcomes[task]
        return (
            task in deviating,
            task in diverging,
            any(run.steps[index].task == task for index in wakers),
            task in woken,
            outcome is None or (outcome.kind == "raised" and task != run.test),  # the test is known to fail
            task in meanwhile,
            task in later and bool(code[task] & shared),
        )

    order = [task for task in in_default_order(view) if task in outcomes]
    eligible = [task for task in order if task in deviating or (code[task] and not _only_starts(run, task))]
    chosen = [task for task in eligible if any(weight(task))]
    if len(chosen) < 2:
        chosen += [task for task in eligible if task in later and task not in [*chosen, run.test]]
    chosen = sorted(chosen or eligible or order, key=weight, reverse=True)[:at_most]
    return [task for task in order if task in chosen]


def in_default_order(view: FailureView) -> list[str]:
    """Return all tasks in the order in which they start by default, then those that only the failing run has."""
    return list(dict.fromkeys([*(view.baseline.tasks if view.baseline else ()), *view.failing.tasks]))


def _first_task(run: RunView, index: int | None) -> list[str]:
    """Return the task of the first visible step from `index` on."""
    steps: tuple[StepView, ...] = () if index is None else run.steps[index:]
    return [step.task for step in steps if step.is_visible][:1]


def _code(run: RunView, task: str) -> set[tuple[str, str]]:
    """Return the functions that a task has executed."""
    return {(line.site.file, line.site.function) for step in run.steps if step.task == task for line in step.lines}


def _waker(run: RunView, index: int | None) -> int | None:
    return None if index is None else run.steps[index].woken_by


def _running(run: RunView, start: int, end: int) -> set[str]:
    """Return the tasks with a visible step from `start` on and before `end`."""
    return {step.task for step in run.steps[start:end] if step.is_visible}


def _only_starts(run: RunView, task: str) -> bool:
    """Return True if a task only starts others, waits for them, and ends: the body of most tests."""
    steps = [step for step in run.steps if step.task == task and step.is_step]
    reasons = [step.waiting_for for step in steps if not step.outcome]
    awaits_tasks = all(reason is not None and reason.kind == "task" for reason in reasons)
    return bool(steps and steps[0].starts) and awaits_tasks
