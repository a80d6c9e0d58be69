"""The address of a socket of the in-process network: binding the socket, and showing its address."""

import errno
import socket
from typing import Any

from .addresses import Endpoint, endpoint, error, is_internet, presented, shown
from .in_process_socket import InProcessSocket


class AddressedSocket(InProcessSocket):
    """A socket that can be bound to an address, and connected to another.

    Attributes:
        address: the address that it is bound to; for the family UNIX, a path. None if it is not bound.
    """

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        super().__init__(network, family, type, proto)
        self.address: Any = None
        self._has_shut_read = False
        self._has_shut_write = False

    def bind(self, sock: Any, address: Any) -> None:  # noqa: ARG002  # like all methods of sockets
        """Bind to an address; port 0 stands for a free one."""
        where = endpoint(self.family, address, "bind") if is_internet(self.family) else address
        if is_internet(self.family) and (self.address is not None or self.is_connected):
            raise error(errno.EINVAL)
        self.network.bind(self, where)

    def connect(self, sock: Any, address: Any) -> None:
        """Connect to an address."""
        raise NotImplementedError  # each kind of socket does

    def connect_ex(self, sock: Any, address: Any) -> int:
        """Do the same as `connect`, but return the number of the error, or 0."""
        try:
            self.connect(sock, address)
        except OSError as problem:
            if problem.errno is None or isinstance(problem, socket.gaierror):
                raise
            return problem.errno
        return 0

    def getsockname(self, sock: Any) -> Any:  # noqa: ARG002  # like all methods of sockets
        """Return the address of this socket."""
        if not is_internet(self.family):
            return "" if self.address is None else self.address
        return presented(self.address or Endpoint(self.family, "0.0.0.0" if self.family == socket.AF_INET else "::", 0))

    def as_text(self, address: Any) -> str:
        """Return an address of this socket's family as text; empty for None."""
        return shown(address) if is_internet(self.family) and address else str(address or "")
