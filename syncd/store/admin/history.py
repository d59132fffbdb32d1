"""Runs and changes, looked up."""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, func, select

from syncd.core.sync.history import Listing, PastChange, PastRun
from syncd.store.schema.tables import change, run

_RUN = select(*(run.c[name] for name in PastRun._fields))
_CHANGE = select(
    change.c.revision, change.c.at, change.c.run_id, change.c.caller, change.c.contact_id, change.c.type,
    change.c.source_key, change.c.kind, change.c.reason, func.jsonb_strip_nulls(change.c.old).label("old"),
    func.jsonb_strip_nulls(change.c.new).label("new"),
)  # fmt: skip


def runs(connection: Connection, source: str | None, limit: int, offset: int) -> Listing[PastRun]:
    """The runs of a source, or of all, the newest first."""
    wanted = _RUN if source is None else _RUN.where(run.c.source == source)
    rows = connection.execute(wanted.order_by(run.c.id.desc()).limit(limit).offset(offset))
    return Listing(_count(connection, wanted), [PastRun(*row) for row in rows])


def one_run(connection: Connection, number: int) -> PastRun | None:
    """The run of this number."""
    row = connection.execute(_RUN.where(run.c.id == number)).one_or_none()
    return None if row is None else PastRun(*row)


def last_runs(connection: Connection, sources: Sequence[str]) -> dict[str, PastRun]:
    """The last sync of each of these sources that came to an end."""
    ended = run.c.job == "sync", run.c.outcome != "running", run.c.source.in_(sources)
    last = select(func.max(run.c.id)).where(*ended).group_by(run.c.source)
    return {row.source: PastRun(*row) for row in connection.execute(_RUN.where(run.c.id.in_(last)))}


def changes(connection: Connection, number: int, limit: int, offset: int) -> Listing[PastChange]:
    """What a run changed, in the order of the log."""
    # a run writes within one revision, by which the log is indexed
    revision = select(run.c.revision).where(run.c.id == number).scalar_subquery()
    wanted = _CHANGE.where(change.c.revision == revision, change.c.run_id == number)
    rows = connection.execute(wanted.order_by(change.c.id).limit(limit).offset(offset))
    return Listing(_count(connection, wanted), [PastChange(*row)._replace(contact=row.contact_id.hex) for row in rows])


def _count(connection: Connection, wanted: Select[tuple[object, ...]]) -> int:
    return int(connection.execute(select(func.count()).select_from(wanted.subquery())).scalar_one())
