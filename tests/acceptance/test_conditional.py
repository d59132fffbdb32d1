"""What an answer is kept and known by: entity tags, conditions, gzip, and never an older state after a newer one."""

import concurrent.futures
import gzip
import threading

import httpx
import psycopg
import pytest

from syncd.demo.servers import free_port
from tests.http_daemon import Daemon, Office, done, failed
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"


@pytest.mark.parametrize("query", ["", "?limit=2", "?name=Pam Beesly", "/{id}"])
def test_what_the_client_has_is_not_sent_again(office: Office, query: str) -> None:
    """The same request with the tag of its answer is answered by 304 without a body, whatever the coding asked for."""
    path = API + query.format(id=office.ids["pbeesly"])
    tags = {}
    for coding in ("identity", "gzip"):
        answer = office.agent.get(path, headers={"Accept-Encoding": coding})
        tags[coding] = answer.headers["etag"]
        for known in (tags[coding], f'"other", {tags[coding]}', f"W/{tags[coding]}", "*"):
            again = office.agent.get(path, headers={"Accept-Encoding": coding, "If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tags[coding]
        assert office.agent.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert all(tag.startswith('"') for tag in tags.values())


def test_gzip_is_sent_to_those_who_ask_for_it(office: Office) -> None:
    """The packed bytes are the plain ones, with a tag of their own; a small answer is sent as it is."""
    plain = office.agent.get(API, headers={"Accept-Encoding": "identity"})
    with office.agent.stream("GET", API, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in plain.headers["vary"]
    small = office.agent.get(f"{API}?limit=0", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


def test_nobody_changes_or_deletes_what_they_have_not_read(desk: Daemon) -> None:
    """If-Match with the tag that GET has shown; once somebody else has changed the contact it is 412."""
    with desk.client() as admin:
        id_ = done(admin.post(API, json={"name": "Lobby", "phoneNumber": "1"}))["id"]
        first = admin.get(f"{API}/{id_}").headers["etag"]
        done(admin.put(f"{API}/{id_}", json={"phoneNumber": "2"}, headers={"If-Match": first}))
        second = admin.get(f"{API}/{id_}", headers={"Accept-Encoding": "identity"}).headers["etag"]
        assert first != second
        for method, path in (("PUT", f"{API}/{id_}"), ("PUT", API), ("DELETE", f"{API}/{id_}"), ("DELETE", API)):
            body = {"json": {"id": id_, "phoneNumber": "3"}} if method == "PUT" else {}
            where = f"{path}?id={id_}" if (method, path) == ("DELETE", API) else path
            failed(admin.request(method, where, headers={"If-Match": first}, **body), 412, 2)
        assert done(admin.get(f"{API}/{id_}"))["contact"]["phoneNumber"] == "2"
        done(admin.put(f"{API}/{id_}", json={"phoneNumber": "4"}, headers={"If-Match": "*"}))
        third = admin.get(f"{API}/{id_}").headers["etag"]
        done(admin.delete(f"{API}/{id_}", headers={"If-Match": f'"other", {third}'}))
        failed(admin.get(f"{API}/{id_}"), 404, 6)


def test_a_tag_holds_until_the_bytes_change(desk: Daemon) -> None:
    """A change elsewhere leaves the tag of a contact as it is, and raises the revision of its answer."""
    with desk.client() as admin:
        id_ = done(admin.post(API, json={"name": "Gate", "phoneNumber": "1"}))["id"]
        before = admin.get(f"{API}/{id_}")
        done(admin.post(API, json={"name": "Another gate", "phoneNumber": "1"}))
        after = admin.get(f"{API}/{id_}")
    assert after.headers["etag"] == before.headers["etag"]
    assert int(after.headers["directory-revision"]) > int(before.headers["directory-revision"])


def test_nobody_sees_an_older_state_after_a_newer_one(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Readers on two replicas while somebody writes: numbers only rise, and the writer reads what it has written."""
    other = Daemon(tmp_path_factory.mktemp("replica"), daemon.database_url, free_port(), daemon.tokens)
    other.start()
    with daemon.client() as admin:
        id_ = done(admin.post(API, json={"name": "Counter", "phoneNumber": "0"}))["id"]
    over = threading.Event()
    newest = [0]

    def shown(client: httpx.Client) -> int:
        return int(done(client.get(f"{API}?name=Counter"))["contacts"][0]["phoneNumber"])

    def read() -> int:
        with daemon.client("agent") as one, other.client("agent") as two:
            rounds = 0
            while not over.is_set():
                for client in (one, two):
                    committed = newest[0]
                    assert shown(client) >= committed
                    rounds += 1
            return rounds

    with concurrent.futures.ThreadPoolExecutor(4) as pool, daemon.client() as admin, other.client() as elsewhere:
        readers = [pool.submit(read) for _ in range(4)]
        for number in range(1, 80):
            done(admin.put(f"{API}/{id_}", json={"phoneNumber": str(number)}))
            newest[0] = number
            assert shown(admin) == shown(elsewhere) == number
        over.set()
        assert all(reader.result() > 0 for reader in readers)
    assert other.stop() == 0


def test_a_revoked_token_is_refused_at_the_next_call_on_every_replica(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However often it was used before, and wherever."""
    other = Daemon(tmp_path_factory.mktemp("replica"), daemon.database_url, free_port(), daemon.tokens)
    other.start()
    with daemon.client("agent") as one, other.client("agent") as two:
        for client in (one, two, one, two):
            done(client.get(API))
        daemon.command("token", "revoke", "agent of the tests")
        for client in (one, two):
            failed(client.get(API), 401, 20)
    assert other.stop() == 0


def test_a_daemon_whose_connections_are_cut_serves_nothing_stale(daemon: Daemon) -> None:
    """Every database connection is ended, also the one that listens, and a write is made that no NOTIFY tells of."""
    with daemon.client("agent") as agent, daemon.client() as admin:
        id_ = done(admin.post(API, json={"name": "Exit", "phoneNumber": "0"}))["id"]
        for number in range(1, 6):
            done(agent.get(f"{API}/{id_}"))
            daemon.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            daemon.sql(
                "WITH later AS (UPDATE directory SET revision = revision + 1) UPDATE contact_custom "
                "SET numbers = jsonb_build_array(jsonb_build_object('phoneNumber', %s::text)) RETURNING 1",
                str(number),
            )
            assert done(agent.get(f"{API}/{id_}"))["contact"]["phoneNumber"] == str(number)


def test_a_database_that_lacks_what_came_last_is_believed(daemon: Daemon) -> None:
    """A standby takes over that never got the last changes: the same revision is another state there, and is served."""
    with daemon.client() as admin:
        for name in ("One", "Two"):
            done(admin.post(API, json={"name": name, "phoneNumber": "1"}))
        assert [done(admin.get(API))["totalCount"] for _ in range(2)] == [2, 2]
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
        body = done(admin.get(API))
        page = done(admin.get(f"{API}?limit=1"))

    assert [contact["name"] for contact in body["contacts"]] == ["One", "Three"]
    assert (body["totalCount"], page["totalCount"]) == (2, 2)
