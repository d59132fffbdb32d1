"""Password authentication on a real slapd: passwords, escaping, all kinds of groups, and unusable servers."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.core.contacts.models import Identity, Role
from syncd.demo.servers import Slapd, free_port
from syncd.drill.messages import ldap_result, message_id, operation, search_done, search_entry, tlv
from syncd.errors import AuthenticationUnavailable, WrongPassword
from syncd.settings import Authentication, LdapSource
from syncd.sources.ldap.authentication import LdapAuthenticator
from tests import ldap_accounts
from tests.certificate_authority import CertificateAuthority
from tests.scripted_ldap import ScriptedServer


@pytest.fixture(scope="module")
def server(server_folder: Path, authority: CertificateAuthority) -> Iterator[Slapd]:
    yield from ldap_accounts.serve_slapd(server_folder / "ldap-staff", authority)


class AuthenticationSetup:
    """Settings for authenticators."""

    def __init__(self, server: Slapd, authority: CertificateAuthority, folder: Path) -> None:
        secret = folder / "password"
        secret.write_text(ldap_accounts.READER_PASSWORD)
        secret.chmod(0o600)
        self.source: dict[str, Any] = {
            "kind": "ldap", "name": "corp", "type": "User", "schedule": {"every": "15m"}, "base": ldap_accounts.PEOPLE,
            "urls": [f"ldaps://localhost:{server.tls_port}"], "ca_file": str(authority.file),
            "bind_dn": ldap_accounts.READER, "bind_password_file": str(secret),
        }  # fmt: skip
        self.settings: dict[str, Any] = {
            "source": "corp", "user": "uid", "admin_groups": [ldap_accounts.ADMINS],
            "agent_groups": [ldap_accounts.AGENTS, ldap_accounts.UNIQUE, ldap_accounts.POSIX, ldap_accounts.TEAMS],
        }  # fmt: skip

    def authenticator(self, settings: dict[str, Any] | None = None, **source: Any) -> LdapAuthenticator:
        return LdapAuthenticator(
            LdapSource.model_validate(self.source | source),
            Authentication.model_validate(self.settings | (settings or {})),
        )


@pytest.fixture
def setup(server: Slapd, authority: CertificateAuthority, tmp_path: Path) -> AuthenticationSetup:
    return AuthenticationSetup(server, authority, tmp_path)


def wrong_password(authenticator: LdapAuthenticator, login: str, password: str) -> WrongPassword:
    """Return the error of a refused authentication; it never contains the password."""
    with pytest.raises(WrongPassword) as caught:
        authenticator.authenticate(login, password)
    if len(password) > 3:
        assert password not in repr(caught.value) + caught.value.reason
    return caught.value


@pytest.mark.parametrize(
    ("login", "role"),
    [
        ("ada", "admin"), ("a(b)*\\c", "admin"), ("müller, j\"ürgen\"", "agent"), ("*", "agent"), ("bob", "agent"),
        ("carl", "agent"), ("eve", None), ("dora", None),
    ],
)  # fmt: skip
def test_a_right_password_and_the_role_of_its_groups(setup: AuthenticationSetup, login: str, role: Role | None) -> None:
    """By member, uniqueMember and memberUid; brackets, stars, quotes, commas and umlauts are escaped."""
    assert setup.authenticator().authenticate(login, ldap_accounts.ACCOUNTS[login][1]) == Identity(login, role)


@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
def test_both_kinds_of_tls(setup: AuthenticationSetup, server: Slapd, tls: str) -> None:
    """TLS from the first byte, or from StartTLS on."""
    port = server.tls_port if tls == "ldaps" else server.port
    url = f"{'ldaps' if tls == 'ldaps' else 'ldap'}://localhost:{port}"

    assert setup.authenticator(urls=[url], tls=tls).authenticate("bob", "bob's password").role == "agent"


def test_the_login_has_the_spelling_of_the_server(setup: AuthenticationSetup) -> None:
    """Case and blanks that the server ignores do not change the login."""
    assert setup.authenticator().authenticate(" ADA ", ldap_accounts.ACCOUNTS["ada"][1]).name == "ada"


@pytest.mark.parametrize("login", list(ldap_accounts.ACCOUNTS))
def test_a_wrong_password(setup: AuthenticationSetup, login: str) -> None:
    """For every account, and for similar passwords."""
    authenticator = setup.authenticator()
    right = ldap_accounts.ACCOUNTS[login][1]
    for password in ("x", right + " ", right.upper() + "\0", "\0", "*", "­", "pässwörd"):
        assert wrong_password(authenticator, login, password).known


@pytest.mark.parametrize(
    "login",
    ["nobody", "a*", "*)(uid=*", "ada)(|(uid=*", "ad\\61", "\0", "ada\0", "\\2a", "(", ")", "ada,ou=people",
     "a" * 5000],
)  # fmt: skip
def test_an_unknown_login(setup: AuthenticationSetup, login: str) -> None:
    """Filter syntax is escaped; the message does not distinguish an unknown login from a wrong password."""
    error = wrong_password(setup.authenticator(), login, ldap_accounts.ACCOUNTS["ada"][1])

    assert not error.known
    assert str(error) == str(wrong_password(setup.authenticator(), "ada", "wrong"))


def test_an_empty_password_is_refused(setup: AuthenticationSetup, server: Slapd) -> None:
    """No server is contacted: RFC 4513 section 5.1.2 makes such a bind an anonymous success."""
    authenticator = setup.authenticator(urls=[f"ldaps://localhost:{free_port()}"])
    for login in ("ada", "nobody", "", " "):
        assert "empty" in wrong_password(authenticator, login, "").reason
    assert "empty" in wrong_password(authenticator, " ", "ada").reason


def test_ambiguous_and_filtered_logins(setup: AuthenticationSetup) -> None:
    """Two entries with one login are ambiguous; entries outside the source's filter are unknown."""
    assert "several entries" in wrong_password(setup.authenticator(), "twin", "twin").reason
    assert not wrong_password(setup.authenticator(), "robot", "robot").known
    assert setup.authenticator(filter="(objectClass=account)").authenticate("robot", "robot").role is None


def test_an_account_without_a_password(setup: AuthenticationSetup) -> None:
    """The result is a wrong password, not a fault of the server."""
    assert wrong_password(setup.authenticator(), "mute", "anything").known


def test_several_login_attributes(setup: AuthenticationSetup) -> None:
    """The first one is the name of the identity, and is compared with memberUid."""
    identity = setup.authenticator({"user": ["uid", "cn"]}).authenticate("carl", "carl's password")
    by_name = setup.authenticator({"user": ["uid", "cn"]}).authenticate("Guest", "guest")

    assert (identity, by_name.role) == (Identity("carl", "agent"), None)


def test_nested_groups_by_setting(setup: AuthenticationSetup) -> None:
    """Nested groups count with nested_groups only; cycles end."""
    nested = setup.authenticator({"nested_groups": True})

    assert setup.authenticator().authenticate("dora", "dora's password").role is None
    assert nested.authenticate("dora", "dora's password").role == "agent"
    assert nested.authenticate("ada", ldap_accounts.ACCOUNTS["ada"][1]).role == "admin"
    assert nested.authenticate("carl", "carl's password").role == "agent"
    assert nested.authenticate("eve", "eve's password").role is None


def test_a_missing_group_is_reported(setup: AuthenticationSetup) -> None:
    """It is listed in the identity; the roles of other groups are unaffected."""
    gone = f"cn=gone,{ldap_accounts.GROUPS}"
    for nested in (False, True):
        identity = setup.authenticator({"admin_groups": [gone], "nested_groups": nested}).authenticate(
            "bob", "bob's password"
        )
        assert identity == Identity("bob", "agent", (gone,))


def test_no_usable_server(setup: AuthenticationSetup, server: Slapd, tmp_path: Path) -> None:
    """Unreachable, another authority, a failed bind of the source: not a wrong password; the log has the reason."""
    stranger = CertificateAuthority(tmp_path / "stranger")
    lost = tmp_path / "lost"
    lost.write_text("not the password")
    lost.chmod(0o600)
    for source, says in (
        ({"urls": [f"ldaps://localhost:{free_port()}"]}, "cannot connect"),
        ({"ca_file": str(stranger.file)}, "certificate is not accepted"),
        ({"bind_password_file": str(lost)}, "invalidCredentials"),
        ({"base": f"ou=nowhere,{ldap_accounts.ROOT}"}, "noSuchObject"),
        ({"urls": [f"ldap://localhost:{server.tls_port}"], "tls": "starttls", "read_timeout": "1s"}, "localhost"),
    ):
        with pytest.raises(AuthenticationUnavailable) as caught:
            setup.authenticator(**source).authenticate("ada", ldap_accounts.ACCOUNTS["ada"][1])
        assert says in caught.value.reason
        assert ldap_accounts.ACCOUNTS["ada"][1] not in repr(caught.value) + caught.value.reason
        assert "localhost" not in str(caught.value)


def test_failover_to_the_next_server(setup: AuthenticationSetup, server: Slapd) -> None:
    """A wrong password causes no failover. The server that answered is the first one afterwards."""
    dead, alive = f"ldaps://localhost:{free_port()}", f"ldaps://localhost:{server.tls_port}"
    authenticator = setup.authenticator(urls=[dead, alive])

    assert authenticator.authenticate("bob", "bob's password").role == "agent"
    wrong_password(setup.authenticator(urls=[alive, dead]), "bob", "wrong")
    with pytest.raises(AuthenticationUnavailable) as caught:
        setup.authenticator(urls=[dead, dead]).authenticate("bob", "bob's password")
    assert caught.value.reason.count("cannot connect") == 2


def test_a_suspended_server_times_out(setup: AuthenticationSetup, server: Slapd) -> None:
    """The timeout is that of an authentication, not that of a read."""
    server.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(AuthenticationUnavailable, match="cannot be reached"):
            setup.authenticator(connect_timeout="2s").authenticate("bob", "bob's password")
    finally:
        server.send_signal(signal.SIGCONT)
    assert setup.authenticator().authenticate("bob", "bob's password").role == "agent"


class AcceptingServer(ScriptedServer):
    """A server with one person that accepts every bind; all other responses are scripted."""

    def __init__(self, *script: list[bytes], identity: bytes = b"") -> None:
        super().__init__(
            *script, base=[search_entry("cn=Ada,dc=example,dc=com", {"uid": [b"ada"]}), search_done(cookie=None)]
        )
        self._identity = identity
        self.binds = 0

    def _answer(self, client: Any, request: bytes, searches: Any) -> None:
        self.binds += operation(request) == 0x60
        if operation(request) == 0x77 and self.binds > 1:
            client.sendall(tlv(0x30, message_id(request), ldap_result(0x78, 0, tlv(0x8B, self._identity))))
        else:
            super()._answer(client, request, searches)


def scripted_authenticator(setup: AuthenticationSetup, server: ScriptedServer, **settings: Any) -> LdapAuthenticator:
    return setup.authenticator({"agent_groups": [ldap_accounts.AGENTS], **settings}, urls=[server.url], tls="none")


def test_an_anonymous_session_after_a_bind_is_refused(setup: AuthenticationSetup) -> None:
    """The bind succeeds, but the identity is anonymous; with an identity the authentication succeeds."""
    member = [search_entry(ldap_accounts.ADMINS, {}), search_done(cookie=None)]
    with AcceptingServer(identity=b"") as server:
        assert "anonymous" in wrong_password(scripted_authenticator(setup, server), "ada", "any").reason
    with AcceptingServer(member, identity=b"dn:cn=Ada") as server:
        assert scripted_authenticator(setup, server).authenticate("ada", "any") == Identity("ada", "admin")


def test_active_directory_resolves_nested_groups(setup: AuthenticationSetup) -> None:
    """By its matching rule, with one search per group instead of one per level."""
    capable = [search_entry("", {"supportedCapabilities": [b"1.2.840.113556.1.4.800"]}), search_done(cookie=None)]
    member = [search_entry(ldap_accounts.ADMINS, {}), search_done(cookie=None)]
    with AcceptingServer(capable, member, identity=b"u:ada") as server:
        assert scripted_authenticator(setup, server, nested_groups=True).authenticate("ada", "any") == Identity(
            "ada", "admin"
        )

    (asked,) = [request for request in server.requests if b"1.2.840.113556.1.4.1941" in request]
    assert b"cn=Ada,dc=example,dc=com" in asked
    assert ldap_accounts.ADMINS.encode() in asked


def test_the_password_is_sent_unchanged(setup: AuthenticationSetup) -> None:
    """No character is normalized, because Active Directory compares bytes."""
    with AcceptingServer(
        [search_entry(ldap_accounts.ADMINS, {}), search_done(cookie=None)], identity=b"u:ada"
    ) as server:
        scripted_authenticator(setup, server).authenticate("ada", "½ ª ß")

    assert tlv(0x80, "½ ª ß".encode()) in b"".join(server.requests)
