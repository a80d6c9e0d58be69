"""Stream sockets, of the families INET, INET6 and UNIX: they listen, connect, and carry bytes in order.

Data is sent synchronously, as on Linux's loopback interface: it can be read as soon as ``send`` has returned. The
errors, and their order, are Linux's too; tests compare them with the kernel's.
"""

import _socket
import errno
import os
import socket
import struct
from collections import deque
from typing import Any

from .addresses import Endpoint, destination, endpoint, error, is_internet, presented, shown
from .channel import Channel
from .in_process_socket import InProcessSocket
from .network_event import SHOWN, NetworkEvent

_LARGEST_BACKLOG = 4096
_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER)


class StreamSocket(InProcessSocket):
    """A stream socket.

    Attributes:
        address: the address that it is bound to; for the family UNIX, a path. None if it is not bound.
        backlog: the connections that a listening socket has not accepted; None if it does not listen.
        is_announced: True if the arrival of the connection at the listener has been reported, for a socket in a backlog.
        is_server: True for the end of a connection that a listening socket has accepted, or will accept.
        is_unconfirmed: True from a call of ``connect`` that did not block until its result is known.
    """

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        super().__init__(network, family, type, proto)
        self.address: Any = None
        self.backlog: deque[StreamSocket] | None = None
        self.is_announced: bool = False
        self.is_unconfirmed: bool = False
        self.is_server: bool = False
        self.listener: StreamSocket | None = None
        self._limit = 0
        self._waiting: deque[StreamSocket] = deque()  # clients for which the backlog has no room
        self._incoming: Channel | None = None
        self._outgoing: Channel | None = None
        self._peer: StreamSocket | None = None
        self._peer_address: Any = None
        self._is_waiting = False
        self._is_reset = False
        self._has_shut_read = False
        self._has_shut_write = False

    @property
    def is_listening(self) -> bool:
        """True if clients can connect to this socket."""
        return self.backlog is not None

    @property
    def is_connected(self) -> bool:
        """True if this socket has, or had, a connection."""
        return self._incoming is not None

    # Readiness.

    def _has_input(self) -> bool:
        if self.backlog is not None:
            return any(not each.is_held for each in self.backlog)
        incoming = self._incoming
        if incoming is None:
            return bool(self.failure)
        return bool(incoming.size or incoming.is_finished or self._is_reset or self._has_shut_read)

    def _has_room(self) -> bool:
        if self._outgoing is None:
            return self.backlog is None and not self._is_waiting and not self._is_late
        return not self._is_late and (
            self._outgoing.is_writable
            or self._is_reset
            or self._has_shut_write
            or bool(self._peer and self._peer.is_closed)
        )

    @property
    def _is_late(self) -> bool:
        """True if the result of ``connect`` has not arrived yet."""
        return self.is_held and self.is_unconfirmed

    def release(self) -> None:
        """Let what is late arrive; for a connection in a backlog, itself."""
        super().release()
        if self.listener is not None:
            self.listener.update()

    # Binding and listening.

    def bind(self, sock: Any, address: Any) -> None:  # noqa: ARG002
        """Bind to an address; port 0 stands for a free one."""
        if self.address is not None or self.is_connected:
            raise error(errno.EINVAL)
        self.network.bind(self, endpoint(self.family, address, "bind") if is_internet(self.family) else address)

    def listen(self, sock: Any, backlog: int = 128) -> None:  # noqa: ARG002
        """Accept connections from now on."""
        if self.is_connected:
            raise error(errno.EINVAL)
        if self.address is None:
            if not is_internet(self.family):
                raise error(errno.EINVAL)
            self.network.bind(self, endpoint(self.family, ("", 0), "bind"))
        self._limit = min(max(backlog, 0), _LARGEST_BACKLOG) + 1
        if self.backlog is None:
            self.network.listen(self)
            self.backlog = deque()
        self.update()

    def _accept(self, sock: Any) -> tuple[int, Any]:
        """Return the descriptor of the first connection in the backlog, and the address of the client."""
        while True:
            if self.backlog is None:
                raise error(errno.EINVAL)
            accepted = next((each for each in self.backlog if not each.is_held), None)
            if accepted is not None:
                break
            self.wait(sock, self._has_input, "accept")
        self.backlog.remove(accepted)
        accepted.listener = None
        while self._waiting and len(self.backlog) < self._limit:
            self._waiting.popleft().establish(self)
        self.update()
        return self.network.give(accepted), accepted.shown_peer()

    # Connecting.

    def connect(self, sock: Any, address: Any) -> None:
        """Connect to the address of a listening socket of this network.

        Raises:
            BlockingIOError: the socket does not block; it becomes writable when the result has arrived.
        """
        if self.is_unconfirmed:
            if self._is_waiting or self._is_late:
                raise error(errno.EALREADY)
            self.is_unconfirmed = False
            if failure := self.take_failure():
                self.update()
                raise error(failure)
            return
        if self.is_connected:
            raise error(errno.EISCONN)
        if self.backlog is not None:
            raise error(errno.EISCONN)
        where = destination(endpoint(self.family, address, "connect")) if is_internet(self.family) else address
        listener = self.network.listener_at(self, where)
        self._peer_address = where
        blocks = _socket.socket.gettimeout(sock) != 0
        if listener is not None and len(listener.backlog) >= listener._limit:
            if not blocks and not is_internet(self.family):
                raise error(errno.EAGAIN)
            self._is_waiting = True
            listener._waiting.append(self)
            self.is_unconfirmed = True
            self.update()
        elif listener is not None:
            self.establish(listener)
        else:
            self.failure = errno.ECONNREFUSED
        if blocks or not is_internet(self.family):
            self.wait_until_connected(sock)
            if failure := self.take_failure():
                raise error(failure)
            return
        self.is_unconfirmed = True
        self._show_again()
        raise error(errno.EINPROGRESS)

    def wait_until_connected(self, sock: Any) -> None:
        """Wait while the backlog of the listener has no room."""
        while self._is_waiting:
            self.wait(sock, lambda: not self._is_waiting, "connect", writing=True)
        self.is_unconfirmed = False

    def connect_ex(self, sock: Any, address: Any) -> int:
        """Do the same as `connect`, but return the number of the error, or 0."""
        try:
            self.connect(sock, address)
        except OSError as problem:
            if problem.errno is None:
                raise
            return problem.errno
        return 0

    def _show_again(self) -> None:
        """Report the socket as writable once more: the result of ``connect`` has arrived."""
        self.is_writable = False
        self.update()
        self.is_peers_doing = True

    def establish(self, listener: "StreamSocket") -> None:
        """Connect to `listener`, whose backlog has room."""
        assert listener.backlog is not None
        if self.address is None and is_internet(self.family):
            self.address = self.network.ephemeral(self, self._peer_address)
        was_waiting, self._is_waiting = self._is_waiting, False
        other = StreamSocket(self.network, listener.family, listener.type, listener.proto)
        there, back = Channel(self.family), Channel(self.family)
        self._outgoing = other._incoming = there
        self._incoming = other._outgoing = back
        self._peer, other._peer = other, self
        other.listener, other.is_server = listener, True
        other.options = {key: value for key, value in listener.options.items() if key != _LINGER}
        other.address = self._peer_address if is_internet(self.family) else listener.address
        other._peer_address = self.address
        self.network.connected(self, other)
        listener.backlog.append(other)
        listener.update()
        if was_waiting:
            self._show_again()
        else:
            self.update()

    # Closing.

    def shutdown(self, sock: Any, how: int) -> None:  # noqa: ARG002
        """Close one direction of the connection, or both."""
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise error(errno.EINVAL)
        if self.backlog is not None:  # on Linux, this ends listening
            self._stop_listening()
            return
        if self._outgoing is None or self._is_over:
            raise error(errno.ENOTCONN)
        if how != socket.SHUT_WR:
            self._has_shut_read = True
        if how != socket.SHUT_RD:
            self._has_shut_write = self._outgoing.is_finished = True
            self._update_peer()
        self.update()

    @property
    def _is_over(self) -> bool:
        """True if the connection has ended in both directions, as far as this socket knows."""
        if self.is_held or self._incoming is None:
            return False
        return self._is_reset or (self._has_shut_write and self._incoming.is_finished and is_internet(self.family))

    def shut(self) -> None:
        """Let the peer know that the socket was closed: by EOF, or by a reset if data was not read."""
        super().shut()
        self._stop_listening()
        self.network.unbind(self)
        if self._is_waiting and self.listener is None:
            return
        peer, incoming, outgoing = self._peer, self._incoming, self._outgoing
        if peer is None or incoming is None or outgoing is None:
            return
        is_finished = outgoing.is_finished
        if incoming.size or self._lingers_not:
            if not peer._is_reset:
                peer.reset(errno.EPIPE if is_finished else errno.ECONNRESET)
        else:
            outgoing.is_finished = True
            peer.update()

    @property
    def _lingers_not(self) -> bool:
        """True if closing is to drop what was not sent, which resets the connection."""
        value = self.options.get(_LINGER)
        return (
            isinstance(value, bytes)
            and len(value) >= struct.calcsize("ii")
            and struct.unpack("ii", value[:8]) == (1, 0)
        )

    def _stop_listening(self) -> None:
        if self.backlog is None:
            return
        self.network.stop_listening(self)
        pending, self.backlog = self.backlog, None
        for each in pending:
            each.listener = None
            each.is_closed = True
            each.kernel.close()
            if each._peer is not None:
                each._peer.reset(errno.ECONNRESET)
        for each in self._waiting:
            each.refuse()
        self._waiting.clear()

    def refuse(self) -> None:
        """Fail a ``connect`` that waits for room in a backlog."""
        self._is_waiting = False
        self.failure = errno.ECONNREFUSED
        self._show_again()

    def reset(self, failure: int) -> None:
        """End the connection by a reset from the other side."""
        self.failure, self._is_reset = failure, True
        self.update()

    def _update_peer(self) -> None:
        if self._peer is not None:
            self._peer.update()

    # Names.

    def getsockname(self, sock: Any) -> Any:  # noqa: ARG002
        """Return the address of this socket."""
        if not is_internet(self.family):
            return "" if self.address is None else self.address
        return presented(self.address or Endpoint(self.family, "0.0.0.0" if self.family == socket.AF_INET else "::", 0))

    def getpeername(self, sock: Any) -> Any:  # noqa: ARG002
        """Return the address of the other side."""
        if not self.is_connected or self._is_late or self._is_over:
            raise error(errno.ENOTCONN)
        return self.shown_peer()

    def shown_peer(self) -> Any:
        """Return the address of the other side, whatever the state of the connection."""
        if is_internet(self.family):
            return presented(self._peer_address._replace(family=self.family))
        return self._peer_address or ""

    def _option(self, level: int, option: int, length: int | None) -> int | bytes:
        if level == socket.SOL_SOCKET and option == getattr(socket, "SO_PEERCRED", -1) and self.is_connected:
            return struct.pack("3i", os.getpid(), os.getuid(), os.getgid())[:length]
        return super()._option(level, option, length)

    def event(self, *, is_writing: bool) -> NetworkEvent:
        """Return the event for which the socket is ready; for a connection in a backlog, its arrival there."""
        server = self.address if self.is_server else self._peer_address
        address = shown(server) if is_internet(self.family) and server else str(server or "")
        incoming = self._incoming
        if self.listener is not None:
            return NetworkEvent("connection", address)
        if is_writing:
            result: Any = "refused" if self.failure else "established"
            return NetworkEvent(result if self.is_unconfirmed else "room", address)
        if incoming is not None and incoming.size:
            return NetworkEvent("data", address, incoming.size, incoming.take(SHOWN, is_kept=True))
        return NetworkEvent("reset" if self._is_reset else "eof", address)

    # Data.

    def _receive(self, sock: Any, size: int, flags: int, call: str) -> tuple[bytes, Any, int, list[Any]]:
        incoming, parts = self._incoming, b""
        if incoming is None:
            raise error(errno.ENOTCONN)
        while size > len(parts):
            if not self.is_held and incoming.size:
                ancillary = incoming.take_ancillary()
                data = incoming.take(size - len(parts), is_kept=bool(flags & socket.MSG_PEEK))
                if not flags & socket.MSG_PEEK:
                    if not incoming.size:
                        self.update()
                    peer = self._peer
                    if peer is not None and not peer.is_writable:
                        peer.update()
                if not flags & socket.MSG_WAITALL or flags & socket.MSG_PEEK:
                    return data, None, 0, ancillary
                parts += data
                continue
            if not self.is_held:
                if incoming.is_finished or self._has_shut_read:
                    break
                if self.failure and not parts:
                    failure = self.take_failure()
                    self.update()
                    raise error(failure)
                if self._is_reset:
                    break
            if parts and flags & socket.MSG_DONTWAIT:
                break
            if flags & socket.MSG_DONTWAIT:
                raise error(errno.EAGAIN)
            self.wait(sock, self._may_read, call)
        return parts, None, 0, []

    def _may_read(self) -> bool:
        return not self.is_held and self._has_input()

    def _send(self, sock: Any, data: bytes, flags: int, address: Any, ancillary: list[Any], call: str) -> int:
        if address is not None and is_internet(self.family) is False:
            raise error(errno.EISCONN if self.is_connected else errno.EOPNOTSUPP)
        while True:
            outgoing, peer = self._outgoing, self._peer
            if outgoing is None or peer is None:
                if self._is_waiting:
                    self.wait(sock, self._has_room, call, writing=True)
                    continue
                raise error(errno.EPIPE if is_internet(self.family) else errno.ENOTCONN)
            if not self.is_held:
                if failure := self.take_failure():
                    self.update()
                    raise error(failure)
                if self._is_reset:
                    raise error(errno.EPIPE)
            if self._has_shut_write:
                raise error(errno.EPIPE)
            if peer.is_closed and not self.is_held:
                if not is_internet(self.family):
                    raise error(errno.EPIPE)
                if data:  # the other side answers with a reset
                    assert self._incoming is not None
                    self.reset(errno.EPIPE if self._incoming.is_finished else errno.ECONNRESET)
                return len(data)
            if not self._is_late:
                if sent := outgoing.put(data, ancillary):
                    if not peer.is_readable:
                        peer.update()
                    if not outgoing.is_writable:
                        self.update()
                    return sent
                if not data:
                    return 0
            if flags & socket.MSG_DONTWAIT:
                raise error(errno.EAGAIN)
            self.wait(sock, self._has_room, call, writing=True)
