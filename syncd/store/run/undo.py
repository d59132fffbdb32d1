"""Reversal of a run: a plan made from its lines in the change log."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, Contact, ContactType, PhoneNumber
from syncd.core.sync.plan import PROVEN, Staged
from syncd.errors import NothingToUndo
from syncd.store.run import plan, staging
from syncd.store.run.partition import build_members, execute, to_contact
from syncd.store.schema.tables import run as run_table


class UndoTarget(NamedTuple):
    """Run that can be reversed."""

    run_id: int
    source: str
    revision: int
    proof_run: int
    """The complete run that first proved the changes of this one; for a sync the run itself."""


def find_target(connection: Connection, run_id: int) -> UndoTarget:
    """Load the run to reverse. Raises NothingToUndo when there is none or it has changed no contact."""
    columns = (run_table.c.source, run_table.c.job, run_table.c.outcome, run_table.c.revision, run_table.c.undone)
    row = connection.execute(select(*columns).where(run_table.c.id == run_id)).one_or_none()
    if row is None:
        raise NothingToUndo(f"there is no run {run_id}; `syncd status` names the last ones")
    if row.job == "purge":
        raise NothingToUndo(f"run {run_id} was a purge; purged contacts come back only with their source")
    if row.outcome not in PROVEN or row.revision is None:
        raise NothingToUndo(f"run {run_id} of {row.source} ended {row.outcome} and changed no contact")
    proof_run = run_id if row.undone is None else find_target(connection, row.undone).proof_run
    return UndoTarget(run_id, row.source, row.revision, proof_run)


# contacts of the log that were purged since have no row here and cannot be restored
_SELECT_CHANGES = """
SELECT l.kind, l.old AS was, l.new AS became, {new_columns}, c.id, c.state, c.source_key, c.had, {now} AS now
  FROM change l JOIN {{partition}} c ON c.id = l.contact_id
 WHERE l.revision = :revision AND l.run_id = :run
 ORDER BY l.id
"""
_DEPARTURES = """
INSERT INTO plan (kind, id, was, source_key, reason)
SELECT 'remove', c.id, c.state, c.source_key, :reason
  FROM {partition} c
 WHERE c.state = 'active' AND c.id = ANY (CAST(:ids AS uuid[]))
"""


def plan_undo(connection: Connection, type_: ContactType, region: str, target: UndoTarget) -> int:
    """Plan the reversal of a run; return the number of its change log lines.

    A member that a later run has changed keeps that value. Custom contacts are never part of such a plan.
    """
    columns = ", ".join(f"c.{name}" for name in Contact._fields)
    query = _SELECT_CHANGES.format(new_columns=columns, now=build_members("c"))
    rows = execute(connection, query, type_, revision=target.revision, run=target.run_id).mappings().all()
    staging.stage(connection, type_, region, list(_restore(rows, f"undo of run {target.run_id}")))
    plan.begin(connection, set())
    plan.plan_arrivals(connection, target.source, type_)
    added = [row["id"] for row in rows if row["kind"] in {"add", "return"}]
    execute(connection, _DEPARTURES, type_, ids=added, reason=f"undo of run {target.run_id}")
    return len(rows)


def _restore(rows: Any, location: str) -> Iterator[Staged]:
    """Yield contacts that reappear or get earlier values; without digest, so that the next sync does not skip them."""
    for row in rows:
        contact = to_contact(row)
        if row["kind"] in {"miss", "remove"} and row["state"] != "active":
            yield Staged(row["source_key"], location, b"", contact, row["had"])
        elif row["kind"] == "change" and row["state"] == "active":
            yield Staged(row["source_key"], location, b"", _revert(row, contact), row["had"])


def _revert(row: RowMapping, contact: Contact) -> Contact:
    """Return the contact with the old values of those members that still have the values that the run gave them."""
    was, became, now = row["was"], row["became"], row["now"]
    columns = TEXT_MEMBERS | LIST_MEMBERS | {"phoneNumbers": "numbers"}
    old_values = {m: was.get(m) for m in was.keys() | became.keys() if now.get(m) == became.get(m)}
    return contact._replace(**{columns[member]: _parse_value(member, value) for member, value in old_values.items()})


def _parse_value(member: str, value: Any) -> Any:
    if member == "phoneNumbers":
        return tuple(PhoneNumber(n["phoneNumber"], n.get("description", "")) for n in value or ())
    return tuple(value or ()) if member in LIST_MEMBERS else value


def load_source(connection: Connection, run_id: int) -> str:
    """Return the source of a run. Raises NothingToUndo when there is no such run."""
    source = connection.scalar(select(run_table.c.source).where(run_table.c.id == run_id))
    if source is None:
        raise NothingToUndo(f"there is no run {run_id}; `syncd status` names the last ones")
    return str(source)
