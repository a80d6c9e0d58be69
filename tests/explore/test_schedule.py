"""A schedule is a set of deviations, and survives the round trip through text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from pytest_background_tasks import Cancel, Delay, NetworkFault, Raise, Schedule, ScheduleSyntaxError, Slow
from pytest_background_tasks._explore.schedule import Deviation, canonical, quoted

parts = st.builds(
    lambda name, number: quoted(name) + (f"#{number}" if number else ""),
    st.text(min_size=1)
    | st.sampled_from(["client", "a-b.c", "<lambda>", "outlast", "cancel", "1", 'a"b', "a#1", "a@1"]),
    st.integers(0, 3),
)
names = st.builds(
    lambda path, timer: "/".join(path) + timer,
    st.lists(parts, min_size=1, max_size=3),
    st.sampled_from(["", ":timer", ":timer#2", ":thread"]),
)
steps = st.integers(0, 99)
errors = st.sampled_from(["ConnectionError", "OSError", "slower", "cancelled"])
deviations: st.SearchStrategy[Deviation] = (
    st.builds(Delay, names, steps, st.integers(1, 99))
    | st.builds(Delay, names, steps, st.integers(0, 99), st.integers(0, 9))
    | st.builds(Cancel, names, steps, st.none() | st.integers(0, 9))
    | st.builds(Cancel, names, steps, st.integers(0, 9), st.integers(0, 9))
    | st.builds(Raise, names, steps, errors)
    | st.builds(Slow, names, steps)
    | st.builds(NetworkFault, names, steps, st.sampled_from(["reset", "eof"]), st.integers(0, 99))
    | st.builds(NetworkFault, names, steps, st.just("split"), st.integers(1, 99))
    | st.builds(NetworkFault, names, steps, st.just("refused"))
)
schedules = st.builds(
    Schedule,
    st.lists(deviations, max_size=4, unique_by=lambda each: (type(each), canonical(each.task), each.step)),
)


@given(schedules)
def test_a_schedule_survives_its_text_form(schedule: Schedule) -> None:
    assert Schedule.parse(str(schedule)) == schedule
    assert str(Schedule.parse(str(schedule))) == str(schedule)


@given(st.text())
def test_arbitrary_names_are_parsed_as_names_given_by_the_program(name: str) -> None:
    """It means the same when it is parsed again."""
    late = Delay(name, 1)
    assert Schedule.parse(str(late)) == {late}


@given(st.text(max_size=30) | st.text('ab@+!#"\\/:, 1', max_size=12))
def test_any_text_is_a_schedule_or_an_error_with_a_pointer(text: str) -> None:
    try:
        Schedule.parse(text)
    except ScheduleSyntaxError as error:
        message = str(error)
    else:
        return
    assert text in message
    assert "^" in message


def test_text_form() -> None:
    text = (
        "audit#2@1+3, audit#3@1+0.0, audit#4@1+2.1, client:timer#1+2, client@4!cancel, client@5!cancel+0, "
        '"job 7"/x@2!slow, store@2!ConnectionError'
    )
    schedule = Schedule.parse(text)
    assert schedule == {
        Delay("audit#2", 1, by=3),
        Delay("audit#3", 1, by=0, behind=0),
        Delay("audit#4", 1, by=2, behind=1),
        Delay("client:timer#1", 0, by=2),
        Cancel("client", 4),
        Cancel("client", 5, after=0),
        Slow('"job 7"/x', 2),
        Raise("store", 2, "ConnectionError"),
    }
    assert set(str(schedule).split(", ")) == set(text.split(", "))


def test_one_schedule_has_one_text() -> None:
    """Deviations are sorted by task, step and text; the repr recreates the schedule."""
    schedule = Schedule.parse("b@0!slow, a@10+1, a@2!slow, a@2+1, a@2!cancel")
    assert str(schedule) == "a@2!cancel, a@2!slow, a@2+1, a@10+1, b@0!slow"
    assert repr(schedule) == "Schedule.parse('a@2!cancel, a@2!slow, a@2+1, a@10+1, b@0!slow')"


def test_empty_text_is_the_default_order() -> None:
    assert Schedule.parse("") == Schedule.parse("  ") == Schedule()
    assert not Schedule()
    assert str(Schedule()) == ""


@pytest.mark.parametrize(
    ("text", "complaint", "place"),
    [
        ("@1+2", "expected the name of a task", 0),
        ("audit+2", "expected @ and the number of a step", 5),
        ("audit@x+2", "expected @ and the number of a step", 5),
        ("audit@1", "expected +places, !cancel, !slow, !reset, !refused, !eof, !split or !NameOfAnError", 7),
        ("audit@1+0", "by=0: a delay is at least 1 place", 7),
        ("audit@1+1 b@1+1", "expected a comma or the end", 10),
        ("audit@1+1,", "expected another deviation after the comma", 10),
        ("audit@1+1, b", "expected @ and the number of a step", 12),
        ("a@1+1, b@1+1, a@1+2", "this step already has a delay, a@1+1", 14),
        ("a@1+1, a#1@1+1", "this step already has a delay, a@1+1", 7),
        ("a@1!cancel, a@1!cancel+1", "this step already has a cancellation, a@1!cancel", 12),
        ("a@1!OSError, a@1!KeyError", "this step already has an injected error, a@1!OSError", 13),
        ("a@1!slow, a@1!slow", "this step already has a slow result, a@1!slow", 10),
    ],
)
def test_syntax_error_points_at_the_position(text: str, complaint: str, place: int) -> None:
    with pytest.raises(ScheduleSyntaxError) as raised:
        Schedule.parse(text)
    first, shown, pointer, *_ = str(raised.value).splitlines()
    assert first == f"invalid schedule: {complaint}"
    assert shown == f"  {text}"
    assert pointer.index("^") == place + 2


def test_complete_text_of_a_syntax_error() -> None:
    with pytest.raises(ScheduleSyntaxError) as raised:
        Schedule.parse("audit#1@1+1; client@4!cancel")
    assert str(raised.value) == snapshot(
        """\
invalid schedule: expected a comma or the end
  audit#1@1+1; client@4!cancel
             ^
Write a schedule like:  audit#1@1+3, client@4!cancel, store@2!ConnectionError\
"""
    )


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Delay("a", -1), "step=-1: steps are numbered from 0"),
        (lambda: Delay("a", 1, by=0), "by=0: a delay is at least 1 place"),
        (lambda: Delay("a", 1, by=-1, behind=0), "by=-1: by is counted from 0"),
        (lambda: Delay("a", 1, by=2, behind=-1), "behind=-1: behind is counted from 0"),
        (lambda: Cancel("a", 1, after=-1), "after=-1: places are counted from 0"),
        (lambda: Cancel("a", 1, behind=1), "behind=1 needs after=, the place of the queue"),
        (lambda: Cancel("a", 1, after=0, behind=-1), "behind=-1: behind is counted from 0"),
        (lambda: Raise("a", 1, "no name"), "error='no name' is not the name of an exception's class"),
        (lambda: Raise("a", 1, "cancel"), "error='cancel' is not the name of an exception's class"),
        (lambda: Raise("a", 1, "slow"), "error='slow' is not the name of an exception's class"),
    ],
)
def test_invalid_deviation_is_an_error(make: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()  # type: ignore[operator]


def test_number_of_the_first_task_of_a_name_is_optional() -> None:
    assert canonical("client#1/job#1:timer#1") == canonical("client/job:timer") == "client/job:timer"
    assert canonical("client#11/job#2") == "client#11/job#2"
    assert canonical('"a#1/b"#1') == '"a#1/b"'
