"""The installed plugin does not access objects of the program in any way that the program could notice.

Each project runs twice, with the plugin and without; the output of pytest must be the same, except for times and the
plugin's own lines.
"""

import asyncio
import re
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import pytest
from starlette.background import BackgroundTask

from pytest_background_tasks import BackgroundTasks

HOSTILE = """
    import asyncio, collections.abc, functools, sys
    import pytest

    touched = []

    class Hostile:                                  # every operation on it is counted, and raises
        def _refuse(self, *args):
            touched.append(sys._getframe(1).f_code.co_name)
            raise RuntimeError("outside of a request")
        __getattr__ = __eq__ = __ne__ = __bool__ = __repr__ = __str__ = __len__ = __iter__ = _refuse
        __contains__ = __lt__ = __get__ = __call__ = __instancecheck__ = _refuse
        __hash__ = lambda self: self._refuse()

    class Masked(Hostile):
        __class__ = property(Hostile._refuse)

    class Meta(type):
        def __getattribute__(cls, name):
            if name in ("_explored", "__module__", "__code__"):
                touched.append(name)
                raise RuntimeError(name)
            return super().__getattribute__(name)
        __eq__ = __hash__ = lambda cls, *other: touched.append("of a class") or 1 / 0

    class HostileError(Exception):
        def __getattr__(self, name):
            if name.startswith("__"):               # Python's own traceback module asks for __notes__
                raise AttributeError(name)
            raise RuntimeError(name)
        def __setattr__(self, name, value):
            if name == "__notes__":                 # as a frozen dataclass does; others set __traceback__
                raise RuntimeError("frozen")
            super().__setattr__(name, value)
        __bool__ = lambda self: False               # which Python's traceback module asks
        __eq__ = __hash__ = lambda self, *other: touched.append("of an error") or 1 / 0
"""


@pytest.fixture
def outcome_of(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Run a project, and return the output of pytest without times."""

    def outcome_of(source: str, *args: str) -> list[str]:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(test_hostile=dedent(HOSTILE) + dedent(source))
        options = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function", "-rA")
        result = pytester.runpytest_subprocess(*options, "-p", "no:cacheprovider", *args, timeout=60)
        return [_without_times(line) for line in result.outlines if not line.startswith(("plugins:", "rootdir:"))]

    return outcome_of


def _without_times(line: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"\d+\.\d+s", "", line)).strip("= ")


ALL_ON = ("--background-tasks-unhandled=warn", "--background-tasks-leaked=warn", "--background-tasks-destroyed=gc")
ALL_OFF = ("--background-tasks-unhandled=ignore", "--background-tasks-destroyed=ignore")
PLUGIN = ("-p", "pytest_background_tasks.plugin")

PROJECTS = {
    "globals": """
        session = Hostile()
        masked = Masked()
        class TestMeta(metaclass=Meta):
            def test_it(self): pass
        class Callable:
            def __call__(self): pass
            def __getattr__(self, name):
                touched.append(name)
                raise AttributeError(name)
        test_callable = Callable()

        def test_nothing(): pass
    """,
    "werkzeug": """
        from contextvars import ContextVar
        from werkzeug.local import LocalProxy
        request = LocalProxy(ContextVar("request"), unbound_message="outside of a request")

        @pytest.mark.asyncio
        async def test_fire_and_forget():
            local = request
            job = asyncio.create_task(asyncio.sleep(0))
            job.add_done_callback(lambda _: local)
            await job
    """,
    "fixtures and parameters": """
        class Parameter(Masked):                    # pytest hashes and compares parameters
            __hash__ = object.__hash__
            __eq__ = object.__eq__

        PARAMETERS = [pytest.param(Parameter(), id="one"), pytest.param(Parameter(), id="other")]

        @pytest.fixture
        def hostile():
            yield Masked()

        @pytest.fixture(scope="module", params=PARAMETERS)
        def wide(request):
            return request.param

        @pytest.fixture(scope="class", autouse=True)
        def of_class():
            return Masked()

        @pytest.mark.parametrize("value", PARAMETERS)
        def test_values(hostile, wide, value):
            touched.clear()

        class TestKept:
            kept = Masked()
            @pytest.mark.asyncio
            async def test_task(self, wide):
                asyncio.get_running_loop().set_exception_handler(None)
                await asyncio.create_task(asyncio.sleep(0))

        def test_untouched():
            assert touched == []
    """,
    "errors": """
        async def fail():
            raise HostileError("seen")

        @pytest.mark.asyncio
        async def test_error_of_a_task():
            with pytest.raises(HostileError):
                await asyncio.create_task(fail())

        def test_direct():
            touched.clear()
            raise HostileError("of the test")

        def test_untouched():
            assert touched == []

        def test_properties(record_property, request):
            record_property(("not", "a", "string"), 1)
            request.node.user_properties.append((["unhashable"], 2))
            request.node.user_properties.append(())
            request.node.user_properties.append(("a", "b", "c"))
    """,
    "tasks": """
        class Task(asyncio.Task):
            def _refuse(self, *args, **kwargs):
                touched.append("of a task")
                raise RuntimeError("of a task")
            get_name = get_coro = _refuse
            def __getattr__(self, name):
                self._refuse()
            def __setattr__(self, name, value):
                if "asyncio" not in name:           # _asyncio_future_blocking, which asyncio sets
                    self._refuse()
                super().__setattr__(name, value)

        class NotATask:
            __slots__ = ("future",)
            def __init__(self, future):
                self.future = future
            def __await__(self):
                return self.future.__await__()
            def add_done_callback(self, callback, context=None):
                self.future.add_done_callback(callback)
            def set_name(self, name):             # which CPython 3.13.0 asks for
                pass

        async def job():
            await asyncio.sleep(0)
            return 42

        @pytest.mark.asyncio
        async def test_factory():
            loop = asyncio.get_running_loop()
            loop.set_task_factory(lambda loop, coro, **kwargs: Task(coro, loop=loop))
            try:
                assert await loop.create_task(job()) == 42
                loop.create_task(job())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                loop.set_task_factory(lambda loop, coro, **kwargs: NotATask(asyncio.Task(coro, loop=loop)))
                assert await loop.create_task(job()) == 42
            finally:
                loop.set_task_factory(None)
            loop.call_exception_handler({"message": "odd", "task": Hostile()})
            loop.call_exception_handler({"message": "odd", "future": Masked()})

        @pytest.mark.asyncio
        async def test_leak():
            loop = asyncio.get_running_loop()
            local = Masked()
            async def wait():
                inner = local
                await asyncio.sleep(0)
            loop.create_task(wait())

        def test_untouched():
            assert [name for name in touched if name != "default_exception_handler"] == []
    """,
    "coroutines": """
        class Custom(collections.abc.Coroutine):
            def __init__(self, coroutine): self.coroutine = coroutine
            def send(self, value): return self.coroutine.send(value)
            def throw(self, *error): return self.coroutine.throw(*error)
            def close(self): return self.coroutine.close()
            def __await__(self): return self.coroutine.__await__()
            def __getattr__(self, name):
                touched.append(name)
                raise RuntimeError(name)

        class Awaitable:
            def __init__(self): self.future = asyncio.get_running_loop().create_future()
            def __await__(self): return (yield from self.future)
            def __getattr__(self, name):
                touched.append(name)
                raise RuntimeError(name)

        async def job():
            await asyncio.sleep(0)
            return 42

        async def wait():
            await Awaitable()

        @pytest.mark.asyncio
        async def test_custom():
            touched.clear()
            loop = asyncio.get_running_loop()
            task = loop.create_task(Custom(job()))
            assert await task == 42
            left = loop.create_task(wait())
            await asyncio.sleep(0)
            left.cancel()

        def test_untouched():
            assert [name for name in touched if name not in ("__name__", "__qualname__")] == []   # asyncio's repr

        @pytest.mark.asyncio
        async def test_wrong():
            with pytest.raises(TypeError):
                asyncio.get_running_loop().create_task(Hostile2())

        class Hostile2:
            def __getattr__(self, name): raise RuntimeError(name)
            def __repr__(self): return "it"

        @pytest.mark.asyncio
        async def test_nameless_module():
            space = {"__name__": None, "asyncio": asyncio, "job": job}
            exec("def spawn(): return asyncio.create_task(job())", space)
            assert await space["spawn"]() == 42
    """,
}


@pytest.mark.parametrize("name", PROJECTS)
def test_output_with_the_plugin_equals_output_without_it(name: str, outcome_of: Callable[..., list[str]]) -> None:
    without = outcome_of(PROJECTS[name], *PLUGIN, "-p", "no:background_tasks")
    assert "ERRORS" not in without, "the project itself is right"
    assert outcome_of(PROJECTS[name]) == without
    assert outcome_of(PROJECTS[name], *PLUGIN) == without
    assert outcome_of(PROJECTS[name], *PLUGIN, *ALL_OFF) == without


@pytest.mark.parametrize("name", PROJECTS)
def test_outcomes_with_all_reports_equal_those_without_the_plugin(
    name: str, outcome_of: Callable[..., list[str]]
) -> None:
    """Leaks are reported; nothing else differs."""
    without = outcome_of(PROJECTS[name])
    reported = outcome_of(PROJECTS[name], *PLUGIN, *ALL_ON)
    assert [line for line in reported if line.startswith(("PASSED", "FAILED", "ERROR"))] == [
        line for line in without if line.startswith(("PASSED", "FAILED", "ERROR"))
    ]
    assert not [line for line in reported if "INTERNALERROR" in line]


class Refusing:
    """An object that refuses every operation."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("outside of a request")

    __getattr__ = __eq__ = __bool__ = __len__ = __repr__ = __hash__ = _refuse  # type: ignore[assignment]


class FrozenError(Exception):
    """An exception that is false, and forbids new attributes."""

    def __len__(self) -> int:
        return 0

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]


async def take(thing: object) -> object:
    await asyncio.sleep(0)
    return thing


async def refuse(thing: object) -> None:
    raise FrozenError("of the job")


@pytest.mark.asyncio
async def test_task_can_receive_and_return_any_object(background_tasks: BackgroundTasks) -> None:
    thing = Refusing()
    background_tasks.start_capturing(ignore="another")
    asyncio.create_task(take(thing))
    assert background_tasks.assert_captured(take, thing=thing).state == "held"
    with pytest.raises(AssertionError, match=r"take\(thing=<RuntimeError raised in repr\(\) of a Refusing object>\)"):
        background_tasks.assert_captured(refuse)
    [result] = await background_tasks.run_all_async()
    assert result is thing


@pytest.mark.asyncio
async def test_falsy_frozen_error_is_raised_with_its_note(background_tasks: BackgroundTasks) -> None:
    background_tasks.start_capturing()
    asyncio.create_task(refuse(Refusing()), name="job")
    with pytest.raises(FrozenError) as raised:
        await background_tasks.run_all_async()
    assert raised.value.__notes__[0].startswith("in background task job (refuse), created at ")


@pytest.mark.asyncio
async def test_hostile_callback_is_not_mistaken_for_a_waiting_task(background_tasks: BackgroundTasks) -> None:
    called = []

    class Callback(Refusing):
        def __call__(self, task: object) -> None:
            called.append(task)

    background_tasks.start_capturing()
    task = asyncio.create_task(take(1))
    task.add_done_callback(Callback())
    assert len(background_tasks.held_tasks) == 1
    await background_tasks.run_all_async()
    assert called[0] is task


@pytest.mark.asyncio
async def test_an_empty_context_is_respected(background_tasks: BackgroundTasks) -> None:
    """An empty context is false."""
    variable = ContextVar("variable", default="unset")
    variable.set("set")

    async def look() -> str:
        return variable.get()

    background_tasks.start_capturing()
    asyncio.create_task(look(), context=Context())
    assert await background_tasks.run_all_async() == ["unset"]


@pytest.mark.asyncio
async def test_starlette_background_task_can_be_an_unhashable_dataclass(
    background_tasks: BackgroundTasks,
) -> None:
    @dataclass(eq=True)
    class Mail(BackgroundTask):
        to: str

        def __post_init__(self) -> None:
            super().__init__(take, self.to)

    background_tasks.start_capturing()
    await Mail("ada")()
    assert background_tasks.assert_captured(take, thing="ada").created_at.function.endswith("__post_init__")
    assert await background_tasks.run_all_async() == [None]


@pytest.mark.asyncio
async def test_lock_holder_is_found_among_hostile_variables(background_tasks: BackgroundTasks) -> None:
    lock = asyncio.Lock()

    async def hold() -> None:
        inner = Refusing()
        async with lock:
            await asyncio.sleep(60)
        del inner

    async def want() -> None:
        async with lock:
            pass

    background_tasks.start_capturing()
    asyncio.create_task(hold(), name="holder")
    asyncio.create_task(want(), name="wanter")
    await background_tasks.run_until_idle_async()
    waits = background_tasks.assert_captured("wanter").suspended_at
    assert waits is not None
    assert waits.waiting_for == "a lock held by holder (hold)"
