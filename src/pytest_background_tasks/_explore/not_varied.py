"""Everything that an exploration may leave as it is: its verdict names it, and so does the summary of a suite."""

from collections.abc import Callable
from typing import NamedTuple

from .options import Options
from .schedule import NETWORK_FAULTS


class Circumstances(NamedTuple):
    """The things that faults need, as far as runs have had them.

    Attributes:
        may_cancel: True if a run had a task to cancel.
        has_network: True if something has arrived from the network.
    """

    may_cancel: bool = False
    has_network: bool = False


ALL_PRESENT = Circumstances(may_cancel=True, has_network=True)


class Constant(NamedTuple):
    """A circumstance that an exploration may leave as it is.

    Attributes:
        name: a few words for a verdict.
        text: its full description, for a summary.
        varied_by: the option that varies it; empty if none does.
        applies: returns True for options under which it is not varied.
        included: for a fault, a few words for a verdict that covers it.
        is_asked: for a fault, returns True for options that ask for it.
        needs: the name of the circumstance without which the fault cannot take place; empty if it always can.
    """

    name: str
    text: str
    varied_by: str
    applies: Callable[[Options], bool]
    included: str = ""
    is_asked: Callable[[Options], bool] = lambda _: False
    needs: str = ""


def _arrival(kind: str, name: str, text: str) -> Constant:
    return Constant(name, text, f"arrivals={kind!r}", lambda options: kind not in options.arrivals)


def _fault(
    name: str, text: str, varied_by: str, included: str, is_asked: Callable[[Options], bool], needs: str = ""
) -> Constant:
    return Constant(name, text, varied_by, lambda options: not is_asked(options), included, is_asked, needs)


def _of_network(fault: str, name: str, text: str) -> Constant:
    return Constant(
        name,
        text,
        f"faults={fault!r}",
        lambda options: bool(options.faults.network) and fault not in options.faults.network,
        name,
        lambda options: fault in options.faults.network,
        "has_network",
    )


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
        "slow results", "results slower than the next timer", "faults='slow'", lambda options: not options.slow_kinds
    ),
    Constant(
        "slow sleeps",
        "sleeps, mocks and the network slower than the next timer",
        "faults='slow'",
        lambda options: bool(options.slow_kinds) and not options.faults.is_slow,
        "slow results",
        lambda options: options.faults.is_slow,
    ),
    _fault(
        "cancellations",
        "external cancellations",
        "faults='cancel'",
        "one cancellation per run",
        lambda options: options.faults.cancels,
        "may_cancel",
    ),
    _fault(
        "errors",
        "failures of what a task waits for",
        "faults=ConnectionError",
        "injected errors",
        lambda options: bool(options.faults.errors),
    ),
    Constant(
        "network faults",
        "resets, refusals, early ends and split reads of connections",
        f"faults={list(NETWORK_FAULTS)}",
        lambda options: not options.faults.network,
        needs="has_network",
    ),
    _of_network("reset", "resets", "connections that are reset"),
    _of_network("refused", "refusals", "connections that are refused"),
    _of_network("eof", "early ends", "connections that are closed in the middle"),
    _of_network("split", "split reads", "data that arrives in two parts"),
)
"""All of them, in the order in which they are named."""


def not_varied(options: Options, circumstances: Circumstances) -> tuple[Constant, ...]:
    """Return what an exploration with these options does not vary."""
    return tuple(
        each
        for each in CONSTANTS
        if (each.applies(options) and (each.needs != "has_network" or circumstances.has_network))
        or (each.needs == "may_cancel" and not circumstances.may_cancel)
    )


def injected(options: Options, circumstances: Circumstances) -> tuple[Constant, ...]:
    """Return the faults that an exploration with these options has tried."""
    return tuple(
        each
        for each in CONSTANTS
        if each.included and each.is_asked(options) and (not each.needs or getattr(circumstances, each.needs))
    )
