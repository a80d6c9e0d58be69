"""What docs/explore.md shows of a failure is what happens."""

import re
from pathlib import Path

import pytest

EXPLORE = (Path(__file__).parents[1] / "docs" / "explore.md").read_text(encoding="utf-8")


def without_lock(example: str) -> str:
    """The example as somebody writes it who has not thought of a lock."""
    head, body, rest = re.split(r" +async with self\.lock:.*\n((?: {12}.*\n)+)", example)
    return head + re.sub(r"(?m)^ {4}", "", body) + rest


def test_the_failure_it_shows_is_the_real_one(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    example, shown = re.findall(r"```(?:python|text)\n(.*?)```", EXPLORE, re.DOTALL)[:2]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "80")
    pytester.makepyfile(test_shop=without_lock(example))
    result = pytester.runpytest_inprocess("-p", "pytest_background_tasks.plugin")
    result.assert_outcomes(failed=1)
    assert shown in result.stdout.str()
