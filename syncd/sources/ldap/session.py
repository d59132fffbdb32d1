"""One connection to one LDAP server: socket, TLS, bind, confirmation of the identity, and the searches on it.

Socket and TLS are not left to ldap3: it verifies no certificate by default, does not accept IP addresses in
certificates on newer Pythons, and has no deadline.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import ldap3
from ldap3.core.exceptions import LDAPExceptionError
from ldap3.operation.search import search_operation
from ldap3.protocol.rfc2696 import paged_search_control
from pyasn1.error import PyAsn1Error

from syncd.core.operations.check import Certificate
from syncd.core.sync.record import KnownDigests
from syncd.errors import SettingsError
from syncd.settings import LdapSource, read_secret
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.errors import BUSY_OR_UNAVAILABLE, LdapFault, bind_remedy, result_name
from syncd.sources.ldap.reader import FastReader, LdapPage, connection_lost

PAGED_RESULTS = "1.2.840.113556.1.4.319"
_START_TLS = "1.3.6.1.4.1.1466.20037"
_WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
_INAPPROPRIATE_AUTHENTICATION = 48
# accepted by ldap3; a server matches no entry with them and returns success
_INVALID_FILTER = re.compile(r"\\(?![0-9A-Fa-f]{2})..?|\(=")
_CERTIFICATE_REMEDIES = {
    9: "check the clocks of both machines",
    10: "have the server's certificate renewed",
    62: "use a host name in the URL that the certificate holds, or have one made that holds this name",
    64: "use a host name in the URL that the certificate holds, or have one made that holds this address",
}
"""OpenSSL's verification error -> remedy."""
_SCOPES = {"subtree": ldap3.SUBTREE, "onelevel": ldap3.LEVEL, "base": ldap3.BASE}


class SearchRequest(NamedTuple):
    """The parameters of a search (RFC 4511 section 4.5.1)."""

    base: str
    scope: str
    """As in the settings: `subtree`, `onelevel` or `base`."""
    filter: str
    attributes: list[str]


class Session:
    """A connection to one server, connected and bound by `open`, for a single read.

    `password` is that of the bind DN; default: the content of the file in the settings. All methods except `close`
    raise LdapFault. The ldap3 connection must never be put into a log or message: its repr shows the password.
    """

    def __init__(self, settings: LdapSource, url: str, deadline: Deadline, password: bytes | None = None) -> None:
        self.url = url
        self.identity = ""
        """The authorization identity that the server reports, after `open`."""
        self.completed_steps: dict[str, str] = {}
        """Completed step of `open` -> its result. Steps: DNS and TCP (or socket, with ldapi), TLS."""
        self.certificates: tuple[Certificate, ...] = ()
        """The server's certificate and, as far as known locally, its issuers, after `open`; empty without TLS."""
        self._settings = settings
        self._split_url = urlsplit(url)
        self._host = self._split_url.hostname or ""
        self._deadline = deadline
        self._password = password
        self._read_timeout = settings.read_timeout.total_seconds()
        self._socket: socket.socket | None = None
        self._connection = _make_connection(settings)
        self._reader = FastReader(self._connection)
        _replace_strategy(self._connection, self._reader)

    @property
    def certificate_ends(self) -> datetime | None:
        """Expiry of the server's certificate, after `open`; None without TLS."""
        return self.certificates[0].ends if self.certificates else None

    def validate_search(self) -> None:
        """Validate filter and base of the source by encoding them, without a server. Raises: LdapFault (filter)."""
        encode_search_request(SearchRequest(self._settings.base, "base", self._settings.filter, []))

    def open(self) -> None:
        """Connect, start TLS if configured, bind, and read the authorization identity.

        Raises: LdapFault (connect, tls, bind, stall, deadline, cut, malformed).
        """
        timeout = self._settings.connect_timeout.total_seconds()
        context = _make_tls_context(self._settings) if self._settings.tls != "none" else None
        connected = self._connect(timeout)
        opening = self._deadline.within(timeout)
        self._reader.set_timeouts(timeout, opening)
        try:
            self._attach_with_tls(connected, context, opening)
            self._bind()
            self.identity = self._who_am_i()
        except LdapFault as fault:
            if fault.code in {"stall", "deadline"} and not self._deadline.expired:
                raise LdapFault(
                    "connect",
                    f"TLS and bind were not done within {timeout:g} s",
                    "look at the server's load and the network in between, or raise connect_timeout",
                    retry_other_server=True,
                ) from None
            raise
        self._reader.set_timeouts(self._read_timeout, self._deadline)

    def close(self) -> None:
        """Unbind (RFC 4511 section 4.3), waiting at most 0.5 s, and close the socket."""
        if self._socket is None:
            return
        with contextlib.suppress(LdapFault, LDAPExceptionError, OSError):
            self._reader.set_timeouts(0.5, Deadline(0.5))
            self._connection.unbind()
        self._socket.close()
        # with TLS this is another object than the connected socket
        with contextlib.suppress(OSError, AttributeError):
            self._connection.socket.close()
        self._socket = None

    def _connect(self, timeout: float) -> socket.socket:
        """Return a connected socket. Each address of a name gets the full timeout, in seconds."""
        failure: OSError | None = None
        try:
            addresses = self._resolve_addresses()
            for family, kind, protocol, address in addresses:
                self._socket = socket.socket(family, kind, protocol)
                try:
                    self._socket.settimeout(max(0.001, min(timeout, self._deadline.remaining)))
                    self._socket.connect(address)
                except OSError as error:
                    failure = error
                    self._socket.close()
                else:
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    step = "socket" if family == socket.AF_UNIX else "TCP"
                    self.completed_steps[step] = _describe_connection(address, failure)
                    return self._socket
        except (OSError, UnicodeError) as error:
            raise _unreachable_fault(error) from None
        raise _unreachable_fault(failure)

    def _resolve_addresses(self) -> list[tuple[int, int, int, Any]]:
        if self._split_url.scheme == "ldapi":
            return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, unquote(self._split_url.path))]
        port = self._split_url.port or (636 if self._split_url.scheme == "ldaps" else 389)
        infos = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM)
        hosts = dict.fromkeys(str(address[0]) for *_, address in infos)
        self.completed_steps["DNS"] = f"{self._host} is {', '.join(hosts)}"
        return [(family, kind, protocol, address) for family, kind, protocol, _, address in infos]

    def _attach_with_tls(self, connected: socket.socket, context: ssl.SSLContext | None, opening: Deadline) -> None:
        if self._settings.tls == "ldaps":
            connected = self._handshake(connected, context, opening)
        self._reader.attach_socket(connected)
        if self._settings.tls == "starttls":
            self._start_tls()
            self._reader.require_empty_buffer()
            self._reader.attach_socket(self._handshake(connected, context, opening))

    def _start_tls(self) -> None:
        """Request StartTLS (RFC 4511 section 4.14); any result but success ends the session before a password is sent.

        Raises: LdapFault (tls).
        """
        code, text = self._extended_request(_START_TLS)
        if code != 0:
            raise LdapFault(
                "tls",
                f"the server refused StartTLS (code {result_name(code)}{text}), so no password was sent",
                "give the server a certificate, use ldaps://, or look for a proxy that strips StartTLS",
                retry_other_server=True,
            )

    def _handshake(self, connected: socket.socket, context: ssl.SSLContext | None, opening: Deadline) -> socket.socket:
        if context is None:
            raise AssertionError("unreachable: there is a context whenever TLS is configured")
        try:
            connected.settimeout(max(0.001, opening.remaining))
            self._socket = secured = context.wrap_socket(connected, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise LdapFault(
                "tls",
                f"the server's certificate is not accepted ({error.verify_message})",
                _CERTIFICATE_REMEDIES.get(error.verify_code, "name the authority that signed it in ca_file"),
                retry_other_server=True,
            ) from None
        except TimeoutError:
            raise LdapFault(
                "stall", "the TLS handshake did not end", "check the server's load", retry_other_server=True
            ) from None
        except (OSError, ValueError) as error:
            raise LdapFault(
                "tls",
                f"the TLS handshake failed ({error})",
                "check that this port speaks TLS 1.2 or newer",
                retry_other_server=True,
            ) from None
        self.certificates = _build_chain(secured.getpeercert() or {}, context.get_ca_certs())
        self.completed_steps["TLS"] = str(secured.version())
        return secured

    def _bind(self) -> None:
        """Bind and check the result: after a failed bind the session is anonymous (RFC 4513 section 5.1).

        Raises: LdapFault (bind).
        """
        settings = self._settings
        try:
            # bytes are sent unchanged, because ldap3 applies SASLprep (RFC 4013) to a text
            password = self._password or (_read_password(settings) if settings.bind == "simple" else None)
            self._connection.password = password
            self._connection.bind(read_server_info=False)
        except (LDAPExceptionError, PyAsn1Error) as error:
            # the text of such an error may contain the request, so only its type is reported
            raise _bind_fault(f"the bind could not be sent ({type(error).__name__})") from None
        finally:
            self._connection.password = None
        result = self._connection.result
        code = int(result["result"])
        if code != 0 or not self._connection.bound:
            text = f": {result['message']}" if result["message"] else ""
            raise _bind_fault(
                f"the bind as {self._bind_name()} was refused (code {result_name(code)}{text})",
                retry_other_server=code in BUSY_OR_UNAVAILABLE,
                result_code=code,
            )

    def _bind_name(self) -> str:
        return self._settings.bind_dn if self._settings.bind == "simple" else self._settings.bind

    def _who_am_i(self) -> str:
        """Return the authorization identity (RFC 4532), or the bind name if the server does not support the request.

        Raises: LdapFault (bind), if the session is anonymous after a bind with a name.
        """
        code, _ = self._extended_request(_WHO_AM_I)
        anonymous = self._settings.bind == "anonymous"
        if code != 0:
            return self._bind_name()
        authz_id = bytes(self._connection.result["responseValue"]).decode("utf-8", "backslashreplace")
        if not authz_id and not anonymous:
            reason = f"the server accepted the bind as {self._bind_name()}, but the session is anonymous"
            raise _bind_fault(reason, result_code=_INAPPROPRIATE_AUTHENTICATION)
        return authz_id.removeprefix("dn:").removeprefix("u:") or "anonymous"

    def _extended_request(self, name: str) -> tuple[int, str]:
        """Send an extended request; returns the result code and the message as a suffix (": …" or empty)."""
        try:
            self._connection.extended(name)
        except (LDAPExceptionError, PyAsn1Error) as error:
            raise connection_lost(error) from None
        result = self._connection.result
        return int(result["result"]), f": {result['message']}" if result["message"] else ""

    def send_page_request(self, request: SearchRequest, cookie: bytes) -> int:
        """Send a search with a critical paging control (RFC 2696); returns the message id for `receive_page`."""
        control = paged_search_control(True, self._settings.page_size, cookie)
        return self._send_search(encode_search_request(request), [control])

    def receive_page(self, message_id: int, known: KnownDigests) -> LdapPage:
        """Receive the response to a request that was sent before."""
        return self._reader.read_page(message_id, known)

    def search_once(self, request: SearchRequest, limit: int) -> LdapPage:
        """Search without paging for at most `limit` entries; 0 means no limit."""
        message_id = self._send_search(encode_search_request(request, limit), None)
        return self.receive_page(message_id, KnownDigests(b"", set()))

    def read_entry(self, dn: str, attributes: list[str], filter_: str = "(objectClass=*)") -> LdapPage:
        """Read one entry by its DN; the page is empty if the filter does not match it."""
        return self.search_once(SearchRequest(dn, "base", filter_, attributes), 0)

    def _send_search(self, request: object, controls: list[Any] | None) -> int:
        try:
            return int(self._connection.send("searchRequest", request, controls))
        except (LDAPExceptionError, PyAsn1Error) as error:
            raise connection_lost(error) from None


def encode_search_request(request: SearchRequest, limit: int = 0) -> object:
    """Encode a search that dereferences no alias and returns at most `limit` entries (0: no limit).

    Raises: LdapFault (filter).
    """
    base, scope, filter_, attributes = request
    try:
        if match := _INVALID_FILTER.search(filter_):
            raise ValueError(f"it does not allow {match[0]!r} at position {match.start()}")  # noqa: TRY301 - one way out
        return search_operation(
            base,
            filter_,
            _SCOPES[scope],
            ldap3.DEREF_NEVER,
            attributes,
            limit,
            0,
            False,
            auto_escape=False,
            auto_encode=True,
        )
    except (LDAPExceptionError, PyAsn1Error, LookupError, ValueError) as error:
        raise LdapFault(
            "filter", f"{filter_!r} is no LDAP filter ({error})", "correct the source's filter (RFC 4515)"
        ) from None


def _make_connection(settings: LdapSource) -> ldap3.Connection:
    """Make ldap3's connection object, with all of its automatic reads, referrals and completions turned off."""
    # ldap3 never opens a socket here, so the name of the server does not matter
    server = ldap3.Server("localhost", get_info=ldap3.NONE)
    methods: dict[str, dict[str, Any]] = {
        "simple": {"authentication": ldap3.SIMPLE, "user": settings.bind_dn, "password": "set at the bind"},
        "external": {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""},
        "anonymous": {"authentication": ldap3.ANONYMOUS},
    }
    return ldap3.Connection(
        server,
        client_strategy=ldap3.SYNC,
        read_only=True,
        auto_referrals=False,
        auto_range=False,
        check_names=False,
        return_empty_attributes=False,
        raise_exceptions=False,
        **methods[settings.bind],
    )


def _replace_strategy(connection: ldap3.Connection, reader: FastReader) -> None:
    """Replace ldap3's strategy by the reader; a connection keeps copies of its strategy's methods."""
    connection.strategy = reader
    for method in ("send", "open", "get_response", "post_send_single_response", "post_send_search"):
        setattr(connection, method, getattr(reader, method))


def _read_password(settings: LdapSource) -> str:
    path = settings.bind_password_file
    try:
        password = read_secret(path) if path is not None else ""
    except SettingsError as error:
        raise _bind_fault(str(error)) from None
    except UnicodeDecodeError:
        raise _bind_fault(f"{path} is not UTF-8") from None
    if not password.strip():
        # RFC 4513 section 5.1.2: a bind with a DN and an empty password succeeds and makes the session anonymous
        raise _bind_fault(f"{path} is empty, and an empty password would mean an anonymous bind")
    return password


def _unreachable_fault(error: Exception | None) -> LdapFault:
    is_unresolved = error is None or isinstance(error, socket.gaierror | UnicodeError)
    return LdapFault(
        "connect",
        f"cannot connect ({error or 'the name has no address'})",
        "check the host in the URL and the name service of this machine"
        if is_unresolved
        else "check the port in the URL, the firewall and whether the server runs",
        retry_other_server=True,
    )


def _bind_fault(reason: str, *, retry_other_server: bool = False, result_code: int = 0) -> LdapFault:
    remedy = bind_remedy(result_code, reason)
    return LdapFault("bind", reason, remedy, retry_other_server=retry_other_server, result_code=result_code)


def _make_tls_context(settings: LdapSource) -> ssl.SSLContext:
    """Make a context with TLS 1.2 or newer that verifies certificate and host name; no setting turns this off.

    Raises: LdapFault (tls).
    """
    try:
        context = ssl.create_default_context(cafile=_optional_path(settings.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise LdapFault(
            "tls",
            f"ca_file, cert_file or key_file cannot be used ({error})",
            "check that these files exist, can be read and hold PEM",
        ) from None
    return context


def _build_chain(leaf: Mapping[str, Any], authorities: Sequence[Mapping[str, Any]]) -> tuple[Certificate, ...]:
    """Return the server's certificate and its issuers, as far as they are among the local authorities."""
    by_subject = {str(certificate["subject"]): certificate for certificate in authorities}
    chain = [leaf]
    while (issuer := by_subject.get(str(chain[-1]["issuer"]))) is not None and issuer not in chain:
        chain.append(issuer)
    return tuple(Certificate(_format_subject(one), _parse_expiry(one)) for one in chain)


def _format_subject(certificate: Mapping[str, Any]) -> str:
    """Return the common name of a certificate, else its first alternative name, else its whole subject."""
    parts = [part for rdn in certificate["subject"] for part in rdn]
    hosts = [f"{kind}:{name}" for kind, name in certificate.get("subjectAltName", ())]
    common = [value for name, value in parts if name == "commonName"]
    return str((common or hosts or [", ".join(f"{name}={value}" for name, value in parts)])[0])


def _parse_expiry(certificate: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def _describe_connection(address: Any, failure: OSError | None) -> str:
    target = address if isinstance(address, str) else f"{address[0]} port {address[1]}"
    return f"connected to {target}" + (f"; an address before it did not answer ({failure})" if failure else "")


def _optional_path(path: Path | None) -> str | None:
    return None if path is None else str(path)
