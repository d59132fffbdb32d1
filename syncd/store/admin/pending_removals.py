"""The forecast: who is missing, and when each is removed if nothing brings them back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Integer, Interval, Text, column, func, select, values

from syncd.core.sync.history import Leaver, Listing
from syncd.core.sync.lifecycle import Lifecycle
from syncd.store.schema.tables import contact, run


def forecast(
    connection: Connection, terms: Mapping[str, Lifecycle], limit: int | None = None, offset: int = 0
) -> Listing[Leaver]:
    """The missing contacts of these sources, those who leave first at the top. `terms`: the life cycle of each."""
    if not terms:
        return Listing(0, [])
    missing = _missing(terms)
    total = connection.execute(select(func.count()).select_from(missing.subquery())).scalar_one()
    ordered = missing.order_by("earliest", contact.c.name_folded.collate("C"), contact.c.id)
    rows = connection.execute(ordered.limit(limit).offset(offset))
    return Listing(total, [Leaver(row.source, row.id.hex, *row[2:]) for row in rows])


def of_contacts(connection: Connection, terms: Mapping[str, Lifecycle], ids: Sequence[UUID]) -> dict[UUID, Leaver]:
    """The same of these contacts, by their ids."""
    rows = connection.execute(_missing(terms).where(contact.c.id.in_(ids))) if terms and ids else ()
    return {row.id: Leaver(row.source, row.id.hex, *row[2:]) for row in rows}


def first(connection: Connection, terms: Mapping[str, Lifecycle]) -> dict[str, datetime]:
    """For each of these sources that has missing contacts, when the first of them may leave."""
    if not terms:
        return {}
    missing = _missing(terms).subquery()
    earliest = select(missing.c.source, func.min(missing.c.earliest)).group_by(missing.c.source)
    return {row[0]: row[1] for row in connection.execute(earliest)}


def _missing(terms: Mapping[str, Lifecycle]) -> Any:
    grace = values(
        column("source", Text), column("grace", Interval), column("runs", Integer), name="terms"
    ).data([(name, term.grace, term.grace_runs) for name, term in terms.items()])  # fmt: skip
    # the same count as in store.plan: of the runs that settle absences, the one that found it missing is the first
    counted = (
        select(func.count(run.c.id).cast(BigInteger))
        .where(run.c.source == contact.c.source, run.c.job == "sync", run.c.settled, run.c.id >= contact.c.gone_run)
        .scalar_subquery()
    )
    return (
        select(
            contact.c.source, contact.c.id, contact.c.source_key, contact.c.name, contact.c.state_since,
            (contact.c.state_since + grace.c.grace).label("earliest"),
            func.greatest(grace.c.runs - counted, 1).label("runs"),
        )
        .join_from(contact, grace, grace.c.source == contact.c.source)
        .where(contact.c.state == "missing")
    )  # fmt: skip
