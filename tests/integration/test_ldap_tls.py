"""TLS: verified by default in every form, and no password before it stands."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, Recognition, Record, Reject
from syncd.demo.servers import Slapd, hand_over
from syncd.drill.messages import done, entry, operation, result, tlv
from syncd.settings import LdapSource
from syncd.sources.ldap import LdapDirectory
from tests.certificate_authority import Authority
from tests.scripted_ldap import ScriptedServer

PASSWORD = "the-password-of-a-test"
LDIF = f"""\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=reader,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {PASSWORD}

dn: uid=one,dc=example,dc=com
objectClass: inetOrgPerson
uid: one
cn: One
sn: One
"""


@pytest.fixture(scope="module")
def stranger(server_folder: Path) -> Authority:
    """Another authority, of the same name."""
    return Authority(server_folder / "stranger")


def serve(folder: Path, tls: Path | None) -> Iterator[Slapd]:
    server = Slapd(folder, tls=tls)
    server.create(LDIF)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def slapd(server_folder: Path, authority: Authority) -> Iterator[Slapd]:
    yield from serve(server_folder / "ldap-tls", authority.folder)


@pytest.fixture(scope="module")
def plain_slapd(server_folder: Path) -> Iterator[Slapd]:
    """A server that has no certificate."""
    yield from serve(server_folder / "ldap-plain", None)


@pytest.fixture(scope="module")
def elsewhere(server_folder: Path, authority: Authority) -> Iterator[Slapd]:
    """A server whose certificate, of the right authority, is for another host."""
    folder = server_folder / "tls-elsewhere"
    folder.mkdir()
    pem, key = authority.issue("elsewhere", "/CN=elsewhere.example.com", "DNS:elsewhere.example.com")
    for source, name in ((authority.file, "ca.pem"), (pem, "server.pem"), (key, "server.key")):
        (folder / name).write_bytes(source.read_bytes())
        hand_over(folder / name)
    folder.chmod(0o755)
    yield from serve(server_folder / "ldap-elsewhere", folder)


def source(tmp_path: Path, url: str, tls: str, ca: Path | None, **more: Any) -> LdapSource:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    given = {
        "kind": "ldap", "name": "people", "type": "User", "schedule": {"every": "15m"}, "urls": [url], "tls": tls,
        "bind_dn": "cn=reader,dc=example,dc=com", "bind_password_file": str(password), "base": "dc=example,dc=com",
        "connect_timeout": "60s", "read_timeout": "60s", **more,
    }  # fmt: skip
    return LdapSource.model_validate(given | ({"ca_file": str(ca)} if ca else {}))


def read(settings: LdapSource) -> tuple[list[Record | Reject], Evidence]:
    stream = next(LdapDirectory(settings, frozenset({"cn"})).attempts()).read(Recognition(b"s" * 16, set()))
    records = []
    while True:
        try:
            records.append(next(stream))
        except StopIteration as end:
            return records, end.value


def url_of(server: Slapd, tls: str, host: str = "localhost") -> str:
    return f"ldaps://{host}:{server.tls_port}" if tls == "ldaps" else f"ldap://{host}:{server.port}"


def refused(evidence: Evidence) -> str:
    """The sentence of a read that TLS ended before the bind."""
    (only,) = evidence.shortfalls
    assert only.code == "tls"
    assert (evidence.identity, evidence.entries) == ("", 0)
    assert PASSWORD not in only.sentence
    return only.sentence


TLS = pytest.mark.parametrize("tls", ["ldaps", "starttls"])


@TLS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_verified_server_is_read(slapd: Slapd, authority: Authority, tmp_path: Path, tls: str, host: str) -> None:
    """ldaps and StartTLS, by name and by address, when the certificate is signed by ca_file and names the host."""
    records, evidence = read(source(tmp_path, url_of(slapd, tls, host), tls, authority.file))

    assert evidence.complete, evidence.why
    assert [record.place for record in records] == ["uid=one,dc=example,dc=com"]
    assert evidence.certificate_ends is not None
    assert timedelta(0) < evidence.certificate_ends - datetime.now(UTC) <= timedelta(days=1)
    assert evidence.facts()["certificateEnds"] == evidence.certificate_ends.isoformat()


@TLS
def test_another_authority_is_refused(slapd: Slapd, stranger: Authority, tmp_path: Path, tls: str) -> None:
    """A certificate of an authority that ca_file does not name ends the read before the bind."""
    _, evidence = read(source(tmp_path, url_of(slapd, tls), tls, stranger.file))

    assert "certificate is not accepted" in refused(evidence)
    assert evidence.elsewhere


@TLS
def test_without_a_ca_file_only_the_system_is_trusted(slapd: Slapd, tmp_path: Path, tls: str) -> None:
    """Verification is on when nothing is said about it."""
    _, evidence = read(source(tmp_path, url_of(slapd, tls), tls, None))

    assert "certificate is not accepted" in refused(evidence)


@TLS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_another_host_is_refused(elsewhere: Slapd, authority: Authority, tmp_path: Path, tls: str, host: str) -> None:
    """A good certificate of another host is no good."""
    _, evidence = read(source(tmp_path, url_of(elsewhere, tls, host), tls, authority.file))

    assert "certificate is not accepted" in refused(evidence)


@TLS
def test_a_client_certificate_binds(slapd: Slapd, authority: Authority, tmp_path: Path, tls: str) -> None:
    """SASL EXTERNAL: the server knows us by the subject of our certificate."""
    certificate = {"cert_file": str(authority.folder / "client.pem"), "key_file": str(authority.folder / "client.key")}
    _, evidence = read(source(tmp_path, url_of(slapd, tls), tls, authority.file, bind="external", **certificate))

    assert evidence.complete, evidence.why
    assert evidence.identity == "o=example,cn=reader"


def test_start_tls_that_is_refused(plain_slapd: Slapd, authority: Authority, tmp_path: Path) -> None:
    """A server without a certificate refuses StartTLS, and no password is sent to it."""
    _, evidence = read(source(tmp_path, plain_slapd.url, "starttls", authority.file))

    assert "refused StartTLS" in refused(evidence)


def test_start_tls_that_is_stripped_ends_before_the_bind(authority: Authority, tmp_path: Path) -> None:
    """Somebody in between who says no to StartTLS sees no bind, and never the password."""
    with ScriptedServer() as middle:
        _, evidence = read(source(tmp_path, middle.url, "starttls", authority.file))

    assert "no password was sent" in refused(evidence)
    assert [operation(request) for request in middle.requests] == [0x77, 0x42], "StartTLS and unbind, no bind"
    assert PASSWORD.encode() not in b"".join(middle.requests)


class Injecting(ScriptedServer):
    """Says yes to StartTLS and sends an entry in the same breath, before TLS begins."""

    def _answer(self, client: Any, request: bytes, searches: Any) -> None:
        smuggled = tlv(0x30, tlv(0x02, b"\x02"), entry("cn=evil", {"cn": [b"evil"]})) + tlv(
            0x30, b"\x02\x01\x02", done()
        )
        client.sendall(tlv(0x30, tlv(0x02, request[4:5]), result(0x78)) + smuggled)


def test_answers_from_before_the_handshake_do_not_count(authority: Authority, tmp_path: Path) -> None:
    """What was slipped in behind the answer to StartTLS ends the session instead of being taken for the server's."""
    with Injecting() as middle:
        records, evidence = read(source(tmp_path, middle.url, "starttls", authority.file))

    assert [only.code for only in evidence.shortfalls] == ["malformed"]
    assert records == []


def test_ldaps_to_a_port_without_tls(plain_slapd: Slapd, authority: Authority, tmp_path: Path) -> None:
    """A plain port that is asked for TLS: a clean refusal."""
    _, evidence = read(source(tmp_path, f"ldaps://localhost:{plain_slapd.port}", "ldaps", authority.file))

    assert evidence.shortfalls[0].code in {"tls", "connect"}
    assert evidence.elsewhere


def test_a_plain_bind_to_a_tls_port(slapd: Slapd, tmp_path: Path) -> None:
    """A TLS port that is spoken to in plain: a clean refusal."""
    _, evidence = read(source(tmp_path, f"ldap://localhost:{slapd.tls_port}", "none", None))

    assert evidence.shortfalls[0].code in {"malformed", "cut", "connect"}
    assert evidence.elsewhere


def test_a_ca_file_that_holds_no_certificate(slapd: Slapd, tmp_path: Path) -> None:
    """An unusable ca_file is told as such, for no other server can mend it."""
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    _, evidence = read(source(tmp_path, url_of(slapd, "ldaps"), "ldaps", empty))

    assert "ca_file" in refused(evidence)
    assert not evidence.elsewhere


def test_tls_1_1_is_refused(authority: Authority, tmp_path: Path) -> None:
    """A server that knows nothing newer than TLS 1.1 is not spoken to."""
    import socket
    import ssl
    import threading
    import warnings

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "server.pem", authority.folder / "server.key")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.1 is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    seen: list[str] = []

    def answer(listener: socket.socket) -> None:
        client, _ = listener.accept()
        try:
            context.wrap_socket(client, server_side=True).close()
            seen.append("agreed")
        except OSError as error:
            seen.append(str(error))
        finally:
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = f"ldaps://localhost:{listener.getsockname()[1]}"
        _, evidence = read(source(tmp_path, url, "ldaps", authority.file))
        thread.join(60)

    refused(evidence)
    assert seen != ["agreed"]
    assert len(seen) == 1
