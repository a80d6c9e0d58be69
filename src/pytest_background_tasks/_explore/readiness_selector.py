"""The files that an explored loop watches, as a selector that never waits.

It orders what is ready like Linux's epoll: by the moment at which it became ready. What stays ready keeps its place.

Private names of CPython used here: ``_callback`` and ``_args`` of a handle.
"""

import _socket
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import Any

from .._network.network import SOCKETS
from .._network.network_event import NetworkEvent
from .._network.stream_socket import StreamSocket
from .network_arrival import NetworkArrival


class WatchedFile:
    """A file that a loop watches, under one descriptor.

    Args:
        files: the files of the loop.
        descriptor: the descriptor.
        source: the socket of the in-process network, or the `OtherFile`.
    """

    __slots__ = ("_descriptor", "_files", "source")

    def __init__(self, files: "ReadinessSelector", descriptor: int, source: Any) -> None:
        self._files = files
        self._descriptor = descriptor
        self.source: Any = source

    def handle(self, is_writing: bool) -> Any:
        """Return the handle that the program has registered for one of the two events; None if there is none."""
        if self._files.watched.get(self._descriptor) is not self:
            return None  # the descriptor belongs to another file now
        return self._files[self._descriptor].data[is_writing]

    def release_later(self) -> None:
        """Let the rest of a split read arrive in the next iteration."""
        self._files.split.append(self.source)


class OtherFile:
    """A file that is not a socket of the in-process network: a pipe, or one of a pair of sockets.

    Args:
        name: the name of its arrivals.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.arrivals: int = 0
        self.is_held: bool = False
        self.is_peers_doing: bool = True

    def event(self, *, is_writing: bool) -> NetworkEvent:  # noqa: ARG002  # the kernel knows more, and would have to be asked
        """Return the event for which it is ready."""
        return NetworkEvent("ready")

    def causes(self, event: NetworkEvent) -> tuple[tuple[Any, int], ...]:  # noqa: ARG002  # the kernel does not say
        """Return no step: other processes may write to it too."""
        return ()

    def hold(self) -> None:
        """Let what has arrived, and what arrives from now on, be late."""
        self.is_held = True

    def release(self) -> None:
        """Let what is late arrive."""
        self.is_held = False


class ReadinessSelector(BaseSelector, Mapping[Any, SelectorKey]):
    """The files that a loop watches. It never waits.

    Args:
        name: returns a name for the arrivals at a file that has none yet.
        refuse: called with the descriptor of a real connection; returns the error.
        withdraw: called if an event that has arrived is not watched any more.

    Attributes:
        watched: the files by descriptor.
        split: the sockets of which a part of the data arrives in this iteration only.
    """

    def __init__(
        self,
        name: Callable[[str], str],
        refuse: Callable[[int], BaseException],
        withdraw: Callable[[], object],
    ) -> None:
        self._name = name
        self._withdraw = withdraw
        self._refuse = refuse
        self._keys: dict[int, SelectorKey] = {}
        self.watched: dict[int, WatchedFile] = {}
        self.split: list[StreamSocket] = []
        self._ready: dict[int, None] = {}
        self._others: dict[int, None] = {}
        self._poll: Any = None
        self._called: dict[int, Any] = {}  # the handles of listening sockets that were called in this iteration

    # The interface of selectors.

    def get_map(self) -> "ReadinessSelector":
        """Return the registered files."""
        return self

    def __getitem__(self, fileobj: Any) -> SelectorKey:
        return self._keys[fileobj if type(fileobj) is int else _descriptor(fileobj)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch a file."""
        descriptor = _descriptor(fileobj)
        if descriptor in self._keys:
            raise KeyError(f"{fileobj!r} (FD {descriptor}) is already registered")
        source: Any = SOCKETS.get(descriptor)
        if source is None:
            self._check(descriptor)
            source = OtherFile(self._name("descriptor"))
            self._others[descriptor] = None
            if self._poll is None:
                self._poll = select.poll()
            self._poll.register(descriptor, _poll_events(events))
        elif not source.name and not source.is_listening:
            source.name = self._name("descriptor")
        self.watched[descriptor] = WatchedFile(self, descriptor, source)
        key = self._keys[descriptor] = SelectorKey(fileobj, descriptor, events, data)
        if descriptor not in self._others:
            source.watchers[descriptor] = self
            self.note_ready(descriptor)
        return key

    def _check(self, descriptor: int) -> None:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return
        end = _socket.socket(fileno=os.dup(descriptor))
        try:
            family = end.family
        finally:
            end.close()
        if family in (socket.AF_INET, socket.AF_INET6):
            raise self._refuse(descriptor)

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Watch a file no more."""
        key = self._keys[_descriptor(fileobj)]
        self._check_withdrawn(key.fd, 0)
        del self._keys[key.fd]
        self._ready.pop(key.fd, None)
        watched = self.watched.pop(key.fd)
        if key.fd in self._others:
            del self._others[key.fd]
            self._poll.unregister(key.fd)
        else:
            watched.source.watchers.pop(key.fd, None)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch a file for other events."""
        descriptor = _descriptor(fileobj)
        self._check_withdrawn(descriptor, events)
        key = self._keys[descriptor] = self._keys[descriptor]._replace(events=events, data=data)
        if descriptor in self._others:
            self._poll.modify(descriptor, _poll_events(events))
        else:
            self.note_ready(descriptor)
        return key

    def _check_withdrawn(self, descriptor: int, events: int) -> None:
        """Take note if an event that has arrived is not watched any more, other than `events`."""
        before, source = self._keys[descriptor].events, self.watched[descriptor].source
        if descriptor in self._others:
            ready = before & _events_of(dict(self._poll.poll(0)).get(descriptor, 0))
        else:
            ready = self._events(descriptor)
            if not source.is_peers_doing:  # it has been writable all the time
                ready &= ~EVENT_WRITE
        if ready & ~events:
            self._withdraw()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:  # noqa: ARG002  # it never waits
        """Return the files that are ready, with their events."""
        found = []
        for descriptor in tuple(self._ready):
            if events := self._events(descriptor):
                found.append((self._keys[descriptor], events))
            else:
                del self._ready[descriptor]
        if self._others:
            seen = dict(self._poll.poll(0))
            for descriptor in self._others:
                if descriptor in seen and not self.watched[descriptor].source.is_held:
                    key = self._keys[descriptor]
                    found.append((key, _events_of(seen[descriptor]) & key.events))
        return found

    def close(self) -> None:
        """Watch no file any more."""
        for descriptor in tuple(self._keys):
            self.unregister(descriptor)

    # Readiness.

    def note_ready(self, descriptor: int) -> None:
        """Take note that a socket of the in-process network may have become ready."""
        if descriptor not in self._ready and self._events(descriptor):
            self._ready[descriptor] = None

    def _events(self, descriptor: int) -> int:
        source = self.watched[descriptor].source
        return self._keys[descriptor].events & (
            (EVENT_READ if source.is_readable else 0) | (EVENT_WRITE if source.is_writable else 0)
        )

    # Arrivals.

    def arrivals(self, now: float, loop: Any) -> list[NetworkArrival]:
        """Return the events of the files that are ready, in the order in which their callbacks are to run."""
        if self.split:
            for each in self.split:
                each.end_split()
            self.split.clear()
        if not (self._ready or self._others):
            return []
        found: list[NetworkArrival] = []
        self._called.clear()
        for key, events in self.select():
            file, (reader, writer) = self.watched[key.fd], key.data
            source = file.source
            if events & EVENT_READ and reader is not None:
                if isinstance(source, StreamSocket) and source.backlog is not None:
                    found += [
                        NetworkArrival((each.name, 0), "network", now, file, False, each, loop, self._once)
                        for each in source.backlog
                        if not each.is_held
                    ]
                else:
                    found.append(NetworkArrival(_numbered(source), "network", now, file, False, source, loop))
            if events & EVENT_WRITE and writer is not None:
                if type(source) is OtherFile or source.is_peers_doing:
                    source.is_peers_doing = False
                    found.append(NetworkArrival(_numbered(source), "network", now, file, True, source, loop))
                else:  # it has been writable all the time
                    found.append(NetworkArrival((source.name or "socket", 0), None, now, file, True, source, loop))
        return found

    def _once(self, registered: Any) -> None:
        if id(registered) not in self._called:
            self._called[id(registered)] = registered
            registered._callback(*registered._args)


def _numbered(source: Any) -> tuple[str, int]:
    number = source.arrivals
    source.arrivals = number + 1
    return source.name, number


def _descriptor(fileobj: Any) -> int:
    if isinstance(fileobj, int):
        descriptor = fileobj
    else:
        try:
            descriptor = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if descriptor < 0:
        raise ValueError(f"Invalid file descriptor: {descriptor}")
    return descriptor


def _poll_events(events: int) -> int:
    return (select.POLLIN if events & EVENT_READ else 0) | (select.POLLOUT if events & EVENT_WRITE else 0)


def _events_of(found: int) -> int:
    return (EVENT_READ if found & ~select.POLLOUT else 0) | (EVENT_WRITE if found & ~select.POLLIN else 0)
