"""Signing in at a real slapd: passwords, escaped names, groups of every kind, and what is no answer."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.core.contacts.models import SignedIn
from syncd.demo.servers import Slapd, free_port
from syncd.drill.messages import done, entry, message_id, operation, result, tlv
from syncd.errors import SignInUnavailable, WrongPassword
from syncd.settings import LdapSource, SignIn
from syncd.sources.ldap.authentication import Passwords
from tests import ldap_accounts
from tests.certificate_authority import Authority
from tests.scripted_ldap import ScriptedServer


@pytest.fixture(scope="module")
def server(server_folder: Path, authority: Authority) -> Iterator[Slapd]:
    yield from ldap_accounts.serve(server_folder / "ldap-staff", authority)


class Desk:
    """Where people sign in, with settings of one's own."""

    def __init__(self, server: Slapd, authority: Authority, folder: Path) -> None:
        secret = folder / "password"
        secret.write_text(ldap_accounts.READER_PASSWORD)
        secret.chmod(0o600)
        self.source: dict[str, Any] = {
            "kind": "ldap", "name": "corp", "type": "User", "schedule": {"every": "15m"}, "base": ldap_accounts.PEOPLE,
            "urls": [f"ldaps://localhost:{server.tls_port}"], "ca_file": str(authority.file),
            "bind_dn": ldap_accounts.READER, "bind_password_file": str(secret),
        }  # fmt: skip
        self.terms: dict[str, Any] = {
            "source": "corp", "user": "uid", "admin_groups": [ldap_accounts.ADMINS],
            "agent_groups": [ldap_accounts.AGENTS, ldap_accounts.UNIQUE, ldap_accounts.POSIX, ldap_accounts.TEAMS],
        }  # fmt: skip

    def passwords(self, terms: dict[str, Any] | None = None, **source: Any) -> Passwords:
        return Passwords(
            LdapSource.model_validate(self.source | source), SignIn.model_validate(self.terms | (terms or {}))
        )


@pytest.fixture
def desk(server: Slapd, authority: Authority, tmp_path: Path) -> Desk:
    return Desk(server, authority, tmp_path)


def wrong(passwords: Passwords, login: str, password: str) -> WrongPassword:
    """How a sign-in is refused; the password is nowhere in it."""
    with pytest.raises(WrongPassword) as caught:
        passwords.check(login, password)
    if len(password) > 3:
        assert password not in repr(caught.value) + caught.value.why
    return caught.value


@pytest.mark.parametrize(
    ("login", "role"),
    [
        ("ada", "admin"), ("a(b)*\\c", "admin"), ("müller, j\"ürgen\"", "agent"), ("*", "agent"), ("bob", "agent"),
        ("carl", "agent"), ("eve", None), ("dora", None),
    ],
)  # fmt: skip
def test_a_right_password_and_the_role_of_the_groups(desk: Desk, login: str, role: str | None) -> None:
    """By member, uniqueMember and memberUid; brackets, stars, quotes, commas and umlauts are letters like others."""
    assert desk.passwords().check(login, ldap_accounts.PERSONS[login][1]) == SignedIn(login, role)


@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
def test_both_kinds_of_tls(desk: Desk, server: Slapd, tls: str) -> None:
    """TLS from the first byte, or from StartTLS on."""
    port = server.tls_port if tls == "ldaps" else server.port
    url = f"{'ldaps' if tls == 'ldaps' else 'ldap'}://localhost:{port}"

    assert desk.passwords(urls=[url], tls=tls).check("bob", "bob's password").role == "agent"


def test_the_login_is_told_as_the_server_spells_it(desk: Desk) -> None:
    """Case and blanks that the server does not mind make nobody somebody else."""
    assert desk.passwords().check(" ADA ", ldap_accounts.PERSONS["ada"][1]).name == "ada"


@pytest.mark.parametrize("login", list(ldap_accounts.PERSONS))
def test_a_wrong_password(desk: Desk, login: str) -> None:
    """Whoever it is, and whatever is nearly right."""
    passwords = desk.passwords()
    right = ldap_accounts.PERSONS[login][1]
    for password in ("x", right + " ", right.upper() + "\0", "\0", "*", "­", "pässwörd"):
        assert wrong(passwords, login, password).known


@pytest.mark.parametrize(
    "login",
    ["nobody", "a*", "*)(uid=*", "ada)(|(uid=*", "ad\\61", "\0", "ada\0", "\\2a", "(", ")", "ada,ou=people",
     "a" * 5000],
)  # fmt: skip
def test_a_login_that_nobody_has(desk: Desk, login: str) -> None:
    """What would be a filter is a text; whoever is not there is not known, and not told apart from a wrong password."""
    error = wrong(desk.passwords(), login, ldap_accounts.PERSONS["ada"][1])

    assert not error.known
    assert str(error) == str(wrong(desk.passwords(), "ada", "wrong"))


def test_an_empty_password_is_never_a_sign_in(desk: Desk, server: Slapd) -> None:
    """It is refused before any server is asked: RFC 4513 calls such a bind a success, as nobody."""
    passwords = desk.passwords(urls=[f"ldaps://localhost:{free_port()}"])
    for login in ("ada", "nobody", "", " "):
        assert "empty" in wrong(passwords, login, "").why
    assert "empty" in wrong(passwords, " ", "ada").why


def test_who_shares_a_login_or_is_no_user_of_the_source(desk: Desk) -> None:
    """Two entries with one login are nobody's, and what the source's filter leaves out is nobody."""
    assert "several entries" in wrong(desk.passwords(), "twin", "twin").why
    assert not wrong(desk.passwords(), "robot", "robot").known
    assert desk.passwords(filter="(objectClass=account)").check("robot", "robot").role is None


def test_somebody_without_a_password(desk: Desk) -> None:
    """An entry that cannot bind at all is a wrong password, not a fault of the server."""
    assert wrong(desk.passwords(), "mute", "anything").known


def test_several_attributes_may_be_the_login(desk: Desk) -> None:
    """The first one names the person, and memberUid is compared with it."""
    found = desk.passwords({"user": ["uid", "cn"]}).check("carl", "carl's password")
    by_name = desk.passwords({"user": ["uid", "cn"]}).check("Guest", "guest")

    assert (found, by_name.role) == (SignedIn("carl", "agent"), None)


def test_nested_groups_by_setting(desk: Desk) -> None:
    """Groups in groups count when they should, circles among them end, and whoever is in none stays out."""
    nested = desk.passwords({"nested_groups": True})

    assert desk.passwords().check("dora", "dora's password").role is None
    assert nested.check("dora", "dora's password").role == "agent"
    assert nested.check("ada", ldap_accounts.PERSONS["ada"][1]).role == "admin"
    assert nested.check("carl", "carl's password").role == "agent"
    assert nested.check("eve", "eve's password").role is None


def test_a_group_that_is_not_there_is_told(desk: Desk) -> None:
    """It gives nobody a role and takes none; who set it up wrong learns of it."""
    gone = f"cn=gone,{ldap_accounts.GROUPS}"
    for nested in (False, True):
        found = desk.passwords({"admin_groups": [gone], "nested_groups": nested}).check("bob", "bob's password")
        assert found == SignedIn("bob", "agent", (gone,))


def test_no_server_that_could_judge(desk: Desk, server: Slapd, tmp_path: Path) -> None:
    """Not there, a wrong authority, a source that cannot bind: never a wrong password, and the log learns why."""
    stranger = Authority(tmp_path / "stranger")
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
        with pytest.raises(SignInUnavailable) as caught:
            desk.passwords(**source).check("ada", ldap_accounts.PERSONS["ada"][1])
        assert says in caught.value.why
        assert ldap_accounts.PERSONS["ada"][1] not in repr(caught.value) + caught.value.why
        assert "localhost" not in str(caught.value)


def test_the_next_server_is_asked_when_one_cannot_be_reached(desk: Desk, server: Slapd) -> None:
    """Only then: a wrong password is an answer. Afterwards the one that answered is asked first."""
    dead, alive = f"ldaps://localhost:{free_port()}", f"ldaps://localhost:{server.tls_port}"
    passwords = desk.passwords(urls=[dead, alive])

    assert passwords.check("bob", "bob's password").role == "agent"
    wrong(desk.passwords(urls=[alive, dead]), "bob", "wrong")
    with pytest.raises(SignInUnavailable) as caught:
        desk.passwords(urls=[dead, dead]).check("bob", "bob's password")
    assert caught.value.why.count("cannot connect") == 2


def test_a_server_that_stalls_is_given_up(desk: Desk, server: Slapd) -> None:
    """Somebody waits for the answer: it comes within the time for a sign-in, not that of a read."""
    server.send(signal.SIGSTOP)
    try:
        with pytest.raises(SignInUnavailable, match="cannot be reached"):
            desk.passwords(connect_timeout="2s").check("bob", "bob's password")
    finally:
        server.send(signal.SIGCONT)
    assert desk.passwords().check("bob", "bob's password").role == "agent"


class Scripted(ScriptedServer):
    """A server that has one person, says yes to every bind, and keeps to a script for the rest."""

    def __init__(self, *script: list[bytes], identity: bytes = b"") -> None:
        super().__init__(*script, base=[entry("cn=Ada,dc=example,dc=com", {"uid": [b"ada"]}), done(cookie=None)])
        self._identity = identity
        self.binds = 0

    def _answer(self, client: Any, request: bytes, searches: Any) -> None:
        self.binds += operation(request) == 0x60
        if operation(request) == 0x77 and self.binds > 1:
            client.sendall(tlv(0x30, message_id(request), result(0x78, 0, tlv(0x8B, self._identity))))
        else:
            super()._answer(client, request, searches)


def scripted(desk: Desk, server: ScriptedServer, **terms: Any) -> Passwords:
    return desk.passwords({"agent_groups": [ldap_accounts.AGENTS], **terms}, urls=[server.url], tls="none")


def test_a_bind_that_ends_as_nobody_is_no_sign_in(desk: Desk) -> None:
    """The server says success and then that we are anonymous; as somebody, the same is a sign-in."""
    member = [entry(ldap_accounts.ADMINS, {}), done(cookie=None)]
    with Scripted(identity=b"") as server:
        assert "anonymous" in wrong(scripted(desk, server), "ada", "any").why
    with Scripted(member, identity=b"dn:cn=Ada") as server:
        assert scripted(desk, server).check("ada", "any") == SignedIn("ada", "admin")


def test_active_directory_is_asked_for_members_of_members_itself(desk: Desk) -> None:
    """By its matching rule, in one question for each group instead of one for each level."""
    capable = [entry("", {"supportedCapabilities": [b"1.2.840.113556.1.4.800"]}), done(cookie=None)]
    member = [entry(ldap_accounts.ADMINS, {}), done(cookie=None)]
    with Scripted(capable, member, identity=b"u:ada") as server:
        assert scripted(desk, server, nested_groups=True).check("ada", "any") == SignedIn("ada", "admin")

    (asked,) = [request for request in server.requests if b"1.2.840.113556.1.4.1941" in request]
    assert b"cn=Ada,dc=example,dc=com" in asked
    assert ldap_accounts.ADMINS.encode() in asked


def test_the_password_goes_as_it_is(desk: Desk) -> None:
    """No library's idea of equal characters changes it: Active Directory compares bytes."""
    with Scripted([entry(ldap_accounts.ADMINS, {}), done(cookie=None)], identity=b"u:ada") as server:
        scripted(desk, server).check("ada", "½ ª ß")

    assert tlv(0x80, "½ ª ß".encode()) in b"".join(server.requests)
