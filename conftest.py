"""The README and docs/ hold to the letter: their Python runs, and what they show of pytest is what it prints.

A block whose first line names a file (``# shop.py``) is that file of its page's project; a console block (``$ pytest``)
is run in the project of all files above it. Any other Python block is a project of its own.
"""

import asyncio
import gc
import re
import shlex
import sys
import traceback
from importlib.metadata import version

import fastapi  # noqa: F401 - else a block loads it, it goes with the block, and the next has a second one
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

pytest_plugins = ["pytester"]
collect_ignore = ["docs/conf.py"]
# To read, to be put together, and to fail.
collect_ignore_glob = ["tests/typing/*", "tests/capture/creation_apis/*", "tests/monitor/programs/*", "docs/pictures/*"]

if sys.version_info < (3, 11, 8):
    # There `ast.parse` fails if another call of it comes in between (gh-106905): pytest parses a generated project, the
    # garbage collector finds a task that has failed, and the lines of its traceback are parsed for their carets.
    traceback._extract_caret_anchors_from_line_segment = lambda _: None

if version("pytest-asyncio").startswith(("1.0.", "1.1.", "1.2.")):
    # It makes a loop that it never closes. Else the garbage collector finds that in another generated project, where
    # warnings are errors.
    asyncio.BaseEventLoop.__del__ = lambda loop: loop.is_closed() or loop.close()

FILE = re.compile(r"^```\w+\n(# ([\w/]+\.\w+)\n.*?)^```$", re.MULTILINE | re.DOTALL)


if sys.version_info < (3, 14):  # from there on Hypothesis misses who refers to its random numbers

    def pytest_collection_finish() -> None:
        """What is loaded stays: let the garbage collector pass it over.

        Pytest looks for garbage at the end of each session, 8.4 five times over, and most tests run a session of a
        generated project.
        """
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pytest prints in a test does not depend on where the tests run."""
    monkeypatch.setenv("COLUMNS", "80")  # else as wide as the terminal
    for name in ("CI", "BUILD_NUMBER"):  # with them the summary's lines are whole
        monkeypatch.delenv(name, raising=False)


def run_python(example: Example) -> None:
    """Run the block as a project of its own, with every warning an error; what it shows must pass."""
    if re.match(r"# [\w/]+\.py\n", str(example.parsed)):
        assert "\n```console\n$ pytest" in example.document.text[example.region.end :], "nothing runs this file"
        return
    pytester = example.namespace["pytester"]
    pytester.makepyfile(test_example=str(example.parsed))
    assert run_pytest(example, "error").ret == 0, "the block does not pass"


def run_console(example: Example) -> None:
    """Run the command in the first line; what is shown below it is printed, but for what ``...`` stands for."""
    command, _, shown = str(example.parsed).partition("\n")
    if not command.startswith("$ pytest"):
        return
    project = example.namespace["pytester"].path
    for source, name in FILE.findall(example.document.text[: example.region.start]):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    example.namespace["monkeypatch"].setenv("COLUMNS", "100")
    printed = run_pytest(example, "default", "-p", "no:cacheprovider", *shlex.split(command)[2:]).stdout.str()
    rest = everywhere_the_same(printed.replace(str(project), "/srv"))
    for part in re.split(r"^\.\.\.$", everywhere_the_same(shown), flags=re.MULTILINE):
        if part.strip():
            _, found, rest = rest.partition(part.strip("\n"))
            assert found, f"this is not printed:\n{part}\nprinted is:\n{printed}"


def run_pytest(example: Example, warnings: str, *arguments: str):
    """Run pytest in the folder of the example, with us and the plugins that its page is about."""
    pytester, monkeypatch = example.namespace["pytester"], example.namespace["monkeypatch"]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(pytester.path)
    monkeypatch.syspath_prepend(pytester.path)
    plugins = ["pytest_background_tasks.plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin"]
    if "import aiohttp" in example.document.text or "from aiohttp" in example.document.text:
        plugins.append("pytest_aiohttp.plugin")
    # pytest-asyncio 1.0, the oldest that we support, leaves a loop unclosed, which may come to light here.
    options = ["-W", warnings, "-W", "ignore:unclosed:ResourceWarning"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    options += [word for plugin in plugins for word in ("-p", plugin)]
    return pytester.runpytest_inprocess(*options, *arguments)


def everywhere_the_same(text: str) -> str:
    """Without what differs from machine to machine and from Python to Python."""
    text = re.sub(r"\n[E ]* *[~^]+(?=\n)", "", text)  # marks under the call that fails, since 3.13
    text = re.sub(r"\bin [\d.e-]+ ?s\b", "in N s", text)
    text = re.sub(r"(?m)([=_-])\1{3,}", r"\1\1\1", text)
    return re.sub(r"Task-\d+", "Task-N", text)


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=run_python),
        CodeBlockParser(language="console", evaluator=run_console),
    ],
    patterns=["README.md", "docs/**/*.md", "docs/*.md"],
    fixtures=["pytester", "monkeypatch"],
).pytest()
