"""Engine of the synchronous code, and connections outside of any pool; driver errors mapped to errors of syncd."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from syncd.errors import DatabaseUnsuitable, SchemaMismatch, StoreBusy, StoreError, StoreUnavailable
from syncd.settings import Database
from syncd.store.connection.session import (
    POOLER_REMEDY,
    SELECT_STATE,
    Session,
    check_encoding,
    check_version,
    connect_arguments,
)


class Role(StrEnum):
    """Database roles that the migrations create; each may write only the tables that it owns."""

    SYNC = "syncd_sync"
    API = "syncd_api"


def open_engine(settings: Database, role: Role | None) -> Engine:
    """Create the engine of the synchronous code: runs, commands, and (without a role) migrations.

    The engine has no pool: each user needs one connection, and closing it releases its locks and temporary tables.
    Connecting raises DatabaseUnsuitable unless the session is as requested.
    """
    return _create_engine(partial(_connect, settings, role))


def open_unchecked_engine(settings: Database) -> Engine:
    """Create an engine for `syncd check`: as the login, without start-up options and checks."""
    return _create_engine(partial(psycopg.connect, **connect_arguments(settings, settings.session_url)))


def _create_engine(connect: partial[psycopg.Connection[Any]]) -> Engine:
    # parameters are data of people, which must not be in the text of an error; the search for hstore is a round trip
    options = {"hide_parameters": True, "use_native_hstore": False}
    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool, **options)


def _connect(settings: Database, role: Role | None) -> psycopg.Connection[Any]:
    session = Session.create(role)
    connection = psycopg.connect(**connect_arguments(settings, settings.session_url, session), autocommit=True)
    try:
        check_version(connection.info)
        check_encoding(connection.info)
        session.check(*connection.execute(SELECT_STATE).fetchall()[0])
    except BaseException:
        connection.close()
        raise
    connection.autocommit = False
    return connection


async def open_connection(settings: Database, session: Session | None) -> psycopg.AsyncConnection[Any]:
    """Open an autocommit connection; without a session, by the URL that may lead through a transaction pooler.

    Raises DatabaseUnsuitable unless the session is as requested, and psycopg.OperationalError.
    """
    url = settings.url if session is None else settings.session_url
    arguments = connect_arguments(settings, url, session)
    connection = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
    try:
        check_version(connection.info)
        check_encoding(connection.info)
        if session is not None:
            session.check(*(await (await connection.execute(SELECT_STATE)).fetchall())[0])
    except BaseException:
        await connection.close()
        raise
    return connection


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map driver errors to errors of syncd; any other error is a defect and propagates unchanged.

    Raises DatabaseUnsuitable (a pooler rejects start-up options), SchemaMismatch (table, column or role
    missing), StoreUnavailable (no connection, privilege missing, read-only standby, a value that cannot be read, or an
    internal error of the server) and StoreBusy (statement timeout).
    """
    try:
        yield
    except DBAPIError as error:
        if (mapped := _map_error(error.orig, is_lost=error.connection_invalidated)) is None:
            raise
        raise mapped from error
    except psycopg.Error as error:  # COPY and the connections outside of a pool do not go through SQLAlchemy
        if (mapped := _map_error(error)) is None:
            raise
        raise mapped from error


def _map_error(cause: BaseException | None, *, is_lost: bool = False) -> StoreError | None:
    """Return the error of syncd for one of the driver; None for a defect."""
    message = (str(cause).splitlines() or ["no reason given"])[0]
    is_missing = isinstance(cause, errors.UndefinedTable | errors.UndefinedColumn | errors.UndefinedObject) or any(
        f'role "{role}" does not exist' in message or f'"role": "{role}"' in message for role in Role
    )
    # a privilege was revoked, or the server has become a standby
    is_refused = isinstance(cause, errors.InsufficientPrivilege | errors.ReadOnlySqlTransaction)
    is_undecodable = isinstance(cause, psycopg.DataError) and cause.sqlstate is None
    is_lost |= isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError)
    mappings: tuple[tuple[bool, StoreError], ...] = (
        (
            "unsupported startup parameter" in message,
            DatabaseUnsuitable(f"the database session is not as requested: {message}; {POOLER_REMEDY}"),
        ),
        (is_missing, SchemaMismatch("the database has no schema of this version; run `syncd migrate`")),
        (
            is_refused,
            StoreUnavailable(
                f"the database refuses this: {message}; grant it again, or let database.url lead to the primary"
            ),
        ),
        (
            isinstance(cause, errors.QueryCanceled),
            StoreBusy("the query exceeded database.statement_timeout; request less, or retry later"),
        ),
        (
            is_undecodable,
            StoreUnavailable(f"the database holds a value that cannot be read: {message}; correct its row"),
        ),
        (
            is_lost,
            StoreUnavailable(
                f"the database does not answer: {message}; check that it runs and that database.url leads to it"
            ),
        ),
    )
    return next((error for is_met, error in mappings if is_met), None)
