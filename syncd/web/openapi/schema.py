"""JSON Schemas (draft 2020-12) of requests and responses, built from the constants by which requests are validated."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from syncd.core.contacts.contact import LIST_MEMBERS, MAX_LENGTH, MEMBERS, MEMBERS_OF, TYPES, ContactType
from syncd.core.contacts.custom import WRITABLE

Schema: TypeAlias = Mapping[str, Any]

# character classes: what str.strip() removes, the same without control characters, and what `has_control` rejects
_BLANK = r"\t\n\x0b\f\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INNER = r"\x20\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"

TEXT = {"type": "string", "pattern": f"^[{_BLANK}]*([^{_CONTROL}]*)[{_BLANK}]*$"}
"""Any text without control characters; surrounding white space is ignored."""
LIST_TEXT = {**TEXT, "allOf": [{"pattern": f"[^,{_BLANK}]"}]}
"""TEXT with at least one character that is neither comma nor white space."""
NON_EMPTY_TEXT = {**TEXT, "allOf": [{"pattern": f"[^{_BLANK}]"}]}
ID: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{32}$", "examples": ["5f2b9c0e7a1d4c3b8e6f0a9d2c4b6e81"]}
TIMESTAMP = {"type": "string", "format": "date-time", "examples": ["2026-03-01T12:00:00+00:00"]}
COUNT = {"type": "integer", "minimum": 0}


def reference(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed_object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> dict[str, Any]:
    """Return the schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    """Return the schema that also allows null."""
    return {"anyOf": [schema, {"type": "null"}]}


def optional_integer(minimum: int = 0, maximum: int | None = None) -> Schema:
    """Return the schema of an integer within bounds, or of the empty string, which counts as absent."""
    upper = {} if maximum is None else {"maximum": maximum}
    return {"anyOf": [{"type": "integer", "minimum": minimum, **upper}, {"const": ""}]}


def bounded_text(max_length: int) -> Schema:
    """Return the schema of TEXT with at most `max_length` characters, surrounding white space aside."""
    return {"type": "string", "pattern": f"^[{_BLANK}]*([^{_CONTROL}]{{0,{max_length}}})[{_BLANK}]*$"}


def comma_list(words: Iterable[str], *, any_case: bool = False) -> Schema:
    """Return the schema of a comma-separated list of these words; empty items count as absent."""
    alternatives = "|".join(_case_insensitive(word) if any_case else word.replace("*", r"\*") for word in words)
    item = f"[{_INNER}]*({alternatives})?[{_INNER}]*"
    return {"type": "string", "pattern": f"^[{_BLANK}]*{item}(,{item})*[{_BLANK}]*$"}


def word_choice(words: Collection[str]) -> Schema:
    """Return the schema of one of these words, or of the empty string, which counts as absent."""
    return {"type": "string", "enum": [*words, ""]}


def _case_insensitive(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word)


def _writable_value(member: str) -> Schema:
    """Return the schema of a writable member: not empty and of bounded length, surrounding white space aside."""
    inner = f"[^{_CONTROL}{_BLANK}]"
    return {
        "type": "string",
        "pattern": f"^[{_BLANK}]*{inner}([^{_CONTROL}]{{0,{MAX_LENGTH - 2}}}{inner})?[{_BLANK}]*$",
        "examples": ["Reception" if member == "name" else "+1 555 010 1000"],
    }


_MEMBER_SCHEMAS: Mapping[str, Schema] = {
    "id": ID,
    "type": {"enum": list(TYPES)},
    "phoneNumbers": {
        "type": "array",
        "minItems": 1,
        "items": closed_object(
            {"phoneNumber": {"type": "string"}}, {"description": {"type": "string", "examples": ["mobile"]}}
        ),
        "description": "every number; the first is phoneNumber",
    },
    "uri": {"type": "string", "format": "uri"},
    "path": {"type": "string", "pattern": "^/contacts/[0-9a-f]{32}$"},
    **{member: {"type": "array", "items": {"type": "string"}} for member in LIST_MEMBERS},
}


def _member_schema(member: str) -> Schema:
    return _MEMBER_SCHEMAS.get(member, {"type": "string", "minLength": 1})


def _contact_schema(type_: ContactType) -> dict[str, Any]:
    """Return the schema of a served contact of this type, with its required and optional members."""
    required = ("id", "name", "type", "uri", "path", *(LIST_MEMBERS if type_ == "User" else ()))
    members = [member for member in MEMBERS if member in MEMBERS_OF[type_] | {"phoneNumbers"}]
    schema = closed_object(
        {member: _member_schema(member) for member in required},
        {member: _member_schema(member) for member in members if member not in required},
    )
    schema["properties"]["type"] = {"const": type_}
    schema["dependentRequired"] = {"phoneNumber": ["phoneNumbers"], "phoneNumbers": ["phoneNumber"]}
    return schema


_SELECTION = {
    "type": "object",
    "properties": {member: _member_schema(member) for member in MEMBERS},
    "additionalProperties": False,
    "description": "a contact with only the members that `fields` selects",
}

_CHANGE: dict[str, Any] = {
    "type": "object",
    "properties": {
        member: _writable_value(member) if member in WRITABLE else {**_member_schema(member), "readOnly": True}
        for member in MEMBERS
    },
    "additionalProperties": False,
    "description": "absent members stay unchanged; a read-only member may be sent with its current value",
    "examples": [{"phoneNumber": "+1 555 010 2000"}],
}
_CHANGE_BY_ID = {
    **_CHANGE,
    "properties": {**_CHANGE["properties"], "id": ID},
    "required": ["id"],
    "examples": [{"id": ID["examples"][0], "phoneNumber": "+1 555 010 2000"}],
}

CONTACTS: Mapping[str, Schema] = {
    **{f"{type_}Contact": _contact_schema(type_) for type_ in TYPES},
    "Contact": {
        "oneOf": [reference(f"{type_}Contact") for type_ in TYPES],
        "discriminator": {
            "propertyName": "type",
            "mapping": {type_: f"#/components/schemas/{type_}Contact" for type_ in TYPES},
        },
    },
    "Selection": _SELECTION,
    "NewContact": {
        **closed_object({member: _writable_value(member) for member in WRITABLE}, {"type": {"const": "Custom"}}),
        "examples": [{"name": "Reception", "phoneNumber": "+1 555 010 1000"}],
    },
    "ContactChange": _CHANGE,
    "ContactChangeById": _CHANGE_BY_ID,
}
"""Name -> schema of contacts."""
