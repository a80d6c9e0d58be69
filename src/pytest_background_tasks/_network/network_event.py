"""An event of the network as a value: what has arrived where."""

from typing import Literal, NamedTuple

SHOWN = 60
"""Bytes of the data that an event keeps."""


class NetworkEvent(NamedTuple):
    """The event for which a file became ready.

    Attributes:
        kind: ``"connection"``: a client reaches a listener; ``"established"`` or ``"refused"``: the result of
            connecting; ``"data"``; ``"eof"``: the other side will send no more; ``"reset"``; ``"room"``: more can be
            sent; ``"ready"``: any other file is ready.
        address: the address of the server, or the one to which a datagram was sent, as text.
        size: bytes of data that can be read.
        beginning: the first of them, at most `SHOWN`.
    """

    kind: Literal["connection", "established", "refused", "data", "eof", "reset", "room", "ready"]
    address: str = ""
    size: int = 0
    beginning: bytes = b""
