"""Encoding and parsing of vCards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import PhoneNumber
from syncd.core.files import vcard, vcard_contacts
from syncd.core.files.contact_import import ImportEntry
from syncd.errors import InvalidParameter

ID = "0123456789abcdef0123456789abcdef"
UID = "urn:uuid:01234567-89ab-cdef-0123-456789abcdef"
JIM = {
    "id": ID, "name": "Jim, the Halpert", "type": "User", "phoneNumber": "+1 570 555-0101",
    "phoneNumbers": [
        {"phoneNumber": "+1 570 555-0101", "description": "mobile"}, {"phoneNumber": "0160;99", "description": "Büro"},
        {"phoneNumber": "112"},
    ],
    "userName": "jhalpert", "firstName": "Jim", "lastName": "Halpert", "employeeId": "7",
    "emailAddress": "jim@dm.example", "roles": ["ROLE_AGENT", "ROLE_SALES"], "businessUnits": ["AG_DEV"],
    "uri": "https://x/api/v2/contacts/" + ID, "path": "/contacts/" + ID,
}  # fmt: skip
QUEUE = {"id": ID, "name": "Ä" * 50, "type": "Queue", "channel": "voice"}
GOLDEN = f"""\
BEGIN:VCARD
VERSION:4.0
UID:{UID}
KIND:individual
FN:Jim\\, the Halpert
N:Halpert;Jim;;;
TEL;PREF=1;TYPE=cell:+1 570 555-0101
item2.TEL:0160\\;99
item2.X-ABLabel:Büro
TEL:112
EMAIL:jim@dm.example
X-USER-NAME:jhalpert
X-EMPLOYEE-ID:7
ORG:AG_DEV
ROLE:ROLE_AGENT
ROLE:ROLE_SALES
CATEGORIES:User
END:VCARD
BEGIN:VCARD
VERSION:4.0
UID:{UID}
KIND:group
FN:{"Ä" * 36}
 {"Ä" * 14}
X-CHANNEL:voice
CATEGORIES:Queue
END:VCARD
"""
IPHONE = """\
BEGIN:VCARD\r
VERSION:3.0\r
PRODID:-//Apple Inc.//iPhone OS 17.0//EN\r
N:Hooft;Jan;van 't;;\r
FN:Jan van 't \r
 Hooft\r
ORG:Ärzte;Notdienst\\, Nord\r
item1.TEL;type=pref:+31 20 555 0101\r
item1.X-ABLabel:_$!<Praxis>!$_\r
TEL;type=HOME;type=VOICE:020 1\r
TEL;TYPE="work,voice";VALUE=uri;PREF=2:tel:+31-20-555%200102;ext=5\r
NOTE:eine\\nZeile\r
PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQ\r
  SkZJRg==\r
REV:2024-01-01T00:00:00Z\r
UID:another-form-of-uid\r
END:VCARD\r
"""


def read(text: str) -> list[ImportEntry]:
    return list(vcard_contacts.parse_entries(text.encode()))


def test_encoded_card() -> None:
    """Version 4.0, CRLF, folded at 75 octets between characters."""
    assert vcard_contacts.encode_contact(JIM) + vcard_contacts.encode_contact(QUEUE) == GOLDEN.replace("\n", "\r\n")


def test_only_given_members_are_written() -> None:
    assert vcard_contacts.encode_contact({"name": "A", "phoneNumber": "1"}) == "\r\n".join(
        ["BEGIN:VCARD", "VERSION:4.0", "FN:A", "TEL:1", "END:VCARD", ""]
    )


def test_a_card_of_a_phone_is_parsed() -> None:
    """Name and labelled numbers, the preferred first; other properties are ignored."""
    numbers = (
        PhoneNumber("+31 20 555 0101", "Praxis"),
        PhoneNumber("+31-20-555 0102;ext=5", "work"),
        PhoneNumber("020 1", "home"),
    )
    members = {"name": "Jan van 't Hooft", "phoneNumber": "+31 20 555 0101", "phoneNumbers": numbers}

    assert read("\r\n" + IPHONE + "\r\n" + IPHONE.replace("\r\n", "\n")) == [
        ImportEntry(line, members, ignores_unknown_id=True) for line in (2, 20)
    ]


def test_a_missing_fn_is_replaced_by_n() -> None:
    (entry,) = read("BEGIN:VCARD\nVERSION:3.0\nN:O\\;Brien;Pat;;Dr.;\nTEL:1\nEND:VCARD")

    assert entry.members["name"] == "Pat O;Brien"


texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=60)
values = texts.map(str.strip).filter(bool) | st.text(st.sampled_from("\\,;:\"n='N a"), min_size=1).map(
    str.strip
).filter(bool)
descriptions = values | st.sampled_from(["", "mobile", "work", "home", "fax", "pager", "cell", "pref"])


@given(st.lists(st.tuples(values, st.lists(st.tuples(values, descriptions), min_size=1, max_size=4)), min_size=1))
def test_round_trip(people: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """Names, numbers and descriptions are read back exactly; no line is too long."""
    text = "".join(
        vcard_contacts.encode_contact({
            "id": ID, "name": name, "type": "Custom", "phoneNumber": numbers[0][0],
            "phoneNumbers": [{"phoneNumber": n, **({"description": d} if d else {})} for n, d in numbers],
        })
        for name, numbers in people
    )  # fmt: skip

    assert all(len(line) <= vcard.MAX_LINE_OCTETS for line in text.encode().split(b"\r\n"))
    assert [(entry.members, entry.error) for entry in read(text)] == [
        (
            {
                "id": ID, "name": name, "phoneNumber": numbers[0][0],
                "phoneNumbers": tuple(PhoneNumber(*number) for number in numbers),
            },
            "",
        )
        for name, numbers in people
    ]  # fmt: skip


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_fold_round_trip(text: str) -> None:
    """Each piece is valid UTF-8: no character is split."""
    pieces = vcard.fold_line("NOTE:" + text).encode().removesuffix(b"\r\n").split(b"\r\n ")

    assert "".join(piece.decode() for piece in pieces) == "NOTE:" + text
    assert max(map(len, pieces)) <= vcard.MAX_LINE_OCTETS


def test_a_line_folded_within_a_character_is_parsed() -> None:
    """Some programs fold at octets."""
    broken = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Zoë\r\nTEL:1\r\nEND:VCARD\r\n".encode().replace(
        b"\xc3\xab", b"\xc3\r\n \xab"
    )

    assert [entry.members["name"] for entry in vcard_contacts.parse_entries(broken)] == ["Zoë"]


@given(st.binary() | st.text().map(str.encode))
def test_any_input_is_parsed_or_rejected(raw: bytes) -> None:
    """No input raises another error than InvalidParameter."""
    for start in (b"", b"BEGIN:VCARD\nVERSION:4.0\n", b"BEGIN:VCARD\nVERSION:4.0\nTEL;"):
        try:
            list(vcard_contacts.parse_entries(start + raw))
        except InvalidParameter as error:
            assert "not in UTF-8" in str(error)  # noqa: PT017 - most inputs raise nothing


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("VERSION:2.1\nFN:A", "its version is '2.1'; vCard 3.0 and 4.0 can be read"),
        ("FN:A", "it has no VERSION; vCard 3.0 and 4.0 can be read"),
        ("VERSION:2.1\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Zo=C3=\n=AB", "line 4 is in quoted-printable"),
        ("VERSION:2.1\nFN;QUOTED-PRINTABLE:Zo=C3=AB", "line 4 is in quoted-printable"),
        ("VERSION:4.0\nFN:A\nwhat is this\n", "line 5 is no property: NAME:VALUE is expected"),
    ],
)
def test_a_malformed_card_is_an_entry_with_an_error(lines: str, reason: str) -> None:
    """The next card is parsed."""
    bad, good = read(f"\nBEGIN:VCARD\n{lines}\nEND:VCARD\nBEGIN:VCARD\nVERSION:4.0\nFN:B\nTEL:1\nEND:VCARD")

    assert bad.line == 2
    assert bad.error.startswith(reason)
    assert good.members["name"] == "B"


def test_unterminated_cards_are_entries_with_an_error() -> None:
    """The message has their first line and the line that shows it."""
    entries = read("text\nmore\nBEGIN:VCARD\nFN:A\nbegin : vcard\nVERSION:4.0\nFN:B\nEND:VCARD\nBEGIN:VCARD\nFN:C")

    assert [(entry.line, entry.error) for entry in entries] == [
        (1, "this stands outside of a card; a card begins with BEGIN:VCARD"),
        (3, "it has no END:VCARD before the next card begins in line 5"),
        (5, ""),
        (9, "it has no END:VCARD; the file ends with line 10"),
    ]


def test_other_encodings_are_an_error() -> None:
    with pytest.raises(InvalidParameter, match="line 3: the file is not in UTF-8"):
        list(vcard_contacts.parse_entries("BEGIN:VCARD\nVERSION:4.0\nFN:Zoë\nEND:VCARD\n".encode("latin-1")))
