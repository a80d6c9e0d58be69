"""A task that asyncio starts for a waiter belongs to the project once the waiter has given up, and not before."""

from textwrap import dedent

import pytest

PLUGINS = ("pytest_asyncio.plugin",)
REPORTS = ("--background-tasks-unhandled=error", "--background-tasks-leaked=error")
CODE = """
    pytestmark = pytest.mark.asyncio

    async def save(seconds=60, error=None):
        await asyncio.sleep(seconds)
        if error:
            raise error
"""
WAYS = {
    "wait_for": """
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(save({0})), 0.01)
    """,
    "timeout": """
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.shield(save({0}))
    """,
    "cancelled": """
    async def wait():
        await asyncio.shield(save({0}))

    waiter = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    """,
    "aborted": """
    async def wait():
        await asyncio.shield(save({0}))

    async def fail():
        await asyncio.sleep(0.01)
        raise KeyError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())
    """,
    "task": """
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.create_task(save({0}))), 0.01)
    """,
    "wait": """
    done, pending = await asyncio.wait([asyncio.create_task(save({0}))], timeout=0.01)
    assert pending
    del done, pending
    """,
    "as_completed": """
    with pytest.raises(TimeoutError):
        for each in asyncio.as_completed([save({0})], timeout=0.01):
            await each
    """,
    "nested": """
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.gather(asyncio.shield(save({0})))), 0.01)
    """,
    "no waiter": """
    asyncio.shield(save({0}))
    await asyncio.sleep(0.01)
    """,
    "in a function": """
    def later():
        return asyncio.shield(save({0}))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(later(), 0.01)
    """,
}
# A gather retrieves its children's exceptions, even when it is done; a shield that is not awaited takes them over.
RETRIEVED = ("nested", "no waiter")


def project(way: str, seconds: str, after: str = "") -> str:
    body = dedent(WAYS[way]).format(seconds) + after
    return dedent(CODE) + "\nasync def test_it():\n" + "".join(f"    {line}\n" for line in body.splitlines())


@pytest.mark.parametrize("way", WAYS)
def test_task_that_outlives_its_waiter_and_the_test_is_leaked(run, way: str) -> None:
    """It is reported once, at the line of the project that had it started."""
    result = run(project(way, "60"), *REPORTS, plugins=PLUGINS)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E  *LeakedTaskWarning: background task Task-* (save) * still pending*"])
    result.stdout.no_fnmatch_line("*sub-exception*")


@pytest.mark.parametrize("way", [way for way in WAYS if way not in RETRIEVED])
def test_task_that_outlives_its_waiter_and_fails_is_reported(run, way: str) -> None:
    result = run(project(way, "0.02, OSError('disk full')", "\nawait asyncio.sleep(0.05)"), *REPORTS, plugins=PLUGINS)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["E  *UnhandledTaskExceptionWarning: exception of background task Task-* (save) was never retrieved"]
    )
    result.stdout.no_fnmatch_line("*sub-exception*")


@pytest.mark.parametrize("way", WAYS)
def test_task_that_outlives_its_waiter_and_succeeds_is_not_reported(run, way: str) -> None:
    result = run(project(way, "0.02", "\nawait asyncio.sleep(0.05)"), *REPORTS, plugins=PLUGINS)
    result.assert_outcomes(passed=1)


def test_leaked_waiter_is_a_single_finding(run) -> None:
    """A leaked waiter is one leak, whatever it waits behind."""
    result = run(
        f"""{CODE}
    async def wait():
        await asyncio.gather(asyncio.shield(save()), asyncio.wait_for(asyncio.shield(save()), 60))

    async def wait_for_each():
        for each in asyncio.as_completed([save(), save()]):
            await each

    @pytest.mark.parametrize("waiting", [wait, wait_for_each])
    async def test_it(waiting):
        asyncio.kept = asyncio.create_task(waiting())
        await asyncio.sleep(0.01)
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["E  *LeakedTaskWarning: background task Task-* (wait) * still pending*"])
    result.stdout.no_fnmatch_line("*, save, *")
    result.stdout.no_fnmatch_line("*sub-exception*")


def test_task_shielded_by_a_library_is_not_reported(run, pytester: pytest.Pytester) -> None:
    """aiohttp, anyio and asgiref do this, and may run a function of the project."""
    library = pytester.mkdir("site-packages")
    (library / "lib.py").write_text(
        "import asyncio\n"
        "async def within(coroutine, seconds):\n"
        "    try:\n"
        "        await asyncio.wait_for(asyncio.shield(coroutine), seconds)\n"
        "    except TimeoutError: pass\n"
    )
    result = run(
        f"""{CODE}
    import sys
    sys.path.insert(0, {str(library)!r})
    import lib

    async def test_it():
        await lib.within(save(), 0.01)
        await lib.within(asyncio.sleep(60), 0.01)
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=1)


def test_task_shielded_by_a_module_fixture_belongs_to_the_fixture(run) -> None:
    """A server of the session may keep running behind its shields."""
    result = run(
        f"""{CODE}
    import pytest_asyncio

    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def server():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(save()), 0.01)
        yield

    async def test_it(server):
        pass
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=1)
