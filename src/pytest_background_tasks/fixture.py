"""What a test holds in its hand: the fixture ``background_tasks``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any, Final

from .capture.capture import Capture, Targets
from .capture.captured import CapturedTask
from .capture.held import HeldTask
from .control.drive import let_end, run_async, run_sync
from .control.order import Order, ordered
from .control.run import Run
from .control.standstill import Standstill
from .errors import BackgroundTasksError, NoSuchBackgroundTask
from .own import OwnCode
from .targets import Target, matcher, shown
from .wanted import Wanted


class _Default:
    """The ``timeout`` of a call that gives none: ini ``background_tasks_timeout``."""

    def __repr__(self) -> str:
        return "..."


DEFAULT: Final = _Default()


class BackgroundTasks:
    """Holds the background tasks that the code under test starts; the test looks at them and runs them.

    A background task is one that nobody waits for in the place that starts it. While a test captures, such a task is
    real but does not start: it starts when the test says so, or when somebody waits for it.

    >>> import asyncio
    >>> async def send_mail(to):
    ...     return f"sent to {to}"
    >>> background_tasks = getfixture("background_tasks")
    >>> background_tasks.start_capturing()
    >>> task = asyncio.create_task(send_mail("ada@example.org"))
    >>> background_tasks.task_count
    1
    >>> background_tasks.run_all_sync()
    ['sent to ada@example.org']
    """

    def __init__(self, is_own: OwnCode, test: str, test_code: CodeType | None, timeout: float | None) -> None:
        self._test = test
        self._timeout = timeout
        self._is_open = True
        self._has_captured = False
        self.__capture = Capture(is_own, self._watch)
        self._random_orders: list[list[str]] = []
        self._standstill = Standstill(self.__capture, test_code, timeout)

    def start_capturing(self, *only: Target, ignore: Target | Sequence[Target] = ()) -> None:
        """From now on, hold background tasks.

        Called again while capturing, it changes the targets and nothing else.

        Args:
            only: hold just what these name, wherever it comes from; without any, all background tasks of the project's
                own code.
            ignore: let these start as usual; a `Target` or several.

        Raises:
            TypeError: if one of them is no `Target`; says what to write instead.
        """
        __tracebackhide__ = True
        self._aim(_targets(only, ignore))

    def stop_capturing(self) -> None:
        """Let tasks that are started from now on run as usual. What is held stays held; twice does no harm."""
        self._capture.aim(None)

    @contextmanager
    def capturing(self, *only: Target, ignore: Target | Sequence[Target] = ()) -> Iterator["BackgroundTasks"]:
        """Capture inside a ``with`` block; afterwards it is as before, with the targets of before.

        >>> import asyncio
        >>> background_tasks = getfixture("background_tasks")
        >>> async def job(): ...
        >>> with background_tasks.capturing():
        ...     task = asyncio.create_task(job())
        >>> background_tasks.run_all_sync()
        [None]
        """
        before = self._capture.targets
        self._aim(_targets(only, ignore))
        try:
            yield self
        finally:
            if self._is_open:
                self._capture.aim(before)

    def reset(self) -> None:
        """Forget everything captured. What is held ends cancelled and never runs; what has started is cancelled.

        Capturing goes on, if it was on.
        """
        self._capture.reset()

    @property
    def captured_tasks(self) -> list[CapturedTask]:
        """What was captured since the start or the last `reset`, in the order of creation.

        Tuples ``(coroutine, args, kwargs)`` that know more, in a new list at each call. Running one does not remove it.
        """
        return [self._capture.view(task) for task in self._capture.tasks]

    @property
    def task_count(self) -> int:
        """How many tasks were captured since the start or the last `reset`."""
        return len(self._capture.tasks)

    @property
    def held_tasks(self) -> list[CapturedTask]:
        """Those of `captured_tasks` that have not been started yet."""
        return [self._capture.view(task) for task in self._capture.held]

    async def run_all_async(
        self,
        *,
        order: Order = "created",
        timeout: float | _Default | None = DEFAULT,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Start what is held, and wait until all of it has ended, with what it starts in turn while capturing.

        Args:
            order: in which they start: ``"created"``, ``"reversed"``, ``"random"`` (the same at each run of this test),
                or a list of targets; what matches none of them starts last. asyncio's queue is first in, first out, so
                tasks of one loop also go on in this order as long as nothing else decides.
            timeout: seconds of real time for all of it; ``None`` waits for ever. Default: ini
                ``background_tasks_timeout``, 10 s.
            return_exceptions: put errors into the results instead of raising them, as ``asyncio.gather`` does.

        Returns:
            What the tasks returned, in creation order; for one that was cancelled its ``CancelledError``. An empty list
            if nothing is held.

        Raises:
            BaseException: what a task raised, when all the others have ended too; several in creation order in an
                ``ExceptionGroup``. A note names the task and the line that created it.
            BackgroundTasksTimeout: names each task that has not ended, and the line it waits at.
            TooManyBackgroundTasks: if tasks start tasks without end.
        """
        __tracebackhide__ = True
        call = "await background_tasks.run_all_async({})"
        return await self._run_async(self._prepare(self._capture.held, order, call), timeout, return_exceptions)

    def run_all_sync(
        self,
        *,
        order: Order = "created",
        timeout: float | _Default | None = DEFAULT,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """`run_all_async` without ``await``: in a `def` test, after ``asyncio.run`` or a ``TestClient`` call, anywhere.

        In an async test it runs the test's own loop from inside, other ready tasks included. uvloop offers no way to do
        that: there it runs tasks as far as they need neither timers nor I/O, and else raises `BackgroundTasksError`.
        """
        __tracebackhide__ = True
        call = "background_tasks.run_all_sync({})"
        return self._run_sync(self._prepare(self._capture.held, order, call), timeout, return_exceptions)

    async def run_async(
        self,
        *targets: Target,
        order: Order = "created",
        timeout: float | _Default | None = DEFAULT,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """`run_all_async` for the held tasks that match one of `targets`. What they start in turn runs too.

        Returns:
            Their results in creation order, followed by those of what they started.

        Raises:
            NoSuchBackgroundTask: if nothing that is held matches; lists what is held.
        """
        __tracebackhide__ = True
        call = "await background_tasks.run_async({})"
        return await self._run_async(self._prepare(self._pick(call, targets), order, call), timeout, return_exceptions)

    def run_sync(
        self,
        *targets: Target,
        order: Order = "created",
        timeout: float | _Default | None = DEFAULT,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """`run_async` without ``await``; see `run_all_sync` for where."""
        __tracebackhide__ = True
        call = "background_tasks.run_sync({})"
        return self._run_sync(self._prepare(self._pick(call, targets), order, call), timeout, return_exceptions)

    def captured(self, target: Target, /, **arguments: Any) -> list[CapturedTask]:
        """The captured tasks that match, in the order of creation, whatever has become of them.

        Args:
            target: which tasks; see `Target`.
            arguments: what the call's arguments are equal to, by the names of the function's parameters; anything that
                defines ``==`` will do (``unittest.mock.ANY``).
        """
        __tracebackhide__ = True
        return Wanted.of(target, arguments, "background_tasks.captured({})", self._callees).among(self.captured_tasks)

    def assert_captured(self, target: Target, /, **arguments: Any) -> CapturedTask:
        """Exactly one captured task matches; it is returned.

        Args:
            target: which task; see `Target`.
            arguments: as for `captured`.

        Raises:
            AssertionError: if there is none, or there are several; lists what was captured, nearest first, and says in
                what the nearest differs.

        >>> import asyncio
        >>> async def send_mail(to, subject="hello"): ...
        >>> background_tasks = getfixture("background_tasks")
        >>> background_tasks.start_capturing()
        >>> task = asyncio.create_task(send_mail("ada"))
        >>> background_tasks.assert_captured(send_mail, to="ada").state
        'held'
        """
        __tracebackhide__ = True
        wanted = Wanted.of(target, arguments, "background_tasks.assert_captured({})", self._callees)
        tasks = self.captured_tasks
        matching = wanted.among(tasks)
        if len(matching) == 1:
            return matching[0]
        number = f"{len(matching)} captured tasks match" if matching else "no captured task matches"
        raise AssertionError(f"{number} {wanted}, expected exactly one; captured:\n{wanted.nearest_first(tasks)}")

    def assert_nothing_captured(self, target: Target | None = None, /) -> None:
        """No captured task matches `target`; without one: nothing was captured at all.

        Raises:
            AssertionError: lists those that were.
        """
        __tracebackhide__ = True
        wanted = Wanted.of(target, {}, "background_tasks.assert_nothing_captured({})", self._callees)
        matching = wanted.among(self.captured_tasks)
        if matching:
            listing = "".join(f"\n  {task.told}" for task in matching)
            raise AssertionError(f"captured, where {wanted} should not be:{listing}")

    @property
    def _capture(self) -> Capture:
        __tracebackhide__ = True
        if not self._is_open:
            raise BackgroundTasksError(
                f"background_tasks of {self._test} was used after that test had ended; "
                f"ask for the fixture in the test that uses it:  def test_…(background_tasks):"
            )
        return self.__capture

    def _prepare(self, held: list[HeldTask], order: Order, call: str) -> Run:
        __tracebackhide__ = True
        if order == "created":
            return Run(self._capture, held, held)
        starting = ordered(held, self._capture.view, order, self._test, call)
        if order == "random":
            self._random_orders.append([task.get_name() for task in starting])
        return Run(self._capture, held, starting)

    async def _run_async(self, run: Run, timeout: float | _Default | None, return_exceptions: bool) -> list[Any]:
        __tracebackhide__ = True
        seconds = self._seconds(timeout)
        await run_async(run, seconds)
        return run.results(seconds, return_exceptions)

    def _run_sync(self, run: Run, timeout: float | _Default | None, return_exceptions: bool) -> list[Any]:
        __tracebackhide__ = True
        seconds = self._seconds(timeout)
        run_sync(run, seconds)
        return run.results(seconds, return_exceptions)

    def _seconds(self, timeout: float | _Default | None) -> float | None:
        __tracebackhide__ = True
        if isinstance(timeout, _Default):
            return self._timeout
        seconds: object = timeout
        if timeout is None or (isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0):
            return timeout
        raise ValueError(
            f"timeout={timeout!r}: a time-out is a positive number of seconds, or None to wait for ever; "
            f"write e.g. timeout=5"
        )

    def _pick(self, call: str, targets: tuple[Target, ...]) -> list[HeldTask]:
        __tracebackhide__ = True
        if not targets:
            all_held = call.replace("run_", "run_all_").format("")
            raise TypeError(f"{call.format('')} needs a target; to run everything that is held:  {all_held}")
        matches = [matcher(target, call, self._callees) for target in targets]
        held = self._capture.held
        picked = [task for task in held if any(match(self._capture.view(task)) for match in matches)]
        if not picked:
            listing = "".join(f"\n  {self._capture.view(task)!r}" for task in held) or f" nothing; {self!r}"
            raise NoSuchBackgroundTask(f"{call.format(', '.join(map(shown, targets)))} matches nothing; held:{listing}")
        return picked

    def _aim(self, targets: Targets) -> None:
        self._capture.aim(targets)
        self._has_captured = True

    def _watch(self, task: HeldTask) -> None:
        self._standstill.watch(task)

    def __repr__(self) -> str:
        if not self._is_open:
            return f"<background_tasks of {self._test}, which has ended>"
        capturing = "capturing" if self._capture.targets is not None else "not capturing"
        never = "" if self._has_captured else ": start_capturing() was never called"
        return f"<background_tasks {capturing}{never}; {self.task_count} captured, {len(self._capture.held)} held>"

    @property
    def _callees(self) -> list[object]:
        return [task.callee for task in self._capture.tasks if task.callee is not None]

    @property
    def _lost_error(self) -> BaseException | None:
        """The error that the test should have got, if it never reached it: nothing could go on, or a target failed."""
        return self._standstill.lost_error or self._capture.error

    def _told(self) -> str:
        """What is to be told when the test fails: what ``order="random"`` has chosen, and what is held."""
        orders = (f"order='random' (seed {self._test!r}) started: {', '.join(names)}" for names in self._random_orders)
        held = (f"never run: {task.told}" for task in self.held_tasks)
        return "\n".join([*orders, *held])

    def _captured(self) -> list[HeldTask]:
        """What was captured, for the watch."""
        return self._capture.tasks

    def _close(self) -> None:
        """End of the test: nothing is held, nothing is patched, nothing of what was captured goes on."""
        capture = self._capture
        self._is_open = False
        started = [task for task in capture.tasks if not task.held]
        capture.aim(None)
        capture.reset()
        self._standstill.close()
        let_end(started)
        capture.close_loop()


def _targets(only: tuple[Target, ...], ignore: Target | Sequence[Target]) -> Targets:
    __tracebackhide__ = True
    single = isinstance(ignore, (str, CapturedTask)) or not isinstance(ignore, Sequence)
    ignored: Sequence[Any] = (ignore,) if single else ignore  # type: ignore[assignment]
    return Targets(
        tuple(matcher(target, "background_tasks.start_capturing({})") for target in only),
        tuple(matcher(target, "background_tasks.start_capturing(ignore={})") for target in ignored),
    )
