"""OpenTelemetry and Sentry, which instrument asyncio before the session, in a fixture or in a test."""

import re
import sys
from textwrap import dedent

import pytest

from .conftest import Functions, Session

MONITORED = "--background-tasks-unhandled=warn"
CREATED = r"UnhandledTaskExceptionWarning: .*\bjob\b.* was never retrieved.*\n *created at (.*)"
# On CPython 3.13.0, tasks of a task factory have no name.
JOBS = """
    import asyncio, pytest

    async def job():
        await asyncio.sleep(0)
        raise OSError("no server")

    async def start(way):
        if way == "create_task":
            asyncio.create_task(job())
        elif way == "ensure_future":
            asyncio.ensure_future(job())
        elif way == "loop":
            asyncio.get_running_loop().create_task(job())
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    async def turns():
        for _ in range(5):
            await asyncio.sleep(0)

    @pytest.fixture(params=["create_task", "ensure_future", "loop", "awaited"])
    def way(request):
        return request.param

    LINES = {"create_task": 9, "ensure_future": 11, "loop": 13}
"""
OPENTELEMETRY = {
    "before the session": (
        """
        from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
        AsyncioInstrumentor().instrument()

        def pytest_unconfigure():
            AsyncioInstrumentor().uninstrument()
        """,
        "",
        "",
    ),
    "in a fixture": (
        """
        import pytest
        from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor

        @pytest.fixture(autouse=True)
        def instrumented():
            AsyncioInstrumentor().instrument()
            yield
            AsyncioInstrumentor().uninstrument()
        """,
        "",
        "",
    ),
    "in the test": (
        "from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor",
        "AsyncioInstrumentor().instrument()",
        "AsyncioInstrumentor().uninstrument()",
    ),
    "until the test": (
        """
        from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
        AsyncioInstrumentor().instrument()
        """,
        "",
        "AsyncioInstrumentor().uninstrument()",
    ),
}


@pytest.mark.parametrize("moment", OPENTELEMETRY)
def test_opentelemetry_traces_and_the_instruments_find_the_creator(
    session: Session, functions_of_asyncio: Functions, moment: str
) -> None:
    """Its instrumentation wraps each coroutine; capture and monitor give the line of the program nevertheless."""
    pytest.importorskip("opentelemetry.instrumentation.asyncio")
    conftest, on, off = OPENTELEMETRY[moment]
    is_left = "way == 'awaited'" if moment == "until the test" else "True"
    source = dedent(JOBS) + dedent(f"""
    from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor

    def test_monitored(way, monkeypatch):
        async def main():
            {on}
            await start(way)
            await turns()
            {"AsyncioInstrumentor().uninstrument()" if on else ""}

        traced = []
        record = lambda start, attributes, *args: traced.append(attributes["name"])
        monkeypatch.setattr(AsyncioInstrumentor(), "record_process", record)
        asyncio.run(main())
        assert traced == {{"loop": [], "awaited": ["sleep"] * 3}}.get(way, ["job"])

    def test_captured(way, background_tasks):
        async def main():
            background_tasks.start_capturing()
            {on}
            await start(way)
            tasks = background_tasks.captured_tasks
            created = [(task.function, task.created_at.line) for task in tasks]
            assert created == ([("job", LINES[way])] if way in LINES else [])
            if {is_left}:
                {off or "pass"}
            if tasks:
                with pytest.raises(OSError):
                    await background_tasks.run_all_async()

        asyncio.run(main())
    """)
    before = functions_of_asyncio()
    result = session(source, MONITORED, conftest=conftest)
    result.assert_outcomes(passed=8, warnings=3)
    lines = re.findall(CREATED, result.stdout.str())
    assert lines == [f"test_it.py:{line} in start" for line in (9, 11, 13)]
    assert functions_of_asyncio() == before


SENTRY = """
    import sentry_sdk
    from sentry_sdk.integrations.asyncio import AsyncioIntegration, patch_asyncio

    events = []

    class Keep(sentry_sdk.Transport):
        def capture_envelope(self, envelope):
            events.extend(item.get_event() for item in envelope.items if item.get_event())

    @pytest.fixture(autouse=True, scope="module")
    def sentry():
        with pytest.MonkeyPatch.context() as patch:  # Sentry warns that no loop runs yet
            patch.setattr(AsyncioIntegration, "setup_once", lambda: None)
            options = {"default_integrations": False, "integrations": [AsyncioIntegration()]}
            sentry_sdk.init("http://key@localhost/1", transport=Keep(), auto_enabling_integrations=False, **options)
        yield
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)

    @pytest.fixture(autouse=True)
    def no_events():
        events.clear()

    class Patched:
        def __enter__(self):
            self.loop = asyncio.get_running_loop()
            self.factory = self.loop.get_task_factory()
            patch_asyncio()

        def __exit__(self, *error):
            assert self.loop.get_task_factory()._is_sentry_task_factory
            self.loop.set_task_factory(self.factory)

    @pytest.mark.parametrize("is_eager", [False, {has_eager_tasks}])
    def test_monitored(way, is_eager):
        async def main():
            if is_eager:
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            with Patched():
                await start(way)
                await turns()

        asyncio.run(main())
        assert len(events) == (way in LINES)

    @pytest.mark.parametrize("first", ["Sentry", "the capture"])
    def test_not_held(way, first, background_tasks):
        async def main():
            if first == "the capture":
                background_tasks.start_capturing(ignore=job)
            with Patched():
                if first == "Sentry":
                    background_tasks.start_capturing(ignore=job)
                await start(way)
                await turns()
                background_tasks.stop_capturing()

        asyncio.run(main())
        assert len(events) == (way in LINES)

    def test_captured(way, background_tasks):
        async def main():
            background_tasks.start_capturing()
            with Patched():
                await start(way)
                created = [(task.function, task.created_at.line) for task in background_tasks.captured_tasks]
                assert created == ([("job", LINES[way])] if way in LINES else [])
                if created:
                    with pytest.raises(OSError):
                        await background_tasks.run_all_async()

        asyncio.run(main())
        assert events == []  # the task factory did not create the held task
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"], indirect=True)
def test_sentry_receives_each_error_and_the_instruments_find_the_creator(
    session: Session, functions_of_asyncio: Functions, loop: str
) -> None:
    """Its integration creates each task with its own task factory; a held task bypasses every task factory."""
    pytest.importorskip("sentry_sdk")
    before = functions_of_asyncio()
    # The eager factory of CPython 3.13.0 does not know what uvloop passes to it.
    has_eager_tasks = sys.version_info >= (3, 12) and not (loop == "uvloop" and sys.version_info[:2] == (3, 13))
    result = session(dedent(JOBS) + dedent(SENTRY).replace("{has_eager_tasks}", str(has_eager_tasks)), MONITORED)
    result.assert_outcomes(passed=20, warnings=12)
    lines = re.findall(CREATED, result.stdout.str())
    assert set(lines) == {f"test_it.py:{line} in start" for line in (9, 11, 13)}
    assert functions_of_asyncio() == before
