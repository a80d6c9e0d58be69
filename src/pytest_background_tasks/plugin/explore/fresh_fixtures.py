"""Fresh fixtures for each run of an explored test; what the suite has cached is set aside meanwhile.

Each run sets up anew the fixtures of function scope, and those of every scope that are bound to an event loop: async
fixtures, the fixtures of the runner plugins, and all that request one of them. Other fixtures of wider scope are kept.

pytest has no public way to set up a test's fixtures twice. Private names of pytest used here, tested from 8.4 on:
``_setupstate`` of a session and its ``stack``; ``FixtureDef``, its ``finish`` among finalizers, and its
``_finalizers``; ``_initrequest``, ``_request``, ``_instance`` and ``_obj`` of an item; the stash key of ``tmp_path``.
Of anyio's plugin: the runner that it keeps, the number of its users, and the runner's task.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from _pytest.fixtures import FixtureDef
from _pytest.tmpdir import tmppath_result_key

from ..._explore.run import Run
from ..._introspect.untrusted import attribute, module_name

_RUNNERS = ("pytest_asyncio", "pytest_aiohttp", "aiohttp.pytest_plugin")
_LOOPS = frozenset(
    {"anyio_backend", "event_loop", "event_loop_policy", "loop", "loop_factory", "_asyncio_loop_factory"}
)
"""The names of fixtures that are an event loop, or choose one, also if a suite defines them itself."""


def is_async(function: Any) -> bool:
    """Return True for the function of an async fixture."""
    function = inspect.unwrap(function)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def creates_loop(fixture: Any) -> bool:
    """Return True if the fixture is, or chooses, the loop of a runner, or if that creates one to run the fixture."""
    return fixture.argname in _LOOPS or is_async(fixture.func) or module_name(fixture.func).startswith(_RUNNERS)


def needs_loop(fixture: Any) -> bool:
    """Return True if the fixture creates the loop of a runner, or is set up with that loop as the current one."""
    return creates_loop(fixture) or attribute(fixture.func, "_force_asyncio_fixture") is True


def set_up_kept(item: Any) -> None:
    """Set up, in place of all fixtures of a test, those that are not set up anew in each run."""
    del item.setup  # replaced by this function, for this call
    item.session._setupstate.stack[item][0].remove(item.teardown)
    known = item._fixtureinfo.name2fixturedefs
    fixtures = [known[name][-1] for name in item.fixturenames if name in known]
    bound = _bound_to_loop(fixtures)
    for fixture in fixtures:
        if fixture.scope != "function" and fixture not in bound:
            item._request.getfixturevalue(fixture.argname)


class FreshFixtures:
    """A context manager around the runs of one test, between two of which none of its fresh fixtures is set up.

    Args:
        item: the test; `set_up_kept` has set up its other fixtures, or all of them have been set up and torn down.
    """

    def __init__(self, item: Any) -> None:
        self._item = item
        self._stack: dict[Any, Any] = item.session._setupstate.stack

    def __enter__(self) -> FreshFixtures:
        self._own = self._stack.pop(self._item, None)
        self._usual = self._item.funcargs, self._item._request
        self._aside = _set_aside(self._stack)
        self._aside.__enter__()
        self._before = {id(each) for finalizers, _ in self._stack.values() for each in finalizers}
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.__exit__(None, None, None)
        if self._own is not None:
            self._stack[self._item] = self._own
        else:  # hooks that follow see the values of the usual run
            self._item.funcargs, self._item._request = self._usual
        self._bind_again()

    def set_up(self) -> None:
        """Set up the fixtures for a run, and a new instance of the test's class."""
        item = self._item
        self._bind_again()
        item.stash.setdefault(tmppath_result_key, {})  # tmp_path's second teardown needs it
        if plugin := _plugin_of_anyio():
            plugin.update(_NO_RUNNER)  # it keeps one that could not be closed
        item._initrequest()
        item.session._setupstate.setup(item)

    def _bind_again(self) -> None:
        for name in ("_instance", "_obj"):
            vars(self._item).pop(name, None)
        self._item.obj  # noqa: B018 - pytest shows the whole traceback of an item without it

    def tear_down(self, run: Run) -> None:
        """Tear down what `set_up` has set up, in reverse order, even if it has failed.

        Raises:
            BaseException: the error of a fixture, or a group of several.
        """
        finalizers = list(self._finalizers())
        errors = []
        while finalizers:
            if run.stop is not None:
                _cancel_runner_of_anyio(run)
            try:
                finalizers.pop()()
            except BaseException as error:  # the other finalizers still run
                errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else BaseExceptionGroup("errors in teardown", errors[::-1])

    def _finalizers(self) -> Iterator[Callable[[], object]]:
        """Yield the finalizers of a run, and remove them; the last one is to be called first."""
        own = self._stack.pop(self._item, None)
        bound = None
        for finalizers, _ in self._stack.values():
            if all(id(each) in self._before for each in finalizers):
                continue  # the usual case
            if bound is None:
                bound = [each.finish for each in _bound_to_loop(_live_fixtures(self._stack))]
            new = [each for each in finalizers if id(each) not in self._before]
            of_run = [each for each in new if isinstance(each, partial) and each.func in bound]
            yield from of_run
            finalizers[:] = [each for each in finalizers if each not in of_run]
        if own is not None:
            yield from own[0]


@contextmanager
def _set_aside(stack: dict[Any, Any]) -> Iterator[None]:
    """Make pytest and anyio forget, inside the block, the fixtures that are bound to a loop, without a teardown."""
    fixtures = _live_fixtures(stack)
    bound = _bound_to_loop(fixtures)
    finalizers = [(fixture, list(fixture._finalizers)) for fixture in fixtures]
    results = [(fixture, fixture.cached_result) for fixture in bound]
    plugin = _plugin_of_anyio()
    runner = {name: plugin[name] for name in _NO_RUNNER if name in plugin}
    for fixture in bound:
        fixture.cached_result = None
        fixture._finalizers.clear()
    try:
        yield
    finally:
        plugin.update(runner)
        for fixture, result in results:
            fixture.cached_result = result
        for fixture, before in finalizers:
            fixture._finalizers[:] = before


_NO_RUNNER = {"_current_runner": None, "_runner_stack": None, "_runner_leases": 0}


def _plugin_of_anyio() -> dict[str, Any]:
    """Return the variables of anyio's plugin, with the runner that it keeps; empty if there is none."""
    module = sys.modules.get("anyio.pytest_plugin")
    return {} if module is None or not _NO_RUNNER.keys() <= vars(module).keys() else vars(module)


def _cancel_runner_of_anyio(run: Run) -> None:
    """Cancel the task that is blocked; all fixtures and the test share one, and another can tear them down."""
    runner: Any = _plugin_of_anyio().get("_current_runner")
    task = attribute(runner, "_runner_task")
    if task is None or task.done():
        return
    loop = runner.get_loop()
    run.look_at_end(loop, run.stop)  # what follows is no longer the test
    task.cancel()
    runner._send_stream.close()
    with suppress(BaseException):  # the run has failed already
        loop.run_until_complete(task)
    runner._runner_task = None


def _live_fixtures(stack: dict[Any, Any]) -> list[Any]:
    """Return the fixtures that are set up: the finish of each is among the finalizers of a node."""
    finalizers = [each for own, _ in stack.values() for each in own if isinstance(each, partial)]
    owners = dict.fromkeys(attribute(each.func, "__self__") for each in finalizers)
    return [each for each in owners if isinstance(each, FixtureDef) and each.cached_result is not None]


def _bound_to_loop(fixtures: list[Any]) -> list[Any]:
    bound = [each for each in fixtures if needs_loop(each)]
    rest = [each for each in fixtures if not needs_loop(each)]
    names: set[str] = set()
    while new := {each.argname for each in bound} - names:
        names |= new
        bound += [each for each in rest if not names.isdisjoint(each.argnames)]
        rest = [each for each in rest if names.isdisjoint(each.argnames)]
    return bound
