"""Pending removals: missing contacts, and when each is removed unless it reappears at its source."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Integer, Interval, Text, column, func, select, values

from syncd.core.sync.history import PendingRemoval, Slice
from syncd.core.sync.lifecycle import Lifecycle
from syncd.store.schema.tables import contact, run


def list_pending_removals(
    connection: Connection, lifecycles: Mapping[str, Lifecycle], limit: int | None = None, offset: int = 0
) -> Slice[PendingRemoval]:
    """Return the missing contacts of these sources, earliest removal first. `lifecycles`: by source name."""
    if not lifecycles:
        return Slice(0, [])
    missing = _select_missing(lifecycles)
    total = connection.execute(select(func.count()).select_from(missing.subquery())).scalar_one()
    ordered = missing.order_by("earliest", contact.c.name_folded.collate("C"), contact.c.id)
    rows = connection.execute(ordered.limit(limit).offset(offset))
    return Slice(total, [PendingRemoval(row.source, row.id.hex, *row[2:]) for row in rows])


def load_pending_removals(
    connection: Connection, lifecycles: Mapping[str, Lifecycle], ids: Sequence[UUID]
) -> dict[UUID, PendingRemoval]:
    """Return the pending removal of each of these contacts that is missing, by contact id."""
    rows = connection.execute(_select_missing(lifecycles).where(contact.c.id.in_(ids))) if lifecycles and ids else ()
    return {row.id: PendingRemoval(row.source, row.id.hex, *row[2:]) for row in rows}


def load_earliest(connection: Connection, lifecycles: Mapping[str, Lifecycle]) -> dict[str, datetime]:
    """Return the earliest possible removal of each of these sources that has missing contacts, by source name."""
    if not lifecycles:
        return {}
    missing = _select_missing(lifecycles).subquery()
    earliest = select(missing.c.source, func.min(missing.c.earliest)).group_by(missing.c.source)
    return {row[0]: row[1] for row in connection.execute(earliest)}


def _select_missing(lifecycles: Mapping[str, Lifecycle]) -> Any:
    grace = values(
        column("source", Text), column("grace", Interval), column("runs", Integer), name="terms"
    ).data([(name, lifecycle.grace, lifecycle.grace_runs) for name, lifecycle in lifecycles.items()])  # fmt: skip
    # the same count as in store.run.plan: of the runs that confirm absences, the one that found it missing is the first
    confirmed = (
        select(func.count(run.c.id).cast(BigInteger))
        .where(run.c.source == contact.c.source, run.c.job == "sync", run.c.settled, run.c.id >= contact.c.gone_run)
        .scalar_subquery()
    )
    return (
        select(
            contact.c.source, contact.c.id, contact.c.source_key, contact.c.name, contact.c.state_since,
            (contact.c.state_since + grace.c.grace).label("earliest"),
            func.greatest(grace.c.runs - confirmed, 1).label("runs"),
        )
        .join_from(contact, grace, grace.c.source == contact.c.source)
        .where(contact.c.state == "missing")
    )  # fmt: skip
