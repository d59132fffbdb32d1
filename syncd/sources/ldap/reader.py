"""The fast reader: an ldap3 strategy that receives and dispatches messages itself, within a timeout and a deadline.

ldap3's own receiver decodes each value twice through four layers of calls and needs ten times as long as the transfer.
"""

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from ldap3 import Connection
from ldap3.core.results import RESULT_CODES
from ldap3.strategy.base import RESPONSE_COMPLETE
from ldap3.strategy.sync import SyncStrategy
from ldap3.utils import asn1

from syncd.core.operations.error_text import describe_error
from syncd.core.sync.record import KnownDigests
from syncd.sources.ldap import ber
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.errors import LdapFault, malformed_fault

_RECEIVE_BYTES = 256 * 1024
_NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"


def connection_lost(error: Exception | None) -> LdapFault:
    """Return the fault for a lost connection; None means that the server closed it."""
    return LdapFault(
        "cut",
        f"the connection broke ({describe_error(error) if error else 'closed by the server'})",
        "look for a restart of the server or an idle timeout on the way to it; the next run starts again",
        retry_other_server=True,
    )


@dataclass(slots=True)
class LdapPage:
    """The response to one search request, entries not yet decoded."""

    result: ber.LdapResult
    unrecognized: list[tuple[bytes, bytes]]
    """(digest, bytes) of each entry with an unknown digest."""
    entry_count: int
    """All entries, those with known digests included."""
    first_digest: bytes
    """Digest of the first entry, empty without entries; identifies the page, see `paging._LoopDetector`."""
    references: list[str] = field(default_factory=list)


class FastReader(SyncStrategy):
    """ldap3's synchronous strategy with receiving replaced.

    `read_page` receives the response to a search; ldap3 itself calls `_get_response` for all other responses.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._outstanding: dict[int, object] = {}
        self._read_timeout = 0.0
        self._deadline = Deadline(0)
        self._buffer = b""
        self._missing_bytes = 1
        self._batch: Iterator[tuple[int, bytes]] = iter(())

    def attach_socket(self, connected: socket.socket) -> None:
        """Use this connected socket from now on."""
        self.connection.socket = connected
        self.connection.closed = False
        self.connection.listening = True

    def require_empty_buffer(self) -> None:
        """Refuse bytes behind the last response, before StartTLS.

        Bytes injected before the handshake must not be attributed to the server that the handshake authenticates.
        Raises: LdapFault (malformed).
        """
        if self._buffer or next(self._batch, None) is not None:
            raise malformed_fault(ber.Malformed("more than the answer to StartTLS came before TLS began"))

    def set_timeouts(self, read_timeout: float, deadline: Deadline) -> None:
        """Wait at most `read_timeout` seconds for the next bytes from now on, and never beyond the deadline."""
        self._read_timeout = read_timeout
        self._deadline = deadline

    def sending(self, ldap_message: object) -> None:
        """Send one message; ldap3 calls this with a pyasn1 object. Raises: LdapFault (stall, deadline, cut)."""
        data = asn1.encode(ldap_message)  # type: ignore[attr-defined]  # a name that the stubs leave out
        try:
            self._set_socket_timeout()
            self.connection.socket.sendall(data)
        except TimeoutError:
            raise self._timeout_fault() from None
        except OSError as error:
            raise connection_lost(error) from None

    def _set_socket_timeout(self) -> None:
        wait = min(self._read_timeout, self._deadline.remaining)
        if wait <= 0:
            raise self._timeout_fault()
        self.connection.socket.settimeout(wait)

    def _timeout_fault(self) -> LdapFault:
        if self._deadline.expired:
            return LdapFault(
                "deadline",
                "the answer was not complete at the deadline",
                "raise the source's deadline, or find out why the server is slow",
            )
        return LdapFault(
            "stall",
            f"the server sent nothing for {self._read_timeout:g} s",
            "look at the server's load and the network in between, or raise read_timeout",
            retry_other_server=True,
        )

    def _receive(self) -> bytes:
        """Receive at least the missing bytes of the message in the buffer. Raises: LdapFault (stall, deadline, cut)."""
        chunks = [self._buffer]
        missing = self._missing_bytes
        while missing > 0:
            try:
                self._set_socket_timeout()
                chunk = self.connection.socket.recv(_RECEIVE_BYTES)
            except TimeoutError:
                raise self._timeout_fault() from None
            except OSError as error:
                raise connection_lost(error) from None
            if not chunk:
                raise connection_lost(None)
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _messages(self, message_id: int) -> Iterator[bytes]:
        """Yield the operations that respond to this request, without end: the caller recognizes the last one.

        Raises: LdapFault, ber.Malformed.
        """
        while True:
            for number, op in self._batch:
                if number == message_id:
                    yield op
                elif number == 0:
                    _handle_notification(op)
                else:
                    raise ber.Malformed("an answer to a request that was not made")
            messages, self._buffer, self._missing_bytes = ber.split_messages(self._receive())
            self._batch = iter(messages)

    def read_page(self, message_id: int, known: KnownDigests) -> LdapPage:
        """Receive the response to this request up to its SearchResultDone. Raises: LdapFault."""
        try:
            page = self._read_search_response(message_id, known)
        except ber.Malformed as error:
            raise malformed_fault(error) from None
        self._outstanding.pop(message_id, None)
        return page

    def _read_search_response(self, message_id: int, known: KnownDigests) -> LdapPage:
        blake2b = hashlib.blake2b
        fingerprint, remaining = known.fingerprint, known.remaining
        unrecognized: list[tuple[bytes, bytes]] = []
        references: list[str] = []
        first_digest = b""
        entry_count = 0
        for op in self._messages(message_id):
            tag = op[0]
            if tag == ber.SEARCH_RESULT_ENTRY:
                digest = blake2b(op, digest_size=16, person=fingerprint).digest()
                entry_count += 1
                if entry_count == 1:
                    first_digest = digest
                if digest in remaining:
                    remaining.discard(digest)
                else:
                    unrecognized.append((digest, op))
            elif tag == ber.SEARCH_RESULT_DONE:
                return LdapPage(ber.parse_result(op), unrecognized, entry_count, first_digest, references)
            elif tag == ber.SEARCH_RESULT_REFERENCE:
                references += ber.parse_reference(op)
            elif tag != ber.INTERMEDIATE_RESPONSE:
                # RFC 4511 section 4.13: an unrequested intermediate response is ignored
                raise ber.Malformed(f"a search is not answered by operation 0x{tag:02x}")
        raise AssertionError("unreachable: messages do not end")

    def _get_response(self, message_id: int, _timeout: float) -> list[object]:
        """Receive the response to a bind or an extended request, in ldap3's form. Raises: LdapFault."""
        try:
            op = next(op for op in self._messages(message_id) if op[0] != ber.INTERMEDIATE_RESPONSE)
            return [_to_ldap3_response(op), RESPONSE_COMPLETE]
        except ber.Malformed as error:
            raise malformed_fault(error) from None


def _to_ldap3_response(op: bytes) -> dict[str, object]:
    # ldap3's own decoder fails for result codes without a name, and raises a dozen kinds of exceptions
    kind = {ber.BIND_RESPONSE: "bindResponse", ber.EXTENDED_RESPONSE: "extendedResp"}.get(op[0])
    if kind is None:
        raise ber.Malformed(f"neither a bind nor an extended request is answered by operation 0x{op[0]:02x}")
    result = ber.parse_result(op)
    return {
        "type": kind,
        "result": result.code,
        "description": RESULT_CODES.get(result.code, "unknown"),
        "dn": result.matched,
        "message": result.message,
        "referrals": list(result.referrals),
        "saslCreds": None,
        "responseName": result.name,
        "responseValue": result.value,
    }


def _handle_notification(op: bytes) -> None:
    """Handle an unsolicited notification (RFC 4511 section 4.4); all except the notice of disconnection are ignored.

    Raises: LdapFault (cut), ber.Malformed.
    """
    if op[0] != ber.EXTENDED_RESPONSE:
        raise ber.Malformed("a message with number 0 is no notification")
    notice = ber.parse_result(op)
    if notice.name == _NOTICE_OF_DISCONNECTION:
        raise LdapFault(
            "cut",
            f"the server ended the session with a notice of disconnection, code {notice.code}: {notice.message}",
            "check the server's log; the next run starts again",
            retry_other_server=True,
        )
