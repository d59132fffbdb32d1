"""A contact on the wire: its members under their names, in their order."""

import json
from typing import Any

from syncd.core.contacts.models import StoredContact

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON as it goes over the wire."""


def contact(stored: StoredContact, base: str) -> dict[str, Any]:
    """Every member that the contact has. `base` is where clients find us, such as https://directory.example.com."""
    members: dict[str, Any] = {"id": stored.id, "name": stored.name, "type": stored.type}
    if stored.numbers:
        members["phoneNumber"] = stored.numbers[0]["phoneNumber"]
        # jsonb does not keep the order of members
        members["phoneNumbers"] = [{"phoneNumber": number["phoneNumber"], **number} for number in stored.numbers]
    if stored.type == "User":
        members |= _user(stored)
    elif stored.channel is not None:
        members["channel"] = stored.channel
    return members | address(stored.id, base)


def address(id_: str, base: str) -> dict[str, str]:
    """Where a contact is found; without a base only below which path."""
    uri = {"uri": f"{base}/api/v2/contacts/{id_}"} if base else {}
    return {**uri, "path": f"/contacts/{id_}"}


def selected(stored: StoredContact, base: str, fields: frozenset[str] | None) -> dict[str, Any]:
    """The members that were asked for."""
    members = contact(stored, base)
    if fields is None:
        return members
    return {name: value for name, value in members.items() if name in fields}


def _user(stored: StoredContact) -> dict[str, Any]:
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
