"""From the attributes of a record to the members of a contact, by the rules of a `[source.map]`.

A rule is an attribute (`"givenName"`), a template (`"{givenName} {sn}"`) or a list of these. For a member of one text
the first of the list that is not blank counts; for numbers, roles and business units every value does, in the order
of the list and, within an attribute, of the server. Of an attribute with several values a member of one text takes the
lowest, because a directory does not promise an order and another replica may answer another one.
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
    Number,
    Type,
    problem,
)
from syncd.core.contacts.text import clean
from syncd.core.sync.record import Record, Reject, Values

Rules: TypeAlias = Mapping[str, Sequence[str]]
"""Contact member -> attributes and templates, most wanted first."""

_ATTRIBUTE = r"[A-Za-z][A-Za-z0-9_.;-]*"
_NAME = re.compile(_ATTRIBUTE)
_PART = re.compile(r"\{(" + _ATTRIBUTE + r")\}")

MOST_ATTRIBUTES = 63
"""Attributes that the rules of a source may name: which of them an entry had is kept in the bits of one number."""

DEFAULT_RULES: dict[Type, dict[str, tuple[str, ...]]] = {
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
"""What an LDAP source maps when its settings say nothing: the attributes of inetOrgPerson (RFC 2798)."""


def own_names(type_: Type) -> dict[str, tuple[str, ...]]:
    """The rules of a source whose records already bear the names of contact members."""
    return {member: (member,) for member in sorted(MEMBERS_OF[type_])}


def problems(type_: Type, rules: Rules) -> list[str]:
    """What is wrong with these rules, one sentence each; empty when they can be used."""
    found = [
        f"{member}: a {type_} has no such member; there are {', '.join(sorted(MEMBERS_OF[type_]))}"
        for member in rules
        if member not in MEMBERS_OF[type_]
    ]
    if "name" not in rules:
        found.append("name: is missing; every contact needs one")
    if len(Mapper(type_, {m: w for m, w in rules.items() if m in MEMBERS_OF[type_]}).attributes) > MOST_ATTRIBUTES:
        found.append(f"more than {MOST_ATTRIBUTES} attributes are named")
    for member, wanted in rules.items():
        if not wanted:
            found.append(f"{member}: an empty list gives it no value; leave the member out instead")
        found += [
            f"{member}: {text!r} is neither an attribute name nor a template such as '{{givenName}} {{sn}}'"
            for text in wanted
            if not (_NAME.fullmatch(text) or _is_template(text))
        ]
    return found


def _is_template(text: str) -> bool:
    return bool(_PART.search(text)) and not set("{}") & set(_PART.sub("", text))


class Mapper:
    """The compiled rules of one source. Pure: the same record always gives the same contact or reject."""

    def __init__(self, type_: Type, rules: Rules) -> None:
        self.type: Type = type_
        elements = {member: tuple(_element(member, text) for text in wanted) for member, wanted in rules.items()}
        self.attributes = frozenset(
            name for wanted in elements.values() for element in wanted for name in element.attributes
        )
        """Attribute names, in lower case, that a source has to read for these rules."""
        self.ordered = tuple(sorted(self.attributes))
        """The same; the n-th has bit n in `had`."""
        self._bits = {name: 1 << position for position, name in enumerate(self.ordered)}
        self._elements = elements
        readers: dict[str, _Reader] = {
            **{column: _text_reader(elements.get(member, ())) for member, column in TEXT_MEMBERS.items()},
            **{column: _list_reader(elements.get(member, ())) for member, column in LIST_MEMBERS.items()},
            "numbers": _number_reader(elements.get("phoneNumber", ())),
        }
        self._readers = tuple(readers[column] for column in Contact._fields)
        # no template makes more than MAX_LENGTH characters of values that together have no more than this
        self._short = min([_room(text) for wanted in rules.values() for text in wanted], default=MAX_LENGTH)

    def contact(self, record: Record) -> Contact | Reject:
        """The contact that this record describes, or the reason why it describes none."""
        values = record.values
        # most records are short and clean already, which is cheap to see of all their values at once
        joined = "|".join(["", *[text for texts in values.values() for text in texts], ""])
        plain = len(joined) <= self._short and _is_clean(joined)
        if not plain:
            values = {name: [text for text in map(clean, texts) if text] for name, texts in values.items()}
        found = Contact._make([read(values) for read in self._readers])
        if not found.name:
            return Reject(record.key, record.place, "no name: none of the mapped attributes has a value", record.values)
        flaws = () if plain else _flaws(found)
        return Reject(record.key, record.place, "; ".join(flaws), record.values) if flaws else found

    def trace(self, record: Record) -> dict[str, list["Origin"]]:
        """For each member, which rules gave it what it has, of which attributes and raw values."""
        cleaned = {name: [text for text in map(clean, texts) if text] for name, texts in record.values.items()}
        found: dict[str, list[Origin]] = {}
        for member, elements in self._elements.items():
            origins = [
                Origin(element.text, {name: list(record.values.get(name, ())) for name in element.attributes}, given)
                for element in elements
                if (given := list(element.values(cleaned)))
            ]
            if origins:
                found[member] = origins[:1] if member in TEXT_MEMBERS else origins
        return found

    def had(self, values: Values) -> int:
        """Which of the mapped attributes have a value that is not blank, as bits in the order of `ordered`."""
        bits = self._bits
        found = 0
        for name, texts in values.items():
            if name in bits and any(map(str.strip, texts)):
                found |= bits[name]
        return found

    def columns_of(self, attribute: str) -> frozenset[str]:
        """The columns of a contact whose rules read this attribute (lower case)."""
        return frozenset(
            COLUMNS[member]
            for member, elements in self._elements.items()
            if any(attribute in element.attributes for element in elements)
        )


_Reader: TypeAlias = Callable[[Values], Any]
"""Takes the cleaned values of a record, returns what a column of the contact holds."""


class Origin(NamedTuple):
    """Where a value of a member came from."""

    rule: str
    """The attribute or template, as the settings have it."""
    raw: Mapping[str, Sequence[str]]
    """Attribute in lower case -> its values as the source sent them."""
    values: Sequence[str]
    """What the rule made of them."""


class _Element(NamedTuple):
    """One element of a rule: how it is written, what it reads, and what it gives of cleaned values."""

    text: str
    attributes: tuple[str, ...]
    values: Callable[[Values], Sequence[str]]
    label: str


def _room(text: str) -> int:
    pieces = _PART.split(text)
    return (MAX_LENGTH - sum(map(len, pieces[0::2]))) // max(1, len(pieces) // 2) if "{" in text else MAX_LENGTH


def _is_clean(joined: str) -> bool:
    """Whether values, each between bars, are what `clean` makes of them, and none can be refused for a character."""
    return (
        joined.isascii()
        and joined.isprintable()
        and not ("  " in joined or "| " in joined or " |" in joined or "||" in joined)
    )


def _element(member: str, text: str) -> _Element:
    return _template(text) if "{" in text else _attribute(member, text)


def _attribute(member: str, name: str) -> _Element:
    lower = name.lower()
    return _Element(name, (lower,), lambda source: source.get(lower, ()), "" if lower == member.lower() else name)


def _template(text: str) -> _Element:
    pieces = _PART.split(text)  # literal, attribute, literal, attribute, … literal
    names = tuple(name.lower() for name in pieces[1::2])
    filled = "%s".join(literal.replace("%", "%%") for literal in pieces[0::2])

    def values(source: Values) -> Sequence[str]:
        parts = tuple([_lowest(source.get(name)) for name in names])
        return (clean(filled % parts),) if any(parts) else ()

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
    return lambda source: next((_lowest(found) for values in readers if (found := values(source))), None)


def _list_reader(elements: Sequence[_Element]) -> _Reader:
    readers = tuple(element.values for element in elements)
    if not readers:
        return lambda _source: ()
    return lambda source: tuple(dict.fromkeys([value for values in readers for value in values(source)]))


def _number_reader(elements: Sequence[_Element]) -> _Reader:
    def read(source: Values) -> tuple[Number, ...]:
        labels: dict[str, str] = {}
        for _, _, values, label in elements:
            for value in values(source):
                labels.setdefault(value, label)
        return tuple(map(Number._make, labels.items()))

    return read


def _flaws(contact: Contact) -> list[str]:
    """Why these values cannot be a contact's, one sentence each."""
    numbers = [number.phone_number for number in contact.numbers]
    texts = [value for value in contact if value.__class__ is str]
    every = [*texts, *numbers, *contact.roles, *contact.business_units]
    if max(map(len, every)) <= MAX_LENGTH and "".join(every).isprintable():
        return []
    told = [(member, getattr(contact, column)) for member, column in TEXT_MEMBERS.items()]
    told += [("phoneNumber", number) for number in numbers]
    told += [(member, value) for member, column in LIST_MEMBERS.items() for value in getattr(contact, column)]
    found = [problem(member, value) for member, value in told if value]
    return [flaw for flaw in found if flaw]
