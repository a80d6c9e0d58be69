"""The cleanup of a loop after its run: tasks and generators end, and nothing is reported later.

Private names of CPython used here: ``_log_traceback`` of a task, ``_asyncgens`` and ``_ready`` of a loop.
"""

from contextlib import suppress

from .._asyncio.forced_end import cancel_surely, close, run_past_exits
from .controlled_loop import ControlledLoop

_TURNS = 1000
"""The number of iterations in which cancelled tasks may clean up. After that, tasks that never end are closed."""


def leave_nothing(loop: ControlledLoop) -> None:
    """Cancel and close everything that the run left behind, silently, like ``asyncio.run``."""
    is_over = not loop.has_generators
    for task in loop.tasks:
        is_over = is_over and task.done()
    try:
        if loop.is_closed():
            for task in loop.tasks:
                if not task.done():
                    close(task)
        elif not is_over:
            loop.set_exception_handler(lambda *_: None)
            clean_up(loop)
    finally:
        for task in loop.tasks:
            task._log_traceback = False
        loop.tasks.clear()
        loop.close()


def clean_up(loop: ControlledLoop) -> None:
    """Cancel and close tasks and generators. No error propagates, since it would replace the failure of the run."""
    for task in list(loop.tasks):
        cancel_surely(task)
    _turn(loop)
    for generator in list(loop._asyncgens):  # type: ignore[attr-defined]  # a private name
        with suppress(Exception):  # from a task factory of the program's own
            loop.create_task(generator.aclose())
    _turn(loop)
    for task in list(loop.tasks):
        if not task.done():
            close(task)


def _turn(loop: ControlledLoop) -> None:
    """Run the loop until all tasks have ended, at most ``_TURNS`` iterations."""
    turns = iter(range(_TURNS))

    def turn() -> None:
        loop.stop()
        with suppress(Exception):
            loop.run_forever()

    def is_over() -> bool:
        return (not loop._ready and all(task.done() for task in loop.tasks)) or next(turns, None) is None

    run_past_exits(turn, is_over, loop.tasks)
