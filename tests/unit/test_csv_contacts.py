"""Encoding and parsing of CSV."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import MEMBERS, PhoneNumber, find_flaw
from syncd.core.files import csv_contacts
from syncd.core.files.contact_import import MAX_ENTRIES, ImportEntry, check_limits
from syncd.errors import InvalidParameter, TooLarge

ID = "0123456789abcdef0123456789abcdef"
JIM = {
    "id": ID, "name": "Jim Halpert", "type": "User", "phoneNumber": "+1 570 555-0101",
    "phoneNumbers": [{"phoneNumber": "+1 570 555-0101", "description": "office"}, {"phoneNumber": "0160, 99"}],
    "userName": "jhalpert", "firstName": "Jim", "lastName": "Halpert", "employeeId": "7",
    "emailAddress": "jim@dm.example", "roles": ["ROLE_AGENT", "a,b\\c"], "businessUnits": [],
    "uri": "https://x/api/v2/contacts/" + ID, "path": "/contacts/" + ID,
}  # fmt: skip
EVIL = {"id": ID, "name": '=HYPERLINK("http://evil.example";"x")', "type": "Custom", "phoneNumber": "-1\"2'"}
PLAIN = {
    "id": ID,
    "name": "'t Hooft; Zoë",
    "type": "Custom",
    "phoneNumber": "112",
    "phoneNumbers": [{"phoneNumber": "112"}],
}
GOLDEN = (
    "\ufeffid,name,type,phoneNumber,phoneNumbers,userName,firstName,lastName,employeeId,emailAddress,roles,"
    "businessUnits,channel\r\n"
    f'{ID},Jim Halpert,User,\'+1 570 555-0101,"office: +1 570 555-0101, 0160\\, 99",jhalpert,Jim,Halpert,7,'
    'jim@dm.example,"ROLE_AGENT, a\\,b\\\\c",,\r\n'
    f'{ID},"\'=HYPERLINK(""http://evil.example"";""x"")",Custom,"\'-1""2\'",,,,,,,,,\r\n'
    f"{ID},'t Hooft; Zoë,Custom,112,,,,,,,,,\r\n"
)


def written(*contacts: object, fields: frozenset[str] | None = None) -> str:
    chosen = csv_contacts.select_columns(fields)
    return csv_contacts.encode_header(chosen) + csv_contacts.encode_rows(contacts, chosen)  # type: ignore[arg-type]


def read(text: str) -> list[ImportEntry]:
    return list(csv_contacts.parse_entries(text.encode()))


def test_encoded_file() -> None:
    """Byte order mark, CRLF, JSON names, apostrophes before formulas."""
    assert written(JIM, EVIL, PLAIN) == GOLDEN
    assert [len(row) for row in csv.reader(io.StringIO(GOLDEN, newline=""))] == [len(csv_contacts.COLUMNS)] * 4


def test_fields_choose_the_columns() -> None:
    """In the order of the members; addresses only on request; `phoneNumbers` is complete without `phoneNumber`."""
    assert (
        written(PLAIN, fields=frozenset({"phoneNumbers", "name"})) == "\ufeffname,phoneNumbers\r\n't Hooft; Zoë,112\r\n"
    )
    assert written(JIM, fields=frozenset({"path"})) == f"\ufeffpath\r\n/contacts/{ID}\r\n"


texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)
values = texts.map(str.strip).filter(lambda text: bool(text) and find_flaw("name", text) is None)
signs = st.text(st.sampled_from("'=+-@,:;\\\" a＝0123e./"), min_size=1).map(str.strip).filter(bool)
any_value = values | signs


@given(st.text())
def test_escape_round_trip(text: str) -> None:
    """The escaped form of any value is no formula and is read back as the value."""
    assert csv_contacts.unescape_formula(csv_contacts.escape_formula(text)) == text
    assert not csv_contacts.escape_formula(text).startswith(tuple("=+-@\t\r"))


@given(signs)
def test_escape_round_trip_of_leading_signs(text: str) -> None:
    """Apostrophes of the value included."""
    assert csv_contacts.unescape_formula(csv_contacts.escape_formula(text)) == text
    assert not csv_contacts.escape_formula(text).startswith(tuple("=+-@"))


@pytest.mark.parametrize(
    "text", ["0151123456", "00", "491511234567", "1-2", "3/4", "570.555.0102", "1e5", "12:30", "1,5"]
)
def test_numbers_that_spreadsheets_change_are_escaped(text: str) -> None:
    """Spreadsheets drop zeros and digits, and make dates."""
    assert csv_contacts.escape_formula(text) == f"'{text}"
    assert csv_contacts.unescape_formula(f"'{text}") == text


@pytest.mark.parametrize("text", ["112", "0", "0160 / 99", "xxx-xxx-xxxx", "49151123456", "A-1", "", "'", "1st"])
def test_other_values_are_not_escaped(text: str) -> None:
    """Nor unescaped."""
    assert csv_contacts.escape_formula(text) == csv_contacts.unescape_formula(text) == text


@pytest.mark.parametrize("separator", [";", "\t", "\n"])
@given(st.text(";\t\n ,'\"=+-@x1＝\u200b\ufeff", max_size=20))
def test_no_part_of_a_cell_is_a_formula(separator: str, text: str) -> None:
    """Whatever separator a spreadsheet uses, no part begins with a sign behind blanks; an import restores the text."""
    escaped = csv_contacts.escape_formula(text)

    for part in escaped.split(separator):
        assert not re.match(r"[\s\u200b\ufeff\"]*[=+\-@＝]", part), (text, escaped)
    assert csv_contacts.unescape_formula(escaped) == text


def test_a_formula_behind_a_semicolon_is_escaped() -> None:
    """A spreadsheet with `;` as separator evaluates the second part."""
    assert csv_contacts.escape_formula("x;=1+1") == "x;'=1+1"


@given(st.lists(st.tuples(any_value, st.lists(st.tuples(any_value, any_value | st.just("")), min_size=1)), min_size=1))
def test_round_trip(people: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """Names, numbers and descriptions with any signs are read back exactly."""
    contacts = [
        {
            "id": ID, "name": name, "type": "Custom", "phoneNumber": numbers[0][0],
            "phoneNumbers": [{"phoneNumber": n, **({"description": d} if d else {})} for n, d in numbers],
        }
        for name, numbers in people
    ]  # fmt: skip

    entries = read(written(*contacts))

    assert [(entry.line, entry.error) for entry in entries] == [(line, "") for line in range(2, len(people) + 2)]
    for entry, (name, numbers) in zip(entries, people, strict=True):
        assert entry.members == {
            "id": ID, "name": name, "type": "Custom", "phoneNumber": numbers[0][0],
            "phoneNumbers": tuple(PhoneNumber(*number) for number in numbers),
        }  # fmt: skip


@given(st.binary() | st.text().map(str.encode))
def test_any_input_is_parsed_or_rejected(raw: bytes) -> None:
    """No input raises another error than InvalidParameter."""
    try:
        list(csv_contacts.parse_entries(raw))
        list(csv_contacts.parse_entries(b"name,phoneNumber,phoneNumbers\r\n" + raw))
    except InvalidParameter as error:
        assert "line" in str(error)  # noqa: PT017 - most inputs raise nothing


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\r\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_dialects(delimiter: str, start: str, end: str) -> None:
    """Delimiter, byte order mark, empty lines and line breaks may vary; lines are counted as in an editor."""
    rows = [("name", "phoneNumber"), ('"Ann\n\nLee"', "1"), ("", ""), ("Bob", '"2,;\t"')]
    text = start + end.join(delimiter.join(row) for row in rows)
    first = 3 if start.endswith("\n") else 1

    assert read(text) == [
        ImportEntry(first + 1, {"name": "Ann\n\nLee", "phoneNumber": "1"}),
        ImportEntry(first + 5, {"name": "Bob", "phoneNumber": "2,;\t".strip()}),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,phone\nA,1", "line 1: a contact has no member 'phone'; did you mean 'phoneNumber'"),
        ("\n\nname,Name\nA,1", "line 3: a contact has no member 'Name'; did you mean 'name'"),
        ("name,name\nA,1", "line 1: the column 'name' is there twice"),
        ('name,"phoneNumber\nA,1', "line 1: the quotation mark that opens a value here is never closed"),
        ("Jim,112\nA,1", "line 1: a contact has no member 'Jim'.*The first row names the columns"),
    ],
)
def test_an_invalid_header_is_an_error(text: str, sentence: str) -> None:
    with pytest.raises(InvalidParameter, match=sentence):
        read(text)


def test_other_encodings_are_an_error() -> None:
    """The message has the first line with an invalid byte."""
    with pytest.raises(InvalidParameter, match="line 2: the file is not in UTF-8"):
        list(csv_contacts.parse_entries("name,phoneNumber\nZoë,1\n".encode("latin-1")))


def test_malformed_rows_are_entries_with_an_error() -> None:
    """The other rows are parsed."""
    entries = read('name,phoneNumber,phoneNumbers\nA,1,\n"B"x,1,\nC,1,,4\nD,1,2\nE,1\nF,"1,\nG')

    assert [(entry.line, entry.members.get("name"), entry.error) for entry in entries] == [
        (2, "A", ""),
        (3, None, "a value goes on after its closing quotation mark; a quotation mark in a value is written twice"),
        (4, None, "there are 4 values, but the header names 3 columns"),
        (5, "D", "phoneNumber is '1', but phoneNumbers begins with '2'; leave one of the cells empty"),
        (6, "E", ""),
        (7, None, "the quotation mark that opens a value here is never closed"),
    ]


def test_an_empty_cell_of_numbers_means_a_single_number() -> None:
    """An absent column means no change."""
    with_column, without = read("id,phoneNumber,phoneNumbers\nx,1,"), read("id,phoneNumber\nx,1")

    assert with_column == [ImportEntry(2, {"id": "x", "phoneNumber": "1", "phoneNumbers": (PhoneNumber("1"),)})]
    assert without == [ImportEntry(2, {"id": "x", "phoneNumber": "1"})]


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("1,2", [PhoneNumber("1"), PhoneNumber("2")]),
        (" mobile: 0160 / 99 , 2,", [PhoneNumber("0160 / 99", "mobile"), PhoneNumber("2")]),
        ("sip:bob@x", [PhoneNumber("sip:bob@x")]),
        (r"1\,2, a\: b: 3", [PhoneNumber("1,2"), PhoneNumber("3", "a: b")]),
        ("back\\slash", [PhoneNumber("back\\slash")]),
        ("desk: ", [PhoneNumber("", "desk")]),
    ],
)
def test_several_numbers_in_one_cell(cell: str, numbers: list[PhoneNumber]) -> None:
    (entry,) = read(f'name,phoneNumbers\nA,"{cell}"')

    assert entry.members["phoneNumbers"] == tuple(numbers)


def test_addresses_are_ignored_and_other_members_kept() -> None:
    """Members that cannot be written are rejected later, per row."""
    (entry,) = read(",".join(MEMBERS) + "\n" + ",".join("id" if m == "id" else "x" for m in MEMBERS))

    assert set(entry.members) == set(MEMBERS) - {"uri", "path"}


def test_limits_of_a_file() -> None:
    """At least one entry and at most MAX_ENTRIES."""
    with pytest.raises(InvalidParameter, match="holds no contact"):
        list(check_limits(csv_contacts.parse_entries(b"name,phoneNumber\n")))
    with pytest.raises(TooLarge, match=f"line {MAX_ENTRIES + 2}: more than {MAX_ENTRIES} contacts"):
        list(check_limits(csv_contacts.parse_entries(b"name,phoneNumber\n" + b"A,1\n" * (MAX_ENTRIES + 5))))
