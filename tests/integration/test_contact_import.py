"""Import of contacts into the database: one transaction, one revision, no duplicates, no changes of synced contacts."""

import threading
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
    """The engine that writes Custom contacts."""
    engine = open_engine(Database(url=database_url), Role.API)
    yield engine
    engine.dispose()


def parse_lines(*lines: str) -> list[ImportEntry]:
    return list(csv_contacts.parse_entries("\n".join(lines).encode()))


def preview(api: Engine, *lines: str) -> ImportReport:
    with mapped_errors(), api.connect() as connection:
        return contact_import.preview(connection, parse_lines(*lines))


def apply(api: Engine, *lines: str) -> ImportReport:
    with mapped_errors(), api.begin() as connection:
        return contact_import.apply(connection, parse_lines(*lines), "tests")


def read_state(url: str) -> list[tuple[object, ...]]:
    """Return revision, change log and contacts."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT (SELECT revision FROM directory)::text, (SELECT jsonb_agg(change ORDER BY id)::text FROM change), "
            "(SELECT jsonb_agg(contact ORDER BY id)::text FROM contact)"
        ).fetchall()


def test_preview_writes_nothing(api: Engine, database_url: str) -> None:
    """A preview returns the results of an import."""
    before = read_state(database_url)
    outcome = preview(api, "name,phoneNumber", "Ann,1", "Bob,")

    assert [(line.line, line.result, line.why) for line in outcome.rows] == [
        (2, "create", ""), (3, "reject", "phoneNumber is empty"),
    ]  # fmt: skip
    assert not outcome.applied
    assert read_state(database_url) == before


def test_valid_rows_are_one_revision(api: Engine, database_url: str) -> None:
    """Each valid row is in the change log with its caller, listeners are notified once, and rejects are reported."""
    with api.begin() as connection:
        ann = custom.create(connection, Contact("Ann", (PhoneNumber("1", "desk"), PhoneNumber("2"))), "x")
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN syncd_revision")
        outcome = apply(
            api, "id,name,phoneNumber,phoneNumbers", f"{ann},Anna,1,", ',Bob,,"home: 3, 4"', ",Eve,,", ",Dan,5,"
        )
        payloads = [notice.payload for notice in listener.notifies(timeout=10, stop_after=1)]
        payloads += [notice.payload for notice in listener.notifies(timeout=0.5)]
        log = listener.execute(
            "SELECT revision, caller, kind, replace(contact_id::text, '-', ''), old, new FROM change "
            "WHERE revision = 2 ORDER BY id"
        ).fetchall()
        stored = listener.execute("SELECT name, numbers, name_folded, dialled FROM contact ORDER BY name").fetchall()

    _, bob, _, dan = outcome.rows
    assert [line.result for line in outcome.rows] == ["change", "create", "reject", "create"]
    assert payloads == ["2"]
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


def test_second_import_changes_nothing(api: Engine, database_url: str) -> None:
    """The second import of the same file does not increment the revision."""
    lines = ["name,phoneNumber,phoneNumbers", "Ann,1,", 'Bob,,"home: 3, 4"', "Ann,1,"]
    first = apply(api, *lines)
    before = read_state(database_url)
    second = apply(api, *lines)

    assert [line.result for line in first.rows] == ["create", "create", "unchanged"]
    assert [line.result for line in second.rows] == ["unchanged"] * 3
    assert [line.id for line in second.rows] == [first.rows[0].id, first.rows[1].id, first.rows[0].id]
    assert read_state(database_url) == before


def test_simultaneous_imports_create_no_duplicates(api: Engine, database_url: str) -> None:
    """Simultaneous imports of one file are serialised, and the later ones find the contacts of the first."""
    lines = ["name,phoneNumber", *(f"Person {n},{n}" for n in range(300))]
    reports: list[ImportReport] = []
    threads = [threading.Thread(target=lambda: reports.append(apply(api, *lines))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(report.count_rows("create") for report in reports) == [0, 0, 0, 300]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*), (SELECT revision FROM directory) FROM contact").fetchall() == [
            (300, 1)
        ]


def test_synced_contacts_are_rejected(api: Engine, database_url: str) -> None:
    """An entry with the id of a synced contact is rejected, whether that is served or not."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        ids = []
        for type_ in ("User", "Queue"):
            row = connection.execute(INSERT_CONTACT, insert_values(type_, Contact("Jim"))).fetchone()
            assert row is not None
            ids.append(str(row[0]))
        connection.execute("UPDATE contact SET served = false WHERE type = 'User'")
    before = read_state(database_url)
    outcome = apply(api, "id,name", *(f"{id_},Eve" for id_ in ids), "nothing,Eve", f"{'e' * 32},Eve")

    assert [line.why.partition(":")[0].partition(";")[0] for line in outcome.rows] == [
        f"contact {ids[0]} is a User", f"contact {ids[1]} is a Queue", "there is no contact 'nothing'",
        f"there is no contact '{'e' * 32}'",
    ]  # fmt: skip
    assert read_state(database_url) == before


def test_failure_writes_nothing(api: Engine, database_url: str) -> None:
    """A connection lost before the commit rolls the import back."""
    before = read_state(database_url)

    def import_and_disconnect() -> None:
        with mapped_errors(), api.begin() as connection:
            contact_import.apply(connection, parse_lines("name,phoneNumber", "Ann,1"), "tests")
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    with pytest.raises(StoreUnavailable):
        import_and_disconnect()

    assert read_state(database_url) == before


def test_largest_file_is_imported_twice(api: Engine) -> None:
    """20,000 contacts are created; the same file again changes nothing."""
    lines = ["name,phoneNumber", *(f"Person {n},{n}" for n in range(20_000))]
    first, second = apply(api, *lines), apply(api, *lines)

    assert first.count_rows("create") == second.count_rows("unchanged") == 20_000
