"""The history of runs: one row each, opened when a run starts and closed with all that is known of it."""

import os
import socket
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.health import DirectoryState, SourceState
from syncd.core.plan import PROVEN, Outcome, Report
from syncd.store.database import translated
from syncd.store.tables import contact, directory, run


def start(connection: Connection, source: str) -> int:
    """Open a run and close those that a dead process left open; the caller holds the source's lock."""
    connection.execute(
        update(run)
        .where(run.c.source == source, run.c.outcome == "running")
        .values(outcome=Outcome.CRASHED, finished_at=func.now(), why="its process ended without closing it")
    )
    opened = insert(run).values(source=source, host=socket.gethostname(), pid=os.getpid()).returning(run.c.id)
    number = int(connection.execute(opened).scalar_one())
    connection.commit()
    return number


def finish(connection: Connection, report: Report) -> None:
    """Close the run that the report is about, within the caller's transaction."""
    done = report.applied
    connection.execute(
        update(run)
        .where(run.c.id == report.run)
        .values(
            outcome=report.outcome,
            why=report.why,
            finished_at=func.clock_timestamp(),
            entries=report.entries,
            added=done.added,
            changed=done.changed,
            removed=done.removed,
            held=report.held,
            rejected=done.rejected,
            revision=report.revision,
            evidence=None if report.evidence is None else report.evidence.facts() | {"tried": list(report.tried)},
        )
    )


_LAST = select(run).where(run.c.id.in_(select(func.max(run.c.id)).group_by(run.c.source)))
_SUCCESS = (
    select(run.c.source, func.max(run.c.finished_at).label("at"))
    .where(run.c.outcome.in_(sorted(PROVEN)))
    .group_by(run.c.source)
)
_CONTACTS = select(contact.c.type, func.count()).where(contact.c.state == "active").group_by(contact.c.type)
_REVISION = select(directory.c.revision)


def state(connection: Connection) -> DirectoryState:
    """The state of the directory and of its sources now."""
    with translated():
        success = {row.source: row.at for row in connection.execute(_SUCCESS)}
        last = connection.execute(_LAST).mappings().all()
        contacts = {row[0]: row[1] for row in connection.execute(_CONTACTS)}
        return DirectoryState(connection.execute(_REVISION).scalar_one(), contacts, _sources(last, success))


def _sources(rows: Sequence[RowMapping], success: dict[str, datetime]) -> dict[str, SourceState]:
    return {
        row["source"]: SourceState(
            source=row["source"],
            outcome=row["outcome"],
            why=row["why"],
            started=row["started_at"],
            last_success=success.get(row["source"]),
            held=row["held"],
            rejected=row["rejected"],
        )
        for row in rows
    }


async def watch_state(engine: AsyncEngine) -> DirectoryState:
    """The same for the daemon's loop."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(state)
