"""The HTML report of a failed test: its path, and the line that names it."""

import re
import shlex
from html import escape
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_background_tasks.plugin.explore.html_report import file_name

FAILING = """
    async def add(total, times):
        for _ in range(times):
            await asyncio.sleep(0)
        before = total[0]
        await asyncio.sleep(0)
        total[0] = before + 1

    async def both():
        total = [0]
        await asyncio.gather(add(total, 0), add(total, 1))
        assert total == [2]

    @explore
    async def test_add():
        await both()
"""


def report_paths(result: pytest.RunResult) -> list[str]:
    return re.findall("^report:  (.*)$", result.stdout.str(), re.MULTILINE)


def test_failure_ends_with_the_path_of_its_html_report(run, pytester: pytest.Pytester) -> None:
    """Below the replay line, relative to the directory in which pytest was started; git ignores the reports."""
    result = run(FAILING)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["replay:  pytest test_it.py::test_add *", "report:  .explore/test_add-*.html"])
    [picture] = report_paths(result)
    page = (pytester.path / picture).read_text(encoding="ascii")
    assert "<title>test_it.py::test_add</title>" in page
    assert "AssertionError: assert [1] == [2]" in page
    assert "pytest test_it.py::test_add --explore-replay &#x27;add#1@1+1&#x27;" in page
    assert (pytester.path / ".explore/.gitignore").read_text().endswith("\n*\n")


@pytest.mark.parametrize("options", [(), ("--explore-last",)], ids=str)
def test_html_report_of_a_suite_names_its_test_and_a_command_that_replays(
    suite, shop: str, options: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """And no decorator, which the test does not have."""
    source = shop.replace("async def test_shop", "@pytest.mark.parametrize('name', ['a b'])\n    async def test_shop")
    source = source.replace("test_shop()", "test_shop(name)")
    result = suite(source, *options, "--explore-arrivals=sleep timer")
    page = (pytester.path / report_paths(result)[0]).read_text(encoding="ascii")
    assert "<title>test_it.py::test_shop[a b]</title>" in page
    command = "pytest 'test_it.py::test_shop[a b]' --explore --explore-arrivals 'sleep timer' --explore-replay buy@1+1"
    assert f"<code>{escape(command)}</code>" in page
    assert "buy resumes late from its sleep, at test_it.py:" in page
    assert "@explore" not in page
    again = suite(source, *shlex.split(command)[1:])
    again.stdout.fnmatch_lines(["This was a replay of one schedule; verdict: failed."])


def test_html_report_is_written_only_for_unexpected_failures(run, pytester: pytest.Pytester) -> None:
    expected = FAILING.replace("@explore", "@pytest.mark.xfail(strict=True)\n    @explore")
    passing = """
    @explore
    async def test_passes(): ...
    """
    run(expected + passing).assert_outcomes(xfailed=1, passed=1)
    assert not (pytester.path / ".explore").exists()


def test_failure_in_the_default_order_has_an_html_report(run, pytester: pytest.Pytester) -> None:
    [picture] = report_paths(run("@explore\nasync def test_it():\n    1 / 0"))
    assert "ZeroDivisionError: division by zero" in (pytester.path / picture).read_text()


def test_html_report_shows_the_errors_of_a_group_and_their_notes(run, pytester: pytest.Pytester) -> None:
    result = run(
        """
        async def job():
            error = KeyError("lost")
            error.add_note("and noted")
            raise error

        @explore
        async def test_it():
            async with asyncio.TaskGroup() as group:
                group.create_task(job())
        """
    )
    [picture] = report_paths(result)
    page = (pytester.path / picture).read_text()
    said = (
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n  KeyError: &#x27;lost&#x27;\n  and noted<"
    )
    assert said in page


@pytest.mark.parametrize("off", ["no", ""])
def test_html_report_can_be_disabled(run, pytester: pytest.Pytester, off: str) -> None:
    result = run(FAILING, f"--explore-report={off}")
    pytester.makeini(f"[pytest]\nexplore_report = {off}")
    for each in (result, run(FAILING)):
        each.assert_outcomes(failed=1)
        assert report_paths(each) == []
    assert not (pytester.path / ".explore").exists()


def test_report_directory_can_be_configured(run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line relative to the current directory, with priority; in the ini file relative to the rootdir."""
    pytester.makeini("[pytest]\nexplore_report = out/pages")
    monkeypatch.chdir(pytester.mkdir("below"))
    result = run(FAILING, "..", "--rootdir=..")
    result.stdout.fnmatch_lines("replay:  pytest ../test_it.py::test_add *")
    [by_ini] = report_paths(result)
    assert re.fullmatch(re.escape(str(pytester.path / "out/pages")) + r"/test_add-\w+\.html", by_ini)
    [by_command_line] = report_paths(run(FAILING, "..", "--rootdir=..", "--explore-report=here"))
    assert by_command_line.startswith("here/")
    assert Path(by_ini).exists()
    assert Path(by_command_line).exists()


def test_summary_names_tests_relative_to_the_current_directory(
    run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pytester.mkdir("below"))
    run("@explore\nasync def test_it(): ...", "..", "--rootdir=..").stdout.fnmatch_lines("../test_it.py::test_it")


def test_existing_directory_gets_no_gitignore(run, pytester: pytest.Pytester) -> None:
    run(FAILING, "--explore-report=.")
    assert list(pytester.path.glob("test_add-*.html"))
    assert not (pytester.path / ".gitignore").exists()


def test_failure_is_shown_even_if_its_html_report_cannot_be_written(run, pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("taken").touch()
    result = run(FAILING, "--explore-report=taken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *assert [[]1] == [[]2]",
            "replay:  pytest *",
            "report:  cannot write taken/test_add-*.html: Not a directory",
        ]
    )


def test_no_two_tests_share_an_html_report(run, pytester: pytest.Pytester) -> None:
    """Not in other directories, classes or parameters, nor if only replaced characters differ; under xdist too."""
    source = dedent(FAILING.rpartition("@explore")[0]) + dedent("""
        import asyncio, pytest
        from pytest_background_tasks import explore

        ids = ["a/b", "a-b", "../../up", "A/B", "</script>", "con", "\\u2028", "x" * 300]

        @pytest.mark.parametrize("text", ids)
        @explore
        async def test_add(text):
            await both()

        class TestIt:
            @explore
            async def test_add(self):
                await both()
    """)
    for folder in ("one", "two"):
        pytester.mkdir(folder).joinpath("test_it.py").write_text(source)
    result = run("", "--import-mode=importlib", "-n2", plugins=("xdist.plugin",))
    result.assert_outcomes(failed=18)
    made = report_paths(result)
    assert len({each.lower() for each in made}) == 18
    assert {each.name for each in (pytester.path / ".explore").iterdir()} == {
        ".gitignore",
        *(Path(each).name for each in made),
    }


@pytest.mark.parametrize(
    "nodeid", ["test_a.py::test_it[../..]", "test_a.py::test_it[\ud800]", "a.py::::", "test[[", "t.py::test_ü", ""]
)
def test_file_name_is_safe_for_any_node_id(nodeid: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*-[0-9a-f]{8}\.html", file_name(nodeid))
