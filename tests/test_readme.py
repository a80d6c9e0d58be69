"""The README shows real output."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_failure_in_the_readme_is_the_actual_output(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example with a mail server that does not answer prints the output below it."""
    example, shown = re.findall(r"```(?:python|text)\n(.*?)```", README, re.DOTALL)[:2]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_mail=example.replace("sent.append(to)", 'raise ConnectionError("no server")'))
    plugins = ("-p", "pytest_background_tasks.plugin", "-p", "pytest_asyncio.plugin")
    result = pytester.runpytest_inprocess("--tb=short", "-o", "asyncio_default_fixture_loop_scope=function", *plugins)
    result.assert_outcomes(failed=1)

    def anonymous(text: str) -> str:
        without_markers = re.sub(r"\n +\^+(?=\n)", "", text)  # under the failing call, on some Pythons
        return re.sub(r"Task-\d+", "Task-N", without_markers)

    assert anonymous(shown) in anonymous(result.stdout.str())
