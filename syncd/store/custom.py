"""Writing Custom contacts: each change is one transaction with its line in the change log and the next revision.

This module names the partition `contact_custom` and no other; the database role behind it may write nothing else.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncd.core.contact import Contact, Number, index
from syncd.core.directory import StoredContact
from syncd.errors import NotFound, ReadOnly
from syncd.store.directory import by_id
from syncd.store.session import Sessions
from syncd.store.tables import partition

Edit: TypeAlias = Callable[[StoredContact], Contact]

_table = partition["Custom"]
# as late in the transaction as can be: the row lock of the revision orders the writers
_log = text("""
WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision),
     line AS (INSERT INTO change (revision, caller, contact_id, type, kind, old, new)
              SELECT revision, :caller, :id, 'Custom', :kind, CAST(:old AS jsonb), CAST(:new AS jsonb) FROM next)
SELECT pg_notify('syncd_revision', revision::text) FROM next
""")


class CustomContacts:
    """The contacts that people keep by hand. Every method raises StoreUnavailable when the database is not there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def create(self, contact: Contact, caller: str) -> str:
        """Store a new contact and return its id, 32 hex digits. `caller` is who does it, for the change log."""
        async with self._sessions.writing() as connection:
            statement = insert(_table).values(type="Custom", **_row(contact)).returning(_table.c.id)
            id_: UUID = (await connection.execute(statement)).scalar_one()
            await _logged(connection, _Line(caller, id_, "add", {}, _members(contact)))
        return id_.hex

    async def change(self, id_: str, edit: Edit, caller: str) -> None:
        """Replace a contact by what `edit` makes of the stored one; an equal one is not written.

        Raises NotFound, ReadOnly for a synced contact, and whatever `edit` raises; then nothing is changed.
        """
        async with self._sessions.writing() as connection:
            stored = await _locked(connection, id_)
            before, after = Contact(name=stored.name, numbers=stored.all_numbers()), edit(stored)
            if before == after:
                return
            old, new = _members(before), _members(after)
            await connection.execute(update(_table).where(_table.c.id == UUID(hex=id_)).values(_row(after)))
            changed = {member for member in old | new if old.get(member) != new.get(member)}
            old, new = ({m: v for m, v in side.items() if m in changed} for side in (old, new))
            await _logged(connection, _Line(caller, UUID(hex=id_), "change", old, new))

    async def delete(self, id_: str, caller: str) -> None:
        """Remove a contact for good. Raises NotFound, and ReadOnly for a synced contact."""
        async with self._sessions.writing() as connection:
            stored = await _locked(connection, id_)
            await connection.execute(delete(_table).where(_table.c.id == UUID(hex=id_)))
            old = _members(Contact(name=stored.name, numbers=stored.all_numbers()))
            await _logged(connection, _Line(caller, UUID(hex=id_), "delete", old, {}))


class _Line(NamedTuple):
    """What the change log says of one edit."""

    caller: str
    id: UUID
    kind: str
    old: dict[str, Any]
    new: dict[str, Any]


async def _logged(connection: AsyncConnection, line: _Line) -> None:
    """Write a line of the change log with the next revision, and tell whoever listens."""
    values = line._asdict() | {"old": json.dumps(line.old), "new": json.dumps(line.new)}
    await connection.execute(_log, values)


async def _locked(connection: AsyncConnection, id_: str) -> StoredContact:
    """The Custom contact as it is now; nobody else changes it before this transaction ends."""
    await connection.execute(select(_table.c.id).where(_table.c.id == UUID(hex=id_)).with_for_update())
    row = (await connection.execute(by_id(id_))).one_or_none()
    if row is None:
        raise NotFound(f"there is no contact {id_}")
    stored = StoredContact._make(row)
    if stored.type != "Custom":
        raise ReadOnly(f"{stored.type} contacts are kept by the synchronization and cannot be changed here")
    return stored


def _row(contact: Contact) -> dict[str, Any]:
    """The columns that hold a Custom contact."""
    found = index("Custom", contact)
    return {
        "name": contact.name,
        "numbers": [_number(number) for number in contact.numbers],
        "name_folded": found.name_folded,
        "search": found.search,
        "dialled": list(found.dialled),
    }


def _members(contact: Contact) -> dict[str, Any]:
    """A Custom contact by the wire names of its members, as every line of the change log has it."""
    numbers = {"phoneNumbers": [_number(number) for number in contact.numbers]} if contact.numbers else {}
    return {"name": contact.name, **numbers}


def _number(number: Number) -> dict[str, str]:
    """As every writer stores it: without a description when there is none."""
    said = {"description": number.description} if number.description else {}
    return {"phoneNumber": number.phone_number, **said}
