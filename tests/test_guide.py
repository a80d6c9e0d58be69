"""The user's guide is true to the letter."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT.parent / "shared" / "guide.md"

pytestmark = pytest.mark.skipif(
    not GUIDE.exists(), reason="the user's guide is not beside this checkout; docs/fixture.md is tested anyway"
)


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if GUIDE.exists() else []


@pytest.mark.parametrize("example", examples(), ids=["basic", "chat"] if GUIDE.exists() else [])
def test_guide_examples_run_verbatim(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, example: str) -> None:
    """The examples also pass if every warning is an error."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "chat"))
    pytester.makepyfile(example)
    plugins = ("-p", "pytest_background_tasks.plugin", "-p", "pytest_asyncio.plugin")
    result = pytester.runpytest_inprocess("-Werror", "-o", "asyncio_default_fixture_loop_scope=function", *plugins)
    result.assert_outcomes(passed=1)


def test_every_method_in_the_guide_exists_and_is_documented(background_tasks) -> None:
    """The project's documentation describes them as well."""
    names = re.findall(r"^#### `(\w+)", GUIDE.read_text(), re.MULTILINE)
    assert len(names) == 7
    own_guide = (ROOT / "docs" / "fixture.md").read_text()
    for name in names:
        assert getattr(type(background_tasks), name).__doc__
        assert re.search(rf"^`(await )?{name}", own_guide, re.MULTILINE)
    assert list(examples()), "the guide has examples"


def test_example_file_named_in_the_guide_exists() -> None:
    [path] = re.findall(r"See `(.*?)` for comprehensive examples", GUIDE.read_text())
    assert (ROOT / path).is_file()
