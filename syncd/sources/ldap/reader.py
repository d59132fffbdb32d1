"""The fast reader: an ldap3 strategy that takes messages from the receive buffer itself.

What belongs here: receiving, within a patience and a deadline, and telling apart what arrives. ldap3's own receiving
decodes each value twice through four layers of calls, which is why it needs ten times as long as the transfer.
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

from syncd.core.sync.record import Recognition
from syncd.sources.ldap import ber
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.errors import Fault, malformed

_CHUNK = 256 * 1024
_NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"


def cut(error: Exception | None) -> Fault:
    """The fault for a connection that ended; no error means that the server closed it."""
    return Fault(
        "cut",
        f"the connection broke ({error or 'closed by the server'})",
        "look for a restart of the server or an idle timeout on the way to it; the next run starts again",
        elsewhere=True,
    )


@dataclass(slots=True)
class Page:
    """What a server answered to one search request, entries not yet decoded."""

    result: ber.Result
    fresh: list[tuple[bytes, bytes]]
    """(digest, bytes) of each entry that was not recognised."""
    entries: int
    """All of them, recognised ones included."""
    first: bytes
    """Digest of the first entry, empty when there is none: two pages with the same one are the same page."""
    references: list[str] = field(default_factory=list)


class FastReader(SyncStrategy):
    """ldap3's synchronous strategy with receiving replaced.

    `answer` reads what a search brings; ldap3 itself calls `_get_response` for everything else.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._outstanding: dict[int, object] = {}
        self._patience = 0.0
        self._deadline = Deadline(0)
        self._rest = b""
        self._wanted = 1
        self._batch: Iterator[tuple[int, bytes]] = iter(())

    def attach(self, connected: socket.socket) -> None:
        """Use this socket from now on."""
        self.connection.socket = connected
        self.connection.closed = False
        self.connection.listening = True

    def expect_nothing(self) -> None:
        """Raise Fault when bytes have come behind the last answer.

        For StartTLS: what somebody slipped in before the handshake must not count as said by the server that the
        handshake confirms.
        """
        if self._rest or next(self._batch, None) is not None:
            raise malformed(ber.Malformed("more than the answer to StartTLS came before TLS began"))

    def allow(self, patience: float, deadline: Deadline) -> None:
        """From now on wait at most `patience` seconds for the next bytes, and never past the deadline."""
        self._patience = patience
        self._deadline = deadline

    def sending(self, ldap_message: object) -> None:
        """Send one message; ldap3 calls this with a pyasn1 object. Raises Fault."""
        data = asn1.encode(ldap_message)  # type: ignore[attr-defined]  # a name that the stubs leave out
        try:
            self._arm()
            self.connection.socket.sendall(data)
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise cut(error) from None

    def _arm(self) -> None:
        wait = min(self._patience, self._deadline.remaining)
        if wait <= 0:
            raise self._late()
        self.connection.socket.settimeout(wait)

    def _late(self) -> Fault:
        if self._deadline.passed:
            return Fault(
                "deadline",
                "the answer was not complete at the deadline",
                "raise the source's deadline, or find out why the server is slow",
            )
        return Fault(
            "stall",
            f"the server sent nothing for {self._patience:g} s",
            "look at the server's load and the network in between, or raise read_timeout",
            elsewhere=True,
        )

    def _receive(self) -> bytes:
        """At least the bytes that the message in the buffer still lacks. Raises Fault."""
        chunks = [self._rest]
        wanted = self._wanted
        while wanted > 0:
            try:
                self._arm()
                chunk = self.connection.socket.recv(_CHUNK)
            except TimeoutError:
                raise self._late() from None
            except OSError as error:
                raise cut(error) from None
            if not chunk:
                raise cut(None)
            chunks.append(chunk)
            wanted -= len(chunk)
        return b"".join(chunks)

    def _messages(self, message_id: int) -> Iterator[bytes]:
        """The operations that answer this request, without end: whoever asks knows the last one. Raises Fault."""
        while True:
            for number, op in self._batch:
                if number == message_id:
                    yield op
                elif number == 0:
                    _notice(op)
                else:
                    raise ber.Malformed("an answer to a request that was not made")
            messages, self._rest, self._wanted = ber.split(self._receive())
            self._batch = iter(messages)

    def answer(self, message_id: int, known: Recognition) -> Page:
        """Read up to the SearchResultDone of this request. Raises Fault."""
        try:
            page = self._search_answer(message_id, known)
        except ber.Malformed as error:
            raise malformed(error) from None
        self._outstanding.pop(message_id, None)
        return page

    def _search_answer(self, message_id: int, known: Recognition) -> Page:
        blake2b = hashlib.blake2b
        seal, unseen = known.seal, known.unseen
        fresh: list[tuple[bytes, bytes]] = []
        references: list[str] = []
        first = b""
        entries = 0
        for op in self._messages(message_id):
            tag = op[0]
            if tag == ber.ENTRY:
                digest = blake2b(op, digest_size=16, person=seal).digest()
                entries += 1
                if entries == 1:
                    first = digest
                if digest in unseen:
                    unseen.discard(digest)
                else:
                    fresh.append((digest, op))
            elif tag == ber.DONE:
                return Page(ber.result(op), fresh, entries, first, references)
            elif tag == ber.REFERENCE:
                references += ber.reference(op)
            elif tag != ber.INTERMEDIATE:
                # RFC 4511 section 4.13: an intermediate response that nobody asked for is to be passed over
                raise ber.Malformed(f"a search is not answered by operation 0x{tag:02x}")
        raise AssertionError("unreachable: messages do not end")

    def _get_response(self, message_id: int, _timeout: float) -> list[object]:
        """The answer to a bind or an extended request, in the form that ldap3 wants. Raises Fault."""
        try:
            op = next(op for op in self._messages(message_id) if op[0] != ber.INTERMEDIATE)
            return [_as_ldap3_has_it(op), RESPONSE_COMPLETE]
        except ber.Malformed as error:
            raise malformed(error) from None


def _as_ldap3_has_it(op: bytes) -> dict[str, object]:
    # ldap3's own decoder stumbles over result codes that it has no name for, and raises a dozen kinds of exceptions
    kind = {ber.BOUND: "bindResponse", ber.EXTENDED: "extendedResp"}.get(op[0])
    if kind is None:
        raise ber.Malformed(f"neither a bind nor an extended request is answered by operation 0x{op[0]:02x}")
    result = ber.result(op)
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


def _notice(op: bytes) -> None:
    """An unsolicited notification (RFC 4511 section 4.4): the one of disconnection ends it all, others are ignored."""
    if op[0] != ber.EXTENDED:
        raise ber.Malformed("a message with number 0 is no notification")
    notice = ber.result(op)
    if notice.name == _NOTICE_OF_DISCONNECTION:
        raise Fault(
            "cut",
            f"the server ended the session with a notice of disconnection, code {notice.code}: {notice.message}",
            "look into the server's log; the next run starts again",
            elsewhere=True,
        )
