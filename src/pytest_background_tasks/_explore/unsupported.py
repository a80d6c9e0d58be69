"""The methods that a loop without processes and signals refuses; the error names what to use instead."""

from collections.abc import Callable
from typing import Any

from ..errors import UncontrolledOperation
from .fast_loop import FastLoop

_PROCESS = "a fake of the code that starts the process"
_SIGNAL = "a direct call of the signal handler"
_USES = {
    _PROCESS: ("process", "starts a real process"),
    _SIGNAL: ("signal", "handles real signals"),
}

_INSTEAD = {
    "subprocess_exec": _PROCESS,
    "subprocess_shell": _PROCESS,
    "add_signal_handler": _SIGNAL,
    "remove_signal_handler": _SIGNAL,
}


class UnsupportedCalls(FastLoop):
    """The methods of a loop that are refused.

    Attributes:
        refusal: the error of the first refused call, or of anything else that shows that the run cannot be controlled.
            The code under test may have caught it.
    """

    refusal: UncontrolledOperation | None = None

    def refuse(self, error: UncontrolledOperation) -> UncontrolledOperation:
        """Record that this run cannot be controlled."""
        self.refusal = self.refusal or error
        return error

    def refuse_own_clock(self) -> None:
        """Refuse a clock of the test's own in place of the method ``time``: timers go by the virtual time."""
        raise self.refuse(
            UncontrolledOperation(
                "the test has replaced loop.time(), by which the timers of the loop go\n"
                "Time is virtual while a test is explored: await asyncio.sleep(60) instead, which takes no time",
                "loop",
            )
        )


def _refusing(name: str, instead: str) -> Callable[..., Any]:
    kind, uses = _USES[instead]

    def refuse(self: UnsupportedCalls, *_: object, **__: object) -> Any:
        __tracebackhide__ = True
        raise self.refuse(
            UncontrolledOperation(
                f"loop.{name}() {uses}, which an exploration cannot control\nUse instead: {instead}", kind
            )
        )

    refuse.__name__ = name
    return refuse


for _name, _use in _INSTEAD.items():
    setattr(UnsupportedCalls, _name, _refusing(_name, _use))
