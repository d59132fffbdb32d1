"""LDAP messages as bytes: what ldap3's own decoder reads we read the same, and nothing broken gets through."""

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
from ldap3.utils.asn1 import decode_message_fast, encode

from syncd.drill.messages import done, entry, result, tlv
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


def as_ldap3_encodes(number: int, dn: str, attributes: dict[str, list[bytes]]) -> bytes:
    """A message with a SearchResultEntry, made by ldap3's own types and encoder."""
    listed = PartialAttributeList()
    for position, (name, values) in enumerate(attributes.items()):
        held = Vals()
        for index, value in enumerate(values):
            held.setComponentByPosition(index, AttributeValue(value))
        attribute = PartialAttribute()
        attribute["type"] = AttributeDescription(name)
        attribute["vals"] = held
        listed.setComponentByPosition(position, attribute)
    found = SearchResultEntry()
    found["object"] = LDAPDN(dn)
    found["attributes"] = listed
    message = LDAPMessage()
    message["messageID"] = MessageID(number)
    message["protocolOp"] = ProtocolOp().setComponentByName("searchResEntry", found)
    return bytes(encode(message))


def as_ldap3_decodes(message: bytes) -> tuple[int, bytes, dict[bytes, list[bytes]]]:
    """The same message through ldap3's own decoder."""
    decoded = decode_message_fast(message)
    dn, listed = decoded["payload"]
    attributes = {name[3]: [value[3] for value in values[3]] for _, _, _, (name, values) in listed[3]}
    return decoded["messageID"], dn[3], attributes


@settings(deadline=None)  # a busy machine is no failure
@given(ENTRIES)
def test_an_entry_reads_as_ldap3_reads_it(given_entry: tuple[int, str, dict[str, list[bytes]]]) -> None:
    """Number, DN, names and values of any entry are what ldap3's own decoder makes of the same bytes."""
    message = as_ldap3_encodes(*given_entry)

    ((number, op),), rest, _ = ber.split(message)

    assert as_ldap3_decodes(message) == (number, *ber.entry(op))
    assert rest == b""


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_messages_may_arrive_in_any_pieces(
    entries: list[tuple[int, str, dict[str, list[bytes]]]], data: st.DataObject
) -> None:
    """However a stream is torn, the same messages come out, and none before its last byte is there."""
    whole = [as_ldap3_encodes(*each) for each in entries]
    stream = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    found, rest = [], b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        messages, rest, wanted = ber.split(rest + stream[begin:end])
        found += messages
        assert wanted >= 1
        assert not rest or len(rest) + wanted <= max(map(len, whole))

    assert [(number, ber.entry(op)) for number, op in found] == [
        (each[0], ber.entry(ber.split(message)[0][0][1])) for each, message in zip(entries, whole, strict=True)
    ]
    assert rest == b""


def swallow(data: bytes) -> None:
    """Read bytes by every reader there is; only Malformed may come out."""
    readers = (ber.entry, ber.result, ber.reference, ber.cookie)
    try:
        messages, _, _ = ber.split(data)
    except ber.Malformed:
        messages = []
    for op in [data, *(op for _, op in messages)]:
        for reader in readers:
            with contextlib.suppress(ber.Malformed):
                reader(op)


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(min_size=1, max_size=200))
def test_noise_ends_in_a_clean_error(noise: bytes) -> None:
    """Bytes that are no LDAP end in Malformed, never in another exception or in a loop."""
    swallow(noise)


@settings(deadline=None)  # a busy machine is no failure
@given(ENTRIES, st.data())
def test_a_damaged_message_ends_in_a_clean_error(
    given_entry: tuple[int, str, dict[str, list[bytes]]], data: st.DataObject
) -> None:
    """A real entry with some bytes changed is either another entry or Malformed."""
    damaged = bytearray(as_ldap3_encodes(*given_entry))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    swallow(bytes(damaged))


@settings(deadline=None)  # a busy machine is no failure
@given(ENTRIES, st.data())
def test_an_entry_that_lacks_its_end_is_malformed(
    given_entry: tuple[int, str, dict[str, list[bytes]]], data: st.DataObject
) -> None:
    """An operation that is shorter than its lengths say never passes for a smaller entry."""
    op = ber.split(as_ldap3_encodes(*given_entry))[0][0][1]
    short = op[: data.draw(st.integers(1, len(op) - 1))]

    with pytest.raises(ber.Malformed):
        ber.entry(short)


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
    """An inner element that does not end where the outer one does is refused, whichever level it is on."""
    with pytest.raises(ber.Malformed):
        ber.entry(op)


def test_an_attribute_that_comes_twice_has_all_values() -> None:
    """Nothing is lost when a server sends an attribute in two parts."""
    op = tlv(0x64, tlv(0x04, b"dn"), tlv(0x30, CN, tlv(0x30, tlv(0x04, b"cn"), tlv(0x31, tlv(0x04, b"B")))))

    assert ber.entry(op) == (b"dn", {b"cn": [b"A", b"B"]})


def test_controls_behind_an_entry_do_no_harm() -> None:
    """What follows the operation in its message is not taken for a part of the entry."""
    op = entry("dn", {"cn": [b"A"]}) + tlv(0xA0, tlv(0x30, tlv(0x04, b"1.2.3")))

    assert ber.entry(op) == (b"dn", {b"cn": [b"A"]})


def test_a_result_is_read_with_controls_and_referrals() -> None:
    """Code, words, referrals and controls of a SearchResultDone, and the cookie of its paging control."""
    referral = tlv(0xA3, tlv(0x04, b"ldap://a/"), tlv(0x04, b"ldap://b/"))
    found = ber.result(done(cookie=b"next", message="all is well"))
    referred = ber.result(result(ber.DONE, 10, referral))

    assert (found.code, found.message, found.referrals) == (0, "all is well", ())
    assert ber.cookie(found.controls["1.2.840.113556.1.4.319"]) == b"next"
    assert (referred.code, referred.referrals) == (10, ("ldap://a/", "ldap://b/"))


def test_a_reference_is_read() -> None:
    """The URIs of a SearchResultReference."""
    assert ber.reference(tlv(0x73, tlv(0x04, b"ldap://a/dc=x"), tlv(0x04, b"ldap://b/"))) == (
        "ldap://a/dc=x",
        "ldap://b/",
    )


def test_an_absurd_length_is_refused_at_once() -> None:
    """A stream that announces gigabytes is an error now, not when memory or the deadline ends."""
    with pytest.raises(ber.Malformed, match="announced"):
        ber.split(b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01")


def test_what_is_no_ldap_is_told_by_its_first_byte() -> None:
    """A TLS alert, or an HTTP server, is recognised before anything is waited for."""
    with pytest.raises(ber.Malformed, match="0x15"):
        ber.split(b"\x15\x03\x01")


@given(st.dictionaries(st.text("abcXYZ;-9", min_size=1, max_size=20), st.lists(st.binary(max_size=140), max_size=2)))
def test_the_short_way_agrees_with_the_long_one_or_says_nothing(attributes: dict[str, list[bytes]]) -> None:
    """An entry that is read as plain has exactly the names and values that the general reader finds."""
    op = entry("uid=ä,dc=example", attributes)

    plain = ber.plain_entry(op)

    short = all(len(v) == 1 and len(v[0]) < 100 and v[0].isascii() for v in attributes.values())
    assert (plain is not None) or not short
    if plain is not None:
        dn, found = ber.entry(op)
        assert plain == (dn, {name.decode(): values[0].decode() for name, values in found.items()})


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_the_short_way_never_fails_and_never_invents(noise: bytes, place: int, byte: int) -> None:
    """Damaged in one byte or cut: nothing, or what the general reader finds too."""
    whole = bytearray(entry("uid=a,dc=example", {"cn": [b"Ada"], "sn": [b"Lovelace"], "mail": [b"a@example.com"]}))
    whole[place % len(whole)] = byte
    for op in (bytes(whole), bytes(whole[: place % len(whole)]), b"\x64" + noise):
        plain = ber.plain_entry(op)
        if plain is not None:
            dn, found = ber.entry(op)
            assert plain == (dn, {name.decode(): values[0].decode() for name, values in found.items()})
