"""The client behind proxies: X-Forwarded-* headers are trusted from configured proxies only."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.web.proxy_headers import Client, TrustedProxies


def scope(peer: str | None, *headers: tuple[str, str]) -> dict[str, Any]:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "scheme": "http", "client": peer and (peer, 4711), "headers": raw}


def origin(trusted: list[str], peer: str | None, *hops: str) -> str:
    return TrustedProxies(trusted).resolve_client(scope(peer, *(("x-forwarded-for", hop) for hop in hops))).address


HEADERS = [
    ("host", "inside:8080"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "directory.example.com"),
]  # fmt: skip


def test_nobody_is_trusted_by_default() -> None:
    """Forwarding headers from other addresses than the trusted ones are ignored."""
    for trusted in ([], ["10.0.0.0/8"], ["unix"]):
        assert TrustedProxies(trusted).resolve_client(scope("127.0.0.1", *HEADERS)) == Client(
            "127.0.0.1", "http", "inside:8080"
        )
    assert TrustedProxies([]).resolve_client(scope(None, *HEADERS)) == Client("unix", "http", "inside:8080")


@pytest.mark.parametrize(("trusted", "peer"), [("127.0.0.0/8", "127.0.0.1"), ("unix", None), ("::1", "::1")])
def test_a_trusted_proxy_speaks_for_its_client(trusted: str, peer: str | None) -> None:
    """Address, scheme and host are those of the headers; without headers, those of the connection."""
    assert TrustedProxies([trusted]).resolve_client(scope(peer, *HEADERS)) == Client(
        "192.0.2.1", "https", "directory.example.com"
    )
    assert TrustedProxies([trusted]).resolve_client(scope(peer, HEADERS[0])) == Client(
        peer or "unix", "http", "inside:8080"
    )


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["198.51.100.1, 192.0.2.1"], "192.0.2.1"),
        (["198.51.100.1, 192.0.2.1, 10.0.0.9"], "192.0.2.1"),
        (["198.51.100.1", "192.0.2.1", "10.0.0.9"], "192.0.2.1"),
        (["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:DB8::1"], "2001:db8::1"),
        (["::ffff:10.0.0.9, ::ffff:192.0.2.1"], "192.0.2.1"),
        (["[::ffff:192.0.2.1]:4711"], "192.0.2.1"),
        (["64:ff9b::192.0.2.1"], "192.0.2.1"),
        (["fe80::1%eth0"], "fe80::1"),
        (["[fe80::1%<b>]:1"], "fe80::1"),
        (["192.0.2.1, unknown"], "10.0.0.1"),
        (["192.0.2.1, unknown, 10.0.0.9"], "10.0.0.9"),
        (["192.0.2.1, 999.0.0.1"], "10.0.0.1"),
        ([""], "10.0.0.1"),
        ([" , ,192.0.2.1,"], "192.0.2.1"),
    ],
)
def test_the_first_from_the_right_that_is_no_proxy(hops: list[str], expected: str) -> None:
    """Items left of the first untrusted address are ignored; an item that is no address ends the search."""
    assert origin(["10.0.0.0/8"], "10.0.0.1", *hops) == expected


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "::FFFF:a00:1", "64:ff9b::10.0.0.1", "10.0.0.1"])
@pytest.mark.parametrize("trusted", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1"])
def test_ipv4_on_a_socket_for_both_families(peer: str, trusted: str) -> None:
    """The peer is logged as IPv4, and trusted however peer and network are written."""
    assert origin([], peer) == "10.0.0.1"
    assert origin([trusted], peer, "192.0.2.1") == "192.0.2.1"
    assert origin(["192.0.2.0/24"], peer, "192.0.2.1") == "10.0.0.1"


@given(st.lists(st.ip_addresses(v=4).map(str), max_size=5), st.ip_addresses(v=4).map(str))
def test_a_client_cannot_choose_its_address(forged: list[str], real: str) -> None:
    """With any forged list, the result is the address that the trusted proxy appends, unless that is a proxy's."""
    if not real.startswith("10."):
        assert origin(["10.0.0.0/8"], "10.0.0.1", ", ".join([*forged, real])) == real


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("x-forwarded-proto", "gopher", ("http", "inside:8080")),
        ("x-forwarded-proto", "http, HTTPS", ("https", "inside:8080")),
        ("x-forwarded-host", "a b", ("http", None)),
        ("x-forwarded-host", "a.example, b.example:1", ("http", "b.example:1")),
        ("host", "other", ("http", None)),
        ("forwarded", "for=192.0.2.9;proto=https;host=x", ("http", "inside:8080")),
    ],
)
def test_invalid_values(name: str, value: str, expected: tuple[str, str | None]) -> None:
    """An unknown scheme is ignored, an invalid host becomes None, and Forwarded is not read."""
    client = TrustedProxies(["10.0.0.1"]).resolve_client(scope("10.0.0.1", HEADERS[0], (name, value)))

    assert (client.address, client.scheme, client.host) == ("10.0.0.1", *expected)
