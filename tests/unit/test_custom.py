"""Validation of Custom contacts."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import MEMBERS, Contact, PhoneNumber
from syncd.core.contacts.custom import apply_update, parse_new_contact
from syncd.core.contacts.models import StoredContact
from syncd.errors import InvalidParameter, MissingParameter, ReadOnly, RequestError

NEW = {"name": "Jim Halpert", "phoneNumber": "xxx-xxx-xxxx"}
NUMBERS = [{"phoneNumber": "1", "description": "office"}, {"phoneNumber": "2"}]
STORED = StoredContact("0" * 32, "Custom", "Jim", NUMBERS, None, None, None, None, None, [], [], None)
SHOWN = {"id": "0" * 32, "name": "Jim", "type": "Custom", "phoneNumber": "1", "phoneNumbers": NUMBERS, "path": "/p"}


def test_a_new_contact_has_name_and_number_as_sent() -> None:
    """Surrounding white space is stripped; inner white space and normalization form are kept."""
    given = {"name": " Jim  Halpert\n", "phoneNumber": "\txxx-xxx-xxxx ", "type": "Custom"}

    assert parse_new_contact(given) == Contact("Jim  Halpert", (PhoneNumber("xxx-xxx-xxxx"),))
    assert parse_new_contact({**NEW, "name": "Zoe\u0308"}).name == "Zoe\u0308"


@pytest.mark.parametrize("missing", ["name", "phoneNumber"])
def test_required_members(missing: str) -> None:
    """A POST without one of them names it."""
    members = {name: value for name, value in NEW.items() if name != missing}

    with pytest.raises(MissingParameter, match=f"^{missing} is missing"):
        parse_new_contact(members)


VALUES = [
    ("", MissingParameter),
    (" \u2003", MissingParameter),
    (None, InvalidParameter),
    (5, InvalidParameter),
    (["a"], InvalidParameter),
    ("a" * 257, InvalidParameter),
    ("a\0b", InvalidParameter),
    ("a\nb", InvalidParameter),
    ("\ud800", InvalidParameter),
    ("a\u2028b", InvalidParameter),
]


@pytest.mark.parametrize("member", ["name", "phoneNumber"])
@pytest.mark.parametrize(("value", "error"), VALUES)
def test_invalid_values(member: str, value: object, error: type[RequestError]) -> None:
    """Empty, too long, with control characters, or no string: rejected by POST and PUT, naming the member."""
    with pytest.raises(error, match=f"^{member}"):
        parse_new_contact({**NEW, member: value})
    with pytest.raises(error, match=f"^{member}"):
        apply_update(STORED, {member: value}, SHOWN)


def test_the_maximum_length() -> None:
    """256 characters, without surrounding white space."""
    assert parse_new_contact({**NEW, "name": "  " + "ß" * 256}).name == "ß" * 256


@pytest.mark.parametrize(
    ("type_", "error"),
    [("User", ReadOnly), ("Queue", ReadOnly), ("custom", InvalidParameter), (None, InvalidParameter),
     ([], InvalidParameter)],
)  # fmt: skip
def test_only_custom_contacts_are_created(type_: object, error: type[RequestError]) -> None:
    """User and Queue belong to the synchronization; anything else is no type."""
    with pytest.raises(error):
        parse_new_contact({**NEW, "type": type_})


@pytest.mark.parametrize("member", [m for m in MEMBERS if m not in {"name", "phoneNumber", "type"}])
def test_other_members_are_read_only(member: str) -> None:
    """A POST that sets them, or a PUT that changes them, is rejected as a whole."""
    with pytest.raises(ReadOnly, match=f"^{member} is read-only"):
        parse_new_contact({**NEW, member: "x"})
    with pytest.raises(ReadOnly, match=f"^{member} is read-only"):
        apply_update(STORED, {"name": "other", member: "x"}, SHOWN)


def test_unknown_members_are_named() -> None:
    """A misspelled member is rejected with a suggestion."""
    with pytest.raises(InvalidParameter, match=r"'phonenumber'.*'phoneNumber'"):
        parse_new_contact({**NEW, "phonenumber": "1"})
    with pytest.raises(InvalidParameter, match=r"'nam'.*'name'"):
        apply_update(STORED, {"nam": "x"}, SHOWN)


def test_an_update_is_partial() -> None:
    """Absent members are kept; read-only members may be sent back unchanged."""
    assert apply_update(STORED, {}, SHOWN) == Contact("Jim", (PhoneNumber("1", "office"), PhoneNumber("2")))
    assert apply_update(STORED, {"name": "Pam"}, SHOWN).name == "Pam"
    assert apply_update(STORED, {**SHOWN, "phoneNumber": " 3 "}, SHOWN) == Contact(
        "Jim", (PhoneNumber("3"), PhoneNumber("2"))
    )


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), JSON, max_size=5))
def test_any_object_is_parsed_or_rejected(members: dict[str, Any]) -> None:
    """Every JSON object gives a valid contact or a RequestError."""
    for attempt in (lambda: parse_new_contact(members), lambda: apply_update(STORED, members, SHOWN)):
        with suppress(RequestError):
            assert attempt().name.strip()
