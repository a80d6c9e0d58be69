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
