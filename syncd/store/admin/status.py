"""The state of the directory and of its sources, as it is now."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from syncd.core.operations.health import DirectoryState, Expected, SourceState, detailed, health
from syncd.core.sync.history import ATTRIBUTE
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.plan import PROVEN
from syncd.store.admin import history, pending_removals
from syncd.store.connection.engine import translated
from syncd.store.schema.tables import contact, directory, held, run


def _newest(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The run is the newest sync of its source that is so."""
    return run.c.id.in_(select(func.max(run.c.id)).where(run.c.job == "sync", *conditions).group_by(run.c.source))


_NEWEST = select(run.c.source, run.c.started_at, run.c.outcome == "running").where(_newest())
_ENDED = select(run.c.source, run.c.outcome, run.c.why, run.c.rejected).where(_newest(run.c.outcome != "running"))
_SUCCESS = select(run.c.source, run.c.finished_at, run.c.evidence["certificateEnds"].astext).where(
    _newest(run.c.outcome.in_(sorted(PROVEN)))
)
_MISSING = select(contact.c.source, func.count()).where(contact.c.state == "missing").group_by(contact.c.source)
_waits, _attribute = held.c.kept_by.is_(None), held.c.item.startswith(ATTRIBUTE)
_HELD = select(
    held.c.source,
    func.count().filter(_waits, ~_attribute).label("held"),
    func.count().filter(~_waits, ~_attribute).label("kept"),
    func.coalesce(func.array_agg(held.c.name).filter(_waits, _attribute), text("'{}'")).label("attributes"),
).group_by(held.c.source)
_CONTACTS = select(contact.c.type, func.count()).where(contact.c.served).group_by(contact.c.type)
_REVISION = select(directory.c.revision)


def state(connection: Connection, known: DirectoryState | None = None) -> DirectoryState:
    """What health is told from. Contacts are counted only when the revision is another one than that of `known`."""
    with translated():
        revision = connection.execute(_REVISION).scalar_one()
        if known is not None and known.revision == revision:
            contacts = known.contacts
        else:
            contacts = {row[0]: row[1] for row in connection.execute(_CONTACTS)}
        return DirectoryState(revision, contacts, _sources(connection))


def _sources(connection: Connection) -> dict[str, SourceState]:
    success = {name: (at, ends) for name, at, ends in connection.execute(_SUCCESS)}
    missing = {row[0]: row[1] for row in connection.execute(_MISSING)}
    held_of = {row.source: row for row in connection.execute(_HELD)}
    ended = {row.source: row for row in connection.execute(_ENDED)}
    known = {}
    for source, started, running in connection.execute(_NEWEST):
        found, last = held_of.get(source), ended.get(source)
        at, ends = success.get(source, (None, None))
        known[source] = SourceState(
            source=source,
            outcome=None if last is None else last.outcome,
            why="" if last is None else last.why,
            started=started,
            running=running,
            last_success=at,
            held=0 if found is None else found.held,
            rejected=0 if last is None else last.rejected,
            missing=missing.get(source, 0),
            kept=0 if found is None else found.kept,
            attributes=() if found is None else tuple(sorted(found.attributes)),
            certificate_ends=None if ends is None else datetime.fromisoformat(ends),
        )
    return known


def status(connection: Connection, expected: Sequence[Expected], terms: Mapping[str, Lifecycle]) -> dict[str, Any]:
    """The whole of it for those who operate: health, the last runs with their evidence, and who leaves first."""
    found = health(expected, state(connection), datetime.now(UTC))
    last = history.last_runs(connection, [one.name for one in expected])
    return detailed(found, last, pending_removals.first(connection, terms))
