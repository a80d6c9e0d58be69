"""The hub: it replaces each function of asyncio at most once, while an instrument needs its event, and restores it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import wraps
from itertools import permutations
from textwrap import dedent
from typing import Any

import pytest
import uvloop

from pytest_background_tasks._asyncio.instrument import Hub, Instrument

from .conftest import Functions

REPLACED = {  # by event
    "creating_task": {"create_task"},
    "task_created": {"create_task"},
    "exception_reported": {"call_exception_handler"},
    "cancelling_all_tasks": {"_cancel_all_tasks"},
    "cancelling_tasks": {"_cancel_all_tasks"},
    "loop_starting": {"run_forever", "run_until_complete"},
}


@pytest.fixture
def hub(without_instruments: None) -> Iterator[Hub]:
    hub = Hub()
    yield hub
    assert hub._replaced == {}


class Recorder(Instrument):
    """An instrument that receives all events, and notes their names with its own in a list."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events

    def _note(self, event: str) -> None:
        self.events.append(f"{self.name}: {event}")

    def creating_task(self, *_: object) -> None:
        self._note("creating")

    def task_created(self, *_: object) -> None:
        self._note("created")

    def exception_reported(self, *_: object) -> bool:
        self._note("reported")
        return True

    def cancelling_all_tasks(self, *_: object) -> None:
        self._note("cancelling all")

    def cancelling_tasks(self, *_: object) -> None:
        self._note("cancelling")

    def loop_starting(self, *_: object) -> None:
        self._note("starting")


def instrument_of(*events: str) -> Instrument:
    """Return an instrument that defines only `events`."""
    return type("Partial", (Instrument,), {event: lambda *_: None for event in events})()


async def job() -> None: ...


def use_all_functions() -> None:
    """Let each event occur once or more."""

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        asyncio.get_running_loop().call_exception_handler({"message": "a test"})
        asyncio.create_task(asyncio.sleep(3600))

    asyncio.run(main())


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_instruments_may_be_removed_in_any_order(
    hub: Hub, functions_of_asyncio: Functions, order: tuple[int, ...]
) -> None:
    """The remaining ones receive each event, once; the removed ones receive none."""
    before, events = functions_of_asyncio(), list[str]()
    stacks = [ExitStack() for _ in order]
    for number, stack in enumerate(stacks):
        stack.enter_context(hub.added(Recorder(str(number), events)))
    inside = functions_of_asyncio()
    present = set(range(3))
    for number in order:
        assert functions_of_asyncio() == inside
        events.clear()
        use_all_functions()
        assert {event.partition(":")[0] for event in events} == {str(each) for each in present}
        assert [event[3:] for event in events if event.startswith(f"{number}:")].count("reported") == 1
        stacks[number].close()
        present.remove(number)
    assert functions_of_asyncio() == before
    events.clear()
    use_all_functions()
    assert events == []


def test_last_instrument_is_first_before_a_call_and_last_after_it(hub: Hub) -> None:
    """An inner instrument may hold a task before an outer one, and sees the exceptions of its tasks first."""
    events: list[str] = []
    with hub.added(Recorder("outer", events)), hub.added(Recorder("inner", events)):
        use_all_functions()
    in_order = {event: [each.partition(":")[0] for each in events if each.endswith(f": {event}")] for event in EVENTS}
    assert in_order.pop("created")[:2] == in_order.pop("cancelling")[:2] == ["outer", "inner"]
    assert all(names[:2] == ["inner", "outer"] for names in in_order.values())


EVENTS = ("creating", "created", "reported", "cancelling all", "cancelling", "starting")


@pytest.mark.parametrize("event", REPLACED)
def test_function_is_replaced_only_while_an_instrument_defines_its_event(
    hub: Hub, functions_of_asyncio: Functions, event: str
) -> None:
    before = functions_of_asyncio()
    with hub.added(instrument_of()):
        assert functions_of_asyncio() == before
        with hub.added(instrument_of(event)):
            inside = functions_of_asyncio()
            names = {name for (owner, name), function in inside.items() if before.get((owner, name)) is not function}
            assert names == REPLACED[event]
            with hub.added(instrument_of(event)):
                assert functions_of_asyncio() == inside
            assert functions_of_asyncio() == inside
        assert functions_of_asyncio() == before


def test_instrument_that_creates_the_task_prevents_the_other_events(hub: Hub) -> None:
    """Neither the instruments before it nor the loop create a task."""
    events: list[str] = []

    class Creator(Instrument):
        def creating_task(self, loop: Any, coroutine: Any, kwargs: Any, frame: Any) -> asyncio.Task[Any]:
            events.append(frame.f_code.co_name)
            return asyncio.Task(coroutine, loop=loop, name="of the instrument")

    async def main() -> str:
        with hub.added(Recorder("outer", events)), hub.added(Creator()):
            task = asyncio.get_running_loop().create_task(job())
        await task
        return task.get_name()

    assert asyncio.run(main()) == "of the instrument"
    assert events == ["main"]


def test_one_instrument_prevents_the_exception_handler_and_all_are_notified(hub: Hub) -> None:
    class Preventing(Instrument):
        def exception_reported(self, *_: object) -> bool:
            return False

    events: list[str] = []
    called: list[Any] = []
    with closing(asyncio.new_event_loop()) as loop:
        loop.set_exception_handler(lambda _, context: called.append(context))
        with hub.added(Recorder("outer", events)):
            with hub.added(Preventing()):
                loop.call_exception_handler({"message": "prevented"})
            loop.call_exception_handler({"message": "passed"})
    assert events == ["outer: reported"] * 2
    assert called == [{"message": "passed"}]


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_error_of_loop_starting_closes_the_coroutine(hub: Hub, new_event_loop: Callable[[], Any]) -> None:
    """The method that runs the loop raises the error; a warning that the coroutine was never awaited is an error here.

    asyncio's own `run_until_complete` has made a task of the coroutine by then.
    """

    class Refusing(Instrument):
        def loop_starting(self, loop: Any) -> None:
            raise ValueError("not this loop")

    coroutine = job()
    with closing(new_event_loop()) as loop:
        with hub.added(Refusing()), pytest.raises(ValueError, match="not this loop"):
            loop.run_until_complete(coroutine)
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
    assert coroutine.cr_frame is None


def wrap_create_task() -> Callable[[], None]:
    """Replace the function as another library does; return a function that restores it."""
    found = asyncio.BaseEventLoop.create_task

    @wraps(found)
    def create_task(*args: Any, **kwargs: Any) -> Any:
        return found(*args, **kwargs)

    asyncio.BaseEventLoop.create_task = create_task  # type: ignore[method-assign]

    def restore() -> None:
        asyncio.BaseEventLoop.create_task = found  # type: ignore[method-assign]

    return restore


def test_function_that_another_library_has_wrapped_only_calls_the_original(
    hub: Hub, functions_of_asyncio: Functions
) -> None:
    """When the library restores it, the next call removes it."""
    events: list[str] = []
    before = functions_of_asyncio()
    with hub.added(Recorder("removed", events)):
        restore = wrap_create_task()
    wrapped = functions_of_asyncio()
    events.clear()
    use_all_functions()
    assert events == []
    assert functions_of_asyncio() == wrapped != before
    restore()
    assert functions_of_asyncio() != before
    use_all_functions()
    assert functions_of_asyncio() == before
    assert events == []


def test_instrument_that_is_added_to_a_wrapped_function_receives_each_event_once(
    hub: Hub, functions_of_asyncio: Functions
) -> None:
    """The function is replaced anew, in front of the other library."""
    events: list[str] = []
    before = functions_of_asyncio()
    with hub.added(instrument_of("creating_task")):
        restore = wrap_create_task()
    with hub.added(Recorder("new", events)), closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(loop.create_task(job()))
    assert events == ["new: creating", "new: created", "new: starting"]
    restore()
    use_all_functions()
    assert functions_of_asyncio() == before


def test_replaced_functions_keep_name_and_signature(hub: Hub) -> None:
    with hub.added(Recorder("", [])):
        for function in (asyncio.BaseEventLoop.create_task, uvloop.Loop.create_task, asyncio.runners._cancel_all_tasks):
            assert function.__wrapped__.__name__ == function.__name__


def test_uvloop_that_is_imported_later_is_found(pytester: pytest.Pytester) -> None:
    """This runs in a separate process, in which uvloop is not imported yet."""
    script = pytester.makepyfile(
        dedent(
            """
            import sys
            from pytest_background_tasks._asyncio.instrument import Instrument, hub

            class Created(Instrument):
                def task_created(self, loop, task, *_):
                    created.append(task)

            async def job(): ...

            created = []
            with hub.added(Created()):
                assert "uvloop" not in sys.modules
                import uvloop
                inherited = "create_task" not in vars(uvloop.Loop)
                hub.find_loops()
                hub.find_loops()
                loop = uvloop.new_event_loop()
                task = loop.create_task(job())
                loop.run_until_complete(task)
                assert created == [task]
            assert inherited == ("create_task" not in vars(uvloop.Loop))
            assert hub._replaced == {}
            hub.find_loops()
            assert hub._replaced == {}
            """
        )
    )
    assert pytester.runpython(script).ret == 0
