"""`python -m tests.benchmarks.limits`: what misbehaving and slow clients cost the daemon in memory and time.

Each figure is the highest growth of the daemon's resident memory (VmRSS) in one situation, or a ratio of times, next to
the bound that tests once asserted. Other processes of the machine influence both.
"""

import resource
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from syncd.demo.servers import Postgres
from tests.benchmarks.memory import memory_growth
from tests.http_daemon import HttpDaemon, assert_ok, create_database, create_template, run_daemon
from tests.mirror import FEED, LIST

HALF_REQUESTS = 3000
FLOODS = 20
SILENT_CLIENTS = 40
STREAMS = 1000
FLOOD = b"GET /nowhere HTTP/1.1\r\n\r\n" * 10_000


class Figure(NamedTuple):
    """One row of the table."""

    name: str
    value: float
    bound: float
    unit: str


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8000)), hard))
        postgres = Postgres(folder / "postgres")
        postgres.create()
        postgres.start()
        stack.callback(postgres.stop)
        url = create_database(postgres, create_template(postgres, "template"))
        (folder / "daemon").mkdir()
        print_figures(measure_caches(folder, url))
        daemon = stack.enter_context(run_daemon(folder / "daemon", url, f"max_streams = {STREAMS}\n"))
        daemon.insert_many()
        print_figures(measure(daemon))


def measure_caches(folder: Path, url: str) -> Iterator[Figure]:
    """Measure what distinct requests with long URLs and headers leave in the caches of a daemon, each of a new one."""
    for name, cache_mib, measured, bound in (
        ("6,000 requests with 27 KB of URL and Accept, cache_mib = 8", 8, request_long_keys, 40),
        ("1,050 filters of 8 KB, cache_mib = 0", 0, request_long_filters, 40),
    ):
        (folder / f"cache-{cache_mib}").mkdir()
        with run_daemon(
            folder / f"cache-{cache_mib}", url, f"cache_mib = {cache_mib}\n", f"cache {cache_mib}"
        ) as daemon:
            assert_ok(daemon.get(f"{LIST}?limit=1", "agent"))
            work = lambda daemon=daemon, measured=measured: measured(daemon)  # noqa: E731
            yield Figure(name, memory_growth(daemon, work), bound, "MB")


def request_long_keys(daemon: HttpDaemon) -> None:
    with daemon.client("agent") as agent:
        for number in range(6000):
            accept = "application/json, " + f"x/{number:06}, " + "x" * 19_000
            assert_ok(agent.get(f"{LIST}?_={number:06}{'x' * 7_900}&limit=0", headers={"Accept": accept}))


def request_long_filters(daemon: HttpDaemon) -> None:
    with daemon.client("agent") as agent:
        for number in range(1050):
            names = "&".join(f"{name}={number:06}{'x' * 1_500}" for name in ("name", "userName", "lastName", "channel"))
            values = ",".join(f"{number % 10}{value:02}" for value in range(300))
            assert_ok(agent.get(f"{LIST}?limit=10&{names}&employeeId={values}"))


def measure(daemon: HttpDaemon) -> Iterator[Figure]:
    """Measure each situation, the ones with few connections first."""
    yield measure_offsets(daemon)
    for kind in ("json", "csv", "vcard"):
        read = lambda kind=kind: read_slowly(daemon, f"{LIST}?format={kind}")  # noqa: E731
        yield Figure(f"60,000 contacts as {kind}, read slowly", memory_growth(daemon, read), 30, "MB")
    since = change_every_contact(daemon)
    poll = lambda: read_slowly(daemon, f"{FEED}?since={since}")  # noqa: E731
    yield Figure("60,000 changes by a poll, read slowly", memory_growth(daemon, poll), 30, "MB")
    events = {"Accept": "text/event-stream"}
    stream = lambda: read_slowly(daemon, f"{FEED}?since={since}", events, f"id: {since + 1}".encode())  # noqa: E731
    yield Figure("60,000 changes as events, read slowly", memory_growth(daemon, stream), 30, "MB")
    yield Figure(
        f"{SILENT_CLIENTS} clients that read nothing", memory_growth(daemon, lambda: read_nothing(daemon)), 60, "MB"
    )
    yield Figure(f"{FLOODS} clients that flood", memory_growth(daemon, lambda: flood(daemon)), 60, "MB")
    streams = memory_growth(daemon, lambda: hold_streams(daemon, since + 1))
    yield Figure("an idle event stream", streams * 1024 / STREAMS, 100, "KiB")
    yield Figure(f"{HALF_REQUESTS} half requests", memory_growth(daemon, lambda: hold_half_requests(daemon)), 100, "MB")


def measure_offsets(daemon: HttpDaemon) -> Figure:
    """Measure the time of a page past the end, relative to one before it: it is not sorted."""

    def seconds(client: httpx.Client, offset: int) -> float:
        began = time.perf_counter()
        assert_ok(client.get(f"{LIST}?sortBy=userName&offset={offset}&limit=10"))
        return time.perf_counter() - began

    with daemon.client("agent") as agent:
        inside = min(seconds(agent, 59_000 + n) for n in range(5))
        past_the_end = min(seconds(agent, 70_000 + n) for n in range(5))
    return Figure("page past the end / page before it", past_the_end / inside, 0.5, "times")


def change_every_contact(daemon: HttpDaemon) -> int:
    """Write a change of every contact under one new revision; return the revision before it."""
    with psycopg.connect(daemon.database_url, autocommit=True) as connection:
        row = connection.execute("UPDATE directory SET revision = revision + 1 RETURNING revision").fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO change (revision, caller, contact_id, type, kind) "
            "SELECT %s, 'bench', id, type, 'change' FROM contact",
            row,
        )
        connection.execute("ANALYZE change")
    return int(row[0]) - 1


def read_slowly(daemon: HttpDaemon, path: str, headers: dict[str, str] | None = None, end: bytes = b"") -> None:
    """Read a response with pauses, to its end or to these bytes."""
    with daemon.client("agent") as agent, agent.stream("GET", path, headers=headers) as answer:
        tail = b""
        for part in answer.iter_bytes():
            time.sleep(0.003)
            tail = tail[-100:] + part
            if end and end in tail:
                return


def read_nothing(daemon: HttpDaemon) -> None:
    """Request 600 KiB over many connections, and read none of it for some seconds."""
    with ExitStack() as stack:
        for _ in range(SILENT_CLIENTS):
            connection = stack.enter_context(daemon.connect(4096))
            connection.sendall(daemon.request_head("GET", LIST + "?limit=2000", role="agent"))
        time.sleep(10)


def flood(daemon: HttpDaemon) -> None:
    """Send requests for ten seconds over many connections, as long as they are accepted, and read nothing."""
    with ExitStack() as stack:
        connections = [stack.enter_context(daemon.connect(16_384)) for _ in range(FLOODS)]
        threads = [threading.Thread(target=send_for_ten_seconds, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def send_for_ten_seconds(connection: socket.socket) -> None:
    connection.settimeout(2)
    end = time.monotonic() + 10
    try:
        while time.monotonic() < end:
            connection.sendall(FLOOD)
    except OSError:  # blocked, or disconnected
        pass


def hold_streams(daemon: HttpDaemon, since: int) -> None:
    """Open event streams and wait until each has received its first event."""
    with ExitStack() as stack:
        connections = [stack.enter_context(daemon.connect()) for _ in range(STREAMS)]
        head = daemon.request_head("GET", f"{FEED}?since={since}", "Accept: text/event-stream", role="agent")
        for connection in connections:
            connection.sendall(head)
        for connection in connections:
            received = b""
            while f"id: {since}".encode() not in received:
                received += connection.recv(4096)


def hold_half_requests(daemon: HttpDaemon) -> None:
    """Open connections with requests whose bodies are incomplete."""
    with ExitStack() as stack:
        for _ in range(HALF_REQUESTS):
            connection = stack.enter_context(daemon.connect())
            connection.sendall(daemon.request_head("POST", LIST, "Content-Length: 100") + b"{")
        with daemon.client("agent") as agent:
            assert_ok(agent.get(f"{LIST}?limit=1"))


def print_figures(figures: Iterator[Figure]) -> None:
    table = Table("", "measured", "bound", title="limits")
    for name, value, bound, unit in figures:
        style = "" if value <= bound else "red"
        table.add_row(name, f"{value:.1f} {unit}", f"{bound:g} {unit}", style=style)
    Console().print(table)


if __name__ == "__main__":
    main()
