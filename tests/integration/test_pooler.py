"""Poolers: a connection that is not in the requested state is refused; with direct_url a transaction pooler works."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import text

from syncd.errors import DatabaseUnsuitable, StoreError
from syncd.settings import Database
from syncd.store.connection.engine import Role, mapped_errors, open_connection, open_engine
from syncd.store.connection.pool import open_async_engine
from syncd.store.connection.session import Session
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts.revision import RevisionTracker
from syncd.store.schema import migrate
from tests.pgbouncer import StartPooler


def connect(settings: Database) -> None:
    """Open and close a connection as a run does."""
    with mapped_errors(), open_engine(settings, Role.SYNC).connect():
        pass


def migrate_schema(settings: Database) -> None:
    migrate.migrate(open_engine(settings, None))


def read_pooled(settings: Database) -> None:
    """Read in a session of the web part."""

    async def read() -> None:
        engine = open_async_engine(settings, Role.API)
        try:
            async with Sessions(engine).autocommit() as connection:
                await connection.execute(text("SELECT count(*) FROM contact"))
        finally:
            await engine.dispose()

    asyncio.run(read())


def track_revision(settings: Database) -> None:
    """Query the revision, on the kind of connection that also listens."""

    async def query() -> None:
        tracker = RevisionTracker(settings)
        try:
            await tracker.current()
        finally:
            await tracker.close()

    asyncio.run(query())


@pytest.mark.parametrize("ignored", ["", "extra_float_digits,options"])
@pytest.mark.parametrize("use", [connect, migrate_schema, read_pooled, track_revision])
def test_a_transaction_pooler_is_refused(
    start_pooler: StartPooler, use: Callable[[Database], None], ignored: str
) -> None:
    """Whether it rejects start-up options or drops them, the error names it and the setting that helps."""
    pooler = start_pooler(ignored=ignored)

    with pytest.raises(DatabaseUnsuitable, match=r"PgBouncer.*database\.direct_url"):
        use(Database(url=pooler.url))


def test_a_pooler_that_sets_the_role_itself_is_refused(start_pooler: StartPooler) -> None:
    """The role is the requested one, but the server process is not of this connection, and so its locks are not."""
    pooler = start_pooler(ignored="options", database_options="connect_query='SET ROLE syncd_sync'")

    with pytest.raises(DatabaseUnsuitable, match="start-up options were dropped"):
        connect(Database(url=pooler.url))


def test_a_direct_url_through_a_pooler_is_refused(start_pooler: StartPooler) -> None:
    pooler = start_pooler(ignored="options")

    with pytest.raises(DatabaseUnsuitable, match="direct_url"):
        connect(Database(url=pooler.url, direct_url=pooler.url))


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
@pytest.mark.parametrize("ignored", ["", "options"])
@pytest.mark.parametrize("use", [connect, read_pooled, track_revision])
def test_with_a_direct_url_a_pooler_works(
    start_pooler: StartPooler, login_url: str, use: Callable[[Database], None], ignored: str, pool_mode: str
) -> None:
    pooler = start_pooler(ignored=ignored, pool_mode=pool_mode)

    use(Database(url=pooler.url, direct_url=login_url))


def test_each_transaction_through_a_pooler_has_role_and_time_limit(start_pooler: StartPooler, login_url: str) -> None:
    """Often enough for a statement to be prepared, on server connections that other clients have used."""
    settings = Database(url=start_pooler().url, direct_url=login_url, pool_size=20)
    query = text("SELECT CAST(current_user AS text), current_setting('statement_timeout'), CAST(:value AS int)")

    async def read(sessions: Sessions, number: int) -> tuple[str, str, int]:
        kinds = (sessions.autocommit, sessions.snapshot, sessions.transaction)
        async with kinds[number % 3]() as connection:
            row = (await connection.execute(query, {"value": number})).one()
            return str(row[0]), str(row[1]), int(row[2])

    async def read_often() -> list[tuple[str, str, int]]:
        engine = open_async_engine(settings, Role.API)
        sessions = Sessions(engine)
        rows = [row for _ in range(10) for row in await asyncio.gather(*(read(sessions, n) for n in range(20)))]
        await engine.dispose()
        return rows

    assert asyncio.run(read_often()) == [("syncd_api", "10s", number) for number in range(20)] * 10
    with psycopg.connect(settings.url, prepare_threshold=None) as other:
        assert other.execute("SELECT current_user, current_setting('statement_timeout')").fetchone() == ("pooled", "0")


def test_the_database_refuses_the_login_what_its_roles_may(start_pooler: StartPooler) -> None:
    """What a pooler hands over without a role can do nothing."""
    with (
        psycopg.connect(start_pooler().url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT FROM contact")


def test_a_session_with_another_state_is_closed(login_url: str) -> None:
    """Also without a pooler."""

    async def open_with(session: Session) -> None:
        await (await open_connection(Database(url=login_url), session)).close()

    asyncio.run(open_with(Session.create(Role.API)))
    wrong = Session("syncd_sync -c role=syncd_api", None, "id")
    with pytest.raises(StoreError, match="the role is syncd_api, not syncd_sync"):
        asyncio.run(open_with(wrong))
