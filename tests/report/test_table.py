"""Whatever the story: no row is wider than the terminal, nothing in it does harm, and every deviation is to be seen."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_background_tasks.report.side_by_side import side_by_side
from pytest_background_tasks.report.source import Line
from pytest_background_tasks.report.story import Difference, Failing, Moment, Story
from pytest_background_tasks.report.table import table
from pytest_background_tasks.report.text import Row, plain, width_of
from pytest_background_tasks.sites import Site

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
sites = st.builds(Site, st.sampled_from(["/app/a.py", "/app/任务.py"]), st.integers(1, 99999), st.sampled_from("fg"))
lines = st.builds(Line, site=sites, text=words, deep=st.integers(0, 4))
marks = st.sampled_from(["goes on late", "is cancelled from outside", "gets KeyError from outside"])


@st.composite
def stories(draw: st.DrawFn, names: list[str]) -> Story:
    lane = st.sampled_from(["", *names])
    moment = st.builds(
        Moment,
        lane=lane,
        what=st.sampled_from(["starts", "goes on", "gets KeyError", "its timer fires", "f is called"]),
        is_step=st.booleans(),
        at=st.just(()),
        until=st.just(()),
        waits_for=st.sampled_from(["", "a lock held by b", "its next turn", "the tasks a, b"]),
        end=st.sampled_from(["", "", "", "returns", "raises KeyError", "passes on KeyError", "is cancelled"]),
        starts=st.sampled_from([(), (), tuple(names)]),
        woken_by=st.none(),
        time=st.sampled_from([0.0, 0.5]),
        ran=st.lists(lines, max_size=2).map(tuple) | st.lists(lines, min_size=9, max_size=9).map(tuple),
    )
    moments = draw(st.lists(moment, max_size=8)) * draw(st.sampled_from([1, 1, 10]))
    index = st.none() | st.integers(0, len(moments) - 1) if moments else st.none()
    difference = st.builds(Difference, lane=lane, mark=marks, sentence=words, code=words, moment=index)
    return Story(tuple(names), tuple(moments), tuple(draw(st.lists(difference, max_size=4))))


@st.composite
def failings(draw: st.DrawFn) -> Failing:
    names = draw(st.lists(words.filter(bool), min_size=1, max_size=4, unique=True)) + draw(st.sampled_from([[], NAMES]))
    here = draw(stories(names))
    usual = draw(st.none() | stories(names).map(lambda story: replace(story, differences=())))
    longest = max(len(here.moments), len(usual.moments) if usual else 0)
    parting = None if usual is None else draw(st.none() | st.integers(0, longest))
    return Failing(usual, here, parting)


def fits(rows: list[Row], width: int) -> bool:
    texts = plain(rows).split("\n")
    return len(texts) == max(len(rows), 1) and all(width_of(text) <= width and text == text.rstrip() for text in texts)


@settings(max_examples=50)
@given(failings(), st.integers(20, 200))
def test_no_row_is_wider_than_the_terminal_and_nothing_in_it_does_harm(failing: Failing, width: int) -> None:
    """It neither moves the cursor, nor turns the direction of the text, nor colours it."""
    for rows in table(failing, width), side_by_side(failing, width):
        assert fits(rows, width), plain(rows)
        assert plain(rows).replace("\n", "").isprintable()


@settings(max_examples=50)
@given(failings(), st.integers(20, 200))
def test_every_deviation_is_to_be_seen(failing: Failing, width: int) -> None:
    marked = [row for row in plain(table(failing, width)).split("\n") if row.startswith("!")]
    assert len(marked) >= len(failing.here.differences)


def moment(lane: str, *numbers: int, end: str = "", **rest: object) -> Moment:
    ran = tuple(Line(Site("/a.py", number, lane), f"line {number}") for number in numbers)
    return replace(Moment(lane, "goes on", True, (), (), "", end, (), None, 0.0, ran), **rest)  # type: ignore[arg-type]


def shown(*moments: Moment, width: int = 80, parting: int | None = None) -> list[str]:
    names = tuple(dict.fromkeys(each.lane for each in moments))
    usual = None if parting is None else Story(names, moments)
    failing = Failing(usual, Story(names, moments), parting)
    return [row.strip() for row in plain(table(failing, width)).split("\n")][2:]


def test_a_long_story_is_told_from_where_something_is_new() -> None:
    """What repeats itself is counted."""
    working = [moment(lane, 1 + number % 2) for number in range(500) for lane in ("main", "other")]
    rows = shown(*working, moment("other", 7), *working)
    assert "7 line 7" in rows
    assert rows.count("(these 4 steps 249 more times)") == 2
    assert len(rows) < 30


def test_what_happens_when_the_test_has_ended_is_not_told() -> None:
    assert shown(moment("main", 1), moment("main", 2, end="returns"), moment("main", 3)) == ["1 line 1", "2 line 2"]


def test_lines_of_functions_that_a_step_calls_give_way_if_there_are_many() -> None:
    deep = tuple(Line(Site("/a.py", 50 + number, "g"), "deep", 1) for number in range(20))
    outer = tuple(Line(Site("/a.py", number, "f"), "outer") for number in (1, 2))
    step = moment("main")
    assert shown(replace(step, ran=(outer[0], *deep[:3], outer[1]))) == [
        "1 outer",
        "50   deep",
        "51   deep",
        "52   deep",
        "2 outer",
    ]
    assert shown(replace(step, ran=(outer[0], *deep, outer[1]))) == ["1 outer", "2 outer"]


def test_tasks_that_start_others_for_ever_are_counted() -> None:
    """Whoever starts a column is told all the same, and so is how the test fails."""
    names = ["main", *(f"job {number}" for number in range(1000)), "column"]
    jobs = [moment(f"job {number}", 1, starts=(f"job {number + 1}",), end="raises KeyError") for number in range(900)]
    started = moment("job 950", 1, starts=("column",))
    moments = [*jobs[:500], started, *jobs[500:], moment("column", 7), moment("main", 2, end="raises AssertionError")]
    differences = (Difference("column", "goes on late", "", "", 901),)
    here = Story(tuple(names), tuple(moments), differences)
    rows = plain(table(Failing(Story(tuple(names), tuple(moments)), here, 901), 40)).split("\n")
    assert "  job 950 starts column" in rows
    assert "  main raises AssertionError in 2 line 2" in rows
    assert len(rows) < 40


def test_a_task_fails_where_its_error_is_raised_and_not_where_it_cleans_up() -> None:
    raised = (Line(Site("/a.py", 3, "main"), "raise it"),)
    rows = shown(moment("a", 1), moment("main", 3, 9, end="raises KeyError", until=raised), width=30, parting=0)
    assert "main raises KeyError in 3 r" in rows[-1]


def test_all_lines_of_a_callback_are_told() -> None:
    moments = (moment("a", 1), moment("", 8, 9, what="on_done is called", is_step=False))
    rows = plain(table(Failing(None, Story(("a",), moments), None), 80)).split("\n")
    assert rows[2:] == ["  1 line 1", "  on_done is called:", "    8 line 8", "    9 line 9"]


def test_siblings_with_long_names_can_be_told_apart() -> None:
    names = [f"Scheduler.start/background_job#{number}" for number in range(3)]
    rows = plain(table(Failing(None, Story(tuple(names), tuple(moment(name, 1) for name in names)), None), 80))
    assert all(f"#{number}" in rows.split("\n")[0] for number in range(3))


def test_time_is_told_when_it_moves() -> None:
    rows = shown(moment("main", 1), moment("main", 2, time=3600.0), moment("main", 3, time=3600.0))
    assert rows == ["1 line 1", "after 3600 s:", "2 line 2", "3 line 3"]


def test_what_is_no_column_is_counted() -> None:
    moments = [moment(f"task {number}", number) for number in range(1, 21)]
    rows = shown(*moments, width=80, parting=0)
    assert rows[-1] == "not shown: 1 step of task 4, 1 step of task 5, 1 step of task 6 and 14 more"


def test_who_wakes_a_task_with_a_column_is_told_if_it_has_none() -> None:
    """It has made a difference; of the others, steps are only counted."""
    names = [f"task {number}" for number in range(1, 5)]
    moments = [
        *(moment(name, number) for number, name in enumerate(names, 1)),
        moment("task 4", 8, 9),
        moment("task 1", 5, woken_by=4),
    ]
    differences = (Difference("task 1", "goes on late", "", "", 5),)
    here = Story(tuple(names), tuple(moments), differences)
    shown = plain(table(Failing(Story(tuple(names), tuple(moments)), here, 2), 30))
    assert "task 4, at 8-9, wakes task 1" in shown
