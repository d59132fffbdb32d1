"""The client's address, scheme and host behind trusted proxies.

Only X-Forwarded-* is read. If Forwarded (RFC 7239) were read too, the header written by the proxy could not be told
from one that the client has forged and the proxy has passed on.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

from syncd.core.operations.client_address import Network, normalize_address, parse_address, parse_network

UNIX = "unix"
"""The address of a client that is connected to a Unix socket."""

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_ADDRESS = re.compile(r"(?P<v4>[0-9.]+)(:\d+)?|\[(?P<v6>[^\]]+)\](:\d+)?")


class Client(NamedTuple):
    """The sender of a request."""

    address: str
    """An IP address, or `unix`."""
    scheme: str
    host: str | None
    """The header Host (RFC 9112, 3.2), with port if given; None unless sent exactly once with a valid host."""


class TrustedProxies:
    """The proxies whose X-Forwarded-* headers are trusted: IP addresses, networks and `unix`."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._unix = False
        self._networks: list[Network] = []
        for item in trusted:
            if item == UNIX:
                self._unix = True
            else:
                self._networks.append(parse_network(item))

    def resolve_client(self, scope: Scope) -> Client:
        """Return the client that sent the request with this ASGI scope."""
        peer = peer_address(scope)
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if not self._is_trusted(peer):
            return Client(peer, scope["scheme"], _valid_host(hosts))
        schemes = _list_items(headers, "x-forwarded-proto")
        scheme = schemes[-1].lower() if schemes and schemes[-1].lower() in {"http", "https"} else scope["scheme"]
        address = self._client_address(peer, _list_items(headers, "x-forwarded-for"))
        return Client(address, scheme, _valid_host(_list_items(headers, "x-forwarded-host")[-1:] or hosts))

    def _client_address(self, peer: str, hops: list[str]) -> str:
        """Return the rightmost address that is not a trusted proxy's; a client can forge everything left of it."""
        for hop in reversed(hops):
            address = _hop_address(hop)
            if not self._is_trusted(peer) or address is None:
                break
            peer = address
        return peer

    def _is_trusted(self, peer: str) -> bool:
        if peer == UNIX:
            return self._unix
        if not self._networks:
            return False
        address = parse_address(peer)
        return address is not None and any(address in network for network in self._networks)


def peer_address(scope: Scope) -> str:
    """Return the address of the connection, or `unix`."""
    return normalize_address(scope["client"][0]) if scope.get("client") else UNIX


def _list_items(headers: Headers, name: str) -> list[str]:
    return [item for line in headers.getlist(name) for part in line.split(",") if (item := part.strip())]


def _valid_host(hosts: list[str]) -> str | None:
    return hosts[0] if len(hosts) == 1 and _HOST.fullmatch(hosts[0]) else None


def _hop_address(hop: str) -> str | None:
    """Return the address of an item of X-Forwarded-For, which some proxies write with a port."""
    match = _ADDRESS.fullmatch(hop)
    address = parse_address((match["v4"] or match["v6"]) if match else hop)
    return None if address is None else str(address)
