"""The files of an explored loop: sockets of the in-process network, pipes, and pairs of sockets.

All methods that concern them are asyncio's own; they work on the selector that is made here when it is first needed.

Private names of CPython used here: ``_selector``, ``_transports`` and ``_unix_server_sockets`` of a loop, ``_sock`` and
``_closing`` of a transport, ``_sockets`` of a server, and ``_app_transport`` and ``_closed`` of those of TLS.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from .._network.socket_methods import IS_SUPPORTED, NOT_SUPPORTED, network
from ..errors import UncontrolledOperation
from .network_arrival import NetworkArrival
from .network_faults import PossibleFaults
from .plan import Plan
from .readiness_selector import ReadinessSelector
from .task_names import TaskIdentity, TaskNames
from .trace import ARRIVING, PLACES
from .unsupported import UnsupportedCalls


class NetworkOfLoop(UnsupportedCalls):
    """The methods of a loop that concern files."""

    _files: ReadinessSelector | None = None
    _at_files: Sequence[NetworkArrival] = ()  # what has arrived in this iteration
    _deviating: Plan | None
    _names: TaskNames
    _iteration: int
    _note_withdrawn: Callable[..., None]
    _now: float
    _running: Callable[[], TaskIdentity]

    @cached_property
    def _selector(self) -> ReadinessSelector:
        if not IS_SUPPORTED:
            raise self.refuse(UncontrolledOperation(NOT_SUPPORTED, "network"))
        self._files = ReadinessSelector(self.name_of, self._refuse_file, self._withdraw)
        return self._files

    @cached_property
    def _possible_faults(self) -> dict[tuple[str, int], PossibleFaults]:
        return {}

    @cached_property
    def _transports(self) -> "WeakValueDictionary[int, Any]":
        return WeakValueDictionary()

    @cached_property
    def _unix_server_sockets(self) -> dict[Any, Any]:
        return {}

    def name_of(self, kind: str) -> str:
        """Return the name of what the running task or callback has created."""
        return self._names.derived(self._running(), kind)

    def refuses(self, name: str) -> bool:
        """Return True if the schedule lets a connection be refused.

        Args:
            name: the name of what would arrive first at the client.
        """
        plan = self._deviating
        return plan is not None and plan.refuses(name)

    def _note_faults(self, arriving: Sequence[NetworkArrival]) -> None:
        """Note the faults that could take place in place of what arrives now."""
        for handle in arriving:
            if (possible := handle.possible_faults()) is not None:
                self._possible_faults[handle.who, handle.number] = possible

    def _withdraw(self) -> None:
        """Note that the running step removes a reader or writer that would have been called in the next iteration."""
        if self.is_running():
            self._note_withdrawn((self._iteration + 1) * PLACES + ARRIVING, after=1)

    def _refuse_file(self, descriptor: int) -> BaseException:
        current = network()
        assert current is not None
        return current.refuse_foreign(descriptor)

    def _intercepts(self, plan: Plan, handle: Any, entry: int) -> bool:
        """Return True if `handle` is delayed; what is late at a file cannot be read before."""
        is_late = plan.intercepts(handle, entry)
        if is_late and type(handle) is NetworkArrival:
            handle.hold()
        return is_late

    def _entered(self, handles: list[Any]) -> list[Any]:
        """Let what was late at a file be read, now that these delayed handles enter; return them."""
        for handle in handles:
            if type(handle) is NetworkArrival:
                handle.release()
        return handles

    def _make_socket_transport(self, sock: Any, *args: Any, server: Any = None, **kwargs: Any) -> Any:
        _check_open(server, sock)
        return super()._make_socket_transport(sock, *args, server=server, **kwargs)  # type: ignore[misc]  # a private name

    def _make_ssl_transport(self, sock: Any, *args: Any, server: Any = None, **kwargs: Any) -> Any:
        _check_open(server, sock)
        return super()._make_ssl_transport(sock, *args, server=server, **kwargs)  # type: ignore[misc]  # a private name

    def forget_transports(self) -> None:
        """Close the connections that are open at the end of a run with deviations.

        A late step would have closed them: that they were left open is not worth a warning.
        """
        if "_transports" in self.__dict__:
            for transport in list(self._transports.values()):
                inner: Any = getattr(transport.get_protocol(), "_app_transport", None)
                if inner is not None:
                    inner._closed = True
                transport._closing = True  # which a StreamWriter asks
                if transport._sock is not None:
                    transport._sock.close()
                    transport._sock = None

    def close(self) -> None:
        """Close the loop; its files stay open, as on any loop."""
        super().close()
        if self._files is not None:
            self._files.close()
            self._files = None


def _check_open(server: Any, sock: Any) -> None:
    """Fail as asyncio does for a connection whose server was closed before its first step, but close it without noise.

    asyncio leaves a transport that was half made, with a warning of its own.
    """
    if server is not None and server._sockets is None:
        sock.close()
        raise AssertionError("the server was closed")
