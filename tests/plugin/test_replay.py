"""A failing schedule outlives its session: as a line to paste, in pytest's cache, and as properties of the report."""

import json
import re
import shlex
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_background_tasks.plugin.explore.replay import quoted

SHOP = """
    class Shop:
        left = 2

        async def sell(self):
            before = self.left
            await asyncio.sleep(0)
            self.left = before - 1

    async def look_and_sell(shop):
        await asyncio.sleep(0)
        await shop.sell()

    async def sells_too_often():
        shop = Shop()
        async with asyncio.TaskGroup() as group:
            group.create_task(shop.sell())
            group.create_task(look_and_sell(shop))
        assert shop.left == 0

"""
TEST = """
    @explore(arrivals="yield")
    async def test_it():
        await sells_too_often()
"""
REPAIRED = SHOP.replace("self.left = before - 1", "self.left -= 1")
OTHER = """
    @explore
    async def test_other():
        await twice()
"""
REPLAYED = "This was a replay of one schedule; verdict: failed."
PREVIOUS_FAILURE = "This schedule failed last time and was tried first."


def replay_line(result: pytest.RunResult) -> list[str]:
    """Return the words after ``pytest`` in the replay line of a failure."""
    line = next(line for line in result.outlines if line.startswith("replay:"))
    return shlex.split(line.removeprefix("replay:  pytest "))


# The replay line.


def test_replay_line_can_be_pasted(run, pytester: pytest.Pytester) -> None:
    """In a POSIX shell, with any name of the test and its parameters."""
    source = SHOP + TEST.replace("@explore", """@pytest.mark.parametrize("kind", ["a b", "$x'"])\n    @explore""")
    source = source.replace("test_it()", "test_it(kind)")
    words = replay_line(run(source, "test_it.py::test_it[$x']"))
    assert words == ["test_it.py::test_it[$x']", "--explore-replay", "sell@1+1"]
    run(source, *words).stdout.fnmatch_lines([REPLAYED])


def test_suggested_option_shows_the_lines_of_a_library(
    run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library in which a task was suspended at the deviation."""
    library = pytester.mkpydir("site-packages") / "lost_and_found.py"
    library.write_text(
        "async def hold(lock, sleep):\n"
        "    await lock.acquire()\n"
        "    await sleep(1)\n"
        "    lock.release()  # never, if cancelled above\n"
    )
    monkeypatch.syspath_prepend(library.parent)
    source = """
        import lost_and_found

        @explore(faults="cancel")
        async def test_it():
            lock = asyncio.Lock()
            await asyncio.wait([asyncio.create_task(lost_and_found.hold(lock, asyncio.sleep), name="holder")])
            assert not lock.locked()
    """
    result = run(source)
    result.stdout.fnmatch_lines(
        ["*lost_and_found.py:3", "* await sleep(1)", "Lines of lost_and_found are not shown. *"]
    )
    assert "await lock.acquire()" not in result.stdout.str()
    added = shlex.split(next(line for line in result.outlines if line.startswith("    -o ")))
    run(source, *replay_line(result), *added).stdout.fnmatch_lines(["*:2 await lock.acquire()", REPLAYED])


def test_replay_line_has_the_options_that_affect_a_run(run) -> None:
    """Without them, the schedule would belong to another program."""
    source = """
        @explore
        async def test_it():
            async def put():
                await asyncio.sleep(0)
                order.append("put")

            async def get():
                await asyncio.wait([first])
                order.append("get")

            order = []
            first = asyncio.create_task(asyncio.sleep(0))
            await asyncio.gather(put(), get())
            assert order == ["put", "get"]
    """
    words = replay_line(run(source, "--explore-arrivals=any", "--explore-random-walks=3"))
    assert "--explore-arrivals" in words
    assert "--explore-random-walks" not in words
    run(source, *words).stdout.fnmatch_lines([REPLAYED])


@given(st.text(st.characters(exclude_characters="\0")))
def test_a_word_survives_a_posix_shell(text: str) -> None:
    assert shlex.split(quoted(text, is_windows=False)) == [text]


def parse_windows_command_line(line: str) -> list[str]:
    """Parse like the C runtime: https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments."""
    words, word, is_quoted, has_word = [], "", False, False
    for backslashes, other in re.findall(r"(\\*)([^\\]|\Z)", line, re.DOTALL):
        if other == '"':
            word += "\\" * (len(backslashes) // 2)
            if len(backslashes) % 2:
                word += '"'
            else:
                is_quoted = not is_quoted
            has_word = True
            continue
        word += backslashes
        has_word = has_word or bool(backslashes)
        if other in " \t" and other and not is_quoted:
            words += [word] if has_word else []
            word, has_word = "", False
        else:
            word, has_word = word + other, has_word or bool(other)
    return words + ([word] if has_word else [])


@given(st.lists(st.text(st.sampled_from("ab \\\"'&%!@+;()")), min_size=1))
def test_a_word_survives_a_windows_shell(texts: list[str]) -> None:
    """A shell finds no special character in it: all of them are between double quotes."""
    words = [quoted(text, is_windows=True) for text in texts]
    assert parse_windows_command_line(" ".join(words)) == texts
    for word in words:
        assert word[0] == word[-1] == '"' or not re.search(r"""[\s'"&%!;()]""", word)


# The test that is replayed.


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_replay_needs_exactly_one_test(run, plugins: tuple[str, ...]) -> None:
    args = ("--explore-replay=sell@1+1", *(("-n2",) if plugins else ()))
    result = run(SHOP + TEST + OTHER, *args, "-k", "not other", plugins=plugins)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([REPLAYED])
    result = run(SHOP + TEST + OTHER, *args, plugins=plugins)
    assert result.ret != pytest.ExitCode.OK
    said = result.stdout if plugins else result.stderr
    said.fnmatch_lines(
        [
            "*--explore-replay needs exactly one explored test, but 2 are selected",
            "*  test_it.py::test_it",
            "*  test_it.py::test_other",
            "*  write e.g.  pytest test_it.py::test_it --explore-replay client@1+1",
        ]
    )
    assert "INTERNALERROR" not in result.stdout.str()


def test_replay_without_an_explored_test_is_a_usage_error(run) -> None:
    result = run("def test_it(): ...", "--explore-replay=sell@1+1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs exactly one explored test, but none are selected", "  write e.g. *"])


def test_import_error_is_reported_instead_of_a_missing_test(run) -> None:
    result = run("1 / 0", "--explore-replay=sell@1+1")
    result.stdout.fnmatch_lines(["E*ZeroDivisionError*"])
    assert "--explore-replay plays" not in result.stderr.str()


def test_invalid_schedule_text_is_a_usage_error(run) -> None:
    result = run(SHOP + TEST, "--explore-replay=sell@")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*expected @ and the number of a step*", "*sell@", "*    ^"])


def test_replay_can_be_an_argument_of_explore(run) -> None:
    result = run(SHOP + TEST.replace("arrivals", "replay='sell@1+1', arrivals"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([REPLAYED])


def test_passing_replay_in_a_test_has_the_verdict_replayed(run) -> None:
    """As the test of a repaired bug; it proves nothing about other orders."""
    result = run(REPAIRED + TEST.replace("arrivals", "replay='sell@1+1', arrivals"), "-v")
    result.stdout.fnmatch_lines(["*PASSED (replayed, 1 run*", "    replayed: sell@1+1 passes; *"])


def test_replay_is_independent_of_line_numbers(run) -> None:
    """A schedule names tasks and steps, not lines."""
    source = SHOP + TEST
    words = replay_line(run(source))
    for line, more in [("class Shop", "UNRELATED = 1\n\n    "), ("before = self", "print('unrelated')\n            ")]:
        source = source.replace(line, more + line)
        result = run(source, *words)
        result.stdout.fnmatch_lines(["E*assert 1 == 0", REPLAYED])


def test_replay_fails_in_every_new_process(run, pytester: pytest.Pytester) -> None:
    """It does not depend on the order of sets of strings or on addresses of objects."""
    words = replay_line(
        run(SHOP + TEST.replace("await sells", "await asyncio.to_thread(len, {*'abc'})\n        await sells"))
    )
    for seed in range(3):
        command = [sys.executable, "-m", "pytest", "-p", "pytest_background_tasks.plugin", *words]
        environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": str(seed), "PATH": ""}
        output = subprocess.run(
            command, env=environment, cwd=pytester.path, capture_output=True, text=True, check=False
        ).stdout
        assert REPLAYED in output.splitlines(), output


# Stored schedules.


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_previous_failure_is_tried_first(run, plugins: tuple[str, ...]) -> None:
    """Under pytest-xdist, the workers read what the controller has written."""
    args = ("-n2",) if plugins else ()
    source = SHOP + TEST.replace('arrivals="yield"', "") + OTHER
    assert PREVIOUS_FAILURE not in run(source, *args, "--explore-seed=5", plugins=plugins).outlines
    for _ in range(2):
        result = run(source, *args, "--explore-seed=6", plugins=plugins)
        result.stdout.fnmatch_lines([PREVIOUS_FAILURE, "Found in run 2, minimized and confirmed by a second run*"])


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_passing_test_removes_its_stored_failure(run, plugins: tuple[str, ...]) -> None:
    """The next failure is found as if for the first time."""
    args = ("-n2",) if plugins else ()
    run(SHOP + TEST, *args, plugins=plugins)
    result = run(REPAIRED + TEST, *args, plugins=plugins)
    assert result.parseoutcomes()["passed"] == 1
    result = run(SHOP + TEST, *args, plugins=plugins)
    assert result.parseoutcomes()["failed"] == 1
    assert PREVIOUS_FAILURE not in result.outlines


def test_previous_failure_that_passes_now_is_reported_once(run) -> None:
    """It is reported once; then the schedule is removed."""
    passes_now = "*; sell@1+1, which failed before, passes now"
    run(SHOP + TEST)
    run(REPAIRED + TEST).stdout.fnmatch_lines([passes_now])
    run(REPAIRED + TEST).stdout.no_fnmatch_line(passes_now)


def test_previous_failure_that_cannot_be_replayed_is_removed_silently(run) -> None:
    """The exploration that follows finds the current failure."""
    run(SHOP + TEST)
    renamed = (SHOP + TEST).replace("sell(", "vend(")
    result = run(renamed)
    assert result.parseoutcomes()["failed"] == 1
    assert PREVIOUS_FAILURE not in result.outlines
    run(renamed).stdout.fnmatch_lines([PREVIOUS_FAILURE])


@pytest.mark.parametrize("body", ["assert False, 'always'", "pytest.skip('now')"])
def test_inconclusive_run_keeps_the_stored_failure(run, body: str) -> None:
    """After a failure in the default order or a skip, the schedule is still stored for the next session."""
    run(SHOP + TEST)
    run(SHOP + TEST.replace("await sells", f"{body}\n        await sells"))
    run(SHOP + TEST).stdout.fnmatch_lines([PREVIOUS_FAILURE])


def test_replay_keeps_the_stored_failure(run) -> None:
    run(SHOP + TEST)
    run(SHOP + TEST, "--explore-replay=look_and_sell@1+1").assert_outcomes(passed=1)
    run(SHOP + TEST).stdout.fnmatch_lines([PREVIOUS_FAILURE])


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_stored_failures_can_be_cleared(run, plugins: tuple[str, ...]) -> None:
    """For the tests that run, however they end."""
    args = ("--explore-clear-failures", *(("-n2",) if plugins else ()))
    run(SHOP + TEST)
    result = run(SHOP + TEST, *args, plugins=plugins)
    assert result.parseoutcomes()["failed"] == 1
    assert PREVIOUS_FAILURE not in result.outlines
    run(SHOP + TEST).stdout.fnmatch_lines([PREVIOUS_FAILURE])
    run(SHOP + TEST.replace("await", "assert False; await"), *args, plugins=plugins)
    assert PREVIOUS_FAILURE not in run(SHOP + TEST).outlines


def test_no_failure_is_stored_without_the_cache(run, pytester: pytest.Pytester) -> None:
    for _ in range(2):
        assert PREVIOUS_FAILURE not in run(SHOP + TEST, "-p", "no:cacheprovider").outlines
    assert not (pytester.path / ".pytest_cache").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schedule": 1}', '{"schedule": "sell@"}', '{"schedule": "sell@1'])
def test_invalid_cache_content_is_harmless(run, pytester: pytest.Pytester, text: str) -> None:
    run(SHOP + TEST)
    (kept,) = (pytester.path / ".pytest_cache/v/explore").iterdir()
    assert json.loads(kept.read_text()) == {"test": "test_it.py::test_it", "schedule": "sell@1+1"}
    kept.write_text(text)
    result = run(SHOP + TEST)
    result.assert_outcomes(failed=1)
    assert PREVIOUS_FAILURE not in result.outlines


# Properties.


@pytest.mark.parametrize("plugins", [(), ("xdist",)])
def test_report_properties_have_the_numbers(run, pytester: pytest.Pytester, plugins: tuple[str, ...]) -> None:
    """Also for a failed test: in JUnit's XML, and through pytest-xdist."""
    args = ("-n2",) if plugins else ()
    run(SHOP + TEST + OTHER, *args, "--junit-xml=junit.xml", "-o", "junit_family=legacy", plugins=plugins)
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "junit.xml").iter("testcase")}
    for name, verdict, schedule in (("test_it", "failed", "sell@1+1"), ("test_other", "exhaustive", None)):
        properties = {each.get("name"): each.get("value") for each in cases[name].iter("property")}
        numbers = f"{properties['explore_runs']} runs, {properties['explore_distinct']} distinct"
        assert properties["explore_verdict"] == verdict
        assert properties["explore"].startswith(f"{verdict}: ")
        assert numbers in properties["explore"]
        assert properties.get("explore_schedule") == schedule
