"""The common part of all sockets of the in-process network: descriptors, readiness, options, and waiting.

The methods that a program calls on a `socket.socket` have the same names here, and get that object as their first
argument.
"""

import _socket
import errno
import select
import socket
import struct
from collections.abc import Callable, Iterable
from operator import index
from sys import maxsize
from typing import Any, Protocol

from . import ancillary_data
from .addresses import error
from .kernel_pair import KernelPair
from .network_event import NetworkEvent

MESSAGE_TRUNCATED: int = int(socket.MSG_TRUNC)
_UNIX = getattr(socket, "AF_UNIX", None)
_KINDS_OF_ANCILLARY = {getattr(socket, "SCM_RIGHTS", 1), getattr(socket, "SCM_CREDENTIALS", 2)}

_LONGEST_OPTION = 1024
_valid_options: set[tuple[Any, ...]] = set()
_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)


class Watcher(Protocol):
    """A selector that wants to know when a socket becomes ready."""

    def note_ready(self, descriptor: int) -> None:
        """Take note that the socket with this `descriptor` is now ready to be read or written."""


class InProcessSocket:
    """A socket of the in-process network.

    Args:
        network: the `InProcessNetwork` that it belongs to.
        family, type, proto: as for `socket.socket`.

    Attributes:
        descriptors: the descriptors of the program that stand for it: more than one after ``dup()``.
        name: the name of what arrives at this socket.
        arrivals: the number of events that have arrived at this socket.
        is_held: True while what arrives at it, or has arrived and was not read, is late.
        is_readable, is_writable: True if an operation would not block.
        is_peers_doing: True if it is writable since the last event from the other side.
    """

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        self.network: Any = network
        self.family: int = family
        self.type: int = type
        self.proto: int = proto
        self.kernel: KernelPair = KernelPair()
        self.descriptors: set[int] = set()
        self.watchers: dict[int, Watcher] = {}
        self.options: dict[tuple[int, int], int | bytes] = {}
        self.name: str = ""
        self.arrivals: int = 0
        self.is_held: bool = False
        self.is_readable: bool = False
        self.is_writable: bool = True
        self.is_peers_doing: bool = False
        self.failure: int = 0
        self.is_closed: bool = False
        self._is_shown = False

    # Readiness.

    def _has_input(self) -> bool:
        raise NotImplementedError

    def _has_room(self) -> bool:
        raise NotImplementedError

    def update(self) -> None:
        """Find out if the socket is ready, after anything that concerns it has changed; let its watchers know."""
        if self.is_closed:
            return
        is_readable = not self.is_held and self._has_input()
        is_writable = self._has_room()
        if is_readable == self.is_readable and is_writable == self.is_writable:
            return
        is_new = is_readable > self.is_readable or is_writable > self.is_writable
        if is_writable > self.is_writable:
            self.is_peers_doing = True
        self.is_readable, self.is_writable = is_readable, is_writable
        if self._is_shown:
            self._show()
        if is_new:
            for descriptor, watcher in self.watchers.items():
                watcher.note_ready(descriptor)

    def show(self) -> None:
        """Let the descriptor be ready whenever the socket is: code that the network does not know may look at it."""
        self._is_shown = True
        self._show()

    def _show(self) -> None:
        if self.descriptors:
            descriptor = next(iter(self.descriptors))
            self.kernel.show(descriptor, is_readable=self.is_readable, is_writable=self.is_writable)

    def hold(self) -> None:
        """Let what has arrived and was not read, and what arrives from now on, be late."""
        with self.network.lock:
            self.is_held = True
            self.update()

    def release(self) -> None:
        """Let what is late arrive."""
        with self.network.lock:
            self.is_held = False
            self.update()

    def event(self, *, is_writing: bool) -> NetworkEvent:
        """Return the event for which the socket is ready to be read, or to be written."""
        return NetworkEvent("room" if is_writing else "ready")

    def causes(self, event: NetworkEvent) -> tuple[tuple[Any, int], ...]:  # noqa: ARG002  # a subclass records them
        """Return the steps that have caused an event, each as its loop and its index there."""
        return ()

    def wait(
        self, sock: Any, is_ready: Callable[[], bool], call: str, flags: int = 0, *, writing: bool = False
    ) -> None:
        """Wait until an operation that is not possible now may be, as the timeout of `sock` demands.

        Other threads may use the network meanwhile.

        Raises:
            BlockingIOError: the socket does not block.
            TimeoutError: the timeout of the socket has expired.
        """
        timeout = _socket.socket.gettimeout(sock)
        if timeout == 0 or (timeout is None and flags & socket.MSG_DONTWAIT):
            raise error(errno.EAGAIN)
        self.network.refuse_to_block(call)
        self.show()
        poll = select.poll()
        poll.register(_socket.socket.fileno(sock), select.POLLOUT if writing else select.POLLIN)
        while not is_ready():
            self.network.lock.release()
            try:
                has_changed = poll.poll(None if timeout is None else timeout * 1000)
            finally:
                self.network.lock.acquire()
            if not has_changed:
                raise TimeoutError("timed out")

    # Descriptors.

    def add_descriptor(self, descriptor: int) -> None:
        """Take note that `descriptor` stands for this socket."""
        self.descriptors.add(descriptor)
        if self.network.are_descriptors_watched:
            self.show()

    def close(self, sock: Any) -> None:
        """Close one descriptor; with the last one, the socket."""
        descriptor = _socket.socket.fileno(sock)
        self.drop(descriptor)
        _socket.socket.close(sock)

    def drop(self, descriptor: int) -> None:
        """Take note that `descriptor` is about to be closed."""
        self.descriptors.discard(descriptor)
        self.watchers.pop(descriptor, None)
        self.network.forget(self, descriptor)
        if not self.descriptors and not self.is_closed:
            self.shut()

    def shut(self) -> None:
        """End the life of the socket: let its peers know, and free what it uses."""
        self.discard()

    def discard(self) -> None:
        """Free what the socket uses."""
        self.is_closed = True
        self.watchers.clear()
        self.kernel.close()

    # Names and options.

    @property
    def real_proto(self) -> int:
        """The protocol by number, also if the program has left it to the operating system."""
        return int(self.getsockopt(None, socket.SOL_SOCKET, socket.SO_PROTOCOL))

    def take_failure(self) -> int:
        """Return the number of the error that is pending, and forget it; 0 if there is none."""
        failure, self.failure = self.failure, 0
        return failure

    def getsockopt(self, sock: Any, level: int, option: int, length: int = 0) -> int | bytes:  # noqa: ARG002  # like all methods of sockets
        """Return an option, as the operating system does for a socket for which the program has set the same."""
        if length and not 0 < length <= _LONGEST_OPTION:
            raise OSError("getsockopt buflen out of range")
        value = self._answer(level, option)
        if value is not None:
            data = struct.pack("i", value) if isinstance(value, int) else value
            return data[:length] if length else struct.unpack("i", data[:4])[0]
        trial = _socket.socket(self.family, self.type, self.proto)
        try:
            if (level, option) in self.options:
                trial.setsockopt(level, option, self.options[level, option])
            return trial.getsockopt(level, option, length)
        finally:
            trial.close()

    def _answer(self, level: int, option: int) -> int | bytes | None:
        """Return the value of an option that depends on the state of this socket; None for other options."""
        if (level, option) == _ERROR:
            failure = 0 if self.is_held else self.take_failure()
            self.update()
            return failure
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return int(self.is_listening)
        return None

    def listen(self, sock: Any, backlog: int = 128) -> None:
        """Accept connections from now on."""
        raise NotImplementedError

    @property
    def is_listening(self) -> bool:
        """True if clients can connect to this socket."""
        return False

    @property
    def is_connected(self) -> bool:
        """True if this socket has, or had, a connection."""
        return False

    def setsockopt(self, sock: Any, level: int, option: int, value: Any, length: int = 0) -> None:  # noqa: ARG002  # like all methods of sockets
        """Set an option. The operating system judges whether it is valid; only few have an effect."""
        if value is None and not length:
            raise TypeError("an option without a value")
        if value is not None and not isinstance(value, (int, bytes)):
            value = bytes(memoryview(value))
        key = (self.family, self.type, self.proto, level, option, value, length)
        if key not in _valid_options:
            trial = _socket.socket(self.family, self.type, self.proto)
            try:
                trial.setsockopt(*((level, option, value) if value is not None else (level, option, value, length)))
            finally:
                trial.close()
            _valid_options.add(key)
        self.options[level, option] = bytes(length) if value is None else value

    def has_option(self, level: int, option: int) -> bool:
        """Return True if the program has set an option that is off by default."""
        value = self.options.get((level, option), 0)
        return bool(value if isinstance(value, int) else any(value))

    # Data, in all the ways in which a program can read and write it.

    def _receive(self, sock: Any, size: int, flags: int, call: str) -> tuple[bytes, Any, int, list[Any]]:
        """Return data, the address of its sender, flags, and ancillary data."""
        raise NotImplementedError

    def _send(self, sock: Any, data: bytes, flags: int, address: Any, ancillary: list[Any], call: str) -> int:
        """Send as much of `data` as possible; return its length in bytes."""
        raise NotImplementedError

    def _receive_plain(self, sock: Any, size: int, flags: int, call: str) -> tuple[bytes, Any]:
        data, address, _, ancillary = self._receive(sock, size, flags, call)
        if ancillary:
            ancillary_data.discard(ancillary)
        return data, address

    def recv(self, sock: Any, size: int, flags: int = 0) -> bytes:
        """Receive at most `size` bytes."""
        if not 0 <= (size := index(size)) <= maxsize:
            raise ValueError("negative buffersize in recv")
        return self._receive_plain(sock, size, flags, "recv")[0] if size else b""

    def recvfrom(self, sock: Any, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """Receive at most `size` bytes; return them and the address of the sender."""
        if not 0 <= (size := index(size)) <= maxsize:
            raise ValueError("negative buffersize in recvfrom")
        return self._receive_plain(sock, size, flags, "recvfrom")

    def recv_into(self, sock: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; return the number of bytes."""
        return self._receive_into(sock, buffer, nbytes, flags, "recv_into")[0]

    def recvfrom_into(self, sock: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a buffer; return the number of bytes and the address of the sender."""
        return self._receive_into(sock, buffer, nbytes, flags, "recvfrom_into")

    def _receive_into(self, sock: Any, buffer: Any, nbytes: int, flags: int, call: str) -> tuple[int, Any]:
        with _writable(buffer) as view:
            if not 0 <= nbytes <= len(view):
                raise ValueError(f"{call} of {nbytes} bytes into a buffer of {len(view)} bytes")
            if not view and call == "recv_into":
                return 0, None
            data, address = self._receive_plain(sock, nbytes or len(view), flags, call)
            view[: len(data)] = data
            return len(data), address

    def recvmsg(
        self, sock: Any, size: int, ancillary_size: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Any], int, Any]:
        """Receive at most `size` bytes and ancillary data."""
        if not 0 <= (size := index(size)) <= maxsize or ancillary_size < 0:
            raise ValueError("negative size in recvmsg()")
        data, address, message_flags, ancillary = self._receive(sock, size, flags, "recvmsg")
        shown, more_flags = ancillary_data.received(ancillary, ancillary_size) if ancillary else ([], 0)
        return data, shown, message_flags | more_flags, address

    def recvmsg_into(
        self, sock: Any, buffers: Iterable[Any], ancillary_size: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, Any]:
        """Receive into several buffers, one after the other, and ancillary data."""
        views = [_writable(each) for each in buffers]
        data, ancillary, message_flags, address = self.recvmsg(sock, sum(map(len, views)), ancillary_size, flags)
        start = 0
        for view in views:
            part = data[start : start + len(view)]
            view[: len(part)] = part
            start += len(part)
        return len(data), ancillary, message_flags, address

    def send(self, sock: Any, data: Any, flags: int = 0) -> int:
        """Send as much as possible; return the number of bytes."""
        return self._send(sock, _bytes(data), flags, None, [], "send")

    def sendall(self, sock: Any, data: Any, flags: int = 0) -> None:
        """Send everything."""
        rest = _bytes(data)
        while True:
            rest = rest[self._send(sock, rest, flags, None, [], "sendall") :]
            if not rest:
                return

    def sendto(self, sock: Any, data: Any, *flags_and_address: Any) -> int:
        """Send to an address."""
        if not 1 <= len(flags_and_address) <= 2 or flags_and_address[-1] is None:
            raise TypeError("sendto() without an address")
        *flags, address = flags_and_address
        return self._send(sock, _bytes(data), index(flags[0]) if flags else 0, address, [], "sendto")

    def sendmsg(
        self, sock: Any, buffers: Iterable[Any], ancillary: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """Send the contents of several buffers, and ancillary data."""
        whole = b"".join(map(_bytes, buffers))
        given = [(index(level), index(kind), _bytes(data)) for level, kind, data in ancillary]
        if any(level == socket.SOL_SOCKET and kind not in _KINDS_OF_ANCILLARY for level, kind, _ in given):
            raise error(errno.EINVAL)
        sent = ancillary_data.sent(given, self.network.duplicate) if self.family == _UNIX else []
        try:
            return self._send(sock, whole, flags, address, sent, "sendmsg")
        except BaseException:
            ancillary_data.discard(sent)
            raise


def _writable(buffer: Any) -> memoryview:
    view = memoryview(buffer)
    if view.readonly:
        raise TypeError("a read-write bytes-like object is required")
    return view.cast("B")


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    with memoryview(data) as view:
        return bytes(view)
