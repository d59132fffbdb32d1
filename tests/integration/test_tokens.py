"""API tokens: creation, storage as hashes, listing, revocation, and the token cache."""

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine

from syncd.core.contacts.models import Caller
from syncd.errors import SchemaMismatch, StoreUnavailable, SyncdError
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.admin.token_cache import TokenCache
from syncd.store.connection.engine import Role, open_engine
from syncd.store.connection.pool import open_async_engine


@pytest.fixture
def api(database_url: str) -> Iterator[Engine]:
    """The engine that the commands use."""
    engine = open_engine(Database(url=database_url), Role.API)
    yield engine
    engine.dispose()


def find_callers(url: str, *secrets: str) -> list[Caller | None]:
    """Return the callers of these tokens."""

    async def run() -> list[Caller | None]:
        engine = open_async_engine(Database(url=url), Role.API)
        try:
            cache = TokenCache(engine)
            return [await cache.find_caller(secret, 0) for secret in secrets]
        finally:
            await engine.dispose()

    return asyncio.run(run())


def test_token_identifies_its_caller(api: Engine, database_url: str) -> None:
    """Each token has its own caller; any other text has none."""
    admin, agent = tokens.create(api, "Ops", "admin"), tokens.create(api, "Desktop", "agent")

    assert admin.startswith("syncd_")
    assert len(admin) > 40
    assert find_callers(database_url, admin, agent, admin + "x", "", "syncd_") == [
        Caller("Ops", "admin"), Caller("Desktop", "agent"), None, None, None,
    ]  # fmt: skip


def test_only_the_hash_is_stored(api: Engine, database_url: str) -> None:
    """The token itself is not in the database."""
    secret = tokens.create(api, "Ops", "admin")
    with psycopg.connect(database_url) as connection:
        (row,) = connection.execute("SELECT token::text, hash FROM token").fetchall()

    assert row[1] == hashlib.sha256(secret.encode()).digest()
    assert secret not in row[0]


def test_revoked_token_has_no_caller(api: Engine, database_url: str) -> None:
    """`revoke` returns whether it revoked a token, affects only that one, and keeps it in the list."""
    one, two = tokens.create(api, "one", "agent"), tokens.create(api, "two", "agent")

    assert tokens.revoke(api, "one")
    assert not tokens.revoke(api, "one")
    assert not tokens.revoke(api, "three")
    assert find_callers(database_url, one, two) == [None, Caller("two", "agent")]
    assert [(row.name, row.role, row.revoked_at is None) for row in tokens.list_tokens(api)] == [
        ("one", "agent", False), ("two", "agent", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role", "message"), [("Ops", "agent", "already"), (" ", "agent", "name"), ("x", "root", "root")]
)
def test_invalid_token_is_rejected(api: Engine, name: str, role: str, message: str) -> None:
    """A taken or empty name and an unknown role raise SyncdError."""
    tokens.create(api, "Ops", "admin")
    with pytest.raises(SyncdError, match=message):
        tokens.create(api, name, role)

    assert [row.name for row in tokens.list_tokens(api)] == ["Ops"]


def test_missing_database_differs_from_missing_schema(postgres: object, database_url: str) -> None:
    """The first raises StoreUnavailable, the second SchemaMismatch, for commands and requests."""
    unreachable = "postgresql://postgres@127.0.0.1:1/x"
    with pytest.raises(StoreUnavailable):
        find_callers(unreachable, "x")
    with pytest.raises(StoreUnavailable):
        tokens.list_tokens(open_engine(Database(url=unreachable), Role.API))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE token")
    with pytest.raises(SchemaMismatch, match="syncd migrate"):
        find_callers(database_url, "x")


def test_token_expires(api: Engine, database_url: str) -> None:
    """The cache rejects an expired token, without and with a reload; the list shows the expiry."""
    short = tokens.create(api, "short", "agent", timedelta(seconds=2))
    long = tokens.create(api, "long", "agent", timedelta(days=90))

    async def run() -> None:
        engine = open_async_engine(Database(url=database_url), Role.API)
        cache = TokenCache(engine)
        try:
            assert await cache.find_caller(short, 1) == Caller("short", "agent")
            await asyncio.sleep(2.1)
            assert await cache.find_caller(short, 1) is None
            assert await cache.find_caller(short, 2) is None
            assert await cache.find_caller(long, 2) == Caller("long", "agent")
        finally:
            await engine.dispose()

    asyncio.run(run())
    expires_at = {row.name: row.expires_at for row in tokens.list_tokens(api)}
    created_at = {row.name: row.created_at for row in tokens.list_tokens(api)}
    assert expires_at["long"] is not None
    assert abs((expires_at["long"] - created_at["long"]) - timedelta(days=90)) < timedelta(seconds=1)


def read_access(url: str) -> int:
    """Return the counter of token changes."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT access FROM directory").fetchone()
        assert row is not None
        return int(row[0])


def test_cache_is_valid_until_tokens_change(api: Engine, database_url: str) -> None:
    """`create` and `revoke` increment the access counter; the cache is reloaded only when it differs."""
    one = tokens.create(api, "one", "agent")
    before = read_access(database_url)

    async def run() -> None:
        engine = open_async_engine(Database(url=database_url), Role.API)
        cache = TokenCache(engine)
        try:
            assert await cache.find_caller(one, before) == Caller("one", "agent")
            two = await asyncio.to_thread(tokens.create, api, "two", "admin")
            assert read_access(database_url) == before + 1
            assert await cache.find_caller(two, before) is None
            assert await cache.find_caller(two, before + 1) == Caller("two", "admin")
            await asyncio.to_thread(tokens.revoke, api, "one")
            assert await cache.find_caller(one, before + 1) == Caller("one", "agent")
            assert await cache.find_caller(one, read_access(database_url)) is None
        finally:
            await engine.dispose()

    asyncio.run(run())


def test_last_use_is_flushed_at_once(api: Engine, database_url: str) -> None:
    """Calls write nothing; a flush writes all times of last use, and a late flush does not overwrite newer ones."""
    secrets = [tokens.create(api, name, "agent") for name in ("one", "two", "three")]

    async def run() -> None:
        engine = open_async_engine(Database(url=database_url), Role.API)
        late, cache = TokenCache(engine), TokenCache(engine)
        try:
            await late.find_caller(secrets[0], 0)
            for secret in (*secrets[:2], "wrong"):
                await cache.find_caller(secret, 0)
            assert read_last_use(api) == {"one": None, "two": None, "three": None}
            await cache.flush_last_used()
            first = read_last_use(api)
            await late.flush_last_used()
            await cache.flush_last_used()
            assert read_last_use(api) == first
        finally:
            await engine.dispose()

    asyncio.run(run())
    last_use = read_last_use(api)
    assert last_use["three"] is None
    for name in ("one", "two"):
        used_at = last_use[name]
        assert used_at is not None
        assert abs(datetime.now(UTC) - used_at) < timedelta(seconds=60)


def read_last_use(api: Engine) -> dict[str, datetime | None]:
    return {row.name: row.used_at for row in tokens.list_tokens(api)}


def test_failed_flush_is_repeated(api: Engine, database_url: str) -> None:
    """Times of last use that could not be stored are stored by the next flush."""
    one = tokens.create(api, "one", "agent")

    async def run() -> None:
        engine = open_async_engine(Database(url=database_url), Role.API)
        cache = TokenCache(engine)
        try:
            await cache.find_caller(one, 0)
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("ALTER TABLE token RENAME TO away")
                with pytest.raises(SchemaMismatch):
                    await cache.flush_last_used()
                connection.execute("ALTER TABLE away RENAME TO token")
            await cache.flush_last_used()
        finally:
            await engine.dispose()

    asyncio.run(run())
    assert read_last_use(api)["one"] is not None
