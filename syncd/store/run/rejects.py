"""Quarantine: the records that the last run of a source could not map, with their reasons and values."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, literal, select, text

from syncd.core.sync.history import Listing, Rejected
from syncd.core.sync.record import Reject
from syncd.store.schema.tables import reject

_SHOWN = 20
_STORED = 1000


def keep(connection: Connection, source: str, run: int) -> tuple[Reject, ...]:
    """Store what this run rejected in place of what the last one did; return the first of those that are new."""
    fresh = connection.execute(
        text("""
        SELECT source_key, place, reason FROM stage s
         WHERE reason IS NOT NULL AND NOT EXISTS (
               SELECT FROM reject r WHERE r.source = :source AND r.place = s.place AND r.reason = s.reason)
         ORDER BY place LIMIT :shown
        """),
        {"source": source, "shown": _SHOWN},
    ).all()
    replace(connection, source, run, found(connection))
    return tuple(Reject(row.source_key, row.place, row.reason, {}) for row in fresh)


def found(connection: Connection) -> list[dict[str, Any]]:
    """What the run under way rejects, its doubled keys included; the first thousand."""
    query = """
    SELECT source_key, place, reason, coalesce(record, '{}'::jsonb) AS record
      FROM stage WHERE reason IS NOT NULL ORDER BY place LIMIT :stored
    """
    return [dict(row) for row in connection.execute(text(query), {"stored": _STORED}).mappings()]


def replace(connection: Connection, source: str, run: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store these in place of what the last run rejected."""
    connection.execute(delete(reject).where(reject.c.source == source))
    if rows:
        connection.execute(insert(reject), [{"run_id": run, "source": source, **row} for row in rows])


def listing(
    connection: Connection, sources: Sequence[str] = (), limit: int | None = None, offset: int = 0
) -> Listing[Rejected]:
    """The quarantine of these sources, or of all."""
    mine = reject.c.source.in_(sources) if sources else literal(True)
    found = select(
        reject.c.source, reject.c.run_id, reject.c.source_key, reject.c.place, reject.c.reason, reject.c.record
    ).where(mine)
    total = connection.execute(select(func.count()).select_from(reject).where(mine)).scalar_one()
    rows = connection.execute(found.order_by(reject.c.source, reject.c.place).limit(limit).offset(offset))
    return Listing(total, [Rejected(*row) for row in rows])
