"""Every Python block of the README and of docs/ is run as the small test project that it is."""

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

pytest_plugins = ["pytester"]
# To read, to be put together, and to fail.
collect_ignore_glob = ["tests/typing/*", "tests/ways_in/*", "tests/watched/*", "docs/pictures/*"]


def run_as_project(example: Example) -> None:
    """Run the block in a project of its own, with every warning an error; what it shows must pass."""
    pytester, monkeypatch = example.namespace["pytester"], example.namespace["monkeypatch"]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(pytester.path)
    pytester.makepyfile(test_example=str(example.parsed))
    plugins = ("-p", "pytest_background_tasks.plugin", "-p", "pytest_asyncio.plugin", "-p", "anyio.pytest_plugin")
    # pytest-asyncio 1.0, the oldest that we support, leaves a loop unclosed, which may come to light here.
    options = (
        "-W",
        "error",
        "-W",
        "ignore:unclosed:ResourceWarning",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )
    result = pytester.runpytest_inprocess(*plugins, *options)
    assert result.ret == 0, "the block does not pass"


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=run_as_project)],
    patterns=["README.md", "docs/*.md"],
    excludes=["docs/design.md"],  # it shows what is yet to be built
    fixtures=["pytester", "monkeypatch"],
).pytest()
