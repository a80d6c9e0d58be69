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


def test_async_fixture_can_be_excluded(run) -> None:
    """With an argument, on the command line and in the ini file; then the test does not use it."""
    source = """
        @pytest.fixture(autouse=True)
        async def clean_db():
            1 / 0

        @explore{options}
        async def test_it():
            await twice()
    """
    automatic = ("-o", "asyncio_mode=auto")
    plugins = ("pytest_asyncio.plugin",)
    run(source.replace("{options}", ""), *automatic, plugins=plugins).assert_outcomes(failed=1)
    excluding = source.replace("{options}", "(exclude_fixtures=['clean_db'])")
    run(excluding, *automatic, plugins=plugins).assert_outcomes(passed=1)
    option = "--explore-exclude-fixtures=clean_db"
    run(source.replace("{options}", ""), *automatic, option, plugins=plugins).assert_outcomes(passed=1)


def test_async_fixture_without_a_plugin_is_pytests_error(run) -> None:
    result = run(
        """
        @pytest.fixture
        async def room():
            return 1

        @explore
        async def test_it(room): ...
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*'test_it' requested an async fixture 'room', with no plugin or hook that handled it*"]
    )


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


@pytest.mark.parametrize("by", ["test", "fixture"])
def test_unsupported_fixture_requested_at_run_time_is_an_error(run, by: str) -> None:
    """With getfixturevalue: pytest does not know of it before."""
    result = run(
        f"""
        @pytest.fixture
        def store(request):
            if "{by}" == "fixture":
                request.getfixturevalue("virtual_time")

        @explore
        async def test_it(request, store):
            request.getfixturevalue("virtual_time")
        """
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E*UsageError: test_it is explored, and *provides virtual time already*"])


def test_fixture_that_another_requests_cannot_be_excluded(run) -> None:
    """Excluding it does not end in pytest's own error."""
    result = run(
        """
        @pytest.fixture
        def stock():
            return 2

        @pytest.fixture
        def shop(stock):
            return stock

        @explore(exclude_fixtures=["stock"])
        async def test_it(shop): ...
        """
    )
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
