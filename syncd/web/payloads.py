"""How a contact looks on the wire: its members in their order, and long answers as a stream of chunks."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from syncd.core.directory import Page, StoredContact
from syncd.web.answers import encode

CHUNK = 64 * 1024
"""Bytes after which a part of a long answer is sent."""


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
    """Where a contact is found."""
    return {"uri": f"{base}/api/v2/contacts/{id_}", "path": f"/contacts/{id_}"}


def selected(stored: StoredContact, base: str, fields: frozenset[str] | None) -> dict[str, Any]:
    """The members that were asked for."""
    members = contact(stored, base)
    if fields is None:
        return members
    return {name: value for name, value in members.items() if name in fields}


async def chunks(page: Page, base: str, fields: frozenset[str] | None) -> AsyncGenerator[bytes, None]:
    """The answer to a query, in parts of about CHUNK bytes. The last part, and only that, ends the JSON object."""
    text = [f'{{"statusCode":0,"totalCount":{page.total},"contacts":[']
    size, comma = len(text[0]), ""
    async for rows in page.batches:
        if rows:
            text.append(comma + _joined(rows, base, fields))
            size, comma = size + len(text[-1]), ","
        if size >= CHUNK:
            yield "".join(text).encode()
            text, size = [], 0
    yield "".join([*text, "]}"]).encode()


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


def _joined(rows: Sequence[StoredContact], base: str, fields: frozenset[str] | None) -> str:
    """The contacts of a batch, as they stand between the brackets: the encoder is called once for all of them."""
    return encode([selected(stored, base, fields) for stored in rows])[1:-1]
