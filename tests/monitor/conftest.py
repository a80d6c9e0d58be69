"""The generated project of the tests of the monitor."""

from textwrap import dedent

import pytest

CODE = """
    import asyncio, gc, sys
    import pytest

    kept = set()

    async def send_mail(to="ada"):
        raise ConnectionError("no server")

    async def poll():
        await asyncio.get_running_loop().create_future()

    async def turns():
        for _ in range(3):
            await asyncio.sleep(0)

    def keep(coroutine):
        kept.add(asyncio.create_task(coroutine))
"""
PYTEST_ASYNCIO = ("-p", "pytest_asyncio.plugin", "--asyncio-mode=auto")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tidy: object):
    """Run a generated project in process, without the plugins of the environment; warnings are shown."""

    def run(source: str, *options: str, plugins: tuple[str, ...] = PYTEST_ASYNCIO, ini: str = "") -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(test_it=dedent(CODE) + dedent(source))
        scope = "asyncio_default_fixture_loop_scope = function\n" if "pytest_asyncio.plugin" in plugins else ""
        pytester.makeini(f"[pytest]\n{scope}{ini}")
        # pytest-asyncio 1.0, the oldest supported version, leaves a loop unclosed.
        options = (
            "-W",
            "always",
            "-W",
            "ignore:unclosed:ResourceWarning",
            "-p",
            "pytest_background_tasks.plugin",
            *plugins,
            *options,
        )
        return pytester.runpytest_inprocess(*options, plugins=[tidy])

    return run


FAILING = """
    async def test_it():
        asyncio.create_task(send_mail())
        await turns()
"""
LEAKING = """
    async def test_it():
        keep(poll())
        await turns()
"""
