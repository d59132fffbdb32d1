"""The change feed over HTTP: what a poll and a stream are told, when they are woken, refused and ended."""

import asyncio
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from syncd.demo.servers import Postgres
from tests.http_daemon import Daemon, done, failed, new_database, run
from tests.mirror import FEED, LIST, Event, events
from tests.scripted_ldap import wait_until

STREAM = {"Accept": "text/event-stream"}
CROWD = 1000


def create(client: httpx.Client, name: str = "Lobby") -> str:
    return str(done(client.post(LIST, json={"name": name, "phoneNumber": "1"}))["id"])


def position(client: httpx.Client) -> int:
    return int(client.get(f"{LIST}?limit=0").headers["directory-revision"])


def test_each_change_once_as_it_is_now(desk: Daemon) -> None:
    """In the order of revisions, with the contact as GET shows it; who is gone is told by id alone."""
    with desk.client() as admin, desk.client("agent") as agent:
        since = position(admin)
        first, second, third = create(admin, "One"), create(admin, "Two"), create(admin, "Three")
        done(admin.put(f"{LIST}/{first}", json={"phoneNumber": "2"}))
        done(admin.delete(f"{LIST}/{second}"))
        answer = agent.get(FEED, params={"since": since})
        body = done(answer)
        shown = {id_: done(agent.get(f"{LIST}/{id_}"))["contact"] for id_ in (first, third)}
        none = done(agent.get("/contacts/changes/", params={"since": body["revision"]}))

    assert body == {
        "statusCode": 0,
        "changes": [
            {"revision": since + 3, "change": "put", "id": third, "contact": shown[third]},
            {"revision": since + 4, "change": "put", "id": first, "contact": shown[first]},
            {"revision": since + 5, "change": "remove", "id": second},
        ],
        "revision": since + 5,
        "more": False,
    }
    assert answer.headers["directory-revision"] == str(since + 5)
    assert none == {"statusCode": 0, "changes": [], "revision": since + 5, "more": False}


def test_a_limit_ends_with_a_whole_revision(desk: Daemon) -> None:
    """A revision that is larger than the limit comes whole."""
    with desk.client() as admin:
        since = position(admin)
        single = create(admin)
        many = [desk.insert("User", contact) for contact in _people(7)]
        with psycopg.connect(desk.database_url) as connection:
            connection.execute("UPDATE directory SET revision = %s", (since + 2,))
            for id_ in many:
                connection.execute(
                    "INSERT INTO change (revision, caller, contact_id, type, kind) VALUES (%s, 'x', %s, 'User', 'add')",
                    (since + 2, id_),
                )
        last = create(admin)
        found = [done(admin.get(FEED, params={"since": since, "limit": limit})) for limit in (1, 2, 8, 9, 1000)]

    assert [(len(body["changes"]), body["revision"] - since, body["more"]) for body in found] == [
        (1, 1, True), (8, 2, True), (8, 2, True), (9, 3, False), (9, 3, False),
    ]  # fmt: skip
    assert [change["id"] for change in found[-1]["changes"]] == [single, *many, last]


def _people(number: int) -> list[Any]:
    from syncd.core.contacts.contact import Contact

    return [Contact(f"Person {n}", user_name=f"p{n}", first_name="P", last_name=str(n)) for n in range(number)]


def test_what_is_malformed_is_refused(desk: Daemon) -> None:
    """By name, for polls and for streams; and only GET is there."""
    with desk.client() as admin:
        failed(admin.get(FEED), 400, 1)
        failed(admin.get(FEED, headers=STREAM), 400, 1)
        for query in ("since=x", "since=-1", "since=1&limit=0", "since=1&wait=61", "since=1&type=User"):
            failed(admin.get(f"{FEED}?{query}"), 400, 2)
        assert "Last-Event-ID" in failed(admin.get(FEED, headers={**STREAM, "Last-Event-ID": "x"}), 400, 2)
        assert admin.post(FEED, json={}).headers["allow"] == "GET"
    with desk.client(None) as nobody:
        failed(nobody.get(f"{FEED}?since=0", headers=STREAM), 401, 20)


def test_a_position_that_is_no_past_is_gone(desk: Daemon) -> None:
    """Forgotten, or never there: 410 before a stream begins, with the way on."""
    with desk.client() as admin:
        for _ in range(3):
            create(admin)
        now = position(admin)
        desk.sql("UPDATE directory SET pruned = %s RETURNING 1", now - 1)
        for since in (0, now - 2, now + 1, 10**17, 10**30):
            for headers in ({}, STREAM):
                said = failed(admin.get(FEED, params={"since": since}, headers=headers), 410, 6)
                assert "Directory-Revision" in said
        failed(admin.get(f"{FEED}?since={now}", headers={**STREAM, "Last-Event-ID": "0"}), 410, 6)
        assert len(done(admin.get(FEED, params={"since": now - 1}))["changes"]) == 1


def test_a_long_poll_is_woken_by_the_first_change(desk: Daemon) -> None:
    """At once, by whichever replica's writer; without a change it ends with its time."""
    with desk.client() as admin, desk.client("agent") as agent:
        since = position(admin)
        timer = threading.Timer(1.0, create, (admin,))
        timer.start()
        started = time.monotonic()
        body = done(agent.get(FEED, params={"since": since, "wait": 60}))
        waited = time.monotonic() - started
        timer.join()
        assert [change["revision"] for change in body["changes"]] == [since + 1]
        assert 0.9 < waited < 20

        started = time.monotonic()
        body = done(agent.get(FEED, params={"since": since + 1, "wait": 2}))
        assert time.monotonic() - started >= 1.9
        assert body == {"statusCode": 0, "changes": [], "revision": since + 1, "more": False}


class Stream:
    """A stream of events, read by a thread."""

    def __init__(self, daemon: Daemon, since: int, role: str = "agent") -> None:
        self.heard: list[Event] = []
        self.lines: list[str] = []
        self.ended = threading.Event()
        self.broken: Exception | None = None
        self._client = daemon.client(role)
        self._since = since
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        wait_until(lambda: bool(self.heard))

    def _read(self) -> None:
        try:
            with self._client.stream("GET", FEED, params={"since": self._since}, headers=STREAM) as answer:
                for event in events(self._seen(answer.iter_lines())):
                    self.heard.append(event)
        except httpx.TransportError as error:
            self.broken = error
        self._client.close()
        self.ended.set()

    def _seen(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self.lines.append(line)
            yield line

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in self.heard if event.data]

    def close(self) -> None:
        self._client.close()


def test_a_stream_tells_as_it_happens(desk: Daemon) -> None:
    """First what was missed, then every change; in silence a comment says that it lives."""
    with desk.client() as admin:
        since = position(admin)
        first = create(admin)
        stream = Stream(desk, since)
        wait_until(lambda: len(stream.told()) == 1)
        done(admin.put(f"{LIST}/{first}", json={"name": "Other"}))
        wait_until(lambda: len(stream.told()) == 2)
        done(admin.delete(f"{LIST}/{first}"))
        wait_until(lambda: len(stream.told()) == 3)
        wait_until(lambda: ":" in stream.lines)

    assert [(change["change"], change["id"], change["revision"]) for change in stream.told()] == [
        ("put", first, since + 1), ("put", first, since + 2), ("remove", first, since + 3),
    ]  # fmt: skip
    assert [event.last for event in stream.heard[:4]] == [str(since + n) for n in range(4)]
    assert any(line.startswith("retry: ") for line in stream.lines)
    stream.close()


def test_a_revoked_token_ends_its_stream(daemon: Daemon) -> None:
    """Within a heartbeat, and nothing is told any more."""
    with daemon.client() as admin:
        stream = Stream(daemon, position(admin))
        daemon.command("token", "revoke", "agent of the tests")
        create(admin)
        assert stream.ended.wait(60)
        assert stream.broken is None
        assert stream.told() == []
        wait_until(lambda: daemon.feeds() == 0)


def test_streams_and_polls_end_with_the_daemon(daemon: Daemon) -> None:
    """At once and cleanly, so that clients go to another replica."""
    with daemon.client() as admin, daemon.client("agent") as agent:
        since = position(admin)
        streams = [Stream(daemon, since) for _ in range(5)]
        answers: list[httpx.Response] = []
        poll = threading.Thread(target=lambda: answers.append(agent.get(FEED, params={"since": since, "wait": 60})))
        poll.start()
        wait_until(lambda: daemon.feeds() == 6)
        started = time.monotonic()
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        for stream in streams:
            assert stream.ended.wait(60)
            assert stream.broken is None
        poll.join(60)
        assert done(answers[0])["changes"] == []
        assert daemon.process.wait(60) == 0
        assert time.monotonic() - started < 15


def test_a_stream_outlives_the_database(desk: Daemon) -> None:
    """Its connections are cut: the stream goes on, and what is written afterwards arrives."""
    with desk.client() as admin:
        stream = Stream(desk, position(admin))
        for _ in range(3):
            desk.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(0.3)
        wait_until(lambda: admin.get(f"{LIST}?limit=0").status_code == 200)
        id_ = create(admin)
        wait_until(lambda: [change["id"] for change in stream.told()] == [id_])
        assert not stream.ended.is_set()
    stream.close()


@pytest.fixture(scope="module")
def square(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon in which so many may wait and no more."""
    yield from run(tmp_path_factory.mktemp("square"), new_database(postgres, migrated), f"max_feeds = {CROWD + 1}\n")


def resident(daemon: Daemon) -> int:
    """KiB of memory that the daemon holds now."""
    assert daemon.process is not None
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{daemon.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def test_a_thousand_idle_streams_are_cheap_and_all_hear(square: Daemon) -> None:
    """Little memory for each, no database connection, one read for all; one more than allowed is told to come back."""
    token = square.tokens["agent"]
    with square.client() as admin:
        for _ in range(50):
            create(admin)
        since = position(admin)

    async def listen(ready: asyncio.Semaphore, heard: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", square.port)
        lines = (f"GET {FEED}?since={since} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
        writer.write("\r\n".join([*lines, "Accept: text/event-stream", "", ""]).encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(f"id: {since}".encode())
        ready.release()
        await reader.readuntil(f"id: {since + 1}".encode())
        heard.append(time.monotonic())
        writer.close()

    async def play() -> None:
        ready, heard = asyncio.Semaphore(0), list[float]()
        before = resident(square)
        tasks = [asyncio.create_task(listen(ready, heard)) for _ in range(CROWD)]
        for _ in range(CROWD):
            await asyncio.wait_for(ready.acquire(), 120)
        each = (resident(square) - before) / CROWD
        await asyncio.to_thread(wait_until, _all_idle)  # the daemon's look at its own state takes a moment
        await asyncio.to_thread(_refused)
        reads = square.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'directory'")
        written = time.monotonic()
        await asyncio.to_thread(_edit)
        await asyncio.wait_for(asyncio.gather(*tasks), 120)
        square.sql("SELECT pg_stat_clear_snapshot()::text")
        reads = square.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'directory'") - reads
        print(f"{each:.1f} KiB a stream; all heard after {max(heard) - written:.2f} s; {reads} reads of the revision")
        assert each < 100
        assert reads < CROWD / 4

    def _all_idle() -> bool:
        busy = square.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
            "AND pid <> pg_backend_pid()"
        )
        return int(busy) == 0

    def _refused() -> None:
        with square.client() as admin:
            last = Stream(square, since)
            refused = admin.get(FEED, params={"since": since}, headers=STREAM)
            failed(refused, 503, 4)
            assert int(refused.headers["retry-after"]) > 0
            failed(admin.get(FEED, params={"since": since, "wait": 9}), 503, 4)
            done(admin.get(FEED, params={"since": since}))
            last.close()

    def _edit() -> None:
        with square.client() as admin:
            create(admin)

    asyncio.run(play())
    wait_until(lambda: square.feeds() == 0, 90)
