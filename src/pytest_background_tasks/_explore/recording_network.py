"""The network of a run that a report shows: it also records the step that has caused each event.

Other runs have plain sockets, and pay nothing.
"""

import asyncio
from collections import deque
from typing import Any, TypeAlias

from .._network.addressed_socket import AddressedSocket
from .._network.channel import Channel
from .._network.datagram_socket import DatagramSocket
from .._network.network import InProcessNetwork
from .._network.network_event import NetworkEvent
from .._network.stream_socket import StreamSocket
from .recording_loop import RecordingLoop

Causes: TypeAlias = tuple[tuple[Any, int], ...]
"""Steps, each as its loop and its index in the trace of that loop. Empty if no step of a recording loop is running."""


class _RecordingSocket(AddressedSocket):
    """A socket that records the steps that have made room, or have ended it or caused an error."""

    _ended_by: Causes = ()
    _made_room: Causes = ()
    _ends: tuple[bool, ...] | None = None  # see `_ways_to_end`; None before the first update

    def _ways_to_end(self) -> tuple[bool, ...]:
        """Return True for each way in which the socket has ended."""
        return bool(self.failure), self._has_shut_read

    def update(self) -> None:
        """Find out if the socket is ready; record the running step if it has made room, or has ended it."""
        was_writable = self.is_writable
        super().update()
        if self.is_writable > was_writable:
            self._made_room = self.network.here
        ends = self._ways_to_end()
        if any(now > before for now, before in zip(ends, self._ends or (False,) * len(ends), strict=True)):
            self._ended_by = self.network.here
        self._ends = ends


class RecordingStreamSocket(_RecordingSocket, StreamSocket):
    """A stream socket that records the steps that have caused its events."""

    _begun_by: Causes = ()  # the step that asked for the connection, or let it come about

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        self._sends: deque[tuple[int, Causes]] = deque()  # the numbers of bytes that this socket has got
        super().__init__(network, family, type, proto)

    def causes(self, event: NetworkEvent) -> Causes:
        """Return the steps that have caused an event; for data, all that have sent an unread part."""
        if event.kind == "data":
            return self._senders()
        if event.kind in ("eof", "reset"):
            return self._ended_by
        return self._made_room if event.kind == "room" else self._begun_by

    def _senders(self) -> Causes:
        assert self._incoming is not None
        excess = sum(size for size, _ in self._sends) - self._incoming.size
        while self._sends and self._sends[0][0] <= excess:  # it was read
            excess -= self._sends.popleft()[0]
        return tuple(dict.fromkeys(cause for _, causes in self._sends for cause in causes))

    def _ways_to_end(self) -> tuple[bool, ...]:
        is_finished = self._incoming is not None and self._incoming.is_finished
        return is_finished, self._is_reset, *super()._ways_to_end()

    def connect(self, sock: Any, address: Any) -> None:
        """Connect to the address of a listening socket, and record the running step."""
        if not self.is_unconfirmed:
            self._begun_by = self.network.here
        super().connect(sock, address)

    def establish(self, listener: Any) -> None:
        """Connect to `listener`. For a client that has waited, the running step has let it come about."""
        super().establish(listener)
        self._peer._begun_by, self._begun_by = self._begun_by, self.network.here

    def refuse(self) -> None:
        """Fail a ``connect`` that waits, and record the running step."""
        self._begun_by = self.network.here
        super().refuse()

    def cut(self, after: int, *, is_reset: bool) -> None:
        """End the connection externally: no step has caused that, and the senders of what is lost do not matter."""
        senders = self._senders()
        super().cut(after, is_reset=is_reset)
        assert self._incoming is not None
        self._sends = deque([(self._incoming.size, senders)])
        self._ended_by = self._peer._ended_by = ()

    def _put(self, outgoing: Channel, data: bytes, ancillary: list[Any]) -> int:
        """Let data arrive at the other side, and record the running step there."""
        sent = super()._put(outgoing, data, ancillary)
        if sent and not self._is_cut:
            self._peer._sends.append((sent, self.network.here))
        return sent


class RecordingDatagramSocket(_RecordingSocket, DatagramSocket):
    """A datagram socket that records the steps that have caused its events."""

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        self._senders: deque[Causes] = deque()  # those of the last datagrams, at least of all that were not read
        super().__init__(network, family, type, proto)

    def causes(self, event: NetworkEvent) -> Causes:
        """Return the step that has caused an event; for a datagram, the one that has sent it."""
        if event.kind != "data":
            return self._made_room if event.kind == "room" else self._ended_by
        while len(self._senders) > len(self._queue):
            self._senders.popleft()
        return self._senders[0]

    def put(self, data: bytes, source: Any, ancillary: list[Any]) -> None:
        """Keep a datagram for the program to receive, if there is room, and record the running step."""
        before = len(self._queue)
        super().put(data, source, ancillary)
        if len(self._queue) > before:
            self._senders.append(self.network.here)


class RecordingNetwork(InProcessNetwork):
    """The network of a run that a report shows."""

    stream_type = RecordingStreamSocket
    datagram_type = RecordingDatagramSocket

    @property
    def here(self) -> Causes:
        """The running step. There is none before the loop runs, nor in another thread."""
        loop = asyncio._get_running_loop()
        return ((loop, loop.current_step),) if isinstance(loop, RecordingLoop) else ()
