"""A test rig: a private slapd with many inetOrgPerson entries, a private PostgreSQL, and settings for both."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from syncd.demo.servers import Postgres, Slapd

ATTRIBUTES = ("givenName", "sn", "uid", "employeeNumber", "telephoneNumber", "mobile", "mail")
BASE = "ou=people,dc=example,dc=com"

SETTINGS = """\
[database]
url = "{database}"

[log]
level = "error"

[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = ["{ldap}"]
tls = "none"
bind_dn = "{root_dn}"
bind_password_file = "{folder}/ldap-password"
base = "{base}"
page_size = {page_size}
schedule = {{ every = "1h" }}
[source.map]
name = "{{givenName}} {{sn}}"
userName = "uid"
firstName = "givenName"
lastName = "sn"
employeeId = "employeeNumber"
phoneNumber = ["telephoneNumber", "mobile"]
emailAddress = "mail"
"""


def build_ldif(count: int) -> Iterator[str]:
    """Yield a directory of `count` people as LDIF, in blocks."""
    yield "dn: dc=example,dc=com\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n"
    yield f"dn: {BASE}\nobjectClass: organizationalUnit\nou: people\n\n"
    for number in range(count):
        yield ldif_person(number)


def ldif_person(number: int) -> str:
    """Return one entry with the seven attributes of the default map."""
    given, family = f"Given{number % 997}", f"Family{number % 4999}"
    return (
        f"dn: uid=u{number:07},{BASE}\nobjectClass: inetOrgPerson\nuid: u{number:07}\ncn: {given} {family}\n"
        f"givenName: {given}\nsn: {family}\nemployeeNumber: {100000 + number}\n"
        f"telephoneNumber: +1 555 {number // 10000:03} {number % 10000:04}\nmobile: +1 666 {number:07}\n"
        f"mail: u{number:07}@example.com\n\n"
    )


@dataclass
class Rig:
    """Running servers; `settings` is the file for `syncd --config`."""

    folder: Path
    slapd: Slapd
    postgres: Postgres
    count: int
    page_size: int = 1000

    @property
    def settings(self) -> Path:
        return self.folder / "syncd.toml"

    def create_database(self) -> None:
        """Create an empty, migrated database."""
        import psycopg

        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
            connection.execute("CREATE DATABASE bench")
        self.syncd("migrate")

    def syncd(self, *arguments: str) -> str:
        """Run a command of syncd to its end; return its stdout."""
        command = [sys.executable, "-m", "syncd", "--config", str(self.settings), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{command} ended with {result.returncode}: {result.stderr}{result.stdout}")
        return result.stdout

    def ldapsearch(self) -> list[str]:
        """Return the command that reads the same entries and attributes with OpenLDAP's client."""
        return [
            "ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.slapd.url, "-D", self.slapd.root_dn, "-w",
            self.slapd.password, "-E", f"pr={self.page_size}/noprompt", "-b", BASE, "(objectClass=inetOrgPerson)",
            "entryUUID", *ATTRIBUTES,
        ]  # fmt: skip

    def modify(self, numbers: range, stamp: str) -> None:
        """Change the mobile numbers of these people."""
        changes = "".join(
            f"dn: uid=u{number:07},{BASE}\nchangetype: modify\nreplace: mobile\nmobile: +1 777 {stamp} {number:07}\n\n"
            for number in numbers
        )
        command = ["ldapmodify", "-x", "-H", self.slapd.url, "-D", self.slapd.root_dn, "-w", self.slapd.password]
        subprocess.run(command, input=changes, text=True, capture_output=True, check=True)


@contextmanager
def start_rig(count: int, page_size: int = 1000) -> Iterator[Rig]:
    """Run a rig with `count` people; its servers and files are removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-bench-"))
    folder.chmod(0o755)
    slapd, postgres = Slapd(folder / "slapd"), Postgres(folder / "postgres", ["-c", "max_wal_size=4GB"])
    try:
        slapd.create("".join(build_ldif(count)))
        slapd.start()
        postgres.create()
        postgres.start()
        password = folder / "ldap-password"
        password.write_text(slapd.password)
        password.chmod(0o600)
        text = SETTINGS.format(
            database=postgres.url("bench"), ldap=slapd.url, root_dn=slapd.root_dn, folder=folder, base=BASE,
            page_size=page_size,
        )  # fmt: skip
        (folder / "syncd.toml").write_text(text)
        yield Rig(folder, slapd, postgres, count, page_size)
    finally:
        slapd.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
