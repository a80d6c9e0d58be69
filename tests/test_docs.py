"""What the pages say of tests is so."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
LINK = re.compile(r'\[[^\]]+\]\((\.\./[^) ]+\.py) "(\w+)"\)')


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.rglob("*.md") if LINK.search(path.read_text())))
def test_the_tests_that_a_page_links_are_there(page: str) -> None:
    """A link to a test names its file, and in its title the test."""
    for file, test in LINK.findall((DOCS / page).read_text()):
        assert re.search(rf"^ *(async )?def {test}\(", (DOCS / file).read_text(), re.MULTILINE), (file, test)


def test_each_of_our_cells_beside_our_peers_is_a_test() -> None:
    """We may say of ourselves only what a test shows."""
    rows = re.findall(r"^\| (?!-)([^|\n]*) \| ([^|\n]+) \|", (DOCS / "comparison.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    rows = [(feature, ours) for feature, ours in rows if not ours.startswith("this plugin")]
    assert [feature for feature, ours in rows if ours != "no" and not LINK.fullmatch(ours)] == []


def without_lock(example: str) -> str:
    """The example of docs/explore.md as somebody writes it who has not thought of a lock."""
    head, body, rest = re.split(r" +async with self\.lock:.*\n((?: {12}.*\n)+)", example)
    return head + re.sub(r"(?m)^ {4}", "", body) + rest


def test_the_failure_that_the_page_explains_is_the_real_one(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / "explore.md").read_text(encoding="utf-8")
    example, shown = re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)[:2]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "80")
    pytester.makepyfile(test_shop=without_lock(example))
    result = pytester.runpytest_inprocess("-p", "pytest_background_tasks.plugin")
    result.assert_outcomes(failed=1)
    assert shown in result.stdout.str()
