"""The mark `explore`: on tests, classes and modules, above and below other marks, and with Hypothesis."""

import pytest

ORDER = """
async def check(order):
    async def client(name):
        await asyncio.sleep(0)
        order.append(name)

    await asyncio.gather(client("a"), client("b"))
    assert order == ["a", "b"]
"""


def test_mark_of_a_module_and_of_a_class_explores_async_tests(run) -> None:
    """Options of the test override those of the class, which override those of the module; sync tests run as usual."""
    result = run(
        """
        pytestmark = pytest.mark.explore(max_deviations=1, max_schedules=7)

        async def work():
            await asyncio.gather(*(twice() for _ in range(3)))

        async def test_of_module():
            await work()

        @explore(max_schedules=3)
        class TestIt:
            async def test_of_class(self):
                await work()

            @explore(max_deviations=0)
            async def test_itself(self):
                await work()

            @pytest.mark.explore(max_schedules=2)
            @pytest.mark.parametrize("number", [1])
            async def test_marked(self, number):
                await work()

            def test_sync(self):
                pass

        def test_sync():
            pass
        """,
        "-v",
    )
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines_random(
        [
            "*::test_of_module PASSED (incomplete, 7 runs, *",
            "*::test_of_class PASSED (incomplete, 3 runs, *",
            "*::test_itself PASSED (bounded, 1 run, *",
            "*::test_marked[[]1[]] PASSED (incomplete, 2 runs, *",
            "*::TestIt::test_sync PASSED *%]",
            "*.py::test_sync PASSED *%]",
        ]
    )


@pytest.mark.parametrize(
    "marks",
    [
        "@explore\n@pytest.mark.asyncio\n@pytest.mark.parametrize('name', ['a'])",
        "@pytest.mark.parametrize('name', ['a'])\n@pytest.mark.asyncio\n@explore",
        "@pytest.mark.asyncio\n@explore(max_deviations=1)\n@pytest.mark.parametrize('name', ['a'])",
    ],
)
def test_marks_stand_above_or_below(run, marks: str) -> None:
    source = f"{ORDER}\n{marks}\nasync def test_it(name):\n    await check([])\n"
    run(source, plugins=("pytest_asyncio.plugin",)).assert_outcomes(failed=1)
    run(source.replace("check([])", "twice()"), plugins=("pytest_asyncio.plugin",)).assert_outcomes(passed=1)


def test_decorators_apply_in_each_run(run) -> None:
    """Above or below @explore."""
    result = run(
        """
        import functools
        from unittest.mock import patch

        calls = []

        def counted(test):
            @functools.wraps(test)
            async def count(*args, **kwargs):
                calls.append(1)
                await test(*args, **kwargs)
            return count

        @counted
        @patch("os.getcwd")
        @explore
        @counted
        async def test_it(mocked):
            mocked()
            mocked.assert_called_once()
            await twice()

        def test_afterwards():
            assert len(calls) > 6
        """,
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=2)


def test_mark_of_that_name_that_a_project_registers_itself_has_no_effect(run, pytester: pytest.Pytester) -> None:
    """Its tests run as without the plugin; @explore still explores."""
    pytester.makeini("[pytest]\nmarkers =\n    explore(area): for exploratory tests\n")
    result = run(
        """
        @pytest.mark.explore("checkout")
        @pytest.mark.asyncio
        async def test_theirs():
            assert type(asyncio.get_running_loop()).__mro__[1].__module__.startswith("asyncio")

        @explore
        async def test_ours():
            await twice()
        """,
        "-v",
        plugins=("pytest_asyncio.plugin",),
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_theirs PASSED *%]", "*::test_ours PASSED (*"])


def test_explored_test_can_be_called_by_other_code(run) -> None:
    """The decorator only marks it."""
    run(
        """
        @explore
        async def test_it(value=1):
            return None if value == 1 else value

        def test_call():
            assert asyncio.run(test_it(5)) == 5
        """
    ).assert_outcomes(passed=2)


GIVEN = """
from hypothesis import given, settings, strategies

few = settings(max_examples=5, database=None)

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"
"""
RUNNERS = {
    "no runner": ("", ()),
    "pytest-asyncio": ("pytestmark = pytest.mark.asyncio", ("pytest_asyncio.plugin",)),
    "anyio": ("pytestmark = pytest.mark.anyio", ("anyio.pytest_plugin",)),
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("decorators", ["@explore\n@few\n@given({})", "@few\n@given({})\n@explore"])
def test_each_example_of_hypothesis_is_explored(run, runner: str, decorators: str) -> None:
    """The smallest failing example is shown, with the schedule; passing examples count as one test."""
    mark, plugins = RUNNERS[runner]
    below = decorators.format("number=strategies.integers(0, 9)")
    source = f"""{GIVEN}{ORDER}
{mark}

{below}
async def test_fails(number):
    if number > 3:
        await check([])

{below}
async def test_passes(tmp_path_factory, number):
    await twice()
"""
    result = run(source, "-v", plugins=(*plugins, "_hypothesis_pytestplugin"))
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*::test_passes PASSED (exhaustive, * runs, * distinct)*"])
    result.stdout.fnmatch_lines(
        ["*number=4,*", "This test passes in asyncio's default order and fails with one deviation*"]
    )
    result.stdout.fnmatch_lines(["    exhaustive: no failure *; the least covered of * examples"])


@pytest.mark.parametrize("runner", RUNNERS)
def test_examples_of_a_method_have_fresh_fixtures_and_a_new_instance(run, runner: str) -> None:
    mark, plugins = RUNNERS[runner]
    source = f"""{GIVEN}
from hypothesis import HealthCheck
{mark}

@explore
class TestIt:
    @settings(few, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
    @given(strategies.integers())
    async def test_it(self, tmp_path, number):
        assert vars(self) == {{}} and not list(tmp_path.iterdir())
        self.used = number
        (tmp_path / "used").touch()
        await twice()
"""
    run(source, plugins=(*plugins, "_hypothesis_pytestplugin")).assert_outcomes(passed=1)


def test_deadline_of_hypothesis_does_not_end_an_exploration(run) -> None:
    """It is meant for one call of the test; the setting is as before afterwards."""
    result = run(
        f"""{GIVEN}
import time

@explore
@settings(few, deadline=0.5)
@given(strategies.integers())
async def test_it(number):
    time.sleep(0.001)
    await twice()

def test_afterwards():
    assert test_it._hypothesis_internal_use_settings.deadline.total_seconds() == 0.0005
""",
        "-p",
        "no:randomly",
        plugins=("_hypothesis_pytestplugin",),
    )
    result.assert_outcomes(passed=2)
