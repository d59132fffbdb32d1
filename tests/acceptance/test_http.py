"""HTTP of the running daemon: limits, malformed requests, request ids, access log, health, sockets, shutdown."""

import errno
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from syncd.demo.servers import Postgres
from syncd.settings import Database
from syncd.store.connection.engine import open_engine
from syncd.store.schema import migrate
from tests.environment import COMMAND
from tests.http_daemon import HttpDaemon, SampleDirectory, assert_error, assert_ok, run_daemon
from tests.waiting import wait_until

API = "/api/v2/contacts"
MAX_BODY = 64 * 1024
JSON = {"Content-Type": "application/json"}


def exchange(daemon: HttpDaemon, *parts: bytes, pause: float = 0.0) -> httpx.Response:
    """Send bytes over a new connection; return what is received until its end as one response."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        raw = b""
        while chunk := connection.recv(65536):
            raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = [(name, value) for name, value in (line.split(": ", 1) for line in lines[1:])]
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)


@pytest.mark.parametrize(
    "malformed",
    [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n",
     b"GET /a b HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
     b"GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
)  # fmt: skip
def test_malformed_requests_are_rejected(directory: SampleDirectory, malformed: bytes) -> None:
    """The response is 400 in the contract's form, and the connection ends."""
    answer = exchange(directory.daemon, malformed)

    assert_error(answer, 400, 2)
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]


def test_a_malformed_chunk_is_rejected(directory: SampleDirectory) -> None:
    """A chunk size that is no number, sent with the head or after it."""
    request = directory.daemon.request_head("POST", API, "Transfer-Encoding: chunked")

    for parts in ([request + b"nonsense\r\n"], [request, b"nonsense\r\n"]):
        assert_error(exchange(directory.daemon, *parts, pause=0.1), 400, 2)
    assert not [line for line in directory.daemon.log_lines() if line["level"] == "error" and "write" in str(line)]


@pytest.mark.parametrize("length", [8 * 1024 + 1, 100_000, 3_000_000])
def test_a_url_above_8_kib_is_rejected(directory: SampleDirectory, length: int) -> None:
    """414, which the client can read although it is still sending."""
    assert_error(exchange(directory.daemon, b"GET " + b"/" * length + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 414, 2)


def test_a_url_of_8_kib_is_accepted(directory: SampleDirectory) -> None:
    """The limit itself is allowed."""
    path = API + "?name="
    assert assert_ok(directory.agent.get(path + "x" * (8 * 1024 - len(path))))["totalCount"] == 0


@pytest.mark.parametrize("headers", [["X: " + "x" * 40_000], [f"X-{n}: {'x' * 100}" for n in range(1000)]])
def test_headers_above_32_kib_are_rejected(directory: SampleDirectory, headers: list[str]) -> None:
    """431, for one header or for many."""
    assert_error(exchange(directory.daemon, directory.daemon.request_head("GET", API, *headers)), 431, 2)


def test_a_body_above_64_kib_is_rejected(directory: SampleDirectory) -> None:
    """413, at once by Content-Length, otherwise when the limit is exceeded; 64 KiB are accepted."""
    fitting = b'{"name":"x"' + b" " * (MAX_BODY - 12) + b"}"

    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b" " * 1024

    assert len(fitting) == MAX_BODY
    assert_error(directory.admin.post(API, content=fitting, headers=JSON), 400, 1)
    assert_error(directory.admin.post(API, content=fitting + b" ", headers=JSON), 413, 2)
    assert_error(directory.admin.post(API, content=chunks(), headers=JSON), 413, 2)
    assert_error(directory.admin.post(API, content=b" " * 5_000_000, headers=JSON), 413, 2)
    assert_ok(directory.admin.get(API + "?limit=0"))


def test_a_large_body_is_rejected_before_it_is_sent(directory: SampleDirectory) -> None:
    """A client that waits for `100 Continue` receives 413 instead."""
    request = directory.daemon.request_head(
        "POST", API, "Content-Length: 1000000", "Expect: 100-continue", "Connection: close"
    )

    assert_error(exchange(directory.daemon, request), 413, 2)


def test_authentication_comes_before_the_size_of_the_body(directory: SampleDirectory) -> None:
    """Without a token a large body gives 401."""
    with directory.daemon.client(None) as anonymous:
        assert_error(anonymous.post(API, content=b" " * 200_000), 401, 20)


def test_a_connection_without_a_complete_request_is_closed(directory: SampleDirectory) -> None:
    """After ten seconds, whether nothing is sent or a part of a head."""
    started = time.monotonic()
    connections = [socket.create_connection(("127.0.0.1", directory.daemon.port), timeout=60) for _ in range(2)]
    connections[1].sendall(b"GET /health HTTP/1.1\r\nHost:")
    ends = [connection.recv(100) for connection in connections]

    assert ends == [b"", b""]
    assert 5 < time.monotonic() - started < 50
    for connection in connections:
        connection.close()


def test_pipelined_requests_are_answered_in_order(directory: SampleDirectory) -> None:
    """Two requests and a third one that closes the connection, sent together."""
    request = directory.daemon.request_head("GET", API + "?limit=0", role="agent")
    with socket.create_connection(("127.0.0.1", directory.daemon.port), timeout=60) as connection:
        connection.sendall(request * 2 + directory.daemon.request_head("GET", "/nowhere", "Connection: close"))
        raw = b""
        while chunk := connection.recv(65536):
            raw += chunk

    assert [part[:3] for part in raw.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


@pytest.mark.parametrize(("host", "status"), [([], 400), (["Host: a", "Host: b"], 400), (["Host: a"], 200)])
def test_host_is_required_once(directory: SampleDirectory, host: list[str], status: int) -> None:
    """RFC 9112, 3.2: a request without Host, or with two, is rejected."""
    token = f"Authorization: Bearer {directory.daemon.tokens['agent']}"
    lines = [f"GET {API}?limit=0 HTTP/1.1", *host, token, "Connection: close", "", ""]

    assert exchange(directory.daemon, "\r\n".join(lines).encode()).status_code == status


@pytest.mark.parametrize(
    ("sent", "is_returned"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False), (None, False)]
)
def test_request_ids(directory: SampleDirectory, sent: str | None, is_returned: bool) -> None:
    """A short plain X-Request-Id is returned and logged; another one is replaced."""
    headers = {} if sent is None else {"X-Request-Id": sent}
    answer = directory.agent.get(API + "?limit=0", headers=headers)
    request_id = answer.headers["x-request-id"]

    assert request_id
    assert (request_id == sent) is is_returned
    assert directory.daemon.access_log_line(request_id)["status"] == 200


def test_each_request_is_logged_once(directory: SampleDirectory) -> None:
    """With method, path, status, time, size and caller, without query and token."""
    answer = directory.agent.get(API + "?name=Secret Person", headers={"X-Request-Id": "wide-line"})
    directory.agent.get(API + "&name=Secret Person")
    assert_error(directory.agent.get("/nowhere", headers={"X-Request-Id": "wrong-path"}), 404, 6)
    line, wrong = directory.daemon.access_log_line("wide-line"), directory.daemon.access_log_line("wrong-path")

    assert {name: line[name] for name in ("event", "method", "path", "status", "bytes", "caller", "role")} == {
        "event": "http.request",
        "method": "GET",
        "path": API,
        "status": 200,
        "bytes": len(answer.content),
        "caller": "agent of the tests",
        "role": "agent",
    }
    assert 0 < line["seconds"] < 60
    assert (wrong["status"], wrong["path"], "caller" in wrong) == (404, "/nowhere", False)
    text = directory.daemon.log.read_text()
    assert "Secret" not in text
    assert not any(token in text for token in directory.daemon.tokens.values())


def test_health_ready_and_metrics(directory: SampleDirectory) -> None:
    """They need no authentication; requests are counted by method and status."""
    with directory.daemon.client(None) as anonymous:
        health, ready = anonymous.get("/health"), anonymous.get("/ready")
        not_found = 'syncd_http_requests_total{method="GET",status="404"}'
        before = directory.daemon.metric(not_found)
        assert_error(anonymous.get("/nowhere"), 404, 6)

        assert (health.status_code, health.headers["content-type"]) == (200, "application/json")
        assert health.json()["status"] in {"ok", "degraded"}
        assert ready.status_code == 200
        wait_until(lambda: directory.daemon.metric(not_found) == before + 1)
        assert anonymous.get("/metrics").headers["content-type"].startswith("text/plain")


def test_public_url_and_metrics_are_settings(tmp_path: Path, database_url: str) -> None:
    """`public_url` is the base of each uri; `metrics = false` disables /metrics."""
    settings = 'public_url = "https://d.example/dir"\nmetrics = false\n'
    with run_daemon(tmp_path, database_url, settings) as daemon, daemon.client() as admin:
        body = assert_ok(admin.post(API, json={"name": "x", "phoneNumber": "1"}))

        assert body["uri"] == f"https://d.example/dir/api/v2/contacts/{body['id']}"
        assert_error(admin.get("/metrics"), 404, 6)


def test_a_unix_socket(tmp_path: Path, database_url: str) -> None:
    """`listen = "unix:…"` is served, also at the path of a socket that a killed process has left."""
    path = tmp_path / "http.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    daemon = HttpDaemon(tmp_path, database_url, unix_socket=str(path))
    daemon.configure()
    daemon.start()
    try:
        with daemon.client(None) as anonymous:
            assert anonymous.get("/ready").status_code == 200
            assert_error(anonymous.get(API), 401, 20)
    finally:
        assert daemon.stop() == 0


def test_ipv4_clients_of_a_socket_for_both_families(tmp_path: Path, database_url: str) -> None:
    """`listen = "[::]:port"`: the log and trusted proxies have their IPv4 address."""
    daemon = HttpDaemon(tmp_path, database_url)
    daemon.configure('trusted_proxies = ["127.0.0.1"]\n', listen=f"[::]:{daemon.port}")
    daemon.start()
    try:
        daemon.get("/nowhere", headers={"X-Request-Id": "direct"})
        daemon.get("/nowhere", headers={"X-Request-Id": "proxied", "X-Forwarded-For": "[::ffff:192.0.2.1]:4711"})
        clients = [daemon.access_log_line(id_)["client"] for id_ in ("direct", "proxied")]
    finally:
        assert daemon.stop() == 0

    assert clients == ["127.0.0.1", "192.0.2.1"]


def test_an_address_in_use(directory: SampleDirectory) -> None:
    """A second daemon on the same port ends with one sentence that names the setting."""
    command = [*COMMAND, "--config", str(directory.daemon.config), "run"]
    second = subprocess.run(command, capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{directory.daemon.port}" in second.stderr
    assert "http.listen" in second.stderr
    assert "Traceback" not in second.stderr


def test_without_the_database(own_postgres: Postgres, tmp_path: Path) -> None:
    """503 with Retry-After while PostgreSQL is down, alive but not ready; afterwards as before."""
    engine = open_engine(Database(url=own_postgres.url()), None)
    migrate.migrate(engine)
    engine.dispose()
    with run_daemon(tmp_path, own_postgres.url()) as daemon, daemon.client() as admin:
        id_ = assert_ok(admin.post(API, json={"name": "x", "phoneNumber": "1"}))["id"]
        own_postgres.stop()
        for method, path in (("GET", API), ("GET", f"{API}/{id_}"), ("DELETE", f"{API}/{id_}")):
            answer = admin.request(method, path)
            message = assert_error(answer, 503, 4)
            assert int(answer.headers["retry-after"]) > 0
            assert "127.0.0.1" not in message
        assert admin.get("/health").status_code == 200
        own_postgres.start()

        assert_ok(admin.get(f"{API}/{id_}"))


def test_a_missing_privilege_is_reported(daemon: HttpDaemon) -> None:
    """The daemon continues and health names the privilege; with the GRANT it serves as before."""
    with psycopg.connect(daemon.database_url, autocommit=True) as connection, daemon.client() as admin:
        connection.execute("REVOKE SELECT ON contact FROM syncd_api")
        assert "contact" not in assert_error(admin.get(API), 503, 4)
        wait_until(lambda: admin.get("/ready").status_code == 503)
        assert "permission denied for table contact" in str(admin.get("/health").json()["why"])
        connection.execute("GRANT SELECT ON contact TO syncd_api")
        wait_until(lambda: admin.get("/ready").status_code == 200)
        assert_ok(admin.get(API))


def test_an_internal_error_is_logged_and_not_shown(daemon: HttpDaemon) -> None:
    """An unexpected error is 500 in the contract's form; its traceback is only in the log."""
    with psycopg.connect(daemon.database_url, autocommit=True) as connection:
        connection.execute("ALTER FUNCTION similarity RENAME TO dissimilarity")
    with daemon.client() as admin:
        answer = admin.get(f"{API}?q=nobody", headers={"X-Request-Id": "defect"})
    line = daemon.access_log_line("defect")

    assert "similarity" not in assert_error(answer, 500, 4)
    assert (line["level"], line["status"]) == ("error", 500)
    assert "UndefinedFunction" in line["exception"]


def test_requests_in_progress_are_finished(daemon: HttpDaemon) -> None:
    """After SIGTERM connections are is_refused, a request that is being received is answered, and the status is 0."""
    body = json.dumps({"name": "last words", "phoneNumber": "1"}).encode()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as connection:
        connection.sendall(daemon.request_head("POST", API, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert (
            connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        )  # it waits for the body: the request is in progress
        connection.sendall(body[:10])
        daemon.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(daemon))
        connection.sendall(body[10:])
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert daemon.wait() == 0
    assert daemon.query_value("SELECT count(*) FROM contact") == 1


def is_refused(daemon: HttpDaemon) -> bool:
    """Whether the daemon accepts no connections any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", daemon.port)) == errno.ECONNREFUSED


def test_a_socket_from_systemd(tmp_path: Path, database_url: str) -> None:
    """With LISTEN_FDS=1 the inherited socket is served, whatever the setting (sd_listen_fds(3))."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        daemon = HttpDaemon(tmp_path, database_url, listener.getsockname()[1])
        daemon.configure(listen=f"unix:{tmp_path}/never")
        daemon.start(listener=listener.fileno())
        try:
            with daemon.client(None) as anonymous:
                assert_error(anonymous.get(API), 401, 20)
            assert not (tmp_path / "never").exists()
        finally:
            assert daemon.stop() == 0
