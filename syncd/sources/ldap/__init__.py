"""Reading users or queues from an LDAP directory, and signing in at one: everything that knows ldap3, and nothing else.

`LdapDirectory` and `signin.Passwords` are all that the rest of syncd sees of it. Inside: `ber` cuts and decodes bytes,
`reader` receives them, `session` connects and binds, `paging` asks page by page and keeps account, `entries` makes
records; `look` and `search` ask for single ones.
"""

from collections.abc import Generator, Iterator, Sequence

from syncd.core.sync.record import Attempt, Evidence, Recognition, Record, Reject, Search, Sighting
from syncd.settings import LdapSource
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.errors import Fault
from syncd.sources.ldap.paging import Tally, read
from syncd.sources.ldap.search import search
from syncd.sources.ldap.session import Session
from syncd.sources.ldap.verify import look

__all__ = ["LdapDirectory"]


class LdapDirectory:
    """A directory as a `Source`: one attempt for each URL of its settings, all within one deadline.

    `attributes` are the names that are asked for, in lower case. The codes of its shortfalls: connect, tls, bind,
    filter, base, key, referral, reference, size-limit, time-limit, admin-limit, paging-control, cookie, result, range,
    cut, stall, deadline, malformed.
    """

    def __init__(self, settings: LdapSource, attributes: frozenset[str]) -> None:
        self._settings = settings
        self._attributes = attributes

    def attempts(self) -> Iterator[Attempt]:
        """One attempt for each URL, in order, while time is left."""
        deadline = Deadline(self._settings.deadline.total_seconds())
        for number, url in enumerate(self._settings.urls):
            if number and deadline.passed:
                return
            yield _Attempt(self._settings, self._attributes, url, deadline)

    def look(self, keys: Sequence[str], evidence: Evidence) -> Sequence[Sighting]:
        """See `core.sync.record.Source`."""
        return look(self._settings, keys, evidence)

    def search(self, text: str, keys: Sequence[str]) -> Search:
        """See `core.sync.record.Source`."""
        return search(self._settings, self._attributes, text, keys)


class _Attempt:
    """One read from one server."""

    def __init__(self, settings: LdapSource, attributes: frozenset[str], url: str, deadline: Deadline) -> None:
        self._settings = settings
        self._attributes = attributes
        self._url = url
        self._deadline = deadline

    def read(self, known: Recognition) -> Generator[Record | Reject, None, Evidence]:
        """See `core.sync.record.Attempt`."""
        tally = Tally(self._url)
        session = Session(self._settings, self._url, self._deadline)
        try:
            yield from read(session, self._settings, self._attributes, known, tally)
        except Fault as fault:
            tally.fail(fault)
        finally:
            session.close()
        return tally.evidence()
