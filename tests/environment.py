"""Premises: what an engineer has who runs syncd, as real servers: a directory branch, a queue file, a database."""

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ldap3
import psycopg
from psycopg.rows import dict_row

from syncd.app import use_cases
from syncd.core.sync.plan import Report
from syncd.demo.servers import Slapd
from syncd.settings import Settings, load

ROOT = "dc=example,dc=com"
LIMITED = f"cn=limited,{ROOT}"
LIMITED_PASSWORD = "password-of-the-limited-account"
READER = f"cn=reader,{ROOT}"
READER_PASSWORD = "password-of-the-reader"
LDIF = f"""\
dn: {ROOT}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {LIMITED}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: limited
userPassword: {LIMITED_PASSWORD}

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {READER_PASSWORD}
"""
LIMITS = f"""\
limits dn.exact="{LIMITED}" size.soft=2 size.hard=2 size.prtotal=2
access to * by * read
"""

SETTINGS = """\
[database]
url = "{database}"

[http]
listen = "127.0.0.1:{port}"
stop_within = "{stop_within}"

[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = [{urls}]
tls = "none"
bind_dn = "{bind_dn}"
bind_password_file = "{folder}/{password_file}"
base = "{base}"
page_size = {page_size}
connect_timeout = "60s"
read_timeout = "{read_timeout}"
deadline = "10m"
schedule = {schedule}
{ldap}
[source.guard]
max_removals = {max_removals}
{guard}
[source.lifecycle]
{lifecycle}

[[source]]
name = "acd"
type = "Queue"
kind = "file"
path = "{path}"
schedule = {file_schedule}
{file}
[source.guard]
max_removals = {max_removals}
{guard}
[source.lifecycle]
{lifecycle}
"""

# one limit at a time, and no grace: what a run decides is seen after that run
GUARD = "max_removals_day = 1000\nmax_removals_week = 1000\n"
LIFECYCLE = 'grace = "0s"\ngrace_runs = 1\n'


NEVER = '{ cron = "0 0 29 2 *" }'


class Branch:
    """One organizational unit of a shared slapd, for one test; people are added, changed and moved under it."""

    def __init__(self, slapd: Slapd) -> None:
        self.slapd = slapd
        self._hidden = 0
        self.base = f"ou=t{uuid.uuid4().hex},{ROOT}"
        self.connection = ldap3.Connection(
            ldap3.Server(slapd.url, get_info=ldap3.NONE), slapd.root_dn, slapd.password, auto_bind=True,
            check_names=False, raise_exceptions=True,
        )  # fmt: skip
        self.unit(self.base)

    def unit(self, dn: str) -> str:
        """Make an organizational unit."""
        self.connection.add(dn, "organizationalUnit")
        return dn

    def add(self, uid: str, given: str = "Ada", family: str = "Example", **more: Any) -> str:
        """Add a person; return the DN. Attributes of `more` replace the usual ones."""
        dn = f"uid={uid},{self.base}"
        attributes = {"cn": f"{given} {family}", "givenName": given, "sn": family, "uid": uid} | more
        self.connection.add(dn, "inetOrgPerson", attributes)
        return dn

    def change(self, dn: str, **values: Any) -> None:
        """Replace the values of attributes; an empty list removes one."""
        replaced = {
            name: [(ldap3.MODIFY_REPLACE, value if isinstance(value, list) else [value])]
            for name, value in values.items()
        }
        self.connection.modify(dn, replaced)

    def rename(self, dn: str, rdn: str, parent: str | None = None) -> str:
        """modrdn, with a new superior when one is named; return the new DN."""
        self.connection.modify_dn(dn, rdn, new_superior=parent)
        return f"{rdn},{parent or dn.partition(',')[2]}"

    def remove(self, dn: str) -> None:
        """Delete an entry."""
        self.connection.delete(dn)

    def hide(self, what: str) -> None:
        """Take the reader's right to see this below the branch: `attrs=mobile`, or `filter=(uid=ada)`."""
        rule = f'{{0}}to dn.subtree="{self.base}" {what} by dn.exact="{READER}" none by * read'
        self._govern((ldap3.MODIFY_ADD, [rule]))
        self._hidden += 1

    def show(self) -> None:
        """Give it back."""
        for _ in range(self._hidden):
            self._govern((ldap3.MODIFY_DELETE, ["{0}"]))
        self._hidden = 0

    def _govern(self, change: tuple[str, list[str]]) -> None:
        server = ldap3.Server(self.slapd.url, get_info=ldap3.NONE)
        with ldap3.Connection(server, "cn=config", self.slapd.password, check_names=False, raise_exceptions=True) as it:
            it.modify("olcDatabase={1}mdb,cn=config", {"olcAccess": [change]})

    def close(self) -> None:
        """End the connection."""
        self.show()
        self.connection.unbind()


@dataclass
class Premises:
    """A folder with settings and queue file, a database, and a branch of a directory."""

    folder: Path
    database_url: str
    branch: Branch
    port: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.secret("ldap-password", self.branch.slapd.password)
        self.secret("wrong-password", "not the password")
        self.secret("limited-password", LIMITED_PASSWORD)
        self.secret("reader-password", READER_PASSWORD)
        self.queues({})
        self.configure()

    @property
    def file(self) -> Path:
        return self.folder / "syncd.toml"

    def secret(self, name: str, text: str) -> None:
        """Write a secret that only its owner can read."""
        path = self.folder / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def queues(self, numbers: dict[str, str]) -> None:
        """Write the queue file: name -> number."""
        text = "".join(f'[[queue]]\nname = "{name}"\nphoneNumber = "{number}"\n' for name, number in numbers.items())
        self.write_queues(text or "queue = []\n")

    def write_queues(self, text: str) -> None:
        """Replace the queue file as an editor does: by rename."""
        path = self.folder / "queues.toml.new"
        path.write_text(text)
        path.replace(self.folder / "queues.toml")

    def configure(self, more: str = "", **changes: Any) -> Settings:
        """Write the settings with these values changed; return them loaded."""
        self.options |= changes
        values = {
            "database": self.database_url, "port": self.port, "stop_within": "10s", "folder": self.folder,
            "urls": f'"{self.branch.slapd.url}"', "bind_dn": self.branch.slapd.root_dn,
            "password_file": "ldap-password", "base": self.branch.base, "page_size": 3, "read_timeout": "60s",
            "schedule": NEVER, "max_removals": 2,
            "guard": GUARD, "lifecycle": LIFECYCLE, "path": "queues.toml", "ldap": "", "file": "",
        } | self.options  # fmt: skip
        values.setdefault("file_schedule", values["schedule"])
        self.file.write_text(SETTINGS.format(**values) + more)
        return self.settings

    @property
    def settings(self) -> Settings:
        return load(self.file)

    def run(self, source: str = "corp") -> Report:
        """One run in this process."""
        return use_cases.run_source(self.settings, source)

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """One command of the command line, to its end."""
        command = [sys.executable, "-m", "syncd", "--config", str(self.file), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), **options)

    def start(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command of the command line; its output goes to a file."""
        command = [sys.executable, "-m", "syncd", "--config", str(self.file), *words]
        with log.open("ab") as sink:
            return subprocess.Popen(command, stdout=sink, stderr=sink)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What a query gives, seen by the superuser."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def contacts(self, type_: str = "User") -> dict[str, dict[str, Any]]:
        """The served contacts of a type by name, with what the source decides and their ids."""
        found = self.rows(
            "SELECT name, id, numbers, user_name, first_name, last_name, employee_id, email_address, channel, roles, "
            "business_units, name_folded, search, dialled, source_key FROM contact "
            "WHERE type = %s AND served ORDER BY name",
            type_,
        )
        return {row["name"]: row for row in found}

    def fingerprint(self) -> list[dict[str, Any]]:
        """Every row of every table that holds the directory or speaks of it, exactly as stored."""
        return [
            row
            for table in ("contact", "directory", "source", "run", "held", "approval", "change", "reject", "token")
            for row in self.rows(f"SELECT '{table}' AS of, xmin::text, t.* FROM {table} t ORDER BY t::text")
        ]

    def revision(self) -> int:
        """The directory's revision."""
        return int(self.rows("SELECT revision FROM directory")[0]["revision"])


def happenings(site: Premises) -> list[Report]:
    """A first load; one is missing; three are held, a record is bad; a read that proves nothing."""
    site.configure(lifecycle='grace = "1h"\ngrace_runs = 3\n')
    site.queues({"Sales": "1"})
    dns = [site.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(8)]
    runs = [site.run("acd"), site.run()]
    site.branch.remove(dns[0])
    site.branch.change(dns[1], telephoneNumber="556 1")
    runs += [site.run()]
    for dn in dns[2:5]:
        site.branch.remove(dn)
    site.branch.change(dns[6], sn="x" * 300)
    runs += [site.run()]
    site.configure(base=f"ou=none,{site.branch.base}")
    return [*runs, site.run()]
