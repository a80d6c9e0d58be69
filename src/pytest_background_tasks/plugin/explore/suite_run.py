"""One test under ``pytest --explore``: its usual run, untouched, and then its exploration.

The usual run is torn down before the exploration begins: a second set of the test's own fixtures would meet the first
one at a lock, a table or a patched name. An error in that teardown is raised where pytest itself tears the test down.

Private names of pytest used here, tested from 8.4 on: ``_setupstate`` of a session, ``_excinfo`` of a method of a
``TestCase``, and the stash key of a test that is expected to fail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from traceback import walk_tb
from typing import Any, NamedTuple

import pytest
from _pytest.skipping import xfailed_key

from ..._explore.helper_thread import LIMIT
from ..._explore.result import Exploration
from ..._introspect import real_clock
from ..._introspect.garbage_collection import own_garbage_collected
from ..._introspect.location import definition, raising_locations
from ..._introspect.project_code import PACKAGE
from ..._introspect.untrusted import code_of_function
from ...errors import ExplorationError, NonDeterministicTest, UncontrolledOperation
from ..project import project_code
from . import reasons
from .given import is_given
from .marks import NO_EXPLORE, async_test_of, inner_test
from .other_loops import asked_loops
from .quiet import Captured, ExtraRuns, quiet, restoring
from .reasons import Reason
from .replay import replay_line
from .run_test import exploration_of, exploring, fail_with, is_of_timeout
from .settings import options_in_suite
from .stash import EXPLORATION, ON_FAILURE
from .suite_outcome import SuiteOutcome, explored, first_line, run_as_usual

OUTCOME: pytest.StashKey[SuiteOutcome] = pytest.StashKey()
"""The outcome of a test, from its usual run on."""


class UsualRun(NamedTuple):
    """The usual run of a test that has passed, as far as its exploration has to know it.

    Attributes:
        thread_limit: the number of seconds that a function may take in a thread of an explored run.
        properties: the number of properties that the report had before the run.
    """

    thread_limit: float
    properties: int


USUAL: pytest.StashKey[UsualRun] = pytest.StashKey()

SECONDS: pytest.StashKey[float] = pytest.StashKey()
"""The duration of the teardown that follows the usual run, and of the exploration, in seconds of real time."""

TEARDOWN_OUTPUT: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()
"""The captured output of that teardown, by the name of its section."""

TEARDOWN_ERROR: pytest.StashKey[BaseException] = pytest.StashKey()
"""The error of that teardown."""

ENDS_SESSION = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)
_OF_FIXTURE = ("in the setup of a fixture", "in the teardown of a fixture")  # notes of a program
_OF_BUGS = (AttributeError, LookupError, NameError)
_PATIENCE = 20  # how often longer than the usual run a function may take in a thread
_LEAST_SECONDS = 0.5
_UNSUITABLE = ("virtual_time", "subtests")


def reason_before(item: Any, excluded: list[str], loop: str | None) -> tuple[Reason, str] | None:
    """Return the reason for which a test is not explored, and its detail; None if it may be explored.

    Args:
        item: the test, before its setup.
        excluded: patterns of the ids of tests that are not explored.
        loop: the value of ``--explore-loop``.
    """
    if async_test_of(item) is None:
        return reasons.NOT_ASYNC, ""
    if item.get_closest_marker(NO_EXPLORE) or any(_matches(item.nodeid, pattern) for pattern in excluded):
        return reasons.EXCLUDED, ""
    if is_given(item.obj):
        return reasons.HYPOTHESIS, ""
    if item.stash.get(xfailed_key, None):  # of the marks whose conditions are true; known from the setup on
        return reasons.EXPECTED, ""
    for name in _UNSUITABLE:
        if name in item.fixturenames:
            return reasons.FIXTURE, name
    if loop is None and (asked := asked_loops(item)):
        return reasons.LOOP, ", ".join(asked)
    return None


def _matches(test: str, pattern: str) -> bool:
    return pattern in (test, test.partition("::")[0]) or fnmatchcase(test, pattern)


def explore_after_usual_run(item: Any, usual: Callable[[], object], *, only_report: bool) -> None:
    """Run a test as usual, tear it down, explore it, and raise its failure under a deviation.

    Args:
        item: the test, after its setup.
        usual: the function that runs it.
        only_report: True if a failure under a deviation does not fail the test.
    """
    __tracebackhide__ = True
    if ON_FAILURE in item.stash:  # the debugger calls a test again that has failed under a deviation
        explore(item, only_report=only_report)
    elif run_usual(item, usual):
        began = real_clock.monotonic()
        try:
            if _tear_down(item):
                explore(item, only_report=only_report)
        finally:
            item.stash[SECONDS] = real_clock.monotonic() - began


def run_usual(item: Any, usual: Callable[[], object]) -> bool:
    """Run a test as usual; return True if it can be explored afterwards."""
    __tracebackhide__ = True
    location = location_of_test(item)
    item.stash[OUTCOME] = run_as_usual(reasons.NOT_PASSED, location=location)
    properties, started, test = len(item.user_properties), real_clock.monotonic(), item.obj
    usual()
    item.obj = test  # pytest-asyncio 1.0 leaves a function that is not async
    limit = min(LIMIT, max(_LEAST_SECONDS, _PATIENCE * (real_clock.monotonic() - started)))
    if getattr(item, "_excinfo", None):  # of a TestCase, which reports it later
        return False
    backend = getattr(item, "funcargs", {}).get("anyio_backend", "asyncio")
    if "asyncio" not in backend:
        item.stash[OUTCOME] = run_as_usual(reasons.BACKEND, str(backend), location)
        return False
    item.stash[OUTCOME] = run_as_usual(reasons.UNFINISHED, location=location)
    item.stash[USUAL] = UsualRun(limit, properties)
    return True


def _tear_down(item: Any) -> bool:
    """Tear down the fixtures of function scope; return False if that fails."""
    captured = Captured(item)
    for name, text in captured.take():
        item.add_report_section("call", name, text)
    try:
        item.session._setupstate.teardown_exact(_Sibling(item))
    except ENDS_SESSION:
        raise
    except BaseException as error:  # raised again in the teardown
        item.stash[OUTCOME] = run_as_usual(reasons.NOT_PASSED, location=location_of_test(item))
        item.stash[TEARDOWN_ERROR] = error
        return False
    finally:
        item.stash[TEARDOWN_OUTPUT] = captured.take()
    return True


class _Sibling:
    """A test that would run next, and that needs all wider fixtures of `item`."""

    def __init__(self, item: Any) -> None:
        self._item = item

    def listchain(self) -> list[Any]:
        """Return the nodes that stay set up, as pytest asks for them."""
        return [*self._item.listchain()[:-1], self]


def explore(item: Any, *, only_report: bool) -> None:
    """Explore a test, and raise its failure under a deviation.

    Args:
        item: the test; its usual run has passed, and its fixtures of function scope are not set up.
        only_report: True if a failure under a deviation does not fail the test.
    """
    __tracebackhide__ = True
    if ON_FAILURE in item.stash:
        with exploring(item):
            failure = item.stash[EXPLORATION].failure
            assert failure is not None
            failure.reproduce(item.stash[ON_FAILURE])
        return
    began, captured, restore, exploration = real_clock.monotonic(), Captured(item), restoring(item), None
    usual = item.stash[USUAL]
    del item.user_properties[usual.properties :]  # a run does not see those of another
    with quiet(item) as runs, own_garbage_collected():  # it warns now, unheard, and not in a later test
        try:
            exploration, outcome = _explored(item, runs, usual.thread_limit)
        except ENDS_SESSION:
            raise
        except BaseException as error:  # anything else is a reason, and not a failure of the test
            outcome = _reason_of(item, error, real_clock.monotonic() - began)
            del error
    item.stash[OUTCOME] = outcome
    if exploration is None or exploration.failure is None or only_report:
        captured.take()
        restore()
        return
    sys.stdout.write(runs.output.getvalue())
    fail_with(item, exploration)


def _explored(item: Any, runs: ExtraRuns, thread_limit: float) -> tuple[Exploration | None, SuiteOutcome]:
    options = {"seed": item.nodeid, **options_in_suite(item.config)}
    with exploring(item) as fixtures:
        exploration = exploration_of(item, options, fixtures, in_suite=thread_limit, before_run=runs.begin)
    failure = exploration.failure
    if failure is not None and (not failure.schedule or _is_ours(failure.error)):
        reason = reasons.SETUP if _is_of_fixture(failure.error) else reasons.DEFAULT_ORDER
        reason = reasons.ERROR if _is_ours(failure.error) else reason
        return None, outcome_of(item, reason, failure.error, exploration.seconds)
    replay = "" if failure is None else replay_line(item, str(failure.schedule))
    return exploration, explored(exploration, options["max_schedules"], replay)


def _reason_of(item: Any, error: BaseException, seconds: float) -> SuiteOutcome:
    if isinstance(error, UncontrolledOperation):
        reason = reasons.OF_KIND[error.kind]
    elif isinstance(error, NonDeterministicTest):
        reason = reasons.DIFFERENT
    elif _is_of_fixture(error):
        reason = reasons.SETUP
    elif is_of_timeout(error):
        reason = reasons.TIMEOUT
    elif isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception)):
        reason = reasons.SKIPS
    elif isinstance(error, pytest.UsageError):
        reason = reasons.FIXTURE
    elif isinstance(error, ExplorationError):
        reason = reasons.LOOP
    else:
        reason = reasons.ERROR
    return outcome_of(item, reason, error, seconds)


def outcome_of(item: Any, reason: Reason, error: BaseException, seconds: float = 0.0) -> SuiteOutcome:
    """Return the outcome of a test that is not explored because of an error."""
    return run_as_usual(reason, first_line(error), _location_of(item, error), seconds)


def _is_ours(error: BaseException) -> bool:
    """Return True for a bug of the plugin: its own code has raised what it never raises on purpose."""
    frames = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    return isinstance(error, _OF_BUGS) and bool(frames) and frames[-1].startswith(PACKAGE)


def _is_of_fixture(error: BaseException) -> bool:
    return any(str(note).startswith(_OF_FIXTURE) for note in getattr(error, "__notes__", ()))


def _location_of(item: Any, error: BaseException) -> str:
    """Return the innermost line of the project that raised `error`, else the line of the test."""
    with suppress(Exception):  # the error may be of any kind
        if places := raising_locations(error, project_code(item.config)):
            return str(places[-1])
    return location_of_test(item)


def location_of_test(item: Any) -> str:
    """Return the line at which a test is defined."""
    code = code_of_function(inner_test(item.obj)) if isinstance(item, pytest.Function) else None
    return "" if code is None else str(definition(code))
