"""The wheel and the Debian package as README builds them; the package is installed on a machine with systemd.

A PostgreSQL and a slapd run on the same machine.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from syncd import __version__
from syncd.core.operations.log_throttle import MAX_REASONS
from syncd.demo.bootstrap import CHECKOUT
from syncd.demo.servers import Postgres, Slapd, find_postgres_programs
from tests import environment
from tests.load import keep_requesting
from tests.systemd_machine import SystemdMachine
from tests.waiting import wait_until

DATABASE_PASSWORD = "password-of-the-database-login"
NEXT_VERSION = "9.9.9"
URL = "http://127.0.0.1:8080"

PERSON = """
dn: uid={uid},ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: {uid}
cn: {given} {family}
givenName: {given}
sn: {family}
telephoneNumber: {number}
"""
PEOPLE = "\ndn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people\n" + "".join(
    PERSON.format(uid=uid, given=given, family=family, number=number)
    for uid, given, family, number in [("ada", "Ada", "Lovelace", "11"), ("bob", "Bob", "Stone", "12")]
)

SETTINGS = """\
[database]
url = "postgresql://syncd@127.0.0.1:{postgres}/syncd"
password_file = "db-password"

[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = ["ldap://127.0.0.1:{slapd}"]
tls = "none"
bind_dn = "{reader}"
bind_password_file = "ldap-password"
base = "ou=people,dc=example,dc=com"
schedule = {{ every = "2s" }}

[[source]]
name = "acd"
type = "Queue"
kind = "file"
path = "queues.toml"
schedule = {{ every = "1h" }}
"""

SERVER = """\
[Service]
Type=exec
User=nobody
ExecStart={command}
"""

# short enough for a test, long enough for a busy machine
WATCHDOG = "[Service]\nWatchdogSec=10s\nRestartSec=1s\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, in which the packages are built."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, folder)
    for name in ("syncd", "config", "systemd"):
        shutil.copytree(CHECKOUT / name, folder / name, symlinks=True)
    return folder


@pytest.fixture(scope="module")
def package(source: Path) -> Path:
    """The Debian package, built by the command in README."""
    pip = f"PIP={sys.executable} -m pip"
    command = ["make", "-C", str(source / "systemd"), "-f", "debian/rules", "clean", "binary", pip]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert result.returncode == 0, result.stdout
    (built,) = (source / "dist").glob("*.deb")
    return built


def test_the_wheel_has_every_module(source: Path) -> None:
    """Migrations included; demo and drill are excluded, as they belong to a checkout; no other file."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(command, cwd=source, check=True)

    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "syncd").rglob("*.py")}
    assert packed == {name for name in modules if not name.startswith(("syncd/demo/", "syncd/drill/"))}


def build_next_version(package: Path, folder: Path) -> Path:
    """Build the same package with a higher version in its control file and its code; return its file."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    (code,) = tree.glob("opt/syncd/lib/*/site-packages/syncd/__init__.py")
    for path in (code, tree / "DEBIAN" / "control"):
        path.write_text(path.read_text().replace(__version__, NEXT_VERSION))
    unchecked = ["-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    subprocess.run(["/usr/bin/python3", *unchecked, code], check=True)
    built = folder / "next.deb"
    subprocess.run(["dpkg-deb", "-b", "--root-owner-group", "-Znone", tree, built], check=True, capture_output=True)
    return built


@dataclass
class ServiceHost:
    """A machine with PostgreSQL and slapd, and the actions of an administrator."""

    machine: SystemdMachine
    postgres: Postgres
    slapd: Slapd
    tokens: dict[str, str] = field(default_factory=dict)

    def systemctl(self, *words: str) -> str:
        return self.machine.run("systemctl", *words)

    def show_property(self, name: str) -> str:
        """Return a property of the service."""
        return self.systemctl("show", "syncd.service", "--value", "-p", name)

    def is_active_state(self, state: str) -> bool:
        return self.show_property("ActiveState") == state

    def get(self, path: str, role: str = "agent") -> httpx.Response:
        """Send one GET over a connection of its own."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        with self.machine.network():
            return httpx.get(URL + path, headers=headers, timeout=60)

    def contact_names(self) -> list[str]:
        """Return the names of all contacts."""
        return [contact["name"] for contact in self.get("/api/v2/contacts").json()["contacts"]]

    def has_status(self, path: str, status: int) -> bool:
        """Whether a response has this status; False without a connection."""
        try:
            return self.get(path).status_code == status
        except httpx.TransportError:
            return False

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Return the journal's entries of an event of the service."""
        query = ["-u", "syncd.service", f"SYNCD_EVENT={event}"]
        text = self.machine.run("journalctl", "--no-pager", "-o", "cat", "--all", *query)
        return [json.loads(line) for line in text.splitlines()]

    def journal(self) -> str:
        """Return all messages in the journal about the service, including systemd's own."""
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", "--all", "-u", "syncd.service")

    def query(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, as the superuser sees them."""
        with self.machine.network(), psycopg.connect(self.postgres.url("syncd"), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def changed_paths(self) -> set[str]:
        """Return added and removed paths of the machine, without logs and dpkg's lists."""
        return {path for path in self.machine.changed_paths() if not re.match(r"/var/(log|lib/dpkg|cache/man)\b", path)}

    def keep_requesting(self) -> AbstractContextManager["Counter[str]"]:
        """Let four clients send requests all the time, each over a new connection; see `tests.load`."""
        return keep_requesting(*[lambda: self.get("/api/v2/contacts")] * 4)


@pytest.fixture
def host() -> Iterator[ServiceHost]:
    """A running machine with both servers, which is destroyed afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="syncd-machine-") as folder,
        tempfile.TemporaryDirectory(prefix="syncd-machine-shared-") as shared,
    ):
        Path(shared).chmod(0o755)
        postgres = Postgres(Path(shared) / "postgres")
        postgres.create()
        rules = postgres.folder / "pg_hba.conf"
        rules.write_text("host all syncd 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        slapd = Slapd(Path(shared) / "slapd", extra=environment.SLAPD_RULES)
        slapd.create(environment.LDIF + PEOPLE)
        machine = SystemdMachine(Path(folder), Path(shared))
        try:
            machine.boot()
            host = ServiceHost(machine, postgres, slapd)
            start_servers(host)
            yield host
            print(host.journal()[-5000:])  # shown when a test has failed
        finally:
            machine.destroy()


def start_servers(host: ServiceHost) -> None:
    options = f"-D {host.postgres.folder} -p {host.postgres.port} -h 127.0.0.1 -k '' -F"
    postgres = f"{find_postgres_programs()}/postgres {options}"
    program = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin")
    slapd = f"{program} -f {host.slapd.folder}/slapd.conf -h {host.slapd.url} -d 0"
    host.machine.write_file("/etc/systemd/system/database.service", SERVER.format(command=postgres))
    host.machine.write_file("/etc/systemd/system/directory.service", SERVER.format(command=slapd))
    host.systemctl("daemon-reload")
    host.systemctl("start", "database", "directory")

    def has_created_database() -> bool:
        try:
            with host.machine.network(), psycopg.connect(host.postgres.url(), autocommit=True) as connection:
                connection.execute(f"CREATE ROLE syncd LOGIN CREATEROLE PASSWORD '{DATABASE_PASSWORD}'".encode())
                connection.execute("CREATE DATABASE syncd OWNER syncd")
        except psycopg.OperationalError:
            return False
        return True

    wait_until(has_created_database)


def test_an_installed_service(package: Path, host: ServiceHost, tmp_path: Path) -> None:
    """From installation to purge: configuration, sync, journal, reload, watchdog, outage, upgrade."""
    before = host.changed_paths()
    install(host, package)
    assert_unconfigured_start_fails(host)
    configure(host)
    start(host)
    assert_synced_and_served(host)
    assert_isolated(host)
    assert_in_journal(host)
    reload_under_load(host)
    assert_restarted_by_watchdog(host)
    assert_outlasts_database(host)
    upgrade_under_load(host, build_next_version(package, tmp_path))
    stop(host)
    purge(host, before)


def install(host: ServiceHost, package: Path) -> None:
    """The package does not start the service; systemd accepts its units; the command is in PATH."""
    shutil.copy(package, host.postgres.folder.parent / "syncd.deb")
    host.machine.run("dpkg", "-i", str(host.postgres.folder.parent / "syncd.deb"))

    assert host.show_property("UnitFileState") == "disabled"
    assert host.is_active_state("inactive")
    assert host.machine.run("systemd-analyze", "verify", "syncd.service", "syncd.socket") == ""
    assert __version__ in host.machine.run("dpkg-query", "-W", "syncd")
    assert "migrate" in host.machine.run("syncd", "--help")
    for command in ("demo", "drill"):
        assert "run it from a checkout" in host.machine.run("sh", "-c", f"syncd {command} 2>&1", check=False)


def assert_unconfigured_start_fails(host: ServiceHost) -> None:
    """The example settings name secrets that do not exist: the start fails with that reason, and is not repeated."""
    host.machine.run("systemctl", "start", "syncd", check=False)

    assert host.is_active_state("failed")
    assert host.show_property("ExecMainStatus") == "78"
    assert host.show_property("NRestarts") == "0"
    assert "db-password is empty" in host.journal()
    assert "ldap-password is empty" in host.journal()


def configure(host: ServiceHost) -> None:
    """Write settings and two secrets, migrate the schema, create a token for each role."""
    text = SETTINGS.format(postgres=host.postgres.port, slapd=host.slapd.port, reader=environment.READER_DN)
    host.machine.write_file("/etc/syncd/syncd.toml", text)
    host.machine.write_file("/etc/syncd/secrets/db-password", DATABASE_PASSWORD + "\n", "0600")
    host.machine.write_file("/etc/syncd/secrets/ldap-password", environment.READER_PASSWORD + "\n", "0600")
    host.machine.write_file("/etc/systemd/system/syncd.service.d/test.conf", WATCHDOG)
    host.machine.run("cp", "/usr/share/doc/syncd/examples/network.conf", "/etc/systemd/system/syncd.service.d/")
    assert "migrated" in host.machine.run("syncd", "migrate")
    for role in ("admin", "agent"):
        host.tokens[role] = host.machine.run("syncd", "token", "create", "--role", role, "--name", role)


def start(host: ServiceHost) -> None:
    """`systemctl start` returns when the service is ready, through the socket that systemd holds."""
    host.systemctl("daemon-reload")
    host.systemctl("enable", "--now", "syncd.socket", "syncd.service")

    assert host.is_active_state("active")
    assert host.get("/ready").status_code == 200
    assert host.log_lines("daemon.started")[-1]["listen"] == "systemd"


def assert_synced_and_served(host: ServiceHost) -> None:
    """The first sync runs by itself, its worker in the sandbox, and the state is in `systemctl status`."""
    wait_until(lambda: {"Ada Lovelace", "Bob Stone", "Sales East"} <= set(host.contact_names()))

    wait_until(lambda: "corp completed" in host.show_property("StatusText"))
    assert host.get("/api/v2/contacts?phoneNumber=12").json()["contacts"][0]["userName"] == "bob"
    assert "process_resident_memory_bytes" in host.get("/metrics").text
    assert "corp" in host.machine.run("syncd", "status")


def assert_isolated(host: ServiceHost) -> None:
    """The user is not root and reads the credentials, which are neither in its environment nor in the journal."""
    pid = host.show_property("MainPID")
    user = host.machine.run("stat", "-c", "%U", f"/proc/{pid}")
    listing = host.machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline")
    journal = host.machine.run("journalctl", "--no-pager", "-o", "json", "--all")
    host.machine.run("nsenter", "-t", pid, "-m", "touch", "/etc/syncd/written", check=False)  # as seen by the service

    assert user == "syncd"
    assert "CREDENTIALS_DIRECTORY=/run/credentials/syncd.service" in listing
    for secret in (DATABASE_PASSWORD, environment.READER_PASSWORD):
        assert secret not in listing + journal
    assert "/etc/syncd/written" not in host.changed_paths()


def assert_in_journal(host: ServiceHost) -> None:
    """By event and source, with the fields of a run and its priority."""
    query = ["SYNCD_EVENT=sync.completed", "SYNCD_SOURCE=corp", "PRIORITY=6"]
    found = host.machine.run("journalctl", "--no-pager", "-o", "json", *query).splitlines()
    runs = host.query("SELECT id FROM run WHERE source = 'corp' AND outcome = 'completed'")

    assert found
    assert {int(json.loads(entry)["SYNCD_RUN"]) for entry in found} <= {number for (number,) in runs}
    assert {json.loads(entry)["_SYSTEMD_UNIT"] for entry in found} == {"syncd.service"}


def reload_under_load(host: ServiceHost) -> None:
    """No request fails during `systemctl reload`; invalid settings are rejected and shown, valid ones are in force."""
    pid = host.show_property("MainPID")
    settings = host.machine.run("cat", "/etc/syncd/syncd.toml")
    with host.keep_requesting() as outcomes:
        host.machine.write_file("/etc/syncd/syncd.toml", settings.replace("schedule =", "shedule ="))
        host.systemctl("reload", "syncd")
        wait_until(lambda: "the last reload was rejected" in host.show_property("StatusText"))
        host.machine.write_file("/etc/syncd/syncd.toml", settings.replace("queues.toml", "more.toml"))
        host.machine.write_file("/etc/syncd/more.toml", '[[queue]]\nname = "Sales West"\nphoneNumber = "3"\n')
        host.systemctl("reload", "syncd")
        wait_until(lambda: "Sales West" in host.contact_names())
        host.machine.write_file("/etc/syncd/syncd.toml", settings)
        host.systemctl("reload", "syncd")
        wait_until(lambda: len(host.log_lines("settings.reloaded")) == 2)

    assert set(outcomes) == {"200"}
    assert host.show_property("MainPID") == pid
    assert host.log_lines("settings.rejected")
    assert "reload was rejected" not in host.show_property("StatusText")


def assert_restarted_by_watchdog(host: ServiceHost) -> None:
    """A main process that makes no progress is killed; the next one serves and syncs."""
    hung = host.show_property("MainPID")
    host.machine.run("kill", "-STOP", hung)

    wait_until(lambda: host.show_property("NRestarts") == "1" and host.is_active_state("active"))

    assert host.show_property("MainPID") != hung
    assert "Watchdog timeout" in host.journal()
    wait_until(lambda: host.has_status("/ready", 200))
    started = host.query("SELECT max(id) FROM run")[0][0]
    wait_until(lambda: bool(host.query(f"SELECT 1 FROM run WHERE id > {started} AND outcome = 'completed'")))


def assert_outlasts_database(host: ServiceHost) -> None:
    """Database down: alive, not ready. Database up: ready again, and syncing."""
    pid = host.show_property("MainPID")
    host.systemctl("stop", "database")
    wait_until(lambda: host.has_status("/ready", 503))
    assert host.get("/health").json()["status"] == "degraded"

    host.systemctl("start", "database")

    wait_until(lambda: host.has_status("/ready", 200))
    started = host.query("SELECT max(id) FROM run")[0][0]
    wait_until(lambda: bool(host.query(f"SELECT 1 FROM run WHERE id > {started} AND outcome = 'completed'")))
    assert host.show_property("MainPID") == pid
    reasons = [line["why"] for line in host.log_lines("database.lost")]
    assert 0 < len(set(reasons)) == len(reasons) <= MAX_REASONS
    assert len(host.log_lines("database.back")) == 1


def upgrade_under_load(host: ServiceHost, package: Path) -> None:
    """The new version takes over and no request fails: the socket holds connections meanwhile."""
    shutil.copy(package, host.postgres.folder.parent / "next.deb")
    settings = host.machine.run("cat", "/etc/syncd/syncd.toml")

    with host.keep_requesting() as outcomes:
        host.machine.run("dpkg", "-x", str(host.postgres.folder.parent / "next.deb"), "/run/next")
        assert "up to date" in host.machine.run("/run/next/opt/syncd/bin/python", "-m", "syncd", "migrate")
        host.machine.run("dpkg", "-i", str(host.postgres.folder.parent / "next.deb"))
        wait_until(lambda: host.log_lines("daemon.started")[-1]["version"] == NEXT_VERSION)

    assert set(outcomes) == {"200"}
    assert host.machine.run("cat", "/etc/syncd/syncd.toml") == settings
    assert host.show_property("UnitFileState") == "enabled"


def stop(host: ServiceHost) -> None:
    """A regular stop, logged."""
    host.systemctl("stop", "syncd.socket", "syncd.service")

    assert host.is_active_state("inactive")
    assert host.show_property("Result") == "success"
    assert host.log_lines("daemon.stopping")[-1]["reason"] == signal.SIGTERM.name
    assert len(host.log_lines("daemon.stopped")) == 2
    assert not host.has_status("/ready", 200)


def purge(host: ServiceHost, before: set[str]) -> None:
    """All paths are as before the installation; the administrator's own drop-in is not the package's."""
    host.machine.run("rm", "-r", "/etc/systemd/system/syncd.service.d")
    host.machine.run("dpkg", "--purge", "syncd")

    assert host.changed_paths() == before
    assert host.machine.run("getent", "passwd", "syncd", check=False) == ""
    assert host.machine.run("getent", "group", "syncd", check=False) == ""
