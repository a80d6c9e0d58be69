"""The phases of an explored loop: a runner sets up fixtures on it, runs the test, tears them down, and closes it.

Each is a call of ``run_until_complete``. The schedule applies to the test and to the teardown. A scenario of an
`Explorer` has the second phase only.

Private names of CPython used here: ``_check_closed`` and ``_check_running`` of a loop; ``_log_destroy_pending`` of a
task.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol

from .code_of_test import CodeOfTest
from .options import Options
from .pauses import Pauses
from .plan import Plan
from .task_names import Phase, TaskIdentity, TaskNames
from .tasks import ControlledTask
from .trace import Outcome
from .unsupported import UnsupportedCalls

NO_KINDS: frozenset[str] = frozenset()


class Owner(Protocol):
    """The run of a loop, as the loop sees it."""

    def explain_stop(self, loop: Any) -> BaseException:
        """Return the error for a loop that has stopped although what it runs is not done."""

    def look_at_end(self, loop: Any) -> None:
        """Note what only a loop that is not closed yet knows."""

    def cancel_all_tasks(self, loop: Any) -> None:
        """Act before a runner cancels the tasks that remain."""


class PhasesOfLoop(UnsupportedCalls):
    """The methods of a loop that run its phases.

    Attributes:
        phase: the creator of the tasks that are created while the loop is not running; None for an `Explorer`.
        owner: the run of the loop, until the loop is closed.
        extra_steps: the number of steps that may follow ``max_steps``, to clean up.
    """

    phase: Phase | None = None
    owner: Owner | None = None
    extra_steps: int = 0
    tasks: list[asyncio.Task[Any]]
    _options: Options
    _names: TaskNames
    _plan: Plan | None
    _deviating: Plan | None
    _judging: tuple[Any, ...]
    _task_numbers: Any
    _rows: list[tuple[Any, ...]]
    _ready: deque[Any]
    _actor: TaskIdentity | None
    _replaced_actor: tuple[int, TaskIdentity] | None = None
    _playing: "asyncio.Future[Any] | None" = None
    _pauses: Pauses | None
    _test: CodeOfTest | None
    key_of: Callable[[Any], tuple[str, int] | None]
    kind_of: Callable[[Any], str | None]
    _actor_of: Callable[[Any], TaskIdentity]
    _entered: Callable[[list[Any]], list[Any]]
    _is_last: bool = False  # in the iteration after the one in which the future was done, as on any loop

    def enter(self, phase: Phase) -> None:
        """Name the tasks that are created from now on, while the loop is not running, after `phase`."""
        self.phase = self._actor = phase

    def play(self, coroutine: Any) -> ControlledTask:
        """Run `coroutine`, the scenario, until it ends or cannot continue; return its task."""
        task = ControlledTask(next(self._task_numbers), self._names.scenario, coroutine, self)
        self.tasks.append(task)
        self._let_deviate(getattr(coroutine, "cr_code", None))
        self._run_until(task)
        return task

    def begin_main(self, code: CodeType | None = None) -> None:
        """Let the schedule apply: the running task begins to run the test, whose function has this `code`."""
        task: Any = asyncio.current_task(self)
        actor, scenario = self._actor_of(task), self._names.scenario
        if actor is not scenario:  # the runner awaits the test in a task of its own
            self._replaced_actor = len(self._rows), actor
            scenario.step = 1
            task._explorer_actor = self._actor = scenario
        self._let_deviate(code)

    def end_main(self, outcome: Outcome) -> None:  # noqa: ARG002  # a subclass records it
        """Take note that the running task has ended the test."""
        self._pauses = None
        task: Any = asyncio.current_task(self)
        if self._replaced_actor is not None and task is not None:  # otherwise its coroutine is being closed
            task._explorer_actor = self._actor = self._replaced_actor[1]

    def _let_deviate(self, code: CodeType | None) -> None:
        options, names = self._options, self._names
        arrivals = options.arrivals
        self._judging = (arrivals, "any" in arrivals, options.is_project_file, names.scenario, options.overtakable)
        if code is not None and options.is_suite:
            self._pauses = Pauses(CodeOfTest(code), names.scenario)
        elif code is not None:
            self._test = CodeOfTest(code)
        self._deviating = self._plan

    def follow_default_order(self) -> None:
        """Let no arrival deviate from now on: the runner closes the loop."""
        self._judging = (NO_KINDS, False, *self._judging[2:4], NO_KINDS)
        if self._deviating is not None:
            self._ready.extend(self._entered([handle for _, _, handle in self._deviating.outside]))
            self._deviating = None

    def _leave_owner(self) -> None:
        if self.owner is not None:
            self.owner.look_at_end(self)
        self.owner = None  # it refers to the loop

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` is done, like asyncio, and return its result.

        Raises:
            BaseException: if the loop stops before: the error of its owner.
        """
        __tracebackhide__ = True
        self._check_closed()  # type: ignore[attr-defined]  # a private name
        self._check_running()  # type: ignore[attr-defined]  # a private name
        is_new = not asyncio.isfuture(future)
        awaited: Any = asyncio.ensure_future(future, loop=self)
        if is_new:
            awaited._log_destroy_pending = False
        try:
            self._run_until(awaited)
        except BaseException:
            if is_new and awaited.done() and not awaited.cancelled():
                awaited.exception()  # it is raised here already
            raise
        if not awaited.done():
            stopped = RuntimeError("Event loop stopped before Future completed.")
            raise stopped if self.owner is None else self.owner.explain_stop(self)
        return awaited.result()

    def _run_until(self, future: "asyncio.Future[Any]") -> None:
        self._playing, self._is_last = future, future.done()
        try:
            self.run_forever()
        finally:
            self._playing, self._is_last, self._actor = None, False, self.phase
