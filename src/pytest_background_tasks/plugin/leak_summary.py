"""The leaks of a session, by the line that creates the tasks, so that a large suite can be cleaned up step by step.

Each leak is a property of the teardown report of its test, and thus travels through xdist and into JUnit XML.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from .._introspect.text import plural
from .report_properties import values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROPERTY = "background_tasks_leaked"


class Leak(NamedTuple):
    """The tasks that leak from one line, counted by test."""

    line: str
    tests: Counter[str]


def leaks_in(reports: Iterable[Any]) -> list[Leak]:
    """Return the leaks in `reports`, worst first. If a test was run several times, its worst run counts."""
    by_line: dict[str, Counter[str]] = {}
    for report in reports:
        if getattr(report, "when", None) == "teardown":
            lines = Counter(map(str, values_of(PROPERTY, report.user_properties)))
            for line, count in lines.items():
                tests = by_line.setdefault(line, Counter())
                tests[report.nodeid] = max(tests[report.nodeid], count)
    return [Leak(*leak) for leak in sorted(by_line.items(), key=lambda leak: (-leak[1].total(), leak[0]))]


def summary(leaks: list[Leak]) -> Iterator[str]:
    """Yield the lines for pytest's terminal summary."""
    tasks = sum(leak.tests.total() for leak in leaks)
    tests = len(set().union(*(leak.tests for leak in leaks)))
    yield f"{plural(tasks, 'task')} in {plural(tests, 'test')}, by the line that created them:"
    for line, counts in leaks:
        yield f"{counts.total():6d} in {plural(len(counts), 'test')}: {line}"
