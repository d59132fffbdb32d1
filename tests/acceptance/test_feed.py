"""The change feed over HTTP: contents of polls and streams, wake-up, rejections and their end."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from syncd.core.contacts.contact import Contact
from syncd.demo.servers import Postgres
from tests.http_daemon import HttpDaemon, assert_error, assert_ok, create_database, run_daemon
from tests.mirror import FEED, LIST, Event, parse_events
from tests.waiting import wait_until

STREAM = {"Accept": "text/event-stream"}
STREAMS = 1000


def create_contact(client: httpx.Client, name: str = "Lobby") -> str:
    return str(assert_ok(client.post(LIST, json={"name": name, "phoneNumber": "1"}))["id"])


def read_revision(client: httpx.Client) -> int:
    return int(client.get(f"{LIST}?limit=0").headers["directory-revision"])


def test_each_changed_contact_is_sent_once_in_its_current_state(shared_daemon: HttpDaemon) -> None:
    """In the order of revisions, with the contact as GET returns it; a removed one only by its id."""
    with shared_daemon.client() as admin, shared_daemon.client("agent") as agent:
        since = read_revision(admin)
        first, second, third = (
            create_contact(admin, "One"),
            create_contact(admin, "Two"),
            create_contact(admin, "Three"),
        )
        assert_ok(admin.put(f"{LIST}/{first}", json={"phoneNumber": "2"}))
        assert_ok(admin.delete(f"{LIST}/{second}"))
        answer = agent.get(FEED, params={"since": since})
        body = assert_ok(answer)
        shown = {id_: assert_ok(agent.get(f"{LIST}/{id_}"))["contact"] for id_ in (first, third)}
        none = assert_ok(agent.get("/contacts/changes/", params={"since": body["revision"]}))

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


def test_a_limit_includes_whole_revisions(shared_daemon: HttpDaemon) -> None:
    """A revision with more changes than the limit is sent completely."""
    with shared_daemon.client() as admin:
        since = read_revision(admin)
        single = create_contact(admin)
        many = [shared_daemon.insert("User", contact) for contact in make_users(7)]
        with psycopg.connect(shared_daemon.database_url) as connection:
            connection.execute("UPDATE directory SET revision = %s", (since + 2,))
            for id_ in many:
                connection.execute(
                    "INSERT INTO change (revision, caller, contact_id, type, kind) VALUES (%s, 'x', %s, 'User', 'add')",
                    (since + 2, id_),
                )
        last = create_contact(admin)
        pages = [assert_ok(admin.get(FEED, params={"since": since, "limit": limit})) for limit in (1, 2, 8, 9, 1000)]

    assert [(len(body["changes"]), body["revision"] - since, body["more"]) for body in pages] == [
        (1, 1, True), (8, 2, True), (8, 2, True), (9, 3, False), (9, 3, False),
    ]  # fmt: skip
    assert [change["id"] for change in pages[-1]["changes"]] == [single, *many, last]


def make_users(number: int) -> list[Contact]:
    return [Contact(f"Person {n}", user_name=f"p{n}", first_name="P", last_name=str(n)) for n in range(number)]


def test_malformed_requests_are_rejected(shared_daemon: HttpDaemon) -> None:
    """With the name of the parameter, for polls and for streams; only GET is allowed."""
    with shared_daemon.client() as admin:
        assert_error(admin.get(FEED), 400, 1)
        assert_error(admin.get(FEED, headers=STREAM), 400, 1)
        for query in ("since=x", "since=-1", "since=1&limit=0", "since=1&wait=61", "since=1&type=User"):
            assert_error(admin.get(f"{FEED}?{query}"), 400, 2)
        assert "Last-Event-ID" in assert_error(admin.get(FEED, headers={**STREAM, "Last-Event-ID": "x"}), 400, 2)
        assert admin.post(FEED, json={}).headers["allow"] == "GET, HEAD"
    with shared_daemon.client(None) as anonymous:
        assert_error(anonymous.get(f"{FEED}?since=0", headers=STREAM), 401, 20)


def test_an_unknown_position_is_gone(shared_daemon: HttpDaemon) -> None:
    """A pruned or future revision is 410 before a stream begins, with the way to continue."""
    with shared_daemon.client() as admin:
        for _ in range(3):
            create_contact(admin)
        now = read_revision(admin)
        shared_daemon.query_value("UPDATE directory SET pruned = %s RETURNING 1", now - 1)
        for since in (0, now - 2, now + 1, 10**17, 10**30):
            for headers in ({}, STREAM):
                message = assert_error(admin.get(FEED, params={"since": since}, headers=headers), 410, 6)
                assert "Directory-Revision" in message
        assert_error(admin.get(f"{FEED}?since={now}", headers={**STREAM, "Last-Event-ID": "0"}), 410, 6)
        assert len(assert_ok(admin.get(FEED, params={"since": now - 1}))["changes"]) == 1


def test_a_long_poll_ends_with_the_first_change(shared_daemon: HttpDaemon) -> None:
    """Without a change it ends after `wait` seconds."""
    with shared_daemon.client() as admin, shared_daemon.client("agent") as agent:
        since = read_revision(admin)
        timer = threading.Timer(1.0, create_contact, (admin,))
        timer.start()
        began = time.monotonic()
        body = assert_ok(agent.get(FEED, params={"since": since, "wait": 60}))
        waited = time.monotonic() - began
        timer.join()
        assert [change["revision"] for change in body["changes"]] == [since + 1]
        assert 0.9 < waited < 20

        began = time.monotonic()
        body = assert_ok(agent.get(FEED, params={"since": since + 1, "wait": 2}))
        assert time.monotonic() - began >= 1.9
        assert body == {"statusCode": 0, "changes": [], "revision": since + 1, "more": False}


class Stream:
    """A client of the event stream, in a thread: all events and all lines received, and the error that ended it."""

    def __init__(self, daemon: HttpDaemon, since: int, role: str = "agent") -> None:
        self.received: list[Event] = []
        self.lines: list[str] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._client = daemon.client(role)
        self._since = since
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        wait_until(lambda: bool(self.received))

    def _read(self) -> None:
        try:
            with self._client.stream("GET", FEED, params={"since": self._since}, headers=STREAM) as answer:
                for event in parse_events(self._record(answer.iter_lines())):
                    self.received.append(event)
        except httpx.TransportError as error:
            self.error = error
        self._client.close()
        self.ended.set()

    def _record(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self.lines.append(line)
            yield line

    def changes(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in self.received if event.data]

    def close(self) -> None:
        self._client.close()


def test_a_stream_sends_missed_and_new_changes(shared_daemon: HttpDaemon) -> None:
    """First the changes since the position, then each new one; comments are sent while there are none."""
    with shared_daemon.client() as admin:
        since = read_revision(admin)
        first = create_contact(admin)
        stream = Stream(shared_daemon, since)
        wait_until(lambda: len(stream.changes()) == 1)
        assert_ok(admin.put(f"{LIST}/{first}", json={"name": "Other"}))
        wait_until(lambda: len(stream.changes()) == 2)
        assert_ok(admin.delete(f"{LIST}/{first}"))
        wait_until(lambda: len(stream.changes()) == 3)
        wait_until(lambda: ":" in stream.lines)

    assert [(change["change"], change["id"], change["revision"]) for change in stream.changes()] == [
        ("put", first, since + 1), ("put", first, since + 2), ("remove", first, since + 3),
    ]  # fmt: skip
    assert [event.last_id for event in stream.received[:4]] == [str(since + n) for n in range(4)]
    assert any(line.startswith("retry: ") for line in stream.lines)
    stream.close()


def test_a_revoked_token_ends_its_stream(daemon: HttpDaemon) -> None:
    """Within a heartbeat, and without further changes."""
    with daemon.client() as admin:
        stream = Stream(daemon, read_revision(admin))
        daemon.run_command("token", "revoke", "agent of the tests")
        create_contact(admin)
        assert stream.ended.wait(60)
        assert stream.error is None
        assert stream.changes() == []
        wait_until(lambda: daemon.count_streams() == 0)


def test_streams_and_polls_end_with_the_daemon(daemon: HttpDaemon) -> None:
    """At once and regularly, so that clients connect to another replica."""
    with daemon.client() as admin, daemon.client("agent") as agent:
        since = read_revision(admin)
        streams = [Stream(daemon, since) for _ in range(5)]
        answers: list[httpx.Response] = []
        poll = threading.Thread(target=lambda: answers.append(agent.get(FEED, params={"since": since, "wait": 60})))
        poll.start()
        wait_until(lambda: daemon.count_streams() == 6)
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        for stream in streams:
            assert stream.ended.wait(60)
            assert stream.error is None
        poll.join(60)
        assert assert_ok(answers[0])["changes"] == []
        assert daemon.wait() == 0
        assert time.monotonic() - began < 15


def test_a_stream_outlasts_its_database_connections(shared_daemon: HttpDaemon) -> None:
    """After all connections have ended, the next change is sent."""
    with shared_daemon.client() as admin:
        stream = Stream(shared_daemon, read_revision(admin))
        for _ in range(3):
            shared_daemon.query_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(0.3)
        wait_until(lambda: admin.get(f"{LIST}?limit=0").status_code == 200)
        id_ = create_contact(admin)
        wait_until(lambda: [change["id"] for change in stream.changes()] == [id_])
        assert not stream.ended.is_set()
    stream.close()


@pytest.fixture(scope="module")
def daemon_with_stream_limit(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpDaemon]:
    """A daemon that allows one stream more than STREAMS."""
    folder, url = tmp_path_factory.mktemp("streams"), create_database(postgres, template_database)
    with run_daemon(folder, url, f"max_streams = {STREAMS + 1}\n") as daemon:
        yield daemon


def test_a_thousand_streams_share_one_read(daemon_with_stream_limit: HttpDaemon) -> None:
    """Idle streams hold no database connection, and a change is read once for many; one more is rejected."""
    daemon = daemon_with_stream_limit
    with daemon.client() as admin:
        for _ in range(50):
            create_contact(admin)
        since = read_revision(admin)
    head = daemon.request_head("GET", f"{FEED}?since={since}", "Accept: text/event-stream", role="agent")

    async def listen(ready: asyncio.Semaphore) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(head)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(f"id: {since}".encode())
        ready.release()
        await reader.readuntil(f"id: {since + 1}".encode())
        writer.close()

    async def open_streams_and_change() -> None:
        ready = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(listen(ready)) for _ in range(STREAMS)]
        for _ in range(STREAMS):
            await asyncio.wait_for(ready.acquire(), 120)
        await asyncio.to_thread(wait_until, is_database_idle)  # the daemon's own health poll takes a moment
        await asyncio.to_thread(assert_limit)
        before = count_revision_reads()
        await asyncio.to_thread(create_another)
        await asyncio.wait_for(asyncio.gather(*tasks), 120)
        daemon.query_value("SELECT pg_stat_clear_snapshot()::text")
        assert count_revision_reads() - before < STREAMS / 4

    def count_revision_reads() -> int:
        return int(daemon.query_value("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'directory'"))

    def is_database_idle() -> bool:
        busy = daemon.query_value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
            "AND pid <> pg_backend_pid()"
        )
        return int(busy) == 0

    def assert_limit() -> None:
        with daemon.client() as admin:
            last = Stream(daemon, since)
            answer = admin.get(FEED, params={"since": since}, headers=STREAM)
            assert_error(answer, 503, 4)
            assert int(answer.headers["retry-after"]) > 0
            assert_error(admin.get(FEED, params={"since": since, "wait": 9}), 503, 4)
            assert_ok(admin.get(FEED, params={"since": since}))
            last.close()

    def create_another() -> None:
        with daemon.client() as admin:
            create_contact(admin)

    asyncio.run(open_streams_and_change())
    wait_until(lambda: daemon.count_streams() == 0, 90)
