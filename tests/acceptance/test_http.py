"""What holds for every request to the running daemon: limits, broken HTTP, request ids, log, health, the end."""

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
from tests.http_daemon import COMMAND, Daemon, Office, done, failed, run
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
LIMIT = 64 * 1024


def spoken(daemon: Daemon, *parts: bytes, pause: float = 0.0) -> httpx.Response:
    """Send bytes as they are and take what comes back, to the end of the connection, as one answer."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as wire:
        for part in parts:
            wire.sendall(part)
            time.sleep(pause)
        raw = b""
        while chunk := wire.recv(65536):
            raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)


def head(daemon: Daemon, method: str = "GET", path: str = API, *more: str, role: str = "admin") -> bytes:
    """The head of a request with a token."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {daemon.tokens[role]}", *more]
    return "".join(line + "\r\n" for line in [*lines, ""]).encode()


@pytest.mark.parametrize(
    "garbage",
    [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n",
     b"GET /a b HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
     b"GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http(office: Office, garbage: bytes) -> None:
    """Bytes that are no HTTP/1.1 request get the contract's error, and the connection ends."""
    answer = spoken(office.daemon, garbage)

    failed(answer, 400, 2)
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]


def test_a_body_that_is_not_well_framed(office: Office) -> None:
    """A chunk whose size is no number is refused, whether it comes with the head or after it."""
    request = head(office.daemon, "POST", API, "Transfer-Encoding: chunked")

    for parts in ([request + b"nonsense\r\n"], [request, b"nonsense\r\n"]):
        failed(spoken(office.daemon, *parts, pause=0.1), 400, 2)
    assert not [line for line in office.daemon.lines() if line["level"] == "error" and "write" in str(line)]


@pytest.mark.parametrize("length", [8 * 1024 + 1, 100_000, 3_000_000])
def test_a_url_that_is_too_long(office: Office, length: int) -> None:
    """414 over 8 KiB, and the client can read it although it was still sending."""
    failed(spoken(office.daemon, b"GET " + b"/" * length + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 414, 2)


def test_a_url_of_8_kib_is_fine(office: Office) -> None:
    """The limit itself is allowed."""
    path = API + "?name="
    assert done(office.agent.get(path + "x" * (8 * 1024 - len(path))))["totalCount"] == 0


@pytest.mark.parametrize("headers", [["X: " + "x" * 40_000], [f"X-{n}: {'x' * 100}" for n in range(1000)]])
def test_headers_that_are_too_large(office: Office, headers: list[str]) -> None:
    """431 over 32 KiB, in one header or in many."""
    failed(spoken(office.daemon, head(office.daemon, "GET", API, *headers)), 431, 2)


def test_a_body_that_is_too_large(office: Office) -> None:
    """413 over 64 KiB, at once when the length is given, and as soon as it is exceeded when not; 64 KiB are fine."""
    fitting = b'{"name":"x"' + b" " * (LIMIT - 12) + b"}"

    def chunks() -> Iterator[bytes]:
        for _ in range(LIMIT // 1024 + 1):
            yield b" " * 1024

    assert len(fitting) == LIMIT
    failed(office.admin.post(API, content=fitting), 400, 1)
    failed(office.admin.post(API, content=fitting + b" "), 413, 2)
    failed(office.admin.post(API, content=chunks()), 413, 2)
    failed(office.admin.post(API, content=b" " * 5_000_000), 413, 2)
    done(office.admin.get(API + "?limit=0"))


def test_a_large_body_is_refused_before_it_is_sent(office: Office) -> None:
    """A client that waits for `100 Continue` gets the refusal instead."""
    request = head(office.daemon, "POST", API, "Content-Length: 1000000", "Expect: 100-continue", "Connection: close")

    failed(spoken(office.daemon, request), 413, 2)


def test_who_comes_before_how_large(office: Office) -> None:
    """Without a token even a large body gets 401."""
    with office.daemon.client(None) as nobody:
        failed(nobody.post(API, content=b" " * 200_000), 401, 20)


def test_a_head_that_never_ends(office: Office) -> None:
    """A connection that sends nothing, or no whole request, is closed after ten seconds."""
    started = time.monotonic()
    wires = [socket.create_connection(("127.0.0.1", office.daemon.port), timeout=60) for _ in range(2)]
    wires[1].sendall(b"GET /health HTTP/1.1\r\nHost:")
    ends = [wire.recv(100) for wire in wires]

    assert ends == [b"", b""]
    assert 5 < time.monotonic() - started < 50
    for wire in wires:
        wire.close()


def test_requests_on_one_connection(office: Office) -> None:
    """Requests sent together are answered one after the other, in order."""
    request = head(office.daemon, "GET", API + "?limit=0", role="agent")
    with socket.create_connection(("127.0.0.1", office.daemon.port), timeout=60) as wire:
        wire.sendall(request * 2 + head(office.daemon, "GET", "/nowhere", "Connection: close"))
        raw = b""
        while chunk := wire.recv(65536):
            raw += chunk

    assert [part[:3] for part in raw.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


@pytest.mark.parametrize(("host", "status"), [([], 400), (["Host: a", "Host: b"], 400), (["Host: a"], 200)])
def test_host_is_there_once(office: Office, host: list[str], status: int) -> None:
    """RFC 9112: a request without Host, or with two, is refused."""
    token = f"Authorization: Bearer {office.daemon.tokens['agent']}"
    lines = [f"GET {API}?limit=0 HTTP/1.1", *host, token, "Connection: close", "", ""]

    assert spoken(office.daemon, "\r\n".join(lines).encode()).status_code == status


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False), (None, False)]
)
def test_request_ids(office: Office, sent: str | None, kept: bool) -> None:
    """A short plain X-Request-Id comes back and stands in the log; anything else is replaced."""
    headers = {} if sent is None else {"X-Request-Id": sent}
    answer = office.agent.get(API + "?limit=0", headers=headers)
    found = answer.headers["x-request-id"]

    assert found
    assert (found == sent) is kept
    assert office.daemon.line(found)["status"] == 200


def test_one_line_for_each_request(office: Office) -> None:
    """Method, path, status, time, size and caller are in the log; the query and the token are not."""
    answer = office.agent.get(API + "?name=Secret Person", headers={"X-Request-Id": "wide-line"})
    office.agent.get(API + "&name=Secret Person")
    failed(office.agent.get("/nowhere", headers={"X-Request-Id": "wrong-path"}), 404, 6)
    line, wrong = office.daemon.line("wide-line"), office.daemon.line("wrong-path")

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
    text = office.daemon.log.read_text()
    assert "Secret" not in text
    assert not any(token in text for token in office.daemon.tokens.values())


def test_health_ready_and_metrics(office: Office) -> None:
    """Anybody may ask how the daemon is; the counters count by method and status."""
    with office.daemon.client(None) as nobody:
        health, ready = nobody.get("/health"), nobody.get("/ready")
        before = _counted(nobody, '{method="GET",status="404"}')
        failed(nobody.get("/nowhere"), 404, 6)

        assert (health.status_code, health.headers["content-type"]) == (200, "application/json")
        assert health.json()["status"] in {"ok", "degraded"}
        assert ready.status_code == 200
        wait_until(lambda: _counted(nobody, '{method="GET",status="404"}') == before + 1)
        assert nobody.get("/metrics").headers["content-type"].startswith("text/plain")


def _counted(client: httpx.Client, labels: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("syncd_http_requests_total" + labels))


def test_settings_of_the_endpoint(tmp_path: Path, database_url: str) -> None:
    """`public_url` makes every uri; with `metrics = false` there are none."""
    for daemon in run(tmp_path, database_url, 'public_url = "https://d.example/dir"\nmetrics = false\n'):
        with daemon.client() as admin:
            body = done(admin.post(API, json={"name": "x", "phoneNumber": "1"}))

            assert body["uri"] == f"https://d.example/dir/api/v2/contacts/{body['id']}"
            failed(admin.get("/metrics"), 404, 6)


def test_a_unix_socket(tmp_path: Path, database_url: str) -> None:
    """`listen = "unix:…"` serves there, and takes over a socket that a killed process has left behind."""
    path = tmp_path / "http.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    daemon = Daemon(tmp_path, database_url, 0)
    try:
        daemon.start(listen=f"unix:{path}")
        with daemon.client(None) as nobody:
            assert nobody.get("/ready").status_code == 200
            failed(nobody.get(API), 401, 20)
    finally:
        assert daemon.stop() == 0


def test_an_address_in_use(office: Office) -> None:
    """A second daemon on the same port ends with one sentence that names the setting."""
    settings = office.daemon.folder / "syncd.toml"
    second = subprocess.run([*COMMAND, "--config", settings, "run"], capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{office.daemon.port}" in second.stderr
    assert "http.listen" in second.stderr
    assert "Traceback" not in second.stderr


def test_without_the_database(own_postgres: Postgres, tmp_path: Path) -> None:
    """503 with Retry-After while PostgreSQL is down, not ready but alive, and as before when it is back."""
    engine = open_engine(Database(url=own_postgres.url()), None)
    migrate.migrate(engine)
    engine.dispose()
    for daemon in run(tmp_path, own_postgres.url()):
        with daemon.client() as admin:
            id_ = done(admin.post(API, json={"name": "x", "phoneNumber": "1"}))["id"]
            own_postgres.stop()
            for method, path in (("GET", API), ("GET", f"{API}/{id_}"), ("DELETE", f"{API}/{id_}")):
                answer = admin.request(method, path)
                message = failed(answer, 503, 4)
                assert int(answer.headers["retry-after"]) > 0
                assert "127.0.0.1" not in message
            assert admin.get("/health").status_code == 200
            own_postgres.start()

            done(admin.get(f"{API}/{id_}"))


def test_a_privilege_that_is_taken_away(daemon: Daemon) -> None:
    """The daemon lives on and says which one is missing; with the grant it is as before."""
    with psycopg.connect(daemon.database_url, autocommit=True) as connection, daemon.client() as admin:
        connection.execute("REVOKE SELECT ON contact FROM syncd_api")
        assert "contact" not in failed(admin.get(API), 503, 4)
        wait_until(lambda: admin.get("/ready").status_code == 503)
        assert "permission denied for table contact" in str(admin.get("/health").json()["why"])
        connection.execute("GRANT SELECT ON contact TO syncd_api")
        wait_until(lambda: admin.get("/ready").status_code == 200)
        done(admin.get(API))


def test_a_defect_is_logged_and_not_shown(daemon: Daemon) -> None:
    """An error that nobody foresaw is a 500 of the contract's form; its traceback is in the log only."""
    with psycopg.connect(daemon.database_url, autocommit=True) as connection:
        connection.execute("ALTER FUNCTION similarity RENAME TO dissimilarity")
    with daemon.client() as admin:
        answer = admin.get(f"{API}?q=nobody", headers={"X-Request-Id": "defect"})
    line = daemon.line("defect")

    assert "similarity" not in failed(answer, 500, 4)
    assert (line["level"], line["status"]) == ("error", 500)
    assert "UndefinedFunction" in line["exception"]


def test_requests_under_way_are_finished(daemon: Daemon) -> None:
    """After SIGTERM nothing new is accepted, what is being read or written is answered, and the exit status is 0."""
    assert daemon.process is not None
    body = json.dumps({"name": "last words", "phoneNumber": "1"}).encode()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as wire:
        wire.sendall(head(daemon, "POST", API, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert wire.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it waits for the body: the request is under way
        wire.sendall(body[:10])
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(daemon))
        wire.sendall(body[10:])
        answer = wire.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert daemon.process.wait(90) == 0
    assert daemon.sql("SELECT count(*) FROM contact") == 1


def refused(daemon: Daemon) -> bool:
    """Whether it accepts no connection any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", daemon.port)) == errno.ECONNREFUSED


def test_a_socket_from_systemd(tmp_path: Path, database_url: str) -> None:
    """With LISTEN_FDS=1 the passed socket is served, whatever the setting says (sd_listen_fds(3))."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        daemon = Daemon(tmp_path, database_url, passed.getsockname()[1])
        try:
            daemon.start(listen=f"unix:{tmp_path}/never", passed=passed.fileno())
            with daemon.client(None) as nobody:
                failed(nobody.get(API), 401, 20)
            assert not (tmp_path / "never").exists()
        finally:
            assert daemon.stop() == 0
