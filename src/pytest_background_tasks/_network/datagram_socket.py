"""Datagram sockets, of the families INET, INET6 and UNIX."""

import _socket
import errno
import socket
from collections import deque
from operator import index
from typing import Any

from . import ancillary_data
from .addressed_socket import AddressedSocket
from .addresses import Endpoint, destination, endpoint, error, is_internet, presented
from .in_process_socket import MESSAGE_TRUNCATED
from .network_event import SHOWN, NetworkEvent

_LARGEST_DATAGRAM: dict[int, int] = {socket.AF_INET: 65_507, socket.AF_INET6: 65_527}
_LARGEST_OF_UNIX = 212_960
_ROOM = 212_992  # bytes of datagrams that Linux keeps for a receiver
_BROADCAST = "255.255.255.255"
_OVERHEAD = 768  # bytes that it counts for each, besides its data
_MOST_OF_UNIX = 512  # number of datagrams that it keeps for a receiver, before a sender has to wait


class DatagramSocket(AddressedSocket):
    """A datagram socket."""

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        super().__init__(network, family, type, proto)
        self._peer: Any = None
        self._queue: deque[tuple[bytes, Any, list[Any]]] = deque()
        self._size = 0
        self._wants_only: DatagramSocket | None = None  # its peer, in the family UNIX
        self.senders: list[DatagramSocket] = []  # they wait for room
        self._blocked: DatagramSocket | None = None

    def _has_input(self) -> bool:
        return bool(self._queue or self.failure or self._has_shut_read)

    def _has_room(self) -> bool:
        return self._blocked is None or not self._blocked.is_full

    @property
    def is_full(self) -> bool:
        """True if a sender of the family UNIX has to wait."""
        return len(self._queue) >= _MOST_OF_UNIX

    def connect(self, sock: Any, address: Any) -> None:  # noqa: ARG002  # like all methods of sockets
        """Set the only address to send to, and to receive from."""
        if is_internet(self.family):
            where = destination(endpoint(self.family, address, "connect"))
            self.network.check(self, where)
            self._peer = where
            self.address = self._bound_for(where)
            return
        other = self.network.receiver_at(self, address)  # raises an error if there is none
        if other._wants_only is not None and other._wants_only is not self:
            raise error(errno.EPERM)
        if self._wants_only not in (None, other):  # what the former peer has sent is lost
            self._queue.clear()
        self._wants_only, self._peer = other, other.address
        self.update()

    def event(self, *, is_writing: bool) -> NetworkEvent:
        """Return the event for which the socket is ready."""
        address = self.as_text(self.address)
        if is_writing:
            return NetworkEvent("room", address)
        if not self._queue:
            return NetworkEvent("refused" if self.failure else "eof", address)
        return NetworkEvent("data", address, len(self._queue[0][0]), self._queue[0][0][:SHOWN])

    def _bound_for(self, where: Endpoint) -> Endpoint:
        """Return the address from which `where` is talked to, after binding to a free port if need be."""
        if self.address is None:
            self.network.bind(self, endpoint(self.family, ("", 0), "bind"))
        found: Endpoint = self.network.address_of_client(self, where)
        return found

    def shutdown(self, sock: Any, how: int) -> None:  # noqa: ARG002  # like all methods of sockets
        """Close one direction, or both."""
        if index(how) not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise error(errno.EINVAL)
        if self._peer is None and is_internet(self.family):
            raise error(errno.ENOTCONN)
        self._has_shut_read = self._has_shut_read or how != socket.SHUT_WR
        self._has_shut_write = self._has_shut_write or how != socket.SHUT_RD
        self.update()

    def listen(self, sock: Any, backlog: int = 128) -> None:  # noqa: ARG002  # like all methods of sockets
        """Raise an error: there are no connections."""
        index(backlog)
        raise error(errno.EOPNOTSUPP)

    def _accept(self, sock: Any) -> Any:  # noqa: ARG002  # like all methods of sockets
        """Raise an error: there are no connections."""
        raise error(errno.EOPNOTSUPP)

    def shut(self) -> None:
        """End the life of the socket."""
        super().shut()
        self.network.unbind(self)

    def discard(self) -> None:
        """Free what the socket uses."""
        super().discard()
        while self._queue:
            ancillary_data.discard(self._queue.popleft()[2])

    def getpeername(self, sock: Any) -> Any:  # noqa: ARG002  # like all methods of sockets
        """Return the address that the socket is connected to."""
        if self._peer is None:
            raise error(errno.ENOTCONN)
        return presented(self._peer._replace(family=self.family)) if is_internet(self.family) else self._peer

    def _send(self, sock: Any, data: bytes, flags: int, address: Any, ancillary: list[Any], call: str) -> int:
        if failure := 0 if self.is_held else self.take_failure():
            self.update()
            raise error(failure)
        if self._has_shut_write:
            raise error(errno.EPIPE)
        if address is None and self._peer is None:
            raise error(errno.EDESTADDRREQ if is_internet(self.family) else errno.ENOTCONN)
        if len(data) > _LARGEST_DATAGRAM.get(self.family, _LARGEST_OF_UNIX):
            raise error(errno.EMSGSIZE)
        if is_internet(self.family):
            self._send_to(self._peer if address is None else destination(endpoint(self.family, address, call)), data)
            return len(data)
        other = self.network.receiver_at(self, self._peer if address is None else address)
        if other._wants_only is not None and other._wants_only is not self:
            raise error(errno.EPERM)
        while other.is_full and other is not self:
            self._blocked = other
            other.senders.append(self)
            self.update()
            self.wait(sock, self._has_room, call, flags, writing=True)
        self._blocked = None
        if other._has_shut_read:
            raise error(errno.EPIPE)
        other.put(data, self.address, ancillary)
        return len(data)

    def _send_to(self, where: Endpoint, data: bytes) -> None:
        if where.port == 0:
            raise error(errno.EINVAL)
        if where.host == _BROADCAST and not self.has_option(socket.SOL_SOCKET, socket.SO_BROADCAST):
            raise error(errno.EACCES)
        self.network.check(self, where)
        source = self._bound_for(where)
        other = self.network.receiver_at(self, where)
        if other is not None:
            other.put(data, source, [])
        elif self._peer is not None:
            self.failure = errno.ECONNREFUSED
            self.update()

    def put(self, data: bytes, source: Any, ancillary: list[Any]) -> None:
        """Keep a datagram for the program to receive; drop it if there is no room, as networks do."""
        if is_internet(self.family):
            if self._peer is not None and (self._peer.host, self._peer.port) != (source.host, source.port):
                return
            if self._size + len(data) + _OVERHEAD > _ROOM:
                return
        self._size += len(data) + _OVERHEAD
        self._queue.append((data, source, ancillary))
        self.update()

    def _receive(self, sock: Any, size: int, flags: int, call: str) -> tuple[bytes, Any, int, list[Any]]:
        while True:
            if not self.is_held:
                if failure := self.take_failure():
                    self.update()
                    raise error(failure)
                if self._queue:
                    break
                if self._has_shut_read and _socket.socket.gettimeout(sock) != 0:
                    return b"", None, 0, []
            self.wait(sock, lambda: not self.is_held and self._has_input(), call, flags)
        data, source, ancillary = self._queue[0]
        if not flags & socket.MSG_PEEK:
            self._queue.popleft()
            self._size -= len(data) + _OVERHEAD
            self.update()
            for sender in self.senders:
                sender.update()
            self.senders.clear()
        else:
            ancillary = []
        shown = presented(source._replace(family=self.family)) if is_internet(self.family) else source
        return data[:size], shown, MESSAGE_TRUNCATED if len(data) > size else 0, ancillary
