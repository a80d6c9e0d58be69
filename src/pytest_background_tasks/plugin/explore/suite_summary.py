"""The summary of ``pytest --explore``, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from ..._explore.helper_thread import LIMIT
from ..._explore.not_varied import ALL_PRESENT, not_varied
from ..._explore.options import Options
from ..._introspect.text import plural
from .reasons import NOT_ASYNC, REASONS
from .suite_outcome import SuiteOutcome


def _not_varied(options: Mapping[str, Any]) -> list[str]:
    """Return what an exploration with these options does not vary."""
    return [each.text for each in not_varied(Options.of(options).in_suite(LIMIT), ALL_PRESENT)]


def summary(
    outcomes: Mapping[str, SuiteOutcome], options: Mapping[str, Any], *, verbosity: int, width: int
) -> Iterator[str]:
    """Yield the lines of the summary.

    Args:
        outcomes: the outcome of each test, by its id.
        options: the options of the explorations.
        verbosity: pytest's; from 1 on, every test that was run as usual is listed, below 0 none.
        width: the width of the terminal, in columns.
    """
    explored = {test: each for test, each in outcomes.items() if each.verdict is not None}
    failed = {test: each for test, each in explored.items() if each.verdict == "failed"}
    yield _counted(list(explored.values()), options)
    yield f"{plural(len(failed), 'test')} failed under a deviation from asyncio's default order"
    for test, each in failed.items():
        yield f"    {test}"
        yield f"        {each.error}"
        yield f"        {each.replay}"
    yield from _passing(explored, options)
    for test, each in explored.items():
        yield from (f"accepted: {test} fails under {schedule}" for schedule in each.accepted)
        if not options.get("replay"):
            yield from (f"no longer fails: {test} under {schedule}" for schedule in each.now_passing)
    yield from _as_usual(outcomes, verbosity)
    yield from wrap(f"Not varied: {'; '.join(_not_varied(options))}.", width)


def _counted(explored: list[SuiteOutcome], options: Mapping[str, Any]) -> str:
    if options.get("replay"):
        return f"{plural(len(explored), 'test')} replayed"
    one_order = sum(each.distinct == 1 and not each.stopped_by for each in explored)
    return (
        f"{plural(len(explored), 'test')} explored in {plural(sum(each.runs for each in explored), 'run')}: "
        f"{len(explored) - one_order} with more than one order, {one_order} with one order only"
    )


def _passing(explored: Mapping[str, SuiteOutcome], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the tests that did not fail are known to do."""
    verdicts = Counter(each.verdict for each in explored.values())
    if count := verdicts["exhaustive"]:
        yield f"{plural(count, 'test')} passed in every order of what was varied (exhaustive)"
    if count := verdicts["bounded"]:
        deviations = plural(options["max_deviations"], "deviation")
        yield f"{plural(count, 'test')} passed in every order with at most {deviations} (bounded)"
    if count := verdicts["incomplete"]:
        yield f"{plural(count, 'test')} passed in all orders until a limit was reached (incomplete):"
    for test, each in explored.items():
        if each.stopped_by:
            limit = f"--explore-max-{each.stopped_by}={options[f'max_{each.stopped_by}']:g}"
            yield f"    {test}: {plural(each.runs, 'run')}; {limit}"


def _as_usual(outcomes: Mapping[str, SuiteOutcome], verbosity: int) -> Iterator[str]:
    if usual := sum(each.verdict is None for each in outcomes.values()):
        yield f"{plural(usual, 'test')} run as usual only:"
    for reason in REASONS:
        tests = {test: each for test, each in outcomes.items() if each.reason == reason.code}
        if not tests:
            continue
        yield f"    {len(tests):5} {reason.text}"
        if verbosity < 0 or reason is NOT_ASYNC:
            continue
        for test, each in list(tests.items())[: None if verbosity else 1]:
            yield f"              {each.location or test}{': ' if each.detail else ''}{each.detail}"
        if verbosity:
            yield f"              to have it explored: {reason.advice}"


def as_json(outcomes: Mapping[str, SuiteOutcome], options: Mapping[str, Any]) -> str:
    """Return the outcomes as JSON: a list of tests, and the list of reasons with what to do."""
    used = {each.reason for each in outcomes.values()}
    document = {
        "version": 1,
        "tests": [{"test": test, **each.as_dict()} for test, each in outcomes.items()],
        "reasons": {
            reason.code: {"text": reason.text, "advice": reason.advice} for reason in REASONS if reason.code in used
        },
        "not_varied": _not_varied(options),
    }
    return json.dumps(document, indent=2) + "\n"
