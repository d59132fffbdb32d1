"""A test environment on real servers: settings, a subtree of an LDAP directory, a queue file and a database."""

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import ldap3
import psycopg
from psycopg.rows import dict_row

from syncd.app import use_cases
from syncd.core.sync.plan import Report
from syncd.demo.servers import Slapd
from syncd.settings import Settings, load

ROOT = "dc=example,dc=com"
LIMITED_DN = f"cn=limited,{ROOT}"
LIMITED_PASSWORD = "password-of-the-limited-account"
READER_DN = f"cn=reader,{ROOT}"
READER_PASSWORD = "password-of-the-reader"
LDIF = f"""\
dn: {ROOT}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {LIMITED_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: limited
userPassword: {LIMITED_PASSWORD}

dn: {READER_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {READER_PASSWORD}
"""
SLAPD_RULES = f"""\
limits dn.exact="{LIMITED_DN}" size.soft=2 size.hard=2 size.prtotal=2
access to * by * read
"""

SETTINGS = """\
[database]
url = "{database}"

[http]
listen = "127.0.0.1:{port}"
shutdown_timeout = "{shutdown_timeout}"

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

# one limit at a time, and no grace: the decision of a run is visible after that run
GUARD = "max_removals_day = 1000\nmax_removals_week = 1000\n"
LIFECYCLE = 'grace = "0s"\ngrace_runs = 1\n'

NEVER = '{ cron = "0 0 29 2 *" }'
COMMAND = [sys.executable, "-m", "syncd"]


class Branch:
    """An organizational unit of a shared slapd, for one test; people are added, changed and moved below it."""

    def __init__(self, slapd: Slapd) -> None:
        self.slapd = slapd
        self._denials = 0
        self.base = f"ou=t{uuid.uuid4().hex},{ROOT}"
        self.connection = ldap3.Connection(
            ldap3.Server(slapd.url, get_info=ldap3.NONE), slapd.root_dn, slapd.password, auto_bind=True,
            check_names=False, raise_exceptions=True,
        )  # fmt: skip
        self.add_unit(self.base)

    def add_unit(self, dn: str) -> str:
        """Add an organizational unit; return its DN."""
        self.connection.add(dn, "organizationalUnit")
        return dn

    def add(self, uid: str, given: str = "Ada", family: str = "Example", **extra: Any) -> str:
        """Add a person; return the DN. Attributes of `extra` replace the usual ones."""
        dn = f"uid={uid},{self.base}"
        attributes = {"cn": f"{given} {family}", "givenName": given, "sn": family, "uid": uid} | extra
        self.connection.add(dn, "inetOrgPerson", attributes)
        return dn

    def change(self, dn: str, **values: Any) -> None:
        """Replace the values of attributes; an empty list removes the attribute."""
        changes = {
            name: [(ldap3.MODIFY_REPLACE, value if isinstance(value, list) else [value])]
            for name, value in values.items()
        }
        self.connection.modify(dn, changes)

    def rename(self, dn: str, rdn: str, parent: str | None = None) -> str:
        """Change the RDN, and with `parent` the superior (modifyDN); return the new DN."""
        self.connection.modify_dn(dn, rdn, new_superior=parent)
        return f"{rdn},{parent or dn.partition(',')[2]}"

    def remove(self, dn: str) -> None:
        """Delete an entry."""
        self.connection.delete(dn)

    def find_keys(
        self, filter_: str = "(objectClass=*)", scope: Literal["BASE", "SUBTREE"] = "SUBTREE"
    ) -> dict[str, str]:
        """Search below the branch; return DN -> entryUUID."""
        self.connection.search(self.base, filter_, scope, attributes=["entryUUID"])
        entries = {entry["dn"]: entry["attributes"]["entryUUID"] for entry in self.connection.response or []}
        return {dn: key[0] if isinstance(key, list) else key for dn, key in entries.items()}

    def deny_reader(self, target: str) -> None:
        """Deny the reader access to this below the branch: `attrs=mobile`, or `filter=(uid=ada)`."""
        rule = f'{{0}}to dn.subtree="{self.base}" {target} by dn.exact="{READER_DN}" none by * read'
        self._change_access_rules((ldap3.MODIFY_ADD, [rule]))
        self._denials += 1

    def allow_reader(self) -> None:
        """Take all denials back."""
        for _ in range(self._denials):
            self._change_access_rules((ldap3.MODIFY_DELETE, ["{0}"]))
        self._denials = 0

    def _change_access_rules(self, change: tuple[str, list[str]]) -> None:
        server = ldap3.Server(self.slapd.url, get_info=ldap3.NONE)
        with ldap3.Connection(
            server, "cn=config", self.slapd.password, check_names=False, raise_exceptions=True
        ) as config:
            config.modify("olcDatabase={1}mdb,cn=config", {"olcAccess": [change]})

    def close(self) -> None:
        """Take denials back and end the connection."""
        self.allow_reader()
        self.connection.unbind()


@dataclass
class Environment:
    """A folder with settings and queue file, a database, and a branch of an LDAP directory.

    The settings have two sources: `corp` reads users from the branch, `acd` reads queues from the file.
    """

    folder: Path
    database_url: str
    branch: Branch
    port: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    extra: str = ""
    """Text at the end of the settings file, whatever else is configured."""

    def __post_init__(self) -> None:
        self.write_secret("ldap-password", self.branch.slapd.password)
        self.write_secret("wrong-password", "not the password")
        self.write_secret("limited-password", LIMITED_PASSWORD)
        self.write_secret("reader-password", READER_PASSWORD)
        self.write_queues({})
        self.configure()

    @property
    def config_file(self) -> Path:
        return self.folder / "syncd.toml"

    def write_secret(self, name: str, text: str) -> None:
        """Write a secret that only its owner can read."""
        path = self.folder / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def write_queues(self, numbers: dict[str, str]) -> None:
        """Write the queue file: name -> number."""
        text = "".join(f'[[queue]]\nname = "{name}"\nphoneNumber = "{number}"\n' for name, number in numbers.items())
        self.write_queue_file(text or "queue = []\n")

    def write_queue_file(self, text: str) -> None:
        """Replace the queue file as an editor does: by rename."""
        path = self.folder / "queues.toml.new"
        path.write_text(text)
        path.replace(self.folder / "queues.toml")

    def configure(self, extra: str = "", **changes: Any) -> Settings:
        """Write the settings file; return the settings loaded from it.

        `changes` are values of SETTINGS and stay in force for later calls; `extra` is appended this time only.
        """
        self.options |= changes
        values = {
            "database": self.database_url, "port": self.port, "shutdown_timeout": "10s", "folder": self.folder,
            "urls": f'"{self.branch.slapd.url}"', "bind_dn": self.branch.slapd.root_dn,
            "password_file": "ldap-password", "base": self.branch.base, "page_size": 3, "read_timeout": "60s",
            "schedule": NEVER, "max_removals": 2,
            "guard": GUARD, "lifecycle": LIFECYCLE, "path": "queues.toml", "ldap": "", "file": "",
        } | self.options  # fmt: skip
        values.setdefault("file_schedule", values["schedule"])
        self.config_file.write_text(SETTINGS.format(**values) + self.extra + extra)
        return self.settings

    @property
    def settings(self) -> Settings:
        return load(self.config_file)

    def run(self, source: str = "corp") -> Report:
        """Run a source once, in this process."""
        return use_cases.run_source(self.settings, source)

    def run_command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line to its end."""
        command = [*COMMAND, "--config", str(self.config_file), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), **options)

    def start_command(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command of the command line; its output goes to the file `log`."""
        command = [*COMMAND, "--config", str(self.config_file), *words]
        with log.open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output)

    def create_token(self, role: str, name: str = "tests") -> str:
        """Create an API token by the command line."""
        return self.run_command("token", "create", "--role", role, "--name", name).stdout.strip()

    def fetch_rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query, as the superuser sees them."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def served_contacts(self, type_: str = "User") -> dict[str, dict[str, Any]]:
        """Return the served contacts of a type by name: id, key and the columns that the source determines."""
        rows = self.fetch_rows(
            "SELECT name, id, numbers, user_name, first_name, last_name, employee_id, email_address, channel, roles, "
            "business_units, name_folded, search, dialled, source_key FROM contact "
            "WHERE type = %s AND served ORDER BY name",
            type_,
        )
        return {row["name"]: row for row in rows}

    def dump_tables(self) -> list[dict[str, Any]]:
        """Return every row of every table about the directory, exactly as stored; the member `of` is the table."""
        return [
            row
            for table in ("contact", "directory", "source", "run", "held", "approval", "change", "reject", "token")
            for row in self.fetch_rows(f"SELECT '{table}' AS of, xmin::text, t.* FROM {table} t ORDER BY t::text")
        ]

    def revision(self) -> int:
        """Return the current revision of the directory."""
        return int(self.fetch_rows("SELECT revision FROM directory")[0]["revision"])


def create_run_history(env: Environment) -> list[Report]:
    """Run the sources five times; return the reports.

    First a load of each source, then one missing contact, then three held removals and a rejected record, then an
    incomplete read. Users are named `Pat 0` to `Pat 7`.
    """
    env.configure(lifecycle='grace = "1h"\ngrace_runs = 3\n')
    env.write_queues({"Sales": "1"})
    dns = [env.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(8)]
    runs = [env.run("acd"), env.run()]
    env.branch.remove(dns[0])
    env.branch.change(dns[1], telephoneNumber="556 1")
    runs += [env.run()]
    for dn in dns[2:5]:
        env.branch.remove(dn)
    env.branch.change(dns[6], sn="x" * 300)
    runs += [env.run()]
    env.configure(base=f"ou=none,{env.branch.base}")
    return [*runs, env.run()]
