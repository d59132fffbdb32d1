"""Rows of runs: inserted when a run starts, completed when it ends."""

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from syncd.core.sync.plan import PROVEN, JobKind, Outcome, Report
from syncd.store.schema.tables import run


def start(connection: Connection, source: str, job: JobKind) -> int:
    """Insert a run and return its id; mark unfinished runs as crashed. The caller holds the lock of the source."""
    connection.execute(
        update(run)
        .where(run.c.source == source, run.c.outcome == "running")
        .values(outcome=Outcome.CRASHED, finished_at=func.now(), why="its process ended without closing it")
    )
    statement = insert(run).values(
        source=source, job=job, started_at=func.clock_timestamp(), host=socket.gethostname(), pid=os.getpid()
    )
    number = int(connection.execute(statement.returning(run.c.id)).scalar_one())
    connection.commit()
    return number


def mark_crashed(connection: Connection, source: str, pid: int, reason: str) -> None:
    """Mark the unfinished run of a process on this host as crashed; the process has ended.

    Raises OperationalError after 2 s while the session of that process still waits in its transaction.
    """
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    connection.execute(
        update(run)
        .where(run.c.source == source, run.c.outcome == "running", run.c.pid == pid, run.c.host == socket.gethostname())
        .values(outcome=Outcome.CRASHED, finished_at=func.now(), why=reason)
    )


def count_recent_removals(connection: Connection, source: str) -> tuple[int, int]:
    """Return how many contacts of a source left without an approval in the (last day, last week).

    Times in the future count too, so that a clock that was set back hides no removals.
    """
    age = func.now() - run.c.finished_at
    query = select(
        func.coalesce(func.sum(run.c.left_active).filter(age < timedelta(days=1)), 0),
        func.coalesce(func.sum(run.c.left_active), 0),
    ).where(run.c.source == source, run.c.left_active > 0, age < timedelta(days=7))
    day, week = connection.execute(query).one()
    return int(day), int(week)


def mark_complete(connection: Connection, report: Report) -> None:
    """Mark a sync as complete, before any absence is written that refers to it. Raises ValueError if it is not."""
    if report.evidence is None or not report.evidence.complete:
        raise ValueError("an incomplete read proves no absence")
    connection.execute(update(run).where(run.c.id == report.run).values(complete=report.job == "sync"))


def finish(connection: Connection, report: Report) -> None:
    """Complete the row of a run from its report, within the caller's transaction."""
    counts = report.applied
    connection.execute(
        update(run)
        .where(run.c.id == report.run)
        .values(
            outcome=report.outcome,
            why=report.reason,
            finished_at=func.clock_timestamp(),
            entries=report.entries,
            population=counts.population,
            added=counts.added,
            changed=counts.changed,
            missing=counts.missing,
            removed=counts.removed,
            left_active=report.active_removed if report.outcome in PROVEN else 0,
            held=report.held,
            rejected=counts.rejected,
            settled=report.absences_confirmed and report.outcome in PROVEN,
            scope=digest_scope(report.scope) if report.scope else None,
            undone=report.undone,
            revision=report.revision,
            evidence=None if report.evidence is None else _encode_evidence(report),
        )
    )


def _encode_evidence(report: Report) -> dict[str, Any]:
    evidence = {} if report.evidence is None else report.evidence.to_json()
    return evidence | {"tried": list(report.failed_servers), "scope": dict(report.scope)}


def digest_scope(scope: Mapping[str, str]) -> str:
    """Return the SHA-256 (hex) of the scope of a read."""
    return hashlib.sha256(json.dumps(scope, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
