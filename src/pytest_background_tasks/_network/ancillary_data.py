"""Ancillary data: file descriptors that one socket of the family UNIX passes to another."""

import os
import socket
import struct
from collections.abc import Callable
from typing import Any

_RIGHTS = (socket.SOL_SOCKET, getattr(socket, "SCM_RIGHTS", -1))
_SIZE = struct.calcsize("i")
_HEADER = struct.calcsize("@Nii")  # of struct cmsghdr


def sent(ancillary: list[tuple[int, int, bytes]], duplicate: Callable[[int], int]) -> list[Any]:
    """Return the descriptors among ancillary data as they travel: duplicated, so that the sender may close its own."""
    rights = [(level, kind, _numbers(data)) for level, kind, data in ancillary if (level, kind) == _RIGHTS]
    for _, _, numbers in rights:
        for each in numbers:
            os.fstat(each)  # raises an error if one is invalid, before any is duplicated
    return [(level, kind, [*map(duplicate, numbers)]) for level, kind, numbers in rights]


def received(ancillary: list[Any], size: int) -> tuple[list[Any], int]:
    """Return what fits into a buffer of `size` bytes, as `recvmsg` does, and its flags; close other descriptors."""
    shown, flags = [], 0
    for level, kind, numbers in ancillary:
        count = max(min((size - _HEADER) // _SIZE, len(numbers)), 0)
        if count:
            shown.append((level, kind, struct.pack(f"{count}i", *numbers[:count])))
        if count < len(numbers):
            flags = socket.MSG_CTRUNC
            discard([(level, kind, numbers[count:])])
        size -= socket.CMSG_SPACE(count * _SIZE)
    return shown, int(flags)


def discard(ancillary: list[Any]) -> None:
    """Close descriptors that no program receives."""
    for _, _, numbers in ancillary:
        for each in numbers:
            os.close(each)


def _numbers(data: bytes) -> tuple[int, ...]:
    count = len(data) // _SIZE
    return struct.unpack(f"{count}i", data[: count * _SIZE])
