"""Conditional requests and caching: entity tags, If-Match, gzip, and no older state after a newer one."""

import concurrent.futures
import gzip
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.http_daemon import HttpDaemon, SampleDirectory, assert_error, assert_ok
from tests.waiting import wait_until

API = "/api/v2/contacts"


@pytest.fixture
def replica(daemon: HttpDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDaemon]:
    """A second daemon on the same database, with the same tokens."""
    replica = HttpDaemon(tmp_path_factory.mktemp("replica"), daemon.database_url)
    replica.tokens = daemon.tokens
    replica.configure()
    replica.start()
    yield replica
    assert replica.stop() == 0


@pytest.mark.parametrize("query", ["", "?limit=2", "?name=Pam Beesly", "/{id}"])
def test_a_matching_tag_gives_304(directory: SampleDirectory, query: str) -> None:
    """A request with the tag of its own response, or a list with it, has no body, with each content coding."""
    path = API + query.format(id=directory.ids["pbeesly"])
    tags = {}
    for coding in ("identity", "gzip"):
        answer = directory.agent.get(path, headers={"Accept-Encoding": coding})
        tags[coding] = answer.headers["etag"]
        for condition in (tags[coding], f'"other", {tags[coding]}', f"W/{tags[coding]}", "*"):
            again = directory.agent.get(path, headers={"Accept-Encoding": coding, "If-None-Match": condition})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tags[coding]
        assert directory.agent.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert all(tag.startswith('"') for tag in tags.values())


def test_gzip_is_negotiated(directory: SampleDirectory) -> None:
    """The decoded bytes are equal, the tag is another one; a small response is not compressed."""
    plain = directory.agent.get(API, headers={"Accept-Encoding": "identity"})
    with directory.agent.stream("GET", API, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in plain.headers["vary"]
    small = directory.agent.get(f"{API}?limit=0", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


def test_if_match_prevents_lost_updates(shared_daemon: HttpDaemon) -> None:
    """With a tag of GET the contact is changed; after another change the same tag gives 412."""
    with shared_daemon.client() as admin:
        id_ = assert_ok(admin.post(API, json={"name": "Lobby", "phoneNumber": "1"}))["id"]
        first = admin.get(f"{API}/{id_}").headers["etag"]
        assert_ok(admin.put(f"{API}/{id_}", json={"phoneNumber": "2"}, headers={"If-Match": first}))
        second = admin.get(f"{API}/{id_}", headers={"Accept-Encoding": "identity"}).headers["etag"]
        assert first != second
        for method, path in (("PUT", f"{API}/{id_}"), ("PUT", API), ("DELETE", f"{API}/{id_}"), ("DELETE", API)):
            body: dict[str, Any] = {"json": {"id": id_, "phoneNumber": "3"}} if method == "PUT" else {}
            target = f"{path}?id={id_}" if (method, path) == ("DELETE", API) else path
            assert_error(admin.request(method, target, headers={"If-Match": first}, **body), 412, 2)
        assert assert_ok(admin.get(f"{API}/{id_}"))["contact"]["phoneNumber"] == "2"
        assert_ok(admin.put(f"{API}/{id_}", json={"phoneNumber": "4"}, headers={"If-Match": "*"}))
        third = admin.get(f"{API}/{id_}").headers["etag"]
        assert_ok(admin.delete(f"{API}/{id_}", headers={"If-Match": f'"other", {third}'}))
        assert_error(admin.get(f"{API}/{id_}"), 404, 6)


def test_a_tag_is_valid_until_the_bytes_change(shared_daemon: HttpDaemon) -> None:
    """A change of another contact leaves the tag as it is, and raises the revision of the response."""
    with shared_daemon.client() as admin:
        id_ = assert_ok(admin.post(API, json={"name": "Gate", "phoneNumber": "1"}))["id"]
        before = admin.get(f"{API}/{id_}")
        assert_ok(admin.post(API, json={"name": "Another gate", "phoneNumber": "1"}))
        after = admin.get(f"{API}/{id_}")
    assert after.headers["etag"] == before.headers["etag"]
    assert int(after.headers["directory-revision"]) > int(before.headers["directory-revision"])


def test_no_client_reads_an_older_state_after_a_newer_one(daemon: HttpDaemon, replica: HttpDaemon) -> None:
    """Four readers on two replicas read at least each committed number, and the writer reads its own writes."""
    with daemon.client() as admin:
        id_ = assert_ok(admin.post(API, json={"name": "Counter", "phoneNumber": "0"}))["id"]
    stopped = threading.Event()
    newest = [0]

    def read_number(client: httpx.Client) -> int:
        return int(assert_ok(client.get(f"{API}?name=Counter"))["contacts"][0]["phoneNumber"])

    def read_repeatedly() -> int:
        with daemon.client("agent") as one, replica.client("agent") as two:
            rounds = 0
            while not stopped.is_set():
                for client in (one, two):
                    committed = newest[0]
                    assert read_number(client) >= committed
                    rounds += 1
            return rounds

    with concurrent.futures.ThreadPoolExecutor(4) as pool, daemon.client() as admin, replica.client() as other:
        readers = [pool.submit(read_repeatedly) for _ in range(4)]
        for number in range(1, 80):
            assert_ok(admin.put(f"{API}/{id_}", json={"phoneNumber": str(number)}))
            newest[0] = number
            assert read_number(admin) == read_number(other) == number
        stopped.set()
        assert all(reader.result() > 0 for reader in readers)


def test_a_revoked_token_is_rejected_by_every_replica_at_the_next_request(
    daemon: HttpDaemon, replica: HttpDaemon
) -> None:
    """Although both replicas had it in their caches."""
    with daemon.client("agent") as one, replica.client("agent") as two:
        for client in (one, two, one, two):
            assert_ok(client.get(API))
        daemon.run_command("token", "revoke", "agent of the tests")
        for client in (one, two):
            assert_error(client.get(API), 401, 20)


def test_a_daemon_that_loses_its_connections_serves_nothing_stale(daemon: HttpDaemon) -> None:
    """All database connections end, LISTEN included, and a write follows whose NOTIFY is not received."""
    with daemon.client("agent") as agent, daemon.client() as admin:
        id_ = assert_ok(admin.post(API, json={"name": "Exit", "phoneNumber": "0"}))["id"]
        for number in range(1, 6):
            assert_ok(agent.get(f"{API}/{id_}"))
            daemon.query_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            daemon.query_value(
                "WITH later AS (UPDATE directory SET revision = revision + 1) UPDATE contact_custom "
                "SET numbers = jsonb_build_array(jsonb_build_object('phoneNumber', %s::text)) RETURNING 1",
                str(number),
            )
            assert assert_ok(agent.get(f"{API}/{id_}"))["contact"]["phoneNumber"] == str(number)


def test_a_standby_without_the_last_changes_is_served(daemon: HttpDaemon) -> None:
    """After a failover the same revision can be another state: the state of the new primary is served."""
    with daemon.client() as admin:
        for name in ("One", "Two"):
            assert_ok(admin.post(API, json={"name": name, "phoneNumber": "1"}))
        assert [assert_ok(admin.get(API))["totalCount"] for _ in range(2)] == [2, 2]
        with psycopg.connect(daemon.database_url) as connection:
            connection.execute("DELETE FROM contact WHERE name = 'Two'")
            connection.execute("DELETE FROM change WHERE revision = (SELECT revision FROM directory)")
            connection.execute("UPDATE directory SET revision = revision - 1")
        with psycopg.connect(daemon.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd' "
                "AND datname = current_database()"
            )
        wait_until(lambda: admin.post(API, json={"name": "Three", "phoneNumber": "1"}).status_code == 200)
        body = assert_ok(admin.get(API))
        page = assert_ok(admin.get(f"{API}?limit=1"))

    assert [contact["name"] for contact in body["contacts"]] == ["One", "Three"]
    assert (body["totalCount"], page["totalCount"]) == (2, 2)
