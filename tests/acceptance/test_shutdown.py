"""SIGTERM under load: an end within the deadline, with status 0, and without lost requests."""

import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.http_daemon import HttpDaemon
from tests.load import keep_requesting, wait_for_answers
from tests.waiting import wait_until

API = "/api/v2/contacts"
INSERT_LARGE_CONTACTS = """
    INSERT INTO contact (type, name, name_folded, search, source, source_key)
    SELECT 'User', repeat('x', 200) || n, repeat('x', 200) || n, n::text, 'tests', n::text
    FROM generate_series(1, 60000) n
"""
RESTARTS = 3


@contextmanager
def four_clients(daemon: HttpDaemon) -> Iterator[Counter[str]]:
    """Send requests all the time, with and without pauses, over two persistent connections and over new ones."""
    options: Any = {"headers": {"Authorization": f"Bearer {daemon.tokens['agent']}"}, "timeout": 120}
    url = f"{daemon.url}{API}?limit=3"
    dice = random.Random(1)

    def pause() -> None:
        time.sleep(0.1 * dice.random())

    with (
        httpx.Client(**options, limits=httpx.Limits(max_keepalive_connections=1)) as one,
        httpx.Client(**options, limits=httpx.Limits(max_keepalive_connections=1)) as other,
    ):

        def other_after_pause() -> httpx.Response:
            pause()
            return other.get(url)

        def new_after_pause() -> httpx.Response:
            pause()
            return httpx.get(url, **options)

        clients = [lambda: one.get(url), other_after_pause, lambda: httpx.get(url, **options), new_after_pause]
        with keep_requesting(*clients) as outcomes:
            yield outcomes


def test_a_restart_with_a_socket_of_systemd_loses_no_request(tmp_path: Path, database_url: str) -> None:
    """Several restarts under load: connections made meanwhile wait in the backlog, and none is refused or cut off."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        daemon = HttpDaemon(tmp_path, database_url, listener.getsockname()[1])
        daemon.create_tokens()
        daemon.configure()
        daemon.start(listener=listener.fileno())
        try:
            with four_clients(daemon) as outcomes:
                for _ in range(RESTARTS):
                    wait_for_answers(outcomes, 40)
                    assert daemon.stop() == 0
                    daemon.start(listener=listener.fileno())
        finally:
            assert daemon.stop() == 0
    assert set(outcomes) == {"200"}, outcomes


def test_a_response_that_takes_too_long_is_cut_off_visibly(daemon: HttpDaemon) -> None:
    """A client that reads nothing delays the end by `shutdown_timeout` at most, and can tell an incomplete response."""
    daemon.insert_many(INSERT_LARGE_CONTACTS)
    daemon.stop()
    daemon.configure('shutdown_timeout = "2s"\n')
    daemon.start()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as connection:
        connection.sendall(
            f"GET {API} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.tokens['agent']}\r\n\r\n".encode()
        )
        received = connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()

        assert daemon.stop() == 0

        assert time.monotonic() - began < 30  # the client never reads
        try:
            while part := connection.recv(1 << 16):
                received += part
        except ConnectionResetError:
            pass
    assert not received.endswith(b"0\r\n\r\n")
    assert daemon.query_value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncd'") == 0


def test_a_response_in_progress_is_finished(daemon: HttpDaemon) -> None:
    """A response that is being read at the signal is complete."""
    daemon.insert_many(INSERT_LARGE_CONTACTS)
    with daemon.client("agent") as client, client.stream("GET", API) as answer:
        parts = answer.iter_bytes()
        whole = next(parts)
        daemon.send_signal(signal.SIGTERM)
        wait_until(lambda: bool(daemon.log_lines("daemon.stopping")))
        whole += b"".join(parts)
    assert whole.count(b'"uri"') == 60_000
    assert daemon.wait() == 0


def test_an_event_stream_ends_at_once(daemon: HttpDaemon) -> None:
    """Long before the deadline and by a regular end, so that its client connects to the next daemon."""
    headers = {"Accept": "text/event-stream"}
    with daemon.client("agent") as client, client.stream("GET", f"{API}/changes?since=0", headers=headers) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        daemon.send_signal(signal.SIGTERM)
        for _ in lines:  # an irregular end raises
            pass
    assert daemon.wait() == 0
    (stopped,) = daemon.log_lines("daemon.stopped")
    assert stopped["seconds"] < 15  # of 20
