"""The captured tasks that a test expects, and the messages of its failed assertions."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from .capture.call import bound_arguments
from .capture.captured import CapturedTask
from .capture.let_through import LetThrough
from .targets import Match, Target, coroutine_function, matcher, shown
from .unfit import sentences
from .untrusted import safe_repr


class Wanted(NamedTuple):
    """A target and the expected arguments of the call, by the names of the function's parameters."""

    target: Target | None
    match: Match
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, target: Target | None, arguments: Mapping[str, Any], call: str, callees: Iterable[object]) -> "Wanted":
        """Return what a user's call expects; `call` and `callees` as for `matcher`."""
        return cls(target, (lambda _: True) if target is None else matcher(target, call, callees), arguments)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={safe_repr(value)}" for name, value in self.arguments.items())
        return "anything" if self.target is None else f"{shown(self.target)}({given})" if given else shown(self.target)

    def among(self, tasks: Iterable[CapturedTask]) -> list[CapturedTask]:
        """Return the `tasks` that match."""
        return [task for task in tasks if self.match(task) and not self._differences(task)]

    def one_among(self, tasks: Sequence[CapturedTask], let_through: LetThrough) -> CapturedTask:
        """Return the only task that matches; raise an AssertionError that lists `tasks` if none or several match."""
        __tracebackhide__ = True
        matching = self.among(tasks)
        if len(matching) == 1:
            return matching[0]
        number = f"{len(matching)} captured tasks match" if matching else "no captured task matches"
        listing = self._nearest_first(tasks) if tasks else f"  {let_through.why_nothing}"
        hint = f"\n{let_through.hint}" if tasks and not matching and let_through.hint else ""
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
        return ", ".join(self._differences(task)) or "matches" if self.match(task) else "another task"

    def _differences(self, task: CapturedTask) -> list[str]:
        actual = _by_parameter(self.target, task)
        differences = []
        for name, value in self.arguments.items():
            if name not in actual:
                has = ", ".join(actual) or "none"
                differences.append(f"it has no argument {name!r} (it has {has})")
            elif value is not actual[name] and value != actual[name]:
                differences.append(f"{name} is {safe_repr(actual[name])}, not {safe_repr(value)}")
        return differences


def _by_parameter(target: Target | None, task: CapturedTask) -> dict[str, Any]:
    """Return the arguments, for a decorator's ``wrapper(*args, **kwargs)`` by the decorated function's parameters."""
    arguments, function = task.arguments, coroutine_function(target)
    if function is None or arguments.keys() != {"args", "kwargs"}:
        return arguments
    bound = bound_arguments(inspect.signature(function), arguments["args"], arguments["kwargs"])
    return arguments if bound is None else bound
