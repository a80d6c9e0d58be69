"""What all sockets of the in-process network have in common: descriptors, readiness, options, and waiting.

The methods that a program calls on a `socket.socket` have the same names here, and get that object as their first
argument.
"""

import _socket
import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .addresses import error
from .kernel_pair import KernelPair
from .network_event import NetworkEvent

MESSAGE_TRUNCATED: int = socket.MSG_TRUNC

_options_of_new_sockets: dict[tuple[int, ...], int] = {}
_valid_options: dict[tuple[Any, ...], int] = {}
_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)


class Watcher(Protocol):
    """A selector that wants to know when a socket becomes ready."""

    def note_ready(self, descriptor: int) -> None:
        """Take note that the socket with this `descriptor` is now ready to be read or written."""


class Network(Protocol):
    """The network of a socket, as the socket sees it."""

    def forget(self, each: Any, descriptor: int) -> None:
        """Take note that `descriptor` does not belong to this socket any more."""

    def refuse(self, problem: Any) -> Any:
        """Take note that the program wants to leave the network; return the error."""

    def let_go(self, sock: Any) -> None:
        """Make a socket of the network one of the operating system's."""

    def refuse_to_block(self, call: str) -> None:
        """Raise an error if the current thread must not wait for the network."""


class InProcessSocket:
    """A socket of the in-process network.

    Args:
        network: the network that it belongs to.
        family, type, proto: as for `socket.socket`.

    Attributes:
        descriptors: the descriptors of the program that stand for it: more than one after ``dup()``.
        name: the name of what arrives at this socket.
        arrivals: the number of events that have arrived at this socket.
        is_held: True while what arrives at it, or has arrived and was not read, is late.
        is_readable, is_writable: True if an operation would not block.
        is_peers_doing: True if it is writable since the last event from the other side.
    """

    def __init__(self, network: Network, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        self.network: Network = network
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
        if self.descriptors:
            self.kernel.show(next(iter(self.descriptors)), is_readable=is_readable, is_writable=is_writable)
        if is_new:
            for descriptor, watcher in self.watchers.items():
                watcher.note_ready(descriptor)

    def hold(self) -> None:
        """Let what has arrived and was not read, and what arrives from now on, be late."""
        self.is_held = True
        self.update()

    def release(self) -> None:
        """Let what is late arrive."""
        self.is_held = False
        self.update()

    def event(self, *, is_writing: bool) -> NetworkEvent:
        """Return the event for which the socket is ready to be read, or to be written."""
        return NetworkEvent("room" if is_writing else "ready")

    def wait(self, sock: Any, is_ready: Callable[[], bool], call: str, *, writing: bool = False) -> None:
        """Wait until an operation that is not possible now may be, as the timeout of `sock` demands.

        Raises:
            BlockingIOError: the socket does not block.
            TimeoutError: the timeout of the socket has expired.
        """
        timeout = _socket.socket.gettimeout(sock)
        if timeout == 0:
            raise error(errno.EAGAIN)
        self.network.refuse_to_block(call)
        poll = select.poll()
        poll.register(_socket.socket.fileno(sock), select.POLLOUT if writing else select.POLLIN)
        while not is_ready():
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError("timed out")

    # Descriptors.

    def add_descriptor(self, descriptor: int) -> None:
        """Take note that `descriptor` stands for this socket."""
        self.descriptors.add(descriptor)
        self.kernel.show(descriptor, is_readable=self.is_readable, is_writable=self.is_writable)

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
        self.is_closed = True
        self.kernel.close()

    # Names and options.

    def getsockname(self, sock: Any) -> Any:
        """Return the address of this socket."""
        raise NotImplementedError

    def take_failure(self) -> int:
        """Return the number of the error that is pending, and forget it; 0 if there is none."""
        failure, self.failure = self.failure, 0
        return failure

    def getsockopt(self, sock: Any, level: int, option: int, length: int | None = None) -> int | bytes:  # noqa: ARG002
        """Return an option, as the operating system does for a new socket, unless the program has set it."""
        if (level, option) == _ERROR:
            value: int | bytes = 0 if self.is_held else self.take_failure()
            self.update()
        else:
            known = self._answer(level, option)
            value = (
                self.options.get((level, option), known) if known is not None else self._option(level, option, length)
            )
        if length is None or isinstance(value, bytes):
            return value
        return struct.pack("i", value)[:length]

    def _answer(self, level: int, option: int) -> int | None:
        """Return the value of an option that depends on the state of this socket."""
        if level != socket.SOL_SOCKET:
            return None
        return {
            socket.SO_TYPE: self.type,
            getattr(socket, "SO_DOMAIN", -1): self.family,
            getattr(socket, "SO_PROTOCOL", -2): self.proto,
            socket.SO_ACCEPTCONN: int(self.is_listening),
        }.get(option)

    @property
    def is_listening(self) -> bool:
        """True if clients can connect to this socket."""
        return False

    def _option(self, level: int, option: int, length: int | None) -> int | bytes:
        if (level, option) in self.options:
            return self.options[level, option]
        trial = _socket.socket(self.family, self.type, self.proto)
        try:
            return trial.getsockopt(level, option) if length is None else trial.getsockopt(level, option, length)
        finally:
            trial.close()

    def setsockopt(self, sock: Any, level: int, option: int, value: Any, length: int | None = None) -> None:  # noqa: ARG002
        """Set an option. The operating system judges whether it is valid; only few have an effect."""
        key = (self.family, self.type, self.proto, level, option, value if isinstance(value, (int, bytes)) else None)
        if key not in _valid_options or key[-1] is None:
            trial = _socket.socket(self.family, self.type, self.proto)
            try:
                trial.setsockopt(*((level, option, value) if length is None else (level, option, value, length)))
                if isinstance(value, int):
                    value = trial.getsockopt(level, option)
            finally:
                trial.close()
            if isinstance(value, (int, bytes)):
                _valid_options[key] = value  # type: ignore[assignment]
        else:
            value = _valid_options[key]
        self.options[level, option] = bytes(value) if not isinstance(value, int) and value is not None else value or 0

    def has_option(self, level: int, option: int) -> bool:
        """Return True if the program has set an option that is off by default."""
        return bool(self.options.get((level, option)))

    # Data, in all the ways in which a program can read and write it.

    def _receive(self, sock: Any, size: int, flags: int, call: str) -> tuple[bytes, Any, int, list[Any]]:
        """Return data, the address of its sender, flags, and ancillary data."""
        raise NotImplementedError

    def _send(self, sock: Any, data: bytes, flags: int, address: Any, ancillary: list[Any], call: str) -> int:
        """Send as much of `data` as possible; return its length in bytes."""
        raise NotImplementedError

    def recv(self, sock: Any, size: int, flags: int = 0) -> bytes:
        """Receive at most `size` bytes."""
        if size < 0:
            raise ValueError("negative buffersize in recv")
        return self._receive(sock, size, flags, "recv")[0]

    def recvfrom(self, sock: Any, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """Receive at most `size` bytes; return them and the address of the sender."""
        if size < 0:
            raise ValueError("negative buffersize in recvfrom")
        return self._receive(sock, size, flags, "recvfrom")[:2]

    def recv_into(self, sock: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; return the number of bytes."""
        return self._receive_into(sock, buffer, nbytes, flags, "recv_into")[0]

    def recvfrom_into(self, sock: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a buffer; return the number of bytes and the address of the sender."""
        return self._receive_into(sock, buffer, nbytes, flags, "recvfrom_into")

    def _receive_into(self, sock: Any, buffer: Any, nbytes: int, flags: int, call: str) -> tuple[int, Any]:
        with memoryview(buffer) as whole, whole.cast("B") as view:
            if nbytes < 0:
                raise ValueError(f"negative buffersize in {call}")
            if nbytes > len(view):
                raise ValueError("buffer too small for requested bytes")
            data, address, *_ = self._receive(sock, nbytes or len(view), flags, call)
            view[: len(data)] = data
            return len(data), address

    def recvmsg(
        self, sock: Any, size: int, ancillary_size: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Any], int, Any]:
        """Receive at most `size` bytes and ancillary data."""
        data, address, message_flags, ancillary = self._receive(sock, size, flags, "recvmsg")
        return data, ancillary, message_flags, address

    def recvmsg_into(
        self,
        sock: Any,
        buffers: Iterable[Any],
        ancillary_size: int = 0,
        flags: int = 0,
    ) -> tuple[int, list[Any], int, Any]:
        """Receive into several buffers, one after the other, and ancillary data."""
        views = [memoryview(each).cast("B") for each in buffers]
        data, address, message_flags, ancillary = self._receive(sock, sum(map(len, views)), flags, "recvmsg_into")
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
        if not flags_and_address:
            raise TypeError("sendto() takes 2 or 3 arguments (1 given)")
        *flags, address = flags_and_address
        return self._send(sock, _bytes(data), flags[0] if flags else 0, address, [], "sendto")

    def sendmsg(
        self, sock: Any, buffers: Iterable[Any], ancillary: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """Send the contents of several buffers, and ancillary data."""
        kept = [(level, kind, _duplicated(level, kind, bytes(data))) for level, kind, data in ancillary]
        return self._send(sock, b"".join(map(_bytes, buffers)), flags, address, kept, "sendmsg")


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    with memoryview(data) as view:
        return bytes(view)


def _duplicated(level: int, kind: int, data: bytes) -> bytes:
    """Return ancillary data with descriptors of its own, as the operating system passes them on."""
    if (level, kind) != (socket.SOL_SOCKET, getattr(socket, "SCM_RIGHTS", -1)):
        return data
    count = len(data) // struct.calcsize("i")
    descriptors = struct.unpack(f"{count}i", data[: count * struct.calcsize("i")])
    return struct.pack(f"{count}i", *map(os.dup, descriptors))
