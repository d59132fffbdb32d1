"""Mapping from attributes of a record to members of a contact, by the rules of `[source.map]`.

A rule is an attribute (`"givenName"`), a template (`"{givenName} {sn}"`) or a list of these. A single-valued member
takes the first element of the list that is not blank; numbers, roles and business units take all values, in the order
of the list and, within an attribute, of the server. If an attribute has several values, a single-valued member takes
the lowest one, because LDAP guarantees no order and another replica may return another one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from syncd.core.contacts.contact import (
    COLUMNS,
    LIST_MEMBERS,
    MAX_LENGTH,
    MEMBERS_OF,
    TEXT_MEMBERS,
    Contact,
    ContactType,
    PhoneNumber,
    find_flaw,
)
from syncd.core.contacts.text import clean
from syncd.core.sync.record import Record, Reject, Values, join_flaws

Rules: TypeAlias = Mapping[str, Sequence[str]]
"""Contact member -> attributes and templates, in order of preference."""

_ATTRIBUTE = r"[A-Za-z][A-Za-z0-9_.;-]*"
_NAME = re.compile(_ATTRIBUTE)
_PART = re.compile(r"\{(" + _ATTRIBUTE + r")\}")

MAX_ATTRIBUTES = 63
"""Maximum of attributes in the rules of a source: a bit mask in a bigint stores which of them an entry had."""

DEFAULT_RULES: dict[ContactType, dict[str, tuple[str, ...]]] = {
    "User": {
        "name": ("{givenName} {sn}", "cn"),
        "userName": ("uid",),
        "firstName": ("givenName",),
        "lastName": ("sn",),
        "employeeId": ("employeeNumber",),
        "phoneNumber": ("telephoneNumber", "mobile"),
        "emailAddress": ("mail",),
    },
    "Queue": {"name": ("cn",), "phoneNumber": ("telephoneNumber",)},
}
"""Default rules of an LDAP source: attributes of inetOrgPerson (RFC 2798)."""


def identity_rules(type_: ContactType) -> dict[str, tuple[str, ...]]:
    """Return the rules of a source whose attributes have the names of contact members."""
    return {member: (member,) for member in sorted(MEMBERS_OF[type_])}


def check_rules(type_: ContactType, rules: Rules) -> list[str]:
    """Return a sentence per problem of the rules; empty for valid ones."""
    problems = [
        f"{member}: a {type_} has no such member; there are {', '.join(sorted(MEMBERS_OF[type_]))}"
        for member in rules
        if member not in MEMBERS_OF[type_]
    ]
    if "name" not in rules:
        problems.append("name: is missing; every contact needs one")
    known_rules = {member: elements for member, elements in rules.items() if member in MEMBERS_OF[type_]}
    if len(Mapper(type_, known_rules).attributes) > MAX_ATTRIBUTES:
        problems.append(f"more than {MAX_ATTRIBUTES} attributes are named")
    for member, elements in rules.items():
        if not elements:
            problems.append(f"{member}: an empty list gives it no value; leave the member out instead")
        problems += [
            f"{member}: {text!r} is neither an attribute name nor a template such as '{{givenName}} {{sn}}'"
            for text in elements
            if not (_NAME.fullmatch(text) or _is_template(text))
        ]
    return problems


def _is_template(text: str) -> bool:
    return bool(_PART.search(text)) and not set("{}") & set(_PART.sub("", text))


class Mapper:
    """Compiled rules of one source. The result depends on the record only."""

    def __init__(self, type_: ContactType, rules: Rules) -> None:
        self.type: ContactType = type_
        elements = {member: tuple(_compile(member, text) for text in texts) for member, texts in rules.items()}
        self.attributes = frozenset(
            name for compiled in elements.values() for element in compiled for name in element.attributes
        )
        """Attributes, in lower case, that the source has to read."""
        self.ordered_attributes = tuple(sorted(self.attributes))
        """The same in the order of `attribute_mask`: the n-th has bit n."""
        self._bits = {name: 1 << position for position, name in enumerate(self.ordered_attributes)}
        self._elements = elements
        readers: dict[str, _Reader] = {
            **{column: _text_reader(elements.get(member, ())) for member, column in TEXT_MEMBERS.items()},
            **{column: _list_reader(elements.get(member, ())) for member, column in LIST_MEMBERS.items()},
            "numbers": _number_reader(elements.get("phoneNumber", ())),
        }
        self._readers = tuple(readers[column] for column in Contact._fields)
        # values of together at most this many characters cannot give a text longer than MAX_LENGTH
        self._short = min([_max_input(text) for texts in rules.values() for text in texts], default=MAX_LENGTH)

    def to_contact(self, record: Record) -> Contact | Reject:
        """Map a record to a contact, or to a reject with the reason."""
        values = record.values
        # most records are short and clean, and one look at all values joined is the cheapest test for it
        joined = "|".join(["", *[text for texts in values.values() for text in texts], ""])
        is_plain = len(joined) <= self._short and _is_clean(joined)
        if not is_plain:
            values = {name: [text for text in map(clean, texts) if text] for name, texts in values.items()}
        contact = Contact._make([read(values) for read in self._readers])
        if not contact.name:
            return Reject(
                record.key, record.location, "no name: none of the mapped attributes has a value", record.values
            )
        flaws = () if is_plain else _find_flaws(contact)
        return Reject(record.key, record.location, join_flaws(flaws), record.values) if flaws else contact

    def trace_origins(self, record: Record) -> dict[str, list["Origin"]]:
        """Return member -> rules, attributes and raw values that its value comes from."""
        cleaned = {name: [text for text in map(clean, texts) if text] for name, texts in record.values.items()}
        origins_by_member: dict[str, list[Origin]] = {}
        for member, elements in self._elements.items():
            origins = [
                Origin(element.text, {name: list(record.values.get(name, ())) for name in element.attributes}, values)
                for element in elements
                if (values := list(element.values(cleaned)))
            ]
            if origins:
                origins_by_member[member] = origins[:1] if member in TEXT_MEMBERS else origins
        return origins_by_member

    def attribute_mask(self, values: Values) -> int:
        """Return a bit mask of the attributes with a value that is not blank; bit n is `ordered_attributes[n]`."""
        bits = self._bits
        mask = 0
        for name, texts in values.items():
            if name in bits and any(map(str.strip, texts)):
                mask |= bits[name]
        return mask

    def columns_from(self, attribute: str) -> frozenset[str]:
        """Return the contact columns whose rules read this attribute (lower case)."""
        return frozenset(
            COLUMNS[member]
            for member, elements in self._elements.items()
            if any(attribute in element.attributes for element in elements)
        )


_Reader: TypeAlias = Callable[[Values], Any]
"""Takes the cleaned values of a record, returns the value of a contact column."""


class Origin(NamedTuple):
    """Origin of a member's value."""

    rule: str
    """Attribute or template, as in the settings."""
    raw: Mapping[str, Sequence[str]]
    """Attribute in lower case -> its values as the source sent them."""
    values: Sequence[str]
    """Result of the rule."""


class _Element(NamedTuple):
    """Compiled element of a rule: an attribute or a template."""

    text: str
    """As in the settings."""
    attributes: tuple[str, ...]
    values: Callable[[Values], Sequence[str]]
    """Takes cleaned values, returns the result."""
    label: str
    """Description of phone numbers from this element."""


def _max_input(text: str) -> int:
    """Return how many characters of input an element turns into at most MAX_LENGTH characters."""
    pieces = _PART.split(text)
    return (MAX_LENGTH - sum(map(len, pieces[0::2]))) // max(1, len(pieces) // 2) if "{" in text else MAX_LENGTH


def _is_clean(joined: str) -> bool:
    """Whether `clean` would change none of the values (joined by bars), and none has a control character."""
    return (
        joined.isascii()
        and joined.isprintable()
        and not ("  " in joined or "| " in joined or " |" in joined or "||" in joined)
    )


def _compile(member: str, text: str) -> _Element:
    return _compile_template(text) if "{" in text else _compile_attribute(member, text)


def _compile_attribute(member: str, name: str) -> _Element:
    lower = name.lower()
    return _Element(name, (lower,), lambda source: source.get(lower, ()), "" if lower == member.lower() else name)


def _compile_template(text: str) -> _Element:
    pieces = _PART.split(text)  # literal, attribute, literal, attribute, … literal
    names = tuple(name.lower() for name in pieces[1::2])
    format_string = "%s".join(literal.replace("%", "%%") for literal in pieces[0::2])

    def values(source: Values) -> Sequence[str]:
        parts = tuple([_lowest(source.get(name)) for name in names])
        return (clean(format_string % parts),) if any(parts) else ()

    return _Element(text, names, values, "")


def _lowest(values: Sequence[str] | None) -> str:
    if not values:
        return ""
    return values[0] if len(values) == 1 else min(values)


def _text_reader(elements: Sequence[_Element]) -> _Reader:
    if not elements:
        return lambda _source: None
    if len(elements) == 1:  # nearly always
        values = elements[0].values
        return lambda source: _lowest(values(source)) or None
    readers = tuple(element.values for element in elements)
    return lambda source: next((_lowest(texts) for values in readers if (texts := values(source))), None)


def _list_reader(elements: Sequence[_Element]) -> _Reader:
    readers = tuple(element.values for element in elements)
    if not readers:
        return lambda _source: ()
    return lambda source: tuple(dict.fromkeys([value for values in readers for value in values(source)]))


def _number_reader(elements: Sequence[_Element]) -> _Reader:
    def read(source: Values) -> tuple[PhoneNumber, ...]:
        labels: dict[str, str] = {}
        for _, _, values, label in elements:
            for value in values(source):
                labels.setdefault(value, label)
        return tuple(map(PhoneNumber._make, labels.items()))

    return read


def _find_flaws(contact: Contact) -> list[str]:
    """Return a sentence per invalid value."""
    numbers = [number.phone_number for number in contact.numbers]
    texts = [value for value in contact if value.__class__ is str]
    all_values = [*texts, *numbers, *contact.roles, *contact.business_units]
    if max(map(len, all_values)) <= MAX_LENGTH and "".join(all_values).isprintable():
        return []
    values = [(member, getattr(contact, column)) for member, column in TEXT_MEMBERS.items()]
    values += [("phoneNumber", number) for number in numbers]
    values += [(member, value) for member, column in LIST_MEMBERS.items() for value in getattr(contact, column)]
    flaws = [find_flaw(member, value) for member, value in values if value]
    return [flaw for flaw in flaws if flaw]
