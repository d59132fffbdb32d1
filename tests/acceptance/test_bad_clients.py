"""Clients that hold on, flood, drip, take nothing or ask too much: each is bounded, and the others are served on."""

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
from tests.http_daemon import Daemon, done, failed, new_database, run
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
IN_USE = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'syncd' AND usename IS NOT NULL
      AND (state <> 'idle' OR xact_start IS NOT NULL)
"""


def with_database(folder: Path, url: str, **settings: str) -> Iterator[Daemon]:
    """A daemon with these settings of the database."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(f"SYNCD_DATABASE__{key.upper()}", value)
        yield from run(folder, url)


own, own_with = contextmanager(run), contextmanager(with_database)


@pytest.fixture(scope="module")
def crowd(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a large directory and two database connections."""
    folder = tmp_path_factory.mktemp("crowd")
    for daemon in with_database(folder, new_database(postgres, migrated), pool_size="2"):
        daemon.fill()
        yield daemon


def raw(daemon: Daemon, method: str, path: str, *more: str, role: str = "admin") -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {daemon.tokens[role]}", *more, "", ""]
    return "\r\n".join(lines).encode()


def connected(daemon: Daemon, buffer: int = 0) -> socket.socket:
    """A connection to it, with a small buffer if one is wanted."""
    wire = socket.socket()
    if buffer:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    wire.settimeout(60)
    wire.connect(("127.0.0.1", daemon.port))
    return wire


def in_the_middle(daemon: Daemon) -> socket.socket:
    """A connection with a request that the daemon waits for: its body is still to come."""
    wire = connected(daemon)
    wire.sendall(raw(daemon, "POST", API, "Content-Length: 100") + b"{")
    return wire


def status_of(daemon: Daemon, name: str) -> int:
    """A figure of /proc/PID/status: VmRSS in KiB."""
    assert daemon.process is not None
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise AssertionError


def open_files(daemon: Daemon) -> int:
    """How many files the daemon has open."""
    assert daemon.process is not None
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def to_the_end(wire: socket.socket) -> bytes:
    """All that comes before the end of the connection, however it ends."""
    found = b""
    try:
        while chunk := wire.recv(65536):
            found += chunk
    except ConnectionError:
        pass
    return found


@contextmanager
def held(daemon: Daemon, statement: str) -> Iterator[None]:
    """Somebody else's transaction that has done this and does not end."""
    with psycopg.connect(daemon.database_url) as connection:
        connection.execute(statement)
        yield
        connection.rollback()


def test_more_connections_than_there_may_be(tmp_path: Path, database_url: str) -> None:
    """Above the limit there is a 503 that says so, while health and those who were first are answered."""
    with (
        own(tmp_path, database_url, "max_connections = 20\n") as daemon,
        daemon.client() as first,
        ExitStack() as stack,
    ):
        done(first.get(API))
        held_up = [stack.enter_context(in_the_middle(daemon)) for _ in range(25)]
        done(first.get(API))
        with daemon.client() as late:
            answer = late.get(API)
            assert "connections" in failed(answer, 503, 4)
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["connection"] == "close"
            assert late.get("/health").status_code == 200
            assert late.get("/ready").status_code == 200
        done(first.get(API))
        for wire in held_up:
            wire.close()
        wait_until(lambda: _served(daemon))


def _served(daemon: Daemon) -> bool:
    with daemon.client() as late:
        return late.get(API).status_code == 200


def test_a_flood_of_connections(tmp_path: Path, database_url: str) -> None:
    """Far above the limit connections are closed at once; files stay bounded, and health comes through again."""
    with (
        own(tmp_path, database_url, "max_connections = 20\n") as daemon,
        daemon.client() as first,
        ExitStack() as stack,
    ):
        done(first.get(API))
        wires = [stack.enter_context(connected(daemon)) for _ in range(300)]
        assert wires[-1].recv(10) == b""
        assert open_files(daemon) < 20 + 64 + 60
        done(first.get(API))
        for wire in wires[20:]:  # those above the limit have a second
            to_the_end(wire)
        with daemon.client() as late:
            assert late.get("/health").status_code == 200


def test_the_system_allows_too_few_files(tmp_path: Path, database_url: str) -> None:
    """A limit that the system does not allow is lowered, and the log says so; one that it allows is not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with own(tmp_path, database_url) as daemon:
        assert daemon.process is not None
        assert not _limited(daemon)
        daemon.stop()
        daemon.start("max_connections = 100000\n")
        soft, _ = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        said = [(line["setting"], line["connections"] < hard) for line in _limited(daemon)]
    assert said == ([] if hard > 101_000 else [(100_000, True)])
    assert soft == min(hard, 100_000 + 576)


def _limited(daemon: Daemon) -> list[dict[str, Any]]:
    return [line for line in daemon.lines() if line["event"] == "http.limited"]


def test_thousands_of_connections(tmp_path: Path, database_url: str) -> None:
    """3,000 clients in the middle of a request take less than 100 MB, and others are answered meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8000)), hard))
    with own(tmp_path, database_url) as daemon:
        with daemon.client("agent") as agent, ExitStack() as stack:
            done(agent.get(API))
            before = status_of(daemon, "VmRSS")
            for _ in range(3000):
                stack.enter_context(in_the_middle(daemon))
            wait_until(lambda: open_files(daemon) > 3000)
            done(agent.get(API))
            assert status_of(daemon, "VmRSS") - before < 100_000
        wait_until(lambda: open_files(daemon) < 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("drip", [b"\r\n", b"G"])
def test_bytes_that_drip(desk: Daemon, drip: bytes) -> None:
    """Neither empty lines nor letters one by one keep a connection open, not even after an answer."""
    with connected(desk) as wire, desk.client("agent") as agent:
        wire.sendall(raw(desk, "GET", API + "?limit=0"))
        assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionError):
            _drip(wire, drip)
        done(agent.get(API + "?limit=0"))


def test_a_body_that_drips_after_its_refusal(desk: Daemon) -> None:
    """Who is refused and goes on sending has ten seconds to come to an end."""
    with connected(desk) as wire:
        wire.sendall(raw(desk, "POST", API, "Content-Length: 1000000"))
        assert wire.recv(65536).startswith(b"HTTP/1.1 413")
        with pytest.raises(ConnectionError):
            _drip(wire, b" ")


def _drip(wire: socket.socket, drip: bytes) -> None:
    for _ in range(120):
        wire.sendall(drip)
        time.sleep(0.5)


def test_requests_sent_ahead_are_answered_in_order(desk: Daemon) -> None:
    """A client that sends 300 requests at once gets 300 answers."""
    ids = [f"n{number}" for number in range(300)]
    with connected(desk) as wire:
        wire.sendall(b"".join(raw(desk, "GET", API + "?limit=0", f"X-Request-Id: {id_}") for id_ in ids[:-1]))
        wire.sendall(raw(desk, "GET", API + "?limit=0", f"X-Request-Id: {ids[-1]}", "Connection: close"))
        answers = to_the_end(wire).decode()

    assert answers.count("HTTP/1.1 200 ") == 300
    assert [line.split(": ")[1] for line in answers.split("\r\n") if line.startswith("x-request-id")] == ids


def test_a_flood_of_requests_on_one_connection(desk: Daemon) -> None:
    """Who sends without end and reads nothing takes no memory, because nobody reads what is not its turn."""
    flood = b"GET /nowhere HTTP/1.1\r\n\r\n" * 10_000
    with desk.client("agent") as agent, ExitStack() as stack:
        done(agent.get(API + "?limit=0"))
        before = status_of(desk, "VmRSS")
        wires = [stack.enter_context(connected(desk, 16_384)) for _ in range(20)]
        with ThreadPoolExecutor(len(wires)) as threads:
            sent = [threads.submit(_pour, wire, flood) for wire in wires]
            while not all(one.done() for one in sent):
                done(agent.get(API + "?limit=0"))
                assert status_of(desk, "VmRSS") - before < 60_000
        done(agent.get(API + "?limit=0"))


def _pour(wire: socket.socket, flood: bytes) -> None:
    wire.settimeout(2)
    started = time.monotonic()
    try:
        while time.monotonic() - started < 10:
            wire.sendall(flood)
    except OSError:  # it takes no more
        pass


def test_a_broken_request_sent_ahead(desk: Daemon) -> None:
    """Nonsense behind good requests ends the connection without a word of ours in the log."""
    with connected(desk) as wire:
        wire.sendall(raw(desk, "GET", API) * 3 + b"nonsense\r\n\r\n")
        to_the_end(wire)
    with desk.client("agent") as agent:
        done(agent.get(API + "?limit=0"))
    assert not [line for line in desk.lines() if line["level"] == "error"]


def test_clients_that_take_no_answer(crowd: Daemon) -> None:
    """Forty clients that ask for 600 KiB and read nothing are ended after a while, and nobody waits for them."""
    with crowd.client("agent") as agent, ExitStack() as stack:
        done(agent.get(API + "?limit=2000"))
        files = open_files(crowd)
        before = status_of(crowd, "VmRSS")
        for _ in range(40):
            wire = stack.enter_context(connected(crowd, 4096))
            wire.sendall(raw(crowd, "GET", API + "?limit=2000", role="agent"))
        wait_until(lambda: open_files(crowd) >= files + 40)
        done(agent.get(API + "?limit=2000"))
        assert status_of(crowd, "VmRSS") - before < 60_000

        wait_until(lambda: open_files(crowd) <= files + 1, 120)  # after thirty seconds without progress
        done(agent.get(API + "?limit=1"))


def test_long_answers_leave_connections_to_others(crowd: Daemon) -> None:
    """Who takes a long answer slowly keeps a lane; a second one is told to come back, a short one is served."""
    with connected(crowd, 16_384) as wire, crowd.client("agent") as agent:
        wire.sendall(raw(crowd, "GET", API, role="agent"))
        assert wire.recv(1000).startswith(b"HTTP/1.1 200 ")

        answer = agent.get(API + "?sortBy=userName")
        assert "long answers" in failed(answer, 503, 4)
        assert int(answer.headers["retry-after"]) > 0
        done(agent.get(API + "?limit=10&offset=7"))
    with crowd.client("agent") as agent:
        wait_until(lambda: agent.get(API + "?sortBy=userName").status_code == 200)


def test_huge_offsets(crowd: Daemon) -> None:
    """What is past the end is not sorted first: it costs a fraction of the page before it."""
    with crowd.client("agent") as agent:
        end = done(agent.get(API + f"?sortBy=userName&offset={2**63 - 1}"))
        assert (end["totalCount"], end["contacts"]) == (60_000, [])
        assert done(agent.get(f"{API}?sortBy=userName&offset={10**30}&type=User"))["totalCount"] == 60_000
        assert len(done(agent.get(f"{API}?sortBy=userName&offset=59990"))["contacts"]) == 10
        inside = min(_seconds(agent, f"?sortBy=userName&offset={59_000 + n}&limit=10") for n in range(5))
        beyond = min(_seconds(agent, f"?sortBy=userName&offset={70_000 + n}&limit=10") for n in range(5))
    assert beyond < inside / 2


def _seconds(client: httpx.Client, query: str) -> float:
    began = time.perf_counter()
    done(client.get(API + query))
    return time.perf_counter() - began


def test_a_question_that_takes_too_long(tmp_path: Path, database_url: str) -> None:
    """The database gives it up; the answer says so, what is kept is served meanwhile, and every connection is good."""
    with own_with(tmp_path, database_url, pool_size="3", statement_timeout="2s") as daemon, daemon.client() as admin:
        done(admin.get(API))
        with held(daemon, "LOCK TABLE contact IN ACCESS EXCLUSIVE MODE"), ThreadPoolExecutor(3) as threads:
            slow = [threads.submit(admin.get, f"{API}?name={n}") for n in range(3)]
            done(admin.get(API))  # kept since before
            for one in slow:
                answer = one.result()
                assert "too long" in failed(answer, 503, 4)
                assert int(answer.headers["retry-after"]) > 0
        wait_until(lambda: daemon.sql(IN_USE) == 0)
        for number in range(10):
            done(admin.get(f"{API}?name={number}"))


def test_a_search_made_to_be_slow(crowd: Daemon) -> None:
    """Sixteen arguments with sixteen wildcards each are answered or given up in bounded time, and others are served."""
    wanted = ",".join(f"*{'a*' * 14}{n}*" for n in range(16))
    query = f"?filterName=NamesOrPhoneNumberMatches&filterParameters={wanted}"
    with crowd.client("agent") as slow, crowd.client("agent") as agent, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(slow.get, API + query)
        done(agent.get(API + "?limit=1&offset=3"))
        assert answer.result().status_code in {200, 503}
        done(agent.get(API + "?limit=1&offset=4"))


def test_clients_that_ask_and_leave(tmp_path: Path, database_url: str) -> None:
    """A read that nobody waits for is ended in the database at once; its connection is free long before any limit."""
    with own_with(tmp_path, database_url, pool_size="2", statement_timeout="10m") as daemon:
        with daemon.client() as admin, psycopg.connect(daemon.database_url, autocommit=True) as other:
            done(admin.get(API))
            with held(daemon, "LOCK TABLE contact IN ACCESS EXCLUSIVE MODE"):
                for number in range(12):
                    with connected(daemon) as wire:
                        wire.sendall(raw(daemon, "GET", f"{API}?name={number}", f"X-Request-Id: left-{number}"))
                        wait_until(lambda: _waiting(other, "contact.user_name") > 0)
                wait_until(lambda: _waiting(other, "contact.user_name") == 0)
                done(admin.get(API))
            done(admin.get(f"{API}?name=another"))
        line = daemon.line("left-7")
        assert (line["level"], line.get("status")) == ("info", None)
        assert not [line for line in daemon.lines() if line["level"] == "error"]


def _waiting(other: psycopg.Connection[Any], word: str) -> int:
    found = other.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'syncd' "
        "AND wait_event_type = 'Lock' AND query LIKE %s",
        [f"%{word}%"],
    ).fetchone()
    assert found is not None
    return int(found[0])


def test_no_connection_to_the_database_is_free(tmp_path: Path, database_url: str) -> None:
    """Whoever needs one is told to come back within seconds; what needs none is served, and ready is ready."""
    with (
        own_with(tmp_path, database_url, pool_size="2", statement_timeout="30s") as daemon,
        psycopg.connect(daemon.database_url, autocommit=True) as other,
    ):
        daemon.insert("Queue", Contact("Sales"))
        with daemon.client() as admin:
            done(admin.get(API))
            writers = ThreadPoolExecutor(2)
            with held(daemon, "SELECT * FROM directory FOR UPDATE"):
                body = {"name": "late", "phoneNumber": "1"}
                late = [writers.submit(admin.post, API, json=body) for _ in range(2)]
                wait_until(lambda: _waiting(other, "UPDATE directory") == 2)
                began = time.monotonic()
                answer = admin.get(API + "?name=x")
                assert "database" in failed(answer, 503, 4)
                assert int(answer.headers["retry-after"]) > 0
                assert time.monotonic() - began < 20
                done(admin.get(API))
                assert admin.get("/ready").status_code == 200
            for one in late:
                done(one.result())
            writers.shutdown()
            assert done(admin.get(API))["totalCount"] == 3
        assert not [line for line in daemon.lines() if line["event"] == "database.lost"]


def test_who_is_late_with_everything_at_once(desk: Daemon) -> None:
    """Two hundred clients that each do something else wrong, for seconds, and a good one among them."""
    kinds = [b"", b"GET", raw(desk, "GET", API)[:-2], raw(desk, "POST", API, "Content-Length: 9") + b"{", b"\0" * 100,
             raw(desk, "POST", API, "Transfer-Encoding: chunked") + b"ffffff\r\n{"]  # fmt: skip
    with ExitStack() as stack, desk.client() as admin:
        wires = [stack.enter_context(connected(desk)) for _ in range(200)]
        for number, wire in enumerate(wires):
            wire.sendall(kinds[number % len(kinds)])
        ids = [done(admin.post(API, json={"name": f"good {n}", "phoneNumber": "1"}))["id"] for n in range(20)]
        for id_ in ids:
            done(admin.delete(f"{API}/{id_}"))
    assert not [line for line in desk.lines() if line["level"] == "error"]
    assert json.loads(httpx.get(desk.url + "/ready", timeout=60).content) == {"status": "ready"}
