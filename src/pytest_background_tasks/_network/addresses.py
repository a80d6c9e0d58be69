"""Addresses of sockets: their normal form, and the rules by which a bound address receives what is sent to another.

The rules are Linux's. Only the addresses of this machine belong to the in-process network.
"""

import _socket  # the methods of socket.socket belong to the in-process network
import errno
import os
import socket
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from operator import index
from typing import Any, NamedTuple

_WILDCARDS: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_LOOPBACKS: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_LARGEST_PORT = 65535

NAMES_OF_THIS_MACHINE = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
"""Names that mean the loopback interface, in lower case; so does every name that ends with ``.localhost``."""


class Endpoint(NamedTuple):
    """The address of a socket of the families INET and INET6.

    Attributes:
        family: the family of the socket.
        host: a numeric address; an IPv4 address for one that is mapped into IPv6.
        port: the port.
    """

    family: int
    host: str
    port: int

    @property
    def is_wildcard(self) -> bool:
        """True if the host stands for all addresses of this machine."""
        return self.host in _WILDCARDS.values()


def is_internet(family: int) -> bool:
    """Return True for the families INET and INET6."""
    return family in _WILDCARDS


def error(number: int) -> OSError:
    """Return the error that the operating system would raise, with its own words."""
    return OSError(number, os.strerror(number))


def endpoint(family: int, address: Any, call: str) -> Endpoint:
    """Return the normal form of an address that the program has given to the method `call` of a socket.

    Raises:
        TypeError, OverflowError: the address is invalid; the messages are Python's.
        OSError: the host has no address of this family.
    """
    name = "AF_INET" if family == socket.AF_INET else "AF_INET6"
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
    if len(address) != 2 and (family == socket.AF_INET or not 2 <= len(address) <= 4):
        wanted = "a pair (host, port)" if family == socket.AF_INET else "a tuple (host, port[, flowinfo[, scopeid]])"
        raise TypeError(f"{name} address must be {wanted}")
    host = address[0]
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or "\0" in host:
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    port, *_ = map(index, address[1:])
    if not 0 <= port <= _LARGEST_PORT:
        raise OverflowError(f"{call}(): port must be 0-{_LARGEST_PORT}.")
    return Endpoint(family, _numeric(family, host), port)


@lru_cache(1024)
def _numeric(family: int, host: str) -> str:
    if not host:
        return _WILDCARDS[family]
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        if is_name_of_this_machine(host):
            return _LOOPBACKS[family]
        if family == socket.AF_INET:
            with suppress(OSError):
                return "255.255.255.255" if host == "<broadcast>" else socket.inet_ntoa(socket.inet_aton(host))
        raise ForeignHost(host) from None
    if (found.version == 6) != (family == socket.AF_INET6):
        raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported")
    mapped = found.ipv4_mapped if found.version == 6 else None
    return str(found if mapped is None else mapped)


class ForeignHost(Exception):
    """A host that is not this machine."""


def is_name_of_this_machine(host: str) -> bool:
    """Return True for a name of the loopback interface, or of this machine itself."""
    name = host.rstrip(".").lower()
    return name in NAMES_OF_THIS_MACHINE or name.endswith(".localhost") or name == socket.gethostname().lower()


@lru_cache(1024)
def is_of_this_machine(host: str) -> bool:
    """Return True for a numeric address of this machine. For most of them, the operating system is asked."""
    found = ip_address(host)
    if found.is_loopback or found.is_unspecified:
        return True
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    return _can_bind(family, host, 0)


def is_port_taken(where: Endpoint, type: int) -> bool:  # noqa: A002  # like socket.socket
    """Return True if a socket of this type outside the in-process network uses the port. Nothing is sent to it."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    return not _can_bind(family, where.host, where.port, type)


def _can_bind(family: int, host: str, port: int, type: int = socket.SOCK_STREAM) -> bool:  # noqa: A002  # like socket.socket
    try:
        trial = _socket.socket(family, type)
    except OSError:
        return False
    try:
        if type == socket.SOCK_STREAM:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        trial.bind((host, port))
    except OSError as problem:
        return problem.errno == errno.EACCES
    finally:
        trial.close()
    return True


def presented(where: Endpoint) -> tuple[Any, ...]:
    """Return an address in the form in which a socket of its family shows it to the program."""
    if where.family == socket.AF_INET:
        return where.host, where.port
    return (where.host if ":" in where.host else f"::ffff:{where.host}"), where.port, 0, 0


def shown(where: Endpoint) -> str:
    """Return an address as text: ``127.0.0.1:80`` or ``[::1]:80``."""
    host, port, *_ = presented(where)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def destination(where: Endpoint) -> Endpoint:
    """Return the address that is meant by connecting to `where`: a wildcard stands for the loopback address."""
    host = next((_LOOPBACKS[family] for family, wildcard in _WILDCARDS.items() if where.host == wildcard), where.host)
    return where._replace(host=host)


def source(host: str) -> str:
    """Return the address of this machine from which it talks to `host`, another of its own."""
    return _LOOPBACKS[socket.AF_INET] if ":" not in host and ip_address(host).is_loopback else host


def overlaps(one: Endpoint, is_v6_only: bool, other: Endpoint, other_is_v6_only: bool) -> bool:
    """Return True if both addresses, of bound sockets, would receive what is sent to some address."""
    if one.port != other.port:
        return False
    return (
        one.host == other.host
        or accepts(one, other.host, is_v6_only=is_v6_only)
        or accepts(other, one.host, is_v6_only=other_is_v6_only)
    )


def accepts(bound: Endpoint, host: str, *, is_v6_only: bool) -> bool:
    """Return True if a socket that is bound to `bound` receives what is sent to `host`, a numeric address."""
    if bound.host == host:
        return True
    if bound.host == "::":
        return ":" in host or not is_v6_only
    return bound.host == "0.0.0.0" and ":" not in host
