"""Writing Custom contacts: each change is one transaction with its line in the change log and the next revision.

This module names the partition `contact_custom` and no other; the database role behind it may write nothing else.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeAlias, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.contact import Contact, Number, index
from syncd.core.contacts.models import StoredContact
from syncd.core.files.contact_import import before
from syncd.errors import NotFound, ReadOnly
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts.reading import by_id
from syncd.store.schema.tables import directory, partition

Edit: TypeAlias = Callable[[StoredContact], Contact]
Check: TypeAlias = Callable[[StoredContact], None]
P = ParamSpec("P")
R = TypeVar("R")

_table = partition["Custom"]
_REPLACE = update(_table).where(_table.c.id == bindparam("at"))
# as late in the transaction as can be: the row lock of the revision orders the writers
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
    """What the web part writes: the functions below. Every method raises StoreUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def create(self, contact: Contact, caller: str) -> str:
        """Store a new contact; its id."""
        return await self._do(create, contact, caller)

    async def change(self, id_: str, edit: Edit, caller: str) -> None:
        """Replace a contact by what `edit` makes of it."""
        await self._do(change, id_, edit, caller)

    async def delete(self, id_: str, check: Check, caller: str) -> None:
        """Remove a contact for good."""
        await self._do(remove, id_, check, caller)

    async def reindex(self, region: str) -> int:
        """Index the contacts anew where their numbers belong to another region than before."""
        return await self._do(reindex, region)

    async def _do(self, deed: Callable[Concatenate[Connection, P], R], *values: P.args, **named: P.kwargs) -> R:
        async with self._sessions.writing() as connection:
            return await connection.run_sync(deed, *values, **named)


def create(connection: Connection, contact: Contact, caller: str) -> str:
    """Store a new contact and return its id, 32 hex digits. `caller` is who does it, for the change log."""
    line = add(connection, [contact])
    log(connection, caller, line)
    return line[0].id.hex


def change(connection: Connection, id_: str, edit: Edit, caller: str) -> None:
    """Replace a contact by what `edit` makes of the stored one; an equal one is not written.

    Raises NotFound, ReadOnly for a synced contact, and whatever `edit` raises; then nothing is changed.
    """
    stored = _locked(connection, id_)
    after = edit(stored)
    if after != before(stored):
        log(connection, caller, replace(connection, [(stored, after)]))


def remove(connection: Connection, id_: str, check: Check, caller: str) -> None:
    """Remove a contact for good. Raises NotFound, ReadOnly for a synced contact, and whatever `check` raises."""
    stored = _locked(connection, id_)
    check(stored)
    connection.execute(delete(_table).where(_table.c.id == UUID(hex=id_)))
    log(connection, caller, [Line(UUID(hex=id_), "delete", _members(before(stored)), {})])


class Line(NamedTuple):
    """What the change log says of one contact."""

    id: UUID
    kind: str
    old: dict[str, Any]
    new: dict[str, Any]


def add(connection: Connection, contacts: Sequence[Contact]) -> list[Line]:
    """Store new contacts; what is to be logged, in their order."""
    region = _region(connection)
    lines = [Line(uuid4(), "add", {}, _members(contact)) for contact in contacts]
    rows = [
        {"id": line.id, "type": "Custom", **_row(contact, region)}
        for line, contact in zip(lines, contacts, strict=True)
    ]
    connection.execute(insert(_table), rows)
    _learn(connection, rows)
    return lines


def replace(connection: Connection, pairs: Sequence[tuple[StoredContact, Contact]]) -> list[Line]:
    """Write contacts, which are locked, as they are to be; what is to be logged, in their order."""
    region = _region(connection)
    rows = [{"at": UUID(hex=stored.id), **_row(after, region)} for stored, after in pairs]
    connection.execute(_REPLACE, rows)
    _learn(connection, rows)
    return [_difference(stored, after) for stored, after in pairs]


def log(connection: Connection, caller: str, lines: Sequence[Line]) -> None:
    """Write these lines of the change log with the next revision, and tell whoever listens."""
    said = [line._asdict() | {"id": line.id.hex} for line in lines]
    connection.execute(_LOG, {"caller": caller, "lines": json.dumps(said)})


def _difference(stored: StoredContact, after: Contact) -> Line:
    old, new = _members(before(stored)), _members(after)
    changed = {member for member in old | new if old.get(member) != new.get(member)}
    old, new = ({m: v for m, v in side.items() if m in changed} for side in (old, new))
    return Line(UUID(hex=stored.id), "change", old, new)


def _locked(connection: Connection, id_: str) -> StoredContact:
    """The Custom contact as it is now; nobody else changes it before this transaction ends."""
    connection.execute(select(_table.c.id).where(_table.c.id == UUID(hex=id_)).with_for_update())
    row = connection.execute(by_id(id_)).one_or_none()
    if row is None:
        raise NotFound(f"there is no contact {id_}")
    stored = StoredContact._make(row)
    if stored.type != "Custom":
        raise ReadOnly(f"{stored.type} contacts are kept by the synchronization and cannot be changed here")
    return stored


def reindex(connection: Connection, region: str) -> int:
    """Index every contact anew when its numbers belong to another region than before; return how many were.

    Those that an older version has written are indexed in any case. Writers wait meanwhile.
    """
    connection.execute(text("LOCK TABLE contact_custom IN SHARE ROW EXCLUSIVE MODE"))
    moved = connection.execute(update(directory).where(directory.c.region != region).values(region=region)).rowcount
    older = func.strpos(_table.c.search, "\v") == 0
    rows = connection.execute(select(_table.c.id, _table.c.name, _table.c.numbers).where(true() if moved else older))
    found = [{"at": row.id, **_row(Contact(row.name, _numbers(row.numbers)), region)} for row in rows]
    if found:
        connection.execute(_REPLACE, found)
        _learn(connection, found)
        log(connection, "", [])
    return len(found)


def _region(connection: Connection) -> str:
    """Where numbers without country code belong. It stays so until the end of the transaction."""
    connection.execute(text("LOCK TABLE contact_custom IN ROW EXCLUSIVE MODE"))
    return str(connection.scalar(select(directory.c.region)) or "")


def _learn(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note the words of the names, which a misspelled search is compared with."""
    connection.execute(_WORDS, {"searches": [row["search"] for row in rows]})


def _row(contact: Contact, region: str) -> dict[str, Any]:
    """The columns that hold a Custom contact."""
    found = index("Custom", contact, region)
    return {
        "name": contact.name,
        "numbers": [_number(number) for number in contact.numbers],
        "name_folded": found.name_folded,
        "search": found.search,
        "dialled": list(found.dialled),
        "tails": list(found.tails),
    }


def _numbers(stored: Sequence[Mapping[str, str]]) -> tuple[Number, ...]:
    return tuple(Number(number["phoneNumber"], number.get("description", "")) for number in stored)


def _members(contact: Contact) -> dict[str, Any]:
    """A Custom contact by the wire names of its members, as every line of the change log has it."""
    numbers = {"phoneNumbers": [_number(number) for number in contact.numbers]} if contact.numbers else {}
    return {"name": contact.name, **numbers}


def _number(number: Number) -> dict[str, str]:
    """As every writer stores it: without a description when there is none."""
    said = {"description": number.description} if number.description else {}
    return {"phoneNumber": number.phone_number, **said}
