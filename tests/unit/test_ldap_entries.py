"""Decoding of entries into records and rejects, and ranged attributes."""

import hashlib
from collections.abc import Mapping

import pytest

from syncd.core.sync.record import Record, Reject
from syncd.drill.messages import search_entry
from syncd.sources.ldap.entries import Decoder
from syncd.sources.ldap.errors import LdapFault

FINGERPRINT = b"s" * 16
DIGEST = b"d" * 16
UUID = b"3F2504E0-4F89-11D3-9A0C-0305E82C3301"


def fail_on_fetch(dn: str, attribute: str) -> Mapping[str, list[bytes]]:
    raise AssertionError(f"{attribute} of {dn} was fetched")


def decode(
    attributes: dict[str, list[bytes]], key: str = "entryuuid", wanted: frozenset[str] = frozenset({"cn"})
) -> Record | Reject:
    return Decoder(key, wanted, FINGERPRINT, fail_on_fetch).decode(DIGEST, search_entry("cn=Zoë,dc=x", attributes))


def test_names_are_lower_case_and_values_are_text() -> None:
    """Attribute names are lower case, values are text in the server's order, the key is not among them."""
    record = decode({"EntryUUID": [UUID], "CN": ["Zoë".encode(), b"Zoe"], "cn;lang-fr": [b"Z"]})

    assert record == Record(
        UUID.decode().lower(), "cn=Zoë,dc=x", DIGEST, {"cn": ["Zoë", "Zoe"], "cn;lang-fr": ["Z"]}
    )  # fmt: skip


def test_names_that_differ_in_case_only_are_one_attribute() -> None:
    """A server that sends `cn` and `CN` loses no value."""
    record = decode({"entryUUID": [UUID], "cn": [b"A"], "CN": [b"B"]})

    assert record.values == {"cn": ["A", "B"]}


def test_object_guid_has_the_form_of_active_directory() -> None:
    """The first three fields are little-endian."""
    raw = bytes.fromhex("c6e1f7a3 4f2b 9c41 8d20 00aa00bbccdd".replace(" ", ""))

    assert decode({"objectGUID": [raw]}, key="objectguid").key == "a3f7e1c6-2b4f-419c-8d20-00aa00bbccdd"


def test_a_mapped_key_is_among_the_values() -> None:
    """The value has the usual form of the key."""
    record = decode({"entryUUID": [UUID], "cn": [b"A"]}, wanted=frozenset({"cn", "entryuuid"}))

    assert record.values == {"cn": ["A"], "entryuuid": [UUID.decode().lower()]}


@pytest.mark.parametrize(
    ("key", "attributes", "reason"),
    [
        ("entryuuid", {"cn": [b"A"]}, "entryuuid has no value"),
        ("uid", {"cn": [b"A"], "uid": [b"a", b"b"]}, "uid has 2 values"),
        ("uid", {"cn": [b"A"], "uid": [b" "]}, "uid is empty"),
        ("uid", {"cn": [b"A"], "uid": [b"a\xff"]}, "uid is not UTF-8: byte 0xff at position 1"),
        ("objectguid", {"cn": [b"A"], "objectGUID": [b"short"]}, "has 5 bytes instead of 16"),
    ],
)
def test_an_entry_without_one_key_is_rejected(key: str, attributes: dict[str, list[bytes]], reason: str) -> None:
    """No key, several keys or an invalid key: a reject without a key, with the other values."""
    reject = decode(attributes, key=key)

    assert isinstance(reject, Reject)
    assert reject.key is None
    assert reason in reject.reason
    assert reject.values["cn"] == ["A"]


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_a_value_that_is_not_utf8_rejects_its_entry(value: bytes) -> None:
    """Latin-1, UTF-16, surrogates and overlong forms: the reject has attribute, byte, position and key."""
    reject = decode({"entryUUID": [UUID], "cn": [b"fine", value]})

    assert isinstance(reject, Reject)
    assert reject.key == UUID.decode().lower()
    assert reject.reason.startswith("cn is not UTF-8: byte 0x")
    assert reject.values["cn"][0] == "fine"


def decoder_with_ranges(responses: dict[str, dict[str, list[bytes]]]) -> Decoder:
    """A decoder with the response to each attribute description."""
    return Decoder("uid", frozenset({"member"}), FINGERPRINT, lambda dn, attribute: responses[attribute])


def first_range(last: str = "1") -> bytes:
    return search_entry("cn=g", {"uid": [b"g"], "member": [], f"member;range=0-{last}": [b"a", b"b"]})


def test_a_ranged_attribute_is_fetched_completely() -> None:
    """As sent by Active Directory: an empty attribute beside the first range; the last range ends in `*`."""
    decoder = decoder_with_ranges(
        {
            "member;range=2-*": {"member;range=2-3": [b"c", b"d"]},
            "member;range=4-*": {"member": [], "member;range=4-*": [b"e"]},
        }
    )

    record = decoder.decode(DIGEST, first_range())

    assert isinstance(record, Record)
    assert record.values == {"member": ["a", "b", "c", "d", "e"]}


def test_the_digest_covers_all_ranges() -> None:
    """A change in a later range changes the digest, which is never that of the first range alone."""
    op = first_range()
    digests = set()
    for last in (b"c", b"d"):
        decoder = decoder_with_ranges({"member;range=2-*": {"member;range=2-*": [last]}})
        record = decoder.decode(DIGEST, op)
        assert isinstance(record, Record)
        digests.add(record.digest)

    assert len(digests) == 2
    assert hashlib.blake2b(op, digest_size=16, person=FINGERPRINT).digest() not in digests


@pytest.mark.parametrize(
    "answer",
    [{}, {"member": [b"c"]}, {"member;range=1-*": [b"c"]}, {"member;range=2-3": []}, {"member;range=2-9": [b"c"]}],
    ids=["nothing", "without-range", "overlap", "empty", "shorter-than-it-says"],
)
def test_a_gap_between_ranges_ends_the_read(answer: dict[str, list[bytes]]) -> None:
    """Ranges with a gap are a fault; a part of the values is never used."""
    decoder = decoder_with_ranges({"member;range=2-*": answer, "member;range=10-*": {}})

    with pytest.raises(LdapFault) as fault:
        decoder.decode(DIGEST, first_range())

    assert fault.value.code == "range"
    assert "member" in fault.value.reason
