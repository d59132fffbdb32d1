"""Signing in over HTTP: who may do what in every cell, what is remembered, who is slowed, and an outage."""

import base64
import inspect
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import httpx
import pytest

from syncd.demo.servers import Postgres, Slapd
from syncd.settings import Http
from syncd.web import application
from tests import ldap_accounts
from tests.certificate_authority import Authority
from tests.http_daemon import Daemon, done, failed, new_database, run
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
SOURCE = """
[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = ["ldaps://localhost:{port}"]
ca_file = "{ca}"
bind_dn = "{reader}"
bind_password_file = "{folder}/ldap-password"
base = "{people}"
connect_timeout = "10s"
schedule = {{ cron = "0 0 29 2 *" }}

[sign_in]
source = "corp"
admin_groups = ["{admins}"]
agent_groups = ["{agents}", "{unique}", "{posix}", "{teams}"]
"""


Credentials: TypeAlias = str | tuple[str, str] | None


@dataclass
class Reception:
    """A daemon where people sign in, and the directory server that knows them."""

    daemon: Daemon
    slapd: Slapd
    client: httpx.Client

    def ask(self, credentials: Credentials, path: str = API, **more: Any) -> httpx.Response:
        """One request with a token, or a name and a password, or neither."""
        headers = dict(more.pop("headers", {}))
        if isinstance(credentials, tuple):
            headers["Authorization"] = basic(*credentials)
        elif credentials is not None:
            headers["Authorization"] = f"Bearer {credentials}"
        return self.client.request(more.pop("method", "GET"), path, headers=headers, **more)

    def as_(self, login: str, path: str = API, **more: Any) -> httpx.Response:
        """One request by one of the staff, with the right password."""
        return self.ask((login, ldap_accounts.PERSONS[login][1]), path, **more)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.daemon.lines() if line["event"] == name]

    def counted(self, outcome: str) -> float:
        text = self.ask(None, "/metrics").text
        lines = [line for line in text.splitlines() if line.startswith(f'syncd_sign_ins_total{{outcome="{outcome}"}}')]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def basic(name: str, password: str, charset: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode(charset)).decode()


def receive(folder: Path, database_url: str, slapd: Slapd, authority: Authority, more: str = "") -> Iterator[Reception]:
    secret = folder / "ldap-password"
    secret.write_text(ldap_accounts.READER_PASSWORD)
    secret.chmod(0o600)
    settings = SOURCE.format(
        port=slapd.tls_port, ca=authority.file, reader=ldap_accounts.READER, folder=folder, people=ldap_accounts.PEOPLE,
        admins=ldap_accounts.ADMINS, agents=ldap_accounts.AGENTS, unique=ldap_accounts.UNIQUE,
        posix=ldap_accounts.POSIX, teams=ldap_accounts.TEAMS,
    )  # fmt: skip
    for daemon in run(folder, database_url, 'trusted_proxies = ["127.0.0.0/8"]\n' + settings + more):
        with daemon.client(None) as client:
            yield Reception(daemon, slapd, client)
        text = daemon.log.read_text()
        for _, password in ldap_accounts.PERSONS.values():
            assert len(password) < 8 or password not in text, "no password is ever logged"
        for token in daemon.tokens.values():
            assert token not in text, "no token is ever logged"


@pytest.fixture(scope="module")
def slapd(server_folder: Path, authority: Authority) -> Iterator[Slapd]:
    yield from ldap_accounts.serve(server_folder / "ldap-reception", authority)


@pytest.fixture(scope="module")
def reception(
    postgres: Postgres, migrated: str, slapd: Slapd, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reception]:
    """A reception that the tests of this module share; each comes from an address of its own."""
    yield from receive(
        tmp_path_factory.mktemp("reception"), new_database(postgres, migrated), slapd, authority,
        "nested_groups = true\n",
    )  # fmt: skip


def from_(address: str) -> dict[str, str]:
    """The header by which the proxy in front of a test tells where it comes from."""
    return {"X-Forwarded-For": address}


ADDRESSES = count()


def from_anywhere() -> dict[str, str]:
    """The same, from where nobody has come from before."""
    number = next(ADDRESSES)
    return from_(f"198.18.{number // 250}.{number % 250}")


# --- roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["ada", "bob", "carl", "dora", "a(b)*\\c", 'müller, j"ürgen"', "*"])
def test_who_is_in_a_group_gets_in(reception: Reception, login: str) -> None:
    """By member, uniqueMember, memberUid and through nested groups, whatever letters name and password have."""
    done(reception.as_(login))
    answer = reception.as_(login, method="POST", json={"name": "New", "phoneNumber": "1"})

    if login in {"ada", "a(b)*\\c"}:
        done(answer)
    else:
        failed(answer, 403, 5)
    line = reception.daemon.line(answer.headers["x-request-id"])
    assert (line["caller"], line["role"]) == (login, "admin" if answer.status_code == 200 else "agent")


def test_who_is_in_no_group_is_told_so(reception: Reception) -> None:
    """The password is right, so it is no 401; the sentence says what to do. The polling of it is no bind each time."""
    for _ in range(3):
        assert "groups" in failed(reception.as_("eve", headers=from_("198.51.100.1")), 403, 5)

    (line,) = [line for line in reception.events("access.refused") if line.get("account") == "eve"]
    assert (line["kind"], line["client"]) == ("group", "198.51.100.1")


@pytest.mark.parametrize(
    "credentials",
    [
        ("ada", ""), ("", ""), ("", "x"), (" ", "x"), ("ada", "wrong"), ("nobody", "x"), ("*", "x"),
        ("ada)(uid=*", "x"),
        ("ada\0", "x"), ("ada", "x\0"), ("ada", "x\n"), ("twin", "twin"), ("a" * 300, "x"), ("ada", "x" * 300),
    ],
)  # fmt: skip
def test_credentials_that_are_none(reception: Reception, credentials: tuple[str, str]) -> None:
    """Empty, wrong, unknown, with control characters, of two people, too long: 401 and what would be right."""
    answer = reception.ask(credentials, headers=from_anywhere())

    failed(answer, 401, 20)
    assert answer.headers["www-authenticate"] == "Basic, Bearer"


@pytest.mark.parametrize("value", ["Basic", "Basic ***", "Basic YWRh", "Basic Zm9v=", "Digest x", "Basic é"])
def test_headers_that_are_none(reception: Reception, value: str) -> None:
    """No base64, no colon: 401, and nobody is asked."""
    failed(reception.ask(None, headers={"Authorization": value.encode()}), 401, 20)


def test_umlauts_of_an_old_client(reception: Reception) -> None:
    """Bytes that are no UTF-8 are ISO 8859-1."""
    login = 'müller, j"ürgen"'
    header = basic(login, "pässwörd", "latin-1")

    failed(reception.ask(None, headers={"Authorization": header, **from_("198.51.100.2")}), 401, 20)
    wait_until(lambda: any(line.get("account") == login for line in reception.events("access.refused")))


def test_a_sign_in_is_remembered(reception: Reception) -> None:
    """A desktop that polls does not bind each time."""
    done(reception.as_("bob"))
    before, asked = reception.counted("remembered"), reception.counted("accepted")
    for _ in range(10):
        done(reception.as_("bob"))

    assert reception.counted("remembered") == before + 10
    assert reception.counted("accepted") == asked


# --- who is slowed ---------------------------------------------------------------------------------------------------


def test_guessing_is_slowed(reception: Reception) -> None:
    """Three wrong passwords are free; then nothing is checked for a while, the right one neither, and then it is."""
    client = from_("203.0.113.1")
    for number in range(3):
        answer = reception.ask(("carl", f"guess {number}"), headers=client)
        failed(answer, 401, 20)
        assert "retry-after" not in answer.headers
    refused = [reception.ask(("carl", f"guess {number}"), headers=client) for number in range(3, 9)]

    assert {answer.status_code for answer in refused} == {401}
    assert refused[0].headers["retry-after"] == "1"
    assert "not checked" in failed(refused[0], 401, 20)
    found = [line for line in reception.events("access.refused") if line["client"] == "203.0.113.1"]
    assert [line["failures"] for line in found][:3] == [1, 2, 3]
    assert all(line["account"] == "carl" for line in found)
    assert reception.counted("slowed") > 0
    time.sleep(2)
    done(reception.as_("carl", headers=client))


def test_who_signed_in_before_is_not_shut_out_by_guesses(reception: Reception) -> None:
    """Somebody else's guesses at an account do not disturb its owner's desktop."""
    done(reception.as_("dora"))
    for number in range(6):
        failed(reception.ask(("dora", f"guess {number}"), headers=from_("203.0.113.2")), 401, 20)

    done(reception.as_("dora"))


def test_the_same_wrong_password_again_is_no_guess(reception: Reception) -> None:
    """A desktop with an old password binds once, and neither locks the account nor shuts out who knows the new one."""
    client = from_("203.0.113.3")
    asked = reception.counted("refused")
    answers = [reception.ask(("*", "the old password"), headers=client) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {401}
    assert 250 < int(answers[-1].headers["retry-after"]) <= 300
    assert reception.counted("refused") == asked + 1
    done(reception.as_("*", headers=client))


def test_an_address_is_slowed_whatever_account_it_tries(reception: Reception) -> None:
    """Many names from one address are guesses too; another address is not slowed by them."""
    answers = [reception.ask((f"name {number}", "x"), headers=from_("203.0.113.4")) for number in range(8)]

    assert {answer.status_code for answer in answers} == {401}
    assert "retry-after" in answers[-1].headers
    other = reception.ask(("name 100", "x"), headers=from_("203.0.113.5"))
    assert "retry-after" not in other.headers
    named = [line for line in reception.events("access.refused") if line["client"] == "203.0.113.4"]
    assert all("account" not in line for line in named), "what nobody is called may be a password in the wrong field"


def test_wrong_tokens_slow_their_address_and_no_good_token(reception: Reception) -> None:
    """From the fourth on they are refused unseen; a good token, and one that was made just now, get in all the same."""
    client = from_("203.0.113.6")
    answers = [reception.ask(f"syncd_wrong{number}", headers=client) for number in range(6)]

    assert {answer.status_code for answer in answers} == {401}
    assert "retry-after" in answers[-1].headers
    new = reception.daemon.command("token", "create", "--role", "agent", "--name", "made just now")
    for token in (reception.daemon.tokens["agent"], new):
        done(reception.ask(token, headers=client))
    lines = [line for line in reception.events("access.refused") if line["client"] == "203.0.113.6"]
    assert [line["client_failures"] for line in lines][:3] == [1, 2, 3]
    assert len(lines) < 6


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_the_client_behind_a_trusted_proxy(reception: Reception) -> None:
    """Its address is logged, and its scheme and host are in the uri."""
    headers = {
        "X-Forwarded-For": "6.6.6.6, 192.0.2.77",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "dir.example",
    }
    answer = reception.ask(
        reception.daemon.tokens["admin"], API, method="POST", headers=headers, json={"name": "N", "phoneNumber": "1"}
    )

    assert done(answer)["uri"].startswith("https://dir.example/api/v2/contacts/")
    assert reception.daemon.line(answer.headers["x-request-id"])["client"] == "192.0.2.77"


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_that_ends(reception: Reception) -> None:
    """It works until then, and not at the first call after; the list tells when."""
    token = reception.daemon.command("token", "create", "--role", "agent", "--name", "short", "--expires", "15s")
    done(reception.ask(token))
    wait_until(lambda: reception.ask(token).status_code != 200)

    assert reception.daemon.sql("SELECT expires_at <= now() FROM token WHERE name = 'short'")
    failed(reception.ask(token, headers=from_anywhere()), 401, 20)
    assert "expires" in reception.daemon.command("token", "list")


# --- every cell ------------------------------------------------------------------------------------------------------

CALLERS = ("nobody", "wrong token", "expired token", "revoked token", "wrong password", "agent token", "admin token",
           "agent sign-in", "admin sign-in")  # fmt: skip


@pytest.fixture(scope="module")
def credentials(reception: Reception) -> dict[str, str | tuple[str, str] | None]:
    """What each kind of caller shows."""
    command = reception.daemon.command
    expired = command("token", "create", "--role", "admin", "--name", "expired", "--expires", "1s")
    revoked = command("token", "create", "--role", "admin", "--name", "revoked")
    command("token", "revoke", "revoked")
    time.sleep(1.1)
    return {
        "nobody": None, "wrong token": "syncd_never", "expired token": expired, "revoked token": revoked,
        "wrong password": ("ada", "not hers"), "agent token": reception.daemon.tokens["agent"],
        "admin token": reception.daemon.tokens["admin"], "agent sign-in": ("bob", ldap_accounts.PERSONS["bob"][1]),
        "admin sign-in": ("ada", ldap_accounts.PERSONS["ada"][1]),
    }  # fmt: skip


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.mark.parametrize("caller", CALLERS)
def test_every_cell(reception: Reception, credentials: dict[str, Any], caller: str) -> None:
    """Every path of the table of places, with every method, for every caller: 401, 403, 405, or it is let through."""
    for path, operations in places().items():
        for method in METHODS:
            url = path.replace("{id}", "0" * 32).replace("{run}", "0")
            answer = reception.ask(
                credentials[caller], url, method=method, headers=from_anywhere(), content=b"nonsense"
            )
            where = f"{caller}: {method} {url}: {answer.status_code} {answer.text[:200]}"
            expected = expectation(operations, method, caller)
            if expected:
                assert answer.status_code == expected, where
            else:
                assert answer.status_code not in {401, 403, 405, 500}, where
    assert len(places()) > 8


def places() -> dict[str, Any]:
    """The table itself: path -> {method: Operation}. Nothing behind it is needed to look at it."""
    nothing: dict[str, Any] = dict.fromkeys([*inspect.signature(application).parameters][1:])
    nothing["status"] = SimpleNamespace(ages=list)
    return {place.path: place.operations for place in application(Http(), **nothing).places.all}


def expectation(operations: Any, method: str, caller: str) -> int | None:
    """The status that the contract asks for; None where the call is let through."""
    open_ = all(not operation.roles for operation in operations.values())
    role = caller.split(maxsplit=1)[0] if caller.split(maxsplit=1)[0] in {"agent", "admin"} else None
    if not open_ and role is None:
        return 401
    if method not in operations:
        return 405
    return 403 if not open_ and role not in operations[method].roles else None


# --- an outage -------------------------------------------------------------------------------------------------------


@pytest.fixture
def forgetful(tmp_path: Path, database_url: str, slapd: Slapd, authority: Authority) -> Iterator[Reception]:
    """A reception of one test's own that remembers for a second."""
    yield from receive(tmp_path, database_url, slapd, authority, 'remember = "1s"\n')


def test_while_the_directory_server_is_away(forgetful: Reception) -> None:
    """Tokens and who signed in before get in, and are told; others get 503 that names tokens; then all is as before."""
    done(forgetful.as_("ada"))
    forgetful.slapd.stop()
    try:
        time.sleep(1.1)
        for _ in range(3):
            answer = forgetful.as_("ada")
            done(answer)
            assert answer.headers["directory-sign-in"] == "unreachable"
        done(forgetful.as_("ada", method="POST", json={"name": "New", "phoneNumber": "1"}))
        refused = forgetful.as_("bob")
        assert "tokens still work" in failed(refused, 503, 4)
        assert refused.headers["retry-after"] == "5"
        failed(forgetful.ask(("ada", "wrong")), 503, 4)
        done(forgetful.ask(forgetful.daemon.tokens["agent"]))
        assert len(forgetful.events("sign_in.lost")) == 1
    finally:
        forgetful.slapd.start()
    wait_until(lambda: forgetful.as_("bob").status_code == 200)
    answer = forgetful.as_("ada")
    done(answer)
    assert "directory-sign-in" not in answer.headers
    assert len(forgetful.events("sign_in.back")) == 1


def test_without_the_table_only_tokens_count(reception: Reception, daemon: Daemon) -> None:
    """Nobody signs in by name where that is not set up, and untrusted proxies are nobody."""
    with daemon.client(None) as nobody:
        answer = nobody.get(API, headers={"Authorization": basic("ada", "x"), **from_("192.0.2.1")})
        assert "send a token" in failed(answer, 401, 20)
    assert daemon.line(answer.headers["x-request-id"])["client"] == "127.0.0.1"


def test_a_proxy_on_a_unix_socket(tmp_path: Path, database_url: str) -> None:
    """Who comes that way is `unix`, and trusted when the setting says so."""
    daemon = Daemon(tmp_path, database_url, 0)
    daemon.start('trusted_proxies = ["unix"]\n', listen=f"unix:{tmp_path}/http")
    try:
        with daemon.client(None) as proxy:
            plain, forwarded = proxy.get(API), proxy.get(API, headers=from_("192.0.2.9"))
        found = [daemon.line(answer.headers["x-request-id"])["client"] for answer in (plain, forwarded)]
    finally:
        assert daemon.stop() == 0
    assert found == ["unix", "192.0.2.9"]
