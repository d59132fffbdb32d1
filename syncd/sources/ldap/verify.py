"""Verification of absences: keys that a read did not return are searched for before a removal is inferred.

A read without any error can still miss entries: a replica lags, an entry was moved, an access rule changed. Each
missing key is therefore searched for in the whole tree, and then on another server. Errors, and answers of a server
that cannot find its own base entry by key, leave the keys unknown.
"""

from collections.abc import Sequence
from contextlib import closing
from itertools import islice

from syncd.core.sync.record import Evidence, KnownDigests, Presence, PresenceCheck
from syncd.settings import LdapSource
from syncd.sources.ldap.base import IMMUTABLE_KEYS, find_naming_context, read_base
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Decoder
from syncd.sources.ldap.errors import LdapFault
from syncd.sources.ldap.filters import all_of, any_of, key_equals
from syncd.sources.ldap.paging import ReadStats, fetch_attribute, read_pages
from syncd.sources.ldap.session import SearchRequest, Session

_BATCH_SIZE = 200
"""Keys in one search. From 100 to 1,000 the size hardly matters: 5,000 keys of 20,000 entries take about a second if
the server has an index of the key. Without one it compares each entry with each key, which takes about ten seconds, and
only a small batch is answered within `read_timeout` in a large directory too."""


def verify_absent(settings: LdapSource, keys: Sequence[str], evidence: Evidence) -> list[PresenceCheck]:
    """Search for the keys on the server that was read, and for those missing there on the others.

    See `core.sync.record.Source.verify_absent`.
    """
    if not keys:
        return []
    deadline = Deadline(settings.deadline.total_seconds())
    answers = _verify_on_server(settings, evidence.server, keys, evidence, deadline)
    missing = [key for key, answer in answers.items() if answer.presence is Presence.GONE]
    for url in settings.urls:
        # one other server that answers is enough
        if missing and url != evidence.server:
            answers |= _verify_on_server(settings, url, missing, evidence, deadline)
            missing = [key for key in missing if answers[key].presence is Presence.UNKNOWN]
    return [answers[key] for key in keys]


def _verify_on_server(
    settings: LdapSource, url: str, keys: Sequence[str], evidence: Evidence, deadline: Deadline
) -> dict[str, PresenceCheck]:
    """Return one server's answer for each key; never raises LdapFault."""
    answers: dict[str, PresenceCheck] = {}
    try:
        with closing(Session(settings, url, deadline)) as session:
            session.open()
            replica = _Replica(session, settings, evidence)
            remaining = iter(dict.fromkeys(keys))
            while batch := list(islice(remaining, _BATCH_SIZE)):
                answers |= replica.check_presence(batch)
    except LdapFault as fault:
        reason = fault.to_incomplete_reason(url).sentence
        answers |= {key: PresenceCheck(key, Presence.UNKNOWN, reason) for key in keys if key not in answers}
    return answers


class _Replica:
    """A server that holds the directory that was read. Every method, the constructor included, raises LdapFault."""

    def __init__(self, session: Session, settings: LdapSource, evidence: Evidence) -> None:
        base = read_base(session, settings)
        if base.key_attribute != evidence.key_attribute or (
            evidence.key_attribute in IMMUTABLE_KEYS and base.directory != evidence.directory
        ):
            raise LdapFault(
                "directory",
                f"its base {settings.base!r} is not the one that was read from {evidence.server}",
                "all URLs of a source have to lead to replicas of one directory",
            )
        self._session = session
        self._settings = settings
        self._suffix = "" if session.url == evidence.server else f" on {session.url}"
        self._key = base.key_attribute
        # The base exists, because it was just read. A server that does not find it by its key (no right to search by
        # the attribute, an index that was never filled) would not find other entries either.
        control = base.directory if self._key in IMMUTABLE_KEYS else ""
        self._control = {control: filter_} if control and (filter_ := key_equals(self._key, control)) else {}
        self._root = find_naming_context(session, base.dn)
        self._decoder = Decoder(self._key, frozenset(), b"", lambda dn, name: fetch_attribute(session, dn, name))

    def check_presence(self, keys: Sequence[str]) -> dict[str, PresenceCheck]:
        """Return the presence of each key."""
        filters = {key: filter_ for key in keys if (filter_ := key_equals(self._key, key))}
        dns = self._search_tree(filters)
        dns_in_scope = self._search_source_scope([filters[key] for key in filters if key in dns])
        return {key: self._presence_of(key, filters, dns, dns_in_scope) for key in keys}

    def _presence_of(
        self, key: str, filters: dict[str, str], dns: dict[str, str], dns_in_scope: dict[str, str]
    ) -> PresenceCheck:
        if key not in filters:
            return PresenceCheck(key, Presence.UNKNOWN, f"{key!r} is no {self._key}, so it cannot be searched for")
        if key not in dns:
            return PresenceCheck(key, Presence.GONE)
        sight = Presence.PRESENT if key in dns_in_scope else Presence.ELSEWHERE
        return PresenceCheck(key, sight, dns[key] + self._suffix)

    def _search_tree(self, filters: dict[str, str]) -> dict[str, str]:
        """Search for the keys in the whole naming context; returns key -> DN.

        References are ignored here, unlike in a read: a whole tree nearly always has some, and a key behind one is on
        another server, while this search determines what this server has.
        """
        dns = self._search_dns(self._root, "subtree", any_of({**filters, **self._control}.values()))
        if not self._control.keys() <= dns.keys():
            raise LdapFault(
                "key",
                f"a search by {self._key} does not find the base, so it proves nothing",
                "let the bind DN search by it, and check the server's index of it",
            )
        return dns

    def _search_source_scope(self, filters: list[str]) -> dict[str, str]:
        """Search for entries within the source's base, scope and filter; returns key -> DN."""
        if not filters:
            return {}
        settings = self._settings
        return self._search_dns(settings.base, settings.scope, all_of(settings.filter, any_of(filters)))

    def _search_dns(self, base: str, scope: str, filter_: str) -> dict[str, str]:
        """Return key -> DN of all matching entries; complete like a read."""
        request = SearchRequest(base, scope, filter_, [self._key])
        items = [
            self._decoder.decode(digest, op)
            for page in read_pages(self._session, request, KnownDigests(b"", set()), ReadStats(self._session.url))
            for digest, op in page.unrecognized
        ]
        return {item.key: item.location for item in items if item.key is not None}
