"""An error about waiting names the failed background tasks of the test, a common reason."""

import pytest

PLUGINS = ("pytest_asyncio.plugin",)
REPORTS = ("--background-tasks-deadlock=error", "-W", "ignore::pytest_background_tasks.BackgroundTaskWarning")
CODE = """
    pytestmark = pytest.mark.asyncio

    async def work(jobs):
        while True:
            if await jobs.get() == 2:
                raise KeyError("third job")
            jobs.task_done()

    def filled():
        jobs = asyncio.Queue()
        for number in range(3):
            jobs.put_nowait(number)
        return jobs
"""
LINE = "E    *background task Task-* (work) has failed with KeyError: 'third job', at test_it.py:13 in work"
STARTS = {
    "kept": "kept = asyncio.create_task(work(jobs))",
    "destroyed": "asyncio.create_task(work(jobs))",
    "cancelled": "kept = asyncio.create_task(work(jobs)); asyncio.get_running_loop().call_later(0.01, kept.cancel)",
    "retrieved": "kept = asyncio.create_task(work(jobs)); kept.add_done_callback(lambda task: task.exception())",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("fixtures", ["", "virtual_time", "background_tasks"])
def test_a_deadlock_names_the_consumer_that_has_failed(run, start: str, fixtures: str) -> None:
    result = run(
        f"""{CODE}
    async def test_it({fixtures}):
        jobs = filled()
        {STARTS[start]}
        await asyncio.sleep(0.02)
        await jobs.join()
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E  *DeadlockError: every task is blocked:", "E  *the test waits at *1 unfinished item of a queue", LINE]
    )
    assert result.stdout.str().count("has failed with") == 1


def test_deadlock_names_at_most_three_failed_tasks(run) -> None:
    """Only tasks of this test are named: the failures of earlier tests were reported for those."""
    result = run(
        f"""{CODE}
    kept = []

    async def test_earlier():
        kept.append(asyncio.create_task(work(filled()), name="earlier"))
        await asyncio.sleep(0.01)

    async def test_it(virtual_time):
        tasks = [asyncio.create_task(work(filled())) for _ in range(5)]
        await asyncio.sleep(0.01)
        await filled().join()
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([LINE, LINE, LINE, "E  *2 more have failed", "E  *No other task is left*"])
    result.stdout.no_fnmatch_line("*earlier (work)*")


def test_failed_task_of_a_module_fixture_is_named(run) -> None:
    result = run(
        f"""{CODE}
    import pytest_asyncio
    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def jobs():
        jobs = filled()
        task = asyncio.create_task(work(jobs))
        yield jobs

    async def test_earlier(jobs):
        await asyncio.sleep(0.01)

    async def test_it(jobs):
        await jobs.join()
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([LINE])


def test_awaited_or_cancelled_tasks_are_not_named(run) -> None:
    """Nor is a deadlock error that was raised in a task."""
    result = run(
        f"""{CODE}
    async def test_it(virtual_time):
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(work(filled()))
        cancelled = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(1)
        cancelled.cancel()
        await filled().join()
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E  *the test waits at *3 unfinished items of a queue", "E  *No other task is left*"])
    result.stdout.no_fnmatch_line("*has failed*")


@pytest.mark.parametrize(
    "call",
    [
        "await background_tasks.run_all_async(timeout=0.1)",
        "background_tasks.run_all_sync(timeout=0.1)",
        "await background_tasks.run_until_idle_async(timeout=0.1)",
        "await virtual_time.advance(1)",
    ],
)
def test_timeout_names_failed_tasks(run, call: str) -> None:
    result = run(
        f"""{CODE}
    async def spin():
        while True:
            await asyncio.sleep(0)

    async def test_it(background_tasks, virtual_time):
        kept = asyncio.create_task(work(filled()))
        await asyncio.sleep(0.01)
        background_tasks.start_capturing()
        asyncio.create_task(spin())
        if "advance" in {call!r}:
            background_tasks.captured_tasks[0].task.release()
        {call}
    """,
        *REPORTS,
        "-o",
        "background_tasks_timeout=0.1",
        plugins=PLUGINS,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E  *BackgroundTasksTimeout: *", LINE])


def test_failed_captured_task_is_named(run) -> None:
    result = run(
        f"""{CODE}
    async def test_it(background_tasks):
        jobs = filled()
        background_tasks.start_capturing()
        task = asyncio.create_task(work(jobs))
        await asyncio.wait([task])
        asyncio.create_task(work(jobs))
        await jobs.join()
    """,
        *REPORTS,
        plugins=PLUGINS,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E  *held: work*", LINE])


@pytest.mark.parametrize("end", ["", "kept.cancel()"])
def test_deadlock_of_an_exploration_names_failed_tasks(run, end: str) -> None:
    result = run(
        f"""{CODE}
    pytestmark = []

    @explore
    async def test_it():
        jobs = filled()
        kept = asyncio.create_task(work(jobs))
        await asyncio.sleep(1)
        {end}
        await jobs.join()
    """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*main waits at *", "*work failed at test_it.py:13 in work: KeyError*"])
