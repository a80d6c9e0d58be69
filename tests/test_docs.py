"""The claims about tests on the pages of the documentation are true."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_background_tasks._explore.helper_thread import LIMIT
from pytest_background_tasks._explore.not_varied import ALL_PRESENT, CONSTANTS, not_varied
from pytest_background_tasks._explore.options import Options
from pytest_background_tasks._explore.schedule import Cancel, Delay, NetworkFault, Raise, Schedule, Slow
from pytest_background_tasks._explore.trace import KINDS as ARRIVALS
from pytest_background_tasks._monitor.kinds import KINDS
from pytest_background_tasks.plugin.explore.reasons import REASONS
from pytest_background_tasks.plugin.explore.settings import IN_SUITE
from pytest_background_tasks.plugin.explore.suite_outcome import SuiteOutcome

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = Path(__file__).parents[1] / "src"
PYTHONS_OWN = {"coroutine 'BackgroundTasks.run_all_async' was never awaited"}
LINK = re.compile(r'\[[^\]]+\]\((\.\./[^) ]+\.py) "(\w+)"\)')


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.rglob("*.md") if LINK.search(path.read_text())))
def test_tests_linked_from_a_page_exist(page: str) -> None:
    """A link to a test names its file, and the title of the link names the test."""
    for file, test in LINK.findall((DOCS / page).read_text()):
        assert re.search(rf"^ *(async )?def {test}\(", (DOCS / file).read_text(), re.MULTILINE), (file, test)


def test_comparison_cells_of_this_plugin_link_to_tests() -> None:
    """The comparison with other projects claims only what a test shows."""
    rows = re.findall(r"^\| (?!-)([^|\n]*) \| ([^|\n]+) \|", (DOCS / "comparison.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    rows = [(feature, ours) for feature, ours in rows if not ours.startswith("this plugin")]
    assert [feature for feature, ours in rows if ours != "no" and not LINK.fullmatch(ours)] == []


def test_documented_forms_of_the_replay_text_are_parsed() -> None:
    table = (DOCS / "how-to" / "replay.md").read_text().partition("## The replay text")[2]
    forms = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert forms[0] == "buy@0"
    assert {form: set(Schedule.parse(form)) for form in forms if re.search("[+!]", form)} == {
        "buy@1+2": {Delay("buy", 1, by=2)},
        "buy@1!cancel": {Cancel("buy", 1)},
        "buy@1!cancel+0": {Cancel("buy", 1, after=0)},
        "buy@1!slow": {Slow("buy", 1)},
        "buy@1!slow-2": {Slow("buy", 1, timer_after=2)},
        "buy@1!ConnectionError": {Raise("buy", 1, "ConnectionError")},
        "buy:received@1!reset-12": {NetworkFault("buy:received", 1, "reset", after=12)},
        "buy:sent+2": {Delay("buy:sent", 0, by=2)},
        "pool-<n>-worker@1+1": {Delay("pool-<n>-worker", 1, by=1)},
        "client:timer#2+1": {Delay("client:timer#2", 0, by=1)},
    }
    assert Schedule.parse("") == Schedule()
    assert Schedule.parse("client#2/buy@1+1") == Schedule([Delay("client#2/buy", 1)])


def test_headings_of_the_troubleshooting_page_occur_in_messages() -> None:
    """Each is a part of a message, or several parts with a semicolon between them; "…" stands for what varies."""
    page = (DOCS / "troubleshooting.md").read_text()
    headings = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert len(headings) > 30
    texts = [text for path in SOURCE.rglob("*.py") for text in _strings_in(path)]
    fragments = {fragment.strip() for heading in headings for fragment in re.split("; | ?… ?s?", heading)}
    assert {fragment for fragment in fragments - PYTHONS_OWN if not _occurs(fragment, texts)} == set()


def _occurs(fragment: str, texts: list[str]) -> bool:
    """Return True if `fragment` is in one of `texts`, or its beginning in one and its end in another."""
    if any(fragment in text for text in texts):
        return True
    cuts = [match.start() for match in re.finditer(r"\b", fragment)]
    return any(
        len(fragment[:cut]) > 8
        and any(fragment[:cut].rstrip(" ,") in text for text in texts)
        and len(fragment[cut:]) > 5
        and any(fragment[cut:] in text for text in texts)
        for cut in cuts
    )


def _strings_in(path: Path) -> Iterator[str]:
    """Yield all strings in the code of `path`, with "…" for the expressions in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_table_of_findings_has_every_kind_with_its_default() -> None:
    table = (DOCS / "watch.md").read_text().partition("## What is reported")[2].partition("\n\nEach")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| `(\w+)` \|$", table, re.MULTILINE)
    assert rows == [(name, kind.default) for name, kind in KINDS.items()]


SUITE = (DOCS / "how-to" / "suite.md").read_text()
EXPLORE = (DOCS / "explore.md").read_text()


def _rows_of(page: str, heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table below a heading, without the titles."""
    table = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", page.partition(f"# {heading}\n")[2], re.MULTILINE)
    assert table, heading
    return [tuple(cell.strip() for cell in row.strip("|").split(" | ")) for row in table[1].splitlines()]


def test_table_of_reasons_has_every_reason_with_its_advice() -> None:
    rows = sorted(_rows_of(SUITE, "Reasons"))
    assert rows == sorted((f"`{reason.code}`", reason.text, reason.advice) for reason in REASONS)


def test_table_of_what_is_not_varied_is_that_of_the_summary() -> None:
    assert [row[0] for row in _rows_of(SUITE, "What is varied, and what is not")] == [
        each.text for each in not_varied(Options.of(IN_SUITE).in_suite(LIMIT), ALL_PRESENT)
    ]


def test_table_of_what_a_verdict_names_is_complete() -> None:
    rows = [(name, text, option.strip("`")) for name, text, option in _rows_of(EXPLORE, "Not varied")]
    assert rows == [(each.name, each.text, each.varied_by) for each in CONSTANTS]


def test_each_kind_of_arrival_is_named_if_it_is_not_varied() -> None:
    for kind in ARRIVALS:
        others = [other for other in ARRIVALS if other != kind]
        assert f"arrivals={kind!r}" in [each.varied_by for each in not_varied(Options(arrivals=others), ALL_PRESENT)]


def test_table_of_the_budget_has_the_defaults_of_a_suite() -> None:
    values = {name.strip("`"): value.strip("`") for name, value, _ in _rows_of(SUITE, "Budget")}
    assert values == {
        f"--explore-{name.replace('_', '-')}": " ".join(value) if isinstance(value, tuple) else json.dumps(value)
        for name, value in IN_SUITE.items()
    }


def test_table_of_the_json_file_has_every_key_of_an_entry() -> None:
    keys = ["test", *SuiteOutcome().as_dict()]
    assert [row[0].strip("`") for row in _rows_of(SUITE, "JSON")] == keys
    assert re.findall(r'^  "(\w+)":', SUITE, re.MULTILINE) == keys
