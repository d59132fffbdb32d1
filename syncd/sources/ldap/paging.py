"""The paging loop: from the first request to the evidence of what was read."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from syncd.core.sync.record import Evidence, Recognition, Record, Reject, Shortfall
from syncd.settings import LdapSource
from syncd.sources.ldap import ber
from syncd.sources.ldap.base import read_base
from syncd.sources.ldap.entries import Decoder, Names, ranged
from syncd.sources.ldap.errors import Fault, malformed, result_fault
from syncd.sources.ldap.reader import Page
from syncd.sources.ldap.session import PAGED_RESULTS, Question, Session


@dataclass(slots=True)
class Tally:
    """What is known about a read so far; becomes its evidence."""

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
    paging: bool = False
    shortfalls: list[Shortfall] = field(default_factory=list)
    elsewhere: bool = False

    def count(self, page: Page) -> None:
        """Add a page."""
        self.pages += 1
        self.entries += page.entries
        self.result_codes[page.result.code] += 1
        self.references += len(page.references)
        if page.references and not self.first_reference:
            self.first_reference = page.references[0]

    def insist_on_one_server(self) -> None:
        """Raise Fault when parts of the tree are elsewhere."""
        if self.references:
            raise Fault(
                "reference",
                f"{self.references} parts of the tree are on other servers (the first: {self.first_reference})",
                "choose a base that one server holds whole, or ask a global catalog; references are not followed",
            )

    def fail(self, fault: Fault) -> None:
        """Remember why the read is not complete."""
        where = self.server
        if self.paging:
            where += f", after {self.pages} pages with {self.entries} entries"
        self.shortfalls.append(fault.shortfall(where))
        self.elsewhere = fault.elsewhere

    def evidence(self) -> Evidence:
        """The evidence of the read as it stands."""
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
            shortfalls=tuple(self.shortfalls),
            elsewhere=self.elsewhere,
        )


def read(
    session: Session, settings: LdapSource, wanted: frozenset[str], known: Recognition, tally: Tally
) -> Iterator[Record | Reject]:
    """Open the session and yield what is not recognised, page by page. Raises Fault; counts into `tally`."""
    session.check()
    session.open()
    tally.identity, tally.certificate_ends = session.identity, session.certificate_ends
    base = read_base(session, settings)
    tally.key_attribute = base.key_attribute
    tally.directory = base.directory
    decoder = Decoder(base.key_attribute, wanted, known.seal, lambda dn, name: fetch(session, dn, name))
    attributes = sorted(wanted | {base.key_attribute})
    tally.paging = True
    for page in pages(session, Question(settings.base, settings.scope, settings.filter, attributes), known, tally):
        for digest, op in page.fresh:
            yield decoder.decode(digest, op)
    tally.insist_on_one_server()


def pages(session: Session, question: Question, known: Recognition, tally: Tally) -> Iterator[Page]:
    """All pages of a search. Raises Fault after the last page that was received."""
    progress = _Progress()
    number = session.ask_page(question, b"")
    while True:
        page = session.answer(number, known)
        tally.count(page)
        fault = result_fault(page.result)
        cookie = b"" if fault else _cookie(page)
        fault = fault or progress.check(page, cookie)
        # The server makes the next page while this one is decoded. Not when attributes came in pieces: the rest of
        # them is asked for on the same connection.
        ahead = bool(cookie) and fault is None and not ranged(page.fresh)
        if ahead:
            number = session.ask_page(question, cookie)
        yield page
        if fault is not None:
            raise fault
        if not cookie:
            return
        if not ahead:
            number = session.ask_page(question, cookie)


def _cookie(page: Page) -> bytes:
    """The cookie of a page. Raises Fault when the paging control is not there: then nothing says that it was all."""
    control = page.result.controls.get(PAGED_RESULTS)
    if control is None:
        raise Fault(
            "paging-control",
            "the server answered without the paging control, so the result may have been cut short",
            "allow paged results (RFC 2696) for this bind DN on the server",
        )
    try:
        return ber.cookie(control)
    except ber.Malformed as error:
        raise malformed(error) from None


class _Progress:
    """Tells a paging loop that turns in a circle.

    The cookie alone does not tell: 389-ds sends the same one with each page of a search. So it is a page that begins
    like an earlier one, or an empty page whose cookie is that of the page before.
    """

    def __init__(self) -> None:
        self._cookie = b""
        self._begins: set[bytes] = set()

    def check(self, page: Page, cookie: bytes) -> Fault | None:
        """None when this page brings the read forward."""
        stuck = page.first in self._begins if page.first else bool(cookie) and cookie == self._cookie
        self._cookie = cookie
        if page.first:
            self._begins.add(page.first)
        if not stuck:
            return None
        return Fault(
            "cookie",
            "the server sent the same page again instead of the next one",
            "look for a proxy or balancer that spreads one connection over several servers, or update the server",
            elsewhere=True,
        )


def fetch(session: Session, dn: str, attribute: str) -> dict[str, list[bytes]]:
    """One attribute description of one entry, for attributes that come in pieces. Raises Fault and Malformed."""
    page = session.entry(dn, [attribute])
    fault = result_fault(page.result)
    if fault is not None:
        raise Fault("range", f"{attribute} of {dn} could not be read: {fault.what}", fault.step)
    return Names().fold(ber.entry(page.fresh[0][1])[1]) if page.fresh else {}
