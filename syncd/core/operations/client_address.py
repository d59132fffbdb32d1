"""Addresses of clients in one form, so that logs, throttles and trusted networks agree on who a client is."""

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_EMBEDDED_IPV4 = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # a socket for both families (RFC 4291, 2.5.5.2)
    ipaddress.IPv6Network("64:ff9b::/96"),  # a translator of IPv4 clients in front of the server (RFC 6052, 2.1)
)
"""Networks whose last 32 bits are an IPv4 address. Without the mapping, all IPv4 clients share one /64 network."""


def parse_address(text: str) -> Address | None:
    """Parse an IP address; an embedded IPv4 address becomes IPv4, and a zone id is dropped. None if it is invalid."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _EMBEDDED_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return ipaddress.IPv6Address(int(address))


def parse_network(text: str) -> Network:
    """Parse a network or an address; embedded IPv4 networks become IPv4. Raises ValueError."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and any(network.subnet_of(one) for one in _EMBEDDED_IPV4):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def normalize_address(text: str) -> str:
    """Return an address in its usual spelling, or the text itself if it is none, such as `unix`."""
    address = parse_address(text)
    return text if address is None else str(address)


def throttle_unit(text: str) -> str:
    """Return the unit by which failures are counted: an IPv4 address, or an IPv6 /64 network, which is one client."""
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return text if address is None else str(address)
