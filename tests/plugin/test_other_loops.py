"""If a suite requests another loop, and that may be why an explored test fails, the failure says that it gets none."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest
import pytest_asyncio.plugin

Run = Callable[..., pytest.RunResult]

NEEDS_UVLOOP = """
    @explore
    async def test_it():
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
"""
NEEDS_ANY_LOOP = """
    @explore
    async def test_it():
        await twice()
"""
NOTE = "*the test suite configures another event loop, which explored tests do not use: "

MARKS = {"pytest_asyncio.plugin": "asyncio", "anyio.pytest_plugin": "anyio", "aiohttp.pytest_plugin": "aiohttp"}

LOOP_SETTINGS = {
    "policy": (
        "the fixture event_loop_policy (conftest.py:3 in event_loop_policy)",
        "pytest_asyncio.plugin",
        """
        import pytest, uvloop

        @pytest.fixture(scope="session")
        def event_loop_policy():
            return uvloop.EventLoopPolicy()
        """,
    ),
    "event_loop": (
        "the fixture event_loop (conftest.py:3 in event_loop)",
        "pytest_asyncio.plugin",
        """
        import pytest, uvloop

        @pytest.fixture
        def event_loop():
            yield uvloop.new_event_loop()
        """,
    ),
    "anyio": (
        "anyio_backend with use_uvloop=True",
        "anyio.pytest_plugin",
        """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"use_uvloop": True}
        """,
    ),
    "aiohttp": (
        "the fixture loop_factory (conftest.py:3 in loop_factory)",
        "aiohttp.pytest_plugin",
        """
        import pytest, uvloop

        @pytest.fixture
        def loop_factory():
            return uvloop.new_event_loop
        """,
    ),
}


@pytest.fixture
def loop_setting(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> tuple[str, str]:
    """A project whose conftest.py requests another loop; the message, and the plugin that would use that loop."""
    event_loop, plugin, source = LOOP_SETTINGS[request.param]
    pytester.makeconftest(dedent(source))
    return event_loop, plugin


@pytest.mark.parametrize("loop_setting", LOOP_SETTINGS, indirect=True)
def test_failure_names_the_setting_of_another_loop(run: Run, loop_setting: tuple[str, str]) -> None:
    event_loop, plugin = loop_setting
    result = run(f"\n    pytestmark = pytest.mark.{MARKS[plugin]}\n{NEEDS_UVLOOP}", *ignore(), plugins=(plugin,))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"{NOTE}{event_loop.replace('[', '[[]')}",
            "*@explore works like asyncio's default event loop. If the test needs the other one, *remove @explore*",
        ]
    )


@pytest.mark.parametrize("loop_setting", LOOP_SETTINGS, indirect=True)
def test_passing_test_has_no_note_about_the_loop(run: Run, loop_setting: tuple[str, str]) -> None:
    mark = MARKS[loop_setting[1]]
    result = run(f"\n    pytestmark = pytest.mark.{mark}\n{NEEDS_ANY_LOOP}", *ignore(), plugins=(loop_setting[1],))
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line(NOTE + "*")


@pytest.mark.parametrize("loop_setting", ["policy"], indirect=True)
def test_order_dependent_failure_has_no_note_about_the_loop(run: Run, loop_setting: tuple[str, str]) -> None:
    source = """
        @explore
        async def test_it():
            done = []

            async def work(name):
                await asyncio.sleep(0)
                done.append(name)

            await asyncio.gather(work("a"), work("b"))
            assert done == ["a", "b"]
    """
    result = run(source, *ignore(), plugins=(loop_setting[1],))
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line(NOTE + "*")


@pytest.mark.skipif(
    not hasattr(pytest_asyncio.plugin, "PytestAsyncioSpecs"), reason="the hook came with pytest-asyncio 1.4"
)
def test_a_hook_of_pytest_asyncio_is_named(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import uvloop

        def pytest_asyncio_loop_factories(config, item):
            return {"uvloop": uvloop.new_event_loop}
        """
    )
    result = run(
        f"\n    pytestmark = pytest.mark.asyncio\n{NEEDS_UVLOOP}", *ignore(), plugins=("pytest_asyncio.plugin",)
    )
    result.stdout.fnmatch_lines(
        [NOTE + "the hook pytest_asyncio_loop_factories (conftest.py:3 in pytest_asyncio_loop_factories)"]
    )


@pytest.fixture
def policy_of_uvloop() -> Iterator[None]:
    import uvloop

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies, since 3.14
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        yield
        asyncio.set_event_loop_policy(None)


@pytest.mark.usefixtures("policy_of_uvloop")
def test_active_event_loop_policy_is_named(run: Run) -> None:
    result = run(NEEDS_UVLOOP)
    result.stdout.fnmatch_lines([NOTE + "the event loop policy uvloop.EventLoopPolicy"])


def test_unrelated_fixture_named_loop_is_not_reported(run: Run) -> None:
    source = """
        @pytest.fixture
        def loop():
            return range(10)

        @explore
        async def test_it(loop):
            assert not loop
    """
    run(source).stdout.no_fnmatch_line(NOTE + "*")


def ignore() -> tuple[str, ...]:
    """Filters for the plugins' own deprecation warnings."""
    return "-W", "ignore::DeprecationWarning", "-W", "ignore::pytest.PytestWarning"


def test_loop_that_a_suite_creates_itself_cannot_be_controlled(run: Run) -> None:
    """A fixture ``loop`` in place of that of aiohttp's plugin is the loop; the error says what it is."""
    result = run(
        """
        import uvloop

        @pytest.fixture
        def loop():
            loop = uvloop.new_event_loop()
            yield loop
            loop.close()

        @explore
        async def test_it(loop):
            await twice()
        """,
        *ignore(),
        plugins=("aiohttp.pytest_plugin",),
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *UncontrolledOperation: *another event loop, uvloop.Loop, which an exploration cannot control",
            "*Use asyncio's default event loop for this test, or do not explore it",
        ]
    )
