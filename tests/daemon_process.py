"""A `syncd run` process: start and stop, log lines, HTTP clients, metrics; and a stand-in for its service manager."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, AF_UNIX, SOCK_DGRAM
from typing import Any, Self

import httpx

from syncd.demo.servers import free_port
from syncd.drill.proxy import Proxy
from tests.environment import COMMAND, Environment
from tests.waiting import wait_until

EVERY_2_SECONDS = '{ every = "2s" }'
STOP_TIMEOUT = 90
"""Seconds, also on a busy machine."""
PASS_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Hands a listening socket over as systemd does (sd_listen_fds(3)): arguments are its descriptor and the command."""
_LAST_MESSAGE = b"no more"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a log; a last line without its line feed is still being written and left out."""
    complete = path.read_bytes().rpartition(b"\n")[0].decode()
    return [json.loads(line) for line in complete.split("\n") if line.startswith("{")]


class DaemonProcess:
    """One `syncd run` with the settings of a file that exists when it is started.

    `port` is the one of `http.listen`; `unix_socket` is the path of a Unix socket instead. `tokens` has an API token by
    role, for `client` and `get`.
    """

    def __init__(self, config: Path, port: int, unix_socket: str | None = None) -> None:
        self.config = config
        self.log = config.with_name("daemon.log")
        self.port = port
        self.unix_socket = unix_socket
        self.tokens: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.extra_environ: dict[str, str] = {}

    @classmethod
    def with_settings_of(cls, env: Environment) -> Self:
        """Create a daemon for an environment, which gets a free port."""
        env.port = free_port()
        env.configure()
        return cls(env.config_file, env.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(
        self, *, until: str = "/ready", listener: int | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """Start the process; return when the path `until` answers with 200.

        `listener` is the descriptor of a listening socket that the process inherits. `environ` replaces this process's
        environment.
        """
        wrapper = [] if listener is None else [sys.executable, "-c", PASS_SOCKET, str(listener)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, *COMMAND, "--config", str(self.config), "run"],
                stdout=log,
                stderr=log,
                pass_fds=[] if listener is None else [listener],
                env={**(os.environ if environ is None else environ), **self.extra_environ},
            )
        wait_until(lambda: self.answers(until))

    def answers(self, path: str = "/health") -> bool:
        """Whether a path answers with 200. Raises AssertionError with the log when the process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            return self.accepts_connections() and self.get(path).status_code == 200
        return False

    def accepts_connections(self) -> bool:
        family, address = (
            (AF_INET, ("127.0.0.1", self.port)) if self.unix_socket is None else (AF_UNIX, self.unix_socket)
        )
        with socket.socket(family) as probe:
            return probe.connect_ex(address) == 0

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status, once the process has ended."""
        assert self.process is not None
        return self.process.wait(STOP_TIMEOUT)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal unless the process has ended; return the exit status."""
        if self.is_running():
            self.send_signal(number)
        return self.wait()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End a process that is still there, and wait for it."""
        if self.is_running():
            self.stop(signal.SIGKILL)

    def log_lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the lines logged so far, of one event or all.

        The line of a run follows a moment after its outcome is in the database.
        """
        return [line for line in read_log(self.log) if event in {None, line["event"]}]

    def access_log_line(self, request_id: str) -> dict[str, Any]:
        """Return the line of one request. It is written after the last byte is sent, so the client may be earlier."""
        lines: list[dict[str, Any]] = []

        def is_written() -> bool:
            lines[:] = [line for line in self.log_lines() if line.get("request_id") == request_id]
            return bool(lines)

        wait_until(is_written)
        return lines[0]

    def client(self, role: str | None = "admin") -> httpx.Client:
        """Return a client with the token of a role, or without a token."""
        # idle connections are dropped long before the daemon closes them, so that no request meets that
        transport = httpx.HTTPTransport(uds=self.unix_socket, limits=httpx.Limits(keepalive_expiry=2))
        return httpx.Client(base_url=self.url, headers=self._headers(role), timeout=60, transport=transport)

    def get(self, path: str, role: str | None = None, **options: Any) -> httpx.Response:
        """Send one GET over a connection of its own."""
        with self.client(role) as client:
            return client.get(path, **options)

    def _headers(self, role: str | None) -> dict[str, str]:
        return {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = self.get("/health").json()
        return body

    def wait_for_outcome(self, outcome: str, source: str = "corp") -> dict[str, Any]:
        """Return the health in which this was the source's last outcome; a next run may follow at once."""
        health: dict[str, Any] = {}

        def is_reached() -> bool:
            health.update(self.health())
            return bool(source_health(health, source)["outcome"] == outcome)

        wait_until(is_reached)
        return health

    def metric(self, series: str) -> float:
        """Return the value of one series; 0 while it does not exist."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(series + " ")]
        return sum(float(line.split()[-1]) for line in lines)

    def resident_kib(self) -> int:
        """Return the resident memory, in KiB (VmRSS, proc_pid_status(5))."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS: the process has ended")

    def count_open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


def source_health(health: dict[str, Any], name: str = "corp") -> dict[str, Any]:
    """Return the entry of one source."""
    return next(source for source in health["sources"] if source["name"] == name)


def stalling_proxy(env: Environment) -> Proxy:
    """Return a proxy that lets a run read two pages and then answers nothing more."""
    return Proxy(env.branch.slapd.port, mode="stall", max_searches=3)


@contextmanager
def service_manager(path: Path) -> Iterator[Sequence[str]]:
    """Listen on a notification socket (sd_notify(3)); yield the messages so far, which at the end are all."""
    messages: list[str] = []
    with socket.socket(AF_UNIX, SOCK_DGRAM) as listener:
        listener.bind(str(path))
        # read all the time, as systemd does: a socket holds few messages, and then the sender has to wait
        reader = threading.Thread(target=_receive, args=(listener, messages), daemon=True)
        reader.start()
        try:
            yield messages
        finally:
            with socket.socket(AF_UNIX, SOCK_DGRAM) as sender:
                sender.sendto(_LAST_MESSAGE, str(path))
            reader.join(60)


def _receive(listener: socket.socket, messages: list[str]) -> None:
    while (message := listener.recv(4096)) != _LAST_MESSAGE:
        messages.append(message.decode())
