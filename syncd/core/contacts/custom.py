"""What a person may say about a Custom contact: the members of a new one, and the change of one that is there. Pure."""

import difflib
from collections.abc import Mapping
from typing import Any

from syncd.core.contacts.contact import MEMBERS, TYPES, Contact, Number, problem
from syncd.core.contacts.models import StoredContact
from syncd.errors import InvalidParameter, MissingParameter, ReadOnly

WRITABLE = ("name", "phoneNumber")


def created(members: Mapping[str, Any]) -> Contact:
    """The contact that a POST describes. Raises InvalidParameter, MissingParameter or ReadOnly."""
    _known(members)
    if "type" in members:
        _custom(members["type"])
    for member in members:
        if member not in (*WRITABLE, "type"):
            raise ReadOnly(f"{member} is read-only; a new contact has {' and '.join(WRITABLE)}")
    for member in WRITABLE:
        if member not in members:
            raise MissingParameter(f"{member} is missing")
    name, number = (text_of(member, members[member]) for member in WRITABLE)
    return Contact(name=name, numbers=(Number(number),))


def changed(stored: StoredContact, members: Mapping[str, Any], shown: Mapping[str, Any]) -> Contact:
    """The contact after a PUT; members that are not given stay. Raises InvalidParameter, MissingParameter or ReadOnly.

    `shown` is the contact as GET shows it: a read-only member may be sent back as it was read.
    """
    _known(members)
    for member, value in members.items():
        if member not in WRITABLE and (member not in shown or value != shown[member]):
            raise ReadOnly(f"{member} is read-only; only {' and '.join(WRITABLE)} can be changed")
    name, numbers = stored.name, stored.all_numbers()
    if "name" in members:
        name = text_of("name", members["name"])
    if "phoneNumber" in members:
        first = text_of("phoneNumber", members["phoneNumber"])
        if not numbers or first != numbers[0].phone_number:
            numbers = (Number(first), *numbers[1:])
    return Contact(name=name, numbers=numbers)


def text_of(member: str, value: object) -> str:
    """A text without the white space around it, otherwise as sent. Raises InvalidParameter or MissingParameter."""
    if not isinstance(value, str):
        raise InvalidParameter(f"{member} must be a string")
    text = value.strip()
    if not text:
        raise MissingParameter(f"{member} is empty")
    wrong = problem(member, text)
    if wrong is not None:
        raise InvalidParameter(wrong)
    return text


def _known(members: Mapping[str, Any]) -> None:
    for member in members:
        if member not in MEMBERS:
            near = difflib.get_close_matches(member[:60], MEMBERS, n=1, cutoff=0.0)[0]
            raise InvalidParameter(f"a contact has no member {member[:60]!r}; did you mean {near!r}?")


def _custom(type_: object) -> None:
    if type_ in ("User", "Queue"):
        raise ReadOnly(f"contacts of type {type_} are kept by the synchronization; only Custom ones can be created")
    if type_ != "Custom":
        raise InvalidParameter(f"type must be 'Custom'; the types are {', '.join(TYPES)}")
