"""An explored loop, its tasks, futures and handles look like asyncio's own to a program."""

import asyncio
import copy
import io
import pickle
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_background_tasks import Explorer

Look = Callable[[], Any]


class Things:
    """One of each object that a loop makes."""

    def __init__(self) -> None:
        self.loop: Any = asyncio.get_running_loop()
        self.future: Any = self.loop.create_future()
        self.main: Any = asyncio.current_task()
        self.task: Any = asyncio.create_task(child(), name="child")
        self.other: Any = self.loop.create_task(child())
        self.soon: Any = self.loop.call_soon(nothing, 1)
        self.later: Any = self.loop.call_later(60, nothing, 2)
        self.at: Any = self.loop.call_at(self.loop.time() + 70, nothing)
        self.threadsafe: Any = self.loop.call_soon_threadsafe(nothing, 3)
        self.cancelled: Any = self.loop.call_later(60, nothing, 4)
        self.cancelled.cancel()

    def each(self) -> dict[str, Any]:
        return vars(self)


async def child() -> None:
    await asyncio.sleep(0)


def nothing(*_: object) -> None: ...


def stack_of(task: Any) -> str:
    text = io.StringIO()
    task.print_stack(file=text)
    return text.getvalue()


def apply_to_each(look: Callable[[Any], object]) -> Callable[[Things], list[str]]:
    """Inspect each of the objects in turn; an exception is a result too."""

    def look_at_all(things: Things) -> list[str]:
        return [f"{name}: {result_of(lambda thing=thing: look(thing))}" for name, thing in things.each().items()]

    return look_at_all


def result_of(look: Look) -> str:
    try:
        return str(look())
    except Exception as error:
        return f"raises {type(error).__name__}"


def can_be_pickled(thing: Any) -> bool:
    """Return the reason that pickle gives, which names the first object that it cannot pickle."""
    try:
        pickle.dumps(thing)
    except (TypeError, pickle.PicklingError):
        return False
    return True


def public(thing: Any) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


def public_except(*names: str) -> Callable[[Any], list[str]]:
    return lambda thing: [name for name in public(thing) if name not in names]


# A loop also has our own attributes, which the explorer reads.
EXTRA_LOOP_ATTRIBUTES = (
    "begin_main",
    "check_threads",
    "detects_deadlocks",
    "end_main",
    "enter",
    "extra_steps",
    "refuse_own_clock",
    "failed_callbacks",
    "follow_default_order",
    "forget_transports",
    "has_cancelled",
    "has_generators",
    "is_endless",
    "is_outlasted",
    "is_stuck",
    "key_of",
    "kind_of",
    "name_of",
    "owner",
    "phase",
    "play",
    "refusal",
    "refuse",
    "refuse_answered",
    "refuses",
    "tasks",
    "trace",
    "unused",
)
EXTRA_HANDLE_ATTRIBUTES = ("asked_behind", "fail", "inject", "is_of_test", "kind", "number", "span", "who")

TABLE: dict[str, Callable[[Things], Any]] = {
    "repr": apply_to_each(repr),
    "str": apply_to_each(str),
    "format": apply_to_each(format),
    "type": apply_to_each(type),
    "name of type": apply_to_each(lambda thing: type(thing).__name__),
    "qualified name of type": apply_to_each(lambda thing: type(thing).__qualname__),
    "module of type": apply_to_each(lambda thing: type(thing).__module__),
    "class": apply_to_each(lambda thing: thing.__class__),
    "isinstance": apply_to_each(
        lambda thing: [
            kind.__name__
            for kind in (
                asyncio.Future,
                asyncio.Task,
                asyncio.Handle,
                asyncio.TimerHandle,
                asyncio.AbstractEventLoop,
                asyncio.BaseEventLoop,
                asyncio.SelectorEventLoop,
                Awaitable,
            )
            if isinstance(thing, kind)
        ]
    ),
    "isfuture": apply_to_each(asyncio.isfuture),
    "public attributes": apply_to_each(public_except(*EXTRA_LOOP_ATTRIBUTES, *EXTRA_HANDLE_ATTRIBUTES)),
    "equal to itself": apply_to_each(lambda thing: (thing == thing, thing != thing, thing == object())),
    "hash": apply_to_each(lambda thing: hash(thing) == hash(thing)),
    "set": apply_to_each(lambda thing: len({thing, thing})),
    "pickle": apply_to_each(can_be_pickled),
    "copy": lambda things: [result_of(lambda thing=thing: copy.copy(thing)) for thing in (things.future, things.task)],
    "vars": lambda things: [vars(things.future), vars(things.task)],
    "custom attribute": lambda things: [
        (setattr(thing, name, "x"), getattr(thing, name))
        for thing in (things.loop, things.future, things.task)
        for name in ("actor", "number", "created_at", "who", "kind")
    ],
    "attribute of a handle": lambda things: [
        result_of(lambda thing=thing: setattr(thing, "mine", 1)) for thing in (things.soon, things.later)
    ],
    "time": lambda things: [
        abs(things.loop.time() - time.monotonic()) < 60,
        things.later.when() - things.loop.time() > 59,
        type(things.loop.time()),
    ],
    "debug": lambda things: [things.loop.get_debug(), things.loop.slow_callback_duration],
    "state of the loop": lambda things: [
        things.loop.is_running(),
        things.loop.is_closed(),
        things.loop.get_task_factory(),
        things.loop.get_exception_handler(),
        asyncio.get_event_loop() is things.loop,
        asyncio.get_running_loop() is things.loop,
    ],
    "tasks": lambda things: [
        asyncio.current_task() is things.main,
        things.main in asyncio.all_tasks(),
        len(asyncio.all_tasks()),
        things.task.get_name(),
        re.fullmatch(r"Task-\d+", things.other.get_name()) is not None,
        things.task.get_coro().__name__,
        things.task.get_loop() is things.loop,
        things.future.get_loop() is things.loop,
        things.task.cancelling(),
        things.task.done(),
    ],
    "stack": lambda things: [
        len(things.task.get_stack()),
        stack_of(things.task),
        things.main.get_stack(limit=1)[-1].f_code.co_name,
    ],
    "handles": lambda things: [
        things.soon.cancelled(),
        things.cancelled.cancelled(),
        things.later == things.later,
        things.later < things.at,
        things.soon == things.soon,
    ],
    "misuse": lambda things: [
        result_of(lambda: things.loop.call_at(None, nothing)),
        result_of(lambda: things.loop.call_later(None, nothing)),
        result_of(lambda: things.loop.create_task(7)),
        result_of(lambda: things.loop.set_task_factory(7)),
        result_of(lambda: things.loop.set_exception_handler(7)),
        result_of(lambda: things.loop.close()),
        result_of(lambda: things.future.result()),
        result_of(lambda: things.task.set_result(1)),
        result_of(lambda: asyncio.Task(7, loop=things.loop)),
    ],
    "custom task factory": lambda things: own_factory(things.loop),
}

IN_DEBUG_MODE: dict[str, Callable[[Things], Any]] = {
    "repr": apply_to_each(repr),
    "callback that is a coroutine": lambda things: [
        result_of(lambda: things.loop.call_soon(child)),
        result_of(lambda: things.loop.call_later(1, child)),
        result_of(lambda: things.loop.run_in_executor(None, child)),
    ],
    "debug": lambda things: things.loop.get_debug(),
    "off": lambda things: (things.loop.set_debug(False), things.loop.get_debug()),
}


def own_factory(loop: Any) -> object:
    def factory(loop: Any, coroutine: Any, **kwargs: Any) -> Any:
        return asyncio.Task(coroutine, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    observations = loop.get_task_factory() is factory
    task = loop.create_task(child())
    loop.set_task_factory(None)
    return observations, type(task), loop.get_task_factory()


def normalized(text: str) -> str:
    """Return `text` without the parts that differ between runs of asyncio itself: addresses, times, task numbers."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"Task-\d+", "Task-n", text)
    text = re.sub(r"when=[\d.]+", "when=t", text)
    # How a runner notices that its main task has ended may differ.
    text = re.sub(r" cb=\[_run_until_complete_cb\(\) [^]]*\]", "", text)
    # The line that calls the loop creates a future, and the runner creates its main task.
    text = re.sub(r"created at \S+?asyncio/(base_events|runners)\.py:\d+", "created", text)
    return re.sub(rf"created at {re.escape(__file__)}:\d+", "created", text)


def observations(table: dict[str, Callable[[Things], Any]], run: Callable[[Any], object]) -> dict[str, str]:
    answers: dict[str, str] = {}

    async def look() -> None:
        things = Things()
        await asyncio.sleep(0)
        answers.update({name: normalized(result_of(lambda look=look: look(things))) for name, look in table.items()})
        things.future.cancel()
        await asyncio.wait([things.task, things.other])

    run(look)
    return answers


def by_asyncio(look: Callable[[], Any]) -> None:
    asyncio.run(look())


def explored(look: Callable[[], Any]) -> None:
    failure = Explorer(max_schedules=1).explore(look).failure
    if failure:
        raise failure.error


@pytest.fixture
def debug_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


@pytest.fixture(scope="module")
def asyncio_observations() -> dict[str, str]:
    return observations(TABLE, by_asyncio)


@pytest.fixture(scope="module")
def explored_observations() -> dict[str, str]:
    return observations(TABLE, explored)


@pytest.mark.parametrize("what", TABLE)
def test_loop_objects_look_like_asyncios(
    what: str, asyncio_observations: dict[str, str], explored_observations: dict[str, str]
) -> None:
    assert explored_observations[what] == asyncio_observations[what]


@pytest.mark.usefixtures("debug_mode")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_loop_objects_look_like_asyncios_in_debug_mode() -> None:
    explored_observations, asyncio_observations = (
        observations(IN_DEBUG_MODE, explored),
        observations(IN_DEBUG_MODE, by_asyncio),
    )
    for what in IN_DEBUG_MODE:
        assert explored_observations[what].split(", ") == asyncio_observations[what].split(", ")


@pytest.mark.usefixtures("debug_mode")
def test_task_of_a_custom_factory_is_shown_as_created_in_the_factory() -> None:
    """In debug mode; also on asyncio's own loop, where this plugin wraps the creation of tasks."""
    created: list[str] = []

    async def look() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coroutine, **kwargs: asyncio.Task(coroutine, loop=loop, **kwargs))
        task = loop.create_task(child())
        loop.set_task_factory(None)
        created.append(task._source_traceback[-1].filename)
        await task

    by_asyncio(look)
    explored(look)
    assert set(created) == {__file__}


def test_time_is_the_same_in_every_run() -> None:
    """The start time is chosen once per exploration, because a run with another start time would be a different run."""
    observations: list[tuple[float, float]] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(asyncio.sleep(0.1), asyncio.sleep(0.2), asyncio.sleep(300))
        observations.append((start, loop.time() - start))

    exploration = Explorer().explore(scenario)
    assert exploration.verdict == "bounded"
    assert len(set(observations)) == 1
    assert observations[0][1] == 300
    assert exploration.runs == len(observations) - 2  # two more, to check that it is deterministic


def test_trace_times_count_from_the_start_of_the_run() -> None:
    async def scenario() -> None:
        await asyncio.sleep(0.1)
        raise KeyError

    failure = Explorer().explore(scenario).failure
    assert failure is not None
    assert [step.time for step in failure.trace.steps] == [0, 0.1, 0.1]


@pytest.mark.usefixtures("background_tasks")
async def test_held_task_looks_like_an_asyncio_task(background_tasks: Any) -> None:
    background_tasks.start_capturing()
    task: Any = asyncio.create_task(child(), name="held")
    assert type(task) is not asyncio.Task
    assert normalized(repr(task)) == f"<Task pending name='held' coro=<child() running at {__file__}:{line_of(child)}>>"
    assert repr(type(task)) == repr(asyncio.Task)
    background_tasks.reset()


async def test_virtual_timer_looks_like_an_asyncio_timer(virtual_time: Any) -> None:
    loop = asyncio.get_running_loop()
    timer = loop.call_later(1, nothing)
    assert type(loop.time()) is float
    assert repr(type(timer)) == repr(asyncio.TimerHandle)
    assert repr(timer).startswith("<TimerHandle when=")
    assert virtual_time.now == 0


def line_of(function: Any) -> int:
    line: int = function.__code__.co_firstlineno
    return line
