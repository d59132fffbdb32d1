"""`syncd check`: failed steps with remedies, unreached steps behind them, all servers tested."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from syncd.demo.servers import Slapd, chown_to_server_user, free_port
from tests import ldap_accounts
from tests.certificate_authority import CertificateAuthority
from tests.environment import Environment

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
{more}
"""
LIMITED = f"cn=limited,{ldap_accounts.ROOT}"
MAP = '[source.map]\nname = "cn"\nuserName = "uid"\nlastName = "{}"\n'
AUTHENTICATION = '[authentication]\nsource = "corp"\nagent_groups = ["{}"]\nadmin_groups = ["{}"]\n'


class Step(NamedTuple):
    """A finding."""

    of: str
    where: str
    step: str
    result: str
    what: str
    remedy: str


@dataclass
class CheckSetup:
    """Valid settings, and servers for them; a test changes single values."""

    env: Environment
    slapd: Slapd
    authority: CertificateAuthority

    @property
    def url(self) -> str:
        return f"ldaps://localhost:{self.slapd.tls_port}"

    def check(self, status: int, **changes: Any) -> list[Step]:
        """Return the findings of a check that exits with this status."""
        values = {
            "database": self.env.database_url, "password": "", "urls": f'"{self.url}"', "tls": "ldaps",
            "ca": f'ca_file = "{self.authority.file}"', "bind": "simple", "bind_dn": ldap_accounts.READER,
            "folder": self.env.folder, "base": ldap_accounts.PEOPLE, "filter": "(objectClass=inetOrgPerson)",
            "page_size": 3, "map": MAP.format("sn"), "more": "",
        } | changes  # fmt: skip
        self.env.config_file.write_text(SETTINGS.format(**values))
        result = self.env.run_command("check", "--json")
        assert result.returncode == status, result.stdout + result.stderr
        document = json.loads(result.stdout)
        steps = [Step(**step) for step in document["steps"]]
        assert (document["result"] == "failed") == (status == 1)
        for step in steps:
            assert bool(step.remedy) == (step.result in {"warning", "failed"}), step
        return steps


@pytest.fixture(scope="module")
def slapd(server_folder: Path, authority: CertificateAuthority) -> Iterator[Slapd]:
    """A server with LDAP accounts and a certificate of ten days; one account has a size limit of two entries."""
    folder = server_folder / "check-tls"
    folder.mkdir()
    pem, key = authority.issue("ten-days", "/CN=localhost", "DNS:localhost", days=10)
    for source, name in ((authority.file, "ca.pem"), (pem, "server.pem"), (key, "server.key")):
        (folder / name).write_bytes(source.read_bytes())
        chown_to_server_user(folder / name)
    folder.chmod(0o755)
    limits = f'limits dn.exact="{LIMITED}" size.soft=2 size.hard=2 size.prtotal=2\naccess to * by * read\n'
    server = Slapd(server_folder / "check-slapd", tls=folder, extra=f"include /etc/ldap/schema/nis.schema\n{limits}")
    server.create(
        ldap_accounts.build_ldif() + ldap_accounts.ldif_person(LIMITED, "limited", ldap_accounts.READER_PASSWORD)
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def setup(env: Environment, slapd: Slapd, authority: CertificateAuthority) -> CheckSetup:
    env.write_secret("ldap-password", ldap_accounts.READER_PASSWORD)
    env.write_queues({"Sales": "555 1", "Support": "555 2"})
    return CheckSetup(env, slapd, authority)


def results(steps: list[Step], of: str, where: str | None = None) -> dict[str, str]:
    """Return the worst result of each step."""
    order = ["ok", "not reached", "warning", "failed"]
    by_step: dict[str, str] = {}
    for step in steps:
        if step.of == of and where in {None, step.where}:
            by_step[step.step] = max(by_step.get(step.step, "ok"), step.result, key=order.index)
    return by_step


def failed_step(steps: list[Step]) -> Step:
    """Return the only failed step."""
    (only,) = [step for step in steps if step.result == "failed"]
    return only


def test_all_steps_succeed_and_the_certificate_ends_soon(setup: CheckSetup) -> None:
    """All steps are tested; a certificate of ten days is an urgent warning."""
    steps = setup.check(0, more=AUTHENTICATION.format(ldap_accounts.AGENTS, ldap_accounts.ADMINS))

    assert results(steps, "settings") == {"settings": "ok"}
    names = ["connection", "server", "encoding", "session", "roles", "schema", "rights"]
    assert results(steps, "database") == dict.fromkeys(names, "ok")
    assert results(steps, "acd") == dict.fromkeys(["file", "records", "attributes"], "ok")
    names = ["DNS", "TCP", "TLS", "bind", "base", "sign-in", "filter", "paging", "limits", "attributes"]
    assert results(steps, "corp") == dict.fromkeys(names, "ok") | {"TLS": "warning"}
    details = {step.step: step.what for step in steps if step.of == "corp"}
    assert details["TLS"].startswith("urgent: the certificate of localhost ends in 10 days")
    assert details["bind"] == f"as {ldap_accounts.READER}"
    size = len(ldap_accounts.ACCOUNTS) + 2  # a twin, and one without a password
    assert details["filter"] == f"(objectClass=inetOrgPerson) matches {size} entries"
    assert details["attributes"] == f"of {size} entries have: cn {size}, sn {size}, uid {size}"
    counted = [step.what for step in steps if step.step == "sign-in"]
    assert counted == [f"{ldap_accounts.ADMINS}: 2 members", f"{ldap_accounts.AGENTS}: 4 members"]
    assert next(step.what for step in steps if step.step == "records") == "it holds 2 entries"


def test_text_output(setup: CheckSetup) -> None:
    """A table per server, file or database, a line per step, and the counts at the end."""
    setup.check(0)
    result = setup.env.run_command("check")

    assert result.returncode == 0
    assert result.stdout.splitlines()[-1].endswith("1 warning")
    _, corp = result.stdout.split(f"corp {setup.url}")
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
def test_a_failed_step_of_the_source(setup: CheckSetup, changes: dict[str, str], step: str, words: str) -> None:
    """Earlier steps succeed, later ones are not reached, the other chains are tested."""
    steps = setup.check(1, **changes)

    assert failed_step(steps).step == step
    assert words in failed_step(steps).remedy
    order = ["DNS", "TCP", "TLS", "bind", "base", "filter", "paging", "limits", "attributes"]
    corp_results = results(steps, "corp")
    assert list(corp_results) == order
    assert {corp_results[name] for name in order[order.index(step) + 1 :]} == {"not reached"}
    assert "not reached" not in {corp_results[name] for name in order[: order.index(step)]}
    assert set(results(steps, "acd").values()) == set(results(steps, "database").values()) == {"ok"}


def test_a_mistyped_attribute(setup: CheckSetup) -> None:
    """It is a warning with a similar name."""
    steps = setup.check(0, map=MAP.format("employeNumber") + 'firstName = "snn"\nemployeeId = "telephonNumber"\n')

    missing = {step.what: step.remedy for step in steps if (step.step, step.result) == ("attributes", "warning")}
    size = len(ldap_accounts.ACCOUNTS) + 2
    assert set(missing) == {f"{name}: in 0 of {size} entries" for name in ("employenumber", "snn", "telephonnumber")}
    assert missing[f"snn: in 0 of {size} entries"].startswith("did you mean sn?")


def test_a_map_without_any_contact(setup: CheckSetup) -> None:
    """Without any mappable entry the step fails."""
    step = failed_step(setup.check(1, map='[source.map]\nname = "displayName"\n'))

    assert step.step == "attributes"
    assert "cannot be mapped" in step.what
    assert "no name" in step.what


def test_every_server_is_tested(setup: CheckSetup) -> None:
    """Servers behind an unreachable one are tested too."""
    away = f"ldaps://localhost:{free_port()}"
    steps = setup.check(1, urls=f'"{setup.url}", "{away}", "{setup.url}/"')

    assert failed_step(steps).where == away
    assert results(steps, "corp", setup.url) == results(steps, "corp", f"{setup.url}/")
    assert results(steps, "corp", setup.url)["attributes"] == "ok"


def test_warnings_for_no_tls_and_anonymous_bind(setup: CheckSetup) -> None:
    """tls = "none" and an anonymous bind succeed with warnings."""
    steps = setup.check(0, urls=f'"{setup.slapd.url}"', tls="none", ca="", bind="anonymous")

    assert [step.step for step in steps if step.result == "warning"] == ["TLS", "bind"]


def test_a_missing_group(setup: CheckSetup) -> None:
    """An unreadable group of [authentication] fails."""
    missing = f"cn=missing,{ldap_accounts.GROUPS}"
    step = failed_step(setup.check(1, more=AUTHENTICATION.format(missing, ldap_accounts.ADMINS)))

    assert step.step == "sign-in"
    assert missing in step.what
    assert "[authentication]" in step.remedy


def test_an_invalid_file(setup: CheckSetup) -> None:
    """Syntax errors and duplicates fail; an unmappable record is a warning."""
    setup.env.write_queue_file("queue = [\n")
    assert failed_step(setup.check(1)).step == "file"
    setup.env.write_queue_file('[[queue]]\nname = "A"\n[[queue]]\nname = "A"\n')
    assert failed_step(setup.check(1)).step == "records"
    setup.env.write_queue_file('[[queue]]\nname = "A"\n[[queue]]\nname = "B"\nphoneNumbr = "1"\n')

    steps = setup.check(0)

    (details,) = [step for step in steps if (step.of, step.result) == ("acd", "warning")]
    assert "did you mean phonenumber" in details.what


def test_failed_steps_of_the_database(setup: CheckSetup) -> None:
    """Unreachable, without the user, database, schema or role membership: each fails at its step."""
    url = setup.env.database_url
    server, _, name = url.rpartition("/")
    bare = f"bare_{name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {bare}")
        connection.execute(f"CREATE ROLE plain_{name} LOGIN")
    failures = {
        case: failed_step(setup.check(1, database=other))
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

    assert {case: step.step for case, step in failures.items()} == {
        "away": "connection", "nobody": "connection", "no database": "connection", "no schema": "schema",
        "no member": "roles",
    }  # fmt: skip
    assert "start PostgreSQL" in failures["away"].remedy
    assert "createuser" in failures["nobody"].remedy
    assert "createdb" in failures["no database"].remedy
    assert "syncd migrate" in failures["no schema"].remedy
    assert "GRANT syncd_sync, syncd_api" in failures["no member"].remedy


def test_invalid_settings(setup: CheckSetup) -> None:
    """Every problem is printed, nothing is tested: status 78."""
    setup.env.config_file.write_text("[database]\nurll = 1\n")
    result = setup.env.run_command("check")

    assert result.returncode == 78
    assert "did you mean 'url'?" in result.stderr
    assert result.stdout == ""


def test_hosts_of_alerts(setup: CheckSetup) -> None:
    """Their reachability is tested; only the host of a URL is shown."""
    dead = free_port()
    hook = f'[alerts.webhook]\nurl = "http://localhost:{dead}/hooks/only-for-us"\n'
    mail = f'[alerts.mail]\nhost = "127.0.0.1"\nport = {setup.slapd.port}\nsender = "a@b"\nto = ["c@d"]\n'
    steps = setup.check(1, more=hook + mail)

    assert failed_step(steps).where == f"webhook localhost:{dead}"
    assert results(steps, "alerts", f"mail 127.0.0.1:{setup.slapd.port}") == {"DNS": "ok", "TCP": "ok"}
    assert not any("only-for-us" in " ".join(step) for step in steps)
