"""Queries for past runs and their changes."""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, func, select

from syncd.core.sync.history import PastChange, PastRun, Slice
from syncd.store.schema.tables import change, run

_SELECT_RUNS = select(*(run.c[name] for name in PastRun._fields))
_SELECT_CHANGES = select(
    change.c.revision, change.c.at, change.c.run_id, change.c.caller, change.c.contact_id, change.c.type,
    change.c.source_key, change.c.kind, change.c.reason, func.jsonb_strip_nulls(change.c.old).label("old"),
    func.jsonb_strip_nulls(change.c.new).label("new"),
)  # fmt: skip


def list_runs(connection: Connection, source: str | None, limit: int, offset: int) -> Slice[PastRun]:
    """Return the runs of a source (None: of all), newest first."""
    query = _SELECT_RUNS if source is None else _SELECT_RUNS.where(run.c.source == source)
    rows = connection.execute(query.order_by(run.c.id.desc()).limit(limit).offset(offset))
    return Slice(_count_rows(connection, query), [PastRun(*row) for row in rows])


def load_run(connection: Connection, run_id: int) -> PastRun | None:
    """Return a run; None when there is none with this id."""
    row = connection.execute(_SELECT_RUNS.where(run.c.id == run_id)).one_or_none()
    return None if row is None else PastRun(*row)


def load_last_runs(connection: Connection, sources: Sequence[str]) -> dict[str, PastRun]:
    """Return the last finished sync of each of these sources, by source name."""
    ended = run.c.job == "sync", run.c.outcome != "running", run.c.source.in_(sources)
    last = select(func.max(run.c.id)).where(*ended).group_by(run.c.source)
    return {row.source: PastRun(*row) for row in connection.execute(_SELECT_RUNS.where(run.c.id.in_(last)))}


def list_changes(connection: Connection, run_id: int, limit: int, offset: int) -> Slice[PastChange]:
    """Return the changes of a run, in the order of the change log."""
    # a run writes one revision, and the log is indexed by revision
    revision = select(run.c.revision).where(run.c.id == run_id).scalar_subquery()
    query = _SELECT_CHANGES.where(change.c.revision == revision, change.c.run_id == run_id)
    rows = connection.execute(query.order_by(change.c.id).limit(limit).offset(offset))
    return Slice(
        _count_rows(connection, query), [PastChange(*row)._replace(contact=row.contact_id.hex) for row in rows]
    )


def _count_rows(connection: Connection, query: Select[tuple[object, ...]]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())
