"""The paging loop (RFC 2696), and the read statistics that become the evidence."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from syncd.core.sync.record import Evidence, IncompleteReason, KnownDigests, Record, Reject
from syncd.settings import LdapSource
from syncd.sources.ldap import ber
from syncd.sources.ldap.base import read_base
from syncd.sources.ldap.entries import AttributeNames, Decoder, has_ranged_attribute
from syncd.sources.ldap.errors import LdapFault, malformed_fault, result_fault
from syncd.sources.ldap.reader import LdapPage
from syncd.sources.ldap.session import PAGED_RESULTS, SearchRequest, Session


@dataclass(slots=True)
class ReadStats:
    """Statistics of a read in progress."""

    server: str
    started: float = field(default_factory=time.monotonic)
    identity: str = ""
    certificate_ends: datetime | None = None
    key_attribute: str = ""
    directory: str = ""
    pages: int = 0
    entries: int = 0
    result_codes: Counter[int] = field(default_factory=Counter)
    references: int = 0
    first_reference: str = ""
    paging_started: bool = False
    incomplete_reasons: list[IncompleteReason] = field(default_factory=list)
    retry_other_server: bool = False

    def add_page(self, page: LdapPage) -> None:
        """Count a page."""
        self.pages += 1
        self.entries += page.entry_count
        self.result_codes[page.result.code] += 1
        self.references += len(page.references)
        if page.references and not self.first_reference:
            self.first_reference = page.references[0]

    def reject_references(self) -> None:
        """Refuse a result with SearchResultReferences (RFC 4511 section 4.5.3): parts of the tree are missing from it.

        Raises: LdapFault (reference).
        """
        if self.references:
            raise LdapFault(
                "reference",
                f"{self.references} parts of the tree are on other servers (the first: {self.first_reference})",
                "choose a base that one server holds whole, or ask a global catalog; references are not followed",
            )

    def record_fault(self, fault: LdapFault) -> None:
        """Add a reason why the read is incomplete."""
        progress = f", after {self.pages} pages with {self.entries} entries" if self.paging_started else ""
        self.incomplete_reasons.append(fault.to_incomplete_reason(self.server + progress))
        self.retry_other_server = fault.retry_other_server

    def to_evidence(self) -> Evidence:
        """Return the evidence of the read up to now."""
        return Evidence(
            server=self.server,
            identity=self.identity,
            key_attribute=self.key_attribute,
            directory=self.directory,
            pages=self.pages,
            entries=self.entries,
            result_codes=dict(self.result_codes),
            references=self.references,
            seconds=time.monotonic() - self.started,
            certificate_ends=self.certificate_ends,
            incomplete_reasons=tuple(self.incomplete_reasons),
            retry_other_server=self.retry_other_server,
        )


def read_records(
    session: Session, settings: LdapSource, attributes: frozenset[str], known: KnownDigests, stats: ReadStats
) -> Iterator[Record | Reject]:
    """Open the session and yield the entries with unknown digests; `stats` is updated page by page.

    Raises: LdapFault.
    """
    session.validate_search()
    session.open()
    stats.identity, stats.certificate_ends = session.identity, session.certificate_ends
    base = read_base(session, settings)
    stats.key_attribute = base.key_attribute
    stats.directory = base.directory
    decoder = Decoder(
        base.key_attribute, attributes, known.fingerprint, lambda dn, name: fetch_attribute(session, dn, name)
    )
    requested = sorted(attributes | {base.key_attribute})
    request = SearchRequest(settings.base, settings.scope, settings.filter, requested)
    stats.paging_started = True
    for page in read_pages(session, request, known, stats):
        for digest, op in page.unrecognized:
            yield decoder.decode(digest, op)
    stats.reject_references()


def read_pages(session: Session, request: SearchRequest, known: KnownDigests, stats: ReadStats) -> Iterator[LdapPage]:
    """Yield all pages of a search; `stats` is updated page by page.

    Raises: LdapFault, after the last received page was yielded.
    """
    loop_detector = _LoopDetector()
    message_id = session.send_page_request(request, b"")
    while True:
        page = session.receive_page(message_id, known)
        stats.add_page(page)
        fault = result_fault(page.result)
        cookie = b"" if fault else _parse_cookie(page)
        fault = fault or loop_detector.check(page, cookie)
        # Requested ahead, so that the server prepares the next page while this one is decoded. Not with ranged
        # attributes: the rest of their values is requested on the same connection.
        ahead = bool(cookie) and fault is None and not has_ranged_attribute(page.unrecognized)
        if ahead:
            message_id = session.send_page_request(request, cookie)
        yield page
        if fault is not None:
            raise fault
        if not cookie:
            return
        if not ahead:
            message_id = session.send_page_request(request, cookie)


def _parse_cookie(page: LdapPage) -> bytes:
    """Return the cookie of a page; without the paging control nothing proves that the result is complete.

    Raises: LdapFault (paging-control, malformed).
    """
    control = page.result.controls.get(PAGED_RESULTS)
    if control is None:
        raise LdapFault(
            "paging-control",
            "the server answered without the paging control, so the result may have been cut short",
            "allow paged results (RFC 2696) for this bind DN on the server",
        )
    try:
        return ber.parse_cookie(control)
    except ber.Malformed as error:
        raise malformed_fault(error) from None


class _LoopDetector:
    """Detects a server that sends the same page again.

    The cookie alone is no indication: 389-ds sends the same one with each page of a search. A loop is a page that
    begins with the entry of an earlier page, or an empty page with the cookie of the previous page.
    """

    def __init__(self) -> None:
        self._cookie = b""
        self._first_digests: set[bytes] = set()

    def check(self, page: LdapPage, cookie: bytes) -> LdapFault | None:
        """Return a fault if this page is a repetition, else None."""
        if page.first_digest:
            repeated = page.first_digest in self._first_digests
            self._first_digests.add(page.first_digest)
        else:
            repeated = bool(cookie) and cookie == self._cookie
        self._cookie = cookie
        if not repeated:
            return None
        return LdapFault(
            "cookie",
            "the server sent the same page again instead of the next one",
            "look for a proxy or balancer that spreads one connection over several servers, or update the server",
            retry_other_server=True,
        )


def fetch_attribute(session: Session, dn: str, attribute: str) -> dict[str, list[bytes]]:
    """Read one attribute description of one entry: lower case description -> values.

    For ranged attributes (see `entries`). Raises: LdapFault, ber.Malformed.
    """
    page = session.read_entry(dn, [attribute])
    fault = result_fault(page.result)
    if fault is not None:
        raise LdapFault("range", f"{attribute} of {dn} could not be read: {fault.reason}", fault.remedy)
    return AttributeNames().fold(ber.parse_entry(page.unrecognized[0][1])[1]) if page.unrecognized else {}
