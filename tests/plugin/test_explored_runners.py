"""Explored tests run under the runner of their suite: it sets up their async fixtures in each run, on one loop."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent, indent

import pytest

Run = Callable[..., pytest.RunResult]


@dataclass(frozen=True)
class Runner:
    """A plugin that runs async tests, and what a project writes to use it."""

    plugins: tuple[str, ...]
    head: str = ""
    fixture: str = "@pytest.fixture"
    options: tuple[str, ...] = ()


BACKEND = """
@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"
"""
RUNNERS = {
    "pytest-asyncio, strict": Runner(
        ("pytest_asyncio.plugin",),
        "import pytest_asyncio\npytestmark = pytest.mark.asyncio",
        "@pytest_asyncio.fixture",
    ),
    "pytest-asyncio, auto": Runner(("pytest_asyncio.plugin",), options=("--asyncio-mode=auto",)),
    "anyio": Runner(("anyio.pytest_plugin",), f"pytestmark = pytest.mark.anyio\n{BACKEND}"),
    "pytest-aiohttp": Runner(("pytest_asyncio.plugin", "pytest_aiohttp.plugin"), options=("--asyncio-mode=auto",)),
    "aiohttp": Runner(
        ("aiohttp.pytest_plugin",), "pytestmark = pytest.mark.usefixtures('loop')", options=("--aiohttp-fast",)
    ),
}


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Runner:
    return RUNNERS[request.param]


@pytest.fixture
def explore(run: Run, runner: Runner) -> Run:
    """Run a project under each runner in turn; FIXTURE stands for its decorator of async fixtures."""

    def explore(source: str, *args: str) -> pytest.RunResult:
        if runner.fixture != "@pytest.fixture":
            source = source.replace("@pytest.fixture", runner.fixture)
        text = f"\n{runner.head}\n{dedent(source)}"
        # aiohttp's plugin says that it will be removed, and pytest-asyncio that its mark is on a sync test.
        quiet = ("-W", "ignore::DeprecationWarning", "-W", "ignore::pytest.PytestWarning")
        result = run(text, *quiet, *runner.options, *args, plugins=runner.plugins)
        gc.collect()  # what a run leaves behind warns here, and not in some other test
        return result

    return explore


SHOP = """
class Shop:
    def __init__(self):
        self.left, self.sold = 1, 0

    async def buy(self):
        if self.left:
            await asyncio.sleep(0)
            self.left -= 1
            self.sold += 1

@pytest.fixture
async def store():
    await asyncio.sleep(0.5)
    yield Shop()
    await asyncio.sleep(0.5)

@pytest.fixture
async def shop(store, tmp_path):
    await asyncio.sleep(0)
    return store

async def later(shop):
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await shop.buy()
"""


def test_async_fixtures_are_set_up_in_each_run(explore: Run) -> None:
    """They may request each other and sync ones; the order that breaks the test is found, named and replayed."""
    source = f"""
{SHOP}
@explore
async def test_it(shop):
    await asyncio.gather(shop.buy(), later(shop))
    assert (shop.left, shop.sold) == (0, 1)
"""
    result = explore(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *assert (-1, 2) == (0, 1)",
            "This test passes in asyncio's default order and fails with one deviation*",
            "  ! *buy resumes late after yielding, at test_it.py:*",
            "  main raises AssertionError in * assert (shop.left, shop.sold) == (0, 1)",
        ]
    )
    [line] = [line for line in result.outlines if line.startswith("replay:")]
    schedule = line.partition("--explore-replay ")[2].strip("'")
    explore(source, "--explore-replay", schedule).assert_outcomes(failed=1)


def test_the_empty_schedule_is_the_order_of_the_runner_itself(explore: Run) -> None:
    """Fixtures, the test, and tasks that outlive a phase run in the same order as without exploration."""
    source = """
        logs = []

        @pytest.fixture
        async def log():
            log = []

            async def beat():
                for number in range(6):
                    log.append(number)
                    await asyncio.sleep(0)

            task = asyncio.create_task(beat())
            await asyncio.sleep(0)
            log.append("set up")
            yield log
            log.append("tear down")
            await asyncio.sleep(0)
            log.append("end")
            await task
            logs.append(log)

        async def client(log, name):
            log.append(name)
            await asyncio.sleep(0)
            log.append(name)

        {}
        async def test_it(log):
            log.append("begin")
            await asyncio.gather(client(log, "a"), client(log, "b"))
            log.append("return")

        def test_logs():
            print("logs:", logs[-1])
    """
    usual = explore(source.format(""), "-s", "-p", "no:randomly")
    explored = explore(source.format("@explore(max_deviations=0)"), "-s", "-p", "no:randomly")
    usual.assert_outcomes(passed=2)
    explored.assert_outcomes(passed=2)
    [there], [here] = ([line for line in each.outlines if "logs:" in line] for each in (usual, explored))
    assert "return" in there
    assert there.partition("logs:")[2] == here.partition("logs:")[2]


def test_wider_fixtures_are_new_in_each_run_and_put_back_afterwards(explore: Run, runner: Runner) -> None:
    """The suite's own stay set up: neither torn down nor replaced; sync ones that need no loop are shared."""
    scopes = [word for name in ("fixture", "test") for word in ("-o", f"asyncio_default_{name}_loop_scope=module")]
    if "aiohttp.pytest_plugin" in runner.plugins:
        pytest.skip("its loop has function scope")
    result = explore(
        """
        made, ended, seen = [], [], set()

        @(pytest.fixture(scope="module"))
        def kept():
            made.append("kept")
            return object()

        @pytest.fixture(scope="module", params=["one"])
        async def engine(request, kept):
            made.append("engine")
            await asyncio.sleep(0)
            yield {"name": request.param, "kept": kept}
            await asyncio.sleep(0)
            ended.append("engine")

        @pytest.fixture(scope="module")
        def url(engine):
            made.append("url")
            return f"sql://{engine['name']}"

        async def test_1_before(engine, url):
            engine["is the suite's"] = url

        @explore
        async def test_2_explored(engine, url, kept):
            assert engine == {"name": "one", "kept": kept} and url == "sql://one"
            engine["used"] = True
            await twice()

        async def test_3_after(engine, url, kept):
            assert engine == {"name": "one", "kept": kept, "is the suite's": "sql://one"}
            await asyncio.sleep(0)

        def test_4_counts():
            assert made.count("kept") == 1
            assert made.count("engine") == made.count("url") == len(ended) + 1 > 4
        """,
        *(scopes if "pytest_asyncio.plugin" in runner.plugins else ()),
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=4)


def test_teardown_is_explored_too(explore: Run) -> None:
    """A worker of a fixture that has not finished when the fixture is torn down, in one order."""
    result = explore(
        """
        @pytest.fixture
        async def queue():
            queue, done = asyncio.Queue(), []

            async def work():
                while True:
                    item = await queue.get()
                    await asyncio.sleep(0)
                    done.append(item)

            task = asyncio.create_task(work())
            yield queue
            for _ in range(3):
                await asyncio.sleep(0)
            task.cancel()
            assert done == ["letter"]

        @explore
        async def test_it(queue):
            queue.put_nowait("letter")
            await asyncio.sleep(0)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * AssertionError: assert [[]] == [[]'letter']",
            "*in the teardown of a fixture after run *",
            "This test passes in asyncio's default order and fails with one deviation*",
        ]
    )


def test_setup_is_not_explored(explore: Run) -> None:
    result = explore(
        """
        @pytest.fixture
        async def order():
            order = []

            async def client(name):
                await asyncio.sleep(0)
                order.append(name)

            await asyncio.gather(client("a"), client("b"))
            assert order == ["a", "b"]
            return order

        @explore
        async def test_it(order):
            await asyncio.sleep(0)
        """,
        "-v",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASSED (exhaustive, 1 run, 1 distinct)*"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "in the setup of a fixture before run *"),
        ("await asyncio.Event().wait()", "DeadlockError: every task is blocked:"),
        ("yield\n1 / 0", "in the teardown of a fixture after run *"),
        ("yield\nawait asyncio.Event().wait()", "DeadlockError: every task is blocked:"),
        ("while True: await asyncio.sleep(0)", "livelock? The test has not ended after max_steps=500 steps"),
    ],
)
def test_failing_fixture_is_a_failure_of_the_default_order(explore: Run, body: str, message: str) -> None:
    result = explore(
        f"""
opened, closed = [], []

@pytest.fixture
async def other():
    opened.append(1)
    yield
    closed.append(1)

@pytest.fixture
async def room(other):
{indent(body, " " * 4)}

@explore(max_steps=500)
async def test_it(room):
    await twice()

def test_others_are_torn_down():
    assert opened == closed
""",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([f"*{message}*", "This test fails in asyncio's default order:*"])
    result.stdout.no_fnmatch_line("*pytest_background_tasks/*")


def test_a_fixture_may_skip_the_test(explore: Run) -> None:
    result = explore(
        """
        ran = []

        @pytest.fixture
        async def room():
            ran.append(1)
            if len(ran) == 3:
                pytest.skip("enough")

        @explore
        async def test_it(room):
            await twice()
        """
    )
    result.assert_outcomes(skipped=1)


def test_deadlock_of_the_test_says_where_it_waits(explore: Run) -> None:
    """Fixtures are torn down all the same, also by anyio, which ran the test in the task that runs its fixtures."""
    result = explore(
        """
        ended = []

        @pytest.fixture
        async def log():
            yield ended
            ended.append(1)

        @pytest.fixture
        async def queue(log):
            yield asyncio.Queue()
            ended.append(2)

        @explore
        async def test_it(queue):
            await queue.get()

        def test_ended():
            print("ended:", ended)
        """,
        "-s",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E *DeadlockError: every task is blocked:",
            "*  main waits at test_it.py:* in test_it, for an item from a queue",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_background_tasks/*")
    result.stdout.fnmatch_lines(["*ended: [[]2, 1*"])


def test_external_cancellation_that_ends_a_test_cuts_its_run(explore: Run) -> None:
    """The fixtures of that run are torn down, and the task that a fixture started is not cancelled."""
    result = explore(
        """
        async def beats(log):
            while True:
                log.append("beat")
                await asyncio.sleep(1)

        @pytest.fixture
        async def log():
            log = []
            task = asyncio.create_task(beats(log))
            await asyncio.sleep(0)
            yield log
            assert not task.done()
            task.cancel()

        @explore(faults="cancel", max_deviations=1)
        async def test_it(log):
            await asyncio.gather(asyncio.sleep(1), asyncio.create_task(asyncio.sleep(2)))
        """,
        "-v",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASSED (*, * cut short)*"])


def test_tasks_of_a_fixture_that_its_teardown_ends_are_no_leak(explore: Run) -> None:
    source = """
        @pytest.fixture
        async def task():
            task = asyncio.create_task(asyncio.sleep(60))
            yield task
            if {}:
                task.cancel()

        @explore(fail_on_leaks=True)
        async def test_it(task):
            await asyncio.sleep(0)
    """
    explore(source.format("True")).assert_outcomes(passed=1)
    result = explore(source.format("False"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *LeakedTasks: tasks were still pending *", "*  setup/*/sleep waits at *"])
    result.stdout.no_fnmatch_line("*  main waits *")


def test_failure_of_a_background_task_fails_unless_a_teardown_retrieves_it(explore: Run) -> None:
    source = """
        async def fails():
            await asyncio.sleep(0)
            raise LookupError("lost")

        @pytest.fixture
        async def tasks():
            tasks = []
            yield tasks
            if {}:
                await asyncio.gather(*tasks, return_exceptions=True)

        @explore
        async def test_it(tasks):
            tasks.append(asyncio.create_task(fails()))
            await twice()
    """
    explore(source.format("True")).assert_outcomes(passed=1)
    result = explore(source.format("False"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E * LookupError: lost", "E * exception of background task fails was never retrieved*"]
    )


def test_all_phases_share_context_variables(explore: Run) -> None:
    """As they do without exploration: it depends on the runner which phase sees what another one has set."""
    source = """
        from contextvars import ContextVar

        user = ContextVar("user", default="nobody")
        seen = []

        @pytest.fixture
        async def login():
            token = user.set("alice")
            yield
            seen.append(user.get())

        {}
        async def test_it(login):
            seen.append(user.get())

        def test_seen():
            print("seen:", seen[:2], user.get())
    """
    usual = explore(source.format(""), "-s", "-p", "no:randomly")
    explored = explore(source.format("@explore"), "-s", "-p", "no:randomly")
    explored.assert_outcomes(passed=2)
    [there], [here] = ([line for line in each.outlines if "seen:" in line] for each in (usual, explored))
    assert there.partition("seen:")[2] == here.partition("seen:")[2]


def test_exploration_leaves_loops_policies_and_runners_as_they_were(explore: Run) -> None:
    result = explore(
        """
        import asyncio.events

        @pytest.fixture
        async def room():
            yield asyncio.get_running_loop()

        def state():
            return vars(asyncio.events).get("_event_loop_policy"), asyncio._get_running_loop()

        before = []

        async def test_1(room):
            before.append(state()[0])

        @explore
        async def test_2(room):
            assert room is asyncio.get_running_loop()
            await twice()

        async def test_3(room):
            assert before == [state()[0]]
            assert room is asyncio.get_running_loop()
            assert type(room).__module__.startswith("asyncio")
        """,
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=3)


def test_real_loops_of_sync_fixtures_and_threads_stay_real(explore: Run) -> None:
    """Only the loop on which the runner runs the test is controlled."""
    result = explore(
        """
        import threading

        def loop_of(function):
            return asyncio.run(function())

        async def kind():
            return hasattr(asyncio.get_running_loop(), "begin_main")

        @pytest.fixture
        def kind_of_fixture():
            return asyncio.run(kind())

        @explore
        async def test_it(kind_of_fixture):
            found = []
            thread = threading.Thread(target=lambda: found.append(asyncio.run(kind())))
            thread.start()
            thread.join()
            assert found == [kind_of_fixture] == [False]
            assert await kind()
        """
    )
    result.assert_outcomes(passed=1)


def test_replay_of_a_step_that_does_not_exist_is_an_error(explore: Run) -> None:
    """The run knows which deviations took effect, although the runner has closed its loop."""
    result = explore(
        """
        @explore
        async def test_it():
            await twice()
        """,
        "--explore-replay=client@7+1",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *ReplayError: *client*"])


def test_thread_that_a_fixture_starts_may_keep_running(explore: Run) -> None:
    """As one that existed before: it is refused only if it calls the loop."""
    result = explore(
        """
        import threading

        @(pytest.fixture)
        def monitor():
            over = threading.Event()
            thread = threading.Thread(target=over.wait)
            thread.start()
            yield
            over.set()
            thread.join()

        @pytest.fixture
        async def room(monitor):
            await asyncio.sleep(0)

        @explore
        async def test_it(room):
            await asyncio.sleep(1)
            await twice()
        """
    )
    result.assert_outcomes(passed=1)


def test_fixture_on_another_loop_of_the_runner_is_new_in_each_run_too(run: Run) -> None:
    """With pytest-asyncio, a fixture and its test may have loops of their own; both are controlled."""
    source = """
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def engine():
            await asyncio.sleep(3600)
            yield {"left": 1}
            await asyncio.sleep(3600)

        @explore
        @pytest.mark.asyncio(loop_scope="function")
        async def test_it(engine):
            async def buy():
                if engine["left"]:
                    await asyncio.sleep(0)
                    engine["left"] -= 1

            async def later():
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await buy()

            await asyncio.gather(buy(), later())
            assert engine["left"] == 0
    """
    result = run(source, plugins=("pytest_asyncio.plugin",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  ! buy resumes late after yielding, *"])


def test_tasks_that_wait_for_each_other_at_the_end_are_a_deadlock(explore: Run) -> None:
    """No runner can cancel them: asyncio's cancellation follows the circle and ends in a RecursionError."""
    result = explore(
        """
        @pytest.fixture
        async def tasks():
            return {}

        async def wait_for(tasks, other):
            await asyncio.sleep(0)
            await tasks[other]

        @explore
        async def test_it(tasks):
            tasks["a"] = asyncio.create_task(wait_for(tasks, "b"))
            tasks["b"] = asyncio.create_task(wait_for(tasks, "a"))
            await asyncio.sleep(1)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *DeadlockError: tasks wait for each other, and none of them can be cancelled:"])
    result.stdout.no_fnmatch_line("*RecursionError*")


def test_a_suite_is_explored_under_its_runner(explore: Run) -> None:
    """``--explore`` needs no change of a test; its fixtures are set up in each run."""
    result = explore(
        SHOP
        + """
async def visit(shop):
    if shop.left:
        await asyncio.sleep(0.01)
        shop.left -= 1
        shop.sold += 1

async def look_and_visit(shop):
    await asyncio.sleep(0.01)
    await visit(shop)

async def test_it(shop):
    await asyncio.gather(visit(shop), look_and_visit(shop))
    assert shop.sold == 1

async def test_one_order(shop):
    await asyncio.sleep(0.01)
""",
        "--explore",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "This test passes in asyncio's default order and fails with one deviation*",
            "2 tests explored in * runs: 1 with more than one order, 1 with one order only",
        ]
    )
