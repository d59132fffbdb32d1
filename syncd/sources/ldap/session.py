"""One connection to one server, from the socket to the confirmed identity, and the searches on it.

What belongs here: everything that has to hold before the first page is asked for. The socket and TLS are ours: ldap3's
own verify nothing by default, know no IP addresses in certificates on newer Pythons, and have no deadline.
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
from syncd.core.sync.record import Recognition
from syncd.errors import SettingsError
from syncd.settings import LdapSource, secret
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.errors import Fault, bind_remedy, result_name
from syncd.sources.ldap.reader import FastReader, Page, cut

PAGED_RESULTS = "1.2.840.113556.1.4.319"
_START_TLS = "1.3.6.1.4.1.1466.20037"
_WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
_BUSY_OR_UNAVAILABLE = {51, 52}
_INAPPROPRIATE_AUTHENTICATION = 48
# ldap3 lets these pass, and a server would find nothing by them and call that a success
_NO_FILTER = re.compile(r"\\(?![0-9A-Fa-f]{2})..?|\(=")
_CERTIFICATE_REMEDIES = {
    9: "check the clocks of both machines",
    10: "have the server's certificate renewed",
    62: "use a host name in the URL that the certificate holds, or have one made that holds this name",
    64: "use a host name in the URL that the certificate holds, or have one made that holds this address",
}
"""OpenSSL's number of what is wrong with a certificate -> the next step."""
_SCOPES = {"subtree": ldap3.SUBTREE, "onelevel": ldap3.LEVEL, "base": ldap3.BASE}


class Question(NamedTuple):
    """One search: where, how deep, for what, and what of it."""

    base: str
    scope: str
    """As the settings name it: `subtree`, `onelevel` or `base`."""
    filter: str
    attributes: list[str]


class Session:
    """A connection that is bound, or will be by `open`; good for one read and then closed.

    `password` is that of the bind DN; without it the one in the settings' file. The methods raise Fault. Never put the
    ldap3 connection into a log or message: its repr shows the password.
    """

    def __init__(self, settings: LdapSource, url: str, deadline: Deadline, password: bytes | None = None) -> None:
        self.url = url
        self.identity = ""
        """Who the server says we are, after `open`."""
        self.opened: dict[str, str] = {}
        """The steps of `open` that are done, each with what came of it: DNS, TCP (or, on this machine, socket), TLS."""
        self.certificates: tuple[Certificate, ...] = ()
        """The server's own and, as far as we hold them, those that signed it, after `open`; empty without TLS."""
        self._settings = settings
        self._parts = urlsplit(url)
        self._host = self._parts.hostname or ""
        self._deadline = deadline
        self._password = password
        self._patience = settings.read_timeout.total_seconds()
        self._socket: socket.socket | None = None
        self._connection = _connection(settings)
        self._reader = FastReader(self._connection)
        _exchange_strategy(self._connection, self._reader)

    @property
    def certificate_ends(self) -> datetime | None:
        """Until when the server's certificate is good, after `open`; None without TLS."""
        return self.certificates[0].ends if self.certificates else None

    def check(self) -> None:
        """Find out whether the search can be asked at all; no server is needed for that."""
        search_request(Question(self._settings.base, "base", self._settings.filter, []))

    def open(self) -> None:
        """Connect, start TLS where wanted, bind, and ask who we are."""
        limit = self._settings.connect_timeout.total_seconds()
        context = _tls_context(self._settings) if self._settings.tls != "none" else None
        connected = self._connect(limit)
        opening = self._deadline.within(limit)
        self._reader.allow(limit, opening)
        try:
            self._secure(connected, context, opening)
            self._bind()
            self.identity = self._who_am_i()
        except Fault as fault:
            if fault.code in {"stall", "deadline"} and not self._deadline.passed:
                raise Fault(
                    "connect",
                    f"TLS and bind were not done within {limit:g} s",
                    "look at the server's load and the network in between, or raise connect_timeout",
                    elsewhere=True,
                ) from None
            raise
        self._reader.allow(self._patience, self._deadline)

    def close(self) -> None:
        """Say goodbye where the server still listens, and close the socket."""
        if self._socket is None:
            return
        with contextlib.suppress(Fault, LDAPExceptionError, OSError):
            self._reader.allow(0.5, Deadline(0.5))
            self._connection.unbind()
        self._socket.close()
        # after StartTLS and ldaps this is another object than the one that was connected
        with contextlib.suppress(OSError, AttributeError):
            self._connection.socket.close()
        self._socket = None

    def _connect(self, limit: float) -> socket.socket:
        """A connected socket. Each address of a name gets the whole limit: one dead host does not starve the next."""
        failure: OSError | None = None
        try:
            addresses = self._addresses()
            for family, kind, protocol, address in addresses:
                self._socket = socket.socket(family, kind, protocol)
                try:
                    self._socket.settimeout(max(0.001, min(limit, self._deadline.remaining)))
                    self._socket.connect(address)
                except OSError as error:
                    failure = error
                    self._socket.close()
                else:
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    self.opened["socket" if family == socket.AF_UNIX else "TCP"] = _connected(address, failure)
                    return self._socket
        except (OSError, UnicodeError) as error:
            raise _unreachable(error) from None
        raise _unreachable(failure)

    def _addresses(self) -> list[tuple[int, int, int, Any]]:
        if self._parts.scheme == "ldapi":
            return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, unquote(self._parts.path))]
        port = self._parts.port or (636 if self._parts.scheme == "ldaps" else 389)
        found = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM)
        self.opened["DNS"] = f"{self._host} is {', '.join(dict.fromkeys(str(address[0]) for *_, address in found))}"
        return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]

    def _secure(self, connected: socket.socket, context: ssl.SSLContext | None, opening: Deadline) -> None:
        if self._settings.tls == "ldaps":
            connected = self._handshake(connected, context, opening)
        self._reader.attach(connected)
        if self._settings.tls == "starttls":
            self._start_tls()
            self._reader.expect_nothing()
            self._reader.attach(self._handshake(connected, context, opening))

    def _start_tls(self) -> None:
        """RFC 4511 section 4.14. Whatever is not a plain yes ends the session before anything secret was sent."""
        code, text = self._extended(_START_TLS)
        if code != 0:
            raise Fault(
                "tls",
                f"the server refused StartTLS (code {result_name(code)}{text}), so no password was sent",
                "give the server a certificate, use ldaps://, or look for what strips StartTLS on the way",
                elsewhere=True,
            )

    def _handshake(self, connected: socket.socket, context: ssl.SSLContext | None, opening: Deadline) -> socket.socket:
        if context is None:
            raise AssertionError("unreachable: there is a context whenever TLS is wanted")
        try:
            connected.settimeout(max(0.001, opening.remaining))
            self._socket = secured = context.wrap_socket(connected, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise Fault(
                "tls",
                f"the server's certificate is not accepted ({error.verify_message})",
                _CERTIFICATE_REMEDIES.get(error.verify_code, "name the authority that signed it in ca_file"),
                elsewhere=True,
            ) from None
        except TimeoutError:
            raise Fault("stall", "the TLS handshake did not end", "look at the server", elsewhere=True) from None
        except (OSError, ValueError) as error:
            raise Fault(
                "tls",
                f"the TLS handshake failed ({error})",
                "check that this port speaks TLS 1.2 or newer",
                elsewhere=True,
            ) from None
        self.certificates = _chain(secured.getpeercert() or {}, context.get_ca_certs())
        self.opened["TLS"] = str(secured.version())
        return secured

    def _bind(self) -> None:
        """Bind and look at the result: without that a search would go on as nobody (RFC 4513 section 5.1)."""
        settings = self._settings
        try:
            # bytes go as they are: what a library's idea of equivalent characters makes of them is not the password
            given = self._password or (_password(settings) if settings.bind == "simple" else None)
            self._connection.password = given
            self._connection.bind(read_server_info=False)
        except (LDAPExceptionError, PyAsn1Error) as error:
            # the text of such an error may hold what was sent, so only its kind is told
            raise _bind_fault(f"the bind could not be sent ({type(error).__name__})") from None
        finally:
            self._connection.password = None
        result = self._connection.result
        code = int(result["result"])
        if code != 0 or not self._connection.bound:
            text = f": {result['message']}" if result["message"] else ""
            raise _bind_fault(
                f"the bind as {self._claimed()} was refused (code {result_name(code)}{text})",
                elsewhere=code in _BUSY_OR_UNAVAILABLE,
                result=code,
            )

    def _claimed(self) -> str:
        return self._settings.bind_dn if self._settings.bind == "simple" else self._settings.bind

    def _who_am_i(self) -> str:
        """RFC 4532 where the server knows it, else what was bound as. A bind that made us nobody is a fault."""
        code, _ = self._extended(_WHO_AM_I)
        anonymous = self._settings.bind == "anonymous"
        if code != 0:
            return self._claimed()
        authz_id = bytes(self._connection.result["responseValue"]).decode("utf-8", "backslashreplace")
        if not authz_id and not anonymous:
            what = f"the server accepted the bind as {self._claimed()} but holds us for anonymous"
            raise _bind_fault(what, result=_INAPPROPRIATE_AUTHENTICATION)
        return authz_id.removeprefix("dn:").removeprefix("u:") or "anonymous"

    def _extended(self, name: str) -> tuple[int, str]:
        """Result code and the server's words, ready to stand behind the code."""
        try:
            self._connection.extended(name)
        except (LDAPExceptionError, PyAsn1Error) as error:
            raise cut(error) from None
        result = self._connection.result
        return int(result["result"]), f": {result['message']}" if result["message"] else ""

    def ask_page(self, question: Question, cookie: bytes) -> int:
        """Send a search with a critical paging control (RFC 2696); returns the number for `answer`."""
        control = paged_search_control(True, self._settings.page_size, cookie)
        return self._send(search_request(question), [control])

    def answer(self, message_id: int, known: Recognition) -> Page:
        """What the server answers to a request that was sent before."""
        return self._reader.answer(message_id, known)

    def ask_some(self, question: Question, limit: int) -> Page:
        """The answer to a search for at most so many entries, without pages."""
        return self.answer(self._send(search_request(question, limit), None), Recognition(b"", set()))

    def entry(self, dn: str, attributes: list[str], text: str = "(objectClass=*)") -> Page:
        """Read one entry by its DN; nothing comes when this filter does not match it."""
        return self.ask_some(Question(dn, "base", text, attributes), 0)

    def _send(self, request: object, controls: list[Any] | None) -> int:
        try:
            return int(self._connection.send("searchRequest", request, controls))
        except (LDAPExceptionError, PyAsn1Error) as error:
            raise cut(error) from None


def search_request(question: Question, limit: int = 0) -> object:
    """A SearchRequest that dereferences nothing; no limit of its own when that is 0. Raises Fault for a bad filter."""
    base, scope, text, attributes = question
    try:
        if wrong := _NO_FILTER.search(text):
            raise ValueError(f"it does not allow {wrong[0]!r} at position {wrong.start()}")  # noqa: TRY301 - one way out
        return search_operation(
            base,
            text,
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
        raise Fault(
            "filter", f"{text!r} is no LDAP filter ({error})", "correct the source's filter (RFC 4515)"
        ) from None


def _connection(settings: LdapSource) -> ldap3.Connection:
    """ldap3's part of a session, with every default changed that would read, follow or complete things by itself."""
    # ldap3 never opens a socket here, so which server it believes to talk to does not matter
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


def _exchange_strategy(connection: ldap3.Connection, reader: FastReader) -> None:
    """Put our strategy in place of ldap3's; a connection keeps copies of its strategy's methods."""
    connection.strategy = reader
    for method in ("send", "open", "get_response", "post_send_single_response", "post_send_search"):
        setattr(connection, method, getattr(reader, method))


def _password(settings: LdapSource) -> str:
    path = settings.bind_password_file
    try:
        password = secret(path) if path is not None else ""
    except SettingsError as error:
        raise _bind_fault(str(error)) from None
    except UnicodeDecodeError:
        raise _bind_fault(f"{path} is not UTF-8") from None
    if not password.strip():
        # RFC 4513 section 5.1.2: a DN with an empty password is not refused but makes the session anonymous
        raise _bind_fault(f"{path} is empty, and an empty password would mean an anonymous bind")
    return password


def _unreachable(error: Exception | None) -> Fault:
    unnamed = error is None or isinstance(error, socket.gaierror | UnicodeError)
    return Fault(
        "connect",
        f"cannot connect ({error or 'the name has no address'})",
        "check the host in the URL and the name service of this machine"
        if unnamed
        else "check the port in the URL, the firewall and whether the server runs",
        elsewhere=True,
    )


def _bind_fault(what: str, *, elsewhere: bool = False, result: int = 0) -> Fault:
    return Fault("bind", what, bind_remedy(result, what), elsewhere=elsewhere, result=result)


def _tls_context(settings: LdapSource) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name verified; there is no setting that turns this off."""
    try:
        context = ssl.create_default_context(cafile=_name(settings.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise Fault(
            "tls",
            f"ca_file, cert_file or key_file cannot be used ({error})",
            "check that these files exist, can be read and hold PEM",
        ) from None
    return context


def _chain(own: Mapping[str, Any], held: Sequence[Mapping[str, Any]]) -> tuple[Certificate, ...]:
    """The server's certificate and, from those that we hold, the ones above it."""
    above = {str(certificate["subject"]): certificate for certificate in held}
    chain = [own]
    while (issuer := above.get(str(chain[-1]["issuer"]))) is not None and issuer not in chain:
        chain.append(issuer)
    return tuple(Certificate(_subject(one), _end(one)) for one in chain)


def _subject(certificate: Mapping[str, Any]) -> str:
    """Its common name, else all of its name; a certificate may also have names of hosts only."""
    parts = [part for rdn in certificate["subject"] for part in rdn]
    hosts = [f"{kind}:{name}" for kind, name in certificate.get("subjectAltName", ())]
    common = [value for name, value in parts if name == "commonName"]
    return str((common or hosts or [", ".join(f"{name}={value}" for name, value in parts)])[0])


def _end(certificate: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def _connected(address: Any, failure: OSError | None) -> str:
    shown = address if isinstance(address, str) else f"{address[0]} port {address[1]}"
    return f"connected to {shown}" + (f"; an address before it did not answer ({failure})" if failure else "")


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)
