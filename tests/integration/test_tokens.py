"""Tokens: made once, kept as hashes, listed, revoked, and looked up for a request."""

import asyncio
import hashlib
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from syncd.core.directory import Caller
from syncd.errors import SchemaMismatch, StoreUnavailable, SyncdError
from syncd.settings import Database
from syncd.store import tokens
from syncd.store.callers import Callers
from syncd.store.database import Role, async_engine, engine


@pytest.fixture
def api(database_url: str) -> Iterator[Engine]:
    """The engine that the command line uses."""
    found = engine(Database(url=database_url), Role.API)
    yield found
    found.dispose()


def known(url: str, *secrets: str) -> list[Caller | None]:
    """Who these tokens stand for."""

    async def ask() -> list[Caller | None]:
        found = async_engine(Database(url=url), Role.API)
        try:
            return [await Callers(found).caller(secret, 0) for secret in secrets]
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
    assert [(row.name, row.role, row.revoked_at is None) for row in tokens.listing(api)] == [
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

    assert [row.name for row in tokens.listing(api)] == ["Ops"]


def test_a_database_that_is_not_there_or_not_migrated(postgres: object, database_url: str) -> None:
    """The two are told apart, for the command line and for requests."""
    away = "postgresql://postgres@127.0.0.1:1/x"
    with pytest.raises(StoreUnavailable):
        known(away, "x")
    with pytest.raises(StoreUnavailable):
        tokens.listing(engine(Database(url=away), Role.API))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE token")
    with pytest.raises(SchemaMismatch, match="syncd migrate"):
        known(database_url, "x")
