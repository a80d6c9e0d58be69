"""The methods that a loop without sockets, processes and signals refuses; the error names what to use instead."""

from collections.abc import Callable
from typing import Any

from ..errors import UncontrolledOperation
from .fast_loop import FastLoop

_TRANSPORT = "an in-memory transport, or a fake of the client or server (for ASGI: httpx.ASGITransport)"
_PROCESS = "a fake of the code that starts the process"
_SIGNAL = "a direct call of the signal handler"
_USES = {
    _TRANSPORT: ("network", "performs real I/O"),
    _PROCESS: ("process", "starts a real process"),
    _SIGNAL: ("signal", "handles real signals"),
}

_INSTEAD = {
    "create_connection": _TRANSPORT,
    "create_server": _TRANSPORT,
    "create_datagram_endpoint": _TRANSPORT,
    "create_unix_connection": _TRANSPORT,
    "create_unix_server": _TRANSPORT,
    "connect_accepted_socket": _TRANSPORT,
    "connect_read_pipe": _TRANSPORT,
    "connect_write_pipe": _TRANSPORT,
    "start_tls": _TRANSPORT,
    "sendfile": _TRANSPORT,
    "getaddrinfo": _TRANSPORT,
    "getnameinfo": _TRANSPORT,
    "add_reader": _TRANSPORT,
    "remove_reader": _TRANSPORT,
    "add_writer": _TRANSPORT,
    "remove_writer": _TRANSPORT,
    "sock_accept": _TRANSPORT,
    "sock_connect": _TRANSPORT,
    "sock_recv": _TRANSPORT,
    "sock_recv_into": _TRANSPORT,
    "sock_recvfrom": _TRANSPORT,
    "sock_recvfrom_into": _TRANSPORT,
    "sock_sendall": _TRANSPORT,
    "sock_sendfile": _TRANSPORT,
    "sock_sendto": _TRANSPORT,
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
