"""The fixture `virtual_time` in sessions of pytest, under every runner."""

from textwrap import dedent

import pytest

RUNNERS = {
    "pytest-asyncio": ("pytest_asyncio.plugin", "pytest.mark.asyncio"),
    "pytest-asyncio, a loop for the class": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='class')"),
    "pytest-asyncio, a loop for the module": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='module')"),
    "pytest-asyncio, a loop for the session": ("pytest_asyncio.plugin", "pytest.mark.asyncio(loop_scope='session')"),
    "anyio": ("anyio.pytest_plugin", "[pytest.mark.anyio, pytest.mark.parametrize('anyio_backend', ['asyncio'])]"),
}

PROJECT = """
    import asyncio, time, unittest, pytest

    pytestmark = {mark}
    started = time.monotonic()

    @pytest.fixture
    async def slept():
        await asyncio.sleep(0.01)
        yield
        await asyncio.sleep(0.01)

    class TestIt:
        async def test_real_before(self):
            loop = asyncio.get_running_loop()
            assert abs(loop.time() - time.monotonic()) < 30
            if "function" not in "{scope}":
                loop.call_later(7200, list)

        async def test_virtual(self, slept, virtual_time):
            await asyncio.sleep(3600)
            assert virtual_time.now == 3600
            virtual_time.autojump = False
            await virtual_time.advance(3600)
            assert virtual_time.now == 7200

        async def test_virtual_again(self, virtual_time, slept, background_tasks):
            await asyncio.sleep(3600)
            background_tasks.start_capturing()
            asyncio.create_task(asyncio.sleep(60, "slept"))
            assert await background_tasks.run_all_async() == ["slept"]

        async def test_deadlock(self, virtual_time):
            await asyncio.Event().wait()

        async def test_real_after(self):
            loop = asyncio.get_running_loop()
            assert abs(loop.time() - time.monotonic()) < 30
            assert not {{"time", "call_at", "call_soon"}} & set(vars(loop))
            assert "select" not in vars(loop._selector)
            await asyncio.sleep(0.01)
            assert time.monotonic() - started < 30
"""


@pytest.mark.parametrize("runner", RUNNERS)
def test_virtual_time_under_every_runner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    """The test's loop runs in virtual time and is restored; a deadlock is an error of its own test."""
    plugin, mark = RUNNERS[runner]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(dedent(PROJECT).format(mark=mark, scope="wider" if "loop" in runner else "function"))
    options = ["-o", "asyncio_default_fixture_loop_scope=function"] if "asyncio.p" in plugin else []
    if "session" in runner or "module" in runner or "class" in runner:
        options[-1] = f"asyncio_default_fixture_loop_scope={runner.rpartition(' ')[2]}"
    if "asyncio.p" in plugin:
        options += ["-o", "asyncio_mode=auto"]
    result = pytester.runpytest_inprocess(
        "-W", "error", "-p", "pytest_background_tasks.plugin", "-p", plugin, "--tb=short", *options
    )
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["E*DeadlockError: every task is blocked:", "E*the test waits at*for an event"])


def test_virtual_time_under_unittest_and_in_def_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a `def` test without a loop, the error says that virtual time was not used."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio, time, unittest, pytest

        class TestJobs(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def take(self, virtual_time):
                self.virtual_time = virtual_time

            async def asyncSetUp(self):
                await asyncio.sleep(60)

            async def test_it(self):
                await self.virtual_time.advance(60)
                self.assertEqual(self.virtual_time.now, 120)

        def test_no_loop(virtual_time):
            pass

        def test_own_failure(virtual_time):
            raise ValueError("mine")

        def test_asyncio_run(virtual_time):
            asyncio.run(asyncio.sleep(3600))

        def test_loop_is_restored():
            assert asyncio.BaseEventLoop.run_forever.__module__ == "asyncio.base_events"
            with asyncio.Runner() as runner:
                loop = runner.get_loop()
                assert abs(loop.time() - time.monotonic()) < 30
        """
    )
    result = pytester.runpytest_inprocess("-W", "error", "-p", "pytest_background_tasks.plugin", "--tb=short")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*test_no_loop requested virtual_time, but no asyncio event loop has run in the test's own thread*",
            "E*ValueError: mine",
        ]
    )


def test_virtual_time_under_pytest_aiohttp(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client and a server communicate over loopback in the test's loop."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import asyncio
        from aiohttp import web

        async def test_it(aiohttp_client, virtual_time):
            async def slow(request):
                await asyncio.sleep(200)
                return web.Response(text="done")
            app = web.Application()
            app.router.add_get("/", slow)
            client = await aiohttp_client(app)
            response = await client.get("/")
            assert await response.text() == "done"
            assert 200 <= virtual_time.now < 201
            await asyncio.sleep(3600)
        """
    )
    result = pytester.runpytest_inprocess(
        *("-W", "error", "-p", "pytest_background_tasks.plugin", "-p", "pytest_aiohttp.plugin", "--tb=short"),
        *("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("value", ["soon", "-1", "inf"])
def test_invalid_grace_period_is_a_usage_error(pytester: pytest.Pytester, value: str) -> None:
    result = pytester.runpytest_inprocess(
        "-o", f"background_tasks_grace_period={value}", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    result.stderr.fnmatch_lines(
        [f"*background_tasks_grace_period = {value}: not a number of seconds; write e.g.*= 0.02"]
    )
