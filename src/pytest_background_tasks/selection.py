"""Selection of the captured tasks that a call of a running method is about, by its targets."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from .capture.capture import Capture, Targets
from .capture.captured import CapturedTask
from .capture.held import HeldTask
from .errors import BackgroundTaskNotFound, BackgroundTasksError
from .targets import Target, matcher, shown


def several(capture: Capture, call: str, targets: tuple[Target, ...]) -> list[HeldTask]:
    """Return the unfinished tasks that match one of `targets`, in creation order.

    Args:
        capture: the capture of the test.
        call: the user's call as text, with ``{}`` for the targets; for the error message.
        targets: at least one.

    Raises:
        TypeError: if there is no target.
        BackgroundTaskNotFound: if no task matches; the message lists the held tasks.
    """
    __tracebackhide__ = True
    if not targets:
        all_held = call.replace("run_", "run_all_").format("")
        raise TypeError(f"{call.format('')} needs a target; to run all held tasks:  {all_held}")
    matches = [matcher(target, call, callees(capture)) for target in targets]
    unfinished = capture.unfinished
    picked = [task for task in unfinished if any(match(capture.view(task)) for match in matches)]
    if not picked:
        written = call.format(", ".join(map(shown, targets)))
        started = [task for task in capture.tasks if any(match(capture.view(task)) for match in matches)]
        beside = f"\nNo longer held:{_listing(capture, started)}" if started else ""
        raise BackgroundTaskNotFound(
            f"{written} matches nothing; held:{_listing(capture, unfinished)}{beside}{_let_through(capture)}"
        )
    return picked


def one(capture: Capture, call: str, target: Target) -> HeldTask:
    """Return the one unfinished captured task that matches `target`; a held one is moved if its loop is closed.

    Raises:
        BackgroundTaskNotFound: if no captured task matches; the message lists the captured tasks.
        BackgroundTasksError: if the matching task has ended, or several match.
    """
    __tracebackhide__ = True
    match = matcher(target, call, callees(capture))
    matching = [task for task in capture.tasks if match(capture.view(task))]
    going_on = [task for task in matching if not asyncio.Task.done(task)]
    written = call.format(shown(target))
    if not matching:
        listing = _listing(capture, capture.tasks)
        raise BackgroundTaskNotFound(f"{written} matches nothing; captured:{listing}{_let_through(capture)}")
    if not going_on:
        raise BackgroundTasksError(f"{written}: the task has ended and has no next step:{_listing(capture, matching)}")
    if len(going_on) > 1:
        raise BackgroundTasksError(
            f"{written}: {len(going_on)} tasks match instead of one:{_listing(capture, going_on)}\n"
            f"Use the name of the task, or select one:  background_tasks.captured({shown(target)})[0]"
        )
    [task] = going_on
    if task.held and task.get_loop().is_closed():
        task.move_to(asyncio._get_running_loop() or capture.loop_for_def_test())
    return task


def callees(capture: Capture) -> Iterable[object]:
    """Return the callables of the captured Starlette background tasks; each is a target that matches itself."""
    return [task.callee for task in capture.tasks if task.callee is not None]


def targets_of(only: tuple[Target, ...], ignore: Target | Sequence[Target]) -> Targets:
    """Return the targets of ``start_capturing(*only, ignore=ignore)``; raise TypeError if one is not a target."""
    __tracebackhide__ = True
    single = isinstance(ignore, (str, CapturedTask)) or not isinstance(ignore, Sequence)
    ignored: Sequence[Any] = (ignore,) if single else ignore  # type: ignore[assignment]
    return Targets(
        tuple(matcher(target, "background_tasks.start_capturing({})") for target in only),
        tuple(matcher(target, "background_tasks.start_capturing(ignore={})") for target in ignored),
    )


def _let_through(capture: Capture) -> str:
    hint = capture.let_through.hint
    return f"\n{hint}" if hint else ""


def _listing(capture: Capture, tasks: Sequence[HeldTask]) -> str:
    if not tasks:
        return f" nothing; <background_tasks {capture.summary}>"
    return "".join(f"\n  {capture.view(task)!r}" for task in tasks)
