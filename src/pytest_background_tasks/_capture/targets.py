"""Targets: descriptions of background tasks, and how they match captured tasks."""

import asyncio
import inspect
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    from .captured_task import CapturedTask

Target: TypeAlias = Union[Callable[..., Any], str, "CapturedTask", asyncio.Task[Any]]
"""A description of background tasks: a coroutine function, a mock for one, a pattern, a captured task, a predicate.

- a coroutine function, bound or not, decorated or not: the tasks that run it (a bound method: on that object);
- an ``AsyncMock``, or the ``create_autospec`` of a coroutine function: the tasks that run a call of it;
- a `str`: an ``fnmatch`` pattern for the task's name, or for the function as ``name``, ``qualified.name``,
  ``module:qualified.name`` or ``module.qualified.name``;
- a `CapturedTask`, or the task that the code under test got: that task;
- any other callable with one argument: a predicate, called with each `CapturedTask`, returns ``True`` or ``False``.

A function that is passed to Starlette's ``add_task`` matches itself, even if it is a plain ``def``.
"""

Match: TypeAlias = Callable[["CapturedTask"], bool]


def matcher(target: Target, call: str, callees: Iterable[object] = ()) -> Match:
    """Return the function that returns True if a `CapturedTask` matches `target`.

    Args:
        target: see `Target`.
        call: the user's call as text, with ``{}`` for the target; for the error message.
        callees: the callables of Starlette background tasks. Each matches itself, and is never called as a predicate.

    Raises:
        TypeError: if `target` is not a target; the message says what was given and what to write.
    """
    from .captured_task import CapturedTask

    __tracebackhide__ = True
    if isinstance(target, str):
        return partial(_matches_pattern, target)
    if isinstance(target, CapturedTask):
        return target.__eq__
    if isinstance(target, asyncio.Task):
        return lambda captured: captured.task is target
    if any(callee is target for callee in callees):
        return lambda captured: captured.task.call.callee is target  # type: ignore[attr-defined]
    if (mock := _mock_behind(target)) is not None:
        return lambda captured: captured.task.call.callee is mock  # type: ignore[attr-defined]
    if (function := coroutine_function(target)) is not None:
        return partial(_runs, function)
    return _predicate(target, call)


def _predicate(target: Any, call: str) -> Match:
    __tracebackhide__ = True
    if inspect.iscoroutine(target):
        target.close()
        raise TypeError(_wrong(call, f"{target.__name__}()", target.__name__, "a coroutine (an unused call)"))
    if isinstance(target, (list, tuple)):
        raise TypeError(_wrong(call, "[first, second]", "*[first, second]", f"a {type(target).__name__} of them"))
    if not callable(target) or inspect.isclass(target):
        raise TypeError(_wrong(call, repr(target), "'name'", f"an object of type {type(target).__name__!r}"))
    if not _takes_one_argument(target):
        right = "lambda task: task.name == 'name'"
        raise TypeError(_wrong(call, _source(target), right, "a function that does not accept the captured task"))
    return partial(_answers_yes, target, call)


def shown(target: Target) -> str:
    """Return `target` as a reader knows it: the name of a function, or the repr of anything else."""
    names = (getattr(target, attribute, None) for attribute in ("__qualname__", "_mock_name"))
    return next((name for name in names if isinstance(name, str)), repr(target))


def _wrong(call: str, wrong: str, right: str, what: str) -> str:
    return (
        f"a target is a coroutine function, a mock, a pattern, a CapturedTask or a predicate, not {what}\n"
        f"  you wrote:  {call.format(wrong)}\n"
        f"  write:      {call.format(right)}"
    )


def _source(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "lambda: ..." if name == "<lambda>" else name


def _matches_pattern(pattern: str, captured: "CapturedTask") -> bool:
    function = captured.function
    plain_name = function.rpartition(".")[2]
    names = (captured.name, function, plain_name, f"{captured.module}:{function}", f"{captured.module}.{function}")
    return any(fnmatchcase(name, pattern) for name in names)


def _mock_behind(target: Any) -> object | None:
    from unittest.mock import NonCallableMock

    if isinstance(target, NonCallableMock):
        return target
    inner = getattr(target, "mock", None)  # create_autospec() of a function returns a function with this attribute
    return inner if isinstance(inner, NonCallableMock) else None


def coroutine_function(target: Any) -> Callable[..., Any] | None:
    """Return the coroutine function that `target` is; None if it describes tasks in another way."""
    while isinstance(target, partial):
        target = target.func
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = getattr(target, "__call__", target)  # noqa: B004  # an object whose call is a coroutine
    asynchronous = inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(inspect.unwrap(target))
    return target if callable(target) and asynchronous else None


def _runs(function: Any, captured: "CapturedTask") -> bool:
    call = captured.task.call  # type: ignore[attr-defined]
    if call.callee is not None:
        return call.callee is function or (type(call.callee) is MethodType and call.callee == function)
    codes = {getattr(layer, "__code__", None) for layer in (function, inspect.unwrap(function))}
    # A decorator's wrapper has the same code for all functions that it decorates, so the name counts as well.
    if call.code not in codes or call.function != function.__qualname__:
        return False
    owner = getattr(function, "__self__", None)
    return owner is None or next(iter(call.arguments.values()), None) is owner


def _takes_one_argument(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature: the call will show
        return True
    return True


def _answers_yes(predicate: Callable[..., Any], call: str, captured: "CapturedTask") -> bool:
    if captured.task.call.callee is predicate:  # type: ignore[attr-defined]
        return True
    answer = predicate(captured)
    if not isinstance(answer, bool):
        name = _source(predicate)
        raise TypeError(
            f"{name} was called as a predicate and returned {answer!r} for {captured!r}; a predicate returns True or "
            f"False\n  you wrote:  {call.format(name)}\n  to match a plain function passed to add_task, use a "
            f"string:  {call.format(repr(name))}"
        )
    return answer
