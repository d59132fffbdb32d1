"""Contacts: consistency of member tables, the search index, and invalid values."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import (
    LIST_MEMBERS,
    MAX_LENGTH,
    MEMBERS,
    MEMBERS_OF,
    TEXT_MEMBERS,
    TYPES,
    Contact,
    ContactType,
    PhoneNumber,
    build_index,
    find_flaw,
)
from syncd.core.contacts.text import clean, fold, normalize_dialled

values = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20).map(
    lambda text: clean(text) or "-"
)
contacts = st.builds(
    Contact,
    name=values,
    numbers=st.lists(st.builds(PhoneNumber, values, values), max_size=3).map(tuple),
    user_name=st.none() | values,
    first_name=st.none() | values,
    last_name=st.none() | values,
    employee_id=st.none() | values,
    email_address=st.none() | values,
    channel=st.none() | values,
)

ANNA = Contact(
    name="Anna Müller",
    numbers=(PhoneNumber("+49 89 5550-1030"), PhoneNumber("Ext. 30", "pager")),
    user_name="AMueller",
    first_name="Anna",
    last_name="Müller",
    employee_id="E17",
    email_address="anna@example.com",
)


def test_member_tables_are_consistent() -> None:
    """Each text and list member is a JSON member and a field of Contact; no type has other members."""
    assert {*TEXT_MEMBERS, *LIST_MEMBERS} < set(MEMBERS)
    assert {*TEXT_MEMBERS.values(), *LIST_MEMBERS.values(), "numbers"} == set(Contact._fields)
    assert set(MEMBERS_OF) == set(TYPES)
    assert frozenset().union(*MEMBERS_OF.values()) == {*TEXT_MEMBERS, *LIST_MEMBERS, "phoneNumber"}


def test_index_of_a_user() -> None:
    """Names and numbers for wildcards; names, then user name and e-mail, then their words and digits for `q`."""
    index = build_index("User", ANNA)

    assert index.search == (
        "\nanna\nmuller\namueller\n+49 89 5550-1030\next. 30\n"
        "\fanna\fmuller\f"
        "\vamueller\vanna@example.com\v"
        "\famueller\fexample\fcom\f498955501030\f08955501030\fext30\f"
    )
    assert index.dialled == ("498955501030", "+498955501030", "ext30")
    assert index.tails == ("5501030", "ext30")
    assert (index.name_folded, index.first_name_folded, index.last_name_folded) == ("anna muller", "anna", "muller")


@pytest.mark.parametrize("type_", ["Queue", "Custom"])
def test_index_of_a_queue_or_custom_contact(type_: ContactType) -> None:
    """These types have one name."""
    index = build_index(type_, Contact("Verkauf Süd", (PhoneNumber("555-3000"),), channel="voice"))

    assert index.search == "\nverkauf sud\n555-3000\n\fverkauf\fsud\f\v\f5553000\f"
    assert index.dialled == ("5553000", "-5553000")
    assert index.tails == ("5553000",)
    assert index.first_name_folded is None
    assert index.last_name_folded is None


def test_index_of_a_user_without_names() -> None:
    """Absent names leave no empty line that a wildcard could match."""
    index = build_index("User", Contact("Reception"))

    assert index.search == "\n\n\freception\f\v\f"
    assert index.dialled == ()
    assert index.tails == ()
    assert index.name_folded == "reception"


@given(st.sampled_from(TYPES), contacts)
def test_search_lines_are_the_folded_values(type_: ContactType, contact: Contact) -> None:
    """No value spans two lines: splitting the text returns the folded values."""
    index = build_index(type_, contact)

    names = (contact.first_name, contact.last_name, contact.user_name) if type_ == "User" else (contact.name,)
    filter_values = [fold(name) for name in names if name and (fold(name) or type_ != "User")]
    filter_values += [fold(number.phone_number) for number in contact.numbers]
    lines, named, whole, other = _parts(index.search)
    assert lines == (filter_values or [""])
    assert named + other == list(dict.fromkeys(named + other))
    assert not any(map(str.isspace, named + other))
    assert whole == [fold(value) for value in (contact.user_name, contact.email_address) if value and fold(value)]
    assert {normalize_dialled(number.phone_number) for number in contact.numbers} <= {*index.dialled}


def _parts(search: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the four parts of the search text as lists."""
    match = re.fullmatch("\n([^\f\v]*)\n\f([^\n\v]*)\v([^\f]*)\f([^\n\v]*)", search)
    assert match is not None
    lines, *rest = match.groups()
    named, whole, other = ([word for word in re.split("[\f\v]", part) if word] for part in rest)
    return lines.split("\n"), named, whole, other


@given(st.sampled_from(TYPES), contacts)
def test_an_index_ignores_accents(type_: ContactType, contact: Contact) -> None:
    """Two spellings of one name sort and match alike."""
    accented = contact._replace(name="".join(char + "\u0308" for char in contact.name))

    assert build_index(type_, accented) == build_index(type_, contact)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a" * MAX_LENGTH, None),
        ("a" * (MAX_LENGTH + 1), "lastName has 257 characters, at most 256 are allowed"),
        ("\U0001f600" * MAX_LENGTH, None),
        ("Anna\nMaria", "lastName holds a control character"),
        ("Anna\0", "lastName holds a control character"),
        ("\udc80", "lastName holds a control character"),
        ("Zoë O'Neill-Åse 李", None),
        ("", None),
    ],
)
def test_find_flaw(value: str, expected: str | None) -> None:
    """Values that are too long or have control characters give a sentence; lengths are in characters."""
    assert find_flaw("lastName", value) == expected
