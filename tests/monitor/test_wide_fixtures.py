"""Tasks of fixtures, which may outlive the test."""

from textwrap import dedent

SERVER = """
    class Server:
        def __init__(self):
            self.jobs = set()

        async def beat(self):
            while True:
                await self.bell.wait()
                self.jobs.add(asyncio.create_task(poll()))      # by a task of its own
                self.bell.clear()

        def start(self):
            self.bell = asyncio.Event()
            self.jobs.add(asyncio.create_task(self.beat()))

        def submit(self, coroutine):
            self.jobs.add(asyncio.create_task(coroutine))

        async def stop(self):
            for job in self.jobs:
                job.cancel()
            await asyncio.gather(*self.jobs, return_exceptions=True)

    @pytest.fixture(scope="module")
    async def server():
        server = Server()
        server.start()
        yield server
        {end}

    pytestmark = pytest.mark.asyncio(loop_scope="module")
"""
HANDED_OVER = """
    async def test_it(server):
        server.submit(poll())
        server.submit(send_mail())
        server.bell.set()
        await turns()
"""
MODULE_LOOP = ("-o", "asyncio_default_fixture_loop_scope=module")


def test_tasks_kept_by_a_module_fixture_are_not_leaked(run) -> None:
    """The server owns the tasks that it started, and those that the test passed to it."""
    result = run(
        dedent(SERVER.replace("{end}", "await server.stop()") + HANDED_OVER)
        + dedent("""
        async def test_afterwards(server):
            assert len(server.jobs) == 4
        """),
        "--background-tasks-leaked=error",
        *MODULE_LOOP,
    )
    result.assert_outcomes(passed=2)


def test_tasks_left_by_a_module_fixture_are_reported_at_its_end(run) -> None:
    """It is reported under the name of its test. A task that the fixture created for itself is not a leak."""
    result = run(
        dedent(SERVER.replace("{end}", "") + HANDED_OVER)
        + dedent("""
        async def test_afterwards(server):
            pass
        """),
        "--background-tasks-leaked=warn",
        *MODULE_LOOP,
    )
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines_random(
        [
            "*LeakedTaskWarning: background task Task-* (poll) * still pending*",
            "*UnhandledTaskExceptionWarning: exception of background task Task-* (send_mail) was never retrieved*",
            "*attributed to test_it.py::test_it, which has ended",
        ]
    )


def test_tasks_kept_by_setup_class_or_setup_module_are_not_leaked(run) -> None:
    result = run(
        """
        runner = asyncio.Runner()

        def setup_module():
            runner.__enter__()

        def teardown_module():
            for task in kept:
                task.cancel()
            runner.close()

        class TestIt:
            @classmethod
            def setup_class(cls):
                cls.jobs = []

            @classmethod
            def teardown_class(cls):
                runner.run(asyncio.wait(cls.jobs))
                assert isinstance(cls.jobs[0].exception(), ConnectionError)

            def test_it(self):
                async def start():
                    keep(poll())
                    self.jobs.append(asyncio.create_task(send_mail()))
                    await turns()

                runner.run(start())
        """,
        "--background-tasks-leaked=error",
        "--background-tasks-unhandled=error",
    )
    result.assert_outcomes(passed=1)


def test_failed_task_of_a_fixture_is_reported(run) -> None:
    result = run(
        """
        @pytest.fixture(scope="module")
        async def server():
            asyncio.create_task(send_mail())
            await turns()

        @pytest.fixture
        async def client():
            kept.add(asyncio.create_task(send_mail("bob")))
            await turns()

        async def test_wide(server): ...
        async def test_narrow(client): ...
        """,
        *MODULE_LOOP,
    )
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines(["test_it.py::test_wide", "*UnhandledTaskExceptionWarning*"])
    result.stdout.fnmatch_lines(["test_it.py::test_narrow", "*UnhandledTaskExceptionWarning*"])


def test_a_fixture_may_clean_up_after_the_test(run) -> None:
    """A check at the end of the test's call would report tasks that its teardown awaits."""
    result = run(
        """
        @pytest.fixture
        async def jobs():
            jobs = []
            yield jobs
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

        async def test_it(jobs):
            jobs += [asyncio.create_task(poll()), asyncio.create_task(send_mail())]
            await turns()
        """,
        "--background-tasks-leaked=error",
    )
    result.assert_outcomes(passed=1)


def test_failure_after_its_test_names_that_test(run) -> None:
    """It is reported as soon as it is known, under the name of the test that created the task."""
    result = run(
        """
        pytestmark = pytest.mark.asyncio(loop_scope="module")
        now = []

        async def fail_later():
            now.append(asyncio.Event())
            await now[0].wait()
            await send_mail()

        async def test_guilty():
            asyncio.create_task(fail_later())
            await turns()

        async def test_innocent():
            now[0].set()
            await turns()

        async def test_last(): ...
        """
    )
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_innocent",
            "*UnhandledTaskExceptionWarning*",
            "*attributed to test_it.py::test_guilty, which has ended",
        ]
    )
