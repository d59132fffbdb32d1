"""Importing into a real database: one transaction, one revision, nothing doubled, nothing of others touched."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from syncd.core.contacts.contact import Contact, PhoneNumber
from syncd.core.files import csv_contacts
from syncd.core.files.contact_import import ImportEntry, ImportReport
from syncd.errors import StoreUnavailable
from syncd.settings import Database
from syncd.store.connection.engine import Role, mapped_errors, open_engine
from syncd.store.contacts import contact_import, custom
from tests.http_daemon import INSERT_CONTACT, insert_values


@pytest.fixture
def api(database_url: str) -> Iterator[Engine]:
    """The engine of those who write Custom contacts."""
    found = open_engine(Database(url=database_url), Role.API)
    yield found
    found.dispose()


def entries(*lines: str) -> list[ImportEntry]:
    return list(csv_contacts.parse_entries("\n".join(lines).encode()))


def previewed(api: Engine, *lines: str) -> ImportReport:
    with mapped_errors(), api.connect() as connection:
        return contact_import.preview(connection, entries(*lines))


def applied(api: Engine, *lines: str) -> ImportReport:
    with mapped_errors(), api.begin() as connection:
        return contact_import.apply(connection, entries(*lines), "tests")


def everything(url: str) -> list[tuple[object, ...]]:
    """All that an import may change."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT (SELECT revision FROM directory)::text, (SELECT jsonb_agg(change ORDER BY id)::text FROM change), "
            "(SELECT jsonb_agg(contact ORDER BY id)::text FROM contact)"
        ).fetchall()


def test_a_preview_writes_nothing(api: Engine, database_url: str) -> None:
    """It tells what would be done."""
    was = everything(database_url)
    outcome = previewed(api, "name,phoneNumber", "Ann,1", "Bob,")

    assert [(line.line, line.result, line.why) for line in outcome.rows] == [
        (2, "create", ""), (3, "reject", "phoneNumber is empty"),
    ]  # fmt: skip
    assert not outcome.applied
    assert everything(database_url) == was


def test_the_good_rows_are_one_revision(api: Engine, database_url: str) -> None:
    """Each is in the change log with who did it, listeners are told once, and the rest is reported."""
    with api.begin() as connection:
        ann = custom.create(connection, Contact("Ann", (PhoneNumber("1", "desk"), PhoneNumber("2"))), "x")
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN syncd_revision")
        outcome = applied(
            api, "id,name,phoneNumber,phoneNumbers", f"{ann},Anna,1,", ',Bob,,"home: 3, 4"', ",Eve,,", ",Dan,5,"
        )
        told = [notice.payload for notice in listener.notifies(timeout=10, stop_after=1)]
        told += [notice.payload for notice in listener.notifies(timeout=0.5)]
        log = listener.execute(
            "SELECT revision, caller, kind, replace(contact_id::text, '-', ''), old, new FROM change "
            "WHERE revision = 2 ORDER BY id"
        ).fetchall()
        stored = listener.execute("SELECT name, numbers, name_folded, dialled FROM contact ORDER BY name").fetchall()

    _, bob, _, dan = outcome.rows
    assert [line.result for line in outcome.rows] == ["change", "create", "reject", "create"]
    assert told == ["2"]
    assert log == [
        (2, "tests", "add", bob.id, {}, {"name": "Bob", "phoneNumbers": [
            {"phoneNumber": "3", "description": "home"}, {"phoneNumber": "4"}]}),
        (2, "tests", "add", dan.id, {}, {"name": "Dan", "phoneNumbers": [{"phoneNumber": "5"}]}),
        (2, "tests", "change", ann,
         {"name": "Ann", "phoneNumbers": [{"phoneNumber": "1", "description": "desk"}, {"phoneNumber": "2"}]},
         {"name": "Anna", "phoneNumbers": [{"phoneNumber": "1"}]}),
    ]  # fmt: skip
    assert stored == [
        ("Anna", [{"phoneNumber": "1"}], "anna", ["1"]),
        ("Bob", [{"phoneNumber": "3", "description": "home"}, {"phoneNumber": "4"}], "bob", ["3", "4"]),
        ("Dan", [{"phoneNumber": "5"}], "dan", ["5"]),
    ]


def test_again_changes_nothing(api: Engine, database_url: str) -> None:
    """Not even the revision."""
    lines = ["name,phoneNumber,phoneNumbers", "Ann,1,", 'Bob,,"home: 3, 4"', "Ann,1,"]
    first = applied(api, *lines)
    was = everything(database_url)
    second = applied(api, *lines)

    assert [line.result for line in first.rows] == ["create", "create", "unchanged"]
    assert [line.result for line in second.rows] == ["unchanged"] * 3
    assert [line.id for line in second.rows] == [first.rows[0].id, first.rows[1].id, first.rows[0].id]
    assert everything(database_url) == was


def test_two_at_once_double_nothing(api: Engine, database_url: str) -> None:
    """The second waits for the first, and finds what it has made."""
    lines = ["name,phoneNumber", *(f"Person {n},{n}" for n in range(300))]
    found: list[ImportReport] = []
    threads = [threading.Thread(target=lambda: found.append(applied(api, *lines))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(outcome.count_rows("create") for outcome in found) == [0, 0, 0, 300]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*), (SELECT revision FROM directory) FROM contact").fetchall() == [
            (300, 1)
        ]


def test_contacts_of_others_are_refused_however_they_are(api: Engine, database_url: str) -> None:
    """Served or not: the id of a synced contact is no Custom contact's."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        ids = []
        for type_ in ("User", "Queue"):
            found = connection.execute(INSERT_CONTACT, insert_values(type_, Contact("Jim"))).fetchone()
            assert found is not None
            ids.append(str(found[0]))
        connection.execute("UPDATE contact SET served = false WHERE type = 'User'")
    was = everything(database_url)
    outcome = applied(api, "id,name", *(f"{id_},Eve" for id_ in ids), "nothing,Eve", f"{'e' * 32},Eve")

    assert [line.why.partition(":")[0].partition(";")[0] for line in outcome.rows] == [
        f"contact {ids[0]} is a User", f"contact {ids[1]} is a Queue", "there is no contact 'nothing'",
        f"there is no contact '{'e' * 32}'",
    ]  # fmt: skip
    assert everything(database_url) == was


def test_a_failure_writes_nothing(api: Engine, database_url: str) -> None:
    """The connection is lost between the contacts and the change log."""
    was = everything(database_url)

    def doomed() -> None:
        with mapped_errors(), api.begin() as connection:
            contact_import.apply(connection, entries("name,phoneNumber", "Ann,1"), "tests")
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    with pytest.raises(StoreUnavailable):
        doomed()

    assert everything(database_url) == was


def test_the_largest_file_takes_seconds(api: Engine) -> None:
    """Neither of the steps grows with the square of the rows."""
    lines = ["name,phoneNumber", *(f"Person {n},{n}" for n in range(20_000))]
    began = time.monotonic()
    first, second = applied(api, *lines), applied(api, *lines)

    assert first.count_rows("create") == second.count_rows("unchanged") == 20_000
    assert time.monotonic() - began < 60
