"""Runs as they go: one row each, opened when a run starts and closed with all that is known of it."""

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from syncd.core.sync.plan import PROVEN, JobKind, Outcome, Report
from syncd.store.schema.tables import run


def start(connection: Connection, source: str, job: JobKind) -> int:
    """Open a run and close those that a dead process left open; the caller holds the source's lock."""
    connection.execute(
        update(run)
        .where(run.c.source == source, run.c.outcome == "running")
        .values(outcome=Outcome.CRASHED, finished_at=func.now(), why="its process ended without closing it")
    )
    opened = insert(run).values(
        source=source, job=job, started_at=func.clock_timestamp(), host=socket.gethostname(), pid=os.getpid()
    )
    number = int(connection.execute(opened.returning(run.c.id)).scalar_one())
    connection.commit()
    return number


def departures(connection: Connection, source: str) -> tuple[int, int]:
    """How many contacts of a source left within the last day and the last week without a person's word.

    Times in the future count as well: a clock that was set back must not forget them.
    """
    age = func.now() - run.c.finished_at
    left = select(
        func.coalesce(func.sum(run.c.left_active).filter(age < timedelta(days=1)), 0),
        func.coalesce(func.sum(run.c.left_active), 0),
    ).where(run.c.source == source, run.c.left_active > 0, age < timedelta(days=7))
    day, week = connection.execute(left).one()
    return int(day), int(week)


def prove(connection: Connection, report: Report) -> None:
    """Record the evidence of a complete read, before anything is written that needs it as its witness."""
    if report.evidence is None or not report.evidence.complete:
        raise ValueError("an incomplete read bears no witness")
    connection.execute(update(run).where(run.c.id == report.run).values(complete=report.job == "sync"))


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
            population=done.population,
            added=done.added,
            changed=done.changed,
            missing=done.missing,
            removed=done.removed,
            left_active=report.left_active if report.outcome in PROVEN else 0,
            held=report.held,
            rejected=done.rejected,
            settled=report.settled and report.outcome in PROVEN,
            scope=scope_digest(report.scope) if report.scope else None,
            undone=report.undone,
            revision=report.revision,
            evidence=None if report.evidence is None else _evidence(report),
        )
    )


def _evidence(report: Report) -> dict[str, Any]:
    facts = {} if report.evidence is None else report.evidence.facts()
    return facts | {"tried": list(report.tried), "scope": dict(report.scope)}


def scope_digest(scope: Mapping[str, str]) -> str:
    """SHA-256 (hex) over where and how a source was read."""
    return hashlib.sha256(json.dumps(scope, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
