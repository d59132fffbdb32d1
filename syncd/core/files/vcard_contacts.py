"""vCard form of contacts: mapping of members to properties (RFC 6350), and of cards of address books to members."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from syncd.core.contacts.contact import PhoneNumber
from syncd.core.files import vcard
from syncd.core.files.contact_import import ImportEntry
from syncd.core.files.vcard import Card, Property, escape, split_components, unescape

MEDIA_TYPE = "text/vcard"

_KINDS = {"Queue": "group"}
_TYPES = {"mobile": "cell", "work": "work", "home": "home", "fax": "fax", "pager": "pager"}
"""Description of a number -> TYPE of TEL; other descriptions are written as a label."""
_DESCRIPTIONS = {type_: description for description, type_ in _TYPES.items()}
_TEXTS = {"emailAddress": "EMAIL", "userName": "X-USER-NAME", "employeeId": "X-EMPLOYEE-ID", "channel": "X-CHANNEL"}
_LISTS = {"businessUnits": "ORG", "roles": "ROLE"}


def encode_contact(contact: Mapping[str, Any]) -> str:
    """Encode a contact, given as JSON members; `name` is required, because FN is mandatory."""
    return vcard.encode_card([*_to_properties(contact)])


def parse_entries(raw: bytes) -> Iterator[ImportEntry]:
    """Parse id, name and numbers of the cards of a file; other properties are ignored. Raises InvalidParameter.

    A malformed card is yielded as an entry with an error.
    """
    return map(_parse_card, vcard.parse_cards(raw))


def _to_properties(contact: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "id" in contact:
        yield "UID", f"urn:uuid:{UUID(hex=contact['id'])}"
    if "type" in contact:
        yield "KIND", _KINDS.get(contact["type"], "individual")
    yield "FN", escape(contact["name"])
    if "lastName" in contact or "firstName" in contact:
        yield "N", ";".join([*(escape(contact.get(member, "")) for member in ("lastName", "firstName")), "", "", ""])
    yield from _to_telephones(contact)
    for member, name in _TEXTS.items():
        if member in contact:
            yield name, escape(contact[member])
    for member, name in _LISTS.items():
        for value in contact.get(member, ()):
            yield name, escape(value)
    if "type" in contact:
        yield "CATEGORIES", contact["type"]


def _to_telephones(contact: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    first = [{"phoneNumber": contact["phoneNumber"]}] if "phoneNumber" in contact else []
    numbers = contact.get("phoneNumbers", first)
    for at, number in enumerate(numbers, 1):
        description = number.get("description", "")
        preferred = ";PREF=1" if at == 1 < len(numbers) else ""
        if description in _TYPES:
            yield f"TEL{preferred};TYPE={_TYPES[description]}", escape(number["phoneNumber"])
        elif description:
            yield f"item{at}.TEL{preferred}", escape(number["phoneNumber"])
            yield f"item{at}.X-ABLabel", escape(description)
        else:
            yield f"TEL{preferred}", escape(number["phoneNumber"])


def _parse_card(card: Card) -> ImportEntry:
    if card.error:
        return ImportEntry(card.line, {}, card.error)
    members: dict[str, Any] = {}
    if id_ := _parse_id(_first_value(card.properties, "UID")):
        members["id"] = id_
    name = unescape(_first_value(card.properties, "FN")).strip() or _join_name(_first_value(card.properties, "N"))
    if name:
        members["name"] = name
    if numbers := _parse_numbers(card.properties):
        members |= {"phoneNumber": numbers[0].phone_number, "phoneNumbers": numbers}
    return ImportEntry(card.line, members, ignores_unknown_id=True)


def _first_value(properties: Sequence[Property], name: str) -> str:
    return next((prop.value for prop in properties if prop.name == name and prop.value.strip()), "")


def _parse_id(uid: str) -> str:
    """Return the id in a UID as syncd writes it; empty for other forms."""
    match = re.fullmatch(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", uid.strip().lower())
    return match[1].replace("-", "") if match else ""


def _join_name(structured: str) -> str:
    """Return "given family" of a value of N (family; given; middle; prefixes; suffixes)."""
    family, given, *_ = [*split_components(structured), "", ""]
    return " ".join(filter(None, (given.strip(), family.strip())))


def _parse_numbers(properties: Sequence[Property]) -> tuple[PhoneNumber, ...]:
    """Return the numbers of TEL, the preferred first."""
    labels = {prop.group: unescape(prop.value) for prop in properties if prop.name == "X-ABLABEL" and prop.group}
    telephones = sorted((prop for prop in properties if prop.name == "TEL"), key=_preference)
    numbers = [PhoneNumber(_parse_telephone(prop), _describe_telephone(prop, labels)) for prop in telephones]
    return tuple(number for number in numbers if number.phone_number)


def _preference(telephone: Property) -> int:
    """Return the sort key: PREF, where 1 is the most preferred (RFC 6350, 5.3), or TYPE=pref of version 3.0."""
    preference = telephone.parameters.get("PREF", ("",))[0]
    if preference.isdecimal():
        return int(preference[:4])
    return 1 if "pref" in telephone.parameters.get("TYPE", ()) else 101


def _parse_telephone(telephone: Property) -> str:
    """Return the number: the path of a `tel:` URI, else the text."""
    value = telephone.value.strip()
    if "uri" in telephone.parameters.get("VALUE", ()):
        return unquote(re.sub("(?i)^tel:", "", value)).strip()
    return unescape(value).strip()


def _describe_telephone(telephone: Property, labels: Mapping[str, str]) -> str:
    label = labels.get(telephone.group, "").strip()
    if label:
        return label.removeprefix("_$!<").removesuffix(">!$_")
    types = telephone.parameters.get("TYPE", ())
    return next((_DESCRIPTIONS[type_] for type_ in types if type_ in _DESCRIPTIONS), "")
