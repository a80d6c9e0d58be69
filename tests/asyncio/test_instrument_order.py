"""Patches of other libraries: below the hub, above it, and for a time that overlaps with that of an instrument."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from functools import wraps
from textwrap import dedent
from typing import Any

import pytest
import uvloop

from .conftest import MONITORED, NOT_MONITORED, Functions, Session

EXERCISE = """
    import asyncio
    from contextlib import suppress

    async def quick():
        await asyncio.sleep(0)

    async def fail():
        raise OSError("no server")

    async def main(loop):
        for _ in range(2):
            asyncio.create_task(quick())
            loop.create_task(quick())
        await asyncio.gather(quick(), quick())
        failed = asyncio.tasks._PyTask(fail(), loop=loop)
        sleeping = asyncio.tasks._PyTask(asyncio.sleep(3600), loop=loop)
        await asyncio.wait([failed])
        failed.cancel()
        sleeping.cancel()
        failed.exception()
        with suppress(asyncio.CancelledError):
            await sleeping
        loop.call_exception_handler({"message": "an exercise"})
        loop.call_soon(len, "")
        await asyncio.sleep(0.001)

    def exercise(loop):
        loop.set_exception_handler(lambda loop, context: None)
        loop.run_until_complete(main(loop))
        loop.create_task(asyncio.sleep(3600))
        asyncio.runners._cancel_all_tasks(loop)
        loop.set_exception_handler(None)
"""


class Other:
    """A patch of another library, which counts its calls, and restores the function that it has replaced.

    Args:
        owner: returns the object or class to patch, for a loop.
        name: the name of the function.
    """

    def __init__(self, owner: Callable[[Any], Any], name: str) -> None:
        self.owner = owner
        self.name = name
        self.is_on = False
        self.calls = 0
        self.counts: list[int] = []

    def patch(self, loop: Any = None) -> None:
        owner = self.owner(loop)
        self.before = vars(owner).get(self.name)
        replaced = getattr(owner, self.name)

        @wraps(replaced)
        def counting(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return replaced(*args, **kwargs)

        setattr(owner, self.name, counting)
        self.is_on = True

    def unpatch(self, loop: Any = None) -> None:
        owner = self.owner(loop)
        if self.before is None:
            delattr(owner, self.name)
        else:
            setattr(owner, self.name, self.before)
        self.is_on = False

    def count(self, exercise: Callable[[Any], None], loop: Any) -> None:
        """Note how often the exercise calls the patch, if it is there."""
        self.calls = 0
        exercise(loop)
        if self.is_on:
            self.counts.append(self.calls)


TARGETS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "BaseEventLoop.create_task": (lambda _: asyncio.BaseEventLoop, "create_task"),
    "asyncio.create_task": (lambda _: asyncio, "create_task"),
    "BaseEventLoop.call_exception_handler": (lambda _: asyncio.BaseEventLoop, "call_exception_handler"),
    "Task.cancel": (lambda _: asyncio.tasks._PyTask, "cancel"),
    "_cancel_all_tasks": (lambda _: asyncio.runners, "_cancel_all_tasks"),
    "BaseEventLoop.run_forever": (lambda _: asyncio.BaseEventLoop, "run_forever"),
    "BaseEventLoop.call_soon": (lambda _: asyncio.BaseEventLoop, "call_soon"),
    "select of the class": (lambda loop: type(loop._selector), "select"),
    "uvloop.Loop.create_task": (lambda _: uvloop.Loop, "create_task"),
    "uvloop.Loop.call_exception_handler": (lambda _: uvloop.Loop, "call_exception_handler"),
    "uvloop.Loop.call_soon": (lambda _: uvloop.Loop, "call_soon"),
    "loop.call_soon": (lambda loop: loop, "call_soon"),
    "loop.create_task": (lambda loop: loop, "create_task"),
    "select of the selector": (lambda loop: loop._selector, "select"),
}
OF_THE_MONITOR = (
    "BaseEventLoop.create_task",
    "BaseEventLoop.call_exception_handler",
    "Task.cancel",
    "_cancel_all_tasks",
    "uvloop.Loop.create_task",
    "uvloop.Loop.call_exception_handler",
)
AROUND, REMOVED_FIRST, WITHIN = ("before", "after"), ("before", "inside"), ("inside", "inside")
REMOVED_LAST = ("inside", "after")
SEEN = {AROUND: 3, REMOVED_FIRST: 1, WITHIN: 1, REMOVED_LAST: 3}  # exercises while the patch is there
PROJECT = """
    import asyncio, pytest, uvloop
    from exercise import exercise

    @pytest.fixture(params={orders})
    def order(request):
        return request.param

    @pytest.fixture
    def loop(plugin):
        loop = {factory}.new_event_loop()
        before = plugin.functions(loop)
        yield loop
        after = plugin.functions(loop)
        loop.close()
        assert after == before

    @pytest.fixture
    def other(loop, order, plugin):
        other = plugin.others[order]
        if order[0] == "before":
            other.patch(loop)
        yield other
        other.count(exercise, loop)
        if order[1] == "after":
            other.unpatch(loop)
        exercise(loop)

    def test_it(loop, order, other, request):
        {ours}
        if order[0] == "inside":
            other.patch(loop)
        other.count(exercise, loop)
        {verb}
        if order[1] == "inside":
            other.unpatch(loop)
        exercise(loop)
        {verb}
        other.count(lambda loop: exercise(loop), loop)
"""
OURS = {
    "nothing": ("", ""),
    "capture": (
        "tasks = request.getfixturevalue('background_tasks'); tasks.start_capturing(ignore='*')",
        "loop.run_until_complete(tasks.run_until_idle_async())",
    ),
    "virtual time": ("request.getfixturevalue('virtual_time')", ""),
}
Order = tuple[str, str]


class OthersPlugin:
    """A plugin for a session: one patch for each order, and the function that lists the functions of asyncio."""

    def __init__(self, functions: Functions, others: dict[Order, Other]) -> None:
        self.functions = functions
        self.others = others

    @pytest.fixture
    def plugin(self) -> "OthersPlugin":
        return self


def loops_of(target: str) -> str:
    return "uvloop" if target.startswith("uvloop") else "asyncio"


def exercise_of() -> Callable[[Any], None]:
    space: dict[str, Any] = {}
    exec(compile(dedent(EXERCISE), "exercise.py", "exec"), space)
    exercise: Callable[[Any], None] = space["exercise"]
    return exercise


def count_alone(target: str) -> int:
    """Return how often the exercise calls the patch without the plugin."""
    other = Other(*TARGETS[target])
    loop = (uvloop if loops_of(target) == "uvloop" else asyncio).new_event_loop()
    other.patch(loop)
    try:
        other.count(exercise_of(), loop)
    finally:
        other.unpatch(loop)
        loop.close()
    [count] = other.counts
    assert count > 0
    return count


def assert_counts(target: str, other: Other, order: Order) -> None:
    """Assert that each exercise has called the patch as often as without the plugin."""
    alone = count_alone(target)
    assert len(other.counts) == SEEN[order]
    if not target.startswith("select"):  # which the plugin may call more often
        assert other.counts == [alone] * SEEN[order]


def assert_is_called(
    session: Session, functions: Functions, target: str, ours: str, *orders: Order, options: tuple[str, ...] = MONITORED
) -> None:
    """Assert that a session calls the patch of `target` as often as usual, and leaves nothing."""
    on, verb = OURS[ours]
    others = {order: Other(*TARGETS[target]) for order in orders}
    before = functions()
    source = PROJECT.format(orders=list(orders), factory=loops_of(target), ours=on, verb=verb)
    result = session(source, *options, plugins=(OthersPlugin(functions, others),), exercise=dedent(EXERCISE))
    result.assert_outcomes(passed=len(orders))
    assert functions() == before
    for order, other in others.items():
        assert_counts(target, other, order)


CASES = [
    (ours, target)
    for ours in OURS
    for target in TARGETS
    if (ours != "virtual time" or "uvloop" not in target) and (ours != "nothing" or target in OF_THE_MONITOR)
]


WITHOUT_HOOK = ("virtual time", "select of the selector")
"""The case in which a tool that restores the selector removes the hook of virtual time, so that no time passes."""


@pytest.mark.parametrize(("ours", "target"), [case for case in CASES if case != WITHOUT_HOOK])
def test_patch_is_called_as_usual_while_a_test_has_the_fixtures(
    session: Session, functions_of_asyncio: Functions, ours: str, target: str
) -> None:
    """The patch is made before the plugin's or inside, and removed inside or after the plugin's."""
    assert_is_called(session, functions_of_asyncio, target, ours, AROUND, REMOVED_FIRST, WITHIN)


def test_virtual_time_keeps_a_select_that_the_selector_had(session: Session, functions_of_asyncio: Functions) -> None:
    """Other tools replace the function of the selector itself, as the plugin does."""
    assert_is_called(session, functions_of_asyncio, "select of the selector", "virtual time", AROUND)


@pytest.mark.parametrize("options", [MONITORED, NOT_MONITORED], ids=["monitored", "not monitored"])
@pytest.mark.parametrize(
    ("ours", "target"),
    [case for case in CASES if case[0] != "nothing" and case != WITHOUT_HOOK],
)
def test_patch_that_is_made_inside_and_removed_afterwards_leaves_nothing(
    session: Session, functions_of_asyncio: Functions, ours: str, target: str, options: tuple[str, ...]
) -> None:
    """The other library restores a function of the plugin, which removes itself when it is called."""
    assert_is_called(session, functions_of_asyncio, target, ours, REMOVED_LAST, options=options)


IN_MONITORED_SESSION = """
    import asyncio, pytest, uvloop
    from exercise import exercise

    def test_before(plugin):
        pass

    def test_it(plugin):
        for order, other in plugin.others.items():
            loop = {factory}.new_event_loop()
            if order[0] == "inside":
                other.patch()
            other.count(exercise, loop)
            if order[1] == "inside":
                other.unpatch()
            loop.close()
"""


@pytest.mark.parametrize("order", [AROUND, REMOVED_FIRST, WITHIN, REMOVED_LAST])
@pytest.mark.parametrize("target", OF_THE_MONITOR)
def test_patch_is_called_as_usual_while_a_session_is_monitored(
    request: pytest.FixtureRequest, session: Session, functions_of_asyncio: Functions, target: str, order: Order
) -> None:
    """The patch is made before the session or in a test of it, and removed in the test or after the session."""
    if (target, order) == ("Task.cancel", REMOVED_LAST):
        reason = "not a function of the hub; a library cannot replace cancel() of the task class that is written in C"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    before = functions_of_asyncio()
    other = Other(*TARGETS[target])
    factory = uvloop if loops_of(target) == "uvloop" else asyncio
    if order[0] == "before":
        other.patch()
    source = IN_MONITORED_SESSION.format(factory=loops_of(target))
    plugin = OthersPlugin(functions_of_asyncio, {order: other})
    session(source, *MONITORED, plugins=(plugin,), exercise=dedent(EXERCISE)).assert_outcomes(passed=2)
    with closing(factory.new_event_loop()) as loop:
        other.count(exercise_of(), loop)
        if order[1] == "after":
            other.unpatch()
            exercise_of()(loop)
    assert functions_of_asyncio() == before
    assert set(other.counts) == {count_alone(target)}


def test_held_task_reaches_no_patch_below_the_hub(session: Session) -> None:
    """The capture holds the task first; a patch that is made later is called for each task."""
    result = session(
        """
        import asyncio
        from conftest import calls, patch

        async def job(): ...

        def test_it(background_tasks):
            async def main():
                background_tasks.start_capturing()
                patch("above")
                calls.clear()
                asyncio.create_task(job())
                asyncio.get_running_loop().create_task(job())
                assert calls == ["above", "above"]
                background_tasks.stop_capturing()
                assert await background_tasks.run_all_async() == [None, None]
                calls.clear()
                await asyncio.create_task(job())
                assert calls == ["above", "below"]

            asyncio.run(main())
        """,
        *MONITORED,
        conftest="""
            import asyncio

            calls, create_task = [], asyncio.BaseEventLoop.create_task

            def patch(name):
                replaced = asyncio.BaseEventLoop.create_task
                def create_task(self, *args, **kwargs):
                    calls.append(name)
                    return replaced(self, *args, **kwargs)
                asyncio.BaseEventLoop.create_task = create_task

            patch("below")

            def pytest_unconfigure():
                asyncio.BaseEventLoop.create_task = create_task
        """,
    )
    result.assert_outcomes(passed=1)


def test_running_method_keeps_a_select_that_another_tool_has_put_before_virtual_time(session: Session) -> None:
    """Otherwise the hook of virtual time is lost, too, and a test that sleeps afterwards hangs."""
    result = session(
        """
        import asyncio

        def test_it(virtual_time, background_tasks):
            async def main():
                selector = asyncio.get_running_loop()._selector
                ours = selector.select
                selector.select = theirs = lambda timeout=None: ours(timeout)
                background_tasks.start_capturing()
                asyncio.create_task(asyncio.sleep(0))
                await background_tasks.run_all_async()
                kept, selector.select = vars(selector).get("select"), ours
                assert kept is theirs

            asyncio.run(main())
        """,
        *MONITORED,
    )
    result.assert_outcomes(passed=1)


def test_virtual_time_calls_a_call_soon_that_is_patched_while_its_loop_runs(session: Session) -> None:
    result = session(
        """
        import asyncio

        def test_it(virtual_time, monkeypatch):
            calls, call_soon = [], asyncio.BaseEventLoop.call_soon

            def counting(self, callback, *args, context=None):
                calls.append(callback)
                return call_soon(self, callback, *args, context=context)

            async def main():
                loop = asyncio.get_running_loop()
                loop.call_soon(print)
                with monkeypatch.context() as patch:
                    patch.setattr(asyncio.BaseEventLoop, "call_soon", counting)
                    loop.call_soon(len, "")
                loop.call_soon(print)
                await asyncio.sleep(3600)

            asyncio.run(main())
            assert calls == [len]
        """,
        *MONITORED,
    )
    result.assert_outcomes(passed=1)
