"""The writer: the one connection of a run, which holds its source's lock and is the only way to write its contacts.

If the connection dies, the lock is gone and so is the ability to write: two runs of a source cannot overlap, in
whatever threads, processes or hosts they are.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects.postgresql import insert

from syncd.core.contact import Type
from syncd.core.plan import Change, Counts, Item, Report
from syncd.core.record import Recognition
from syncd.errors import SourceBusy
from syncd.store import plan, runs, staging
from syncd.store.database import translated
from syncd.store.tables import source as source_table

_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('syncd source ' || :source, 0))")

_UNLOCK = text("SELECT pg_advisory_unlock_all()")


class Writer:
    """What one run does to the store, in the order of its methods."""

    def __init__(self, connection: Connection, source: str, type_: Type) -> None:
        self._connection = connection
        self._source = source
        self._type: Type = type_

    def claim(self) -> int:
        """Take the source's lock and open a run; return its number. Raises SourceBusy."""
        if not self._connection.scalar(_LOCK, {"source": self._source}):
            raise SourceBusy(f"another run of {self._source} is still going, here or on another host")
        return runs.start(self._connection, self._source)

    def pinned_key(self) -> str | None:
        """The attribute that identifies this source's stored contacts; None before the first complete run."""
        pinned = select(source_table.c.key_attribute).where(source_table.c.name == self._source)
        return self._connection.scalar(pinned)

    def recognition(self, seal: bytes) -> Recognition:
        """The digests of the stored contacts, for one attempt at reading."""
        return staging.recognition(self._connection, self._source, self._type, seal)

    def stage(self, items: Iterable[Item]) -> None:
        """Stage these items in place of any staged before."""
        staging.stage(self._connection, self._type, items)

    def plan(self, unseen: set[bytes]) -> Counts:
        """Make the plan; it lasts until `apply`, `close` or the end of the connection."""
        return plan.make(self._connection, self._source, self._type, unseen)

    def changes(self) -> Iterator[Change]:
        """The rows of the plan."""
        return plan.changes(self._connection, self._type)

    def apply(self, report: Report, *, removals: bool) -> Report:
        """Write the plan and the run in one transaction; return the report with its revision and new rejects."""
        if report.run is None or report.evidence is None:
            raise ValueError("only a run with evidence can be applied")
        fresh = plan.keep_rejects(self._connection, self._source, report.run)
        pin = insert(source_table).values(
            name=self._source, type=self._type, key_attribute=report.evidence.key_attribute
        )
        self._connection.execute(pin.on_conflict_do_nothing())
        revision = plan.apply(self._connection, self._source, self._type, removals=removals)
        done = replace(report, revision=revision, fresh_rejects=fresh)
        runs.finish(self._connection, done)
        self._connection.commit()
        return done

    def close(self, report: Report) -> None:
        """Drop the plan and write nothing but the run."""
        self._connection.rollback()
        runs.finish(self._connection, report)
        self._connection.commit()


@contextmanager
def open_writer(engine: Engine, source: str, type_: Type) -> Iterator[Writer]:
    """A writer for one run. Raises StoreUnavailable when the database does not answer or goes away."""
    with translated(), engine.connect() as connection:
        yield Writer(connection, source, type_)
        # a server that ends a session by itself frees its locks a moment late; the next run may already be waiting
        connection.rollback()
        connection.execute(_UNLOCK)
