"""Contacts: members, their JSON names and database columns, limits, and the folded search index."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

from syncd.core.contacts.phone_number import parse_number
from syncd.core.contacts.text import fold, has_control, split_words

ContactType: TypeAlias = Literal["Custom", "Queue", "User"]
TYPES: tuple[ContactType, ...] = get_args(ContactType)

MAX_LENGTH = 256
"""Maximum number of characters of one text value."""

MEMBERS = (
    "id", "name", "type", "phoneNumber", "phoneNumbers", "userName", "firstName", "lastName", "employeeId",
    "emailAddress", "roles", "businessUnits", "channel", "uri", "path",
)  # fmt: skip
"""JSON names of all members, in the order of the output."""

TEXT_MEMBERS = {
    "name": "name",
    "userName": "user_name",
    "firstName": "first_name",
    "lastName": "last_name",
    "employeeId": "employee_id",
    "emailAddress": "email_address",
    "channel": "channel",
}
"""Single-valued members: JSON name -> column and attribute."""

LIST_MEMBERS = {"roles": "roles", "businessUnits": "business_units"}
"""Multi-valued members: JSON name -> column and attribute."""

COLUMNS = TEXT_MEMBERS | LIST_MEMBERS | {"phoneNumber": "numbers"}
"""All writable members: JSON name -> column and attribute."""

MEMBERS_OF: dict[ContactType, frozenset[str]] = {
    "Custom": frozenset({"name", "phoneNumber"}),
    "Queue": frozenset({"name", "phoneNumber", "channel"}),
    "User": frozenset({
        "name", "phoneNumber", "userName", "firstName", "lastName", "employeeId", "emailAddress", "roles",
        "businessUnits",
    }),
}  # fmt: skip
"""Writable members of each type; of a synced type, the members that a source can map."""


class PhoneNumber(NamedTuple):
    """Phone number in the spelling of its owner."""

    phone_number: str
    description: str = ""
    """Kind of number, such as `mobile`; may be empty."""


class Contact(NamedTuple):
    """Writable content of a contact, without id and type."""

    name: str
    numbers: tuple[PhoneNumber, ...] = ()
    user_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    employee_id: str | None = None
    email_address: str | None = None
    channel: str | None = None
    roles: tuple[str, ...] = ()
    business_units: tuple[str, ...] = ()


class SearchIndex(NamedTuple):
    """Columns that are computed from a contact at write time, for searching and sorting."""

    name_folded: str
    first_name_folded: str | None
    last_name_folded: str | None
    search: str
    """Folded search text; see `build_index` for its form."""
    dialled: tuple[str, ...]
    """`ParsedNumber.keys` of all numbers."""
    tails: tuple[str, ...]
    """`ParsedNumber.suffixes` of all numbers, without empty ones and duplicates."""


def build_index(type_: ContactType, contact: Contact, region: str = "") -> SearchIndex:
    r"""Compute the search columns. `region` is the default region (ISO 3166 alpha-2) of numbers without country code.

    `search` has four parts: values for the names-or-number filter between line feeds, `\nann\nlee\n`; words of names
    between form feeds, `\fann\flee\f`; user name and e-mail address between vertical tabs, `\vlee7\vlee@example.org\v`;
    the words of these and the digits of numbers between form feeds. No value contains one of these separators, because
    `find_flaw` rejects control characters.
    """
    name, first, last = fold(contact.name), contact.first_name, contact.last_name
    first, last = first and fold(first), last and fold(last)
    user, mail = fold(contact.user_name or ""), fold(contact.email_address or "")
    filter_values = [value for value in (first, last, user) if value] if type_ == "User" else [name]
    filter_values += [fold(number.phone_number) for number in contact.numbers]
    numbers = [parse_number(number.phone_number, region) for number in contact.numbers]
    name_words = dict.fromkeys(split_words(f"{name} {first or ''} {last or ''}"))
    words = dict.fromkeys(split_words(f"{user} {mail}") + [word for number in numbers for word in number.words if word])
    return SearchIndex(
        name,
        first,
        last,
        delimit("\n", filter_values or [""])
        + delimit("\f", name_words)
        + delimit("\v", filter(None, (user, mail)))
        + delimit("\f", [word for word in words if word not in name_words]),
        tuple([key for number in numbers for key in number.keys]),
        tuple(dict.fromkeys([suffix for number in numbers for suffix in number.suffixes if suffix])),
    )


def delimit(separator: str, values: Iterable[str]) -> str:
    """Join values with the separator before, between and after them."""
    return separator + "".join([value + separator for value in values])


def find_flaw(member: str, value: str) -> str | None:
    """Return a sentence why a cleaned text cannot be the value of this member; None for a valid one."""
    if len(value) > MAX_LENGTH:
        return f"{member} has {len(value)} characters, at most {MAX_LENGTH} are allowed"
    if has_control(value):
        return f"{member} holds a control character"
    return None
