"""JSON representation of a contact."""

import json
from typing import Any

from syncd.core.contacts.models import StoredContact

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Encode a value as compact JSON."""


def contact_to_json(stored: StoredContact, base: str) -> dict[str, Any]:
    """Return all members of a contact, in the order of MEMBERS.

    `base` is the public URL of this server, such as https://directory.example.com, or empty.
    """
    members: dict[str, Any] = {"id": stored.id, "name": stored.name, "type": stored.type}
    if stored.numbers:
        members["phoneNumber"] = stored.numbers[0]["phoneNumber"]
        # jsonb does not keep the order of members
        members["phoneNumbers"] = [{"phoneNumber": number["phoneNumber"], **number} for number in stored.numbers]
    if stored.type == "User":
        members |= _user_members(stored)
    elif stored.channel is not None:
        members["channel"] = stored.channel
    return members | address_members(stored.id, base)


def address_members(id_: str, base: str) -> dict[str, str]:
    """Return `uri` and `path` of a contact; without a base only `path`."""
    uri = {"uri": f"{base}/api/v2/contacts/{id_}"} if base else {}
    return {**uri, "path": f"/contacts/{id_}"}


def select_members(stored: StoredContact, base: str, fields: frozenset[str] | None) -> dict[str, Any]:
    """Return the members named in `fields`; all of them for None."""
    members = contact_to_json(stored, base)
    if fields is None:
        return members
    return {name: value for name, value in members.items() if name in fields}


def _user_members(stored: StoredContact) -> dict[str, Any]:
    texts = {
        "userName": stored.user_name,
        "firstName": stored.first_name,
        "lastName": stored.last_name,
        "employeeId": stored.employee_id,
        "emailAddress": stored.email_address,
    }
    members: dict[str, Any] = {name: text for name, text in texts.items() if text is not None}
    members["roles"] = stored.roles
    members["businessUnits"] = stored.business_units
    return members
