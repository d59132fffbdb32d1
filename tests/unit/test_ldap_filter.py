"""Filters: validation of a source's filter, and escaping of values."""

import contextlib
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.utils.asn1 import encode  # type: ignore[attr-defined]  # not in the stubs

from syncd.drill.messages import tlv
from syncd.sources.ldap.errors import LdapFault
from syncd.sources.ldap.filters import all_of, any_of, equals, key_equals
from syncd.sources.ldap.session import SearchRequest, encode_search_request

PIECES = st.lists(
    st.sampled_from(["(", ")", "&", "|", "!", "=", "*", "cn", ":", "~", ">", "\\2a", "\\zz", "ü", " "]), max_size=12
)


@pytest.mark.parametrize("text", ["", "()", "(cn)", "(&)", "((cn=a))", "(cn=a)(sn=b)", "(=a)", "(cn=a", r"(cn=\zz)"])
def test_an_invalid_filter_is_a_fault(text: str) -> None:
    """The fault has the code `filter` and quotes the filter, whatever ldap3 makes of it."""
    with pytest.raises(LdapFault) as fault:
        encode(encode_search_request(SearchRequest("dc=x", "subtree", text, ["cn"])))

    assert fault.value.code == "filter"
    assert repr(text) in fault.value.reason


@settings(deadline=None)  # a busy machine is no failure
@given(PIECES)
def test_no_filter_raises_anything_else(pieces: list[str]) -> None:
    """Any text is encoded or raises LdapFault."""
    with contextlib.suppress(LdapFault):
        assert encode(encode_search_request(SearchRequest("dc=x", "subtree", "(" + "".join(pieces) + ")", ["cn"])))


def encode_filter(text: str) -> bytes:
    """Encode a request with this filter."""
    return bytes(encode(encode_search_request(SearchRequest("dc=x", "subtree", text, ["cn"]))))


def equality(attribute: str, value: bytes) -> bytes:
    """An equalityMatch as RFC 4511 section 4.5.1 writes it."""
    return tlv(0xA3, tlv(0x04, attribute.encode()), tlv(0x04, value))


@settings(deadline=None)
# short enough for lengths of one byte: BER has several forms of a longer one
@given(st.one_of(st.text(max_size=25), st.text(" ()*\\\0=&|!~<>:,", max_size=100), st.binary(max_size=100)))
def test_a_value_is_sent_unchanged(value: str | bytes) -> None:
    """Any text and any bytes become an equality match with exactly that value, also in nested filters."""
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    nested = all_of("(sn=a)", any_of([equals("cn", value), equals("uid;lang-de", value)]))

    assert equality("cn", raw) in encode_filter(equals("cn", value))
    assert equality("cn", raw) + equality("uid;lang-de", raw) in encode_filter(nested)


@pytest.mark.parametrize("key", ["00112233-4455-6677-8899-aabbccddeeff", "{00112233-4455-6677-8899-AABBCCDDEEFF}"])
def test_an_object_guid_is_encoded_as_bytes(key: str) -> None:
    """MS-DTYP section 2.3.4: from the form of Active Directory's tools."""
    filter_ = key_equals("objectguid", key) or ""

    assert equality("objectguid", uuid.UUID(key).bytes_le) in encode_filter(filter_)


@pytest.mark.parametrize("key", ["", "ada", "00112233", "(objectClass=*)"])
def test_an_invalid_object_guid_has_no_filter(key: str) -> None:
    """Other attributes accept any text."""
    assert key_equals("objectguid", key) is None
    assert equality("entryuuid", key.encode()) in encode_filter(key_equals("entryuuid", key) or "")
