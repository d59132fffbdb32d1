"""Long responses: complete or visibly broken, one snapshot, ended with their client. Memory: see benchmarks.limits."""

import csv
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from syncd.core.contacts.query import Format
from syncd.core.files.serializers import SERIALIZERS
from syncd.demo.servers import Postgres
from tests.http_daemon import MANY_CONTACTS, HttpDaemon, assert_ok, create_database, run_daemon
from tests.mirror import FEED, LIST, parse_events
from tests.waiting import wait_until

EVENTS = "text/event-stream"


IDS: dict[Format, Callable[[str], list[str]]] = {
    "json": lambda whole: [contact["id"] for contact in json.loads(whole)["contacts"]],
    "csv": lambda whole: [row["id"] for row in csv.DictReader(io.StringIO(whole.removeprefix("\ufeff"), newline=""))],
    "vcard": lambda whole: re.findall("\r\nUID:urn:uuid:([0-9a-f-]{36})\r\n", whole),
}
"""Format -> the ids of a complete response."""


@pytest.fixture(scope="module")
def daemon_with_60k_contacts(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpDaemon]:
    """A daemon with a large directory, which all tests of the module read."""
    with run_daemon(tmp_path_factory.mktemp("large"), create_database(postgres, template_database)) as daemon:
        daemon.insert_many()
        yield daemon


def count_transactions(daemon: HttpDaemon) -> int:
    """Return how many connections of the daemon have an open transaction."""
    return int(
        daemon.query_value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'syncd' "
            "AND xact_start IS NOT NULL"
        )
    )


def wait_for_transactions(daemon: HttpDaemon, number: int) -> None:
    """Return when exactly so many transactions are open; the daemon's own health poll is one for a moment."""
    wait_until(lambda: count_transactions(daemon) == number)


def open_request(daemon: HttpDaemon, target: str = LIST, accept: str = "*/*") -> socket.socket:
    """Return a connection with a small receive buffer that has requested all contacts."""
    connection = daemon.connect(16_384)
    connection.sendall(daemon.request_head("GET", target, f"Accept: {accept}", "Connection: close", role="agent"))
    return connection


@pytest.mark.parametrize("form", ["json", "csv", "vcard"])
def test_a_long_response_is_streamed(daemon_with_60k_contacts: HttpDaemon, form: Format) -> None:
    """60,000 contacts are sent while they are read from the database, and all of them arrive."""
    with daemon_with_60k_contacts.client("agent") as agent, agent.stream("GET", f"{LIST}?format={form}") as answer:
        whole = b"".join(answer.iter_bytes(64 * 1024)).decode()

    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["content-type"] == SERIALIZERS[form].media_type
    assert len(IDS[form](whole)) == len(set(IDS[form](whole))) == MANY_CONTACTS
    assert len(whole) > 5_000_000


@pytest.fixture(scope="module")
def revision_before_changes(daemon_with_60k_contacts: HttpDaemon) -> int:
    """The revision before one that changes every contact."""
    with psycopg.connect(daemon_with_60k_contacts.database_url, autocommit=True) as connection:
        row = connection.execute("UPDATE directory SET revision = revision + 1 RETURNING revision").fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO change (revision, caller, contact_id, type, kind) "
            "SELECT %s, 'tests', id, type, 'change' FROM contact",
            row,
        )
        connection.execute("ANALYZE change")
    return int(row[0]) - 1


def test_a_revision_of_any_size_is_sent_completely(
    daemon_with_60k_contacts: HttpDaemon, revision_before_changes: int
) -> None:
    """60,000 changes of one revision, by a poll and by events: each once."""
    since = {"since": revision_before_changes}
    with daemon_with_60k_contacts.client("agent") as agent:
        body = assert_ok(agent.get(FEED, params=since))
        polled = [change["id"] for change in body["changes"]]
        streamed = []
        with agent.stream("GET", FEED, params=since, headers={"Accept": EVENTS}) as answer:
            for event in parse_events(answer.iter_lines()):
                if event.data:
                    streamed.append(json.loads(event.data)["id"])
                if event.last_id == str(revision_before_changes + 1):
                    break

    assert (body["revision"], body["more"]) == (revision_before_changes + 1, False)
    assert len(polled) == len(set(polled)) == len(streamed) == len(set(streamed)) == MANY_CONTACTS


def test_an_event_stream_that_is_not_read_is_ended(
    daemon_with_60k_contacts: HttpDaemon, revision_before_changes: int
) -> None:
    """Its client is disconnected; it held no database connection meanwhile."""
    with open_request(daemon_with_60k_contacts, f"{FEED}?since={revision_before_changes}", EVENTS) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: daemon_with_60k_contacts.count_streams() == 1)
        wait_for_transactions(daemon_with_60k_contacts, 0)
        wait_until(lambda: daemon_with_60k_contacts.count_streams() == 0, 90)


def test_a_long_response_is_one_snapshot(daemon_with_60k_contacts: HttpDaemon) -> None:
    """A contact created while the response is read is not in it: totalCount is the number of contacts."""
    with daemon_with_60k_contacts.client() as admin, admin.stream("GET", LIST) as answer:
        parts = answer.iter_bytes(64 * 1024)
        first = next(parts)
        with daemon_with_60k_contacts.client() as other:
            id_ = assert_ok(other.post(LIST, json={"name": "zzz latecomer", "phoneNumber": "1"}))["id"]
        body = json.loads(first + b"".join(parts))
    with daemon_with_60k_contacts.client() as admin:
        assert assert_ok(admin.get(LIST + "?limit=0"))["totalCount"] == body["totalCount"] + 1
        assert_ok(admin.delete(f"{LIST}/{id_}"))

    assert len(body["contacts"]) == body["totalCount"]


@pytest.mark.parametrize("query", ["limit=250", "limit=251", "limit=5000&offset=59000", "limit=4000&sortBy=lastName"])
def test_all_ways_of_reading_give_the_same_order(
    daemon_with_60k_contacts: HttpDaemon, by_name: list[Any], by_number: list[Any], query: str
) -> None:
    """Short, long and streamed responses are parts of the same list."""
    ordered = by_number if "sortBy" in query else by_name
    with daemon_with_60k_contacts.client("agent") as agent:
        body = assert_ok(agent.get(f"{LIST}?{query}"))
    parameters = dict(pair.split("=") for pair in query.split("&"))
    offset = int(parameters.get("offset", 0))

    assert body["totalCount"] == MANY_CONTACTS
    assert body["contacts"] == ordered[offset : offset + int(parameters["limit"])]


@pytest.fixture(scope="module")
def by_name(daemon_with_60k_contacts: HttpDaemon) -> list[Any]:
    """All contacts of one response, by name."""
    with daemon_with_60k_contacts.client("agent") as agent:
        return list(assert_ok(agent.get(LIST))["contacts"])


@pytest.fixture(scope="module")
def by_number(daemon_with_60k_contacts: HttpDaemon) -> list[Any]:
    """All contacts of one response, by the last name, which is a number."""
    with daemon_with_60k_contacts.client("agent") as agent:
        return list(assert_ok(agent.get(LIST + "?sortBy=lastName"))["contacts"])


def test_a_client_that_disconnects_frees_its_database_connection(daemon_with_60k_contacts: HttpDaemon) -> None:
    """Thirty clients disconnect during a response; afterwards no transaction is open."""
    for _ in range(30):
        with open_request(daemon_with_60k_contacts) as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")

    wait_for_transactions(daemon_with_60k_contacts, 0)
    with daemon_with_60k_contacts.client("agent") as agent:
        assert_ok(agent.get(LIST + "?limit=1"))


def test_a_client_that_reads_nothing_is_disconnected(daemon_with_60k_contacts: HttpDaemon) -> None:
    """A reader without progress is disconnected, so that it cannot hold database connections."""
    daemon = daemon_with_60k_contacts
    began = time.monotonic()
    with open_request(daemon) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        wait_for_transactions(daemon, 1)

        wait_until(lambda: count_transactions(daemon) == 0, 90)  # after 15 seconds without progress
        assert time.monotonic() - began > 5
        wait_until(lambda: any("SlowClient" in line.get("exception", "") for line in daemon.log_lines()))


def test_an_interrupted_response_is_visibly_incomplete(daemon_with_60k_contacts: HttpDaemon) -> None:
    """When the database connection ends during a response, the client gets an error, never a complete body."""
    headers = {"X-Request-Id": "broken"}
    with daemon_with_60k_contacts.client("agent") as agent, agent.stream("GET", LIST, headers=headers) as answer:
        parts = answer.iter_bytes(64 * 1024)
        next(parts)
        daemon_with_60k_contacts.query_value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'syncd' AND xact_start IS NOT NULL"
        )
        with pytest.raises(httpx.TransportError):
            list(parts)
    wait_for_transactions(daemon_with_60k_contacts, 0)
    line = daemon_with_60k_contacts.access_log_line("broken")

    assert line["level"] == "error"
    assert "exception" in line
    with daemon_with_60k_contacts.client("agent") as agent:
        assert_ok(agent.get(LIST + "?limit=1"))
