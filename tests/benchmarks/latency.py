"""`python -m tests.benchmarks.latency [--entries N]`: response times of a large directory.

The latency of requests while nothing else happens and while a full sync changes every contact, in turns; then the
whole directory as one response: the time to its first byte and to its end, and the memory that it costs the daemon.
"""

import argparse
import http.client
import os
import threading
import time
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import memory_growth
from tests.benchmarks.rig import Rig, start_rig
from tests.http_daemon import HttpDaemon

API = "/api/v2/contacts"
PAUSE = 0.004
"""Seconds between two requests of a client."""
TARGETS = ("?userName=u{:07}", "?type=User&limit=100&sortBy=name")


class PollingClient(threading.Thread):
    """Sends requests at a steady pace; `milliseconds` has the time of each."""

    def __init__(self, daemon: HttpDaemon, target: str) -> None:
        super().__init__()
        self._daemon = daemon
        self._target = target
        self._stopped = threading.Event()
        self.milliseconds: list[float] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=60)
        headers = {"Authorization": f"Bearer {self._daemon.tokens['agent']}"}
        number = 0
        while not self._stopped.wait(PAUSE):
            number += 1
            started = time.perf_counter()
            connection.request("GET", API + self._target.format(number % 1000), headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.milliseconds.append((time.perf_counter() - started) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"{self._target}: {answer.status}")

    def stop(self) -> list[float]:
        self._stopped.set()
        self.join()
        return self.milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latency", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with start_rig(arguments.entries) as rig:
        rig.create_database()
        rig.syncd("sync", "corp")
        daemon = start_daemon(rig)
        try:
            measure_latency(rig, daemon, arguments.rounds)
            measure_whole_directory(daemon, arguments.entries)
        finally:
            daemon.stop()


def start_daemon(rig: Rig) -> HttpDaemon:
    """Start a daemon on the filled directory that does not sync by itself; print the cost of its start."""
    folder = rig.folder / "daemon"
    folder.mkdir()
    daemon = HttpDaemon(folder, rig.postgres.url("bench"))
    source = rig.settings.read_text().partition("[[source]]")[2].replace('every = "1h"', 'cron = "0 0 29 2 *"')
    daemon.configure(f"[[source]]{source}")
    began = time.perf_counter()
    daemon.start()
    took = time.perf_counter() - began
    megabytes = daemon.resident_kib() / 1024
    print(f"start to ready: {took:.2f} s, processor {cpu_seconds(daemon):.2f} s; idle memory {megabytes:.0f} MB")
    daemon.create_tokens()
    return daemon


def measure_latency(rig: Rig, daemon: HttpDaemon, rounds: int) -> None:
    """Print the p99 of each kind of request, idle and during a run that changes every contact."""
    p99: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for kind in ("idle", "full sync"):
            if kind == "full sync":
                rig.modify(range(rig.count), str(number))
            clients = [PollingClient(daemon, target) for target in TARGETS]
            for client in clients:
                client.start()
            began = time.perf_counter()
            if kind == "full sync":
                rig.syncd("sync", "corp")
            time.sleep(max(0.0, 10 - (time.perf_counter() - began)) if kind == "idle" else 0)
            for target, client in zip(TARGETS, clients, strict=True):
                p99.setdefault((target, kind), []).append(quantiles(client.stop(), n=100)[98])
    table = Table("", "idle p99 ms", "during a full sync", "ratio", title=f"{rig.count:,} contacts")
    for target in TARGETS:
        idle, busy = p99[target, "idle"], p99[target, "full sync"]
        ratio = median(b / i for i, b in zip(idle, busy, strict=True))
        table.add_row(target, f"{median(idle):.1f}", f"{median(busy):.1f}", f"{ratio:.1f}")
    Console().print(table)


def measure_whole_directory(daemon: HttpDaemon, count: int) -> None:
    """Print the times of the first byte and the end of one response with all contacts, and the highest memory."""
    for _ in range(3):
        seconds: dict[str, float] = {}
        size = 0

        def read(seconds: dict[str, float] = seconds) -> None:
            nonlocal size
            connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=600)
            began = time.perf_counter()
            connection.request("GET", API, headers={"Authorization": f"Bearer {daemon.tokens['agent']}"})
            answer = connection.getresponse()
            size = len(answer.read(1))
            seconds["first"] = time.perf_counter() - began
            while part := answer.read(1 << 16):
                size += len(part)
            seconds["end"] = time.perf_counter() - began

        megabytes = memory_growth(daemon, read)
        print(
            f"{count:,} contacts, {size / 1e6:.0f} MB: first byte {seconds['first'] * 1000:.0f} ms, "
            f"end {seconds['end']:.1f} s, memory +{megabytes:.0f} MB"
        )


def cpu_seconds(daemon: HttpDaemon) -> float:
    """Return the processor time of the daemon in seconds."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
