"""Entries of a file against the directory: judged, and the good ones written in one transaction of the caller."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Text, Uuid, any_, bindparam, collate, select, text

from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.query import is_identifier
from syncd.core.contacts.text import fold
from syncd.core.files.contact_import import Entry, Outcome, Verdict, judged
from syncd.store.contacts import custom
from syncd.store.contacts.reading import COLUMNS
from syncd.store.schema.tables import contact, partition

_table = partition["Custom"]
# two people who import one file at the same moment must not double what is in it
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('syncd import', 0))")
_BY_ID = select(*COLUMNS).where(contact.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
# the folded name is there for its index
_BY_NAME = select(*COLUMNS).where(
    contact.c.type == "Custom",
    collate(contact.c.name_folded, "C") == any_(bindparam("folded", type_=ARRAY(Text))),
    contact.c.name == any_(bindparam("names", type_=ARRAY(Text))),
)
_HOLD = (
    select(_table.c.id)
    .where(_table.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
    .order_by(_table.c.id)
    .with_for_update()
)


def preview(connection: Connection, entries: Sequence[Entry]) -> Outcome:
    """What importing these would do."""
    return Outcome(applied=False, rows=[verdict.row for verdict in _verdicts(connection, entries)])


def apply(connection: Connection, entries: Sequence[Entry], caller: str) -> Outcome:
    """Import what can be, with one revision, and tell of the rest. `caller` is who does it, for the change log."""
    connection.execute(_LOCK)
    connection.execute(_HOLD, {"ids": _ids(entries)})
    verdicts = _verdicts(connection, entries)
    new = [verdict.contact for verdict in verdicts if verdict.contact and not verdict.stored]
    other = [(verdict.stored, verdict.contact) for verdict in verdicts if verdict.contact and verdict.stored]
    added = custom.add(connection, new) if new else []
    replaced = custom.replace(connection, other) if other else []
    if added or replaced:
        custom.log(connection, caller, [*added, *replaced])
    ids = iter(added)
    rows = [v.row._replace(id=next(ids).id.hex) if v.row.result == "create" else v.row for v in verdicts]
    return Outcome(applied=True, rows=rows)


def _verdicts(connection: Connection, entries: Sequence[Entry]) -> list[Verdict]:
    names = list({str(entry.members.get("name", "")).strip() for entry in entries})
    folded = [fold(name) for name in names]
    stored = map(StoredContact._make, connection.execute(_BY_ID, {"ids": _ids(entries)}))
    like = map(StoredContact._make, connection.execute(_BY_NAME, {"folded": folded, "names": names}))
    return judged(entries, {one.id: one for one in stored}, like)


def _ids(entries: Sequence[Entry]) -> list[UUID]:
    named = {entry.members.get("id", "") for entry in entries}
    return [UUID(hex=id_) for id_ in sorted(named) if is_identifier(id_)]
