"""A contact as a vCard: which property holds which member (RFC 6350), and what a card of an address book says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from syncd.core.contacts.contact import Number
from syncd.core.files import vcard
from syncd.core.files.contact_import import Entry
from syncd.core.files.vcard import Card, Property, components, escaped, plain

MEDIA = "text/vcard"

_KINDS = {"Queue": "group"}
_TYPES = {"mobile": "cell", "work": "work", "home": "home", "fax": "fax", "pager": "pager"}
"""Descriptions that are a TYPE of TEL; any other is written as the label of the number."""
_DESCRIPTIONS = {type_: description for description, type_ in _TYPES.items()}
_TEXTS = {"emailAddress": "EMAIL", "userName": "X-USER-NAME", "employeeId": "X-EMPLOYEE-ID", "channel": "X-CHANNEL"}
_LISTS = {"businessUnits": "ORG", "roles": "ROLE"}


def card(contact: Mapping[str, Any]) -> str:
    """The card of a contact, given by the wire names of its members. It needs a name (FN)."""
    return vcard.written([*_properties(contact)])


def entries(raw: bytes) -> Iterator[Entry]:
    """What the cards of a file say of Custom contacts: id, name and numbers. Raises InvalidParameter.

    Other properties are passed over: an address book keeps much that the directory does not.
    """
    return map(_entry, vcard.cards(raw))


def _properties(contact: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "id" in contact:
        yield "UID", f"urn:uuid:{UUID(hex=contact['id'])}"
    if "type" in contact:
        yield "KIND", _KINDS.get(contact["type"], "individual")
    yield "FN", escaped(contact["name"])
    if "lastName" in contact or "firstName" in contact:
        yield "N", ";".join([*(escaped(contact.get(member, "")) for member in ("lastName", "firstName")), "", "", ""])
    yield from _telephones(contact)
    for member, name in _TEXTS.items():
        if member in contact:
            yield name, escaped(contact[member])
    for member, name in _LISTS.items():
        for value in contact.get(member, ()):
            yield name, escaped(value)
    if "type" in contact:
        yield "CATEGORIES", contact["type"]


def _telephones(contact: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    first = [{"phoneNumber": contact["phoneNumber"]}] if "phoneNumber" in contact else []
    numbers = contact.get("phoneNumbers", first)
    for at, number in enumerate(numbers, 1):
        description = number.get("description", "")
        preferred = ";PREF=1" if at == 1 < len(numbers) else ""
        if description in _TYPES:
            yield f"TEL{preferred};TYPE={_TYPES[description]}", escaped(number["phoneNumber"])
        elif description:
            yield f"item{at}.TEL{preferred}", escaped(number["phoneNumber"])
            yield f"item{at}.X-ABLabel", escaped(description)
        else:
            yield f"TEL{preferred}", escaped(number["phoneNumber"])


def _entry(read: Card) -> Entry:
    if read.why:
        return Entry(read.line, {}, read.why)
    members: dict[str, Any] = {}
    if id_ := _id(_first(read.properties, "UID")):
        members["id"] = id_
    if name := plain(_first(read.properties, "FN")).strip() or _name(_first(read.properties, "N")):
        members["name"] = name
    if numbers := _numbers(read.properties):
        members |= {"phoneNumber": numbers[0].phone_number, "phoneNumbers": numbers}
    return Entry(read.line, members, foreign=True)


def _first(properties: Sequence[Property], name: str) -> str:
    return next((one.value for one in properties if one.name == name and one.value.strip()), "")


def _id(uid: str) -> str:
    """The id that we have written; of any other form of UID nothing is ours."""
    found = re.fullmatch(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", uid.strip().lower())
    return found[1].replace("-", "") if found else ""


def _name(structured: str) -> str:
    """A name of the parts of N: family, given, middle, prefix, suffix names."""
    family, given, *_ = [*components(structured), "", ""]
    return " ".join(filter(None, (given.strip(), family.strip())))


def _numbers(properties: Sequence[Property]) -> tuple[Number, ...]:
    """The numbers of TEL, the preferred first."""
    labels = {one.group: plain(one.value) for one in properties if one.name == "X-ABLABEL" and one.group}
    telephones = sorted((one for one in properties if one.name == "TEL"), key=_preference)
    found = [Number(_telephone(one), _description(one, labels)) for one in telephones]
    return tuple(number for number in found if number.phone_number)


def _preference(telephone: Property) -> int:
    """1 is the most preferred (RFC 6350, 5.3); 3.0 has a TYPE for it."""
    given = telephone.parameters.get("PREF", ("",))[0]
    if given.isdecimal():
        return int(given[:4])
    return 1 if "pref" in telephone.parameters.get("TYPE", ()) else 101


def _telephone(telephone: Property) -> str:
    """The number: of a URI what stands behind its scheme `tel:`, else the text."""
    value = telephone.value.strip()
    if "uri" in telephone.parameters.get("VALUE", ()):
        return unquote(re.sub("(?i)^tel:", "", value)).strip()
    return plain(value).strip()


def _description(telephone: Property, labels: Mapping[str, str]) -> str:
    label = labels.get(telephone.group, "").strip()
    if label:
        return label.removeprefix("_$!<").removesuffix(">!$_")
    types = telephone.parameters.get("TYPE", ())
    return next((_DESCRIPTIONS[type_] for type_ in types if type_ in _DESCRIPTIONS), "")
