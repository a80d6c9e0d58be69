"""The fixtures of an explored test: fresh in every run, and errors for those that it cannot use."""

import pytest


def test_fixtures_of_function_scope_are_fresh_in_every_run(run) -> None:
    run(
        """
        made, ended = [], []

        @pytest.fixture(scope="module")
        def shared():
            made.append("shared")
            return []

        @pytest.fixture
        def fresh(shared, tmp_path, monkeypatch):
            made.append("fresh")
            assert not list(tmp_path.iterdir())
            (tmp_path / "used").touch()
            yield []
            ended.append("fresh")

        @explore
        async def test_it(fresh, shared, request, background_tasks):
            assert fresh == [] and request.getfixturevalue("fresh") is fresh
            fresh.append(1)
            assert background_tasks.task_count == 0
            await twice()

        def test_afterwards():
            assert made.count("shared") == 1
            assert made.count("fresh") == len(ended) > 3
        """
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("yield\n    assert len(runs) < 3, 'cannot clean up'", "*in the teardown of a fixture after run 3*"),
        ("assert len(runs) < 3, 'no more room'\n    yield", "*in the setup of a fixture before run 3*"),
        ("if len(runs) == 3: pytest.skip('enough')\n    yield", "*1 skipped*"),
    ],
)
def test_a_fixture_may_end_the_exploration(run, body: str, line: str) -> None:
    source = f"""
runs = []

@pytest.fixture
def room():
    runs.append(1)
    {body}

@explore
async def test_it(room):
    await twice()
"""
    result = run(source)
    result.stdout.fnmatch_lines([line])
    for foreign in ("*explorer/*", "*CallInfo*"):
        result.stdout.no_fnmatch_line(foreign)


def test_error_names_an_async_fixture(run) -> None:
    """Also an autouse fixture of any scope; the test can exclude that one."""
    source = """
        @pytest.fixture(autouse=True, scope="session")
        async def clean_db():
            yield

        @explore{options}
        async def test_it():
            await twice()
    """
    result = run(source.replace("{options}", ""), plugins=("pytest_asyncio.plugin",))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*its fixture clean_db is async (*test_it.py:* in clean_db)",
            "*async with clean_db_of_the_test() as clean_db:",
            "*or exclude it:  @explore(exclude_fixtures=[[]'clean_db'])",
        ]
    )
    run(source.replace("{options}", "(exclude_fixtures=['clean_db'])")).assert_outcomes(passed=1)
    run(source.replace("{options}", ""), "--explore-exclude-fixtures=clean_db").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ("exclude_fixtures=['nothing']", "", "*exclude_fixtures='nothing': test_it has no such fixture*"),
        ("exclude_fixtures='tmp_path'", "tmp_path", "*test_it requests tmp_path, and exclude_fixtures= excludes it*"),
        ("", "virtual_time", "*provides virtual time already*"),
        pytest.param(
            "",
            "subtests",
            "*cannot see failures inside subtests*",
            marks=pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests came with pytest 9"),
        ),
    ],
)
def test_unsupported_fixtures_are_errors(run, options: str, arguments: str, message: str) -> None:
    result = run(
        f"""
        @explore({options})
        async def test_it({arguments}): ...
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("name", "scope", "message"),
    [
        ("virtual_time", "function", "*provides virtual time already*"),
        ("clean_db", "function", "*its fixture clean_db is async*"),
        ("clean_db", "module", "*its fixture clean_db is async*"),
    ],
)
@pytest.mark.parametrize("by", ["test", "fixture"])
def test_unsupported_fixtures_requested_at_run_time_are_errors(
    run, name: str, scope: str, message: str, by: str
) -> None:
    """With getfixturevalue: pytest does not know of them before."""
    result = run(
        f"""
        @pytest.fixture(scope="{scope}")
        async def clean_db():
            yield

        @pytest.fixture(scope="{scope}")
        def store(request):
            if "{by}" == "fixture":
                request.getfixturevalue("{name}")

        @explore
        async def test_it(request, store):
            request.getfixturevalue("{name}")
        """,
        plugins=("pytest_asyncio.plugin",),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"E*UsageError: test_it uses @explore{message}"])


def test_error_names_the_async_fixture_that_a_fixture_extends(run, pytester: pytest.Pytester) -> None:
    """The fixture that it extends is set up with it."""
    pytester.makeconftest("import pytest\n\n@pytest.fixture\nasync def room():\n    return 1\n")
    result = run(
        """
        @pytest.fixture
        def room(room):
            return room

        @explore
        async def test_it(room):
            pass
        """
    )
    result.stdout.fnmatch_lines(["*test_it uses @explore, but its fixture room is async (conftest.py:*)"])


def test_one_error_names_a_whole_chain_of_async_fixtures(run) -> None:
    """The error says what to write for all of them: fixtures that others request come first."""
    result = run(
        """
        @pytest.fixture
        async def session(engine):
            yield engine

        @pytest.fixture
        async def engine(url):
            return url

        @pytest.fixture
        def url():
            return "sqlite://"

        @explore
        async def test_it(session): ...
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*test_it uses @explore, but its fixtures session (test_it.py:* in session), "
            "engine (test_it.py:* in engine) are async",
            "*make each an asynccontextmanager, e.g. session_of_the_test; or, if it has no yield, "
            "a plain coroutine function, e.g. make_engine, and write inside the test:",
            "*engine = await make_engine(url)",
            "*async with session_of_the_test(engine) as session:",
        ]
    )
    result.stdout.no_fnmatch_line("*exclude_fixtures=*")


def test_fixture_that_another_requests_cannot_be_excluded(run) -> None:
    """The error does not advise it, and excluding it does not end in pytest's own error."""
    source = """
        @pytest.fixture
        async def stock():
            return 2

        @pytest.fixture
        def shop(stock):
            return stock

        @explore{}
        async def test_it(shop): ...
    """
    result = run(source.format(""))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*its fixture stock is async*"])
    result.stdout.no_fnmatch_line("*exclude_fixtures=*")
    result = run(source.format("(exclude_fixtures=['stock'])"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*exclude_fixtures='stock': the fixture shop of test_it requests it; "
            "exclude that too, or remove stock from exclude_fixtures="
        ]
    )


def test_autouse_fixture_and_its_dependency_can_be_excluded(run) -> None:
    run(
        """
        @pytest.fixture
        async def stock():
            return 2

        @pytest.fixture(autouse=True)
        def shop(stock):
            return stock

        @explore(exclude_fixtures=["stock", "shop"])
        async def test_it(): ...
        """
    ).assert_outcomes(passed=1)
