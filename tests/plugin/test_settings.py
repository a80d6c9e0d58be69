"""The options of `@explore` for a whole session, from the command line and the ini file."""

import pytest


@pytest.mark.parametrize(
    ("ini", "args", "own", "deviations"),
    [
        ("", (), "", 2),
        ("explore_max_deviations = 1", (), "", 1),
        ("explore_max_deviations = 1", ("--explore-max-deviations=3",), "", 3),
        ("explore_max_deviations = 1", ("--explore-max-deviations=3",), "max_deviations=0", 0),
    ],
)
def test_keywords_override_the_command_line_which_overrides_the_ini(
    run, pytester: pytest.Pytester, ini: str, args: tuple[str, ...], own: str, deviations: int
) -> None:
    pytester.makeini(f"[pytest]\n{ini}")
    source = f"""
        @explore({own})
        async def test_it():
            async def client():
                for _ in range(3):
                    await asyncio.sleep(0)
            await asyncio.gather(client(), client())
    """
    result = run(source, *args)
    covered = f"with up to {deviations} deviation{'s' * (deviations != 1)} from" if deviations else "in"
    result.stdout.fnmatch_lines([f"*bounded: no failure {covered} asyncio's default order (*"])


def test_cancel_must_find_a_task_only_if_it_is_an_option_of_the_test(run) -> None:
    source = """
        @explore{own}
        async def test_it():
            await asyncio.sleep(0)
    """
    result = run(source.replace("{own}", ""), "--explore-faults=cancel")
    result.stdout.fnmatch_lines(
        ["*exhaustive: * (not varied: different durations, slow sleeps, cancellations and errors); *"]
    )
    result = run(source.replace("{own}", "(faults='cancel')"), "--explore-faults=cancel")
    result.stdout.fnmatch_lines(["E*ExplorationError: faults='cancel' found no task to cancel: *"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explore_max_schedules = many", "explore_max_schedules = many: invalid value"),
        ("explore_max_schedules = 0", "explore_max_schedules = 0: max_schedules=0 is less than 1*"),
        ("explore_faults = perhaps", "explore_faults = perhaps: faults='perhaps': unknown fault; write 'cancel', *"),
        ("explore_arrivals = post", "explore_arrivals = post: arrivals=('post',): unknown kind 'post'*"),
    ],
)
def test_invalid_value_is_a_usage_error(run, pytester: pytest.Pytester, line: str, message: str) -> None:
    pytester.makeini(f"[pytest]\n{line}")
    result = run("def test_it(): ...")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}", "  write e.g. *"])


def test_suggested_option_is_quoted_for_the_shell(run) -> None:
    result = run("def test_it(): ...", "--explore-arrivals=slep")
    result.stderr.fnmatch_lines(["  write e.g.  --explore-arrivals='start sleep'"])
