"""Filters: a source's is sent as written, or told to be wrong before; in one of ours no value can end or change it."""

import contextlib
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.utils.asn1 import encode

from syncd.drill.messages import tlv
from syncd.sources.ldap.errors import Fault
from syncd.sources.ldap.filters import both, either, equal, key_equal
from syncd.sources.ldap.session import Question, search_request

PIECES = st.lists(
    st.sampled_from(["(", ")", "&", "|", "!", "=", "*", "cn", ":", "~", ">", "\\2a", "\\zz", "ü", " "]), max_size=12
)


@pytest.mark.parametrize("text", ["", "()", "(cn)", "(&)", "((cn=a))", "(cn=a)(sn=b)", "(=a)", "(cn=a", r"(cn=\zz)"])
def test_what_is_no_filter_is_a_fault(text: str) -> None:
    """The fault has the code `filter` and quotes the filter, whatever ldap3 makes of it."""
    with pytest.raises(Fault) as fault:
        encode(search_request(Question("dc=x", "subtree", text, ["cn"])))

    assert fault.value.code == "filter"
    assert repr(text) in fault.value.what


@settings(deadline=None)  # a busy machine is no failure
@given(PIECES)
def test_no_filter_raises_anything_else(pieces: list[str]) -> None:
    """Any text is a request or that fault."""
    with contextlib.suppress(Fault):
        assert encode(search_request(Question("dc=x", "subtree", "(" + "".join(pieces) + ")", ["cn"])))


def as_sent(text: str) -> bytes:
    """The request with this filter."""
    return bytes(encode(search_request(Question("dc=x", "subtree", text, ["cn"]))))


def equality(attribute: str, value: bytes) -> bytes:
    """An equalityMatch as RFC 4511 section 4.5.1 writes it."""
    return tlv(0xA3, tlv(0x04, attribute.encode()), tlv(0x04, value))


@settings(deadline=None)
# short enough for lengths of one byte: BER has several forms of a longer one
@given(st.one_of(st.text(max_size=25), st.text(" ()*\\\0=&|!~<>:,", max_size=100), st.binary(max_size=100)))
def test_a_value_is_sent_as_it_is(value: str | bytes) -> None:
    """Any text, and any bytes, are an equality match with exactly that value, within other filters too."""
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    nested = both("(sn=a)", either([equal("cn", value), equal("uid;lang-de", value)]))

    assert equality("cn", raw) in as_sent(equal("cn", value))
    assert equality("cn", raw) + equality("uid;lang-de", raw) in as_sent(nested)


@pytest.mark.parametrize("key", ["00112233-4455-6677-8899-aabbccddeeff", "{00112233-4455-6677-8899-AABBCCDDEEFF}"])
def test_an_object_guid_becomes_its_bytes(key: str) -> None:
    """MS-DTYP section 2.3.4: as Active Directory's tools show it, so it is asked for."""
    told = key_equal("objectguid", key) or ""

    assert equality("objectguid", uuid.UUID(key).bytes_le) in as_sent(told)


@pytest.mark.parametrize("key", ["", "ada", "00112233", "(objectClass=*)"])
def test_what_is_no_object_guid_cannot_be_asked_for(key: str) -> None:
    """Other attributes take any text."""
    assert key_equal("objectguid", key) is None
    assert equality("entryuuid", key.encode()) in as_sent(key_equal("entryuuid", key) or "")
