"""What README builds: the wheel, and the Debian package, which lives its life in a booted systemd.

Beside it, on the same machine, are a PostgreSQL and a slapd.
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
from syncd.core.operations.log_throttle import REASONS
from syncd.demo.bootstrap import CHECKOUT
from syncd.demo.servers import Postgres, Slapd, postgres_programs
from tests import environment
from tests.load import load
from tests.scripted_ldap import wait_until
from tests.systemd_machine import Machine

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

# so that the test waits for seconds; long enough for a busy machine
WATCHDOG = "[Service]\nWatchdogSec=10s\nRestartSec=1s\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that nothing is built into it."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, folder)
    for name in ("syncd", "config", "systemd"):
        shutil.copytree(CHECKOUT / name, folder / name, symlinks=True)
    return folder


@pytest.fixture(scope="module")
def package(source: Path) -> Path:
    """The package, built by the command that README gives."""
    pip = f"PIP={sys.executable} -m pip"
    command = ["make", "-C", source / "systemd", "-f", "debian/rules", "clean", "binary", pip]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (built,) = (source / "dist").glob("*.deb")
    return built


def test_the_wheel_has_every_module(source: Path) -> None:
    """Migrations among them, and nothing that is not ours."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(command, cwd=source, check=True)

    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "syncd").rglob("*.py")}


def next_version(package: Path, folder: Path) -> Path:
    """The same package under a higher version, as its control file and its code know it."""
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
class Site:
    """A booted machine with PostgreSQL and slapd, and what an administrator does on it."""

    machine: Machine
    postgres: Postgres
    slapd: Slapd
    tokens: dict[str, str] = field(default_factory=dict)

    def systemctl(self, *words: str) -> str:
        return self.machine.run("systemctl", *words)

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.systemctl("show", "syncd.service", "--value", "-p", name)

    def is_(self, state: str) -> bool:
        return self.show("ActiveState") == state

    def get(self, path: str, role: str = "agent") -> httpx.Response:
        """One request, over a connection of its own."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        with self.machine.network():
            return httpx.get(URL + path, headers=headers, timeout=60)

    def names(self) -> list[str]:
        """The directory."""
        return [contact["name"] for contact in self.get("/api/v2/contacts").json()["contacts"]]

    def answers(self, path: str, status: int) -> bool:
        """False as well when nobody listens."""
        try:
            return self.get(path).status_code == status
        except httpx.TransportError:
            return False

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What the service has logged of an event, as the journal has it."""
        query = ["-u", "syncd.service", f"SYNCD_EVENT={event}"]
        text = self.machine.run("journalctl", "--no-pager", "-o", "cat", "--all", *query)
        return [json.loads(line) for line in text.splitlines()]

    def said(self) -> str:
        """Whatever the journal has of the service, systemd's words about it among it."""
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", "--all", "-u", "syncd.service")

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """What the superuser of the database sees."""
        with self.machine.network(), psycopg.connect(self.postgres.url("syncd"), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def changes(self) -> set[str]:
        """What the machine has that it had not, and the other way round; the journal and dpkg's own lists aside."""
        return {path for path in self.machine.changes() if not re.match(r"/var/(log|lib/dpkg|cache/man)\b", path)}

    def load(self) -> AbstractContextManager["Counter[str]"]:
        """While this lasts, four clients ask, each time over a new connection: what became of it, counted."""
        return load(*[lambda: self.get("/api/v2/contacts")] * 4)


@pytest.fixture
def site() -> Iterator[Site]:
    """A machine with two servers on it, running. Everything is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="syncd-booted-") as folder,
        tempfile.TemporaryDirectory(prefix="syncd-booted-shared-") as shared,
    ):
        Path(shared).chmod(0o755)
        postgres = Postgres(Path(shared) / "postgres")
        postgres.create()
        rules = postgres.folder / "pg_hba.conf"
        rules.write_text("host all syncd 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        slapd = Slapd(Path(shared) / "slapd", extra=environment.LIMITS)
        slapd.create(environment.LDIF + PEOPLE)
        machine = Machine(Path(folder), Path(shared))
        try:
            machine.boot()
            site = Site(machine, postgres, slapd)
            start_servers(site)
            yield site
            print(site.said()[-5000:])  # shown where a test has failed
        finally:
            machine.end()


def start_servers(site: Site) -> None:
    postgres = f"{postgres_programs()}/postgres -D {site.postgres.folder} -p {site.postgres.port} -h 127.0.0.1 -k '' -F"
    program = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin")
    slapd = f"{program} -f {site.slapd.folder}/slapd.conf -h {site.slapd.url} -d 0"
    site.machine.write("/etc/systemd/system/database.service", SERVER.format(command=postgres))
    site.machine.write("/etc/systemd/system/directory.service", SERVER.format(command=slapd))
    site.systemctl("daemon-reload")
    site.systemctl("start", "database", "directory")

    def accepts() -> bool:
        try:
            with site.machine.network(), psycopg.connect(site.postgres.url(), autocommit=True) as connection:
                connection.execute(f"CREATE ROLE syncd LOGIN CREATEROLE PASSWORD '{DATABASE_PASSWORD}'".encode())
                connection.execute("CREATE DATABASE syncd OWNER syncd")
        except psycopg.OperationalError:
            return False
        return True

    wait_until(accepts)


def test_the_life_of_an_installed_service(package: Path, site: Site, tmp_path: Path) -> None:
    """Installed, configured, started, used, hung, restarted, upgraded, stopped, purged: as an administrator does it."""
    before = site.changes()
    install(site, package)
    is_refused_until_it_is_configured(site)
    configure(site)
    start(site)
    syncs_and_answers(site)
    keeps_to_itself(site)
    is_found_in_the_journal(site)
    is_reloaded(site)
    is_restarted_when_it_hangs(site)
    outlives_its_database(site)
    is_upgraded(site, next_version(package, tmp_path))
    stop(site)
    purge(site, before)


def install(site: Site, package: Path) -> None:
    """Nothing starts by itself; systemd accepts what was installed; the command is in everybody's path."""
    shutil.copy(package, site.postgres.folder.parent / "syncd.deb")
    site.machine.run("dpkg", "-i", str(site.postgres.folder.parent / "syncd.deb"))

    assert site.show("UnitFileState") == "disabled"
    assert site.is_("inactive")
    assert site.machine.run("systemd-analyze", "verify", "syncd.service", "syncd.socket") == ""
    assert __version__ in site.machine.run("dpkg-query", "-W", "syncd")
    assert "migrate" in site.machine.run("syncd", "--help")


def is_refused_until_it_is_configured(site: Site) -> None:
    """The example names secrets that are not there: it says which, and is not started over and over."""
    site.machine.run("systemctl", "start", "syncd", check=False)

    assert site.is_("failed")
    assert site.show("ExecMainStatus") == "78"
    assert site.show("NRestarts") == "0"
    assert "db-password is empty" in site.said()
    assert "ldap-password is empty" in site.said()


def configure(site: Site) -> None:
    """Settings, two secrets, the schema, a token for each role."""
    text = SETTINGS.format(postgres=site.postgres.port, slapd=site.slapd.port, reader=environment.READER)
    site.machine.write("/etc/syncd/syncd.toml", text)
    site.machine.write("/etc/syncd/secrets/db-password", DATABASE_PASSWORD + "\n", "0600")
    site.machine.write("/etc/syncd/secrets/ldap-password", environment.READER_PASSWORD + "\n", "0600")
    site.machine.write("/etc/systemd/system/syncd.service.d/test.conf", WATCHDOG)
    site.machine.run("cp", "/usr/share/doc/syncd/examples/network.conf", "/etc/systemd/system/syncd.service.d/")
    assert "migrated" in site.machine.run("syncd", "migrate")
    for role in ("admin", "agent"):
        site.tokens[role] = site.machine.run("syncd", "token", "create", "--role", role, "--name", role)


def start(site: Site) -> None:
    """`systemctl start` returns when it serves, through the socket that systemd holds."""
    site.systemctl("daemon-reload")
    site.systemctl("enable", "--now", "syncd.socket", "syncd.service")

    assert site.is_("active")
    assert site.get("/ready").status_code == 200
    assert site.lines("daemon.started")[-1]["listen"] == "systemd"


def syncs_and_answers(site: Site) -> None:
    """The first sync comes by itself, its worker lives in the sandbox, and the state is in `systemctl status`."""
    wait_until(lambda: {"Ada Lovelace", "Bob Stone", "Sales East"} <= set(site.names()))

    wait_until(lambda: "corp completed" in site.show("StatusText"))
    assert site.get("/api/v2/contacts?phoneNumber=12").json()["contacts"][0]["userName"] == "bob"
    assert "process_resident_memory_bytes" in site.get("/metrics").text
    assert "corp" in site.machine.run("syncd", "status")


def keeps_to_itself(site: Site) -> None:
    """Its user is not root and may read the credentials, which are neither in its environment nor in the journal."""
    pid = site.show("MainPID")
    user = site.machine.run("stat", "-c", "%U", f"/proc/{pid}")
    listing = site.machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline")
    journal = site.machine.run("journalctl", "--no-pager", "-o", "json", "--all")
    site.machine.run("nsenter", "-t", pid, "-m", "touch", "/etc/syncd/written", check=False)  # as seen by the service

    assert user == "syncd"
    assert "CREDENTIALS_DIRECTORY=/run/credentials/syncd.service" in listing
    for secret in (DATABASE_PASSWORD, environment.READER_PASSWORD):
        assert secret not in listing + journal
    assert "/etc/syncd/written" not in site.changes()


def is_found_in_the_journal(site: Site) -> None:
    """By event and source, with the facts of a run as fields, and as grave as it is."""
    query = ["SYNCD_EVENT=sync.completed", "SYNCD_SOURCE=corp", "PRIORITY=6"]
    found = site.machine.run("journalctl", "--no-pager", "-o", "json", *query).splitlines()
    runs = site.sql("SELECT id FROM run WHERE source = 'corp' AND outcome = 'completed'")

    assert found
    assert {int(json.loads(entry)["SYNCD_RUN"]) for entry in found} <= {number for (number,) in runs}
    assert {json.loads(entry)["_SYSTEMD_UNIT"] for entry in found} == {"syncd.service"}


def is_reloaded(site: Site) -> None:
    """`systemctl reload` under load: no request fails; what is bad is refused and shown, what is good is in force."""
    pid = site.show("MainPID")
    settings = site.machine.run("cat", "/etc/syncd/syncd.toml")
    with site.load() as outcomes:
        site.machine.write("/etc/syncd/syncd.toml", settings.replace("schedule =", "shedule ="))
        site.systemctl("reload", "syncd")
        wait_until(lambda: "the last reload was refused" in site.show("StatusText"))
        site.machine.write("/etc/syncd/syncd.toml", settings.replace("queues.toml", "more.toml"))
        site.machine.write("/etc/syncd/more.toml", '[[queue]]\nname = "Sales West"\nphoneNumber = "3"\n')
        site.systemctl("reload", "syncd")
        wait_until(lambda: "Sales West" in site.names())
        site.machine.write("/etc/syncd/syncd.toml", settings)
        site.systemctl("reload", "syncd")
        wait_until(lambda: len(site.lines("settings.reloaded")) == 2)

    assert set(outcomes) == {"200"}
    assert site.show("MainPID") == pid
    assert site.lines("settings.refused")
    assert "refused" not in site.show("StatusText")


def is_restarted_when_it_hangs(site: Site) -> None:
    """A main process that makes no progress is killed by the watchdog; the next one serves and syncs on."""
    hung = site.show("MainPID")
    site.machine.run("kill", "-STOP", hung)

    wait_until(lambda: site.show("NRestarts") == "1" and site.is_("active"))

    assert site.show("MainPID") != hung
    assert "Watchdog timeout" in site.said()
    wait_until(lambda: site.answers("/ready", 200))
    started = site.sql("SELECT max(id) FROM run")[0][0]
    wait_until(lambda: bool(site.sql(f"SELECT 1 FROM run WHERE id > {started} AND outcome = 'completed'")))


def outlives_its_database(site: Site) -> None:
    """Database down: alive, not ready. Database back: by itself ready, and syncing again."""
    pid = site.show("MainPID")
    site.systemctl("stop", "database")
    wait_until(lambda: site.answers("/ready", 503))
    assert site.get("/health").json()["status"] == "degraded"

    site.systemctl("start", "database")

    wait_until(lambda: site.answers("/ready", 200))
    started = site.sql("SELECT max(id) FROM run")[0][0]
    wait_until(lambda: bool(site.sql(f"SELECT 1 FROM run WHERE id > {started} AND outcome = 'completed'")))
    assert site.show("MainPID") == pid
    reasons = [line["why"] for line in site.lines("database.lost")]
    assert 0 < len(set(reasons)) == len(reasons) <= REASONS
    assert len(site.lines("database.back")) == 1


def is_upgraded(site: Site, package: Path) -> None:
    """The new version takes over under load, and no request fails: the socket keeps who comes meanwhile."""
    shutil.copy(package, site.postgres.folder.parent / "next.deb")
    settings = site.machine.run("cat", "/etc/syncd/syncd.toml")

    with site.load() as outcomes:
        site.machine.run("dpkg", "-x", str(site.postgres.folder.parent / "next.deb"), "/run/next")
        assert "up to date" in site.machine.run("/run/next/opt/syncd/bin/python", "-m", "syncd", "migrate")
        site.machine.run("dpkg", "-i", str(site.postgres.folder.parent / "next.deb"))
        wait_until(lambda: site.lines("daemon.started")[-1]["version"] == NEXT_VERSION)

    assert set(outcomes) == {"200"}
    assert site.machine.run("cat", "/etc/syncd/syncd.toml") == settings
    assert site.show("UnitFileState") == "enabled"


def stop(site: Site) -> None:
    """Clean, and told."""
    site.systemctl("stop", "syncd.socket", "syncd.service")

    assert site.is_("inactive")
    assert site.show("Result") == "success"
    assert site.lines("daemon.stopping")[-1]["reason"] == signal.SIGTERM.name
    assert len(site.lines("daemon.stopped")) == 2
    assert not site.answers("/ready", 200)


def purge(site: Site, before: set[str]) -> None:
    """What was there before is there, and nothing else; the administrator's own drop-in is the administrator's."""
    site.machine.run("rm", "-r", "/etc/systemd/system/syncd.service.d")
    site.machine.run("dpkg", "--purge", "syncd")

    assert site.changes() == before
    assert site.machine.run("getent", "passwd", "syncd", check=False) == ""
    assert site.machine.run("getent", "group", "syncd", check=False) == ""
