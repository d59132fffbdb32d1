"""Answers of any length: complete or visibly broken, from one moment, in flat memory, and gone with their client."""

import csv
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from syncd.core.contacts.query import Format
from syncd.core.files.serializers import FORMS
from syncd.demo.servers import Postgres
from tests.http_daemon import MANY, Daemon, done, new_database, run
from tests.mirror import FEED, LIST, events
from tests.scripted_ldap import wait_until

EVENTS = "text/event-stream"


IDS: dict[Format, Callable[[str], list[str]]] = {
    "json": lambda whole: [contact["id"] for contact in json.loads(whole)["contacts"]],
    "csv": lambda whole: [row["id"] for row in csv.DictReader(io.StringIO(whole.removeprefix("\ufeff"), newline=""))],
    "vcard": lambda whole: re.findall("\r\nUID:urn:uuid:([0-9a-f-]{36})\r\n", whole),
}
"""Form -> the ids of a whole answer."""


@pytest.fixture(scope="module")
def crowd(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a large directory."""
    for daemon in run(tmp_path_factory.mktemp("crowd"), new_database(postgres, migrated)):
        daemon.fill()
        yield daemon


def resident(daemon: Daemon) -> int:
    """KiB of memory that the daemon holds now."""
    assert daemon.process is not None
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError


def in_transaction(daemon: Daemon) -> int:
    """Connections of the daemon that hold a transaction open."""
    return int(
        daemon.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'syncd' "
            "AND xact_start IS NOT NULL"
        )
    )


def await_transactions(daemon: Daemon, number: int) -> None:
    """Return when so many transactions are open; the daemon's look at its own state is one for a moment."""
    wait_until(lambda: in_transaction(daemon) == number)


def opened(daemon: Daemon, target: str = LIST, accept: str = "*/*") -> socket.socket:
    """A connection with a small buffer that has asked for everybody."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    wire.settimeout(60)
    wire.connect(("127.0.0.1", daemon.port))
    token = daemon.tokens["agent"]
    wire.sendall(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    return wire


@pytest.mark.parametrize("form", ["json", "csv", "vcard"])
def test_memory_stays_flat(crowd: Daemon, form: Format) -> None:
    """The daemon holds less than 30 MB more while it sends 60,000 contacts to a slow reader, and all of them arrive."""
    query = f"{LIST}?format={form}"
    with crowd.client("agent") as agent:
        assert agent.get(f"{query}&limit=3000").status_code == 200
    before = resident(crowd)
    peak = before
    with crowd.client("agent") as agent, agent.stream("GET", query) as answer:
        parts = []
        for part in answer.iter_bytes(64 * 1024):
            parts.append(part)
            time.sleep(0.003)
            peak = max(peak, resident(crowd))
    whole = b"".join(parts).decode()

    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["content-type"] == FORMS[form].media
    assert len(IDS[form](whole)) == len(set(IDS[form](whole))) == MANY
    assert len(whole) > 5_000_000
    assert peak - before < 30_000


@pytest.fixture(scope="module")
def renewed(crowd: Daemon) -> int:
    """The revision before the one that changed everybody."""
    with psycopg.connect(crowd.database_url, autocommit=True) as connection:
        row = connection.execute("UPDATE directory SET revision = revision + 1 RETURNING revision").fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO change (revision, caller, contact_id, type, kind) "
            "SELECT %s, 'tests', id, type, 'change' FROM contact",
            row,
        )
        connection.execute("ANALYZE change")
    return int(row[0]) - 1


def test_a_revision_of_any_size_is_told_whole(crowd: Daemon, renewed: int) -> None:
    """Everybody changed by one run, as one answer and as events to a slow reader: each once, in flat memory."""
    told: dict[str, list[str]] = {}
    with crowd.client("agent") as agent:
        done(agent.get(LIST, params={"limit": 3000}))
        before = resident(crowd)
        peak = before
        with agent.stream("GET", FEED, params={"since": renewed}) as answer:
            parts = []
            for part in answer.iter_bytes(64 * 1024):
                parts.append(part)
                time.sleep(0.003)
                peak = max(peak, resident(crowd))
        body = json.loads(b"".join(parts))
        told["poll"] = [change["id"] for change in body["changes"]]
        with agent.stream("GET", FEED, params={"since": renewed}, headers={"Accept": EVENTS}) as answer:
            told["events"] = []
            for event in events(answer.iter_lines()):
                if event.data:
                    told["events"].append(json.loads(event.data)["id"])
                if event.last == str(renewed + 1):
                    break
                if len(told["events"]) % 200 == 0:
                    time.sleep(0.003)
                    peak = max(peak, resident(crowd))

    assert (body["revision"], body["more"]) == (renewed + 1, False)
    assert {form: (len(ids), len(set(ids))) for form, ids in told.items()} == dict.fromkeys(told, (MANY, MANY))
    assert peak - before < 30_000


def test_a_listener_that_takes_nothing_is_cut_off(crowd: Daemon, renewed: int) -> None:
    """A stream of events keeps no place for somebody who does not read it; it held nothing of the database anyway."""
    with opened(crowd, f"{FEED}?since={renewed}", EVENTS) as wire:
        assert wire.recv(1000).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: crowd.feeds() == 1)
        await_transactions(crowd, 0)
        wait_until(lambda: crowd.feeds() == 0, 90)


def test_an_answer_is_from_one_moment(crowd: Daemon) -> None:
    """What is written while an answer is read is not in it: totalCount is the number of contacts."""
    with crowd.client() as admin, admin.stream("GET", LIST) as answer:
        parts = answer.iter_bytes(64 * 1024)
        first = next(parts)
        with crowd.client() as other:
            id_ = done(other.post(LIST, json={"name": "zzz latecomer", "phoneNumber": "1"}))["id"]
        body = json.loads(first + b"".join(parts))
    with crowd.client() as admin:
        assert done(admin.get(LIST + "?limit=0"))["totalCount"] == body["totalCount"] + 1
        done(admin.delete(f"{LIST}/{id_}"))

    assert len(body["contacts"]) == body["totalCount"]


@pytest.mark.parametrize("query", ["limit=250", "limit=251", "limit=5000&offset=59000", "limit=4000&sortBy=lastName"])
def test_where_the_ways_of_reading_meet(crowd: Daemon, by_name: list[Any], by_number: list[Any], query: str) -> None:
    """Short, long and streamed answers cut the same list at the same places."""
    ordered = by_number if "sortBy" in query else by_name
    with crowd.client("agent") as agent:
        body = done(agent.get(f"{LIST}?{query}"))
    given = dict(pair.split("=") for pair in query.split("&"))
    offset = int(given.get("offset", 0))

    assert body["totalCount"] == MANY
    assert body["contacts"] == ordered[offset : offset + int(given["limit"])]


@pytest.fixture(scope="module")
def by_name(crowd: Daemon) -> list[Any]:
    """All contacts in one answer, by name."""
    with crowd.client("agent") as agent:
        return list(done(agent.get(LIST))["contacts"])


@pytest.fixture(scope="module")
def by_number(crowd: Daemon) -> list[Any]:
    """All contacts in one answer, by their last name, which is a number."""
    with crowd.client("agent") as agent:
        return list(done(agent.get(LIST + "?sortBy=lastName"))["contacts"])


def test_a_client_that_goes_away_frees_its_connection(crowd: Daemon) -> None:
    """Thirty clients that leave in the middle keep nothing, and the daemon serves on."""
    for _ in range(30):
        with opened(crowd) as wire:
            assert wire.recv(1000).startswith(b"HTTP/1.1 200 ")

    await_transactions(crowd, 0)
    with crowd.client("agent") as agent:
        done(agent.get(LIST + "?limit=1"))


def test_a_client_that_takes_nothing_is_cut_off(crowd: Daemon) -> None:
    """A stalled reader loses its connection after a while, so that it cannot hold those of the database."""
    started = time.monotonic()
    with opened(crowd) as wire:
        assert wire.recv(1000).startswith(b"HTTP/1.1 200 ")
        await_transactions(crowd, 1)

        wait_until(lambda: in_transaction(crowd) == 0, 90)  # after 15 seconds without progress
        assert time.monotonic() - started > 5
        wait_until(lambda: any("Stalled" in line.get("exception", "") for line in crowd.lines()))


def test_an_answer_that_breaks_is_seen_to_be_broken(crowd: Daemon) -> None:
    """When the database goes away in the middle, the client gets an error, never a body that looks complete."""
    with crowd.client("agent") as agent, agent.stream("GET", LIST, headers={"X-Request-Id": "broken"}) as answer:
        parts = answer.iter_bytes(64 * 1024)
        next(parts)
        crowd.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'syncd' AND xact_start IS NOT NULL"
        )
        with pytest.raises(httpx.TransportError):
            list(parts)
    await_transactions(crowd, 0)
    line = crowd.line("broken")

    assert line["level"] == "error"
    assert "exception" in line
    with crowd.client("agent") as agent:
        done(agent.get(LIST + "?limit=1"))
