"""The object behind the fixture ``background_tasks``."""

import asyncio  # noqa: F401  # for the examples
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._capture.captured_task import CapturedTask
from ._capture.matching import Expectation, matching_task, matching_tasks, targets_of
from ._capture.targets import Target
from ._control.driver import run_async, run_sync
from ._control.run_until_idle import run_until_idle_async, run_until_idle_sync
from ._control.start_order import Order
from ._control.test_context import TestContext
from ._control.timeout import DEFAULT, Timeout, seconds_of


class BackgroundTasks:
    """The background tasks that the code under test starts, held until the test runs them.

    A background task is a task that the code which starts it does not await. While a test captures, such a task is real
    but does not start until the test runs it, or another task waits for it.

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

    def __init__(self, context: TestContext) -> None:
        self._context = context

    def start_capturing(self, *only: Target, ignore: Target | Sequence[Target] = ()) -> None:
        """Hold background tasks from now on.

        Called again while capturing, it only changes the targets.

        Args:
            only: hold only the tasks that match one of these, whatever code starts them; without any, all background
                tasks of project code.
            ignore: let the tasks that match start as usual; a `Target` or several.

        Raises:
            TypeError: if one of them is not a `Target`; the message says what to write instead.
        """
        __tracebackhide__ = True
        self._context.capture.set_targets(targets_of(only, ignore))

    def stop_capturing(self) -> None:
        """Let tasks that are started from now on run as usual. Held tasks stay held; a second call has no effect."""
        self._context.capture.set_targets(None)

    @contextmanager
    def capturing(self, *only: Target, ignore: Target | Sequence[Target] = ()) -> Iterator["BackgroundTasks"]:
        """Capture inside a ``with`` block; afterwards, capturing and its targets are as before.

        >>> background_tasks = getfixture("background_tasks")
        >>> with background_tasks.capturing():
        ...     task = asyncio.create_task(asyncio.sleep(0, "done"))
        >>> background_tasks.run_all_sync()
        ['done']
        """
        before = self._context.capture.targets
        self._context.capture.set_targets(targets_of(only, ignore))
        try:
            yield self
        finally:
            if self._context.is_open:
                self._context.capture.set_targets(before)

    def reset(self) -> None:
        """Forget all captured tasks. Held tasks end cancelled and never run; started tasks are cancelled.

        Capturing stays on if it was on.
        """
        self._context.capture.reset()

    @property
    def captured_tasks(self) -> list[CapturedTask]:
        """The tasks captured since the start or the last `reset`, in creation order.

        Each is a tuple ``(coroutine, args, kwargs)`` with more attributes. The list is new at each access. Running a
        task does not remove it.
        """
        return [self._context.capture.view(task) for task in self._context.capture.tasks]

    @property
    def task_count(self) -> int:
        """The number of tasks captured since the start or the last `reset`."""
        return len(self._context.capture.tasks)

    @property
    def held_tasks(self) -> list[CapturedTask]:
        """The `captured_tasks` that have not been started yet."""
        return [self._context.capture.view(task) for task in self._context.capture.held]

    async def run_all_async(
        self, *, order: Order = "created", timeout: Timeout = DEFAULT, return_exceptions: bool = False
    ) -> list[Any]:
        """Start all held tasks, and wait until they, and the tasks that they start while capturing, have ended.

        Args:
            order: the order in which the tasks start: ``"created"``, ``"reversed"``, ``"random"`` (the same in each run
                of this test), or a list of targets; tasks that match none of them start last. asyncio's queue is first
                in, first out, so tasks of one loop also resume in this order unless something else decides.
            timeout: seconds of real time for all of them; ``None`` disables it. Default: ini
                ``background_tasks_timeout``, 10 s.
            return_exceptions: put exceptions into the results instead of raising them, like ``asyncio.gather``.

        Returns:
            The results of the tasks in creation order; for a cancelled task, its ``CancelledError``. An empty list if
            no task is held, and no started task was abandoned by its waiter.

        Raises:
            BaseException: the exception of a task, after all others have ended; several as an ``ExceptionGroup``, in
                creation order. A note names the task and the line that created it.
            BackgroundTasksTimeout: names each unfinished task and the line where it waits.
            TooManyBackgroundTasks: if tasks start tasks endlessly.
        """
        __tracebackhide__ = True
        run = self._context.prepare_all(order, "await background_tasks.run_all_async({})")
        return await run_async(run, seconds_of(timeout, self._context.timeout), return_exceptions)

    def run_all_sync(
        self, *, order: Order = "created", timeout: Timeout = DEFAULT, return_exceptions: bool = False
    ) -> list[Any]:
        """`run_all_async` without ``await``: in a `def` test, after ``asyncio.run`` or a ``TestClient`` call, anywhere.

        In an async test it runs the test's loop from inside, including other ready tasks. uvloop offers no way to do
        that: there it runs tasks as long as they need neither timers nor I/O; otherwise it raises
        `BackgroundTasksError`.
        """
        __tracebackhide__ = True
        run = self._context.prepare_all(order, "background_tasks.run_all_sync({})")
        return run_sync(run, seconds_of(timeout, self._context.timeout), return_exceptions)

    async def run_async(
        self, *targets: Target, order: Order = "created", timeout: Timeout = DEFAULT, return_exceptions: bool = False
    ) -> list[Any]:
        """`run_all_async` for the held tasks that match one of `targets`, and the tasks that they start.

        Returns:
            The results of the matching tasks in creation order, followed by those of the tasks that they started.

        Raises:
            BackgroundTaskNotFound: if no held task matches; the message lists the held tasks.
        """
        __tracebackhide__ = True
        call = "await background_tasks.run_async({})"
        run = self._context.prepare(matching_tasks(self._context.capture, call, targets), order, call)
        return await run_async(run, seconds_of(timeout, self._context.timeout), return_exceptions)

    def run_sync(
        self, *targets: Target, order: Order = "created", timeout: Timeout = DEFAULT, return_exceptions: bool = False
    ) -> list[Any]:
        """`run_async` without ``await``; usable wherever `run_all_sync` is."""
        __tracebackhide__ = True
        call = "background_tasks.run_sync({})"
        run = self._context.prepare(matching_tasks(self._context.capture, call, targets), order, call)
        return run_sync(run, seconds_of(timeout, self._context.timeout), return_exceptions)

    async def run_until_idle_async(self, *, order: Order = "created", timeout: Timeout = DEFAULT) -> None:
        """Start all held tasks, and run until idle: nothing can run before time passes or an external event arrives.

        It replaces loops of ``await asyncio.sleep(0)``. A job that never ends is not an obstacle: it runs until it
        sleeps or waits. Work in a thread counts as running, and so does a connection in use. Timers do not: no time
        passes, neither on a real clock nor in virtual time.

        Args:
            order: as for `run_all_async`.
            timeout: seconds of real time. Default: ini ``background_tasks_timeout``, 10 s.

        Raises:
            BaseException: the exceptions of captured tasks meanwhile, as for `run_all_async`.
            BackgroundTasksTimeout: if the program does not become idle, such as an endless loop of ``sleep(0)``.
            TooManyBackgroundTasks: if tasks start tasks endlessly.

        >>> background_tasks = getfixture("background_tasks")
        >>> async def test():
        ...     background_tasks.start_capturing()
        ...     task = asyncio.create_task(asyncio.sleep(60))
        ...     await background_tasks.run_until_idle_async()
        ...     assert background_tasks.assert_captured(task).suspended_at.waiting_for.startswith("a sleep of 60 s")
        >>> asyncio.run(test())
        """
        __tracebackhide__ = True
        run = self._context.prepare_until_idle(order, "await background_tasks.run_until_idle_async({})")
        seconds = seconds_of(timeout, self._context.timeout)
        run.finish_idle(await run_until_idle_async(run, self._context.activity, seconds), seconds)

    def run_until_idle_sync(self, *, order: Order = "created", timeout: Timeout = DEFAULT) -> None:
        """`run_until_idle_async` without ``await``; usable wherever `run_all_sync` is."""
        __tracebackhide__ = True
        run = self._context.prepare_until_idle(order, "background_tasks.run_until_idle_sync({})")
        seconds = seconds_of(timeout, self._context.timeout)
        run.finish_idle(run_until_idle_sync(run, self._context.activity, seconds), seconds)

    async def step_async(self, target: Target, /, *, timeout: Timeout = DEFAULT) -> CapturedTask:
        """Run exactly one step of a captured task: from where it resumes to where it suspends next, or ends.

        A held task starts. From then on, the task runs a step only on request, until a running method resumes it, or
        another task waits for it. If the task is not ready, the call waits until it is, while other tasks run.

        Args:
            target: matches one captured task that has not ended.
            timeout: seconds of real time in which the task has to become ready. Default: ini
                ``background_tasks_timeout``.

        Returns:
            The task; its ``suspended_at`` says where it waits, and for what.

        Raises:
            BaseException: the exception of the task in this step.
            BackgroundTaskNotFound: if no captured task matches; the message lists the captured tasks.
            BackgroundTasksError: if the matching task has ended, or several match.
            DeadlockError: if nothing can resume the task.
            BackgroundTasksTimeout: if the task was not ready in time.

        >>> background_tasks = getfixture("background_tasks")
        >>> async def blink():
        ...     await asyncio.sleep(0)
        >>> async def test():
        ...     background_tasks.start_capturing()
        ...     asyncio.create_task(blink())
        ...     task = await background_tasks.step_async(blink)
        ...     assert task.suspended_at.waiting_for == "its next turn in the event loop"
        ...     assert (await background_tasks.step_async(blink)).state == "done"
        >>> asyncio.run(test())
        """
        __tracebackhide__ = True
        task = matching_task(self._context.capture, "await background_tasks.step_async({})", target)
        await self._context.stepper.step_async(task, seconds_of(timeout, self._context.timeout))
        return self._context.capture.view(task)

    def step_sync(self, target: Target, /, *, timeout: Timeout = DEFAULT) -> CapturedTask:
        """`step_async` without ``await``; usable wherever `run_all_sync` is."""
        __tracebackhide__ = True
        task = matching_task(self._context.capture, "background_tasks.step_sync({})", target)
        self._context.stepper.step_sync(task, seconds_of(timeout, self._context.timeout))
        return self._context.capture.view(task)

    def captured(self, target: Target, /, **arguments: Any) -> list[CapturedTask]:
        """Return the captured tasks that match, in creation order, whatever their state.

        Args:
            target: see `Target`.
            arguments: the expected arguments of the call, by the names of the function's parameters; anything that
                defines ``==`` works (``unittest.mock.ANY``).
        """
        __tracebackhide__ = True
        wanted = Expectation.of(self._context.capture, "background_tasks.captured({})", target, arguments)
        return wanted.among(self.captured_tasks)

    def assert_captured(self, target: Target, /, **arguments: Any) -> CapturedTask:
        """Assert that exactly one captured task matches, and return it.

        Args:
            target: see `Target`.
            arguments: as for `captured`.

        Raises:
            AssertionError: if no task matches, or several do; the message lists the captured tasks, nearest first, and
                how they differ.

        >>> async def send_mail(to, subject="hello"): ...
        >>> background_tasks = getfixture("background_tasks")
        >>> background_tasks.start_capturing()
        >>> task = asyncio.create_task(send_mail("ada"))
        >>> background_tasks.assert_captured(send_mail, to="ada").state
        'held'
        """
        __tracebackhide__ = True
        wanted = Expectation.of(self._context.capture, "background_tasks.assert_captured({})", target, arguments)
        return wanted.one_among(self.captured_tasks, self._context.capture.unheld)

    def assert_nothing_captured(self, target: Target | None = None, /) -> None:
        """Assert that no captured task matches `target`; without a target, that no task was captured at all.

        Raises:
            AssertionError: if a task matches; the message lists the matching tasks.
        """
        __tracebackhide__ = True
        wanted = Expectation.of(self._context.capture, "background_tasks.assert_nothing_captured({})", target, {})
        wanted.none_among(self.captured_tasks)

    if not TYPE_CHECKING:  # pragma: no branch - never true here; else type checkers would accept every name

        def __getattr__(self, name: str) -> Any:
            """Explain the likeliest wrong guess: a running method without its suffix."""
            __tracebackhide__ = True
            if hasattr(type(self), f"{name}_async"):
                raise AttributeError(
                    f"background_tasks has no {name}(); write  await background_tasks.{name}_async(...)  "
                    f"or, without await,  background_tasks.{name}_sync(...)"
                )
            return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        if not self._context.is_open:
            return f"<background_tasks of {self._context.test}, which has ended>"
        return f"<background_tasks {self._context.capture.summary}>"
