"""From an entry's bytes to a Record or a Reject, and attributes that come in pieces."""

import hashlib
from collections.abc import Mapping

import pytest

from syncd.core.sync.record import Record, Reject
from syncd.drill.messages import entry
from syncd.sources.ldap.entries import Decoder
from syncd.sources.ldap.errors import Fault

SEAL = b"s" * 16
DIGEST = b"d" * 16
UUID = b"3F2504E0-4F89-11D3-9A0C-0305E82C3301"


def nothing_to_fetch(dn: str, attribute: str) -> Mapping[str, list[bytes]]:
    raise AssertionError(f"{attribute} of {dn} was fetched")


def decode(
    attributes: dict[str, list[bytes]], key: str = "entryuuid", wanted: frozenset[str] = frozenset({"cn"})
) -> Record | Reject:
    return Decoder(key, wanted, SEAL, nothing_to_fetch).decode(DIGEST, entry("cn=Zoë,dc=x", attributes))


def test_names_lose_their_case_and_values_become_text() -> None:
    """Attribute names are lower case, values are text in the server's order, the key is not among them."""
    record = decode({"EntryUUID": [UUID], "CN": ["Zoë".encode(), b"Zoe"], "cn;lang-fr": [b"Z"]})

    assert record == Record(
        UUID.decode().lower(), "cn=Zoë,dc=x", DIGEST, {"cn": ["Zoë", "Zoe"], "cn;lang-fr": ["Z"]}
    )  # fmt: skip


def test_names_that_differ_in_case_only_are_one_attribute() -> None:
    """A server that sends `cn` and `CN` loses no value."""
    record = decode({"entryUUID": [UUID], "cn": [b"A"], "CN": [b"B"]})

    assert record.values == {"cn": ["A", "B"]}


def test_object_guid_looks_as_active_directory_shows_it() -> None:
    """The first three fields are little-endian; the rest is as the bytes come."""
    raw = bytes.fromhex("c6e1f7a3 4f2b 9c41 8d20 00aa00bbccdd".replace(" ", ""))

    assert decode({"objectGUID": [raw]}, key="objectguid").key == "a3f7e1c6-2b4f-419c-8d20-00aa00bbccdd"


def test_a_key_that_is_mapped_too_is_among_the_values() -> None:
    """The map may use the key attribute, and gets it in its usual form."""
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
    """No key, several keys or an unreadable key: a reject without a key, with the values for people to look at."""
    reject = decode(attributes, key=key)

    assert isinstance(reject, Reject)
    assert reject.key is None
    assert reason in reject.reason
    assert reject.values["cn"] == ["A"]


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_a_value_that_is_not_utf8_rejects_its_entry(value: bytes) -> None:
    """Latin-1, UTF-16, surrogates and overlong forms: the reject names attribute, byte and place, and keeps the key."""
    reject = decode({"entryUUID": [UUID], "cn": [b"fine", value]})

    assert isinstance(reject, Reject)
    assert reject.key == UUID.decode().lower()
    assert reject.reason.startswith("cn is not UTF-8: byte 0x")
    assert reject.values["cn"][0] == "fine"


def canned(pieces: dict[str, dict[str, list[bytes]]]) -> Decoder:
    """A decoder that is told what the server answers to each attribute description."""
    return Decoder("uid", frozenset({"member"}), SEAL, lambda dn, attribute: pieces[attribute])


def first_piece(last: str = "1") -> bytes:
    return entry("cn=g", {"uid": [b"g"], "member": [], f"member;range=0-{last}": [b"a", b"b"]})


def test_an_attribute_in_pieces_is_fetched_to_its_end() -> None:
    """As Active Directory sends it: an empty attribute, the first piece beside it, the last one ends in `*`."""
    decoder = canned(
        {
            "member;range=2-*": {"member;range=2-3": [b"c", b"d"]},
            "member;range=4-*": {"member": [], "member;range=4-*": [b"e"]},
        }
    )

    record = decoder.decode(DIGEST, first_piece())

    assert isinstance(record, Record)
    assert record.values == {"member": ["a", "b", "c", "d", "e"]}


def test_the_digest_of_an_attribute_in_pieces_covers_all_pieces() -> None:
    """A change in a later piece changes the digest, and the first piece alone is never recognised."""
    op = first_piece()
    digests = {
        canned({"member;range=2-*": {"member;range=2-*": [last]}}).decode(DIGEST, op).digest for last in (b"c", b"d")
    }  # type: ignore[union-attr]  # these are records

    assert len(digests) == 2
    assert hashlib.blake2b(op, digest_size=16, person=SEAL).digest() not in digests


@pytest.mark.parametrize(
    "answer",
    [{}, {"member": [b"c"]}, {"member;range=1-*": [b"c"]}, {"member;range=2-3": []}, {"member;range=2-9": [b"c"]}],
    ids=["nothing", "without-range", "overlap", "empty", "shorter-than-it-says"],
)
def test_a_gap_between_pieces_ends_the_read(answer: dict[str, list[bytes]]) -> None:
    """When the pieces do not join, the read is short of something; it never goes on with part of the values."""
    decoder = canned({"member;range=2-*": answer, "member;range=10-*": {}})

    with pytest.raises(Fault) as fault:
        decoder.decode(DIGEST, first_piece())

    assert fault.value.code == "range"
    assert "member" in fault.value.what
