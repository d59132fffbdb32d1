"""Records that the last run of a source could not map, with their reasons and values."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, literal, select, text

from syncd.core.sync.history import RejectedRecord, Slice
from syncd.core.sync.record import Reject
from syncd.store.schema.tables import reject

_MAX_REPORTED = 20
_MAX_STORED = 1000


def save(connection: Connection, source: str, run: int) -> tuple[Reject, ...]:
    """Replace the rejects of the last run by those of this one; return the first 20 that are new."""
    rows = connection.execute(
        text("""
        SELECT source_key, place, reason FROM stage s
         WHERE reason IS NOT NULL AND NOT EXISTS (
               SELECT FROM reject r WHERE r.source = :source AND r.place = s.place AND r.reason = s.reason)
         ORDER BY place LIMIT :shown
        """),
        {"source": source, "shown": _MAX_REPORTED},
    ).all()
    replace(connection, source, run, select_staged(connection))
    return tuple(Reject(row.source_key, row.place, row.reason, {}) for row in rows)


def select_staged(connection: Connection) -> list[dict[str, Any]]:
    """Return the first 1000 staged rejects of the current run, duplicate keys included."""
    query = """
    SELECT source_key, place, reason, coalesce(record, '{}'::jsonb) AS record
      FROM stage WHERE reason IS NOT NULL ORDER BY place LIMIT :stored
    """
    return [dict(row) for row in connection.execute(text(query), {"stored": _MAX_STORED}).mappings()]


def replace(connection: Connection, source: str, run: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the rejects of the last run by these rows."""
    connection.execute(delete(reject).where(reject.c.source == source))
    if rows:
        connection.execute(insert(reject), [{"run_id": run, "source": source, **row} for row in rows])


def list_rejects(
    connection: Connection, sources: Sequence[str] = (), limit: int | None = None, offset: int = 0
) -> Slice[RejectedRecord]:
    """Return the rejects of these sources (none: of all), ordered by source and location."""
    of_sources = reject.c.source.in_(sources) if sources else literal(True)
    query = select(
        reject.c.source, reject.c.run_id, reject.c.source_key, reject.c.place, reject.c.reason, reject.c.record
    ).where(of_sources)
    total = connection.execute(select(func.count()).select_from(reject).where(of_sources)).scalar_one()
    rows = connection.execute(query.order_by(reject.c.source, reject.c.place).limit(limit).offset(offset))
    return Slice(total, [RejectedRecord(*row) for row in rows])
