"""The arrivals of the network on an explored loop: a connection, data, its end, or room to write.

Private names of CPython used here: the attributes of a handle.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from .._asyncio.stand_ins import named_as
from .._network.network_event import NetworkEvent
from .._network.stream_socket import StreamSocket
from .arrivals import ARRIVALS, Arrival
from .network_faults import PossibleFaults
from .schedule import NetworkFault


class Source(Protocol):
    """The thing at which something arrives: a socket of the in-process network, or any other file."""

    def event(self, *, is_writing: bool) -> NetworkEvent:
        """Return the event for which it is ready."""

    def causes(self, event: NetworkEvent) -> tuple[tuple[Any, int], ...]:
        """Return the steps that have caused an event, each as its loop and its index there."""

    def hold(self) -> None:
        """Let what has arrived, and what arrives from now on, be late."""

    def release(self) -> None:
        """Let what is late arrive."""


@named_as(asyncio.Handle)
class NetworkArrival(Arrival):
    """The event that a file of the loop is ready: its callback is about to run.

    Args:
        name: the name of the arrival, and its number among those of its source.
        kind: ``network``, or None if no external event causes it.
        now: virtual time, in seconds.
        file: the file as the loop watches it, a `WatchedFile`.
        is_writing: True if the file is ready to be written.
        source: what is held while this arrival is late.
        loop: the loop.
        once: calls a handle, unless another arrival has called it in the same iteration; for a connection, which the
            callback accepts together with all others.
    """

    __slots__ = ("_file", "_is_writing", "_once", "_registered", "_source")

    def __init__(
        self,
        name: tuple[str, int],
        kind: str | None,
        now: float,
        file: Any,
        is_writing: bool,
        source: Source,
        loop: Any,
        once: Callable[[Any], object] | None = None,
    ) -> None:
        # Not by calling the constructors of the base classes: there are many of these, and calls cost time.
        registered = self._registered = file.handle(is_writing)
        self._file, self._is_writing, self._source, self._once = file, is_writing, source, once
        self._callback, self._args = (registered._callback, registered._args) if once is None else (once, (registered,))
        self._context, self._loop, self._when, self.kind = registered._context, loop, now, kind
        self.who, self.number = name
        self.span = self._repr = self._source_traceback = None
        self._scheduled = self.is_of_test = False

    @property
    def _cancelled(self) -> bool:
        """True if the program has removed its callback meanwhile."""
        return self._registered is None or self._registered._cancelled

    @_cancelled.setter
    def _cancelled(self, is_cancelled: bool) -> None:
        if is_cancelled:
            self._registered = None

    def event(self) -> NetworkEvent:
        """Return the event as a value, before the callback runs."""
        event = self._source.event(is_writing=self._is_writing)
        if self._once is not None:  # another arrival may have accepted the connection already
            return NetworkEvent("connection", event.address)
        return event

    def possible_faults(self) -> PossibleFaults | None:
        """Return the faults that could take place instead; None if none could."""
        source = self._source
        if not isinstance(source, StreamSocket) or not source.is_connected:
            return None
        event = self.event()
        return PossibleFaults(event.kind, *(source.parts_of_input() if event.kind == "data" else ()))

    def inject(self, fault: NetworkFault) -> bool:
        """Let a fault of the network take place instead; return False if it cannot."""
        possible = self.possible_faults()
        if possible is None or not possible.places(fault.fault) or fault.fault == "refused":
            return False
        source: Any = self._source
        if fault.fault == "split":
            source.split(fault.after)
            self._file.release_later()
        else:
            source.cut(fault.after, is_reset=fault.fault == "reset")
        return True

    def causes(self, event: NetworkEvent) -> tuple[tuple[Any, int], ...]:
        """Return the steps that have caused the event, as far as they were recorded."""
        return self._source.causes(event)

    def hold(self) -> None:
        """Let the event be late."""
        self._source.hold()

    def release(self) -> None:
        """Let the event arrive: the callback that is registered now will run."""
        self._source.release()
        registered = self._registered = self._file.handle(self._is_writing)
        if registered is not None:
            self._context = registered._context
            if self._once is None:
                self._callback, self._args = registered._callback, registered._args
            else:
                self._args = (registered,)


ARRIVALS.add(NetworkArrival)
