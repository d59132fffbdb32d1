"""Access to the private database as its superuser, on connections apart from those of syncd."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from syncd.demo.servers import Postgres


class DatabaseAdmin:
    """SQL of the superuser; one short connection for each statement, because faults kill the server."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres

    def connect(self, **options: Any) -> psycopg.Connection[dict[str, Any]]:
        """Open an autocommit connection. Raises: psycopg.Error, as every method here."""
        return psycopg.connect(
            self.postgres.url(), autocommit=True, row_factory=dict_row, connect_timeout=30, **options
        )

    def select(self, query: LiteralString, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts."""
        with self.connect() as connection:
            return connection.execute(query, values).fetchall()

    def execute(self, statement: LiteralString, *values: Any) -> int:
        """Execute a statement; return the number of affected rows."""
        with self.connect() as connection:
            return connection.execute(statement, values).rowcount

    def custom_contacts(self) -> list[dict[str, Any]]:
        """Return the stored Custom contacts as text, with `xmin`: the transaction that wrote each row."""
        return self.select("SELECT id::text, xmin::text, c::text FROM contact_custom c ORDER BY id")

    def last_run_id(self, source: str) -> int:
        """Return the id of the last run of a source; 0 without runs."""
        return int(self.select("SELECT coalesce(max(id), 0) AS last FROM run WHERE source = %s", source)[0]["last"])

    def runs(self, source: str, after: int) -> list[dict[str, Any]]:
        """Return the runs of a source with a higher id than `after`, in order."""
        return self.select(
            "SELECT id, outcome, why, pid, entries, started_at, finished_at FROM run "
            "WHERE source = %s AND id > %s ORDER BY id",
            source, after,
        )  # fmt: skip

    @contextmanager
    def lock_contact(self, source: str, key: str) -> Iterator[Callable[[], list[int]]]:
        """Lock the row of a contact, so that a run that changes it waits in its transaction.

        Yields a function that returns the process ids of the waiting sessions.

        Raises: LookupError without such a contact.
        """
        connection = self.connect()
        try:
            connection.execute("BEGIN")
            selected = connection.execute(
                "SELECT FROM contact WHERE source = %s AND source_key = %s FOR UPDATE", (source, key)
            )
            if selected.rowcount != 1:
                raise LookupError(f"{source} has no contact {key}")
            session_id = connection.info.backend_pid
            yield lambda: self._blocked_by(session_id)
        finally:
            connection.close()  # ends the transaction, also if the server is down

    def _blocked_by(self, session_id: int) -> list[int]:
        rows = self.select("SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", session_id)
        return [row["pid"] for row in rows]

    def session_ids(self) -> set[int]:
        """Return the process ids of all sessions."""
        return {row["pid"] for row in self.select("SELECT pid FROM pg_stat_activity")}

    def terminate_sessions(self, application_name: str) -> None:
        """Terminate the sessions with this application name and wait for their end, at most 60 s.

        The server does the same with sessions of an unreachable client.
        """
        self.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = %s",
            application_name,
        )

    def count_missing(self, source: str) -> int:
        """Count the contacts of a source in state `missing`."""
        query: LiteralString = "SELECT count(*) FROM contact WHERE source = %s AND state = 'missing'"
        return int(self.select(query, source)[0]["count"])

    def backdate(self, source: str, by: timedelta) -> None:
        """Move the times of the runs and contact states of a source into the past."""
        self.execute("UPDATE contact SET state_since = state_since - %s WHERE source = %s", by, source)
        self.execute(
            "UPDATE run SET started_at = started_at - %s, finished_at = finished_at - %s WHERE source = %s",
            by, by, source,
        )  # fmt: skip

    def is_allowed(self, role: str, statement: LiteralString) -> bool:
        """Execute a statement in a role; return False for InsufficientPrivilege."""
        with self.connect(options=f"-c role={role}") as connection:
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                return False
            return True
