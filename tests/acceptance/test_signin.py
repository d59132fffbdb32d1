"""Authentication over HTTP: roles, cached passwords, throttling, every endpoint and role, an outage of the server."""

import base64
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.certificate_authority import CertificateAuthority
from tests.http_daemon import HttpDaemon, assert_error, assert_ok, create_database, run_daemon
from tests.waiting import wait_until

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

[authentication]
source = "corp"
admin_groups = ["{admins}"]
agent_groups = ["{agents}", "{unique}", "{posix}", "{teams}"]
"""


Credentials: TypeAlias = str | tuple[str, str] | None


@dataclass
class AuthenticatingDaemon:
    """A daemon with password authentication, and the directory server with the accounts."""

    daemon: HttpDaemon
    slapd: Slapd
    client: httpx.Client

    def request(self, credentials: Credentials, path: str = API, **options: Any) -> httpx.Response:
        """Send a request with a token, with a name and a password, or with neither; by default a GET."""
        headers = dict(options.pop("headers", {}))
        if isinstance(credentials, tuple):
            headers["Authorization"] = basic(*credentials)
        elif credentials is not None:
            headers["Authorization"] = f"Bearer {credentials}"
        return self.client.request(options.pop("method", "GET"), path, headers=headers, **options)

    def request_as(self, login: str, path: str = API, **options: Any) -> httpx.Response:
        """Send a request with the right password of an account."""
        return self.request((login, ldap_accounts.ACCOUNTS[login][1]), path, **options)

    def count_attempts(self, outcome: str) -> float:
        """Return the number of authentications with an outcome, by the metrics."""
        return self.daemon.metric(f'syncd_auth_attempts_total{{outcome="{outcome}"}}')


def basic(name: str, password: str, charset: str = "utf-8") -> str:
    """Return the header value of HTTP Basic authentication."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode(charset)).decode()


@contextmanager
def run_authenticating_daemon(
    folder: Path, database_url: str, slapd: Slapd, authority: CertificateAuthority, extra: str = ""
) -> Iterator[AuthenticatingDaemon]:
    """Run a daemon; at the end its log must have no password and no token."""
    secret = folder / "ldap-password"
    secret.write_text(ldap_accounts.READER_PASSWORD)
    secret.chmod(0o600)
    settings = SOURCE.format(
        port=slapd.tls_port, ca=authority.file, reader=ldap_accounts.READER, folder=folder, people=ldap_accounts.PEOPLE,
        admins=ldap_accounts.ADMINS, agents=ldap_accounts.AGENTS, unique=ldap_accounts.UNIQUE,
        posix=ldap_accounts.POSIX, teams=ldap_accounts.TEAMS,
    )  # fmt: skip
    with run_daemon(folder, database_url, 'trusted_proxies = ["127.0.0.0/8"]\n' + settings + extra) as daemon:
        with daemon.client(None) as client:
            yield AuthenticatingDaemon(daemon, slapd, client)
        text = daemon.log.read_text()
        for _, password in ldap_accounts.ACCOUNTS.values():
            assert len(password) < 8 or password not in text, "no password is ever logged"
        for token in daemon.tokens.values():
            assert token not in text, "no token is ever logged"


@pytest.fixture(scope="module")
def slapd(server_folder: Path, authority: CertificateAuthority) -> Iterator[Slapd]:
    """The directory server with the accounts, shared by the module."""
    yield from ldap_accounts.serve_slapd(server_folder / "ldap-accounts", authority)


@pytest.fixture(scope="module")
def auth(
    postgres: Postgres,
    template_database: str,
    slapd: Slapd,
    authority: CertificateAuthority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AuthenticatingDaemon]:
    """A daemon that the tests of this module share; each test sends requests from an address of its own."""
    folder, url = tmp_path_factory.mktemp("auth"), create_database(postgres, template_database)
    with run_authenticating_daemon(folder, url, slapd, authority, "nested_groups = true\n") as daemon:
        yield daemon


def forwarded_for(address: str) -> dict[str, str]:
    """Return the header by which a trusted proxy forwards the client's address."""
    return {"X-Forwarded-For": address}


ADDRESSES = count()


def forwarded_for_new_address() -> dict[str, str]:
    """Return the header with an address that no test has used."""
    number = next(ADDRESSES)
    return forwarded_for(f"198.18.{number // 250}.{number % 250}")


# --- roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["ada", "bob", "carl", "dora", "a(b)*\\c", 'müller, j"ürgen"', "*"])
def test_members_of_a_group_have_its_role(auth: AuthenticatingDaemon, login: str) -> None:
    """By member, uniqueMember, memberUid and nested groups, with any characters in name and password."""
    assert_ok(auth.request_as(login))
    answer = auth.request_as(login, method="POST", json={"name": "New", "phoneNumber": "1"})

    if login in {"ada", "a(b)*\\c"}:
        assert_ok(answer)
    else:
        assert_error(answer, 403, 5)
    line = auth.daemon.access_log_line(answer.headers["x-request-id"])
    assert (line["caller"], line["role"]) == (login, "admin" if answer.status_code == 200 else "agent")


def test_an_account_without_a_group_is_forbidden(auth: AuthenticatingDaemon) -> None:
    """The password is right, so it is 403 with the remedy; it is cached, so that polling causes one log line."""
    for _ in range(3):
        assert "groups" in assert_error(auth.request_as("eve", headers=forwarded_for("198.51.100.1")), 403, 5)

    (line,) = [line for line in auth.daemon.log_lines("auth.failed") if line.get("account") == "eve"]
    assert (line["kind"], line["client"]) == ("group", "198.51.100.1")


@pytest.mark.parametrize(
    "credentials",
    [
        ("ada", ""), ("", ""), ("", "x"), (" ", "x"), ("ada", "wrong"), ("nobody", "x"), ("*", "x"),
        ("ada)(uid=*", "x"),
        ("ada\0", "x"), ("ada", "x\0"), ("ada", "x\n"), ("twin", "twin"), ("a" * 300, "x"), ("ada", "x" * 300),
    ],
)  # fmt: skip
def test_invalid_credentials_are_rejected(auth: AuthenticatingDaemon, credentials: tuple[str, str]) -> None:
    """Empty, wrong, unknown, with control characters, ambiguous, too long: 401 with the accepted schemes."""
    answer = auth.request(credentials, headers=forwarded_for_new_address())

    assert_error(answer, 401, 20)
    assert answer.headers.get_list("www-authenticate") == [
        f'{scheme} realm="syncd", charset="UTF-8"' for scheme in ("Bearer", "Basic")
    ]


@pytest.mark.parametrize("value", ["Basic", "Basic ***", "Basic YWRh", "Basic Zm9v=", "Digest x", "Basic é"])
def test_malformed_authorization_is_rejected(auth: AuthenticatingDaemon, value: str) -> None:
    """No base64, no colon, another scheme: 401."""
    assert_error(auth.request(None, headers={"Authorization": value.encode()}), 401, 20)


def test_credentials_in_latin_1(auth: AuthenticatingDaemon) -> None:
    """Bytes that are not UTF-8 are read as ISO 8859-1."""
    login = 'müller, j"ürgen"'
    header = basic(login, "pässwörd", "latin-1")

    assert_error(auth.request(None, headers={"Authorization": header, **forwarded_for("198.51.100.2")}), 401, 20)
    wait_until(lambda: any(line.get("account") == login for line in auth.daemon.log_lines("auth.failed")))


def test_an_accepted_password_is_cached(auth: AuthenticatingDaemon) -> None:
    """A client that polls causes no further bind."""
    assert_ok(auth.request_as("bob"))
    cached, accepted = auth.count_attempts("remembered"), auth.count_attempts("accepted")
    for _ in range(10):
        assert_ok(auth.request_as("bob"))

    assert auth.count_attempts("remembered") == cached + 10
    assert auth.count_attempts("accepted") == accepted


# --- throttling ------------------------------------------------------------------------------------------------------


def test_guesses_are_throttled(auth: AuthenticatingDaemon) -> None:
    """Three wrong passwords are free; then no password is checked for a while, not even the right one."""
    client = forwarded_for("203.0.113.1")
    for number in range(3):
        answer = auth.request(("carl", f"guess {number}"), headers=client)
        assert_error(answer, 401, 20)
        assert "retry-after" not in answer.headers
    # on a busy machine a guess may come after the pause: it is checked, and the next pause is twice as long
    for number in count(3):
        throttled = auth.request(("carl", f"guess {number}"), headers=client)
        message = assert_error(throttled, 401, 20)
        if "retry-after" in throttled.headers:
            break

    assert "not checked" in message
    lines = [line for line in auth.daemon.log_lines("auth.failed") if line["client"] == "203.0.113.1"]
    failures = [line["failures"] for line in lines]
    assert failures[:3] == [1, 2, 3]
    assert 1 <= int(throttled.headers["retry-after"]) <= 2 ** (max(failures) - 3)
    assert all(line["account"] == "carl" for line in lines)
    assert auth.count_attempts("slowed") > 0
    wait_until(lambda: auth.request_as("carl", headers=client).status_code == 200)


def test_guesses_do_not_lock_out_an_accepted_password(auth: AuthenticatingDaemon) -> None:
    """Guesses at an account from another address do not affect a client that authenticated before."""
    assert_ok(auth.request_as("dora"))
    for number in range(6):
        assert_error(auth.request(("dora", f"guess {number}"), headers=forwarded_for("203.0.113.2")), 401, 20)

    assert_ok(auth.request_as("dora"))


def test_a_repeated_wrong_password_is_no_guess(auth: AuthenticatingDaemon) -> None:
    """A client with an old password causes one bind, and neither locks the account nor throttles the new password."""
    client = forwarded_for("203.0.113.3")
    before = auth.count_attempts("refused")
    answers = [auth.request(("*", "the old password"), headers=client) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {401}
    assert 250 < int(answers[-1].headers["retry-after"]) <= 300
    assert auth.count_attempts("refused") == before + 1
    assert_ok(auth.request_as("*", headers=client))


def test_an_address_is_throttled_for_all_accounts(auth: AuthenticatingDaemon) -> None:
    """Many names from one address are guesses too; another address is not throttled by them."""
    answers = [auth.request((f"name {number}", "x"), headers=forwarded_for("203.0.113.4")) for number in range(8)]

    assert {answer.status_code for answer in answers} == {401}
    assert "retry-after" in answers[-1].headers
    other = auth.request(("name 100", "x"), headers=forwarded_for("203.0.113.5"))
    assert "retry-after" not in other.headers
    lines = [line for line in auth.daemon.log_lines("auth.failed") if line["client"] == "203.0.113.4"]
    assert all("account" not in line for line in lines), "an unknown name may be a password in the wrong field"


def test_wrong_tokens_throttle_their_address_but_no_valid_token(auth: AuthenticatingDaemon) -> None:
    """From the fourth on they are rejected unchecked; a known and a new token are accepted from the same address."""
    client = forwarded_for("203.0.113.6")
    answers = [auth.request(f"syncd_wrong{number}", headers=client) for number in range(6)]

    assert {answer.status_code for answer in answers} == {401}
    assert "retry-after" in answers[-1].headers
    new = auth.daemon.run_command("token", "create", "--role", "agent", "--name", "made just now")
    for token in (auth.daemon.tokens["agent"], new):
        assert_ok(auth.request(token, headers=client))
    lines = [line for line in auth.daemon.log_lines("auth.failed") if line["client"] == "203.0.113.6"]
    assert [line["client_failures"] for line in lines][:3] == [1, 2, 3]
    assert len(lines) < 6


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_the_client_behind_a_trusted_proxy(auth: AuthenticatingDaemon) -> None:
    """Its address is logged, and its scheme and host are in the uri."""
    headers = {
        "X-Forwarded-For": "6.6.6.6, 192.0.2.77",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "dir.example",
    }
    answer = auth.request(
        auth.daemon.tokens["admin"], API, method="POST", headers=headers, json={"name": "N", "phoneNumber": "1"}
    )

    assert assert_ok(answer)["uri"].startswith("https://dir.example/api/v2/contacts/")
    assert auth.daemon.access_log_line(answer.headers["x-request-id"])["client"] == "192.0.2.77"


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_expires(auth: AuthenticatingDaemon) -> None:
    """It is valid until then, and not at the first request after; the list shows the time."""
    token = auth.daemon.run_command("token", "create", "--role", "agent", "--name", "short", "--expires", "15s")
    assert_ok(auth.request(token))
    wait_until(lambda: auth.request(token).status_code != 200)

    assert auth.daemon.query_value("SELECT expires_at <= now() FROM token WHERE name = 'short'")
    assert_error(auth.request(token, headers=forwarded_for_new_address()), 401, 20)
    assert "expires" in auth.daemon.run_command("token", "list")


# --- every endpoint --------------------------------------------------------------------------------------------------

CALLERS = ("nobody", "wrong token", "expired token", "revoked token", "wrong password", "agent token", "admin token",
           "agent sign-in", "admin sign-in")  # fmt: skip


@pytest.fixture(scope="module")
def credentials(auth: AuthenticatingDaemon) -> dict[str, str | tuple[str, str] | None]:
    """The credentials of each kind of caller."""
    command = auth.daemon.run_command
    expired = command("token", "create", "--role", "admin", "--name", "expired", "--expires", "1s")
    revoked = command("token", "create", "--role", "admin", "--name", "revoked")
    command("token", "revoke", "revoked")
    wait_until(lambda: bool(auth.daemon.query_value("SELECT expires_at <= now() FROM token WHERE name = 'expired'")))
    return {
        "nobody": None, "wrong token": "syncd_never", "expired token": expired, "revoked token": revoked,
        "wrong password": ("ada", "not hers"), "agent token": auth.daemon.tokens["agent"],
        "admin token": auth.daemon.tokens["admin"], "agent sign-in": ("bob", ldap_accounts.ACCOUNTS["bob"][1]),
        "admin sign-in": ("ada", ldap_accounts.ACCOUNTS["ada"][1]),
    }  # fmt: skip


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.mark.parametrize("caller", CALLERS)
def test_every_endpoint_method_and_caller(auth: AuthenticatingDaemon, credentials: dict[str, Any], caller: str) -> None:
    """401, 403 or 405 as the route table says, otherwise the request reaches the endpoint."""
    for path, endpoints in load_routes().items():
        for method in METHODS:
            url = path.replace("{id}", "0" * 32).replace("{run}", "0")
            answer = auth.request(
                credentials[caller], url, method=method, headers=forwarded_for_new_address(), content=b"nonsense"
            )
            context = f"{caller}: {method} {url}: {answer.status_code} {answer.text[:200]}"
            expected = expected_status(endpoints, method, caller)
            if expected:
                assert answer.status_code == expected, context
            else:
                assert answer.status_code not in {401, 403, 405, 500}, context
    assert len(load_routes()) > 8


def load_routes() -> dict[str, Any]:
    """Return the route table, path -> {method: Endpoint}, of an application that cannot serve."""
    nothing: dict[str, Any] = dict.fromkeys([*inspect.signature(application).parameters][1:])
    nothing["status"] = SimpleNamespace(ages=list)
    return {route.path: route.endpoints for route in application(Http(), **nothing).router.routes}


def expected_status(endpoints: Any, method: str, caller: str) -> int | None:
    """Return the status that the contract requires; None where the request reaches the endpoint."""
    open_ = all(not endpoint.roles for endpoint in endpoints.values())
    role = caller.split(maxsplit=1)[0] if caller.split(maxsplit=1)[0] in {"agent", "admin"} else None
    if not open_ and role is None:
        return 401
    method = "GET" if method == "HEAD" else method
    if method not in endpoints:
        return 405
    return 403 if not open_ and role not in endpoints[method].roles else None


# --- an outage -------------------------------------------------------------------------------------------------------


@pytest.fixture
def auth_with_short_cache(
    tmp_path: Path, database_url: str, slapd: Slapd, authority: CertificateAuthority
) -> Iterator[AuthenticatingDaemon]:
    """A daemon for one test, with a password cache of one second."""
    with run_authenticating_daemon(tmp_path, database_url, slapd, authority, 'cache_ttl = "1s"\n') as daemon:
        yield daemon


def test_an_outage_of_the_directory_server(auth_with_short_cache: AuthenticatingDaemon) -> None:
    """Tokens and passwords accepted before are valid, other passwords get a 503 that names tokens."""
    auth = auth_with_short_cache
    assert_ok(auth.request_as("ada"))
    auth.slapd.stop()
    try:
        wait_until(lambda: "directory-sign-in" in auth.request_as("ada").headers)
        for _ in range(3):
            answer = auth.request_as("ada")
            assert_ok(answer)
            assert answer.headers["directory-sign-in"] == "unreachable"
        assert_ok(auth.request_as("ada", method="POST", json={"name": "New", "phoneNumber": "1"}))
        refused = auth.request_as("bob")
        assert "tokens still work" in assert_error(refused, 503, 4)
        assert refused.headers["retry-after"] == "5"
        assert_error(auth.request(("ada", "wrong")), 503, 4)
        assert_ok(auth.request(auth.daemon.tokens["agent"]))
        assert len(auth.daemon.log_lines("auth.unavailable")) == 1
    finally:
        auth.slapd.start()
    wait_until(lambda: auth.request_as("bob").status_code == 200)
    answer = auth.request_as("ada")
    assert_ok(answer)
    assert "directory-sign-in" not in answer.headers
    assert len(auth.daemon.log_lines("auth.restored")) == 1


def test_without_authentication_settings_only_tokens_are_accepted(
    auth: AuthenticatingDaemon, daemon: HttpDaemon
) -> None:
    """And X-Forwarded-For of an untrusted proxy is ignored."""
    with daemon.client(None) as anonymous:
        answer = anonymous.get(API, headers={"Authorization": basic("ada", "x"), **forwarded_for("192.0.2.1")})
        assert "send a token" in assert_error(answer, 401, 20)
    assert daemon.access_log_line(answer.headers["x-request-id"])["client"] == "127.0.0.1"


def test_a_proxy_on_a_unix_socket(tmp_path: Path, database_url: str) -> None:
    """Its address is `unix`, and it is trusted if the setting has that name."""
    daemon = HttpDaemon(tmp_path, database_url, unix_socket=f"{tmp_path}/http")
    daemon.configure('trusted_proxies = ["unix"]\n')
    daemon.start()
    try:
        with daemon.client(None) as proxy:
            plain, forwarded = proxy.get(API), proxy.get(API, headers=forwarded_for("192.0.2.9"))
        answers = (plain, forwarded)
        clients = [daemon.access_log_line(answer.headers["x-request-id"])["client"] for answer in answers]
    finally:
        assert daemon.stop() == 0
    assert clients == ["unix", "192.0.2.9"]
