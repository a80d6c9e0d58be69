"""The public class `Explorer`, whose failures have their report in a note."""

from dataclasses import replace
from functools import partial
from inspect import unwrap
from typing import Unpack

from .._explore.execution import Scenario, playing
from .._explore.exploration import explored
from .._explore.options import ExplorerArguments, Options
from .._explore.result import Exploration


class Explorer:
    """The engine of ``@explore``: runs a scenario in the orders that asyncio could have produced.

    Orders closest to asyncio's default order come first. Use this if a decorator does not fit: for a part of a test, or
    in a script. It cannot explore while an event loop is running in the same thread.

    Args:
        max_schedules: the largest number of schedules to run.
        max_deviations: the largest number of deviations in a schedule.
        max_seconds: the time limit, in seconds of real time; None for no limit.
        max_steps: the number of steps after which a run counts as a livelock.
        arrivals: the kinds of arrival that may be delayed: ``start``, ``yield``, ``sleep``, ``timer``, ``thread``,
            ``mock``, ``answer``, ``network`` (default: all of these), or ``any``: every step of every task, for code
            that must not rely on asyncio's order at all.
        faults: the faults to inject; default: none. ``"cancel"``: an external event cancels one task per schedule, of
            those that the scenario starts; ``"cancel:client*"``: of those whose names match. ``"slow"``: each result
            may come after the next timer, such as a timeout, or just before it; without it, only those of threads and
            `answer` may. An exception, its class, or the name of a built-in one: what a task waits for fails with it.
            At connections, ``"reset"``, ``"refused"``, ``"eof"`` (closed in the middle, as by a proxy), ``"split"``: a
            part of the data arrives first.
        random_walks: the number of random walks after all schedules with up to ``max_deviations`` deviations.
        seed: decides the order of the search, and the random numbers that each run draws.
        replay: a schedule, or its text: run only this schedule.
        previous_failures: schedules that failed before, to be tried right after the default order. Those that pass now,
            or can no longer be replayed, do not count as runs.
        accepted: schedules whose failure is known and accepted: the search continues when it meets one.
        fail_on_leaks: True if tasks pending at the end are a failure.
        virtual_clocks: True if ``time.time()``, ``time.monotonic()``, ``time.perf_counter()`` and ``datetime.now()``
            follow virtual time in the loop's thread, except for the standard library and pytest.
        reseed_random: True if ``random``, and numpy's if it is imported, give the same numbers in each run.
        require_cancel: True if it is an error that ``"cancel"`` finds no task; otherwise the verdict excludes
            cancellations.
        propagate: exceptions that are not failures: they end the exploration and propagate. Classes, or a
            function that returns True for them.
        is_project_file: maps file names to True for project code; default: all files under the current directory. The
            scenario's own file is always project code.

    Raises:
        TypeError, ValueError: an option is invalid; the message says what to write.

    >>> import asyncio
    >>> async def shop():
    ...     stock = {"apples": 2}
    ...     async def sell():
    ...         left = stock["apples"]
    ...         await asyncio.sleep(0)  # stands for I/O
    ...         stock["apples"] = left - 1
    ...     async def look_and_sell():
    ...         await asyncio.sleep(0)
    ...         await sell()
    ...     await asyncio.gather(sell(), look_and_sell())
    ...     assert stock["apples"] == 0
    >>> exploration = Explorer().explore(shop)
    >>> exploration.verdict, str(exploration.failure.schedule)
    ('failed', 'sell@1+1')
    """

    def __init__(self, **options: Unpack[ExplorerArguments]) -> None:
        self._options = Options.of(options)

    def explore(self, scenario: Scenario) -> Exploration:
        """Explore `scenario`, an ``async def`` without arguments, which is called anew for every run.

        Returns:
            The result; see its ``verdict`` and ``failure``. The last run is the failing one. A note of
            ``failure.error`` says how the failure came about and how to replay it.

        Raises:
            NonDeterministicTest: two runs of the same schedule differ.
            UncontrolledOperation: the scenario uses something that no schedule can control.
            ReplayError: the schedule to replay names a task or step that does not exist.
            ExplorationError: ``cancel`` finds no task and must, an event loop is running, or nest_asyncio has been
                applied.
        """
        code, is_project = getattr(unwrap(scenario), "__code__", None), self._options.is_project_file
        if code is not None and isinstance(is_project, dict):
            is_project[code.co_filename] = True  # a scenario is project code, wherever its file is
        exploration = explored(playing(scenario), self._options)
        if exploration.failure is None:
            return exploration
        return replace(exploration, failure=replace(exploration.failure, _make_note=partial(_note, exploration)))


def _note(exploration: Exploration) -> str:
    from .layout import plain
    from .terminal import section

    assert exploration.failure is not None
    replay = f"Explorer(replay={str(exploration.failure.schedule)!r}), with the other options unchanged"
    return plain(section(exploration, replay, _WIDTH))


_WIDTH = 80  # columns of a note: the width of the reader's display is unknown
