"""One direction of a connection: the bytes that were sent and not yet read."""

import socket
from collections import deque
from typing import Any

_CAPACITY = {socket.AF_UNIX: 212_992}
_CAPACITY_OF_TCP = 4 * 1024 * 1024
"""Bytes that Linux keeps between a sender and a receiver that does not read: both buffers together."""


class Channel:
    """The bytes on their way in one direction, in order.

    Args:
        family: the family of the sockets, which decides how many bytes fit.

    Attributes:
        size: the number of bytes that were not read.
        capacity: the number of bytes that fit.
        is_finished: True if the sender will send no more.
    """

    __slots__ = ("_ancillary", "_chunks", "_start", "capacity", "is_finished", "size")

    def __init__(self, family: int) -> None:
        self._chunks: deque[bytes] = deque()
        self._start = 0  # number of bytes of the first chunk that were read
        self._ancillary: deque[list[Any]] = deque()
        self.size: int = 0
        self.capacity: int = _CAPACITY.get(family, _CAPACITY_OF_TCP)
        self.is_finished: bool = False

    @property
    def is_writable(self) -> bool:
        """True if a sender is told that it can send: as on Linux, if a third of the capacity is free."""
        return self.size * 3 <= self.capacity * 2

    def put(self, data: bytes, ancillary: list[Any]) -> int:
        """Append as much of `data` as fits; return the number of bytes."""
        room = self.capacity - self.size
        if len(data) > room:
            data = data[:room]
        if data:
            self._chunks.append(data)
            self.size += len(data)
            if ancillary:
                self._ancillary.append(ancillary)
        return len(data)

    def take(self, size: int, *, is_kept: bool = False) -> bytes:
        """Return the first bytes, at most `size`, and remove them unless they `is_kept`."""
        first = self._chunks[0]
        if not is_kept and self._start == 0 and len(first) <= size and len(self._chunks) == 1:  # the usual case
            self._chunks.clear()
            self.size = 0
            return first
        parts: list[bytes | memoryview] = []
        start, left = self._start, size
        count = 0
        for chunk in self._chunks:
            part = memoryview(chunk)[start : start + left]
            parts.append(part)
            left -= len(part)
            start += len(part)
            if start < len(chunk):
                break
            count, start = count + 1, 0
            if not left:
                break
        data = b"".join(parts)
        if not is_kept:
            for _ in range(count):
                self._chunks.popleft()
            self._start = start
            self.size -= len(data)
        return data

    def take_ancillary(self) -> list[Any]:
        """Return the oldest ancillary data, and remove it."""
        return self._ancillary.popleft() if self._ancillary else []
