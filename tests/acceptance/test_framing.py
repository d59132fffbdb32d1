"""The framing of requests: a proxy and the daemon must agree where each one ends."""

import pytest

from tests.http_daemon import HttpDaemon, SampleDirectory, assert_ok, receive_all

API = "/api/v2/contacts"
BODY = b'{"name":"framed","phoneNumber":"1"}'
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


def statuses(daemon: HttpDaemon, data: bytes) -> list[int]:
    """Send bytes over a new connection; return the statuses of the responses until its end."""
    with daemon.connect() as connection:
        connection.sendall(data)
        answers = receive_all(connection)
    return [int(answer.split(b" ", 1)[0]) for answer in answers.split(b"HTTP/1.1 ")[1:]]


def post_head(daemon: HttpDaemon, *headers: str) -> bytes:
    return daemon.request_head("POST", API, *headers)


@pytest.mark.parametrize(
    "coding",
    ["gzip", "gzip, chunked", "identity", "identity, chunked", "xchunked", '"chunked"', "chunked;q=1", ",chunked"],
)
def test_other_transfer_codings_are_not_implemented(shared_daemon: HttpDaemon, coding: str) -> None:
    """501, and the connection ends: the length of the body is unknown (RFC 9112, 6.1)."""
    for headers in ((f"Transfer-Encoding: {coding}",), (f"transfer-encoding:{coding}", "X: y")):
        assert statuses(shared_daemon, post_head(shared_daemon, *headers) + CHUNKS + SMUGGLED) == [501]
    two_lines = post_head(shared_daemon, "Transfer-Encoding: gzip", CHUNKED)
    assert statuses(shared_daemon, two_lines + CHUNKS + SMUGGLED) == [501]


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked", "chunked ", "\tCHUNKED"])
def test_chunked_is_accepted(shared_daemon: HttpDaemon, coding: str) -> None:
    """In any case, with blanks around it; the next request is separate."""
    head = post_head(shared_daemon, f"Transfer-Encoding:{coding}")
    assert statuses(shared_daemon, head + CHUNKS + SMUGGLED) == [200, 404]


@pytest.mark.parametrize(
    "headers",
    [
        (CHUNKED, LENGTH), (LENGTH, CHUNKED), (LENGTH, LENGTH), (LENGTH, "Content-Length: 1"),
        (f"Content-Length: {len(BODY)}, {len(BODY)}",), (f"Content-Length: +{len(BODY)}",), ("Content-Length: 0x10",),
        ("Content-Length: 1_0",), ("Content-Length:",), ("Content-Length: 10 10",), (CHUNKED, CHUNKED),
        ("Transfer-Encoding: chunked, gzip",), ("Transfer-Encoding:",), ("Transfer-Encoding:\r\n chunked",),
        ("Transfer-Encoding : chunked",), ("Transfer-Encoding: \x0bchunked",), (LENGTH, "X-A: a\r\n b"),
        (LENGTH, "X-A: a\rX-B: b"), (LENGTH, "X-A: a\nX-B: b"), (LENGTH, "X-A: a\0"), (" X-A: a", LENGTH),
    ],
)  # fmt: skip
def test_ambiguous_heads_are_rejected(shared_daemon: HttpDaemon, headers: tuple[str, ...]) -> None:
    """400 and the end of the connection: nothing behind the head is taken for a request."""
    for body in (BODY, CHUNKS):
        assert statuses(shared_daemon, post_head(shared_daemon, *headers) + body + SMUGGLED) == [400]


@pytest.mark.parametrize(
    "size",
    [
        b"%x;a\n\r\n",
        b"%x;a\rb\r\n",
        b"%x \r\n",
        b"+%x\r\n",
        b"0x%x\r\n",
        b"%x\n",
        b"-%x\r\n",
        b"ffffffffffffffff%x\r\n",
    ],
)
def test_malformed_chunk_sizes_are_rejected(shared_daemon: HttpDaemon, size: bytes) -> None:
    """No bare line feed, sign, prefix or overflow."""
    body = size % len(BODY) + BODY + b"\r\n0\r\n\r\n"
    assert statuses(shared_daemon, post_head(shared_daemon, CHUNKED) + body + SMUGGLED) == [400]


@pytest.mark.parametrize("size", [b"%x;name=value\r\n", b'%x;name="a;b"\r\n', b"000%x\r\n"])
def test_chunk_extensions_are_ignored(shared_daemon: HttpDaemon, size: bytes) -> None:
    """RFC 9112, 7.1.1."""
    body = size % len(BODY) + BODY + b"\r\n0\r\n\r\n"
    assert statuses(shared_daemon, post_head(shared_daemon, CHUNKED) + body + SMUGGLED) == [200, 404]


def test_trailers_are_no_headers(shared_daemon: HttpDaemon) -> None:
    """A field behind the body neither authenticates nor names the request (RFC 9110, 6.5.1)."""
    token = shared_daemon.tokens["admin"]
    head = f"POST {API} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{CHUNKED}\r\n".encode()
    trailer = f"Authorization: Bearer {token}\r\nX-Request-Id: from-a-trailer\r\n\r\n".encode()

    assert statuses(shared_daemon, head + b"\r\n" + CHUNKS[:-2] + trailer + SMUGGLED) == [401, 404]
    fine = post_head(shared_daemon, CHUNKED, "X-Request-Id: with-trailers")
    trailer = b"X-Request-Id: from-a-trailer\r\n\r\n"
    assert statuses(shared_daemon, fine + CHUNKS[:-2] + trailer + SMUGGLED) == [200, 404]
    assert shared_daemon.access_log_line("with-trailers")["status"] == 200
    assert not [line for line in shared_daemon.log_lines() if line.get("request_id") == "from-a-trailer"]


def test_large_trailers_are_rejected(shared_daemon: HttpDaemon) -> None:
    """They count as headers: 431."""
    trailer = b"X: " + b"x" * 40_000 + b"\r\n\r\n"
    assert statuses(shared_daemon, post_head(shared_daemon, CHUNKED) + CHUNKS[:-2] + trailer)[-1:] in ([431], [])


@pytest.mark.parametrize("headers", [UPGRADE, ("Connection: upgrade", "Upgrade: websocket")])
def test_an_upgrade_is_ignored(shared_daemon: HttpDaemon, headers: tuple[str, ...]) -> None:
    """RFC 9110, 7.8: the body belongs to the request, however it arrives, and the next request is the next.

    Java's client sends `Upgrade: h2c` with its first request.
    """
    with_length, chunked = post_head(shared_daemon, LENGTH, *headers), post_head(shared_daemon, CHUNKED, *headers)
    get = shared_daemon.request_head("GET", API + "?limit=0", *headers)

    assert statuses(shared_daemon, with_length + BODY + SMUGGLED) == [200, 404]
    assert statuses(shared_daemon, chunked + CHUNKS + SMUGGLED) == [200, 404]
    assert statuses(shared_daemon, get + SMUGGLED) == [200, 404]
    assert statuses(shared_daemon, get * 3 + SMUGGLED) == [200, 200, 200, 404]


def test_the_body_of_an_upgrade_is_no_request(shared_daemon: HttpDaemon) -> None:
    """A body that looks like a request, in a packet of its own, is a body."""
    head = post_head(shared_daemon, f"Content-Length: {len(SMUGGLED)}", *UPGRADE)
    with shared_daemon.connect() as connection:
        connection.sendall(head)
        connection.sendall(SMUGGLED[:10])
        connection.sendall(SMUGGLED[10:] + shared_daemon.request_head("GET", "/ready", "Connection: close"))
        answers = receive_all(connection)

    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"400", b"200"]


@pytest.mark.parametrize("line", [b"GET /health\r\n\r\n", b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n"])
def test_other_versions_are_rejected(shared_daemon: HttpDaemon, line: bytes) -> None:
    """505: only HTTP/1.0 and 1.1 are spoken."""
    assert statuses(shared_daemon, line) == [505]


def test_a_host_longer_than_a_name_is_rejected(directory: SampleDirectory) -> None:
    """Each Host makes responses of its own in the caches; a name has at most 253 characters (RFC 1035, 2.3.4)."""
    assert_ok(directory.agent.get(API, headers={"Host": "a" * 253}))
    assert directory.agent.get(API, headers={"Host": "a" * 254}).status_code == 400


def test_the_body_of_a_get_is_skipped(shared_daemon: HttpDaemon) -> None:
    """It has no meaning, and is no request."""
    get = shared_daemon.request_head("GET", API + "?limit=0", f"Content-Length: {len(SMUGGLED)}")
    assert statuses(shared_daemon, get + SMUGGLED + SMUGGLED) == [200, 404]
