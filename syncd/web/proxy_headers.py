"""Who is at the other end: the client's address, scheme and host, through the proxies whose word is taken.

Only X-Forwarded-* is read. With Forwarded (RFC 7239) beside it nobody could tell which of the two the proxy has
written and which one it has passed on from a client that makes up its own.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

UNIX = "unix"
"""The address of whoever comes over a Unix socket."""

_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PORT = re.compile(r"(?P<v4>[0-9.]+)(:\d+)?|\[(?P<v6>[^\]]+)\](:\d+)?")


class Client(NamedTuple):
    """The other end of a request."""

    address: str
    """An IP address, or `unix`."""
    scheme: str
    host: str | None
    """What it has called us (RFC 9112, 3.2); None when that is not there once or names no host."""


class Proxies:
    """The proxies in front of us, as the setting names them."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._unix = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for one in trusted:
            if one == UNIX:
                self._unix = True
            else:
                self._networks.append(ipaddress.ip_network(one))

    def client(self, scope: Scope) -> Client:
        """Who has sent the request with this ASGI scope."""
        peer = scope["client"][0] if scope.get("client") else UNIX
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if not self._trusts(peer):
            return Client(peer, scope["scheme"], _host(hosts))
        schemes = _listed(headers, "x-forwarded-proto")
        scheme = schemes[-1].lower() if schemes and schemes[-1].lower() in {"http", "https"} else scope["scheme"]
        named = _listed(headers, "x-forwarded-host")
        return Client(self._origin(peer, _listed(headers, "x-forwarded-for")), scheme, _host(named[-1:] or hosts))

    def _origin(self, peer: str, hops: list[str]) -> str:
        """The first address from the right that no trusted proxy has: whatever stands left of it anybody can write."""
        for hop in reversed(hops):
            address = _address(hop)
            if not self._trusts(peer) or address is None:
                break
            peer = address
        return peer

    def _trusts(self, peer: str) -> bool:
        if peer == UNIX:
            return self._unix
        if not self._networks:
            return False
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._networks)


def _listed(headers: Headers, name: str) -> list[str]:
    return [item for line in headers.getlist(name) for part in line.split(",") if (item := part.strip())]


def _host(named: list[str]) -> str | None:
    return named[0] if len(named) == 1 and _HOST.fullmatch(named[0]) else None


def _address(hop: str) -> str | None:
    """The address in an item of X-Forwarded-For, which some proxies write with a port."""
    found = _PORT.fullmatch(hop)
    address = _parsed((found["v4"] or found["v6"]) if found else hop)
    return None if address is None else str(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; one of IPv4 that is written as IPv6 is one of IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
