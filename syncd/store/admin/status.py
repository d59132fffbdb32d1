"""Current state of the directory and of its sources."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from syncd.core.operations.health import DirectoryState, ExpectedSource, SourceState, add_details, describe_health
from syncd.core.sync.history import ATTRIBUTE_PREFIX
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.plan import PROVEN
from syncd.store.admin import history, pending_removals
from syncd.store.connection.engine import mapped_errors
from syncd.store.schema.tables import contact, directory, held, run


def _newest(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a run is the newest sync of its source among those that meet `conditions`."""
    return run.c.id.in_(select(func.max(run.c.id)).where(run.c.job == "sync", *conditions).group_by(run.c.source))


_NEWEST = select(run.c.source, run.c.started_at, run.c.outcome == "running").where(_newest())
_ENDED = select(run.c.source, run.c.outcome, run.c.why, run.c.rejected).where(_newest(run.c.outcome != "running"))
_SUCCESS = select(run.c.source, run.c.finished_at, run.c.evidence["certificateEnds"].astext).where(
    _newest(run.c.outcome.in_(sorted(PROVEN)))
)
_MISSING = select(contact.c.source, func.count()).where(contact.c.state == "missing").group_by(contact.c.source)
_undecided, _attribute = held.c.kept_by.is_(None), held.c.item.startswith(ATTRIBUTE_PREFIX)
_HELD = select(
    held.c.source,
    func.count().filter(_undecided, ~_attribute).label("held"),
    func.count().filter(~_undecided, ~_attribute).label("kept"),
    func.coalesce(func.array_agg(held.c.name).filter(_undecided, _attribute), text("'{}'")).label("attributes"),
).group_by(held.c.source)
_CONTACTS = select(contact.c.type, func.count()).where(contact.c.served).group_by(contact.c.type)
_REVISION = select(directory.c.revision)


def load_state(connection: Connection, previous: DirectoryState | None = None) -> DirectoryState:
    """Load the state that health is derived from; contacts are counted only if the revision differs from `previous`.

    Raises StoreUnavailable.
    """
    with mapped_errors():
        revision = connection.execute(_REVISION).scalar_one()
        if previous is not None and previous.revision == revision:
            contacts = previous.contacts
        else:
            contacts = {row[0]: row[1] for row in connection.execute(_CONTACTS)}
        return DirectoryState(revision, contacts, _load_sources(connection))


def _load_sources(connection: Connection) -> dict[str, SourceState]:
    successes = {name: (finished, ends) for name, finished, ends in connection.execute(_SUCCESS)}
    missing = {row[0]: row[1] for row in connection.execute(_MISSING)}
    holds = {row.source: row for row in connection.execute(_HELD)}
    ended = {row.source: row for row in connection.execute(_ENDED)}
    states = {}
    for source, started, running in connection.execute(_NEWEST):
        hold, last = holds.get(source), ended.get(source)
        last_success, certificate_ends = successes.get(source, (None, None))
        states[source] = SourceState(
            source=source,
            outcome=None if last is None else last.outcome,
            reason="" if last is None else last.why,
            started=started,
            running=running,
            last_success=last_success,
            held=0 if hold is None else hold.held,
            rejected=0 if last is None else last.rejected,
            missing=missing.get(source, 0),
            kept=0 if hold is None else hold.kept,
            attributes=() if hold is None else tuple(sorted(hold.attributes)),
            certificate_ends=None if certificate_ends is None else datetime.fromisoformat(certificate_ends),
        )
    return states


def load_status(
    connection: Connection, expected: Sequence[ExpectedSource], lifecycles: Mapping[str, Lifecycle]
) -> dict[str, Any]:
    """Return health, the last runs with their evidence, and the earliest pending removals, as JSON values."""
    health_ = describe_health(expected, load_state(connection), datetime.now(UTC))
    last_runs = history.load_last_runs(connection, [source.name for source in expected])
    return add_details(health_, last_runs, pending_removals.load_earliest(connection, lifecycles))
