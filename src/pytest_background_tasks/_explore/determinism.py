"""The process-wide state around the runs, made the same for each of them and restored afterwards.

``random`` (and numpy's) starts from the same state in every run, if that is asked for. ``as_completed`` starts
coroutines in the order of its arguments; asyncio itself orders them by address. An awaited `AsyncMock` suspends for one
step, as a real call would. What anyio sends to threads runs through the loop, and anyio cancels and wakes in insertion
order. The clocks of the modules ``time`` and ``datetime`` follow virtual time.

Private names of CPython used here: ``_chain_future`` of asyncio.futures, ``__sleep0`` of asyncio.tasks, and
``_execute_mock_call`` of an AsyncMock.
"""

import asyncio
import concurrent.futures
import functools
import gc
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from .._asyncio.instrument import hub
from .._asyncio.late_cancellation import cancelling_too_late
from .._asyncio.time_functions import CLOCKS, following
from .._introspect import real_clock
from .._introspect.unsupported_version import UnsupportedVersion
from .._network.socket_methods import IS_SUPPORTED, socket_methods_replaced
from .answer import answer_of_mock
from .clock_readers import ClockReaders
from .controlled_loop import ControlledLoop
from .options import Options
from .randomness import Randomness
from .run import EndsOfLoops

_DEBUGGERS = ("pdb", "pytest", "ipdb", "pudb")  # modules with a set_trace


class DeterministicProcess:
    """A context manager that installs these replacements while a scenario is explored.

    Args:
        may_raise: True if a schedule may inject an error into a bare yield. That makes each ``sleep(0)`` slower.
        mocks_suspend: True if an awaited `AsyncMock` suspends for one step.
        is_project: maps file names to True for project code, if clocks follow virtual time; else None.
        randomness: the random numbers of the runs; by default, the same in each run.

    Attributes:
        randomness: see the argument.
        missing: a sentence for each replacement that an unsupported version of a library makes impossible.
    """

    missing: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        may_raise: bool,
        mocks_suspend: bool = True,
        is_project: Mapping[str, bool] | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        self.randomness: Randomness = randomness or Randomness(0, is_same=True)
        self._is_project = is_project
        self._may_raise = may_raise
        self._mocks_suspend = mocks_suspend

    def __enter__(self) -> "DeterministicProcess":
        self._stack = ExitStack()
        enter = self._stack.enter_context
        enter(hub.added(EndsOfLoops()))
        if IS_SUPPORTED:
            enter(socket_methods_replaced())
        enter(_replaced(asyncio.tasks, "set", _set_in_order))
        enter(cancelling_too_late(lambda task: isinstance(task.get_loop(), ControlledLoop)))
        enter(_replaced(asyncio.futures, "_chain_future", _chaining(asyncio.futures._chain_future)))  # type: ignore[attr-defined]
        if self._is_project is not None:
            enter(following(self._virtual_time, self._is_project, CLOCKS, _clock_readers))
        if self._may_raise:
            enter(_replaced(asyncio.tasks, "__sleep0", _sleep0))
        if self._mocks_suspend and (mock := sys.modules.get("unittest.mock")):
            enter(_replaced(mock.AsyncMockMixin, "_execute_mock_call", _suspending(mock)))
        if "anyio" in sys.modules:
            from .anyio import replacements

            try:
                for owner, name, new in replacements():
                    enter(_replaced(owner, name, new))
            except UnsupportedVersion as unsupported:
                self.missing = (str(unsupported),)
        self._stack.callback(self.randomness.restore)
        self._restart_clock()
        self._is_silent = False
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def refresh(self) -> None:
        """Let a run start like every other; to be called before each run."""
        self._restart_clock()
        self.randomness.begin_run()

    def _restart_clock(self) -> None:
        self._ticks, self._step, self._since, self._blocked = 0, -1, 0.0, 0.0

    def _virtual_time(self) -> float | None:
        """Return the time of the explored loop that runs in this thread; None if there is none.

        No two readings are equal, as on a real clock: code that polls one comes to an end. So does code that blocks the
        thread in one step, and measures how long it has really waited.
        """
        loop = asyncio._get_running_loop()
        if not isinstance(loop, ControlledLoop):
            return None
        self._ticks += 1
        real, step = real_clock.monotonic(), len(loop._rows)
        if step != self._step:
            self._step, self._since = step, real
        elif real - self._since > _BLOCKED:
            self._blocked += real - self._since
            self._since = real
        return loop.time() + self._ticks * _TICK + self._blocked

    def ignore_unawaited(self) -> None:
        """Ignore "coroutine was never awaited" from now on: a cancellation may precede a task's first step."""
        if not self._is_silent:
            self._is_silent = True
            self._stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            self._stack.callback(gc.collect)  # coroutines in reference cycles warn when they are collected


def process_of(options: Options) -> DeterministicProcess:
    """Return the replacements for explorations with these options."""
    return DeterministicProcess(
        may_raise=bool(options.faults.errors),
        mocks_suspend=options.mocks_suspend,
        is_project=options.is_project_file if options.virtual_clocks else None,
        randomness=Randomness(0 if options.seed is None else options.seed, is_same=options.reseeds),
    )


@contextmanager
def breakpoints_off() -> Iterator[None]:
    """Disable ``breakpoint()`` and ``set_trace()`` inside the block, for runs that the user did not ask to debug."""
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


_clock_readers = ClockReaders()
_TICK = 1e-6  # seconds between two readings of a clock
_BLOCKED = 0.5  # seconds of real time in one step, from which on they count


def _chaining(chain_future: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Wrap asyncio's function: refuse the run if the future of a pool is done already, since no callback reports it."""

    @functools.wraps(chain_future)
    def chain(source: Any, destination: Any) -> None:
        loop = asyncio._get_running_loop()
        if isinstance(loop, ControlledLoop) and isinstance(source, concurrent.futures.Future) and source.done():
            loop.refuse_answered()
        chain_future(source, destination)

    return chain


def _set_in_order(items: Iterable[Any] = ()) -> Any:
    """Return a set; for coroutines, which hash by address, a dict, which keeps order. asyncio only iterates it."""
    items = list(items)
    by_address = any(inspect.isawaitable(item) and not asyncio.isfuture(item) for item in items)
    return dict.fromkeys(items) if by_address else set(items)


@types.coroutine
def _sleep0() -> Generator[None, None, None]:  # pragma: no cover - it runs as code of asyncio's file
    """Suspend like asyncio's ``__sleep0``, and raise the injected error, if there is one."""
    yield
    task: Any = asyncio.current_task()
    actor = getattr(task, "_explorer_actor", None)
    if actor is not None and actor.error is not None:
        error, actor.error = actor.error, None
        raise error


def _in_place_of(asyncios: types.CodeType, own: types.CodeType) -> types.CodeType:
    """Return `own` with the name and file of `asyncios`, and its last line, which raises, where that suspends."""
    shift = _last_line(asyncios) - _last_line(own)
    return own.replace(
        co_name=asyncios.co_name, co_filename=asyncios.co_filename, co_firstlineno=own.co_firstlineno + shift
    )


def _last_line(code: types.CodeType) -> int:
    return max(line for *_, line in code.co_lines() if line is not None)


# In tracebacks, and in reports of where a task is suspended, it looks like asyncio's own function.
_sleep0.__code__ = _in_place_of(asyncio.tasks.__sleep0.__code__, _sleep0.__code__)  # type: ignore[attr-defined]


def _suspending(mock: Any) -> Any:
    execute = mock.AsyncMockMixin._execute_mock_call

    @functools.wraps(execute)
    async def execute_later(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(asyncio.get_running_loop(), ControlledLoop):
            await answer_of_mock()
        return await execute(self, *args, **kwargs)

    return execute_later
