"""A descriptor of the operating system that is ready exactly when a socket of the in-process network is.

The program's descriptor is one end of a pair of the kernel's sockets. No data of the program goes through it: a byte
in it makes it readable, and a full buffer makes it not writable. So every way of waiting for a socket works, in any
event loop or thread, and for code that polls a descriptor by itself.
"""

import _socket  # the methods of socket.socket belong to the in-process network
import os
import socket
from contextlib import suppress

_FILLER = bytes(65536)


class KernelPair:
    """Two connected sockets of the kernel; the program has the descriptor of the first one.

    Attributes:
        inode: the number by which the operating system knows the program's end, whatever the descriptor.
    """

    def __init__(self) -> None:
        self._theirs, self._ours = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self._is_readable = False
        self._is_writable = True
        self.inode: int = os.fstat(self._theirs.fileno()).st_ino

    def give_away(self) -> int:
        """Return the descriptor for the program, which now has to close it."""
        descriptor: int = self._theirs.detach()
        return descriptor

    def show(self, descriptor: int, *, is_readable: bool, is_writable: bool) -> None:
        """Make the program's end, at this `descriptor`, ready to be read and written, or not."""
        with suppress(BrokenPipeError, ConnectionResetError):  # the program has closed its end by itself
            self._show(descriptor, is_readable, is_writable)

    def _show(self, descriptor: int, is_readable: bool, is_writable: bool) -> None:
        if is_readable != self._is_readable:
            self._is_readable = is_readable
            if is_readable:
                self._ours.send(b"\0")
            else:
                os.read(descriptor, 1)
        if is_writable != self._is_writable:
            self._is_writable = is_writable
            if is_writable:
                self._empty()
            else:
                self._fill(descriptor)

    def _fill(self, descriptor: int) -> None:
        import fcntl

        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        try:
            while True:
                os.write(descriptor, _FILLER)
        except BlockingIOError:
            pass
        finally:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)

    def _empty(self) -> None:
        try:
            while self._ours.recv(len(_FILLER)):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close the end that is not the program's, and the other one if it was not given away."""
        self._ours.close()
        self._theirs.close()
