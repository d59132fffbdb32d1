"""Taking a run back: the contrary of what the change log says of it becomes a plan."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, Contact, Number, Type
from syncd.core.sync.plan import PROVEN, Staged
from syncd.errors import NothingToUndo
from syncd.store.run import plan, staging
from syncd.store.run.partition import contact_from, execute, members
from syncd.store.schema.tables import run as run_table


class Done(NamedTuple):
    """A run that can be taken back."""

    run: int
    source: str
    revision: int
    witness: int
    """The complete run that first proved what this one did; of a sync that is itself."""


def find(connection: Connection, number: int) -> Done:
    """The run with this number. Raises NothingToUndo with the reason when it has changed nothing."""
    columns = (run_table.c.source, run_table.c.job, run_table.c.outcome, run_table.c.revision, run_table.c.undone)
    row = connection.execute(select(*columns).where(run_table.c.id == number)).one_or_none()
    if row is None:
        raise NothingToUndo(f"there is no run {number}; `syncd status` names the last ones")
    if row.job == "purge":
        raise NothingToUndo(f"run {number} was a purge: what it forgot is gone, and only its source can bring it back")
    if row.outcome not in PROVEN or row.revision is None:
        raise NothingToUndo(f"run {number} of {row.source} ended {row.outcome} and changed no contact")
    witness = number if row.undone is None else find(connection, row.undone).witness
    return Done(number, row.source, row.revision, witness)


# ids that the log names but that a purge has forgotten since have no row here and cannot come back
_CHANGES = """
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


def make(connection: Connection, type_: Type, region: str, done: Done) -> int:
    """Plan the contrary of a run; return how many lines of the log it looked at.

    A member that a later run has changed keeps what that run gave it. Contacts of people are in no such plan.
    """
    columns = ", ".join(f"c.{name}" for name in Contact._fields)
    query = _CHANGES.format(new_columns=columns, now=members("c"))
    rows = execute(connection, query, type_, revision=done.revision, run=done.run).mappings().all()
    staging.stage(connection, type_, region, list(_restored(rows, f"undo of run {done.run}")))
    plan.begin(connection, set())
    plan.arrive(connection, done.source, type_)
    gone = [row["id"] for row in rows if row["kind"] in {"add", "return"}]
    execute(connection, _DEPARTURES, type_, ids=gone, reason=f"undo of run {done.run}")
    return len(rows)


def _restored(rows: Any, place: str) -> Iterator[Staged]:
    """The contacts that come back or get earlier values; without a digest, so that the next sync looks at them."""
    for row in rows:
        contact = contact_from(row)
        if row["kind"] in {"miss", "remove"} and row["state"] != "active":
            yield Staged(row["source_key"], place, b"", contact, row["had"])
        elif row["kind"] == "change" and row["state"] == "active":
            yield Staged(row["source_key"], place, b"", _before(row, contact), row["had"])


def _before(row: RowMapping, contact: Contact) -> Contact:
    """The contact with the old values of those members that are still as the run left them."""
    was, became, now = row["was"], row["became"], row["now"]
    columns = TEXT_MEMBERS | LIST_MEMBERS | {"phoneNumbers": "numbers"}
    back = {m: was.get(m) for m in was.keys() | became.keys() if now.get(m) == became.get(m)}
    return contact._replace(**{columns[member]: _value(member, value) for member, value in back.items()})


def _value(member: str, value: Any) -> Any:
    if member == "phoneNumbers":
        return tuple(Number(n["phoneNumber"], n.get("description", "")) for n in value or ())
    return tuple(value or ()) if member in LIST_MEMBERS else value


def source_of(connection: Connection, number: int) -> str:
    """The source that a run was of. Raises NothingToUndo."""
    source = connection.scalar(select(run_table.c.source).where(run_table.c.id == number))
    if source is None:
        raise NothingToUndo(f"there is no run {number}; `syncd status` names the last ones")
    return str(source)
