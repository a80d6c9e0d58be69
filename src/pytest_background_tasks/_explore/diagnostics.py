"""The messages for tests that cannot be explored: not deterministic, no such step, no task to cancel."""

from traceback import format_exception_only

from ..errors import ExplorationError, ReplayError
from .execution import Execution
from .faults import Faults
from .schedule import canonical
from .trace import ANSWERS, Step, Trace, first_difference


def difference(run: Execution, other: Execution, which: str, read: str) -> str:
    """Return the message for two runs of one schedule that differ.

    Args:
        run: the first run.
        other: the second run.
        which: the two runs, in words.
        read: the lines at which the test reads values that differ in every run.
    """
    first, second = run.trace, other.trace
    index = first_difference(first, second)
    ends = _ends(run, other)
    if index is None:
        return (
            f"the test is not deterministic: {which} differ only at the end\n"
            f"{ends}A value differs that is not part of the order (a set, id(), the wall clock, earlier state)\n{read}"
        ).rstrip()
    return (
        f"the test is not deterministic: {which} differ at step {index + 1}\n"
        f"  first run:   {_step(first, index)}\n"
        f"  second run:  {_step(second, index)}\n"
        f"{ends}{read}{_REASONS}"
    )


def _ends(run: Execution, other: Execution) -> str:
    """Return the ends of the two runs in words if one of them fails, else an empty string."""
    if run.error is None and other.error is None:
        return ""
    return "".join(
        f"The {word} run {'passes' if each.error is None else f'fails: {_in_a_line(each.error)}'}\n"
        for word, each in (("first", run), ("second", other))
    )


def _in_a_line(error: BaseException) -> str:
    return format_exception_only(error)[0].splitlines()[0]


_REASONS = """\
Usual causes and remedies:
  a set of objects, ordered by address    use a dict, or define __hash__
  the wall clock                          use asyncio.get_running_loop().time()
  a cache or counter outside the test     reset it at the start of the test\
"""


def _step(trace: Trace, index: int) -> str:
    if index >= len(trace.steps):
        return "the run has ended"
    step: Step = trace.steps[index]
    name = trace.display_name(step.task)
    if step.delivered != "call":
        received = "" if step.delivered == "value" else f" and receives {step.delivered}"
        what = f"{name} runs its step {step.number}{received}"
    elif step.kind in ANSWERS:
        what = f"the result for step {step.number} of {name} arrives"
    else:
        what = f"{name} is called"
    return f"{what}, at {step.time:g} s"


def nothing_to_deviate(run: Execution) -> ReplayError:
    """Return the error for a replayed schedule with a deviation that finds no step in `run`."""
    trace, deviation = run.trace, run.unused[0]
    steps = [step for step in trace.steps if step.task == canonical(deviation.task)]
    if steps:
        there = ", ".join(sorted({f"{step.number} ({step.kind or 'not an arrival'})" for step in steps}))
        what = f"{deviation.task} has no arrival at step {deviation.step}; its steps are: {there}"
    else:
        names = ", ".join(sorted({trace.display_name(step.task) for step in trace.steps if step.kind}))
        what = f"there is no task {deviation.task}; those with arrivals are: {names or 'none'}"
    return ReplayError(f"{deviation} cannot be replayed: {what}\nThe test has changed, or the version of Python")


def nothing_to_cancel(faults: Faults, trace: Trace | None) -> ExplorationError:
    """Return the error for ``cancel`` in the option ``faults`` if it matches no task.

    Args:
        faults: the value of the option.
        trace: the trace of a run, with the names of its tasks; None if the option has no patterns.
    """
    if trace is None:
        return ExplorationError(
            "faults='cancel' found no task to cancel: no task started by the test is ever suspended\n"
            "Wrap the call that should be cancelled:  task = asyncio.create_task(...)"
        )
    names = sorted({trace.display_name(step.task) for step in trace.steps if step.delivered != "call"} - {"main"})
    shown = ", ".join(repr(f"cancel:{target}") for target in faults.cancel)
    return ExplorationError(
        f"faults= matches no task in any run: {shown}\n  tasks: {', '.join(names) or 'none'}\n"
        f"Write 'cancel:' and one of these, or 'cancel' for all tasks that the test starts"
    )
