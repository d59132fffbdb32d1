"""Sessions: the state that a connection to PostgreSQL is opened with, and the checks that the server has it.

A pooler may drop start-up options, and may give two clients the same server process. Therefore the options hold an id
of the connection: a server process that reports it was started for this connection.
"""

import uuid
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg import ConnectionInfo
from psycopg.conninfo import conninfo_to_dict

from syncd.errors import DatabaseUnsuitable
from syncd.settings import Database, read_secret

MIN_VERSION = 15
"""Oldest supported major version of PostgreSQL."""
POOLER_REMEDY = (
    "if a pooler such as PgBouncer is in between, which drops them (ignore_startup_parameters) or shares its "
    "connections (pool_mode), let database.direct_url lead to PostgreSQL itself"
)


SELECT_STATE = """
SELECT current_user, current_setting('statement_timeout')::interval, current_setting('syncd.session', true)
"""


class Session(NamedTuple):
    """Requested state of a session."""

    role: str | None
    """None: the login."""
    statement_timeout: timedelta | None
    """None: that of the server."""
    id: str

    @classmethod
    def create(cls, role: str | None, statement_timeout: timedelta | None = None) -> "Session":
        """Return the state for one connection, with a new id."""
        return cls(role, statement_timeout, uuid.uuid4().hex)

    def settings(self) -> dict[str, str]:
        """Return the run-time settings of PostgreSQL by name, without the id."""
        values = {} if self.role is None else {"role": self.role}
        if self.statement_timeout is not None:
            # without JIT, because compiling takes longer than any statement that has a time limit
            values |= {"statement_timeout": f"{self.statement_timeout / timedelta(milliseconds=1):.0f}", "jit": "off"}
        return values

    def options(self) -> str:
        """Return the start-up options (libpq `options`): in effect from the first statement on, restored by RESET."""
        return " ".join(f"-c {name}={value}" for name, value in {"syncd.session": self.id, **self.settings()}.items())

    def select_local(self) -> str:
        """Return the SELECT that applies the settings to the current transaction; its last column is current_user."""
        calls = [f"set_config('{name}', '{value}', true)" for name, value in self.settings().items()]
        return f"SELECT {', '.join(calls)}, current_user"

    def check(self, user: str, statement_timeout: timedelta, session_id: str | None) -> None:
        """Raise DatabaseUnsuitable unless this row of SELECT_STATE reports the requested state."""
        differences = []
        if self.role not in {None, user}:
            differences.append(f"the role is {user}, not {self.role}")
        if self.statement_timeout not in {None, statement_timeout}:
            differences.append(f"statement_timeout is {statement_timeout}, not {self.statement_timeout}")
        if session_id != self.id:
            differences.append("its start-up options were dropped")
        if differences:
            reason = f"the database session is not as requested: {', '.join(differences)}"
            raise DatabaseUnsuitable(f"{reason}; {POOLER_REMEDY}")


def connect_arguments(settings: Database, url: str, session: Session | None = None) -> dict[str, Any]:
    """Return the arguments of psycopg.connect(): a libpq URL, password, time limits, encoding and session state."""
    parameters: dict[str, Any] = conninfo_to_dict(url)
    if settings.password_file is not None:
        parameters["password"] = read_secret(settings.password_file)
    parameters.setdefault("connect_timeout", max(1, int(settings.connect_timeout.total_seconds())))
    parameters.setdefault("application_name", "syncd")
    # a peer that disappears without closing the connection is detected within half a minute
    parameters |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    parameters["client_encoding"] = "UTF8"
    if session is not None:
        parameters["options"] = f"{parameters.get('options', '')} {session.options()}".strip()
    return parameters


def check_version(info: ConnectionInfo) -> None:
    """Raise DatabaseUnsuitable for a PostgreSQL older than MIN_VERSION."""
    if info.server_version < MIN_VERSION * 10_000:
        version = info.parameter_status("server_version")
        raise DatabaseUnsuitable(f"PostgreSQL {version} is not supported; update it to {MIN_VERSION} or newer")


def check_encoding(info: ConnectionInfo) -> None:
    """Raise DatabaseUnsuitable unless the database and the session are encoded in UTF-8."""
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseUnsuitable(
            f"the database is encoded in {encoding}, which cannot hold every name; "
            "create it anew: createdb -E UTF8 -T template0 NAME"
        )
    if info.parameter_status("client_encoding") != "UTF8":
        raise DatabaseUnsuitable(f"the database session is not encoded in UTF-8; {POOLER_REMEDY}")
