"""Searching in the database: which index answers which form, words of names, what the migration indexes anew."""

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


def put(url: str, *people: tuple[ContactType, Contact], region: str = "") -> None:
    """Put contacts into the directory, with the words of their names."""
    with psycopg.connect(url, autocommit=True) as connection:
        for type_, contact in people:
            connection.execute(INSERT_CONTACT, insert_values(type_, contact, region))
            search = build_index(type_, contact, region).search
            connection.execute("INSERT INTO word SELECT n FROM names_of(%s) AS n", [search])


def ask(url: str, question: Callable[[AsyncEngine], Awaitable[Any]]) -> tuple[Any, Statements]:
    """What the store answers, and what it asked the database."""

    async def run() -> tuple[Any, Statements]:
        engine = open_async_engine(Database(url=url), Role.API)
        try:
            with record_statements(engine) as statements:
                return await question(engine), statements
        finally:
            await engine.dispose()

    return asyncio.run(run())


def page(query: str) -> Callable[[AsyncEngine], Awaitable[tuple[int, list[str]]]]:
    """How many a query finds, and the names on its page."""

    async def read(engine: AsyncEngine) -> tuple[int, list[str]]:
        async with Directory(engine, ("DE",)).open_page(parse(query.encode())) as found:
            return found.total, [contact.name async for batch in found.batches for contact in batch]

    return read


ANNA: tuple[ContactType, Contact] = (
    "User",
    Contact("Anna Müller", (PhoneNumber("+49 89 5550103"),), first_name="Anna", last_name="Müller"),
)
WILD = "filterName=NamesOrPhoneNumberMatches&limit=10&filterParameters="


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
        (WILD + "mul*", TRIGRAMS),
        (WILD + "*ulle*", TRIGRAMS),
        (WILD + "*ler", TRIGRAMS),
        (WILD + "m*ller", TRIGRAMS),
        ("phoneNumber=0895550103", TAILS),
    ],
)
def test_every_form_has_its_index(database_url: str, query: str, index_name: str) -> None:
    """EXPLAIN of the very statements names it; the answer is right as well."""
    put(database_url, ANNA)

    answer, statements = ask(database_url, page(query))

    assert answer == (1, ["Anna Müller"])
    assert index_name in used_indexes(database_url, statements, forced=query.startswith("phone"))


def test_a_lookup_has_its_index(database_url: str) -> None:
    """One statement for all numbers, by their last digits."""
    put(database_url, ANNA)

    owners, statements = ask(
        database_url, lambda engine: NumberLookup(engine, ("DE",)).find_owners(["0895550103", "1", "2"])
    )

    assert [len(found) for found in owners.values()] == [1, 0, 0]
    assert len(statements) == 1
    assert TAILS in used_indexes(database_url, statements, forced=True)


def test_more_matches_than_anybody_reads(database_url: str) -> None:
    """The best are found, by tier and name, however many there are; the count stops at the limit."""
    exact: tuple[ContactType, Contact] = ("User", Contact("Zz", user_name="ann"))
    prefix: tuple[ContactType, Contact] = ("Queue", Contact("Ann Zz"))
    put(database_url, exact, prefix, ("Queue", Contact("Ann")))
    with psycopg.connect(database_url, autocommit=True) as connection:
        crowd = build_index("User", Contact("Bo Ann")).search
        connection.execute(
            "INSERT INTO contact (type, name, name_folded, search, source, source_key) SELECT 'User', 'Bo Ann ' || n, "
            "'bo ann ' || lpad(n::text, 6, '0'), %s, 's', n::text FROM generate_series(1, %s) AS n",
            [crowd, MAX_MATCHES],
        )
        connection.execute("ANALYZE contact")

    (total, names), statements = ask(database_url, page("q=ann&limit=5"))
    assert (total, names) == (MAX_MATCHES, ["Ann", "Zz", "Ann Zz", "Bo Ann 1", "Bo Ann 2"])
    assert "contact_user_name_folded_id_idx" in used_indexes(database_url, statements)
    assert ask(database_url, page("q=ann&limit=2&offset=2"))[0] == (MAX_MATCHES, ["Ann Zz", "Bo Ann 1"])
    assert ask(database_url, page(f"q=ann&limit=5&offset={MAX_MATCHES - 1}"))[0] == (
        MAX_MATCHES, [f"Bo Ann {MAX_MATCHES - 3}"],
    )  # fmt: skip
    assert ask(database_url, page(f"q=ann&offset={MAX_MATCHES + 5}"))[0] == (MAX_MATCHES, [])
    assert ask(database_url, page("q=ann&limit=1&sortBy=name&order=Descending"))[0] == (MAX_MATCHES, ["Zz"])


@pytest.mark.parametrize(
    ("digits", "found"), [("0895550", 1), ("08955501", 1), ("0895550103", 1), ("4989555010", 1), ("95550103", 0)]
)
def test_a_number_is_found_by_its_first_digits(database_url: str, digits: str, found: int) -> None:
    """However many of them were typed; the index alone would take its last ones for it."""
    put(database_url, ANNA)

    assert ask(database_url, page(f"q={digits}"))[0][0] == found


def test_a_word_that_begins_no_name_may_still_be_one(database_url: str) -> None:
    """Of a user name or address: who has it comes before who is only called alike."""
    has: tuple[ContactType, Contact] = (
        "User",
        Contact("Zoe Quint", user_name="annna.q", first_name="Zoe", last_name="Quint"),
    )
    put(database_url, ANNA, has)

    assert ask(database_url, page("q=annna"))[0] == (2, ["Zoe Quint", "Anna Müller"])


@pytest.mark.parametrize("literal", ["%", "_", "\\", "*", "'"])
def test_nothing_typed_is_a_pattern(database_url: str, literal: str) -> None:
    """What means something to LIKE or SQL is looked for as it is, or not at all."""
    put(database_url, ANNA)

    assert ask(database_url, page("q=" + quote(literal)))[0] == (0, [])
    assert ask(database_url, page("q=" + quote(f"an{literal}na")))[0] == (0, [])


def test_wildcards_do_not_see_what_is_only_for_q(database_url: str) -> None:
    """E-mail and the digits of numbers are searched by `q` alone."""
    put(
        database_url,
        ("User", Contact("A B", (PhoneNumber("+49 89 5550103"),), first_name="A", email_address="zed@x.org")),
    )

    assert ask(database_url, page("q=zed"))[0][0] == 1
    assert ask(database_url, page(WILD + "*zed*"))[0][0] == 0
    assert ask(database_url, page(WILD + "*49895550103*"))[0][0] == 0
    assert ask(database_url, page(WILD + quote("*9 89 55*")))[0][0] == 1


def test_words_that_name_nobody_are_forgotten(database_url: str) -> None:
    """A purge leaves no name of those it forgot, and each word once."""
    put(database_url, ANNA, ANNA, ("User", Contact("Bert Gone")))
    engine = open_engine(Database(url=database_url), Role.SYNC)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM contact_user WHERE name = 'Bert Gone'"))
        purge.prune(connection, "corp", timedelta(days=1))
        assert sorted(connection.scalars(text("SELECT word FROM word"))) == ["anna", "muller"]
    engine.dispose()


def test_what_is_stored_is_indexed_by_the_migration(postgres: Postgres) -> None:
    """Contacts of a version that knew nothing of it are found right after `syncd migrate`, numbers as well."""
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

    assert ask(postgres.url("older"), page("q=zoe"))[0] == (2, ["Zoë 1", "Zoë 1"])
    assert ask(postgres.url("older"), page("q=zoo"))[0][0] == 2
    assert ask(postgres.url("older"), page("phoneNumber=0895550103"))[0][0] == 2


def test_an_extension_that_cannot_be_made_is_asked_for(postgres: Postgres) -> None:
    """A user who may make tables but no extension gets the SQL for an administrator, and nothing is changed."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE closed")
        connection.execute("CREATE ROLE tenant LOGIN CREATEROLE")
    with psycopg.connect(postgres.url("closed"), autocommit=True) as connection:
        connection.execute("GRANT CREATE, USAGE ON SCHEMA public TO tenant")
        connection.execute("GRANT syncd_sync, syncd_api TO tenant")
    engine = open_engine(Database(url=postgres.url("closed", "tenant")), None)
    with pytest.raises(MissingPrivilege) as refused:
        migrate.migrate(engine)
    engine.dispose()
    assert "CREATE EXTENSION pg_trgm;" in str(refused.value.sql)


def test_another_region_of_a_source_indexes_its_contacts_anew(env: Environment) -> None:
    """Nobody has changed, so nothing is logged; the numbers are found in every spelling all the same."""
    env.branch.add("pat", "Pat", telephoneNumber="089 5550103")
    env.configure()
    env.run()
    assert ask(env.database_url, page("phoneNumber=%2B49895550103"))[0][0] == 0
    logged = env.fetch_rows("SELECT count(*) FROM change")

    env.configure(ldap='default_region = "DE"')
    assert env.run().counts.changed == 0
    assert ask(env.database_url, page("phoneNumber=%2B49895550103"))[0][0] == 1
    assert ask(env.database_url, page("q=exampel"))[0][0] == 1
    assert env.fetch_rows("SELECT count(*) FROM change") == logged
