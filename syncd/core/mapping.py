"""From the attributes of a record to the members of a contact, by the rules of a `[source.map]`.

A rule is an attribute (`"givenName"`), a template (`"{givenName} {sn}"`) or a list of these. For a member of one text
the first of the list that is not blank counts; for numbers, roles and business units every value does, in the order
of the list and, within an attribute, of the server. Of an attribute with several values a member of one text takes the
lowest, because a directory does not promise an order and another replica may answer another one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from syncd.core.contact import (
    LIST_MEMBERS,
    MAX_LENGTH,
    MEMBERS_OF,
    TEXT_MEMBERS,
    Contact,
    Number,
    Type,
    problem,
)
from syncd.core.record import Record, Reject, Values
from syncd.core.text import clean

Rules: TypeAlias = Mapping[str, Sequence[str]]
"""Contact member -> attributes and templates, most wanted first."""

_ATTRIBUTE = r"[A-Za-z][A-Za-z0-9_.;-]*"
_NAME = re.compile(_ATTRIBUTE)
_PART = re.compile(r"\{(" + _ATTRIBUTE + r")\}")

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
        texts = {column: _text_reader(member, elements.get(member, ())) for member, column in TEXT_MEMBERS.items()}
        lists = {column: _list_reader(member, elements.get(member, ())) for member, column in LIST_MEMBERS.items()}
        readers = texts | lists | {"numbers": _number_reader(elements.get("phoneNumber", ()))}
        self._readers = tuple(readers[column] for column in Contact._fields)

    def contact(self, record: Record) -> Contact | Reject:
        """The contact that this record describes, or the reason why it describes none."""
        flaws: list[str] = []
        values = record.values
        found = Contact._make([read(values, flaws) for read in self._readers])
        if not found.name and not flaws:
            flaws.append("no name: none of the mapped attributes has a value")
        if flaws:
            return Reject(record.key, record.place, "; ".join(flaws), values)
        return found


_Reader: TypeAlias = Callable[[Values, list[str]], Any]
"""Takes the values of a record, returns what a column of the contact holds, adds the flaws that it finds."""


class _Element(NamedTuple):
    """One element of a rule: what it reads, and its cleaned values that are not blank."""

    attributes: tuple[str, ...]
    values: Callable[[Values], Sequence[str]]
    label: str


def _element(member: str, text: str) -> _Element:
    return _template(text) if "{" in text else _attribute(member, text)


def _attribute(member: str, name: str) -> _Element:
    lower = name.lower()

    def values(source: Values) -> Sequence[str]:
        found = source.get(lower, ())
        if len(found) == 1:  # by far the most common, at a third of the time
            text = clean(found[0])
            return (text,) if text else ()
        return [text for text in map(clean, found) if text]

    return _Element((lower,), values, "" if lower == member.lower() else name)


def _template(text: str) -> _Element:
    pieces = _PART.split(text)  # literal, attribute, literal, attribute, … literal
    names = tuple(name.lower() for name in pieces[1::2])
    filled = "%s".join(literal.replace("%", "%%") for literal in pieces[0::2])

    def values(source: Values) -> Sequence[str]:
        parts = tuple([_lowest(source.get(name, ())) for name in names])
        return (clean(filled % parts),) if any(parts) else ()

    return _Element(names, values, "")


def _lowest(values: Sequence[str]) -> str:
    """The lowest cleaned value that is not blank; empty when there is none."""
    return clean(values[0]) if len(values) == 1 else min([text for text in map(clean, values) if text], default="")


def _text_reader(member: str, elements: Sequence[_Element]) -> _Reader:
    readers = tuple(element.values for element in elements)

    def read(source: Values, flaws: list[str]) -> str | None:
        for values in readers:
            found = values(source)
            if found:
                value = found[0] if len(found) == 1 else min(found)
                if len(value) > MAX_LENGTH or not value.isprintable():
                    _check(member, value, flaws)
                return value
        return None

    return read if readers else _nothing


def _nothing(_source: Values, _flaws: list[str]) -> None:
    return None


def _list_reader(member: str, elements: Sequence[_Element]) -> _Reader:
    if not elements:
        return lambda _source, _flaws: ()

    def read(source: Values, flaws: list[str]) -> tuple[str, ...]:
        found = dict.fromkeys(value for element in elements for value in element.values(source))
        for value in found:
            _check(member, value, flaws)
        return tuple(found)

    return read


def _number_reader(elements: Sequence[_Element]) -> _Reader:
    def read(source: Values, flaws: list[str]) -> tuple[Number, ...]:
        found: dict[str, Number] = {}
        for _, values, label in elements:
            for value in values(source):
                if len(value) > MAX_LENGTH or not value.isprintable():
                    _check("phoneNumber", value, flaws)
                if value not in found:
                    found[value] = Number(value, label)
        return tuple(found.values())

    return read


def _check(member: str, value: str, flaws: list[str]) -> None:
    flaw = problem(member, value)
    if flaw:
        flaws.append(flaw)
