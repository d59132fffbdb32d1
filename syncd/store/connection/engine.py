"""Connections to PostgreSQL: how they are opened, in which role, and which of our errors theirs become."""

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
from syncd.settings import Database, secret


class Role(StrEnum):
    """The database roles that the migrations make; each may write what it owns and nothing else."""

    SYNC = "syncd_sync"
    API = "syncd_api"


def open_engine(settings: Database, role: Role | None) -> Engine:
    """An engine for the synchronous parts: runs, commands, and (without a role) migrations.

    It keeps no connections: each of these needs one, and to close it gives its locks and temporary tables back.
    """
    connect = partial(psycopg.connect, **arguments(settings, role))
    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)


async def connection(settings: Database, role: Role) -> psycopg.AsyncConnection[Any]:
    """A connection outside of any pool, for what is asked or heard all the time; each statement by itself."""
    return await psycopg.AsyncConnection.connect(**arguments(settings, role), autocommit=True)


def arguments(settings: Database, role: Role | None, option: str = "") -> dict[str, Any]:
    """What psycopg.connect() gets: the libpq URL as it stands, password, time limits, role and one more option.

    The role is a start-up option, not a statement: the connection has it from its first moment, and RESET ROLE or
    an aborted transaction lead back to it, never to the login user.
    """
    found: dict[str, Any] = conninfo_to_dict(settings.url)
    if settings.password_file is not None:
        found["password"] = secret(settings.password_file)
    found.setdefault("connect_timeout", max(1, int(settings.connect_timeout.total_seconds())))
    found.setdefault("application_name", "syncd")
    # a peer that is gone without a word is noticed within half a minute
    found |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    if role is not None:
        found["options"] = f"{found.get('options', '')} -c role={role} {option}".strip()
    return found


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's words for «not there», «not allowed» and «not migrated» into ours.

    Any other error is a defect and passes.
    """
    try:
        yield
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn) or _role_missing(cause):
            raise SchemaMismatch("the database has no schema of this version; run `syncd migrate`") from error
        if isinstance(cause, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
            raise StoreUnavailable(_refusing(cause)) from error
        if isinstance(cause, psycopg.errors.QueryCanceled):
            raise StoreBusy("this takes the database too long and was given up; ask for less, or later") from error
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            raise StoreUnavailable(_silent(cause)) from error
        raise
    except psycopg.OperationalError as error:  # COPY goes past SQLAlchemy
        raise StoreUnavailable(_silent(error)) from error


def _role_missing(cause: BaseException | None) -> bool:
    return isinstance(cause, psycopg.OperationalError) and any(
        f'role "{role}" does not exist' in str(cause) or f'"role": "{role}"' in str(cause) for role in Role
    )


def _silent(cause: BaseException | None) -> str:
    return f"the database does not answer: {_reason(cause)}; check that it runs and that database.url leads to it"


def _refusing(cause: BaseException) -> str:
    """A grant was taken away, or the server has become the standby of another one."""
    return f"the database refuses this: {_reason(cause)}; grant it again, or let database.url lead to the primary"


def _reason(cause: BaseException | None) -> str:
    return (str(cause).splitlines() or ["no reason given"])[0]
