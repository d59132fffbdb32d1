"""SIGTERM in the midst of work: within the deadline, with status 0, and without harm to who is served."""

import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from tests.http_daemon import Daemon
from tests.load import await_answers, load
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
ROWS = """
    INSERT INTO contact (type, name, name_folded, search, source, source_key)
    SELECT 'User', repeat('x', 200) || n, repeat('x', 200) || n, n::text, 'tests', n::text
    FROM generate_series(1, 60000) n
"""
RESTARTS = 3


@contextmanager
def asked(daemon: Daemon) -> Iterator[Counter[str]]:
    """While this lasts, four clients ask, with and without pauses, two of them always over the same connection."""
    options: Any = {"headers": {"Authorization": f"Bearer {daemon.tokens['agent']}"}, "timeout": 120}
    url = f"{daemon.url}{API}?limit=3"

    def now_and_then(get: Callable[[str], httpx.Response]) -> httpx.Response:
        time.sleep(0.1 * random.random())
        return get(url)

    with (
        httpx.Client(**options, limits=httpx.Limits(max_keepalive_connections=1)) as one,
        httpx.Client(**options, limits=httpx.Limits(max_keepalive_connections=1)) as other,
    ):
        new = partial(httpx.get, **options)
        each = [lambda: one.get(url), lambda: now_and_then(other.get), lambda: new(url), lambda: now_and_then(new)]
        with load(*each) as outcomes:
            yield outcomes


def test_a_restart_with_a_socket_of_systemd_loses_no_request(tmp_path: Path, database_url: str) -> None:
    """Several times under load: who comes while nobody listens waits, and nobody is refused or cut off."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as passed:
        daemon = Daemon(tmp_path, database_url, passed.getsockname()[1])
        engine = open_engine(Database(url=database_url), Role.API)
        daemon.tokens["agent"] = tokens.create(engine, "agent", "agent")
        engine.dispose()
        daemon.start(passed=passed.fileno())
        try:
            with asked(daemon) as outcomes:
                for _ in range(RESTARTS):
                    await_answers(outcomes, 40)
                    assert daemon.stop() == 0
                    daemon.start(passed=passed.fileno())
        finally:
            assert daemon.stop() == 0
    assert set(outcomes) == {"200"}, outcomes


def test_a_download_that_takes_longer_is_cut_off_visibly(daemon: Daemon) -> None:
    """A reader who stands still does not hold up the end beyond `stop_within`, and can tell that it is not all."""
    assert daemon.process is not None
    daemon.fill(ROWS)
    daemon.stop()
    daemon.start('stop_within = "2s"\n')
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as wire:
        wire.sendall(
            f"GET {API} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.tokens['agent']}\r\n\r\n".encode()
        )
        received = wire.recv(4096)
        assert received.startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()

        assert daemon.stop() == 0

        assert time.monotonic() - began < 30  # it stands still for ever
        try:
            while part := wire.recv(1 << 16):
                received += part
        except ConnectionResetError:
            pass
    assert not received.endswith(b"0\r\n\r\n")
    assert daemon.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncd'") == 0


def test_a_download_that_fits_is_finished(daemon: Daemon) -> None:
    """What is being read when the signal comes arrives whole."""
    assert daemon.process is not None
    daemon.fill(ROWS)
    with daemon.client("agent") as client, client.stream("GET", API) as answer:
        parts = answer.iter_bytes()
        whole = next(parts)
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: any(line["event"] == "daemon.stopping" for line in daemon.lines()))
        whole += b"".join(parts)
    assert whole.count(b'"uri"') == 60_000
    assert daemon.process.wait(90) == 0


def test_an_open_stream_of_changes_ends(daemon: Daemon) -> None:
    """At once and whole, long before the deadline, so that its client connects to the next daemon."""
    headers = {"Accept": "text/event-stream"}
    with daemon.client("agent") as client, client.stream("GET", f"{API}/changes?since=0", headers=headers) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        for _ in lines:  # an end that is no end would raise here
            pass
    assert daemon.process.wait(90) == 0
    (stopped,) = [line for line in daemon.lines() if line["event"] == "daemon.stopped"]
    assert stopped["seconds"] < 15  # of 20
