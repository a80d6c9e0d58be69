"""Addresses of the family UNIX: paths, whose files are real, and abstract names."""

import _socket
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .addresses import ForeignHost, error

_LONGEST = 107


class UnixPaths:
    """The sockets of a network that are bound to paths and abstract names."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[Any, ...], Any] = {}
        self._next_name = 0

    def values(self) -> Iterable[Any]:
        """Return the sockets; None for each path whose socket was closed."""
        return self._sockets.values()

    def bind(self, each: Any, path: Any) -> None:
        """Bind a socket; the file of its path is created."""
        name = _bytes_of_path(path)
        if name[:1] in (b"", b"\0"):
            self._bind_to_name(each, name)
            return
        trial = _socket.socket(each.family, each.type, each.proto)
        try:
            trial.bind(path)  # the operating system creates the file, or says why it cannot
            address = trial.getsockname()
        finally:
            trial.close()
        if each.address is not None:
            Path(os.fsdecode(path)).unlink()
            raise error(errno.EINVAL)
        each.address = address
        self._sockets[_identity(address)] = each

    def _bind_to_name(self, each: Any, name: bytes) -> None:
        """Bind to an abstract name; an empty one stands for any that is free."""
        if each.address is not None:
            if name:
                raise error(errno.EINVAL)
            return
        if not name:
            self._next_name += 1
            name = b"\0%05x" % self._next_name
        if (each.type, name) in self._sockets:
            raise error(errno.EADDRINUSE)
        each.address = name
        self._sockets[each.type, name] = each

    def find(self, each: Any, path: Any) -> Any:
        """Return the socket at a path, of the type of `each`; None for a file that a socket has left.

        Raises:
            ForeignHost: the socket there is of the operating system.
            OSError: there is no socket.
        """
        name = _bytes_of_path(path)
        if name[:1] == b"\0":
            return self._sockets.get((each.type, name))
        if not name:
            raise error(errno.EINVAL)
        path = name.partition(b"\0")[0]
        key = _identity(path)
        if key not in self._sockets:
            if not stat.S_ISSOCK(Path(os.fsdecode(path)).stat().st_mode):
                raise error(errno.ECONNREFUSED)
            raise ForeignHost(os.fsdecode(path))
        found = self._sockets[key]
        if found is not None and found.type != each.type:
            raise error(errno.EPROTOTYPE)
        return found

    def unbind(self, each: Any) -> None:
        """Forget a socket."""
        for key, other in list(self._sockets.items()):
            if other is each:
                if isinstance(key[1], bytes):
                    del self._sockets[key]
                else:
                    self._sockets[key] = None  # there is still the file, where a connection is refused


def _bytes_of_path(path: Any) -> bytes:
    return os.fsencode(path) if isinstance(path, str) else bytes(memoryview(path))


def _identity(path: Any) -> tuple[int, int]:
    if len(_bytes_of_path(path)) > _LONGEST:
        raise OSError("AF_UNIX path too long")
    try:
        found = Path(os.fsdecode(path)).stat()
    except OSError as problem:
        raise error(problem.errno or errno.ENOENT) from None
    return found.st_dev, found.st_ino
