"""The object of the fixture `virtual_network`: servers and clients of one test, without the real network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ._asyncio.instrument import Instrument, hub
from ._introspect.internals import has_selector
from ._introspect.thread_work import work_of
from ._network.network import InProcessNetwork, LeavesNetwork
from ._network.socket_methods import (
    IS_SUPPORTED,
    NOT_SUPPORTED,
    NetworkOnDemand,
    network,
    socket_methods_replaced,
)
from .errors import BackgroundTasksError, UncontrolledOperation


class VirtualNetwork:
    """The network of a test whose servers and clients are in the test's own process.

    Sockets that the test and its fixtures create from now on connect to each other in memory: no real port is taken,
    so tests that run side by side never collide, and port numbers are the same in each run. Together with
    ``virtual_time``, waiting takes no time either. Addresses at which no socket of the test listens stay real.

    Request the fixture before those that start servers; to have it in all tests of a directory, write in conftest.py::

        @pytest.fixture(autouse=True)
        def everywhere(virtual_network): ...
    """

    def __init__(self, current: InProcessNetwork) -> None:
        self._network = current

    @property
    def listening(self) -> tuple[Any, ...]:
        """The addresses at which sockets listen now, in the order in which they were bound, as from ``getsockname()``.

        So the port of a server that was started with port 0 is known without access to its sockets.

        >>> import asyncio
        >>> virtual_network = getfixture("virtual_network")
        >>> async def test():
        ...     async with await asyncio.start_server(print, "127.0.0.1", 0):
        ...         return virtual_network.listening
        >>> asyncio.run(test())
        (('127.0.0.1', 49152),)
        """
        return self._network.listening

    def __repr__(self) -> str:
        places = ", ".join(map(str, self.listening)) or "nothing"
        return f"<virtual_network, {places} listening>"


class _OpenHost:
    """The surroundings of the network of a test that is not explored: the real network is there too."""

    def __init__(self) -> None:
        self._others = {each: work_of(each) for each in threading.enumerate() if each is not threading.current_thread()}

    def name(self, kind: str) -> str:
        """Return a name for what the running task has created; nothing shows it."""
        return kind

    def owns_thread(self) -> bool:
        """Return True if the current thread is the test's, or was started or given its work during the test."""
        current = threading.current_thread()
        return current not in self._others or work_of(current) is not self._others[current]

    def refuses(self, name: str) -> bool:  # noqa: ARG002  # no schedule asks for it
        """Return False: each connection to a socket that listens is established."""
        return False

    def may_leave(self) -> bool:
        """Return True: other addresses are real."""
        return True

    def refuse(self, problem: UncontrolledOperation) -> NoReturn:
        """Let the operation reach the real network."""
        raise LeavesNetwork from problem

    def refuse_to_block(self, call: str) -> None:
        """Let any thread wait."""

    def watches_sockets(self) -> bool:
        """Return False: all loops watch descriptors."""
        return False


class _RefusesOtherLoops(Instrument):
    """Loops that make their sockets without Python's socket module are not on the network of the test."""

    def __init__(self, here: NetworkOnDemand) -> None:
        self._here = here
        self._thread = threading.get_ident()
        self._refused: list[Any] = []

    def loop_starting(self, loop: Any) -> None:
        """Raise an error for such a loop; once, so that its runner can still close it."""
        __tracebackhide__ = True
        if not self._here.is_current or threading.get_ident() != self._thread:
            return
        if not has_selector(loop) and loop not in self._refused:
            self._refused.append(loop)
            raise BackgroundTasksError(
                f"virtual_network cannot serve {type(loop).__module__}.{type(loop).__name__}: its sockets are out of "
                f"Python's reach. Use asyncio's default event loop for this test, or remove the fixture."
            )


@contextmanager
def virtual_network_of_test() -> Iterator[VirtualNetwork]:
    """Give a test its network. A test that is being explored has one already."""
    if (current := network()) is not None:
        yield VirtualNetwork(current)
        return
    if not IS_SUPPORTED:
        raise BackgroundTasksError(NOT_SUPPORTED)
    current = InProcessNetwork(_OpenHost())
    here = NetworkOnDemand(lambda: current)
    with hub.added(_RefusesOtherLoops(here)), socket_methods_replaced(), here:
        yield VirtualNetwork(current)
