"""TLS of the LDAP source: verification by default, and no password before the handshake."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, KnownDigests, Record, Reject
from syncd.demo.servers import Slapd, chown_to_server_user
from syncd.drill.messages import ldap_result, operation, search_done, search_entry, tlv
from syncd.settings import LdapSource
from syncd.sources.ldap import LdapDirectory
from tests.certificate_authority import CertificateAuthority
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
def other_authority(server_folder: Path) -> CertificateAuthority:
    """Another authority, of the same name."""
    return CertificateAuthority(server_folder / "stranger")


def serve(folder: Path, tls: Path | None) -> Iterator[Slapd]:
    server = Slapd(folder, tls=tls)
    server.create(LDIF)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def slapd(server_folder: Path, authority: CertificateAuthority) -> Iterator[Slapd]:
    yield from serve(server_folder / "ldap-tls", authority.folder)


@pytest.fixture(scope="module")
def plain_slapd(server_folder: Path) -> Iterator[Slapd]:
    """A server that has no certificate."""
    yield from serve(server_folder / "ldap-plain", None)


@pytest.fixture(scope="module")
def other_host_slapd(server_folder: Path, authority: CertificateAuthority) -> Iterator[Slapd]:
    """A server whose certificate, of the right authority, is for another host."""
    folder = server_folder / "tls-elsewhere"
    folder.mkdir()
    pem, key = authority.issue("elsewhere", "/CN=elsewhere.example.com", "DNS:elsewhere.example.com")
    for source, name in ((authority.file, "ca.pem"), (pem, "server.pem"), (key, "server.key")):
        (folder / name).write_bytes(source.read_bytes())
        chown_to_server_user(folder / name)
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
    stream = next(LdapDirectory(settings, frozenset({"cn"})).attempts()).read(KnownDigests(b"s" * 16, set()))
    records = []
    while True:
        try:
            records.append(next(stream))
        except StopIteration as end:
            return records, end.value


def url_of(server: Slapd, tls: str, host: str = "localhost") -> str:
    return f"ldaps://{host}:{server.tls_port}" if tls == "ldaps" else f"ldap://{host}:{server.port}"


def tls_refusal(evidence: Evidence) -> str:
    """Return the sentence of a read that ended before the bind."""
    (only,) = evidence.incomplete_reasons
    assert only.code == "tls"
    assert (evidence.identity, evidence.entries) == ("", 0)
    assert PASSWORD not in only.sentence
    return only.sentence


TLS = pytest.mark.parametrize("tls", ["ldaps", "starttls"])


@TLS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_verified_server_is_read(
    slapd: Slapd, authority: CertificateAuthority, tmp_path: Path, tls: str, host: str
) -> None:
    """ldaps and StartTLS, by name and by address, when the certificate is signed by ca_file and names the host."""
    records, evidence = read(source(tmp_path, url_of(slapd, tls, host), tls, authority.file))

    assert evidence.complete, evidence.reason
    assert [record.location for record in records] == ["uid=one,dc=example,dc=com"]
    assert evidence.certificate_ends is not None
    assert timedelta(0) < evidence.certificate_ends - datetime.now(UTC) <= timedelta(days=1)
    assert evidence.to_json()["certificateEnds"] == evidence.certificate_ends.isoformat()


@TLS
def test_another_authority_is_refused(
    slapd: Slapd, other_authority: CertificateAuthority, tmp_path: Path, tls: str
) -> None:
    """A certificate of an authority that ca_file does not name ends the read before the bind."""
    _, evidence = read(source(tmp_path, url_of(slapd, tls), tls, other_authority.file))

    assert "certificate is not accepted" in tls_refusal(evidence)
    assert evidence.retry_other_server


@TLS
def test_without_a_ca_file_only_the_system_is_trusted(slapd: Slapd, tmp_path: Path, tls: str) -> None:
    """Verification is the default."""
    _, evidence = read(source(tmp_path, url_of(slapd, tls), tls, None))

    assert "certificate is not accepted" in tls_refusal(evidence)


@TLS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_another_host_is_refused(
    other_host_slapd: Slapd, authority: CertificateAuthority, tmp_path: Path, tls: str, host: str
) -> None:
    """The certificate is valid, but for another host."""
    _, evidence = read(source(tmp_path, url_of(other_host_slapd, tls, host), tls, authority.file))

    assert "certificate is not accepted" in tls_refusal(evidence)


@TLS
def test_a_client_certificate_binds(slapd: Slapd, authority: CertificateAuthority, tmp_path: Path, tls: str) -> None:
    """SASL EXTERNAL: the identity is the subject of the client certificate."""
    certificate = {"cert_file": str(authority.folder / "client.pem"), "key_file": str(authority.folder / "client.key")}
    _, evidence = read(source(tmp_path, url_of(slapd, tls), tls, authority.file, bind="external", **certificate))

    assert evidence.complete, evidence.reason
    assert evidence.identity == "o=example,cn=reader"


def test_refused_start_tls(plain_slapd: Slapd, authority: CertificateAuthority, tmp_path: Path) -> None:
    """A server without a certificate refuses StartTLS, and no password is sent to it."""
    _, evidence = read(source(tmp_path, plain_slapd.url, "starttls", authority.file))

    assert "refused StartTLS" in tls_refusal(evidence)


def test_stripped_start_tls_ends_before_the_bind(authority: CertificateAuthority, tmp_path: Path) -> None:
    """A proxy that refuses StartTLS receives neither a bind nor the password."""
    with ScriptedServer() as proxy:
        _, evidence = read(source(tmp_path, proxy.url, "starttls", authority.file))

    assert "no password was sent" in tls_refusal(evidence)
    assert [operation(request) for request in proxy.requests] == [0x77, 0x42], "StartTLS and unbind, no bind"
    assert PASSWORD.encode() not in b"".join(proxy.requests)


class Injecting(ScriptedServer):
    """Accepts StartTLS and sends an entry directly behind the response, before TLS begins."""

    def _answer(self, client: Any, request: bytes, searches: Any) -> None:
        smuggled = tlv(0x30, tlv(0x02, b"\x02"), search_entry("cn=evil", {"cn": [b"evil"]})) + tlv(
            0x30, b"\x02\x01\x02", search_done()
        )
        client.sendall(tlv(0x30, tlv(0x02, request[4:5]), ldap_result(0x78)) + smuggled)


def test_injected_responses_before_the_handshake_are_refused(authority: CertificateAuthority, tmp_path: Path) -> None:
    """Bytes behind the StartTLS response end the session."""
    with Injecting() as proxy:
        records, evidence = read(source(tmp_path, proxy.url, "starttls", authority.file))

    assert [only.code for only in evidence.incomplete_reasons] == ["malformed"]
    assert records == []


def test_ldaps_to_a_port_without_tls(plain_slapd: Slapd, authority: CertificateAuthority, tmp_path: Path) -> None:
    """The handshake fails with a fault."""
    _, evidence = read(source(tmp_path, f"ldaps://localhost:{plain_slapd.port}", "ldaps", authority.file))

    assert evidence.incomplete_reasons[0].code in {"tls", "connect"}
    assert evidence.retry_other_server


def test_a_plain_bind_to_a_tls_port(slapd: Slapd, tmp_path: Path) -> None:
    """The connection fails with a fault."""
    _, evidence = read(source(tmp_path, f"ldap://localhost:{slapd.tls_port}", "none", None))

    assert evidence.incomplete_reasons[0].code in {"malformed", "cut", "connect"}
    assert evidence.retry_other_server


def test_a_ca_file_that_holds_no_certificate(slapd: Slapd, tmp_path: Path) -> None:
    """The sentence names ca_file, and no other server is tried."""
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    _, evidence = read(source(tmp_path, url_of(slapd, "ldaps"), "ldaps", empty))

    assert "ca_file" in tls_refusal(evidence)
    assert not evidence.retry_other_server


def test_tls_1_1_is_refused(authority: CertificateAuthority, tmp_path: Path) -> None:
    """TLS 1.2 is the minimum."""
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

    tls_refusal(evidence)
    assert seen != ["agreed"]
    assert len(seen) == 1
