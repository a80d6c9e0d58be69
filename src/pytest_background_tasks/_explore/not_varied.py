"""Everything that an exploration may leave as it is: its verdict names it, and so does the summary of a suite."""

from collections.abc import Callable
from typing import NamedTuple

from .options import Options
from .trace import ANSWERS


class Constant(NamedTuple):
    """A circumstance that an exploration may leave as it is.

    Attributes:
        name: a few words for a verdict.
        text: its full description, for a summary.
        varied_by: the option that varies it; empty if none does.
        applies: returns True for options under which it is not varied.
    """

    name: str
    text: str
    varied_by: str
    applies: Callable[[Options], bool]


def _arrival(kind: str, name: str, text: str) -> Constant:
    return Constant(name, text, f"arrivals={kind!r}", lambda options: kind not in options.arrivals)


CONSTANTS: tuple[Constant, ...] = (
    _arrival("start", "starts", "the order in which created tasks start"),
    _arrival("yield", "sleep(0)", "the order in which tasks resume after sleep(0)"),
    _arrival("sleep", "sleeps", "the order of sleeps that end at the same moment"),
    _arrival("timer", "timers", "the order of other timers that are due at the same moment"),
    _arrival("thread", "threads", "the moments at which threads answer"),
    _arrival("mock", "mocks", "the answers of mocks"),
    _arrival("answer", "answer()", "the moments at which fakes answer with answer()"),
    _arrival("network", "network", "the moments at which connections, data and their end arrive"),
    Constant("durations", "durations written in the code", "", lambda options: options.is_suite),
    Constant(
        "different durations",
        "durations written in the code, except for equal sleeps in fakes of the test, up to three lengths",
        "",
        lambda options: not options.is_suite,
    ),
    Constant(
        "slow results",
        "results slower than the next timer",
        "slow_results=True",
        lambda options: not options.slow_kinds,
    ),
    Constant(
        "slow sleeps",
        "sleeps and mocks slower than the next timer",
        "slow_results=True",
        lambda options: bool(options.slow_kinds) and options.slow_kinds != ANSWERS,
    ),
    Constant("cancellations", "external cancellations", "cancel=True", lambda options: not options.cancel),
    Constant(
        "errors", "failures of what a task waits for", "inject_errors=", lambda options: not options.inject_errors
    ),
)
"""All of them, in the order in which they are named."""


def not_varied(options: Options, *, may_cancel: bool = True) -> tuple[Constant, ...]:
    """Return what an exploration with these options does not vary.

    Args:
        options: the options.
        may_cancel: False if no run had a task to cancel.
    """
    return tuple(
        each
        for each in CONSTANTS
        if each.applies(options) or (each.varied_by == "cancel=True" and options.cancel and not may_cancel)
    )
