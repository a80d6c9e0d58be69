"""Captured tasks that match targets: those that a running method is about, and those that a test asserts."""

import asyncio
import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple, Self

from .._introspect.unsupported_version import sentences
from .._introspect.untrusted import safe_repr
from ..errors import BackgroundTaskNotFound, BackgroundTasksError
from .call import bound_arguments
from .captured_task import CapturedTask
from .held_task import HeldTask
from .session import CaptureSession, Targets
from .targets import Match, Target, coroutine_function, matcher, shown
from .unheld_tasks import UnheldTasks


def matching_tasks(capture: CaptureSession, call: str, targets: tuple[Target, ...]) -> list[HeldTask]:
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
    matches = [matcher(target, call, _callees(capture)) for target in targets]
    unfinished = capture.resumable
    picked = [task for task in unfinished if any(match(capture.view(task)) for match in matches)]
    if not picked:
        written = call.format(", ".join(map(shown, targets)))
        started = [task for task in capture.tasks if any(match(capture.view(task)) for match in matches)]
        beside = f"\nNo longer held:{_listing(capture, started)}" if started else ""
        raise BackgroundTaskNotFound(
            f"{written} matches nothing; held:{_listing(capture, unfinished)}{beside}{_unheld(capture)}"
        )
    return picked


def matching_task(capture: CaptureSession, call: str, target: Target) -> HeldTask:
    """Return the one unfinished captured task that matches `target`; a held one is moved if its loop is closed.

    Raises:
        BackgroundTaskNotFound: if no captured task matches; the message lists the captured tasks.
        BackgroundTasksError: if the matching task has ended, or several match.
    """
    __tracebackhide__ = True
    match = matcher(target, call, _callees(capture))
    matching = [task for task in capture.tasks if match(capture.view(task))]
    going_on = [task for task in matching if not asyncio.Task.done(task)]
    written = call.format(shown(target))
    if not matching:
        listing = _listing(capture, capture.tasks)
        raise BackgroundTaskNotFound(f"{written} matches nothing; captured:{listing}{_unheld(capture)}")
    if not going_on:
        raise BackgroundTasksError(f"{written}: the task has ended and has no next step:{_listing(capture, matching)}")
    if len(going_on) > 1:
        raise BackgroundTasksError(
            f"{written}: {len(going_on)} tasks match instead of one:{_listing(capture, going_on)}\n"
            f"Use the name of the task, or select one:  background_tasks.captured({shown(target)})[0]"
        )
    [task] = going_on
    if task.held and task.get_loop().is_closed():
        task.relocate(asyncio._get_running_loop() or capture.loop_for_def_test())
    return task


def _callees(capture: CaptureSession) -> Iterable[object]:
    """Return the callables of the captured Starlette background tasks; each is a target that matches itself."""
    return [task.callee for task in capture.tasks if task.callee is not None]


def targets_of(only: tuple[Target, ...], ignore: Target | Sequence[Target]) -> Targets:
    """Return the targets of ``start_capturing(*only, ignore=ignore)``; raise TypeError if one is not a target."""
    __tracebackhide__ = True
    single = isinstance(ignore, (str, CapturedTask)) or not isinstance(ignore, Sequence)
    ignored: Sequence[Any] = (ignore,) if single else ignore  # type: ignore[assignment]  # `single` tells
    return Targets(
        tuple(matcher(target, "background_tasks.start_capturing({})") for target in only),
        tuple(matcher(target, "background_tasks.start_capturing(ignore={})") for target in ignored),
    )


def _unheld(capture: CaptureSession) -> str:
    hint = capture.unheld.hint
    return f"\n{hint}" if hint else ""


def _listing(capture: CaptureSession, tasks: Sequence[HeldTask]) -> str:
    if not tasks:
        return f" nothing; <background_tasks {capture.summary}>"
    return "".join(f"\n  {capture.view(task)!r}" for task in tasks)


class Expectation(NamedTuple):
    """A target and the expected arguments of the call, by the names of the function's parameters."""

    target: Target | None
    match: Match
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, capture: CaptureSession, call: str, target: Target | None, arguments: Mapping[str, Any]) -> Self:
        """Return what a user's call expects; `call` as for `matcher`."""
        match = (lambda _: True) if target is None else matcher(target, call, _callees(capture))
        return cls(target, match, arguments)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={safe_repr(value)}" for name, value in self.arguments.items())
        return "anything" if self.target is None else f"{shown(self.target)}({given})" if given else shown(self.target)

    def among(self, tasks: Iterable[CapturedTask]) -> list[CapturedTask]:
        """Return the `tasks` that match."""
        return [task for task in tasks if self.match(task) and not self._differences(task)]

    def one_among(self, tasks: Sequence[CapturedTask], unheld: UnheldTasks) -> CapturedTask:
        """Return the only task that matches; raise an AssertionError that lists `tasks` if none or several match."""
        __tracebackhide__ = True
        matching = self.among(tasks)
        if len(matching) == 1:
            return matching[0]
        number = f"{len(matching)} captured tasks match" if matching else "no captured task matches"
        listing = self._nearest_first(tasks) if tasks else f"  {unheld.why_nothing}"
        hint = f"\n{unheld.hint}" if tasks and not matching and unheld.hint else ""
        error = AssertionError(f"{number} {self}, expected exactly one; captured:\n{listing}{hint}")
        for sentence in sentences():
            error.add_note(sentence)
        raise error

    def none_among(self, tasks: Iterable[CapturedTask]) -> None:
        """Raise an AssertionError that lists the `tasks` that match, if any."""
        __tracebackhide__ = True
        matching = self.among(tasks)
        if matching:
            listing = "".join(f"\n  {task._summary}" for task in matching)
            raise AssertionError(f"expected no captured task that matches {self}; captured:{listing}")

    def _nearest_first(self, tasks: Sequence[CapturedTask]) -> str:
        return "\n".join(
            f"  {task._summary}\n      {self._why_not(task)}" for task in sorted(tasks, key=self._distance)
        )

    def _distance(self, task: CapturedTask) -> tuple[bool, float]:
        if self.match(task):
            return False, len(self._differences(task))
        likeness = SequenceMatcher(None, shown(self.target) if self.target is not None else "", task.function).ratio()
        return True, -likeness

    def _why_not(self, task: CapturedTask) -> str:
        return ", ".join(self._differences(task)) or "matches" if self.match(task) else "another function"

    def _differences(self, task: CapturedTask) -> list[str]:
        actual = _by_parameter(self.target, task)
        differences = []
        for name, value in self.arguments.items():
            if name not in actual:
                has = ", ".join(actual) or "none"
                differences.append(f"it has no argument {name!r} (it has {has})")
            elif value is not actual[name] and value != actual[name]:
                differences.append(f"{name}={safe_repr(actual[name])}, expected {safe_repr(value)}")
        return differences


def _by_parameter(target: Target | None, task: CapturedTask) -> dict[str, Any]:
    """Return the arguments, for a decorator's ``wrapper(*args, **kwargs)`` by the decorated function's parameters."""
    arguments, function = task.arguments, coroutine_function(target)
    if function is None or arguments.keys() != {"args", "kwargs"}:
        return arguments
    bound = bound_arguments(inspect.signature(function), arguments["args"], arguments["kwargs"])
    return arguments if bound is None else bound
