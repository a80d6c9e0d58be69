"""No row is wider than the terminal, control characters are escaped, and every deviation is visible."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks._explore.schedule import Cancel, Delay, Raise, Slow
from pytest_background_tasks._explore.trace import Outcome
from pytest_background_tasks._introspect.location import SourceLocation
from pytest_background_tasks._introspect.wait_reason import WaitReason
from pytest_background_tasks._report.layout import Row, plain, width_of
from pytest_background_tasks._report.model import DeviationView, FailureView, RunView, StepKind, StepView
from pytest_background_tasks._report.side_by_side import side_by_side
from pytest_background_tasks._report.source import Line
from pytest_background_tasks._report.table import table

HOSTILE = [
    "add#1",
    "任务一号",
    "\x1b[31mred",
    "a\nb",
    "x" * 300,
    "\u202eevil",
    "e\u0301",
    "\ud800",
    "\U0001f468\u200d\U0001f469",
]
NAMES = [f"job#{number}" for number in range(20)]
words = st.text(max_size=10) | st.sampled_from(HOSTILE)
sites = st.builds(
    SourceLocation, st.sampled_from(["/app/a.py", "/app/任务.py"]), st.integers(1, 99999), st.sampled_from("fg")
)
lines = st.builds(Line, site=sites, text=words, depth=st.integers(0, 4))
deviations = st.sampled_from(
    [Delay("a", 0), Delay("a", 1), Delay("a:timer", 0), Cancel("a", 1), Raise("a", 1, "KeyError"), Slow("a", 1)]
)
reasons = st.sampled_from(
    [
        None,
        WaitReason("lock", "a lock", ("b",)),
        WaitReason("turn", "its next turn in the event loop"),
        WaitReason("task", "", ("a", "b")),
    ]
)
outcomes = st.sampled_from(
    [
        *[None] * 3,
        Outcome("returned"),
        Outcome("raised", "KeyError"),
        Outcome("propagated", "KeyError"),
        Outcome("cancelled"),
    ]
)


@st.composite
def runs(draw: st.DrawFn, names: list[str]) -> RunView:
    task = st.sampled_from(["", *names])
    step = st.builds(
        StepView,
        task=task,
        kind=st.sampled_from(StepKind),
        subject=words,
        is_step=st.booleans(),
        resumed_at=st.just(()),
        suspended_at=st.just(()),
        waiting_for=reasons,
        outcome=outcomes,
        starts=st.sampled_from([(), (), tuple(names)]),
        woken_by=st.none(),
        time=st.sampled_from([0.0, 0.5]),
        lines=st.lists(lines, max_size=2).map(tuple) | st.lists(lines, min_size=9, max_size=9).map(tuple),
    )
    steps = draw(st.lists(step, max_size=8)) * draw(st.sampled_from([1, 1, 10]))
    index = st.none() | st.integers(0, len(steps) - 1) if steps else st.none()
    view = st.builds(
        DeviationView,
        deviation=deviations,
        task=task,
        arrival=st.sampled_from([None, "sleep", "timer"]),
        site=st.none() | sites,
        code=words,
        path=st.just(()),
        step=index,
    )
    return RunView(tuple(names), tuple(steps), tuple(draw(st.lists(view, max_size=4))))


@st.composite
def failures(draw: st.DrawFn) -> FailureView:
    names = draw(st.lists(words.filter(bool), min_size=1, max_size=4, unique=True)) + draw(st.sampled_from([[], NAMES]))
    failing = draw(runs(names))
    baseline = draw(st.none() | runs(names).map(lambda run: replace(run, deviations=())))
    longest = max(len(failing.steps), len(baseline.steps) if baseline else 0)
    divergence = None if baseline is None else draw(st.none() | st.integers(0, longest))
    return FailureView(baseline, failing, divergence)


def fits(rows: list[Row], width: int) -> bool:
    texts = plain(rows).split("\n")
    return len(texts) == max(len(rows), 1) and all(width_of(text) <= width and text == text.rstrip() for text in texts)


@settings(max_examples=50)
@given(failures(), st.integers(20, 200))
def test_rows_fit_the_terminal_and_contain_no_control_characters(view: FailureView, width: int) -> None:
    """It neither moves the cursor, nor turns the direction of the text, nor colours it."""
    for rows in table(view, width), side_by_side(view, width):
        assert fits(rows, width), plain(rows)
        assert plain(rows).replace("\n", "").isprintable()


@settings(max_examples=50)
@given(failures(), st.integers(20, 200))
def test_every_deviation_is_visible(view: FailureView, width: int) -> None:
    marked = [row for row in plain(table(view, width)).split("\n") if row.startswith("!")]
    assert len(marked) >= len(view.failing.deviations)


RETURNED, RAISED = Outcome("returned"), Outcome("raised", "KeyError")


def delayed(task: str, step: int) -> DeviationView:
    return DeviationView(Delay(task, 1), task, "sleep", None, "", (), step)


def step(task: str, *numbers: int, outcome: Outcome | None = None, **rest: object) -> StepView:
    lines = tuple(Line(SourceLocation("/a.py", number, task), f"line {number}") for number in numbers)
    view = StepView(task, StepKind.RESUME, "", True, (), (), None, outcome, (), None, 0.0, lines)
    return replace(view, **rest)  # type: ignore[arg-type]


def shown(*steps: StepView, width: int = 80, divergence: int | None = None) -> list[str]:
    names = tuple(dict.fromkeys(each.task for each in steps))
    baseline = None if divergence is None else RunView(names, steps)
    view = FailureView(baseline, RunView(names, steps), divergence)
    return [row.strip() for row in plain(table(view, width)).split("\n")][2:]


def test_repeated_steps_of_a_long_run_are_counted() -> None:
    """What repeats itself is counted."""
    working = [step(task, 1 + number % 2) for number in range(500) for task in ("main", "other")]
    rows = shown(*working, step("other", 7), *working)
    assert "7 line 7" in rows
    assert rows.count("(these 4 steps repeat 249 more times)") == 2
    assert len(rows) < 30


def test_steps_after_the_end_of_the_test_are_not_shown() -> None:
    assert shown(step("main", 1), step("main", 2, outcome=RETURNED), step("main", 3)) == ["1 line 1", "2 line 2"]


def test_lines_of_called_functions_are_omitted_if_there_are_many() -> None:
    deep = tuple(Line(SourceLocation("/a.py", 50 + number, "g"), "deep", 1) for number in range(20))
    outer = tuple(Line(SourceLocation("/a.py", number, "f"), "outer") for number in (1, 2))
    main = step("main")
    assert shown(replace(main, lines=(outer[0], *deep[:3], outer[1]))) == [
        "1 outer",
        "50   deep",
        "51   deep",
        "52   deep",
        "2 outer",
    ]
    assert shown(replace(main, lines=(outer[0], *deep, outer[1]))) == ["1 outer", "2 outer"]


def test_tasks_that_start_others_endlessly_are_counted() -> None:
    """The task that starts a column is named all the same, and so is the failure of the test."""
    names = ["main", *(f"job {number}" for number in range(1000)), "column"]
    jobs = [step(f"job {number}", 1, starts=(f"job {number + 1}",), outcome=RAISED) for number in range(900)]
    started = step("job 950", 1, starts=("column",))
    steps = [
        *jobs[:500],
        started,
        *jobs[500:],
        step("column", 7),
        step("main", 2, outcome=Outcome("raised", "AssertionError")),
    ]
    failing = RunView(tuple(names), tuple(steps), (delayed("column", 901),))
    rows = plain(table(FailureView(RunView(tuple(names), tuple(steps)), failing, 901), 40)).split("\n")
    assert "  job 950 starts column" in rows
    assert "  main raises AssertionError in 2 line 2" in rows
    assert len(rows) < 40


def test_error_is_shown_at_its_line_and_not_in_the_cleanup() -> None:
    raised = (Line(SourceLocation("/a.py", 3, "main"), "raise it"),)
    rows = shown(step("a", 1), step("main", 3, 9, outcome=RAISED, suspended_at=raised), width=30, divergence=0)
    assert "main raises KeyError in 3 r" in rows[-1]


def test_all_lines_of_a_callback_are_shown() -> None:
    steps = (step("a", 1), step("", 8, 9, kind=StepKind.CALLBACK, subject="on_done", is_step=False))
    rows = plain(table(FailureView(None, RunView(("a",), steps), None), 80)).split("\n")
    assert rows[2:] == ["  1 line 1", "  on_done is called:", "    8 line 8", "    9 line 9"]


def test_siblings_with_long_names_are_distinguishable() -> None:
    names = [f"Scheduler.start/background_job#{number}" for number in range(3)]
    rows = plain(table(FailureView(None, RunView(tuple(names), tuple(step(name, 1) for name in names)), None), 80))
    assert all(f"#{number}" in rows.split("\n")[0] for number in range(3))


def test_time_is_shown_when_it_advances() -> None:
    rows = shown(step("main", 1), step("main", 2, time=3600.0), step("main", 3, time=3600.0))
    assert rows == ["1 line 1", "at 3600 s:", "2 line 2", "3 line 3"]


def test_steps_of_tasks_without_a_column_are_counted() -> None:
    steps = [step(f"task {number}", number) for number in range(1, 21)]
    rows = shown(*steps, width=80, divergence=0)
    assert rows[-1] == "not shown: 1 step of task 4, 1 step of task 5, 1 step of task 6 and 14 more"


def test_waker_without_a_column_is_shown() -> None:
    """It has made a difference; of the others, steps are only counted."""
    names = [f"task {number}" for number in range(1, 5)]
    steps = [
        *(step(name, number) for number, name in enumerate(names, 1)),
        step("task 4", 8, 9),
        step("task 1", 5, woken_by=4),
    ]
    failing = RunView(tuple(names), tuple(steps), (delayed("task 1", 5),))
    shown = plain(table(FailureView(RunView(tuple(names), tuple(steps)), failing, 2), 30))
    assert "task 4, at 8-9, wakes task 1" in shown
