"""Stream sockets, of the families INET, INET6 and UNIX: they carry bytes in order, and end.

Data is sent synchronously, as on Linux's loopback interface: it can be read as soon as ``send`` has returned. The
errors, and their order, are Linux's too; tests compare them with the kernel's.
"""

import _socket
import errno
import os
import socket
import struct
from operator import index
from typing import Any

from . import ancillary_data
from .addresses import error, is_internet
from .channel import Channel
from .connecting_socket import ConnectingSocket
from .network_event import SHOWN, NetworkEvent

_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER)
_PEER = (socket.SOL_SOCKET, getattr(socket, "SO_PEERCRED", -1))


class StreamSocket(ConnectingSocket):
    """A stream socket."""

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        super().__init__(network, family, type, proto)
        self._is_reset = False
        self._is_cut = False  # something between the two ends has closed the connection
        self._allowed: int | None = None  # number of bytes that can be read before the rest of a split read arrives
        self.update()

    # Readiness.

    def _has_input(self) -> bool:
        if self.backlog is not None:
            return self._has_shut_read or any(not each.is_held for each in self.backlog)
        incoming = self._incoming
        if incoming is None:  # a socket without a connection is ready, to report an error
            return self._waits_for is None
        return bool(incoming.size or incoming.is_finished or self.failure or self._is_reset or self._has_shut_read)

    def _has_room(self) -> bool:
        if self._is_late or self._waits_for is not None:
            return False
        if self.backlog is not None:
            return self._has_shut_read and self._has_shut_write
        if self._outgoing is None:
            return True
        return (
            self._outgoing.is_writable
            or bool(self.failure)
            or self._is_reset
            or self._has_shut_write
            or self._is_rejected
        )

    @property
    def _is_rejected(self) -> bool:
        """True if the other side does not want data any more."""
        peer = self._peer
        if peer is None or self.is_held:
            return False
        return (
            self._is_cut
            or peer.is_closed
            or (peer._has_shut_read and (peer._has_shut_write or not is_internet(self.family)))
        )

    # Closing.

    def shutdown(self, sock: Any, how: int) -> None:  # noqa: ARG002  # like all methods of sockets
        """Close one direction of the connection, or both."""
        if index(how) not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise error(errno.EINVAL)
        if is_internet(self.family):
            if self._waits_for is not None:
                self._stop_waiting()
                return
            if self.backlog is not None:
                if how != socket.SHUT_WR:  # on Linux, this ends listening
                    self._stop_listening()
                return
            if self._outgoing is None or self._is_over:
                raise error(errno.ENOTCONN)
        self._has_shut_read = self._has_shut_read or how != socket.SHUT_WR
        if how != socket.SHUT_RD:
            self._has_shut_write = True
            if self._outgoing is not None:
                self._outgoing.is_finished = True
        self.update()
        self._update_peer()

    @property
    def _is_over(self) -> bool:
        """True if the connection has ended in both directions, as far as this socket knows."""
        if self.is_held or self._incoming is None or not is_internet(self.family):
            return False
        return self._is_reset or (self._has_shut_write and self._incoming.is_finished)

    def shut(self) -> None:
        """Let the peer know that the socket was closed: by EOF, or by a reset if data was not read."""
        self._stop_waiting()
        self._stop_listening()
        super().shut()
        self.network.unbind(self)
        self.end()

    def end(self, *, is_reset: bool = False) -> None:
        """Let the peer know that the socket was closed."""
        self.is_closed = True
        peer, incoming, outgoing = self._peer, self._incoming, self._outgoing
        if peer is None or incoming is None or outgoing is None or self._is_cut:
            return
        is_reset = is_reset or bool(incoming.size)
        if not is_internet(self.family):
            if is_reset:
                peer.failure = errno.ECONNRESET
            outgoing.is_finished = True
            peer.update()
        elif not is_reset and not self._lingers_not:
            outgoing.is_finished = True
            peer.update()
        elif not self._is_reset and not peer._is_reset and not (outgoing.is_finished and incoming.is_finished):
            peer.reset()

    @property
    def _lingers_not(self) -> bool:
        """True if closing is to drop what was not sent, which resets the connection."""
        value = self.options.get(_LINGER)
        return (
            isinstance(value, bytes)
            and len(value) >= struct.calcsize("ii")
            and struct.unpack("ii", value[:8]) == (1, 0)
        )

    def discard(self) -> None:
        """Free what the socket uses."""
        super().discard()
        for each in self.backlog or ():
            each.discard()
        if self._incoming is not None:
            ancillary_data.discard(self._incoming.take_all_ancillary())

    def reset(self) -> None:
        """End the connection by a reset from the other side."""
        assert self._incoming is not None
        self.failure = errno.EPIPE if self._incoming.is_finished else errno.ECONNRESET
        self._is_reset = True
        self.update()

    def _update_peer(self) -> None:
        if self._peer is not None:
            self._peer.update()

    # Faults.

    def parts_of_input(self) -> tuple[tuple[int, ...], int]:
        """Return the bytes up to the end of each part that was sent in one call, and of the first blank line.

        The last number is 0 if there is no blank line.
        """
        assert self._incoming is not None
        ends = self._incoming.ends()
        before, blank, _ = self._incoming.take(ends[-1], is_kept=True)[0].partition(b"\r\n\r\n")
        return ends, len(before) + len(blank) if blank else 0

    def cut(self, after: int, *, is_reset: bool) -> None:
        """End the connection externally: as by a proxy between the two, or a network that fails.

        Args:
            after: the number of bytes that still arrive here; the rest is lost.
            is_reset: True if both ends get a reset; False if both get EOF, and a reset once they send more.
        """
        with self.network.lock:
            incoming = self._incoming
            ends: tuple[Any, ...] = (self, self._peer)
            assert incoming is not None
            incoming.truncate(after)
            incoming.is_finished = False  # an EOF that was on its way is lost too
            for each in ends:
                if not each.is_closed and not each._is_reset:
                    each._is_cut = True
                    if is_reset:
                        each.reset()
                    else:
                        each._incoming.is_finished = True
                        each.update()

    def split(self, after: int) -> None:
        """Let only a part of what has arrived be read, until `end_split`.

        Args:
            after: the size of that part, in bytes; one byte at least is left for later.
        """
        assert self._incoming is not None
        self._allowed = max(min(after, self._incoming.size - 1), 1)

    def end_split(self) -> None:
        """Let the rest be read."""
        was_read, self._allowed = self._allowed == 0, None
        if was_read:
            self.release()

    # Names and options.

    def getpeername(self, sock: Any) -> Any:  # noqa: ARG002  # like all methods of sockets
        """Return the address of the other side."""
        if not self.is_connected or self._is_late or self._is_over:
            raise error(errno.ENOTCONN)
        return self.shown_peer()

    def _answer(self, level: int, option: int) -> int | bytes | None:
        if (
            (level, option) == _PEER
            and not is_internet(self.family)
            and (self.is_connected or self.backlog is not None)
        ):
            return struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
        return super()._answer(level, option)

    def event(self, *, is_writing: bool) -> NetworkEvent:
        """Return the event for which the socket is ready; for a connection in a backlog, its arrival there."""
        server = self.address if self.is_server else self._peer_address
        address = self.as_text(server)
        incoming = self._incoming
        if self.listener is not None:
            return NetworkEvent("connection", address)
        if is_writing:
            result: Any = "refused" if self.failure else "established"
            return NetworkEvent(result if self.is_unconfirmed else "room", address)
        if incoming is not None and incoming.size:
            return NetworkEvent("data", address, incoming.size, incoming.take(SHOWN, is_kept=True)[0])
        return NetworkEvent("reset" if self._is_reset or self.failure else "eof", address)

    # Data. The first two methods are the usual case of those of the base class, which costs little here.

    def recv(self, sock: Any, size: int, flags: int = 0) -> bytes:
        """Receive at most `size` bytes."""
        incoming = self._incoming
        is_special = flags or self.is_held or self._allowed is not None
        if is_special or incoming is None or (data := incoming.take_only_chunk(size)) is None:
            return super().recv(sock, size, flags)
        self._has_read(len(data))
        return data

    def send(self, sock: Any, data: Any, flags: int = 0) -> int:
        """Send as much as possible; return the number of bytes."""
        outgoing, peer = self._outgoing, self._peer
        has_ended = self.is_held or self.failure or self._is_reset or self._is_cut or self._has_shut_write
        if flags or has_ended or outgoing is None or peer.is_closed or peer._has_shut_read or type(data) is not bytes:
            return super().send(sock, data, flags)
        if not 0 < len(data) <= outgoing.room:
            return super().send(sock, data, flags)
        return self._put(outgoing, data, [])

    def _put(self, outgoing: Channel, data: bytes, ancillary: list[Any]) -> int:
        """Let as much of `data` as fits arrive at the other side; return the number of bytes."""
        if self._is_cut:  # a sender that has not heard of it yet: what it sends is lost
            ancillary_data.discard(ancillary)
            return len(data)
        sent = outgoing.put(data, ancillary)
        if sent and not self._peer.is_readable:
            self._peer.update()
        if sent and not outgoing.is_writable:
            self.update()
        return sent

    def _receive(self, sock: Any, size: int, flags: int, call: str) -> tuple[bytes, Any, int, list[Any]]:
        is_kept = bool(flags & socket.MSG_PEEK)
        wants_all = flags & socket.MSG_WAITALL and not is_kept and _socket.socket.gettimeout(sock) is None
        parts = b""
        while True:
            incoming = self._incoming
            if incoming is not None and incoming.size and not self.is_held:
                wanted = size - len(parts)
                data, ancillary = incoming.take(
                    wanted if self._allowed is None else min(wanted, self._allowed), is_kept=is_kept
                )
                if not is_kept:
                    self._has_read(len(data))
                parts += data
                if not wants_all or ancillary or len(parts) == size:
                    sender = None if is_internet(self.family) else self._peer_address
                    return parts, sender, 0, ancillary
            elif self._ends_reading(can_fail=not parts) or (parts and flags & socket.MSG_DONTWAIT):
                return parts, None, 0, []
            else:
                self.wait(sock, self._may_read, call, flags)

    def _has_read(self, size: int) -> None:
        assert self._incoming is not None
        if self._allowed is not None:
            self._allowed -= size
            if not self._allowed:
                self.hold()
        if not self._incoming.size:
            self.update()
        if self._peer is not None and not self._peer.is_writable:
            self._peer.update()

    def _ends_reading(self, *, can_fail: bool) -> bool:
        """Return True at the end of what can be read; raise the error that ends it."""
        if self.is_held or self._waits_for is not None:
            return False
        if self._incoming is not None and self._incoming.is_finished and is_internet(self.family):
            return True
        if self.failure and can_fail and (self.is_connected or self._was_refused):
            failure = self.take_failure()
            self.update()
            raise error(failure)
        if self._is_reset or self._was_refused:
            return True
        if self._incoming is None:
            raise error(errno.ENOTCONN if is_internet(self.family) else errno.EINVAL)
        return self._has_shut_read or self._incoming.is_finished

    def _may_read(self) -> bool:
        return not self.is_held and self._has_input()

    def _send(self, sock: Any, data: bytes, flags: int, address: Any, ancillary: list[Any], call: str) -> int:
        if address is not None and not is_internet(self.family):
            raise error(errno.EISCONN if self.is_connected else errno.EOPNOTSUPP)
        while True:
            self._check_sending()
            outgoing, peer = self._outgoing, self._peer
            if outgoing is not None and peer is not None and not self._is_late:
                if self._is_rejected:
                    if data:
                        self._cause_reset()
                    return len(data)
                sent = self._put(outgoing, data, ancillary)
                if sent or not data:
                    return sent
            self.wait(sock, self._has_room, call, flags, writing=True)

    def _cause_reset(self) -> None:
        """Let the other side, which does not want data any more, answer with a reset."""
        self.reset()
        if self._peer is not None and not self._peer.is_closed and not self._is_cut:
            self._peer.reset()

    def _check_sending(self) -> None:
        """Raise an error if data cannot be sent any more."""
        if is_internet(self.family):
            if not self.is_held and (self.is_connected or self._was_refused) and (failure := self.take_failure()):
                self.update()
                raise error(failure)
            has_ended = self._is_reset and not self.is_held
            if has_ended or self._has_shut_write or (self._outgoing is None and self._waits_for is None):
                raise error(errno.EPIPE)
        elif self._outgoing is None and self._waits_for is None:
            raise error(errno.ENOTCONN)
        elif self._has_shut_write or self._is_rejected:
            raise error(errno.EPIPE)
