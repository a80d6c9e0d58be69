"""The process around the runs, made the same for each of them, and put back afterwards.

``random`` (and numpy's) starts from the same state in every run. ``as_completed`` starts coroutines in the order in
which they were given: asyncio itself goes by the address. An awaited `AsyncMock` suspends for a step, as a real call
would. What anyio sends to threads goes through the loop, and it cancels and wakes in order.

Private names of CPython used here: ``_chain_future`` of asyncio.futures, ``__sleep0`` of asyncio.tasks, and
``_execute_mock_call`` of an AsyncMock.
"""

import asyncio
import concurrent.futures
import functools
import gc
import inspect
import random
import sys
import types
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ..cancelling import cancelling_too_late
from ..unfit import Unfit
from .arrivals import answer_of_mock
from .loop import PlayedLoop

_DEBUGGERS = ("pdb", "pytest", "ipdb", "pudb")  # modules with a set_trace


class Surroundings:
    """What is in place while a scenario is explored.

    Args:
        may_raise: whether a schedule may let a bare yield fail. It costs each ``sleep(0)`` a little.

    Attributes:
        refresh: to be called before each run, which then starts from the same state as all others.
        missing: what cannot be in place, since a library is no version that is known: a sentence for each.
    """

    refresh: Callable[[], None]
    missing: tuple[str, ...] = ()

    def __init__(self, *, may_raise: bool) -> None:
        self._may_raise = may_raise

    def __enter__(self) -> "Surroundings":
        self._stack = ExitStack()
        enter = self._stack.enter_context
        enter(_replaced(asyncio.tasks, "set", _set_in_order))
        enter(cancelling_too_late(lambda task: isinstance(task.get_loop(), PlayedLoop)))
        enter(_replaced(asyncio.futures, "_chain_future", _chaining(asyncio.futures._chain_future)))  # type: ignore[attr-defined]
        if self._may_raise:
            enter(_replaced(asyncio.tasks, "__sleep0", _sleep0))
        if mock := sys.modules.get("unittest.mock"):
            enter(_replaced(mock.AsyncMockMixin, "_execute_mock_call", _suspending(mock)))
        if "anyio" in sys.modules:
            from .anyio import replacements

            try:
                for owner, name, new in replacements():
                    enter(_replaced(owner, name, new))
            except Unfit as unfit:
                self.missing = (str(unfit),)
        self.refresh = _same_randomness()
        self._is_silent = False
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def silence(self) -> None:
        """From now on, coroutines that were never awaited are our doing: their task was cancelled before it began."""
        if not self._is_silent:
            self._is_silent = True
            self._stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            self._stack.callback(gc.collect)  # those in cycles say so when they are found


@contextmanager
def breakpoints_off() -> Iterator[None]:
    """Until left, ``breakpoint()`` and ``set_trace()`` do nothing: for a run that nobody has asked to see."""
    with ExitStack() as stack:
        stack.enter_context(_replaced(sys, "breakpointhook", _nothing))
        for name in _DEBUGGERS:
            if hasattr(sys.modules.get(name), "set_trace"):
                stack.enter_context(_replaced(sys.modules[name], "set_trace", _nothing))
        yield


def _nothing(*_: object, **__: object) -> None: ...


@contextmanager
def _replaced(owner: Any, name: str, new: object) -> Iterator[None]:
    had = name in vars(owner)
    old = vars(owner).get(name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, old)
        else:
            delattr(owner, name)


def _same_randomness() -> Callable[[], None]:
    state = random.getstate()
    numpy: Any = sys.modules.get("numpy.random")
    if not hasattr(numpy, "get_state"):  # not imported, or a stub
        return functools.partial(random.setstate, state)
    state_of_numpy = numpy.get_state()

    def set_both() -> None:
        random.setstate(state)
        numpy.set_state(state_of_numpy)

    return set_both


def _chaining(chain_future: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """As asyncio's; but a run is told if the future of a pool is done already, for then nothing else tells."""

    @functools.wraps(chain_future)
    def chain(source: Any, destination: Any) -> None:
        loop = asyncio._get_running_loop()
        if isinstance(loop, PlayedLoop) and isinstance(source, concurrent.futures.Future) and source.done():
            loop.refuse_answered()
        chain_future(source, destination)

    return chain


def _set_in_order(items: Iterable[Any] = ()) -> Any:
    """A set; of coroutines, which hash by address, a dict, which keeps their order: asyncio only iterates it."""
    items = list(items)
    by_address = any(inspect.isawaitable(item) and not asyncio.isfuture(item) for item in items)
    return dict.fromkeys(items) if by_address else set(items)


@types.coroutine
def _sleep0() -> Generator[None, None, None]:  # pragma: no cover - it runs as code of asyncio's file
    """As asyncio's; but the schedule may let it fail."""
    yield
    task: Any = asyncio.current_task()
    actor = getattr(task, "_explorer_actor", None)
    if actor is not None and actor.error is not None:
        error, actor.error = actor.error, None
        raise error


def _in_place_of(asyncios: types.CodeType, own: types.CodeType) -> types.CodeType:
    """`own` with the name and file of `asyncios`, and its last line, which raises, where that one suspends."""
    shift = _last_line(asyncios) - _last_line(own)
    return own.replace(
        co_name=asyncios.co_name, co_filename=asyncios.co_filename, co_firstlineno=own.co_firstlineno + shift
    )


def _last_line(code: types.CodeType) -> int:
    return max(line for *_, line in code.co_lines() if line is not None)


# It stands for asyncio's also in the eyes of who asks where a task is suspended, or reads a traceback.
_sleep0.__code__ = _in_place_of(asyncio.tasks.__sleep0.__code__, _sleep0.__code__)  # type: ignore[attr-defined]


def _suspending(mock: Any) -> Any:
    execute = mock.AsyncMockMixin._execute_mock_call

    @functools.wraps(execute)
    async def execute_later(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(asyncio.get_running_loop(), PlayedLoop):
            await answer_of_mock()
        return await execute(self, *args, **kwargs)

    return execute_later
