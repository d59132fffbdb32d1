"""Misbehaving clients: too many connections, floods, slow senders and readers, expensive queries. Others are served."""

import json
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from syncd.core.contacts.contact import Contact
from syncd.demo.servers import Postgres
from tests.http_daemon import HttpDaemon, assert_error, assert_ok, create_database, receive_all, run_daemon
from tests.waiting import wait_until

API = "/api/v2/contacts"
COUNT_BUSY_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'syncd' AND usename IS NOT NULL
      AND (state <> 'idle' OR xact_start IS NOT NULL)
"""
LOCK_CONTACTS = "LOCK TABLE contact IN ACCESS EXCLUSIVE MODE"


@contextmanager
def run_with_database_settings(folder: Path, url: str, **settings: str) -> Iterator[HttpDaemon]:
    """Run a daemon with these settings of the table [database]."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(f"SYNCD_DATABASE__{key.upper()}", value)
        with run_daemon(folder, url) as daemon:
            yield daemon


@pytest.fixture(scope="module")
def daemon_with_60k_contacts(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpDaemon]:
    """A daemon with a large directory and two database connections."""
    url = create_database(postgres, template_database)
    with run_with_database_settings(tmp_path_factory.mktemp("large"), url, pool_size="2") as daemon:
        daemon.insert_many()
        yield daemon


def send_half_a_request(daemon: HttpDaemon) -> socket.socket:
    """Return a connection with a request whose body is incomplete."""
    connection = daemon.connect()
    connection.sendall(daemon.request_head("POST", API, "Content-Length: 100") + b"{")
    return connection


@contextmanager
def open_transaction(daemon: HttpDaemon, statement: str) -> Iterator[None]:
    """Hold a transaction open that has executed a statement."""
    with psycopg.connect(daemon.database_url) as connection:
        connection.execute(statement)
        yield
        connection.rollback()


def count_waiting_for_locks(other: psycopg.Connection[Any], text: str) -> int:
    """Return how many statements of the daemon that contain a text wait for a lock."""
    row = other.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'syncd' "
        "AND wait_event_type = 'Lock' AND query LIKE %s",
        [f"%{text}%"],
    ).fetchone()
    assert row is not None
    return int(row[0])


def has_errors(daemon: HttpDaemon) -> bool:
    return any(line["level"] == "error" for line in daemon.log_lines())


# --- connections -----------------------------------------------------------------------------------------------------


def test_connections_above_the_limit(tmp_path: Path, database_url: str) -> None:
    """They get a 503 with that reason, while health and the connections within the limit are served."""
    with (
        run_daemon(tmp_path, database_url, "max_connections = 20\n") as daemon,
        daemon.client() as first,
        ExitStack() as stack,
    ):
        assert_ok(first.get(API))
        connections = [stack.enter_context(send_half_a_request(daemon)) for _ in range(25)]
        assert_ok(first.get(API))
        with daemon.client() as late:
            answer = late.get(API)
            assert "connections" in assert_error(answer, 503, 4)
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["connection"] == "close"
            assert late.get("/health").status_code == 200
            assert late.get("/ready").status_code == 200
        assert_ok(first.get(API))
        for connection in connections:
            connection.close()
        wait_until(lambda: daemon.get(API, "admin").status_code == 200)


def test_a_flood_of_connections(tmp_path: Path, database_url: str) -> None:
    """Far above the limit connections are closed at once; open files stay bounded, and health is served again."""
    with (
        run_daemon(tmp_path, database_url, "max_connections = 20\n") as daemon,
        daemon.client() as first,
        ExitStack() as stack,
    ):
        assert_ok(first.get(API))
        connections = [stack.enter_context(daemon.connect()) for _ in range(300)]
        assert connections[-1].recv(10) == b""
        assert daemon.count_open_files() < 20 + 64 + 60
        assert_ok(first.get(API))
        for connection in connections[20:]:  # those above the limit have a second
            receive_all(connection)
        with daemon.client() as late:
            assert late.get("/health").status_code == 200


def test_a_limit_of_files_below_the_limit_of_connections(tmp_path: Path, database_url: str) -> None:
    """A `max_connections` that the system does not allow is lowered, and logged; one that it allows is not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with run_daemon(tmp_path, database_url) as daemon:
        assert not daemon.log_lines("http.limited")
        daemon.stop()
        daemon.configure("max_connections = 100000\n")
        daemon.start()
        soft, _ = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        lines = [(line["setting"], line["connections"] < hard) for line in daemon.log_lines("http.limited")]
    assert lines == ([] if hard > 101_000 else [(100_000, True)])
    assert soft == min(hard, 100_000 + 576)


def test_thousands_of_connections(tmp_path: Path, database_url: str) -> None:
    """While 3,000 clients send half a request, others are served; afterwards all connections are closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8000)), hard))
    with run_daemon(tmp_path, database_url) as daemon:
        with daemon.client("agent") as agent, ExitStack() as stack:
            assert_ok(agent.get(API))
            for _ in range(3000):
                stack.enter_context(send_half_a_request(daemon))
            wait_until(lambda: daemon.count_open_files() > 3000)
            assert_ok(agent.get(API))
        wait_until(lambda: daemon.count_open_files() < 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [b"\r\n", b"G"])
def test_a_request_sent_byte_by_byte(shared_daemon: HttpDaemon, part: bytes) -> None:
    """Neither empty lines nor single letters keep a connection open, not even after a response."""
    with shared_daemon.connect() as connection, shared_daemon.client("agent") as agent:
        connection.sendall(shared_daemon.request_head("GET", API + "?limit=0"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionError):
            send_slowly(connection, part)
        assert_ok(agent.get(API + "?limit=0"))


def test_a_body_sent_byte_by_byte_after_its_rejection(shared_daemon: HttpDaemon) -> None:
    """A client that goes on sending after a 413 is disconnected after ten seconds."""
    with shared_daemon.connect() as connection:
        connection.sendall(shared_daemon.request_head("POST", API, "Content-Length: 1000000"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        with pytest.raises(ConnectionError):
            send_slowly(connection, b" ")


def send_slowly(connection: socket.socket, part: bytes) -> None:
    """Send the bytes again and again, twice a second for a minute."""
    for _ in range(120):
        connection.sendall(part)
        time.sleep(0.5)


def test_300_pipelined_requests(shared_daemon: HttpDaemon) -> None:
    """All are answered, in order."""
    ids = [f"n{number}" for number in range(300)]
    requests = [shared_daemon.request_head("GET", API + "?limit=0", f"X-Request-Id: {id_}") for id_ in ids[:-1]]
    with shared_daemon.connect() as connection:
        connection.sendall(b"".join(requests))
        last = ("GET", API + "?limit=0", f"X-Request-Id: {ids[-1]}", "Connection: close")
        connection.sendall(shared_daemon.request_head(*last))
        answers = receive_all(connection).decode()

    assert answers.count("HTTP/1.1 200 ") == 300
    assert [line.split(": ")[1] for line in answers.split("\r\n") if line.startswith("x-request-id")] == ids


def test_a_flood_of_pipelined_requests(shared_daemon: HttpDaemon) -> None:
    """A client that sends without end and reads nothing is blocked: later requests stay in the system's buffers."""
    with shared_daemon.client("agent") as agent, ExitStack() as stack:
        assert_ok(agent.get(API + "?limit=0"))
        connections = [stack.enter_context(shared_daemon.connect(16_384)) for _ in range(20)]
        with ThreadPoolExecutor(len(connections)) as threads:
            floods = [threads.submit(send_until_blocked, connection) for connection in connections]
            while not all(flood.done() for flood in floods):
                assert_ok(agent.get(API + "?limit=0"))
        assert max(flood.result() for flood in floods) < MAX_FLOOD
        assert_ok(agent.get(API + "?limit=0"))


MAX_FLOOD = 32 * 1024 * 1024
"""Bytes; more than the largest socket buffers of both sides, 4 MiB and 6 MiB by default (tcp(7))."""


def send_until_blocked(connection: socket.socket) -> int:
    """Send requests until two seconds pass without progress, or the connection ends; return the number of bytes."""
    flood = b"GET /nowhere HTTP/1.1\r\n\r\n" * 10_000
    connection.settimeout(2)
    sent = 0
    try:
        while sent < MAX_FLOOD:
            sent += connection.send(flood)
    except OSError:
        pass
    return sent


def test_a_malformed_pipelined_request(shared_daemon: HttpDaemon) -> None:
    """Nonsense behind valid requests ends the connection without an error in the log."""
    with shared_daemon.connect() as connection:
        connection.sendall(shared_daemon.request_head("GET", API) * 3 + b"nonsense\r\n\r\n")
        receive_all(connection)
    with shared_daemon.client("agent") as agent:
        assert_ok(agent.get(API + "?limit=0"))
    assert not has_errors(shared_daemon)


def test_200_clients_with_incomplete_requests(shared_daemon: HttpDaemon) -> None:
    """Each sends another kind of incomplete request, while a regular client is served."""
    kinds = [
        b"",
        b"GET",
        shared_daemon.request_head("GET", API)[:-2],
        shared_daemon.request_head("POST", API, "Content-Length: 9") + b"{",
        b"\0" * 100,
        shared_daemon.request_head("POST", API, "Transfer-Encoding: chunked") + b"ffffff\r\n{",
    ]
    with ExitStack() as stack, shared_daemon.client() as admin:
        connections = [stack.enter_context(shared_daemon.connect()) for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.sendall(kinds[number % len(kinds)])
        bodies = [{"name": f"good {n}", "phoneNumber": "1"} for n in range(20)]
        ids = [assert_ok(admin.post(API, json=body))["id"] for body in bodies]
        for id_ in ids:
            assert_ok(admin.delete(f"{API}/{id_}"))
    assert not has_errors(shared_daemon)
    assert json.loads(httpx.get(shared_daemon.url + "/ready", timeout=60).content) == {"status": "ready"}


# --- responses -------------------------------------------------------------------------------------------------------


def test_clients_that_read_no_response(daemon_with_60k_contacts: HttpDaemon) -> None:
    """Forty clients that request 600 KiB and read nothing are disconnected, and others are served meanwhile."""
    daemon = daemon_with_60k_contacts
    with daemon.client("agent") as agent, ExitStack() as stack:
        assert_ok(agent.get(API + "?limit=2000"))
        files = daemon.count_open_files()
        for _ in range(40):
            connection = stack.enter_context(daemon.connect(4096))
            connection.sendall(daemon.request_head("GET", API + "?limit=2000", role="agent"))
        wait_until(lambda: daemon.count_open_files() >= files + 40)
        assert_ok(agent.get(API + "?limit=2000"))

        wait_until(lambda: daemon.count_open_files() <= files + 1, 120)  # after thirty seconds without progress
        assert_ok(agent.get(API + "?limit=1"))


def test_long_responses_are_limited(daemon_with_60k_contacts: HttpDaemon) -> None:
    """While one client reads a long response slowly, a second long one is rejected and a short one is served."""
    daemon = daemon_with_60k_contacts
    with daemon.connect(16_384) as connection, daemon.client("agent") as agent:
        connection.sendall(daemon.request_head("GET", API, role="agent"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")

        answer = agent.get(API + "?sortBy=userName")
        assert "long responses" in assert_error(answer, 503, 4)
        assert int(answer.headers["retry-after"]) > 0
        assert_ok(agent.get(API + "?limit=10&offset=7"))
    with daemon.client("agent") as agent:
        wait_until(lambda: agent.get(API + "?sortBy=userName").status_code == 200)


# --- queries ---------------------------------------------------------------------------------------------------------


def test_huge_offsets(daemon_with_60k_contacts: HttpDaemon) -> None:
    """An offset past the end is an empty page with the total; see test_paging for its statements."""
    with daemon_with_60k_contacts.client("agent") as agent:
        end = assert_ok(agent.get(API + f"?sortBy=userName&offset={2**63 - 1}"))
        assert (end["totalCount"], end["contacts"]) == (60_000, [])
        assert assert_ok(agent.get(f"{API}?sortBy=userName&offset={10**30}&type=User"))["totalCount"] == 60_000
        assert len(assert_ok(agent.get(f"{API}?sortBy=userName&offset=59990"))["contacts"]) == 10


def test_a_query_that_takes_too_long(tmp_path: Path, database_url: str) -> None:
    """It is cancelled with a 503 that says so; cached responses are served, and the connections are usable again."""
    settings = {"pool_size": "3", "statement_timeout": "2s"}
    with (
        run_with_database_settings(tmp_path, database_url, **settings) as daemon,
        daemon.client() as admin,
    ):
        assert_ok(admin.get(API))
        with open_transaction(daemon, LOCK_CONTACTS), ThreadPoolExecutor(3) as threads:
            slow = [threads.submit(admin.get, f"{API}?name={n}") for n in range(3)]
            assert_ok(admin.get(API))  # cached
            for request in slow:
                answer = request.result()
                assert "statement_timeout" in assert_error(answer, 503, 4)
                assert int(answer.headers["retry-after"]) > 0
        wait_until(lambda: daemon.query_value(COUNT_BUSY_CONNECTIONS) == 0)
        for number in range(10):
            assert_ok(admin.get(f"{API}?name={number}"))


def test_an_expensive_search(daemon_with_60k_contacts: HttpDaemon) -> None:
    """Sixteen patterns with sixteen wildcards each are answered or cancelled, and others are served meanwhile."""
    patterns = ",".join(f"*{'a*' * 14}{n}*" for n in range(16))
    query = f"?filterName=NamesOrPhoneNumberMatches&filterParameters={patterns}"
    daemon = daemon_with_60k_contacts
    with daemon.client("agent") as slow, daemon.client("agent") as agent, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(slow.get, API + query)
        assert_ok(agent.get(API + "?limit=1&offset=3"))
        assert answer.result().status_code in {200, 503}
        assert_ok(agent.get(API + "?limit=1&offset=4"))


def test_clients_that_disconnect_before_the_response(tmp_path: Path, database_url: str) -> None:
    """Their query is cancelled at once, so that its database connection is free long before any timeout."""
    settings = {"pool_size": "2", "statement_timeout": "10m"}
    with run_with_database_settings(tmp_path, database_url, **settings) as daemon:
        with daemon.client() as admin, psycopg.connect(daemon.database_url, autocommit=True) as other:
            assert_ok(admin.get(API))
            with open_transaction(daemon, LOCK_CONTACTS):
                for number in range(12):
                    request = daemon.request_head("GET", f"{API}?name={number}", f"X-Request-Id: left-{number}")
                    with daemon.connect() as connection:
                        connection.sendall(request)
                        wait_until(lambda: count_waiting_for_locks(other, "contact.user_name") > 0)
                wait_until(lambda: count_waiting_for_locks(other, "contact.user_name") == 0)
                assert_ok(admin.get(API))
            assert_ok(admin.get(f"{API}?name=another"))
        line = daemon.access_log_line("left-7")
        assert (line["level"], line.get("status")) == ("info", None)
        assert not has_errors(daemon)


def test_no_free_database_connection(tmp_path: Path, database_url: str) -> None:
    """Requests that need one get a 503 within seconds; cached responses are served, and the daemon is ready."""
    settings = {"pool_size": "2", "statement_timeout": "30s"}
    with (
        run_with_database_settings(tmp_path, database_url, **settings) as daemon,
        psycopg.connect(daemon.database_url, autocommit=True) as other,
    ):
        daemon.insert("Queue", Contact("Sales"))
        with daemon.client() as admin:
            assert_ok(admin.get(API))
            writers = ThreadPoolExecutor(2)
            with open_transaction(daemon, "SELECT * FROM directory FOR UPDATE"):
                body = {"name": "late", "phoneNumber": "1"}
                writes = [writers.submit(admin.post, API, json=body) for _ in range(2)]
                wait_until(lambda: count_waiting_for_locks(other, "UPDATE directory") == 2)
                began = time.monotonic()
                answer = admin.get(API + "?name=x")
                assert "database" in assert_error(answer, 503, 4)
                assert int(answer.headers["retry-after"]) > 0
                assert time.monotonic() - began < 20
                assert_ok(admin.get(API))
                assert admin.get("/ready").status_code == 200
            for write in writes:
                assert_ok(write.result())
            writers.shutdown()
            assert assert_ok(admin.get(API))["totalCount"] == 3
        assert not daemon.log_lines("database.lost")
