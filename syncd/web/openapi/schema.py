"""JSON Schema (draft 2020-12) of what goes in and out, made from the constants that the code itself checks by."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from syncd.core.contacts.contact import LIST_MEMBERS, MAX_LENGTH, MEMBERS, MEMBERS_OF, TYPES, Type
from syncd.core.contacts.custom import WRITABLE

Schema: TypeAlias = Mapping[str, Any]

# what str.strip() takes away, the same without control characters, and what `has_control` forbids: character classes
_BLANK = r"\t\n\x0b\f\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INNER = r"\x20\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"

TEXT = {"type": "string", "pattern": f"^[{_BLANK}]*([^{_CONTROL}]*)[{_BLANK}]*$"}
"""Any text without control characters; white space around it does not count."""
SOMETHING = {**TEXT, "allOf": [{"pattern": f"[^,{_BLANK}]"}]}
"""The same with something in it besides commas."""
NOT_EMPTY = {**TEXT, "allOf": [{"pattern": f"[^{_BLANK}]"}]}
ID: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{32}$", "examples": ["5f2b9c0e7a1d4c3b8e6f0a9d2c4b6e81"]}
MOMENT = {"type": "string", "format": "date-time", "examples": ["2026-03-01T12:00:00+00:00"]}
COUNT = {"type": "integer", "minimum": 0}


def reference(name: str) -> Schema:
    """A schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def exactly(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> dict[str, Any]:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def number_or_nothing(least: int = 0, most: int | None = None) -> Schema:
    """A number within bounds, or empty, which is as if not given."""
    bound = {} if most is None else {"maximum": most}
    return {"anyOf": [{"type": "integer", "minimum": least, **bound}, {"const": ""}]}


def bounded(length: int) -> Schema:
    """Any text without control characters, of so many characters at most, white space around it aside."""
    return {"type": "string", "pattern": f"^[{_BLANK}]*([^{_CONTROL}]{{0,{length}}})[{_BLANK}]*$"}


def listed(words: Iterable[str], *, any_case: bool = False) -> Schema:
    """A comma list of words, with white space around them; an empty item is as if not given."""
    one = "|".join(_any_case(word) if any_case else word.replace("*", r"\*") for word in words)
    item = f"[{_INNER}]*({one})?[{_INNER}]*"
    return {"type": "string", "pattern": f"^[{_BLANK}]*{item}(,{item})*[{_BLANK}]*$"}


def one_of(words: Collection[str]) -> Schema:
    """One of these words, or empty, which is as if not given."""
    return {"type": "string", "enum": [*words, ""]}


def _any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word)


def _said(member: str) -> Schema:
    """The value of a writable member: not empty, of bounded length, white space around it aside."""
    inner = f"[^{_CONTROL}{_BLANK}]"
    return {
        "type": "string",
        "pattern": f"^[{_BLANK}]*{inner}([^{_CONTROL}]{{0,{MAX_LENGTH - 2}}}{inner})?[{_BLANK}]*$",
        "examples": ["Reception" if member == "name" else "+1 555 010 1000"],
    }


_SHOWN: Mapping[str, Schema] = {
    "id": ID,
    "type": {"enum": list(TYPES)},
    "phoneNumbers": {
        "type": "array",
        "minItems": 1,
        "items": exactly(
            {"phoneNumber": {"type": "string"}}, {"description": {"type": "string", "examples": ["mobile"]}}
        ),
        "description": "every number; the first is phoneNumber",
    },
    "uri": {"type": "string", "format": "uri"},
    "path": {"type": "string", "pattern": "^/contacts/[0-9a-f]{32}$"},
    **{member: {"type": "array", "items": {"type": "string"}} for member in LIST_MEMBERS},
}


def _member(member: str) -> Schema:
    return _SHOWN.get(member, {"type": "string", "minLength": 1})


def _of_type(type_: Type) -> dict[str, Any]:
    """A contact as it is shown: what each of this type has, and what it may have."""
    has = ("id", "name", "type", "uri", "path", *(LIST_MEMBERS if type_ == "User" else ()))
    may = [member for member in MEMBERS if member in MEMBERS_OF[type_] | {"phoneNumbers"} and member not in has]
    shown = exactly({member: _member(member) for member in has}, {member: _member(member) for member in may})
    shown["properties"]["type"] = {"const": type_}
    shown["dependentRequired"] = {"phoneNumber": ["phoneNumbers"], "phoneNumbers": ["phoneNumber"]}
    return shown


_SELECTION = {
    "type": "object",
    "properties": {member: _member(member) for member in MEMBERS},
    "additionalProperties": False,
    "description": "what `fields` leaves of a contact",
}

_CHANGE: dict[str, Any] = {
    "type": "object",
    "properties": {
        member: _said(member) if member in WRITABLE else {**_member(member), "readOnly": True} for member in MEMBERS
    },
    "additionalProperties": False,
    "description": "members that are not given stay; a read-only one may be sent back as it was read",
    "examples": [{"phoneNumber": "+1 555 010 2000"}],
}
_CHANGE_BY_ID = {
    **_CHANGE,
    "properties": {**_CHANGE["properties"], "id": ID},
    "required": ["id"],
    "examples": [{"id": ID["examples"][0], "phoneNumber": "+1 555 010 2000"}],
}

CONTACTS: Mapping[str, Schema] = {
    **{f"{type_}Contact": _of_type(type_) for type_ in TYPES},
    "Contact": {
        "oneOf": [reference(f"{type_}Contact") for type_ in TYPES],
        "discriminator": {
            "propertyName": "type",
            "mapping": {type_: f"#/components/schemas/{type_}Contact" for type_ in TYPES},
        },
    },
    "Selection": _SELECTION,
    "NewContact": {
        **exactly({member: _said(member) for member in WRITABLE}, {"type": {"const": "Custom"}}),
        "examples": [{"name": "Reception", "phoneNumber": "+1 555 010 1000"}],
    },
    "ContactChange": _CHANGE,
    "ContactChangeById": _CHANGE_BY_ID,
}
"""Contacts, by the names of their schemas."""
