"""Explored tests with Hypothesis' ``@given``: every example is explored.

Private name of Hypothesis used here: ``_hypothesis_internal_use_settings``, the settings of a test. The deadline is
meant for one call of the test, not for the many of an exploration; and the phase ``explain`` would name lines of the
explorer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from types import SimpleNamespace
from typing import Any, NamedTuple

from .marks import inner_test

_SETTINGS = "_hypothesis_internal_use_settings"


def is_given(test: Any) -> bool:
    """Return True if Hypothesis calls the test."""
    return inner_test(test) is not test


class Example(NamedTuple):
    """A test, with the values that Hypothesis has chosen for it."""

    test: Callable[..., Any]
    values: dict[str, Any]

    def of(self, instance: object) -> Callable[..., Any]:
        """Return the test as a method of `instance`, unless it is None."""
        method: Callable[..., Any] = self.test if instance is None else self.test.__get__(instance)
        return method

    def called_with(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that looks to a runner like the one that ``@given`` makes, and calls `test` once."""

        def call(**fixtures: Any) -> Any:
            return handle.inner_test(**self.values, **fixtures)

        handle = call.hypothesis = SimpleNamespace(inner_test=test)  # type: ignore[attr-defined]  # as Hypothesis does
        return call


class _FixtureValue:
    """The place of a fixture in a call of Hypothesis; each run sets up the fixture anew."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<fixture {self._name}>"


def run_examples(item: Any, explore_example: Callable[[Example], None]) -> None:
    """Let Hypothesis choose the examples of a test, and call `explore_example` with each."""
    __tracebackhide__ = True
    handle, others = item.obj.hypothesis, set(item._fixtureinfo.argnames)
    test = handle.inner_test
    if item.instance is not None:  # new in each run, like the fixtures
        others.add(next(iter(signature(test).parameters)))

    @wraps(test)
    def explore_one(*_: Any, **values: Any) -> None:
        __tracebackhide__ = True
        explore_example(Example(test, {name: value for name, value in values.items() if name not in others}))

    del explore_one.__wrapped__  # otherwise it would look like a coroutine function to a runner
    handle.inner_test = explore_one
    try:
        with _settings_for_exploring(getattr(item.obj, "__func__", item.obj)):
            item.obj(**{name: _FixtureValue(name) for name in item._fixtureinfo.argnames})
    finally:
        handle.inner_test = test


@contextmanager
def _settings_for_exploring(test: Any) -> Iterator[None]:
    from hypothesis import Phase, settings

    before = getattr(test, _SETTINGS, None)
    asked: Any = before or settings.default
    phases = [phase for phase in asked.phases if phase is not Phase.explain]
    setattr(test, _SETTINGS, settings(asked, deadline=None, phases=phases))
    try:
        yield
    finally:
        if before is None:
            delattr(test, _SETTINGS)
        else:
            setattr(test, _SETTINGS, before)
