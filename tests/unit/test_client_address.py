"""Addresses of clients in one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.client_address import normalize_address, parse_network, throttle_unit


@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_ipv4_client_is_one_client(address: object) -> None:
    """Plain, mapped and translated; different clients are different units."""
    for text in (f"{address}", f"::ffff:{address}", f"::FFFF:{address}", f"64:ff9b::{address}"):
        assert normalize_address(text) == throttle_unit(text) == str(address)


@pytest.mark.parametrize(
    ("text", "address", "unit"),
    [
        ("2001:DB8::1", "2001:db8::1", "2001:db8::/64"), ("2001:db8::2:1", "2001:db8::2:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"), ("::1", "::1", "::/64"), ("unix", "unix", "unix"),
        ("999.0.0.1", "999.0.0.1", "999.0.0.1"), ("::ffff:0:192.0.2.1", "::ffff:0:c000:201", "::/64"),
    ],
)  # fmt: skip
def test_other_addresses(text: str, address: str, unit: str) -> None:
    """IPv6 is counted by network, without its zone; anything else stays as it is."""
    assert (normalize_address(text), throttle_unit(text)) == (address, unit)


@pytest.mark.parametrize(
    ("text", "network"),
    [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.1", "10.0.0.1/32"), ("64:ff9b::/96", "0.0.0.0/0"),
     ("::/0", "::/0"), ("10.0.0.0/8", "10.0.0.0/8"), ("2001:db8::/32", "2001:db8::/32")],
)  # fmt: skip
def test_networks(text: str, network: str) -> None:
    """A network of embedded addresses is an IPv4 network; a wider one stays IPv6."""
    assert str(parse_network(text)) == network
