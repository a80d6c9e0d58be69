"""If a suite requests another loop, and that may be why an explored test fails, the failure says that it gets none."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest
import pytest_asyncio.plugin

Run = Callable[..., pytest.RunResult]

NEEDS_IT = """
    @explore
    async def test_it():
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
"""
DOES_NOT = """
    @explore
    async def test_it():
        await twice()
"""
TOLD = "*the test suite configures another event loop, which explored tests do not use: "

ASKING = {
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
    "old": (
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
def asking(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> tuple[str, str]:
    """A project whose conftest.py requests another loop; the message, and the plugin that would use that loop."""
    told, plugin, source = ASKING[request.param]
    pytester.makeconftest(dedent(source))
    return told, plugin


@pytest.mark.parametrize("asking", ASKING, indirect=True)
def test_the_failure_names_what_asks_for_it(run: Run, asking: tuple[str, str]) -> None:
    told, plugin = asking
    result = run(f"\n    pytestmark = pytest.mark.{plugin.partition('.')[0]}\n{NEEDS_IT}", *ignore(), plugins=(plugin,))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"{TOLD}{told.replace('[', '[[]')}",
            "*@explore works like asyncio's default event loop. If the test needs the other one, *remove @explore*",
        ]
    )


@pytest.mark.parametrize("asking", ASKING, indirect=True)
def test_nothing_is_said_of_a_test_that_passes(run: Run, asking: tuple[str, str]) -> None:
    result = run(DOES_NOT, *ignore(), plugins=(asking[1],))
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line(TOLD + "*")


@pytest.mark.parametrize("asking", ["policy"], indirect=True)
def test_nothing_is_said_of_a_test_that_fails_in_another_order(run: Run, asking: tuple[str, str]) -> None:
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
    result = run(source, *ignore(), plugins=(asking[1],))
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line(TOLD + "*")


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
    result = run(NEEDS_IT, *ignore(), plugins=("pytest_asyncio.plugin",))
    result.stdout.fnmatch_lines(
        [TOLD + "the hook pytest_asyncio_loop_factories (conftest.py:3 in pytest_asyncio_loop_factories)"]
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
def test_a_policy_that_is_set_is_named(run: Run) -> None:
    result = run(NEEDS_IT)
    result.stdout.fnmatch_lines([TOLD + "the event loop policy uvloop.EventLoopPolicy"])


def test_a_fixture_called_loop_may_be_anything(run: Run) -> None:
    source = """
        @pytest.fixture
        def loop():
            return range(10)

        @explore
        async def test_it(loop):
            assert not loop
    """
    run(source).stdout.no_fnmatch_line(TOLD + "*")


def ignore() -> tuple[str, ...]:
    """Filters for the plugins' own deprecation warnings."""
    return "-W", "ignore::DeprecationWarning", "-W", "ignore::pytest.PytestWarning"
