"""Writes of Custom contacts: each change is one transaction with its change log line and the next revision.

This module uses only the partition `contact_custom`; the database role behind it may write no other.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeAlias, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.contact import Contact, PhoneNumber, build_index
from syncd.core.contacts.models import StoredContact
from syncd.core.files.contact_import import to_contact
from syncd.errors import NotFound, ReadOnly
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts.reading import select_by_id
from syncd.store.schema.tables import directory, partition

Edit: TypeAlias = Callable[[StoredContact], Contact]
Check: TypeAlias = Callable[[StoredContact], None]
P = ParamSpec("P")
R = TypeVar("R")

_table = partition["Custom"]
_REPLACE = update(_table).where(_table.c.id == bindparam("at"))
# executed as late as possible in the transaction, because the row lock of the revision serialises the writers
_LOG = text("""
WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision),
     line AS (INSERT INTO change (revision, caller, contact_id, type, kind, old, new)
              SELECT revision, :caller, said.id, 'Custom', said.kind, said.old, said.new
                FROM next, jsonb_to_recordset(CAST(:lines AS jsonb)) AS said(id uuid, kind text, old jsonb, new jsonb))
SELECT pg_notify('syncd_revision', revision::text) FROM next
""")
_WORDS = text("""
INSERT INTO word (word)
SELECT DISTINCT named.word FROM unnest(CAST(:searches AS text[])) AS s, names_of(s) AS named(word)
 WHERE NOT EXISTS (SELECT FROM word w WHERE w.word = named.word)
""")


class CustomContacts:
    """The functions below, each in a transaction of the pool. Every method raises StoreUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def create(self, contact: Contact, caller: str) -> str:
        """Store a new contact and return its id (32 hex digits)."""
        return await self._run(create, contact, caller)

    async def change(self, id_: str, edit: Edit, caller: str) -> None:
        """Replace a contact by the result of `edit`. Raises NotFound, ReadOnly, and the errors of `edit`."""
        await self._run(change, id_, edit, caller)

    async def delete(self, id_: str, check: Check, caller: str) -> None:
        """Delete a contact. Raises NotFound, ReadOnly, and the errors of `check`."""
        await self._run(remove, id_, check, caller)

    async def reindex(self, region: str) -> int:
        """Re-index the contacts if the region of their numbers has changed; return how many."""
        return await self._run(reindex, region)

    async def _run(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._sessions.transaction() as connection:
            return await connection.run_sync(function, *args, **kwargs)


def create(connection: Connection, contact: Contact, caller: str) -> str:
    """Store a new contact and return its id (32 hex digits). `caller`: name for the change log."""
    lines = add(connection, [contact])
    write_log(connection, caller, lines)
    return lines[0].id.hex


def change(connection: Connection, id_: str, edit: Edit, caller: str) -> None:
    """Replace a contact by the result of `edit`; an equal one is not written.

    Raises NotFound, ReadOnly for a synced contact, and the errors of `edit`; then nothing is changed.
    """
    stored = _lock_contact(connection, id_)
    after = edit(stored)
    if after != to_contact(stored):
        write_log(connection, caller, replace(connection, [(stored, after)]))


def remove(connection: Connection, id_: str, check: Check, caller: str) -> None:
    """Delete a contact. Raises NotFound, ReadOnly for a synced contact, and the errors of `check`."""
    stored = _lock_contact(connection, id_)
    check(stored)
    connection.execute(delete(_table).where(_table.c.id == UUID(hex=id_)))
    write_log(connection, caller, [ChangeLine(UUID(hex=id_), "delete", _to_members(to_contact(stored)), {})])


class ChangeLine(NamedTuple):
    """Line of the change log for one contact; `old` and `new` by JSON names of the members."""

    id: UUID
    kind: str
    old: dict[str, Any]
    new: dict[str, Any]


def add(connection: Connection, contacts: Sequence[Contact]) -> list[ChangeLine]:
    """Insert contacts; return their change log lines in the same order."""
    region = _lock_region(connection)
    lines = [ChangeLine(uuid4(), "add", {}, _to_members(contact)) for contact in contacts]
    rows = [
        {"id": line.id, "type": "Custom", **_to_row(contact, region)}
        for line, contact in zip(lines, contacts, strict=True)
    ]
    connection.execute(insert(_table), rows)
    _index_words(connection, rows)
    return lines


def replace(connection: Connection, pairs: Sequence[tuple[StoredContact, Contact]]) -> list[ChangeLine]:
    """Update locked contacts from (stored, new) pairs; return their change log lines in the same order."""
    region = _lock_region(connection)
    rows = [{"at": UUID(hex=stored.id), **_to_row(after, region)} for stored, after in pairs]
    connection.execute(_REPLACE, rows)
    _index_words(connection, rows)
    return [_diff(stored, after) for stored, after in pairs]


def write_log(connection: Connection, caller: str, lines: Sequence[ChangeLine]) -> None:
    """Write lines to the change log with the next revision, and notify the listeners."""
    entries = [line._asdict() | {"id": line.id.hex} for line in lines]
    connection.execute(_LOG, {"caller": caller, "lines": json.dumps(entries)})


def _diff(stored: StoredContact, after: Contact) -> ChangeLine:
    old, new = _to_members(to_contact(stored)), _to_members(after)
    changed = {member for member in old | new if old.get(member) != new.get(member)}
    old, new = ({m: v for m, v in side.items() if m in changed} for side in (old, new))
    return ChangeLine(UUID(hex=stored.id), "change", old, new)


def _lock_contact(connection: Connection, id_: str) -> StoredContact:
    """Lock a Custom contact to the end of this transaction and return it. Raises NotFound, ReadOnly."""
    connection.execute(select(_table.c.id).where(_table.c.id == UUID(hex=id_)).with_for_update())
    row = connection.execute(select_by_id(id_)).one_or_none()
    if row is None:
        raise NotFound(f"there is no contact {id_}")
    stored = StoredContact._make(row)
    if stored.type != "Custom":
        raise ReadOnly(f"{stored.type} contacts are kept by the synchronization and cannot be changed here")
    return stored


def reindex(connection: Connection, region: str) -> int:
    """Re-index all contacts if the region of their numbers has changed; return the number of re-indexed contacts.

    Contacts written by an earlier release are re-indexed in any case. Writers wait meanwhile.
    """
    connection.execute(text("LOCK TABLE contact_custom IN SHARE ROW EXCLUSIVE MODE"))
    moved = connection.execute(update(directory).where(directory.c.region != region).values(region=region)).rowcount
    outdated = true() if moved else func.strpos(_table.c.search, "\v") == 0
    stored = connection.execute(select(_table.c.id, _table.c.name, _table.c.numbers).where(outdated))
    rows = [{"at": row.id, **_to_row(Contact(row.name, _parse_numbers(row.numbers)), region)} for row in stored]
    if rows:
        connection.execute(_REPLACE, rows)
        _index_words(connection, rows)
        write_log(connection, "", [])
    return len(rows)


def _lock_region(connection: Connection) -> str:
    """Return the region of numbers without country code; it does not change until the end of the transaction."""
    connection.execute(text("LOCK TABLE contact_custom IN ROW EXCLUSIVE MODE"))
    return str(connection.scalar(select(directory.c.region)) or "")


def _index_words(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store the words of the names, for searches with misspelled words."""
    connection.execute(_WORDS, {"searches": [row["search"] for row in rows]})


def _to_row(contact: Contact, region: str) -> dict[str, Any]:
    """Return the columns of a Custom contact."""
    index = build_index("Custom", contact, region)
    return {
        "name": contact.name,
        "numbers": [_encode_number(number) for number in contact.numbers],
        "name_folded": index.name_folded,
        "search": index.search,
        "dialled": list(index.dialled),
        "tails": list(index.tails),
    }


def _parse_numbers(stored: Sequence[Mapping[str, str]]) -> tuple[PhoneNumber, ...]:
    return tuple(PhoneNumber(number["phoneNumber"], number.get("description", "")) for number in stored)


def _to_members(contact: Contact) -> dict[str, Any]:
    """Return the members of a Custom contact by their JSON names, as in the change log."""
    numbers = {"phoneNumbers": [_encode_number(number) for number in contact.numbers]} if contact.numbers else {}
    return {"name": contact.name, **numbers}


def _encode_number(number: PhoneNumber) -> dict[str, str]:
    """Encode a number as every writer stores it: without an empty description."""
    description = {"description": number.description} if number.description else {}
    return {"phoneNumber": number.phone_number, **description}
