"""Search in the database: index of each query form, words of names, and re-indexing by the migration."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.contact import Contact, ContactType, PhoneNumber, build_index
from syncd.core.contacts.query import parse
from syncd.core.contacts.search import MAX_MATCHES
from syncd.demo.servers import Postgres
from syncd.errors import MissingPrivilege
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.connection.pool import open_async_engine
from syncd.store.contacts.lookup import NumberLookup
from syncd.store.contacts.reading import Directory
from syncd.store.run import purge
from syncd.store.schema import migrate
from tests.environment import Environment
from tests.http_daemon import INSERT_CONTACT, insert_values
from tests.query_plans import Statements, record_statements, used_indexes

TRIGRAMS, TAILS = "contact_user_search_idx", "contact_user_tails_idx"


def insert_contacts(url: str, *contacts: tuple[ContactType, Contact], region: str = "") -> None:
    """Insert contacts and the words of their names."""
    with psycopg.connect(url, autocommit=True) as connection:
        for type_, contact in contacts:
            connection.execute(INSERT_CONTACT, insert_values(type_, contact, region))
            search = build_index(type_, contact, region).search
            connection.execute("INSERT INTO word SELECT n FROM names_of(%s) AS n", [search])


def run_query(url: str, query: Callable[[AsyncEngine], Awaitable[Any]]) -> tuple[Any, Statements]:
    """Run a query of the store; return its result and the executed statements."""

    async def run() -> tuple[Any, Statements]:
        engine = open_async_engine(Database(url=url), Role.API)
        try:
            with record_statements(engine) as statements:
                return await query(engine), statements
        finally:
            await engine.dispose()

    return asyncio.run(run())


def page(query: str) -> Callable[[AsyncEngine], Awaitable[tuple[int, list[str]]]]:
    """Return a query for the number of matches and the names on the page."""

    async def read(engine: AsyncEngine) -> tuple[int, list[str]]:
        async with Directory(engine, ("DE",)).open_page(parse(query.encode())) as result:
            return result.total, [contact.name async for batch in result.batches for contact in batch]

    return read


ANNA: tuple[ContactType, Contact] = (
    "User",
    Contact("Anna Müller", (PhoneNumber("+49 89 5550103"),), first_name="Anna", last_name="Müller"),
)
PATTERN = "filterName=NamesOrPhoneNumberMatches&limit=10&filterParameters="


@pytest.mark.parametrize(
    ("query", "index_name"),
    [
        ("q=anna", TRIGRAMS),
        ("q=anna+mull", TRIGRAMS),
        ("q=anna+mull+0895", TRIGRAMS),
        ("q=annna", "word_trigrams_idx"),
        ("q=annna", "contact_user_words_of_idx"),
        ("q=089555", TRIGRAMS),
        ("q=anna&sortBy=lastName", TRIGRAMS),
        (PATTERN + "mul*", TRIGRAMS),
        (PATTERN + "*ulle*", TRIGRAMS),
        (PATTERN + "*ler", TRIGRAMS),
        (PATTERN + "m*ller", TRIGRAMS),
        ("phoneNumber=0895550103", TAILS),
    ],
)
def test_query_form_uses_its_index(database_url: str, query: str, index_name: str) -> None:
    """EXPLAIN of the executed statements names the index, and the result is correct."""
    insert_contacts(database_url, ANNA)

    result, statements = run_query(database_url, page(query))

    assert result == (1, ["Anna Müller"])
    assert index_name in used_indexes(database_url, statements, forced=query.startswith("phone"))


def test_lookup_uses_its_index(database_url: str) -> None:
    """One statement looks up all numbers, by the index of last digits."""
    insert_contacts(database_url, ANNA)

    owners, statements = run_query(
        database_url, lambda engine: NumberLookup(engine, ("DE",)).find_owners(["0895550103", "1", "2"])
    )

    assert [len(matches) for matches in owners.values()] == [1, 0, 0]
    assert len(statements) == 1
    assert TAILS in used_indexes(database_url, statements, forced=True)


def test_more_matches_than_the_limit(database_url: str) -> None:
    """The best matches are returned by rank and name, and the total is MAX_MATCHES."""
    exact: tuple[ContactType, Contact] = ("User", Contact("Zz", user_name="ann"))
    prefix: tuple[ContactType, Contact] = ("Queue", Contact("Ann Zz"))
    insert_contacts(database_url, exact, prefix, ("Queue", Contact("Ann")))
    with psycopg.connect(database_url, autocommit=True) as connection:
        search = build_index("User", Contact("Bo Ann")).search
        connection.execute(
            "INSERT INTO contact (type, name, name_folded, search, source, source_key) SELECT 'User', 'Bo Ann ' || n, "
            "'bo ann ' || lpad(n::text, 6, '0'), %s, 's', n::text FROM generate_series(1, %s) AS n",
            [search, MAX_MATCHES],
        )
        connection.execute("ANALYZE contact")

    (total, names), statements = run_query(database_url, page("q=ann&limit=5"))
    assert (total, names) == (MAX_MATCHES, ["Ann", "Zz", "Ann Zz", "Bo Ann 1", "Bo Ann 2"])
    assert "contact_user_name_folded_id_idx" in used_indexes(database_url, statements)
    assert run_query(database_url, page("q=ann&limit=2&offset=2"))[0] == (MAX_MATCHES, ["Ann Zz", "Bo Ann 1"])
    assert run_query(database_url, page(f"q=ann&limit=5&offset={MAX_MATCHES - 1}"))[0] == (
        MAX_MATCHES, [f"Bo Ann {MAX_MATCHES - 3}"],
    )  # fmt: skip
    assert run_query(database_url, page(f"q=ann&offset={MAX_MATCHES + 5}"))[0] == (MAX_MATCHES, [])
    assert run_query(database_url, page("q=ann&limit=1&sortBy=name&order=Descending"))[0] == (MAX_MATCHES, ["Zz"])


@pytest.mark.parametrize(
    ("digits", "total"), [("0895550", 1), ("08955501", 1), ("0895550103", 1), ("4989555010", 1), ("95550103", 0)]
)
def test_number_is_found_by_its_first_digits(database_url: str, digits: str, total: int) -> None:
    """Any number of first digits matches; last digits alone, which the index would find, do not."""
    insert_contacts(database_url, ANNA)

    assert run_query(database_url, page(f"q={digits}"))[0][0] == total


def test_user_name_ranks_before_similar_names(database_url: str) -> None:
    """A word that begins no name but a user name finds that user first, then users with similar names."""
    zoe: tuple[ContactType, Contact] = (
        "User",
        Contact("Zoe Quint", user_name="annna.q", first_name="Zoe", last_name="Quint"),
    )
    insert_contacts(database_url, ANNA, zoe)

    assert run_query(database_url, page("q=annna"))[0] == (2, ["Zoe Quint", "Anna Müller"])


@pytest.mark.parametrize("literal", ["%", "_", "\\", "*", "'"])
def test_special_characters_are_literal(database_url: str, literal: str) -> None:
    """Special characters of LIKE and SQL are literals."""
    insert_contacts(database_url, ANNA)

    assert run_query(database_url, page("q=" + quote(literal)))[0] == (0, [])
    assert run_query(database_url, page("q=" + quote(f"an{literal}na")))[0] == (0, [])


def test_wildcards_match_names_and_numbers_only(database_url: str) -> None:
    """E-mail addresses and normalised digits are searched by `q` only."""
    insert_contacts(
        database_url,
        ("User", Contact("A B", (PhoneNumber("+49 89 5550103"),), first_name="A", email_address="zed@x.org")),
    )

    assert run_query(database_url, page("q=zed"))[0][0] == 1
    assert run_query(database_url, page(PATTERN + "*zed*"))[0][0] == 0
    assert run_query(database_url, page(PATTERN + "*49895550103*"))[0][0] == 0
    assert run_query(database_url, page(PATTERN + quote("*9 89 55*")))[0][0] == 1


def test_unused_words_are_pruned(database_url: str) -> None:
    """`prune` deletes words without contact and duplicates."""
    insert_contacts(database_url, ANNA, ANNA, ("User", Contact("Bert Gone")))
    engine = open_engine(Database(url=database_url), Role.SYNC)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM contact_user WHERE name = 'Bert Gone'"))
        purge.prune(connection, "corp", timedelta(days=1))
        assert sorted(connection.scalars(text("SELECT word FROM word"))) == ["anna", "muller"]
    engine.dispose()


def test_migration_indexes_stored_contacts(postgres: Postgres) -> None:
    """Contacts of an earlier release are found right after `syncd migrate`, by name and number."""
    from alembic import command

    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE older")
    engine = open_engine(Database(url=postgres.url("older")), None)
    migrate.migrate(engine)
    with engine.begin() as connection:
        config = migrate._config()
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        connection.execute(text("GRANT USAGE ON SCHEMA public TO PUBLIC"))
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for type_, owner in (("User", "'s', '1'"), ("Custom", "NULL, NULL")):
            connection.exec_driver_sql(
                "INSERT INTO contact (type, name, numbers, name_folded, search, source, source_key) VALUES "
                f"('{type_}', 'Zoë 1', '[{{\"phoneNumber\": \"+49 89 5550103\"}}]', 'zoe 1', 'old', {owner})"
            )
    assert migrate.migrate(engine)
    engine.dispose()

    assert run_query(postgres.url("older"), page("q=zoe"))[0] == (2, ["Zoë 1", "Zoë 1"])
    assert run_query(postgres.url("older"), page("q=zoo"))[0][0] == 2
    assert run_query(postgres.url("older"), page("phoneNumber=0895550103"))[0][0] == 2


def test_missing_extension_privilege_is_reported(postgres: Postgres) -> None:
    """A user who may create tables but no extension gets the SQL for an administrator, and nothing is changed."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE closed")
        connection.execute("CREATE ROLE tenant LOGIN CREATEROLE")
    with psycopg.connect(postgres.url("closed"), autocommit=True) as connection:
        connection.execute("GRANT CREATE, USAGE ON SCHEMA public TO tenant")
        connection.execute("GRANT syncd_sync, syncd_api TO tenant")
    engine = open_engine(Database(url=postgres.url("closed", "tenant")), None)
    with pytest.raises(MissingPrivilege) as raised:
        migrate.migrate(engine)
    engine.dispose()
    assert "CREATE EXTENSION pg_trgm;" in str(raised.value.sql)


def test_changed_region_reindexes_the_contacts(env: Environment) -> None:
    """No contact changes and nothing is logged, but the numbers are found in every spelling."""
    env.branch.add("pat", "Pat", telephoneNumber="089 5550103")
    env.configure()
    env.run()
    assert run_query(env.database_url, page("phoneNumber=%2B49895550103"))[0][0] == 0
    changes = env.fetch_rows("SELECT count(*) FROM change")

    env.configure(ldap='default_region = "DE"')
    assert env.run().counts.changed == 0
    assert run_query(env.database_url, page("phoneNumber=%2B49895550103"))[0][0] == 1
    assert run_query(env.database_url, page("q=exampel"))[0][0] == 1
    assert env.fetch_rows("SELECT count(*) FROM change") == changes
