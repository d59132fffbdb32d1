"""A daemon on premises of its own, as its operator knows it: a process, its log, and what it tells over HTTP."""

import contextlib
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from syncd.demo.servers import free_port
from syncd.drill.proxy import Proxy
from tests.environment import Premises
from tests.http_daemon import logged
from tests.scripted_ldap import wait_until

OFTEN = '{ every = "2s" }'
LAST = b"no more"


class Running:
    """A daemon on premises of its own."""

    def __init__(self, site: Premises) -> None:
        self.site = site
        self.log = site.folder / "daemon.log"
        site.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **changes: Any) -> None:
        """Start it and return when it answers."""
        self.site.configure(**changes)
        self.process = self.site.start("run", log=self.log)
        wait_until(self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            return self.get("/health").status_code == 200
        return False

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.site.port}{path}", timeout=60, **options)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/health").json()
        return found

    def await_outcome(self, outcome: str) -> dict[str, Any]:
        """The health in which this was the last outcome of corp; a moment later the next run may be going on."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.health())
            return corp(found)["outcome"] == outcome

        wait_until(reached)
        return found

    def count(self, series: str) -> float:
        """The value of one series of the metrics; 0 while there is none."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(series + " ")]
        return sum(float(line.split()[-1]) for line in lines)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of this event that it has logged so far; for a run, a moment after the database has its outcome."""
        return [line for line in logged(self.log) if line["event"] == event]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(90)


def corp(health: dict[str, Any]) -> dict[str, Any]:
    """What a health says of the directory server's source."""
    return next(source for source in health["sources"] if source["name"] == "corp")


def stalled(running: Running, **changes: Any) -> Proxy:
    """A proxy that lets a run read two pages and then answers nothing more."""
    return Proxy(running.site.branch.slapd.port, then="stall", searches=3)


@contextmanager
def manager(path: Path) -> Iterator[list[str]]:
    """A service manager's socket: the messages that have arrived, all of them at the end."""
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        # read all the time, as systemd does: few messages fit into the socket, and then who sends has to wait
        reading = threading.Thread(target=_listen, args=(listening, said), daemon=True)
        reading.start()
        try:
            yield said
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
                ours.sendto(LAST, str(path))
            reading.join(60)


def _listen(listening: socket.socket, said: list[str]) -> None:
    """Keep what arrives until the last message of ours."""
    while (message := listening.recv(4096)) != LAST:
        said.append(message.decode())
