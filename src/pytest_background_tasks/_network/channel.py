"""One direction of a connection: the bytes that were sent and not yet read."""

import socket
from collections import deque
from itertools import accumulate
from sys import maxsize
from typing import Any

_CAPACITY_OF_UNIX = 212_992
_OVERHEAD_OF_UNIX = 768  # bytes that Linux counts for each call of send(), besides its data
_CAPACITY_OF_TCP = 4 * 1024 * 1024
"""Bytes that Linux keeps between a sender and a receiver that does not read: both buffers together."""


class Channel:
    """The bytes on their way in one direction, in order.

    Args:
        family: the family of the sockets, which decides how many bytes fit.

    Attributes:
        size: the number of bytes that were not read.
        is_finished: True if the sender will send no more.
    """

    __slots__ = ("_ancillary", "_chunks", "_is_unix", "_read", "_start", "is_finished", "size")

    def __init__(self, family: int) -> None:
        self._chunks: deque[bytes] = deque()
        self._start = 0  # number of bytes of the first chunk that were read
        self._read = 0  # number of bytes that were read since the beginning
        self._ancillary: deque[tuple[int, int, list[Any]]] = deque()  # where its data starts and ends
        self._is_unix = family == socket.AF_UNIX
        self.size: int = 0
        self.is_finished: bool = False

    @property
    def is_writable(self) -> bool:
        """True if a sender is ready: as on Linux, if a part of the capacity is free."""
        if self._is_unix:
            return (self.size + len(self._chunks) * _OVERHEAD_OF_UNIX) * 4 <= _CAPACITY_OF_UNIX
        return self.size * 3 <= _CAPACITY_OF_TCP * 2

    @property
    def room(self) -> int:
        """The number of bytes that fit."""
        if self._is_unix:
            return max(_CAPACITY_OF_UNIX - self.size - len(self._chunks) * _OVERHEAD_OF_UNIX, 0)
        return _CAPACITY_OF_TCP - self.size

    def put(self, data: bytes, ancillary: list[Any]) -> int:
        """Append as much of `data` as fits; return the number of bytes."""
        if len(data) > (room := self.room):
            data = data[:room]
        if data:
            if ancillary:
                start = self._read + self.size
                self._ancillary.append((start, start + len(data), ancillary))
            self._chunks.append(data)
            self.size += len(data)
        return len(data)

    def take_only_chunk(self, size: int) -> bytes | None:
        """Return all bytes, and remove them, if that is simple; else None."""
        if (
            len(self._chunks) != 1
            or self._start
            or self._ancillary
            or type(size) is not int
            or not self.size <= size <= maxsize
        ):
            return None
        self._read += self.size
        self.size = 0
        return self._chunks.popleft()

    def take(self, size: int, *, is_kept: bool = False) -> tuple[bytes, list[Any]]:
        """Return the first bytes, at most `size`, and remove them unless they `is_kept`; and their ancillary data.

        Bytes that were sent after ancillary data are not read together with it.
        """
        if self._ancillary:
            start, end, ancillary = self._ancillary[0]
            if start < self._read + size:
                if not is_kept:
                    self._ancillary.popleft()
                return self._bytes(min(size, end - self._read), is_kept), [] if is_kept else ancillary
        return self._bytes(size, is_kept), []

    def _bytes(self, size: int, is_kept: bool) -> bytes:
        first = self._chunks[0]
        if not is_kept and self._start == 0 and len(first) <= size and len(self._chunks) == 1:  # the usual case
            self._chunks.clear()
            self.size = 0
            self._read += len(first)
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
            self._read += len(data)
        return data

    def ends(self) -> tuple[int, ...]:
        """Return the number of bytes that were not read, up to the end of each part that was sent in one call."""
        return tuple(accumulate(map(len, self._chunks), initial=-self._start))[1:]

    def truncate(self, size: int) -> None:
        """Lose all bytes that were not read but the first `size`."""
        if size < self.size:
            kept = self._bytes(size, is_kept=True) if size else b""
            self._chunks = deque([kept] if kept else ())
            self._start, self.size = 0, len(kept)

    def take_all_ancillary(self) -> list[Any]:
        """Return all ancillary data that was not read, and forget it."""
        found = [each for _, _, ancillary in self._ancillary for each in ancillary]
        self._ancillary.clear()
        return found
