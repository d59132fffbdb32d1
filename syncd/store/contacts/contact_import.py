"""Import of Custom contacts: previewed, or applied within one transaction of the caller."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Text, Uuid, any_, bindparam, collate, select, text

from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.query import is_id
from syncd.core.contacts.text import fold
from syncd.core.files.contact_import import ImportAction, ImportEntry, ImportReport, plan_import
from syncd.store.contacts import custom
from syncd.store.contacts.reading import COLUMNS
from syncd.store.schema.tables import contact, partition

_table = partition["Custom"]
# serialises imports: two simultaneous imports of one file must not create its contacts twice
_LOCK_IMPORT = text("SELECT pg_advisory_xact_lock(hashtextextended('syncd import', 0))")
_SELECT_BY_ID = select(*COLUMNS).where(contact.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
# the folded name selects by index, the exact one decides
_SELECT_BY_NAME = select(*COLUMNS).where(
    contact.c.type == "Custom",
    collate(contact.c.name_folded, "C") == any_(bindparam("folded", type_=ARRAY(Text))),
    contact.c.name == any_(bindparam("names", type_=ARRAY(Text))),
)
_LOCK_CONTACTS = (
    select(_table.c.id)
    .where(_table.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
    .order_by(_table.c.id)
    .with_for_update()
)


def preview(connection: Connection, entries: Sequence[ImportEntry]) -> ImportReport:
    """Return the result that importing these entries would have."""
    return ImportReport(applied=False, rows=[action.row for action in _plan(connection, entries)])


def apply(connection: Connection, entries: Sequence[ImportEntry], caller: str) -> ImportReport:
    """Import the valid entries with one revision; report all. `caller`: name for the change log."""
    connection.execute(_LOCK_IMPORT)
    connection.execute(_LOCK_CONTACTS, {"ids": _parse_ids(entries)})
    actions = _plan(connection, entries)
    new = [action.contact for action in actions if action.contact and not action.stored]
    changed = [(action.stored, action.contact) for action in actions if action.contact and action.stored]
    added = custom.add(connection, new) if new else []
    replaced = custom.replace(connection, changed) if changed else []
    if added or replaced:
        custom.write_log(connection, caller, [*added, *replaced])
    ids = iter(added)
    rows = [a.row._replace(id=next(ids).id.hex) if a.row.result == "create" else a.row for a in actions]
    return ImportReport(applied=True, rows=rows)


def _plan(connection: Connection, entries: Sequence[ImportEntry]) -> list[ImportAction]:
    names = list({str(entry.members.get("name", "")).strip() for entry in entries})
    folded = [fold(name) for name in names]
    stored = map(StoredContact._make, connection.execute(_SELECT_BY_ID, {"ids": _parse_ids(entries)}))
    same_name = map(StoredContact._make, connection.execute(_SELECT_BY_NAME, {"folded": folded, "names": names}))
    return plan_import(entries, {contact.id: contact for contact in stored}, same_name)


def _parse_ids(entries: Sequence[ImportEntry]) -> list[UUID]:
    ids = {entry.members.get("id", "") for entry in entries}
    return [UUID(hex=id_) for id_ in sorted(ids) if is_id(id_)]
