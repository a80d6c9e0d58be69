"""While exploring, datetime.now(), utcnow() and today() follow the virtual time of the loop, like time.time()."""

import asyncio
import copy
import pickle
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from textwrap import dedent
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest

from pytest_background_tasks import Explorer

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


class Moment(datetime):
    """A subclass, as pendulum and others have."""


DATES: list[Callable[[], datetime]] = [
    lambda: datetime.now(),
    lambda: datetime.now(UTC).astimezone().replace(tzinfo=None),
    lambda: datetime.now(tz=ZoneInfo("Asia/Tokyo")).astimezone().replace(tzinfo=None),
    lambda: datetime.utcnow().replace(tzinfo=UTC).astimezone().replace(tzinfo=None),
    lambda: datetime.today(),
    lambda: Moment.now(),
    lambda: Moment.today(),
    lambda: datetime(2000, 1, 1).now(),
]


@pytest.mark.parametrize("read", DATES)
def test_a_date_follows_virtual_time(read: Callable[[], datetime]) -> None:
    """It begins near the real time, is the same in each run, and is real again afterwards."""
    real = read()

    async def scenario() -> None:
        before = read()
        assert timedelta() <= before - real < timedelta(minutes=1)
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))
        assert timedelta(hours=1) < read() - before < timedelta(hours=1, milliseconds=1)
        await asyncio.gather(*[asyncio.sleep(0) for _ in range(1 + read().microsecond % 5)])

    assert Explorer().explore(scenario).failure is None
    assert read() - real < timedelta(minutes=1)


def test_date_today_follows_virtual_time() -> None:
    async def scenario() -> None:
        before = date.today()
        await asyncio.sleep(10 * 24 * 3600)
        assert date.today() - before == timedelta(days=10)
        with pytest.raises(TypeError, match="today"):
            date.today(1)  # type: ignore[call-arg]

    assert Explorer().explore(scenario).failure is None
    assert abs(date.today() - date.fromtimestamp(time.time())) <= timedelta(days=1)


def test_all_wall_clocks_show_the_same_time() -> None:
    """Each reading is later than the one before, by about a microsecond, whichever function reads it."""

    async def scenario() -> None:
        for _ in range(300):
            readings = [
                time.time(),
                datetime.now().timestamp(),
                time.time_ns() / 10**9,
                datetime.now(UTC).timestamp(),
                datetime.utcnow().replace(tzinfo=UTC).timestamp(),
                datetime.today().timestamp(),
                time.time(),
            ]
            assert readings == sorted(set(readings))
            assert readings[-1] - readings[0] < 2e-5
            await asyncio.sleep(0.0137)

    assert Explorer(max_deviations=0).explore(scenario).failure is None


class Alien(tzinfo):
    def utcoffset(self, _: Any) -> timedelta:
        raise LookupError("no such planet")


def test_results_are_those_of_the_real_functions() -> None:
    """For each argument, and for a subclass; also if an argument is wrong, or a time zone raises."""
    calls: list[Callable[[type[datetime]], Any]] = [
        lambda cls: cls.now(),
        lambda cls: cls.now(None),
        lambda cls: cls.now(tz=None),
        lambda cls: cls.now(UTC),
        lambda cls: cls.now(tz=timezone(timedelta(hours=3))),
        lambda cls: cls.now(5),  # type: ignore[arg-type]
        lambda cls: cls.now(tz="UTC"),  # type: ignore[arg-type]
        lambda cls: cls.now(UTC, UTC),  # type: ignore[call-arg]
        lambda cls: cls.now(UTC, tz=UTC),  # type: ignore[misc]
        lambda cls: cls.now(zone=UTC),  # type: ignore[call-arg]
        lambda cls: cls.now(Alien()),
        lambda cls: cls.utcnow(),
        lambda cls: cls.utcnow(5),  # type: ignore[call-arg]
        lambda cls: cls.utcnow(tz=UTC),  # type: ignore[call-arg]
        lambda cls: cls.today(),
        lambda cls: cls.now.__name__,
        lambda cls: cls.now.__doc__,
        lambda cls: copy.copy(pickle.loads(pickle.dumps(cls.now)))(),
    ]

    def results() -> list[object]:
        return [_shape(call, cls) for call in calls for cls in (datetime, Moment)]

    async def scenario() -> None:
        assert results() == real

    real = results()
    assert Explorer().explore(scenario).failure is None


def _shape(call: Callable[[type[datetime]], Any], cls: type[datetime]) -> object:
    """Return all of a result but the moment itself."""
    try:
        result = call(cls)
    except (TypeError, LookupError) as error:
        return type(error), str(error)
    return (type(result), result.tzinfo, result.fold) if isinstance(result, datetime) else result


def test_now_is_in_the_fold_when_clocks_have_been_set_back() -> None:
    """As `datetime.fromtimestamp`, for a local time that occurs twice."""

    async def scenario() -> None:
        hours = [datetime.now(tz=ZoneInfo("Europe/Berlin"))]
        for _ in range(366 * 24):
            await asyncio.sleep(3600)
            hours.append(datetime.now(tz=ZoneInfo("Europe/Berlin")))
        assert 1 <= sum(each.fold for each in hours) <= 2

    assert Explorer(max_deviations=0, max_steps=10**5).explore(scenario).failure is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="utcnow() is deprecated since 3.12")
def test_deprecation_is_reported_at_the_line_that_calls() -> None:
    """For code that follows virtual time, and for code that does not; with the text of this version of Python."""
    followers: dict[str, Any] = {"datetime": datetime}
    others: dict[str, Any] = {"datetime": datetime}
    for file, namespace in ((anyio.__file__, followers), (asyncio.__file__, others)):
        exec(compile("\n\ndef read(): return datetime.utcnow()", file, "exec"), namespace)
    calls: list[Callable[[], datetime]] = [followers["read"], others["read"]]

    def warned() -> list[object]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for call in calls:
                call()
        return [(each.category, str(each.message), each.filename, each.lineno) for each in caught]

    async def scenario() -> None:
        assert warned() == real

    real = warned()
    assert len(real) == 2
    assert Explorer().explore(scenario).failure is None


def test_libraries_follow_and_other_threads_and_the_standard_library_do_not() -> None:
    namespaces: dict[str, dict[str, Any]] = {}
    for file in (anyio.__file__, asyncio.__file__, pytest.__file__):
        namespaces[file] = {"datetime": datetime}
        exec(compile("def read(): return datetime.now(), datetime.utcnow()", file, "exec"), namespaces[file])
    in_thread: list[datetime] = []

    async def scenario() -> None:
        began = [namespace["read"]() for namespace in namespaces.values()]
        await asyncio.sleep(3600)
        ended = [namespace["read"]() for namespace in namespaces.values()]
        passed = [[round((b - a) / timedelta(hours=1)) for a, b in zip(*each)] for each in zip(began, ended)]  # noqa: B905
        assert passed == [[1, 1], [0, 0], [0, 0]]
        await asyncio.to_thread(lambda: in_thread.append(datetime.now()))

    before = datetime.now()
    assert Explorer().explore(scenario).failure is None
    assert before <= in_thread[0] <= datetime.now()


def _methods() -> list[object]:
    return [vars(datetime)["now"], vars(datetime)["utcnow"], vars(date)["today"]]


def test_methods_are_restored_after_the_exploration() -> None:
    """The very objects, also after an error, and after explorations inside each other."""

    async def inner() -> None:
        before = datetime.now()
        await asyncio.sleep(3600)
        assert datetime.now() - before >= timedelta(hours=1)

    async def scenario() -> None:
        replaced = _methods()
        assert replaced != real
        thread = threading.Thread(target=lambda: found.append(Explorer().explore(inner).failure))
        thread.start()
        thread.join()
        assert _methods() == replaced

    async def failing() -> None:
        raise KeyError

    async def refused() -> None:
        await asyncio.create_subprocess_exec("true")

    real, found = _methods(), []  # type: ignore[var-annotated]
    assert Explorer(max_deviations=0).explore(scenario).failure is None
    assert set(found) == {None}
    assert Explorer().explore(failing).failure is not None
    with pytest.raises(Exception, match="subprocess"):
        Explorer().explore(refused)
    assert all(now is before for now, before in zip(_methods(), real, strict=True))
    assert "__abstractmethods__" not in vars(datetime)


def test_dates_can_stay_real() -> None:
    async def scenario() -> None:
        before = datetime.now()
        await asyncio.sleep(3600)
        assert datetime.now() - before < timedelta(minutes=1)

    assert Explorer(virtual_clocks=False).explore(scenario).failure is None


def test_classes_that_are_written_in_python_stay_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """So are those of freezegun, and all of module datetime in some interpreters."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime(2000, 1, 1, tzinfo=tz)

    monkeypatch.setattr(sys.modules["datetime"], "datetime", Frozen)
    real = _methods()

    async def scenario() -> None:
        await asyncio.sleep(3600)
        assert Frozen.now() == datetime(2000, 1, 1)
        assert _methods() == real

    assert Explorer().explore(scenario).failure is None


def test_dates_that_time_machine_moves_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    is_travelling = False
    library: Any = types.SimpleNamespace(escape_hatch=types.SimpleNamespace(is_travelling=lambda: is_travelling))
    monkeypatch.setitem(sys.modules, "time_machine", library)

    async def scenario() -> None:
        nonlocal is_travelling
        await asyncio.sleep(3600)
        assert datetime.now() - before >= timedelta(hours=1)
        is_travelling = True
        assert datetime.now() - before < timedelta(minutes=1)
        is_travelling = False

    before = datetime.now()
    assert Explorer().explore(scenario).failure is None


LIBRARIES = {
    "time_machine": "time_machine.travel(1589673600, tick=False)",
    "freezegun": "freezegun.freeze_time('2020-05-17')",
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("place", ["around the exploration", "in the test"])
def test_a_library_that_stops_time_takes_precedence(library: str, place: str, pytester: pytest.Pytester) -> None:
    """Also if the test imports it; its clocks stand still until it ends."""
    pytest.importorskip(library)
    source = """
        import asyncio, datetime, time
        from contextlib import nullcontext
        from pytest_background_tasks import Explorer

        STOPPED = 1589673600

        def now():
            return datetime.datetime.now(datetime.UTC).timestamp()

        async def scenario():
            import {library}

            with nullcontext() if {is_around} else {stops}:
                for _ in range(2):
                    assert now() == time.time() == STOPPED
                    await asyncio.sleep(60)
            began = now()
            await asyncio.sleep(60)
            assert {is_around} or 60 <= now() - began < 61
            assert {is_around} or began < time.time()

        def test_it():
            if {is_around}:
                import {library}
            with {stops} if {is_around} else nullcontext():
                assert Explorer().explore(scenario).failure is None
            assert now() > STOPPED
    """
    stops, is_around = LIBRARIES[library], place.startswith("around")
    pytester.makepyfile(dedent(source).format(library=library, stops=stops, is_around=is_around))
    pytester.runpytest_subprocess("-p", "no:time_machine", timeout=60).assert_outcomes(passed=1)


def test_explored_test_that_depends_on_the_date_is_deterministic(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        from datetime import datetime
        from pytest_background_tasks import explore

        @explore
        async def test_it():
            expires = datetime.now().timestamp() + 30
            await asyncio.gather(*[asyncio.sleep(0) for _ in range(1 + datetime.now().microsecond % 7)])
            while datetime.now().timestamp() < expires:
                await asyncio.sleep(10)
        """
    )
    mode = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    pytester.runpytest_inprocess(*mode).assert_outcomes(passed=1)
    pytester.runpytest_inprocess(*mode, "--explore-virtual-clocks=false").assert_outcomes(failed=1)
