"""The source of kind `ldap`, and password authentication by bind; the only package that imports ldap3.

Its public names are `LdapDirectory`, `authentication.LdapAuthenticator` and `check.check_server`. Inside: `ber` parses
bytes, `reader` receives them, `session` connects and binds, `paging` reads page by page, `entries` decodes records;
`verify` and `search` look up single entries.
"""

from collections.abc import Generator, Iterator, Sequence

from syncd.core.sync.record import Attempt, Evidence, KnownDigests, PresenceCheck, Record, Reject, SearchResult
from syncd.settings import LdapSource
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.errors import LdapFault
from syncd.sources.ldap.paging import ReadStats, read_records
from syncd.sources.ldap.search import search
from syncd.sources.ldap.session import Session
from syncd.sources.ldap.verify import verify_absent

__all__ = ["LdapDirectory"]


class LdapDirectory:
    """A directory as a `Source`: one attempt for each URL of its settings, all within one deadline.

    `attributes` are the names of the requested attributes in lower case. Codes of its incomplete reads: connect, tls,
    bind, filter, base, key, referral, reference, size-limit, time-limit, admin-limit, paging-control, cookie, result,
    range, cut, stall, deadline, malformed.
    """

    def __init__(self, settings: LdapSource, attributes: frozenset[str]) -> None:
        self._settings = settings
        self._attributes = attributes

    def attempts(self) -> Iterator[Attempt]:
        """Yield one attempt for each URL, in order, until the deadline expires."""
        deadline = Deadline(self._settings.deadline.total_seconds())
        for number, url in enumerate(self._settings.urls):
            if number and deadline.expired:
                return
            yield _Attempt(self._settings, self._attributes, url, deadline)

    def verify_absent(self, keys: Sequence[str], evidence: Evidence) -> Sequence[PresenceCheck]:
        """See `core.sync.record.Source`."""
        return verify_absent(self._settings, keys, evidence)

    def search(self, text: str, keys: Sequence[str]) -> SearchResult:
        """See `core.sync.record.Source`."""
        return search(self._settings, self._attributes, text, keys)


class _Attempt:
    """One read from one server."""

    def __init__(self, settings: LdapSource, attributes: frozenset[str], url: str, deadline: Deadline) -> None:
        self._settings = settings
        self._attributes = attributes
        self._url = url
        self._deadline = deadline

    def read(self, known: KnownDigests) -> Generator[Record | Reject, None, Evidence]:
        """See `core.sync.record.Attempt`."""
        stats = ReadStats(self._url)
        session = Session(self._settings, self._url, self._deadline)
        try:
            yield from read_records(session, self._settings, self._attributes, known, stats)
        except LdapFault as fault:
            stats.record_fault(fault)
        finally:
            session.close()
        return stats.to_evidence()
