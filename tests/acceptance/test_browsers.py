"""Browsers: writes of pages of other sites are rejected (CSRF), allowed origins are answered (CORS), HEAD, caching."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from syncd.demo.servers import Postgres
from tests.http_daemon import (
    INSERT_MANY_CONTACTS,
    MANY_CONTACTS,
    DaemonWithRuns,
    HttpDaemon,
    SampleDirectory,
    assert_error,
    assert_ok,
    create_database,
    run_daemon,
)

API = "/api/v2/contacts"
IMPORT = API + "/import?apply=true"
NEW = json.dumps({"name": "Written by a page", "phoneNumber": "1"}).encode()
JSON = {"Content-Type": "application/json"}
WALL = "https://wall.example.com"
PROXIED = {"X-Forwarded-Host": "proxied.example", "X-Forwarded-Proto": "https"}
PUBLIC = "https://directory.example.com"


@pytest.fixture(scope="module")
def cors(postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDaemon]:
    """A daemon behind a proxy, with an allowed origin."""
    settings = (
        f'allowed_origins = ["{WALL}", "HTTPS://Other.Example.com:443"]\npublic_url = "{PUBLIC}/dir"\n'
        'trusted_proxies = ["127.0.0.0/8"]\n'
    )
    url = create_database(postgres, template_database)
    with run_daemon(tmp_path_factory.mktemp("cors"), url, settings) as daemon:
        yield daemon


def post(client: httpx.Client, headers: dict[str, str], path: str = API, content: bytes = NEW) -> httpx.Response:
    return client.post(path, content=content, headers={**JSON, **headers})


# --- writes of other sites -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": "http://127.0.0.1:{port}/"}, {"Origin": "http://127.0.0.1:{port}, http://127.0.0.1:{port}"},
        {"Origin": "http://user@127.0.0.1:{port}"}, {"Origin": "127.0.0.1:{port}"}, {"Origin": "chrome-extension://abc"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "unheard-of"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"},
        {"X-Forwarded-Proto": "https", "Origin": "https://127.0.0.1:{port}"},
    ],
)  # fmt: skip
def test_writes_of_other_sites_are_rejected(shared_daemon: HttpDaemon, headers: dict[str, str]) -> None:
    """403 with code 5, whatever the method and whoever the caller; nothing is written, and no CORS header is sent."""
    headers = {name: value.format(port=shared_daemon.port) for name, value in headers.items()}
    with shared_daemon.client() as admin, shared_daemon.client(None) as anonymous:
        id_ = assert_ok(post(admin, {}))["id"]
        before = assert_ok(admin.get(API))["totalCount"]
        csv = {**headers, "Content-Type": "text/csv"}
        answers = [
            post(admin, headers),
            admin.put(f"{API}/{id_}", content=b'{"name":"x"}', headers={**JSON, **headers}),
            admin.put(API, content=json.dumps({"id": id_, "name": "x"}).encode(), headers={**JSON, **headers}),
            admin.delete(f"{API}/{id_}", headers=headers),
            admin.delete(f"{API}?id={id_}", headers=headers),
            admin.post(IMPORT, content=b"name,phoneNumber\nA,1\n", headers=csv),
            admin.request("PATCH", API, headers=headers),
            post(anonymous, headers),
        ]
        for answer in answers:
            message = assert_error(answer, 403, 5)
            assert "http.allowed_origins" in message
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert assert_ok(admin.get(API))["totalCount"] == before
        assert assert_ok(admin.get(f"{API}/{id_}", headers=headers))["contact"]["name"] == "Written by a page"


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Origin": "http://127.0.0.1:{port}"}, {"Origin": "HTTP://127.0.0.1:{port}"}, {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:{port}"},
        {"Host": "directory.example.com", "Origin": "http://directory.example.com"},
        {"Host": "Directory.example.com:80", "Origin": "http://directory.example.com"},
        {"Host": "[::1]:8080", "Origin": "http://[::1]:8080"},
    ],
)  # fmt: skip
def test_own_pages_and_other_clients_may_write(shared_daemon: HttpDaemon, headers: dict[str, str]) -> None:
    """The origin of the request itself, and clients that are no browsers."""
    headers = {name: value.format(port=shared_daemon.port) for name, value in headers.items()}
    with shared_daemon.client() as admin:
        assert_ok(post(admin, headers))


@pytest.mark.parametrize(
    ("headers", "is_accepted"),
    [
        ({"Origin": PUBLIC}, True), ({"Origin": "https://DIRECTORY.example.com:443"}, True),
        ({"Origin": "http://directory.example.com"}, False), ({"Origin": "https://directory.example.com:8443"}, False),
        ({"Origin": WALL, "Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": WALL, "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://other.example.com"}, True), ({"Origin": "http://wall.example.com"}, False),
        ({"Origin": "https://evil.wall.example.com"}, False), ({"Origin": WALL + ".evil.example"}, False),
        ({"Origin": "https://proxied.example", **PROXIED}, True),
        ({"Origin": "http://proxied.example", **PROXIED}, False),
    ],
)  # fmt: skip
def test_origins_by_settings(cors: HttpDaemon, headers: dict[str, str], is_accepted: bool) -> None:
    """`public_url`, `allowed_origins`, and what a trusted proxy forwards; scheme and port count."""
    with cors.client() as admin:
        answer = post(admin, headers)
        if is_accepted:
            assert_ok(answer)
        else:
            assert_error(answer, 403, 5)


@pytest.mark.parametrize(
    "media",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "text/plain; application/json", "application/json, text/plain"],
)  # fmt: skip
@pytest.mark.parametrize("path", [API, IMPORT])
def test_what_a_form_can_send_is_no_body(shared_daemon: HttpDaemon, media: str | None, path: str) -> None:
    """A body without Content-Type, or with one that pages may send to other sites, is 415; also on the import."""
    headers = {} if media is None else {"Content-Type": media}
    body = NEW if path == API else b"name,phoneNumber\nWritten by a form,1\n"
    with shared_daemon.client() as admin:
        assert_error(admin.post(path, content=body, headers=headers), 415, 2)
        assert_error(admin.post(path, content=iter([body]), headers=headers), 415, 2)
        assert assert_ok(admin.get(API + "?name=Written by a form"))["totalCount"] == 0


def test_two_content_types_are_rejected(shared_daemon: HttpDaemon) -> None:
    """A proxy may have examined the other one."""
    with shared_daemon.client() as admin:
        for media in (["application/json", "text/plain"], ["application/json", "application/json"]):
            headers = [("Content-Type", one) for one in media]
            assert_error(admin.post(API, content=NEW, headers=headers), 415, 2)


def test_an_empty_body_needs_no_content_type(shared_daemon: HttpDaemon) -> None:
    """It is a missing body: 400 with code 1, as in the contract."""
    with shared_daemon.client() as admin:
        assert_error(admin.post(API), 400, 1)
        assert_error(admin.post(API, content=b"", headers=JSON), 400, 1)


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_methods_are_not_overridden(directory: SampleDirectory, name: str) -> None:
    """A GET stays a GET, whatever a header or a parameter says."""
    url = f"{API}/{directory.ids['Dwight Schrute']}?_method=DELETE"
    assert_ok(directory.admin.get(url, headers={name: "DELETE"}))
    assert_ok(directory.admin.get(url))


# --- challenges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}])
def test_the_challenge_without_password_authentication(directory: SampleDirectory, headers: dict[str, str]) -> None:
    """Only Bearer: no browser shows a dialog for a password that nobody has. See test_signin for both."""
    answer = directory.daemon.get(API, headers=headers)

    assert_error(answer, 401, 20)
    assert answer.headers.get_list("www-authenticate") == ['Bearer realm="syncd", charset="UTF-8"']


# --- cross-origin resource sharing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [API, "/contacts", f"{API}/{'0' * 32}", API + "/changes?since=0", "/health"])
@pytest.mark.parametrize("origin", [WALL, "https://other.example.com"])
def test_responses_to_allowed_origins(cors: HttpDaemon, path: str, origin: str) -> None:
    """The origin itself and never `*`, with credentials, on errors too; caches tell the origins apart."""
    for role in ("agent", None):
        answer = cors.get(path, role, headers={"Origin": origin})

        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"].split(", ")


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", WALL + ".evil.example", "*", WALL + "/", PUBLIC]
)
def test_other_origins_are_not_reflected(cors: HttpDaemon, origin: str | None) -> None:
    """Their pages cannot read the response, which varies by Origin nevertheless."""
    headers = {} if origin is None else {"Origin": origin}
    preflight = {**headers, "Access-Control-Request-Method": "DELETE"}
    with cors.client("agent") as agent:
        for answer in (agent.get(API, headers=headers), agent.options(API, headers=preflight)):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert "Origin" in answer.headers["vary"].split(", ")


def test_a_cached_response_is_shared_between_origins(cors: HttpDaemon) -> None:
    """The second request is answered from the cache, and each answer names its own origin or none."""
    origins = [WALL, "https://other.example.com", None]
    answers = [cors.get(API, "agent", headers={} if one is None else {"Origin": one}) for one in origins]

    assert [answer.headers.get("access-control-allow-origin") for answer in answers] == origins
    assert len({answer.headers["etag"] for answer in answers}) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_preflight_requests(cors: HttpDaemon, method: str) -> None:
    """An allowed origin learns, without a token, what it may send."""
    headers = {
        "Origin": WALL,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }
    with cors.client(None) as anonymous:
        answer = anonymous.options(f"{API}/{'0' * 32}", headers=headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == WALL
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert {"Authorization", "Content-Type", "If-Match"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "Origin" in answer.headers["vary"].split(", ")


def test_without_allowed_origins_there_is_no_cors(directory: SampleDirectory) -> None:
    """The default: no CORS headers, and nothing varies by Origin."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = directory.agent.get(API, headers=headers)

    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    with directory.daemon.client(None) as anonymous:
        assert_error(anonymous.options(API, headers=headers), 401, 20)
    assert_error(directory.agent.options(API, headers=headers), 405, 3)


# --- HEAD ------------------------------------------------------------------------------------------------------------

VARYING = {"date", "x-request-id", "directory-freshness"}
PATHS = [
    "/health", "/ready", "/openapi.json", API, "/contacts", API + "?limit=1", API + "?format=csv", f"{API}/{'0' * 32}",
    API + "/lookup?number=1", API + "/changes?since=0", API + "?nonsense=1", "/nowhere", "/api/v2/sync/status",
    "/api/v2/sync/runs", "/api/v2/sync/runs/1", "/api/v2/sync/held",
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_headers_of_get(daemon_with_runs: DaemonWithRuns, path: str, encoding: str) -> None:
    """Content-Length and ETag included, without the body; the connection stays usable, also after a 304."""
    with daemon_with_runs.daemon.client() as admin:
        get = admin.get(path, headers={"Accept-Encoding": encoding})
        head = admin.head(path, headers={"Accept-Encoding": encoding})
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert fixed_headers(head) == fixed_headers(get)
        assert int(head.headers["content-length"]) > 0
        if "etag" in get.headers:
            assert admin.head(path, headers={"If-None-Match": get.headers["etag"]}).status_code == 304
        assert admin.get("/ready").status_code == 200


def fixed_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in VARYING}


def test_head_on_metrics(directory: SampleDirectory) -> None:
    """Its length differs from one request to the next."""
    with directory.daemon.client(None) as anonymous:
        answer = anonymous.head("/metrics")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/plain")


def test_head_is_logged_without_bytes(directory: SampleDirectory) -> None:
    """With its method, and no body."""
    directory.agent.head(API, headers={"X-Request-Id": "head-of-list"})
    line = directory.daemon.access_log_line("head-of-list")

    assert (line["method"], line["status"], line["bytes"]) == ("HEAD", 200, 0)


def test_head_of_a_stream(tmp_path: Path, database_url: str) -> None:
    """A list that is streamed, and events: headers at once, and the slots of streams are free again."""
    with run_daemon(tmp_path, database_url, "max_streams = 1\n") as daemon, daemon.client("agent") as agent:
        daemon.insert_many(INSERT_MANY_CONTACTS.replace(str(MANY_CONTACTS), "4000"))
        get = agent.get(API)
        for _ in range(8):
            head = agent.head(API)
            assert (head.status_code, head.content) == (200, b"")
            assert fixed_headers(head) == {k: v for k, v in fixed_headers(get).items() if k != "transfer-encoding"}
            events = agent.head(API + "/changes?since=0", headers={"Accept": "text/event-stream"})
            assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream")
        assert daemon.count_streams() == 0
        assert assert_ok(agent.get(API))["totalCount"] == 4000


# --- what a browser or a cache may do with a response ----------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/metrics", "/nowhere", "/api/v2/sync/status", API + "?nonsense=1"]
)
@pytest.mark.parametrize("role", ["admin", None])
def test_responses_are_not_stored(directory: SampleDirectory, path: str, role: str | None) -> None:
    """`no-store` unless a response may be revalidated: a cache must not give it to another caller."""
    answer = directory.daemon.get(path, role)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_contacts_are_revalidated(directory: SampleDirectory) -> None:
    """One Cache-Control."""
    for path in (API, "/openapi.json"):
        assert directory.agent.get(path).headers.get_list("cache-control") == ["private, no-cache"]
    assert assert_ok(directory.agent.get(API + "/changes?since=0"))["more"] is False
