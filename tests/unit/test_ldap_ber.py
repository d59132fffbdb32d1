"""The BER parser: equal results as ldap3's decoder, and an error for malformed messages."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.protocol.rfc4511 import (
    LDAPDN,
    AttributeDescription,
    AttributeValue,
    LDAPMessage,
    MessageID,
    PartialAttribute,
    PartialAttributeList,
    ProtocolOp,
    SearchResultEntry,
    Vals,
)
from ldap3.utils.asn1 import decode_message_fast, encode  # type: ignore[attr-defined]  # not in the stubs

from syncd.drill.messages import ldap_result, search_done, search_entry, tlv
from syncd.sources.ldap import ber

# lengths around the borders of one, two and three byte length fields
SIZES = st.sampled_from([0, 1, 126, 127, 128, 129, 255, 256, 257, 65535, 65536, 70000])
VALUES = st.one_of(st.binary(max_size=40), SIZES.map(lambda size: b"\xc3\xa9"[:1] * size))
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC;-0123456789", min_size=1, max_size=140)
ENTRIES = st.tuples(
    st.integers(1, 2**31 - 1),
    st.text(max_size=150),
    st.dictionaries(NAMES, st.lists(VALUES, max_size=4), max_size=8),
)


def encode_with_ldap3(number: int, dn: str, attributes: dict[str, list[bytes]]) -> bytes:
    """Encode a message with a SearchResultEntry with ldap3."""
    attribute_list = PartialAttributeList()
    for position, (name, values) in enumerate(attributes.items()):
        encoded_values = Vals()
        for index, value in enumerate(values):
            encoded_values.setComponentByPosition(index, AttributeValue(value))
        attribute = PartialAttribute()
        attribute["type"] = AttributeDescription(name)
        attribute["vals"] = encoded_values
        attribute_list.setComponentByPosition(position, attribute)
    entry = SearchResultEntry()
    entry["object"] = LDAPDN(dn)
    entry["attributes"] = attribute_list
    message = LDAPMessage()
    message["messageID"] = MessageID(number)
    message["protocolOp"] = ProtocolOp().setComponentByName("searchResEntry", entry)
    return bytes(encode(message))


def decode_with_ldap3(message: bytes) -> tuple[int, bytes, dict[bytes, list[bytes]]]:
    """Decode the message with ldap3."""
    decoded = decode_message_fast(message)
    dn, attribute_list = decoded["payload"]
    attributes = {name[3]: [value[3] for value in values[3]] for _, _, _, (name, values) in attribute_list[3]}
    return decoded["messageID"], dn[3], attributes


@settings(deadline=None)  # a busy machine is no failure
@given(ENTRIES)
def test_an_entry_is_parsed_as_by_ldap3(given_entry: tuple[int, str, dict[str, list[bytes]]]) -> None:
    """Message id, DN, names and values of any entry equal those of ldap3's decoder."""
    message = encode_with_ldap3(*given_entry)

    ((number, op),), rest, _ = ber.split_messages(message)

    assert decode_with_ldap3(message) == (number, *ber.parse_entry(op))
    assert rest == b""


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_messages_are_split_at_any_chunk_boundaries(
    entries: list[tuple[int, str, dict[str, list[bytes]]]], data: st.DataObject
) -> None:
    """Any chunks have the same messages, none before its last byte was received."""
    whole = [encode_with_ldap3(*each) for each in entries]
    stream = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    received, rest = [], b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        messages, rest, wanted = ber.split_messages(rest + stream[begin:end])
        received += messages
        assert wanted >= 1
        assert not rest or len(rest) + wanted <= max(map(len, whole))

    assert [(number, ber.parse_entry(op)) for number, op in received] == [
        (each[0], ber.parse_entry(ber.split_messages(message)[0][0][1]))
        for each, message in zip(entries, whole, strict=True)
    ]
    assert rest == b""


def parse_all(data: bytes) -> None:
    """Parse bytes with every parser; only Malformed may be raised."""
    readers = (ber.parse_entry, ber.parse_result, ber.parse_reference, ber.parse_cookie)
    try:
        messages, _, _ = ber.split_messages(data)
    except ber.Malformed:
        messages = []
    for op in [data, *(op for _, op in messages)]:
        for reader in readers:
            with contextlib.suppress(ber.Malformed):
                reader(op)


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(min_size=1, max_size=200))
def test_noise_is_malformed(noise: bytes) -> None:
    """Other bytes raise Malformed, never another exception, and never loop."""
    parse_all(noise)


@settings(deadline=None)  # a busy machine is no failure
@given(ENTRIES, st.data())
def test_a_damaged_message_is_malformed_or_another_entry(
    given_entry: tuple[int, str, dict[str, list[bytes]]], data: st.DataObject
) -> None:
    """A real entry with some bytes changed is either another entry or Malformed."""
    damaged = bytearray(encode_with_ldap3(*given_entry))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    parse_all(bytes(damaged))


@settings(deadline=None)  # a busy machine is no failure
@given(ENTRIES, st.data())
def test_a_truncated_entry_is_malformed(
    given_entry: tuple[int, str, dict[str, list[bytes]]], data: st.DataObject
) -> None:
    """An operation that is shorter than its lengths is not a smaller entry."""
    op = ber.split_messages(encode_with_ldap3(*given_entry))[0][0][1]
    short = op[: data.draw(st.integers(1, len(op) - 1))]

    with pytest.raises(ber.Malformed):
        ber.parse_entry(short)


CN = tlv(0x30, tlv(0x04, b"cn"), tlv(0x31, tlv(0x04, b"A")))


@pytest.mark.parametrize(
    "op",
    [
        tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, CN), b"\x05\x00"),
        tlv(0x64, tlv(0x04, b"dn"), b"\x30\x0a" + CN[:-1]),
        tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, tlv(0x30, tlv(0x04, b"cn"), b"\x31\x04\x04\x01A"))),
        tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, tlv(0x30, tlv(0x04, b"cn"), b"\x31\x02\x04\x01A"))),
        tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, tlv(0x30, tlv(0x04, b"cn"), tlv(0x31, b"\x04\x05A")))),
        tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, tlv(0x30, tlv(0x04, b"cn"), tlv(0x30, tlv(0x04, b"A"))))),
        tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, tlv(0x30, tlv(0x04, b"cn"), tlv(0x31, tlv(0x02, b"A"))))),
        tlv(0x64, tlv(0x04, b"dn"), b"\x30\x80" + CN + b"\x00\x00"),
        tlv(0x64, tlv(0x04, b"dn")),
        b"\x64\x00",
    ],
    ids=["more-behind", "list-too-long", "set-too-long", "set-too-short", "value-too-long", "no-set", "no-octets",
         "indefinite", "no-attributes", "empty"],
)  # fmt: skip
def test_lengths_that_disagree_are_malformed(op: bytes) -> None:
    """An inner element must end with the outer one, on every level."""
    with pytest.raises(ber.Malformed):
        ber.parse_entry(op)


def test_a_repeated_attribute_has_all_values() -> None:
    """A server may send an attribute in two parts."""
    op = tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, CN, tlv(0x30, tlv(0x04, b"cn"), tlv(0x31, tlv(0x04, b"B")))))

    assert ber.parse_entry(op) == (b"dn", {b"cn": [b"A", b"B"]})


def test_controls_behind_an_entry_are_ignored() -> None:
    """They are not a part of the entry."""
    op = search_entry("dn", {"cn": [b"A"]}) + tlv(0xA0, tlv(0x30, tlv(0x04, b"1.2.3")))

    assert ber.parse_entry(op) == (b"dn", {b"cn": [b"A"]})


def test_a_result_is_parsed_with_controls_and_referrals() -> None:
    """Code, message, referrals and controls of a SearchResultDone, and the cookie of its paging control."""
    referral = tlv(0xA3, tlv(0x04, b"ldap://a/"), tlv(0x04, b"ldap://b/"))
    result = ber.parse_result(search_done(cookie=b"next", message="all is well"))
    referred = ber.parse_result(ldap_result(ber.SEARCH_RESULT_DONE, 10, referral))

    assert (result.code, result.message, result.referrals) == (0, "all is well", ())
    assert ber.parse_cookie(result.controls["1.2.840.113556.1.4.319"]) == b"next"
    assert (referred.code, referred.referrals) == (10, ("ldap://a/", "ldap://b/"))


def test_a_reference_is_parsed() -> None:
    """The URIs of a SearchResultReference."""
    assert ber.parse_reference(tlv(0x73, tlv(0x04, b"ldap://a/dc=x"), tlv(0x04, b"ldap://b/"))) == (
        "ldap://a/dc=x",
        "ldap://b/",
    )


def test_an_excessive_length_is_refused_at_once() -> None:
    """The error does not wait for memory or deadline to be exhausted."""
    with pytest.raises(ber.Malformed, match="announced"):
        ber.split_messages(b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01")


def test_other_protocols_are_recognized_by_the_first_byte() -> None:
    """A TLS alert or an HTTP response is refused without waiting for more bytes."""
    with pytest.raises(ber.Malformed, match="0x15"):
        ber.split_messages(b"\x15\x03\x01")


@given(st.dictionaries(st.text("abcXYZ;-9", min_size=1, max_size=20), st.lists(st.binary(max_size=140), max_size=2)))
def test_the_plain_parser_agrees_with_the_general_one(attributes: dict[str, list[bytes]]) -> None:
    """A plain entry has the same names and values as with the general parser."""
    op = search_entry("uid=ä,dc=example", attributes)

    plain = ber.parse_plain_entry(op)

    short = all(len(v) == 1 and len(v[0]) < 100 and v[0].isascii() for v in attributes.values())
    assert (plain is not None) or not short
    if plain is not None:
        dn, general = ber.parse_entry(op)
        assert plain == (dn, {name.decode(): values[0].decode() for name, values in general.items()})


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_the_plain_parser_never_raises(noise: bytes, place: int, byte: int) -> None:
    """A damaged or cut entry is None, or equals the result of the general parser."""
    whole = bytearray(
        search_entry("uid=a,dc=example", {"cn": [b"Ada"], "sn": [b"Lovelace"], "mail": [b"a@example.com"]})
    )
    whole[place % len(whole)] = byte
    for op in (bytes(whole), bytes(whole[: place % len(whole)]), b"\x64" + noise):
        plain = ber.parse_plain_entry(op)
        if plain is not None:
            dn, general = ber.parse_entry(op)
            assert plain == (dn, {name.decode(): values[0].decode() for name, values in general.items()})
