"""Writing Custom contacts: each change is one transaction that ends with the directory's next revision.

This module names the partition `contact_custom` and no other; the database role behind it may write nothing else.
"""

from collections.abc import Callable
from typing import Any, TypeAlias
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
_next_revision = text(
    "WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision) "
    "SELECT pg_notify('syncd_revision', revision::text) FROM next"
)


class CustomContacts:
    """The contacts that people keep by hand. Every method raises StoreUnavailable when the database is not there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def create(self, contact: Contact) -> str:
        """Store a new contact and return its id, 32 hex digits."""
        async with self._sessions.writing() as connection:
            statement = insert(_table).values(type="Custom", **_row(contact)).returning(_table.c.id)
            id_: UUID = (await connection.execute(statement)).scalar_one()
            await connection.execute(_next_revision)
        return id_.hex

    async def change(self, id_: str, edit: Edit) -> None:
        """Replace a contact by what `edit` makes of the stored one; an equal one is not written.

        Raises NotFound, ReadOnly for a synced contact, and whatever `edit` raises; then nothing is changed.
        """
        async with self._sessions.writing() as connection:
            stored = await _locked(connection, id_)
            row = _row(edit(stored))
            if row == _row(Contact(name=stored.name, numbers=stored.all_numbers())):
                return
            await connection.execute(update(_table).where(_table.c.id == UUID(hex=id_)).values(row))
            await connection.execute(_next_revision)

    async def delete(self, id_: str) -> None:
        """Remove a contact for good. Raises NotFound, and ReadOnly for a synced contact."""
        async with self._sessions.writing() as connection:
            await _locked(connection, id_)
            await connection.execute(delete(_table).where(_table.c.id == UUID(hex=id_)))
            await connection.execute(_next_revision)


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


def _number(number: Number) -> dict[str, str]:
    """As every writer stores it: without a description when there is none."""
    said = {"description": number.description} if number.description else {}
    return {"phoneNumber": number.phone_number, **said}
