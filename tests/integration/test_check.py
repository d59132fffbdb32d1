"""`syncd check`: every broken step is named with its remedy, what hangs on it is not reached, every server is tried."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from syncd.demo.servers import Slapd, free_port, hand_over
from tests import ldap_accounts
from tests.certificate_authority import Authority
from tests.environment import Premises

SETTINGS = """\
[database]
url = "{database}"
{password}

[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = [{urls}]
tls = "{tls}"
{ca}
bind = "{bind}"
bind_dn = "{bind_dn}"
bind_password_file = "{folder}/ldap-password"
base = "{base}"
filter = "{filter}"
page_size = {page_size}
connect_timeout = "60s"
read_timeout = "60s"
schedule = {{ every = "15m" }}
{map}
[[source]]
name = "acd"
type = "Queue"
kind = "file"
path = "queues.toml"
schedule = {{ every = "15m" }}
{sign_in}
"""
LIMITED = f"cn=limited,{ldap_accounts.ROOT}"
MAP = '[source.map]\nname = "cn"\nuserName = "uid"\nlastName = "{}"\n'
SIGN_IN = '[sign_in]\nsource = "corp"\nagent_groups = ["{}"]\nadmin_groups = ["{}"]\n'


class Step(NamedTuple):
    """A finding."""

    of: str
    where: str
    step: str
    result: str
    what: str
    remedy: str


@dataclass
class Office:
    """Settings that can be checked, good ones but for what a test changes."""

    site: Premises
    slapd: Slapd
    authority: Authority

    @property
    def url(self) -> str:
        return f"ldaps://localhost:{self.slapd.tls_port}"

    def check(self, status: int, **changes: Any) -> list[Step]:
        """The findings of one check, which ends with this status."""
        values = {
            "database": self.site.database_url, "password": "", "urls": f'"{self.url}"', "tls": "ldaps",
            "ca": f'ca_file = "{self.authority.file}"', "bind": "simple", "bind_dn": ldap_accounts.READER,
            "folder": self.site.folder, "base": ldap_accounts.PEOPLE, "filter": "(objectClass=inetOrgPerson)",
            "page_size": 3, "map": MAP.format("sn"), "sign_in": "",
        } | changes  # fmt: skip
        self.site.file.write_text(SETTINGS.format(**values))
        done = self.site.command("check", "--json")
        assert done.returncode == status, done.stdout + done.stderr
        found = json.loads(done.stdout)
        steps = [Step(**step) for step in found["steps"]]
        assert (found["result"] == "failed") == (status == 1)
        for step in steps:
            assert bool(step.remedy) == (step.result in {"warning", "failed"}), step
        return steps


@pytest.fixture(scope="module")
def office_slapd(server_folder: Path, authority: Authority) -> Iterator[Slapd]:
    """A server with staff and a certificate of ten days; one account is cut off after two entries."""
    folder = server_folder / "check-tls"
    folder.mkdir()
    pem, key = authority.issue("ten-days", "/CN=localhost", "DNS:localhost", days=10)
    for source, name in ((authority.file, "ca.pem"), (pem, "server.pem"), (key, "server.key")):
        (folder / name).write_bytes(source.read_bytes())
        hand_over(folder / name)
    folder.chmod(0o755)
    limits = f'limits dn.exact="{LIMITED}" size.soft=2 size.hard=2 size.prtotal=2\naccess to * by * read\n'
    server = Slapd(server_folder / "check-slapd", tls=folder, extra=f"include /etc/ldap/schema/nis.schema\n{limits}")
    server.create(ldap_accounts.ldif() + ldap_accounts.person(LIMITED, "limited", ldap_accounts.READER_PASSWORD))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def office(site: Premises, office_slapd: Slapd, authority: Authority) -> Office:
    site.secret("ldap-password", ldap_accounts.READER_PASSWORD)
    site.queues({"Sales": "555 1", "Support": "555 2"})
    return Office(site, office_slapd, authority)


def results(steps: list[Step], of: str, where: str | None = None) -> dict[str, str]:
    """The worst result of each step of a chain."""
    order = ["ok", "not reached", "warning", "failed"]
    found: dict[str, str] = {}
    for step in steps:
        if step.of == of and where in {None, step.where}:
            found[step.step] = max(found.get(step.step, "ok"), step.result, key=order.index)
    return found


def broken(steps: list[Step]) -> Step:
    """The one step that failed."""
    (only,) = [step for step in steps if step.result == "failed"]
    return only


def test_what_is_well_and_what_ends_soon(office: Office) -> None:
    """All steps of all chains are tried; a certificate of ten days is told as urgent, and so are the counts."""
    steps = office.check(0, sign_in=SIGN_IN.format(ldap_accounts.AGENTS, ldap_accounts.ADMINS))

    assert results(steps, "settings") == {"settings": "ok"}
    assert results(steps, "database") == dict.fromkeys(["connection", "server", "roles", "schema", "rights"], "ok")
    assert results(steps, "acd") == dict.fromkeys(["file", "records", "attributes"], "ok")
    names = ["DNS", "TCP", "TLS", "bind", "base", "sign-in", "filter", "paging", "limits", "attributes"]
    assert results(steps, "corp") == dict.fromkeys(names, "ok") | {"TLS": "warning"}
    told = {step.step: step.what for step in steps if step.of == "corp"}
    assert told["TLS"].startswith("urgent: the certificate of localhost ends in 10 days")
    assert told["bind"] == f"as {ldap_accounts.READER}"
    size = len(ldap_accounts.PERSONS) + 2  # a twin, and one without a password
    assert told["filter"] == f"(objectClass=inetOrgPerson) matches {size} entries"
    assert told["attributes"] == f"of {size} entries have: cn {size}, sn {size}, uid {size}"
    counted = [step.what for step in steps if step.step == "sign-in"]
    assert counted == [f"{ldap_accounts.ADMINS}: 2 members", f"{ldap_accounts.AGENTS}: 4 members"]
    assert next(step.what for step in steps if step.step == "records") == "it holds 2 entries"


def test_a_table_for_people(office: Office) -> None:
    """The same without --json: a table for each place, a line for each step, and the counts at the end."""
    office.check(0)
    done = office.site.command("check")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("1 warning")
    _, corp = done.stdout.split(f"corp {office.url}")
    rows = [line for line in corp.partition("acd ")[0].splitlines() if " ok " in line or " warning " in line]
    assert len(rows) == 9
    assert "renewed" in next(row for row in rows if " TLS " in row)


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        ({"urls": '"ldaps://no-such-host.invalid:636"'}, "DNS", "name service"),
        ({"urls": f'"ldaps://localhost:{free_port()}"'}, "TCP", "whether the server runs"),
        ({"ca": ""}, "TLS", "ca_file"),
        ({"bind_dn": f"cn=nobody,{ldap_accounts.ROOT}"}, "bind", "bind_dn"),
        ({"base": f"ou=nowhere,{ldap_accounts.ROOT}"}, "base", "correct the source's base"),
        ({"filter": "(=x)"}, "filter", "RFC 4515"),
        ({"bind_dn": LIMITED}, "limits", "size limit"),
    ],
)
def test_a_broken_step_of_the_source(office: Office, changes: dict[str, str], step: str, words: str) -> None:
    """It is named with its remedy; those before it are well, those behind it were not reached, all else was tried."""
    steps = office.check(1, **changes)

    assert broken(steps).step == step
    assert words in broken(steps).remedy
    order = ["DNS", "TCP", "TLS", "bind", "base", "filter", "paging", "limits", "attributes"]
    found = results(steps, "corp")
    assert list(found) == order
    assert {found[name] for name in order[order.index(step) + 1 :]} == {"not reached"}
    assert "not reached" not in {found[name] for name in order[: order.index(step)]}
    assert set(results(steps, "acd").values()) == set(results(steps, "database").values()) == {"ok"}


def test_a_mistyped_attribute(office: Office) -> None:
    """It is in none of the entries, and the name that is meant is told; nothing else is wrong."""
    steps = office.check(0, map=MAP.format("employeNumber") + 'firstName = "snn"\nemployeeId = "telephonNumber"\n')

    missing = {step.what: step.remedy for step in steps if (step.step, step.result) == ("attributes", "warning")}
    size = len(ldap_accounts.PERSONS) + 2
    assert set(missing) == {f"{name}: in 0 of {size} entries" for name in ("employenumber", "snn", "telephonnumber")}
    assert missing[f"snn: in 0 of {size} entries"].startswith("did you mean sn?")


def test_a_map_that_makes_no_contact(office: Office) -> None:
    """When no entry has what the name is made of, the step is broken."""
    step = broken(office.check(1, map='[source.map]\nname = "displayName"\n'))

    assert step.step == "attributes"
    assert "cannot be mapped" in step.what
    assert "no name" in step.what


def test_every_server_is_tried(office: Office) -> None:
    """The second server is checked whether or not the first one answers."""
    away = f"ldaps://localhost:{free_port()}"
    steps = office.check(1, urls=f'"{office.url}", "{away}", "{office.url}/"')

    assert broken(steps).where == away
    assert results(steps, "corp", office.url) == results(steps, "corp", f"{office.url}/")
    assert results(steps, "corp", office.url)["attributes"] == "ok"


def test_clear_text_and_nobody(office: Office) -> None:
    """tls = "none" and an anonymous bind work, and are warned of; a server that shows nobody nothing has no base."""
    steps = office.check(0, urls=f'"{office.slapd.url}"', tls="none", ca="", bind="anonymous")

    assert [step.step for step in steps if step.result == "warning"] == ["TLS", "bind"]


def test_a_group_that_is_not_there(office: Office) -> None:
    """A group of [sign_in] that cannot be read gives nobody a role."""
    missing = f"cn=missing,{ldap_accounts.GROUPS}"
    step = broken(office.check(1, sign_in=SIGN_IN.format(missing, ldap_accounts.ADMINS)))

    assert step.step == "sign-in"
    assert missing in step.what
    assert "[sign_in]" in step.remedy


def test_a_file_that_cannot_be_read(office: Office) -> None:
    """What is wrong with a file, line included; a record that cannot be mapped is counted."""
    office.site.write_queues("queue = [\n")
    assert broken(office.check(1)).step == "file"
    office.site.write_queues('[[queue]]\nname = "A"\n[[queue]]\nname = "A"\n')
    assert broken(office.check(1)).step == "records"
    office.site.write_queues('[[queue]]\nname = "A"\n[[queue]]\nname = "B"\nphoneNumbr = "1"\n')

    steps = office.check(0)

    (told,) = [step for step in steps if (step.of, step.result) == ("acd", "warning")]
    assert "did you mean phonenumber" in told.what


def test_the_database(office: Office) -> None:
    """Away, without the user, without the schema, without membership in our roles: each is the step that is broken."""
    url = office.site.database_url
    server, _, name = url.rpartition("/")
    bare = f"bare_{name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {bare}")
        connection.execute(f"CREATE ROLE plain_{name} LOGIN")
    found = {
        case: broken(office.check(1, database=other))
        for case, other in {
            "away": f"postgresql://postgres@127.0.0.1:{free_port()}/{name}",
            "nobody": url.replace("postgres@", "nobody_of_this_name@"),
            "no database": f"{server}/none_of_this_name",
            "no schema": f"{server}/{bare}",
            "no member": url.replace("postgres@", f"plain_{name}@"),
        }.items()
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {bare}")
        connection.execute(f"DROP ROLE plain_{name}")

    assert {case: step.step for case, step in found.items()} == {
        "away": "connection", "nobody": "connection", "no database": "connection", "no schema": "schema",
        "no member": "roles",
    }  # fmt: skip
    assert "start PostgreSQL" in found["away"].remedy
    assert "createuser" in found["nobody"].remedy
    assert "createdb" in found["no database"].remedy
    assert "syncd migrate" in found["no schema"].remedy
    assert "GRANT syncd_sync, syncd_api" in found["no member"].remedy


def test_settings_that_cannot_be_used(office: Office) -> None:
    """Every problem is told, nothing is tried: status 78."""
    office.site.file.write_text("[database]\nurll = 1\n")
    done = office.site.command("check")

    assert done.returncode == 78
    assert "did you mean 'url'?" in done.stderr
    assert done.stdout == ""


def test_hosts_of_notices(office: Office) -> None:
    """Whether they can be reached is told, and of a URL only the host."""
    dead = free_port()
    hook = f'[notice.webhook]\nurl = "http://localhost:{dead}/hooks/only-for-us"\n'
    mail = f'[notice.mail]\nhost = "127.0.0.1"\nport = {office.slapd.port}\nsender = "a@b"\nto = ["c@d"]\n'
    steps = office.check(1, sign_in=hook + mail)

    assert broken(steps).where == f"webhook localhost:{dead}"
    assert results(steps, "notice", f"mail 127.0.0.1:{office.slapd.port}") == {"DNS": "ok", "TCP": "ok"}
    assert not any("only-for-us" in " ".join(step) for step in steps)
