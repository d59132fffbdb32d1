"""From the attributes of a record to the members of a contact, by the rules of a `[source.map]`.

A rule is an attribute (`"givenName"`), a template (`"{givenName} {sn}"`) or a list of these. For a member of one text
the first of the list that is not blank counts; for numbers, roles and business units every value does, in the order
of the list and, within an attribute, of the server. Of an attribute with several values a member of one text takes the
lowest, because a directory does not promise an order and another replica may answer another one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One element of a rule, ready to be asked."""

    attributes: tuple[str, ...]
    values: Callable[[Values], list[str]]
    label: str


def _attribute(member: str, name: str) -> _Wanted:
    lower = name.lower()

    def values(source: Values) -> list[str]:
        return [text for text in map(clean, source.get(lower, ())) if text]

    return _Wanted((lower,), values, "" if lower == member.lower() else name)


def _template(text: str) -> _Wanted:
    pieces = _PART.split(text)  # literal, attribute, literal, attribute, … literal
    names = tuple(name.lower() for name in pieces[1::2])
    literals = pieces[0::2]

    def values(source: Values) -> list[str]:
        parts = [min((clean(value) for value in source.get(name, ())), default="") for name in names]
        if not any(parts):
            return []
        filled = [literals[0]]
        for part, literal in zip(parts, literals[1:], strict=True):
            filled += (part, literal)
        return [clean("".join(filled))]

    return _Wanted(names, values, "")


class Mapper:
    """The compiled rules of one source. Pure: the same record always gives the same contact or reject."""

    def __init__(self, type_: Type, rules: Rules) -> None:
        self.type: Type = type_
        compiled = {
            member: tuple(_template(text) if "{" in text else _attribute(member, text) for text in wanted)
            for member, wanted in rules.items()
        }
        self.attributes = frozenset(
            name for wanted in compiled.values() for element in wanted for name in element.attributes
        )
        """Attribute names, in lower case, that a source has to read for these rules."""
        self._numbers = compiled.pop("phoneNumber", ())
        self._lists = [(m, LIST_MEMBERS[m], w) for m, w in compiled.items() if m in LIST_MEMBERS]
        self._texts = [(m, TEXT_MEMBERS[m], w) for m, w in compiled.items() if m in TEXT_MEMBERS]

    def contact(self, record: Record) -> Contact | Reject:
        """The contact that this record describes, or the reason why it describes none."""
        flaws: list[str] = []
        texts = {column: _text(member, wanted, record.values, flaws) for member, column, wanted in self._texts}
        lists = {column: _list(member, wanted, record.values, flaws) for member, column, wanted in self._lists}
        numbers = _numbers(self._numbers, record.values, flaws)
        name = texts.pop("name", None)
        if name is None and not flaws:
            flaws.append("no name: none of the mapped attributes has a value")
        if flaws or name is None:
            return Reject(record.key, record.place, "; ".join(flaws), record.values)
        return Contact(name=name, numbers=numbers, **texts, **lists)  # type: ignore[arg-type]  # by TEXT_ and LIST_MEMBERS


def _text(member: str, wanted: Sequence[_Wanted], source: Values, flaws: list[str]) -> str | None:
    for element in wanted:
        values = element.values(source)
        if values:
            value = values[0] if len(values) == 1 else min(values)
            _check(member, value, flaws)
            return value
    return None


def _list(member: str, wanted: Sequence[_Wanted], source: Values, flaws: list[str]) -> tuple[str, ...]:
    found = dict.fromkeys(value for element in wanted for value in element.values(source))
    for value in found:
        _check(member, value, flaws)
    return tuple(found)


def _numbers(wanted: Sequence[_Wanted], source: Values, flaws: list[str]) -> tuple[Number, ...]:
    found: dict[str, Number] = {}
    for element in wanted:
        for value in element.values(source):
            _check("phoneNumber", value, flaws)
            found.setdefault(value, Number(value, element.label))
    return tuple(found.values())


def _check(member: str, value: str, flaws: list[str]) -> None:
    if len(value) <= MAX_LENGTH and value.isascii() and value.isprintable():
        return
    flaw = problem(member, value)
    if flaw:
        flaws.append(flaw)
