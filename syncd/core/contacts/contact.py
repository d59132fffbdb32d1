"""The contact: its members, their names on the wire and in the store, and what makes one valid."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

from syncd.core.contacts import phone_number as numbers
from syncd.core.contacts.text import fold, has_control, words

Type: TypeAlias = Literal["Custom", "Queue", "User"]
TYPES: tuple[Type, ...] = get_args(Type)

MAX_LENGTH = 256
"""Characters that one text value of a contact may have."""

MEMBERS = (
    "id", "name", "type", "phoneNumber", "phoneNumbers", "userName", "firstName", "lastName", "employeeId",
    "emailAddress", "roles", "businessUnits", "channel", "uri", "path",
)  # fmt: skip
"""Every member of a contact on the wire, in the order in which it is written."""

TEXT_MEMBERS = {
    "name": "name",
    "userName": "user_name",
    "firstName": "first_name",
    "lastName": "last_name",
    "employeeId": "employee_id",
    "emailAddress": "email_address",
    "channel": "channel",
}
"""Members of one text -> their column and attribute."""

LIST_MEMBERS = {"roles": "roles", "businessUnits": "business_units"}
"""Members of several texts -> their column and attribute."""

COLUMNS = TEXT_MEMBERS | LIST_MEMBERS | {"phoneNumber": "numbers"}
"""Every member that somebody can set -> its column and attribute."""

MEMBERS_OF: dict[Type, frozenset[str]] = {
    "Custom": frozenset({"name", "phoneNumber"}),
    "Queue": frozenset({"name", "phoneNumber", "channel"}),
    "User": frozenset({
        "name", "phoneNumber", "userName", "firstName", "lastName", "employeeId", "emailAddress", "roles",
        "businessUnits",
    }),
}  # fmt: skip
"""The members that whoever owns a contact of this type can set."""


class Number(NamedTuple):
    """One phone number, as written by its owner."""

    phone_number: str
    description: str = ""
    """Which of the numbers it is (`mobile`); empty when nobody said."""


class Contact(NamedTuple):
    """What a source or a person says about one contact. Identity and type are kept beside it, not in it."""

    name: str
    numbers: tuple[Number, ...] = ()
    user_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    employee_id: str | None = None
    email_address: str | None = None
    channel: str | None = None
    roles: tuple[str, ...] = ()
    business_units: tuple[str, ...] = ()


class Index(NamedTuple):
    """What is computed once from a contact, at write time, for searching and sorting it."""

    name_folded: str
    first_name_folded: str | None
    last_name_folded: str | None
    search: str
    """What is looked through, folded: see `index`."""
    dialled: tuple[str, ...]
    """The keys of every number: see `core.contacts.phone_number.Reading`."""
    tails: tuple[str, ...]
    """The last digits of every number."""


def index(type_: Type, contact: Contact, region: str = "") -> Index:
    r"""Fold what is searched and sorted; `region` is where numbers without country code belong.

    `search` has four parts. The values that a names-or-number search compares stand between line feeds, `\nann\nlee\n`;
    then the words of names between form feeds, `\fann\flee\f`; then user name and e-mail as they are between vertical
    tabs, `\vlee7\vlee@example.org\v`; then their words and the digits of numbers between form feeds. No value holds
    one of these characters (`problem` refuses them).
    """
    name, first, last = fold(contact.name), contact.first_name, contact.last_name
    first, last = first and fold(first), last and fold(last)
    user, mail = fold(contact.user_name or ""), fold(contact.email_address or "")
    sought = [value for value in (first, last, user) if value] if type_ == "User" else [name]
    sought += [fold(number.phone_number) for number in contact.numbers]
    readings = [numbers.read(number.phone_number, region) for number in contact.numbers]
    named = dict.fromkeys(words(f"{name} {first or ''} {last or ''}"))
    other = dict.fromkeys(words(f"{user} {mail}") + [word for reading in readings for word in reading.words if word])
    return Index(
        name,
        first,
        last,
        between("\n", sought or [""])
        + between("\f", named)
        + between("\v", filter(None, (user, mail)))
        + between("\f", [word for word in other if word not in named]),
        tuple([key for reading in readings for key in reading.keys]),
        tuple(dict.fromkeys([tail for reading in readings for tail in reading.tails if tail])),
    )


def between(mark: str, values: Iterable[str]) -> str:
    """The values with the mark before, between and after them."""
    return mark + "".join([value + mark for value in values])


def problem(member: str, value: str) -> str | None:
    """Why a cleaned text cannot be the value of this member, as a sentence; None when it can."""
    if len(value) > MAX_LENGTH:
        return f"{member} has {len(value)} characters, at most {MAX_LENGTH} are allowed"
    if has_control(value):
        return f"{member} holds a control character"
    return None
