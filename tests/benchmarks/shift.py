"""`python -m tests.benchmarks.shift [--entries N]`: a shift in a large directory.

How long desktops wait for an answer while nothing else happens and while a full sync of everybody runs, in turns; then
the whole directory as one answer: how soon it begins, and what it costs the daemon in memory.
"""

import argparse
import http.client
import os
import re
import threading
import time
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from syncd.demo.servers import free_port
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from tests.benchmarks.rig import Rig, rig
from tests.http_daemon import Daemon

API = "/api/v2/contacts"
PACE = 0.004
"""Seconds between two questions of a desktop."""
TARGETS = ("?userName=u{:07}", "?type=User&limit=100&sortBy=name")


class Desktop(threading.Thread):
    """Asks at a steady pace and notes how long each answer took, in milliseconds."""

    def __init__(self, daemon: Daemon, target: str) -> None:
        super().__init__()
        self._daemon = daemon
        self._target = target
        self._over = threading.Event()
        self.took: list[float] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=60)
        headers = {"Authorization": f"Bearer {self._daemon.tokens['agent']}"}
        number = 0
        while not self._over.wait(PACE):
            number += 1
            started = time.perf_counter()
            connection.request("GET", API + self._target.format(number % 1000), headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.took.append((time.perf_counter() - started) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"{self._target}: {answer.status}")

    def end(self) -> list[float]:
        self._over.set()
        self.join()
        return self.took


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shift", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with rig(arguments.entries) as running:
        running.fresh_database()
        running.syncd("sync", "corp")
        daemon = started(running)
        try:
            waiting(running, daemon, arguments.rounds)
            whole(daemon, arguments.entries)
        finally:
            daemon.stop()


def started(running: Rig) -> Daemon:
    """The daemon on the filled directory, its sources left to us."""
    folder = running.folder / "daemon"
    folder.mkdir()
    daemon = Daemon(folder, running.postgres.url("bench"), free_port())
    source = running.settings.read_text().partition("[[source]]")[2].replace('every = "1h"', 'cron = "0 0 29 2 *"')
    began = time.perf_counter()
    daemon.start(f"[[source]]{source}")
    took = time.perf_counter() - began
    print(
        f"start to ready: {took:.2f} s, {processor(daemon):.2f} s of it at work; idle memory {resident(daemon):.0f} MB"
    )
    engine = open_engine(Database(url=daemon.database_url), Role.API)
    daemon.tokens["agent"] = tokens.create(engine, "shift", "agent")
    return daemon


def waiting(running: Rig, daemon: Daemon, rounds: int) -> None:
    """p99 of each kind of question, idle and beside a run that changes everybody."""
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for kind in ("idle", "full sync"):
            if kind == "full sync":
                running.modify(range(running.count), str(number))
            desktops = [Desktop(daemon, target) for target in TARGETS]
            for desktop in desktops:
                desktop.start()
            began = time.perf_counter()
            if kind == "full sync":
                running.syncd("sync", "corp")
            time.sleep(max(0.0, 10 - (time.perf_counter() - began)) if kind == "idle" else 0)
            for target, desktop in zip(TARGETS, desktops, strict=True):
                found.setdefault((target, kind), []).append(quantiles(desktop.end(), n=100)[98])
    table = Table("", "idle p99 ms", "during a full sync", "ratio", title=f"{running.count:,} contacts")
    for target in TARGETS:
        idle, busy = found[target, "idle"], found[target, "full sync"]
        ratio = median(b / i for i, b in zip(idle, busy, strict=True))
        table.add_row(target, f"{median(idle):.1f}", f"{median(busy):.1f}", f"{ratio:.1f}")
    Console().print(table)


def whole(daemon: Daemon, count: int) -> None:
    """Everybody in one answer: first byte, end, and the highest memory meanwhile."""
    for _ in range(3):
        before = resident(daemon)
        peaks: list[float] = []
        over = threading.Event()

        def watch(peaks: list[float] = peaks, over: threading.Event = over) -> None:
            while not over.wait(0.01):
                peaks.append(resident(daemon))

        watcher = threading.Thread(target=watch)
        watcher.start()
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=600)
        began = time.perf_counter()
        connection.request("GET", API, headers={"Authorization": f"Bearer {daemon.tokens['agent']}"})
        answer = connection.getresponse()
        answer.read(1)
        first = time.perf_counter() - began
        size = 1
        while part := answer.read(1 << 16):
            size += len(part)
        end = time.perf_counter() - began
        over.set()
        watcher.join()
        print(
            f"{count:,} contacts, {size / 1e6:.0f} MB: first byte {first * 1000:.0f} ms, end {end:.1f} s, "
            f"memory +{max(peaks) - before:.0f} MB"
        )


def processor(daemon: Daemon) -> float:
    """Seconds of a processor that the daemon has had: what its start takes where nobody else is at work."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(daemon: Daemon) -> float:
    """MB of the daemon's own memory."""
    assert daemon.process is not None
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
