"""The beginning of a connection: listening, accepting and connecting."""

import _socket
import errno
from collections import deque
from typing import Any

from .addressed_socket import AddressedSocket
from .addresses import destination, endpoint, error, is_internet, presented
from .channel import Channel

_LARGEST_BACKLOG = 4096


class ConnectingSocket(AddressedSocket):
    """A stream socket, as far as it listens or connects.

    Attributes:
        backlog: the connections that a listening socket has not accepted; None if it does not listen.
        listener: the listening socket in whose backlog this one is.
        is_server: True for the end of a connection that a listening socket has accepted, or will accept.
        name_of_peer: the name of what arrives at the other end of its connection.
        is_unconfirmed: True from a call of ``connect`` that did not block until its result is known.
    """

    def __init__(self, network: Any, family: int, type: int, proto: int) -> None:  # noqa: A002  # like socket.socket
        super().__init__(network, family, type, proto)
        self.backlog: deque[Any] | None = None
        self.name_of_peer: str = ""
        self.is_unconfirmed: bool = False
        self.is_server: bool = False
        self.listener: Any = None
        self._limit = 0
        self._waiting: deque[Any] = deque()  # clients for which the backlog has no room
        self._waits_for: Any = None  # the listener in whose `_waiting` this socket is
        self._was_refused = False  # a connect() that did not block has failed, and no connect() has said so yet
        self._incoming: Channel | None = None
        self._outgoing: Channel | None = None
        self._peer: Any = None
        self._peer_address: Any = None

    @property
    def is_listening(self) -> bool:
        """True if clients can connect to this socket."""
        return self.backlog is not None and not self._has_shut_read

    @property
    def is_connected(self) -> bool:
        """True if this socket has, or had, a connection."""
        return self._incoming is not None

    @property
    def _is_late(self) -> bool:
        """True if the result of ``connect`` has not arrived yet."""
        return self.is_held and self.is_unconfirmed

    def release(self) -> None:
        """Let what is late arrive; for a connection in a backlog, itself."""
        super().release()
        if self.listener is not None:
            self.listener.update()

    # Listening.

    def listen(self, sock: Any, backlog: int = 128) -> None:  # noqa: ARG002  # like all methods of sockets
        """Accept connections from now on."""
        limit = min(max(backlog, 0), _LARGEST_BACKLOG) + 1
        if self.is_connected or self._waits_for is not None:
            raise error(errno.EINVAL)
        if self.address is None:
            if not is_internet(self.family):
                raise error(errno.EINVAL)
            self.network.bind(self, endpoint(self.family, ("", 0), "bind"))
        self._limit = limit
        if self.backlog is None:
            self.network.listen(self)
            self.backlog = deque()
        self._admit()
        self.update()

    def _accept(self, sock: Any) -> tuple[int, Any]:
        """Return the descriptor of the first connection in the backlog, and the address of the client."""
        while True:
            if self.backlog is None:
                raise error(errno.EINVAL)
            accepted = next((each for each in self.backlog if not each.is_held), None)
            if accepted is not None:
                break
            if self._has_shut_read:
                raise error(errno.EINVAL)
            self.wait(sock, self._has_input, "accept")
        self.backlog.remove(accepted)
        accepted.listener = None
        self._admit()
        self.update()
        return self.network.give(accepted), accepted.shown_peer()

    def _admit(self) -> None:
        """Let clients that wait into the backlog, as far as it has room."""
        while self.backlog is not None and self._waiting and len(self.backlog) < self._limit:
            self._waiting.popleft().establish(self)

    def _stop_listening(self) -> None:
        if self.backlog is None:
            return
        pending, self.backlog = self.backlog, None
        for each in pending:
            each.listener = None
            each.end(is_reset=True)
            each.discard()
        while self._waiting:
            self._waiting.popleft().refuse()
        self.update()

    # Connecting.

    def connect(self, sock: Any, address: Any) -> None:
        """Connect to the address of a listening socket of this network.

        Raises:
            BlockingIOError: the socket does not block; it becomes writable when the result has arrived.
        """
        where = destination(endpoint(self.family, address, "connect")) if is_internet(self.family) else address
        if self.is_unconfirmed:
            self._confirm()
            return
        if self.is_connected:
            raise error(errno.EISCONN)
        if self.backlog is not None:
            raise error(errno.EISCONN if is_internet(self.family) else errno.EINVAL)
        timeout = _socket.socket.gettimeout(sock)
        listener = self.network.listener_at(self, where)
        self.network.name_ends(self)
        if timeout == 0 and is_internet(self.family) and self.network.refuses(self):
            listener = None
        if listener is not None:
            self.network.check_reads_by_methods(sock)
        self._peer_address = where if is_internet(self.family) or listener is None else listener.address
        self._ask(listener, must_not_wait=timeout is not None and not is_internet(self.family))
        self._was_refused = listener is None and timeout is not None and is_internet(self.family)
        if timeout == 0 and is_internet(self.family):
            self.is_unconfirmed = True
            if self._waits_for is None:
                self._show_again()
            raise error(errno.EINPROGRESS)
        while self._waits_for is not None:
            self.is_unconfirmed = True  # in case that the timeout expires
            self.wait(sock, lambda: self._waits_for is None, "connect", writing=True)
        self.is_unconfirmed = self._was_refused = self._was_refused and timeout is not None
        if failure := self.take_failure():
            raise error(failure)

    def _ask(self, listener: Any, *, must_not_wait: bool) -> None:
        """Ask a listener for a connection, or be refused if there is none."""
        if listener is None:
            self.failure = errno.ECONNREFUSED
        elif len(listener.backlog) < listener._limit:
            self.establish(listener)
        elif must_not_wait:
            raise error(errno.EAGAIN)
        else:
            self._name()
            self._waits_for = listener
            listener._waiting.append(self)
            self.update()

    def _confirm(self) -> None:
        """Tell the result of an earlier ``connect``."""
        if self._waits_for is not None or self._is_late:
            raise error(errno.EALREADY)
        self.is_unconfirmed = False
        if self._was_refused:
            self._was_refused = False
            raise error(self.take_failure() or errno.ECONNABORTED)

    def _name(self) -> None:
        """Choose the address of this end of a connection."""
        if is_internet(self.family):
            self.address = self.network.address_of_client(self, self._peer_address)

    def _show_again(self) -> None:
        """Report the socket as writable once more: the result of ``connect`` has arrived."""
        self.is_writable = False
        self.update()
        self.is_peers_doing = True

    def establish(self, listener: Any) -> None:
        """Connect to `listener`, whose backlog has room."""
        assert listener.backlog is not None
        was_waiting, self._waits_for = self._waits_for is not None, None
        if not was_waiting:
            self._name()
        other = type(self)(self.network, listener.family, listener.type, listener.proto)
        there, back = Channel(self.family), Channel(self.family)
        self._outgoing = other._incoming = there
        self._incoming = other._outgoing = back
        self._peer, other._peer = other, self
        other.listener, other.is_server = listener, True
        other.options = dict(listener.options)
        other.address = listener.address
        if is_internet(self.family):
            other.address = self._peer_address._replace(family=listener.family)
        other._peer_address = self.address
        other.name, other.arrivals = self.name_of_peer, 1  # the connection itself is number 0
        listener.backlog.append(other)
        other.update()
        listener.update()
        if was_waiting:
            self._show_again()
        else:
            self.update()

    def refuse(self) -> None:
        """Fail a ``connect`` that waits for room in a backlog."""
        self._waits_for = None
        self.failure, self._was_refused = errno.ECONNREFUSED, True
        self._show_again()

    def _stop_waiting(self) -> None:
        """Connect no more."""
        if self._waits_for is not None:
            self._waits_for._waiting.remove(self)
            self._waits_for, self.is_unconfirmed = None, False
            self.update()

    def end(self, *, is_reset: bool = False) -> None:
        """Let the peer know that the socket was closed."""
        raise NotImplementedError

    # Names.

    def shown_peer(self) -> Any:
        """Return the address of the other side, whatever the state of the connection."""
        if is_internet(self.family):
            return presented(self._peer_address._replace(family=self.family))
        return self._peer_address or ""
