"""Engine, connection parameters and database roles; driver errors mapped to errors of syncd."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from syncd.errors import SchemaMismatch, StoreBusy, StoreUnavailable
from syncd.settings import Database, read_secret


class Role(StrEnum):
    """Database roles that the migrations create; each may write only the tables that it owns."""

    SYNC = "syncd_sync"
    API = "syncd_api"


def open_engine(settings: Database, role: Role | None) -> Engine:
    """Create the engine of the synchronous code: runs, commands, and (without a role) migrations.

    The engine has no pool: each user needs one connection, and closing it releases its locks and temporary tables.
    """
    connect = partial(psycopg.connect, **connect_arguments(settings, role))
    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)


async def open_connection(settings: Database, role: Role) -> psycopg.AsyncConnection[Any]:
    """Open an autocommit connection outside of any pool, for frequent queries and LISTEN.

    Raises psycopg.OperationalError.
    """
    return await psycopg.AsyncConnection.connect(**connect_arguments(settings, role), autocommit=True)


def connect_arguments(settings: Database, role: Role | None, option: str = "") -> dict[str, Any]:
    """Return the arguments of psycopg.connect(): the libpq URL, password, timeouts, role and a further `option`.

    The role is a start-up option, not a statement: it is in effect from the first statement on, and RESET ROLE or an
    aborted transaction restore it, never the login user.
    """
    parameters: dict[str, Any] = conninfo_to_dict(settings.url)
    if settings.password_file is not None:
        parameters["password"] = read_secret(settings.password_file)
    parameters.setdefault("connect_timeout", max(1, int(settings.connect_timeout.total_seconds())))
    parameters.setdefault("application_name", "syncd")
    # a peer that disappears without closing the connection is detected within half a minute
    parameters |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    if role is not None:
        parameters["options"] = f"{parameters.get('options', '')} -c role={role} {option}".strip()
    return parameters


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map driver errors to errors of syncd; any other error is a defect and propagates unchanged.

    Raises SchemaMismatch (table, column or role missing), StoreUnavailable (no connection, privilege missing, or
    read-only standby) and StoreBusy (statement timeout).
    """
    try:
        yield
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn) or _is_role_missing(cause):
            raise SchemaMismatch("the database has no schema of this version; run `syncd migrate`") from error
        if isinstance(cause, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
            raise StoreUnavailable(_refused_message(cause)) from error
        if isinstance(cause, psycopg.errors.QueryCanceled):
            raise StoreBusy("the query exceeded database.statement_timeout; request less, or retry later") from error
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            raise StoreUnavailable(_unavailable_message(cause)) from error
        raise
    except psycopg.OperationalError as error:  # COPY goes past SQLAlchemy
        raise StoreUnavailable(_unavailable_message(error)) from error


def _is_role_missing(cause: BaseException | None) -> bool:
    return isinstance(cause, psycopg.OperationalError) and any(
        f'role "{role}" does not exist' in str(cause) or f'"role": "{role}"' in str(cause) for role in Role
    )


def _unavailable_message(cause: BaseException | None) -> str:
    return f"the database does not answer: {_first_line(cause)}; check that it runs and that database.url leads to it"


def _refused_message(cause: BaseException) -> str:
    """Return the message for a revoked privilege, or a server that has become a standby."""
    return f"the database refuses this: {_first_line(cause)}; grant it again, or let database.url lead to the primary"


def _first_line(cause: BaseException | None) -> str:
    return (str(cause).splitlines() or ["no reason given"])[0]
