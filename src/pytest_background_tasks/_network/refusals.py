"""The messages that refuse a connection, or a way to use it."""

from ..errors import UncontrolledOperation

TLS_OF_BLOCKING_SOCKETS = (
    "ssl.SSLContext.wrap_socket() reads from the descriptor of a socket, where nothing of a connection in memory "
    "arrives\nUse instead: TLS of asyncio (the argument ssl= of connections and servers), or "
    "ssl.SSLContext.wrap_bio()"
)


def outside(place: str) -> UncontrolledOperation:
    """Return the error for an address of another machine."""
    return UncontrolledOperation(
        f"the test talks to {place}, which is outside this machine and cannot be controlled\n"
        f"Use instead: a server in the test itself, or a fake of the client (for ASGI: httpx.ASGITransport)",
        "network",
    )


def real_server(place: str) -> UncontrolledOperation:
    """Return the error for a server that the test has not started while it was explored."""
    return UncontrolledOperation(
        f"the test talks to {place}, a real server that it has not started itself, which cannot be controlled\n"
        f"Use instead: a server that the test or one of its fixtures of function scope starts, or a fake of the client",
        "network",
    )
