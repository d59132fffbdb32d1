"""Tokens: made once, kept as hashes, listed, revoked, and looked up for a request."""

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
    """The engine that the command line uses."""
    found = open_engine(Database(url=database_url), Role.API)
    yield found
    found.dispose()


def known(url: str, *secrets: str) -> list[Caller | None]:
    """Who these tokens stand for."""

    async def ask() -> list[Caller | None]:
        found = open_async_engine(Database(url=url), Role.API)
        try:
            callers = TokenCache(found)
            return [await callers.find_caller(secret, 0) for secret in secrets]
        finally:
            await found.dispose()

    return asyncio.run(ask())


def test_a_token_stands_for_its_name_and_role(api: Engine, database_url: str) -> None:
    """Each token is its own caller; anything else is nobody."""
    admin, agent = tokens.create(api, "Ops", "admin"), tokens.create(api, "Desktop", "agent")

    assert admin.startswith("syncd_")
    assert len(admin) > 40
    assert known(database_url, admin, agent, admin + "x", "", "syncd_") == [
        Caller("Ops", "admin"), Caller("Desktop", "agent"), None, None, None,
    ]  # fmt: skip


def test_only_the_hash_is_stored(api: Engine, database_url: str) -> None:
    """The token itself is nowhere in the database."""
    secret = tokens.create(api, "Ops", "admin")
    with psycopg.connect(database_url) as connection:
        (row,) = connection.execute("SELECT token::text, hash FROM token").fetchall()

    assert row[1] == hashlib.sha256(secret.encode()).digest()
    assert secret not in row[0]


def test_a_revoked_token_is_nobody(api: Engine, database_url: str) -> None:
    """Revoking ends one token, is told apart from revoking nothing, and stays in the list."""
    one, two = tokens.create(api, "one", "agent"), tokens.create(api, "two", "agent")

    assert tokens.revoke(api, "one")
    assert not tokens.revoke(api, "one")
    assert not tokens.revoke(api, "three")
    assert known(database_url, one, two) == [None, Caller("two", "agent")]
    assert [(row.name, row.role, row.revoked_at is None) for row in tokens.list_tokens(api)] == [
        ("one", "agent", False), ("two", "agent", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role", "says"), [("Ops", "agent", "already"), (" ", "agent", "name"), ("x", "root", "root")]
)
def test_what_cannot_be_a_token(api: Engine, name: str, role: str, says: str) -> None:
    """A name that is taken or empty, and an unknown role, are refused with the next step."""
    tokens.create(api, "Ops", "admin")
    with pytest.raises(SyncdError, match=says):
        tokens.create(api, name, role)

    assert [row.name for row in tokens.list_tokens(api)] == ["Ops"]


def test_a_database_that_is_not_there_or_not_migrated(postgres: object, database_url: str) -> None:
    """The two are told apart, for the command line and for requests."""
    away = "postgresql://postgres@127.0.0.1:1/x"
    with pytest.raises(StoreUnavailable):
        known(away, "x")
    with pytest.raises(StoreUnavailable):
        tokens.list_tokens(open_engine(Database(url=away), Role.API))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE token")
    with pytest.raises(SchemaMismatch, match="syncd migrate"):
        known(database_url, "x")


def test_a_token_may_end_by_itself(api: Engine, database_url: str) -> None:
    """Who knows it does not know it a moment longer than it lasts; the list tells the time."""
    short = tokens.create(api, "short", "agent", timedelta(seconds=2))
    lasting = tokens.create(api, "lasting", "agent", timedelta(days=90))

    async def ask() -> None:
        found = open_async_engine(Database(url=database_url), Role.API)
        callers = TokenCache(found)
        try:
            assert await callers.find_caller(short, 1) == Caller("short", "agent")
            await asyncio.sleep(2.1)
            assert await callers.find_caller(short, 1) is None
            assert await callers.find_caller(short, 2) is None
            assert await callers.find_caller(lasting, 2) == Caller("lasting", "agent")
        finally:
            await found.dispose()

    asyncio.run(ask())
    ends = {row.name: row.expires_at for row in tokens.list_tokens(api)}
    made = {row.name: row.created_at for row in tokens.list_tokens(api)}
    assert ends["lasting"] is not None
    assert abs((ends["lasting"] - made["lasting"]) - timedelta(days=90)) < timedelta(seconds=1)


def access(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT access FROM directory").fetchone()
        assert row is not None
        return int(row[0])


def test_what_is_known_stands_until_tokens_change(api: Engine, database_url: str) -> None:
    """Making and revoking raises the count that every replica asks for; as long as it stands, nobody is asked."""
    one = tokens.create(api, "one", "agent")
    before = access(database_url)

    async def ask() -> None:
        found = open_async_engine(Database(url=database_url), Role.API)
        callers = TokenCache(found)
        try:
            assert await callers.find_caller(one, before) == Caller("one", "agent")
            two = await asyncio.to_thread(tokens.create, api, "two", "admin")
            assert access(database_url) == before + 1
            assert await callers.find_caller(two, before) is None
            assert await callers.find_caller(two, before + 1) == Caller("two", "admin")
            await asyncio.to_thread(tokens.revoke, api, "one")
            assert await callers.find_caller(one, before + 1) == Caller("one", "agent")
            assert await callers.find_caller(one, access(database_url)) is None
        finally:
            await found.dispose()

    asyncio.run(ask())


def test_the_last_use_is_stored_in_one_go(api: Engine, database_url: str) -> None:
    """Calls write nothing; a note of all of them does, and tells the last one, however late an older note comes."""
    secrets = [tokens.create(api, name, "agent") for name in ("one", "two", "three")]

    async def ask() -> None:
        found = open_async_engine(Database(url=database_url), Role.API)
        late, callers = TokenCache(found), TokenCache(found)
        try:
            await late.find_caller(secrets[0], 0)
            for secret in (*secrets[:2], "wrong"):
                await callers.find_caller(secret, 0)
            assert used(api) == {"one": None, "two": None, "three": None}
            await callers.flush_last_used()
            first = used(api)
            await late.flush_last_used()
            await callers.flush_last_used()
            assert used(api) == first
        finally:
            await found.dispose()

    asyncio.run(ask())
    found = used(api)
    assert found["three"] is None
    for name in ("one", "two"):
        at = found[name]
        assert at is not None
        assert abs(datetime.now(UTC) - at) < timedelta(seconds=60)


def used(api: Engine) -> dict[str, datetime | None]:
    return {row.name: row.used_at for row in tokens.list_tokens(api)}


def test_uses_are_noted_later_when_the_database_is_away(api: Engine, database_url: str) -> None:
    """What could not be stored is kept."""
    one = tokens.create(api, "one", "agent")

    async def ask() -> None:
        found = open_async_engine(Database(url=database_url), Role.API)
        callers = TokenCache(found)
        try:
            await callers.find_caller(one, 0)
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("ALTER TABLE token RENAME TO away")
                with pytest.raises(SchemaMismatch):
                    await callers.flush_last_used()
                connection.execute("ALTER TABLE away RENAME TO token")
            await callers.flush_last_used()
        finally:
            await found.dispose()

    asyncio.run(ask())
    assert used(api)["one"] is not None
