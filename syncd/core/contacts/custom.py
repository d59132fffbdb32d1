"""Validation of new and updated Custom contacts, as POST and PUT send them."""

import difflib
from collections.abc import Mapping
from typing import Any

from syncd.core.contacts.contact import MEMBERS, TYPES, Contact, PhoneNumber, find_flaw
from syncd.core.contacts.models import StoredContact
from syncd.errors import InvalidParameter, MissingParameter, ReadOnly

WRITABLE = ("name", "phoneNumber")


def parse_new_contact(members: Mapping[str, Any]) -> Contact:
    """Parse the body of a POST. Raises InvalidParameter, MissingParameter or ReadOnly."""
    _check_members(members)
    if "type" in members:
        _check_type(members["type"])
    for member in members:
        if member not in (*WRITABLE, "type"):
            raise ReadOnly(f"{member} is read-only; a new contact has {' and '.join(WRITABLE)}")
    for member in WRITABLE:
        if member not in members:
            raise MissingParameter(f"{member} is missing")
    name, number = (parse_text(member, members[member]) for member in WRITABLE)
    return Contact(name=name, numbers=(PhoneNumber(number),))


def apply_update(stored: StoredContact, members: Mapping[str, Any], shown: Mapping[str, Any]) -> Contact:
    """Return the contact after a PUT; absent members keep their values.

    `shown` is the contact as GET shows it: a read-only member may be sent back unchanged. Raises InvalidParameter,
    MissingParameter or ReadOnly.
    """
    _check_members(members)
    for member, value in members.items():
        if member not in WRITABLE and (member not in shown or value != shown[member]):
            raise ReadOnly(f"{member} is read-only; only {' and '.join(WRITABLE)} can be changed")
    name, numbers = stored.name, stored.phone_numbers()
    if "name" in members:
        name = parse_text("name", members["name"])
    if "phoneNumber" in members:
        first = parse_text("phoneNumber", members["phoneNumber"])
        if not numbers or first != numbers[0].phone_number:
            numbers = (PhoneNumber(first), *numbers[1:])
    return Contact(name=name, numbers=numbers)


def parse_text(member: str, value: object) -> str:
    """Return a text without surrounding white space. Raises InvalidParameter or MissingParameter."""
    if not isinstance(value, str):
        raise InvalidParameter(f"{member} must be a string")
    text = value.strip()
    if not text:
        raise MissingParameter(f"{member} is empty")
    flaw = find_flaw(member, text)
    if flaw is not None:
        raise InvalidParameter(flaw)
    return text


def _check_members(members: Mapping[str, Any]) -> None:
    for member in members:
        if member not in MEMBERS:
            near = difflib.get_close_matches(member[:60], MEMBERS, n=1, cutoff=0.0)[0]
            raise InvalidParameter(f"a contact has no member {member[:60]!r}; did you mean {near!r}?")


def _check_type(type_: object) -> None:
    if type_ in ("User", "Queue"):
        raise ReadOnly(f"contacts of type {type_} are kept by the synchronization; only Custom ones can be created")
    if type_ != "Custom":
        raise InvalidParameter(f"type must be 'Custom'; the types are {', '.join(TYPES)}")
