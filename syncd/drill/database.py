"""The private database as its superuser sees and treats it, beside syncd's own connections."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from syncd.demo.servers import Postgres


class Database:
    """Short connections, so that nothing is left open when the server is killed."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres

    def connect(self, **options: Any) -> psycopg.Connection[dict[str, Any]]:
        """A connection of the superuser."""
        return psycopg.connect(
            self.postgres.url(), autocommit=True, row_factory=dict_row, connect_timeout=30, **options
        )

    def rows(self, query: LiteralString, *values: Any) -> list[dict[str, Any]]:
        """What a query gives."""
        with self.connect() as connection:
            return connection.execute(query, values).fetchall()

    def do(self, statement: LiteralString, *values: Any) -> int:
        """Change something; how many rows."""
        with self.connect() as connection:
            return connection.execute(statement, values).rowcount

    def custom(self) -> list[dict[str, Any]]:
        """The Custom contacts as they are stored, and the transaction that wrote each."""
        return self.rows("SELECT id::text, xmin::text, c::text FROM contact_custom c ORDER BY id")

    def last_run(self, source: str) -> int:
        """The number of the source's last run; 0 when there is none."""
        return int(self.rows("SELECT coalesce(max(id), 0) AS last FROM run WHERE source = %s", source)[0]["last"])

    def runs(self, source: str, after: int) -> list[dict[str, Any]]:
        """The source's runs after this one, in order."""
        return self.rows(
            "SELECT id, outcome, why, pid, entries, started_at, finished_at FROM run "
            "WHERE source = %s AND id > %s ORDER BY id",
            source, after,
        )  # fmt: skip

    @contextmanager
    def locked(self, source: str, key: str) -> Iterator[Callable[[], list[int]]]:
        """While this lasts, whoever changes this contact waits in the middle of it; yields who does: their sessions."""
        connection = self.connect()
        try:
            connection.execute("BEGIN")
            locked = connection.execute(
                "SELECT FROM contact WHERE source = %s AND source_key = %s FOR UPDATE", (source, key)
            )
            if locked.rowcount != 1:
                raise LookupError(f"{source} has no contact {key}")
            ours = connection.info.backend_pid
            yield lambda: self._blocked_by(ours)
        finally:
            connection.close()  # which is the end of the transaction, also where the server is gone

    def _blocked_by(self, session: int) -> list[int]:
        found = self.rows("SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", session)
        return [row["pid"] for row in found]

    def sessions(self) -> set[int]:
        """Every session that there is."""
        return {row["pid"] for row in self.rows("SELECT pid FROM pg_stat_activity")}

    def end_sessions(self, name: str) -> None:
        """End the sessions of this name, as the database does with a peer that it cannot reach any more."""
        self.do("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = %s", name)

    def missing(self, source: str) -> int:
        """How many contacts of the source are in their grace."""
        query: LiteralString = "SELECT count(*) FROM contact WHERE source = %s AND state = 'missing'"
        return int(self.rows(query, source)[0]["count"])

    def age(self, source: str, by: timedelta) -> None:
        """Make everything that is stored of a source this much older."""
        self.do("UPDATE contact SET state_since = state_since - %s WHERE source = %s", by, source)
        self.do(
            "UPDATE run SET started_at = started_at - %s, finished_at = finished_at - %s WHERE source = %s",
            by, by, source,
        )  # fmt: skip

    def allowed(self, role: str, statement: LiteralString) -> bool:
        """Do something in a role; whether that was allowed."""
        with self.connect(options=f"-c role={role}") as connection:
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                return False
            return True
