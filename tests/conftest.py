"""What several test modules share."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest
import uvloop
from hypothesis import settings

pytest_plugins = ["pytester"]

settings.register_profile("unhurried", deadline=None)  # the machine may be busy
settings.load_profile("unhurried")


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of loops that every runner makes, by asyncio's policy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies, since 3.14
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy() if request.param == "uvloop" else None)
        yield request.param
        asyncio.set_event_loop_policy(None)


EXPLORED = """
    import asyncio, pytest
    from pytest_background_tasks import explore

    async def twice():
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Run a project of explored tests in process, without the plugins of the environment."""

    def run(source: str, *args: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(test_it=dedent(EXPLORED) + dedent(source))
        named = [word for plugin in ("pytest_background_tasks.plugin", *plugins) for word in ("-p", plugin)]
        options = ["-o", "asyncio_default_fixture_loop_scope=function"] if "pytest_asyncio.plugin" in plugins else []
        return pytester.runpytest_inprocess("-W", "error", *named, *options, *args)

    return run
