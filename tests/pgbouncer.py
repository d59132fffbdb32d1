"""A private PgBouncer in front of a PostgreSQL of the tests; in transaction mode, unless a test wants another."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from psycopg.conninfo import conninfo_to_dict

from syncd.demo.servers import (
    ServerUnavailable,
    chown_to_server_user,
    free_port,
    stop_process,
    unprivileged_options,
    wait_for_port,
)

SETTINGS = """\
[databases]
* = host={host} port={server_port} {database_options}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {pool_mode}
default_pool_size = 3
ignore_startup_parameters = {ignored}
"""

LOGIN = "pooled"
"""A login that owns nothing and may only change into the roles."""


class PgBouncer:
    """A pooler for one user. `ignored` are the start-up parameters that it accepts and drops."""

    def __init__(
        self,
        folder: Path,
        server_url: str,
        *,
        pool_mode: str = "transaction",
        ignored: str = "",
        database_options: str = "",
    ) -> None:
        self.port = free_port()
        self._folder = folder
        self._server = conninfo_to_dict(server_url)
        self._values = {"pool_mode": pool_mode, "ignored": ignored, "database_options": database_options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the same user and database by way of the pooler."""
        return f"postgresql://{self._server['user']}@127.0.0.1:{self.port}/{self._server['dbname']}"

    def start(self) -> None:
        """Start it and return when it listens. Raises ServerUnavailable."""
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            raise ServerUnavailable("PgBouncer is not installed: apt-get install pgbouncer")
        self._folder.mkdir(mode=0o700)
        chown_to_server_user(self._folder)
        self._write("users", f'"{self._server["user"]}" "{self._server.get("password", "")}"\n')
        host, port = self._server["host"], self._server["port"]
        values = {"folder": self._folder, "port": self.port, "host": host, "server_port": port} | self._values
        settings = self._write("settings", SETTINGS.format(**values))
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [program, str(settings)], stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/",
                start_new_session=True, **unprivileged_options(),
            )  # fmt: skip
        wait_for_port(self.port, self._process, log)

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        chown_to_server_user(path)
        return path

    def stop(self) -> None:
        """Stop it; its clients are disconnected."""
        stop_process(self._process, signal.SIGTERM)
        self._process = None


StartPooler: TypeAlias = Callable[..., PgBouncer]
"""Starts a pooler in front of the database of a test, with options of PgBouncer."""
