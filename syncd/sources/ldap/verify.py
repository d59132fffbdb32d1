"""The second look: keys that a read did not bring are asked for one by one, before anything is inferred from that.

A whole read can be right in every page and still miss entries: a replica lags, somebody moved a person, an access rule
changed. So each missing key is asked for by itself, over the whole tree and then on another server. Whatever is not an
answer, and an answer that proves nothing, leaves the keys unknown.
"""

from collections.abc import Sequence
from contextlib import closing
from itertools import islice

from syncd.core.sync.record import Evidence, Recognition, Sight, Sighting
from syncd.settings import LdapSource
from syncd.sources.ldap.base import KEYS, naming_context, read_base
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Decoder
from syncd.sources.ldap.errors import Fault
from syncd.sources.ldap.filters import both, either, key_equal
from syncd.sources.ldap.paging import Tally, fetch, pages
from syncd.sources.ldap.session import Question, Session

_BATCH = 200
"""Keys asked for at once. From 100 to 1,000 the size hardly matters: 5,000 keys of 20,000 entries take about a second
where the server has an index of the key. Without one it compares each entry with each key, which takes about ten, and a
small batch is the one that is answered within `read_timeout` in a large directory too."""


def look(settings: LdapSource, keys: Sequence[str], evidence: Evidence) -> list[Sighting]:
    """See `core.sync.record.Source.look`: on the server that was read, and what it lacks on the others."""
    if not keys:
        return []
    deadline = Deadline(settings.deadline.total_seconds())
    answers = _ask(settings, evidence.server, keys, evidence, deadline)
    missing = [key for key, answer in answers.items() if answer.sight is Sight.GONE]
    for url in settings.urls:
        # one other server that answers is enough
        if missing and url != evidence.server:
            answers |= _ask(settings, url, missing, evidence, deadline)
            missing = [key for key in missing if answers[key].sight is Sight.UNKNOWN]
    return [answers[key] for key in keys]


def _ask(
    settings: LdapSource, url: str, keys: Sequence[str], evidence: Evidence, deadline: Deadline
) -> dict[str, Sighting]:
    """What one server says about each key."""
    answers: dict[str, Sighting] = {}
    try:
        with closing(Session(settings, url, deadline)) as session:
            session.open()
            witness = _Witness(session, settings, evidence)
            waiting = iter(dict.fromkeys(keys))
            while batch := list(islice(waiting, _BATCH)):
                answers |= witness.sights(batch)
    except Fault as fault:
        why = fault.shortfall(url).sentence
        answers |= {key: Sighting(key, Sight.UNKNOWN, why) for key in keys if key not in answers}
    return answers


class _Witness:
    """A server that has proven to speak of the directory that was read. Every method raises Fault."""

    def __init__(self, session: Session, settings: LdapSource, evidence: Evidence) -> None:
        base = read_base(session, settings)
        if base.key_attribute != evidence.key_attribute or (
            evidence.key_attribute in KEYS and base.directory != evidence.directory
        ):
            raise Fault(
                "directory",
                f"its base {settings.base!r} is not the one that was read from {evidence.server}",
                "all URLs of a source have to lead to replicas of one directory",
            )
        self._session = session
        self._settings = settings
        self._suffix = "" if session.url == evidence.server else f" on {session.url}"
        self._key = base.key_attribute
        # The base is there, for it was just read. A server that does not find it by its key (no right to search by it,
        # an index that was never filled) would not find anybody else either.
        control = base.directory if self._key in KEYS else ""
        self._control = {control: term} if control and (term := key_equal(self._key, control)) else {}
        self._top = naming_context(session, base.dn)
        self._decoder = Decoder(self._key, frozenset(), b"", lambda dn, name: fetch(session, dn, name))

    def sights(self, keys: Sequence[str]) -> dict[str, Sighting]:
        """The answers about these keys."""
        terms = {key: term for key in keys if (term := key_equal(self._key, key))}
        places = self._everywhere(terms)
        inside = self._where_the_source_looks([terms[key] for key in terms if key in places])
        return {key: self._sighting(key, terms, places, inside) for key in keys}

    def _sighting(self, key: str, terms: dict[str, str], places: dict[str, str], inside: dict[str, str]) -> Sighting:
        if key not in terms:
            return Sighting(key, Sight.UNKNOWN, f"{key!r} is no {self._key}, so nobody can be asked for it")
        if key not in places:
            return Sighting(key, Sight.GONE)
        sight = Sight.PRESENT if key in inside else Sight.ELSEWHERE
        return Sighting(key, sight, places[key] + self._suffix)

    def _everywhere(self, terms: dict[str, str]) -> dict[str, str]:
        """Which of the keys are anywhere in the tree.

        References are passed over here, other than in the read: a whole tree nearly always has some, a key behind one
        is on another server, and whether this one has it is the question.
        """
        places = self._places(self._top, "subtree", either({**terms, **self._control}.values()))
        if not self._control.keys() <= places.keys():
            raise Fault(
                "key",
                f"a search by {self._key} does not find the base, so it proves nothing",
                "let the bind DN search by it, and check the server's index of it",
            )
        return places

    def _where_the_source_looks(self, terms: list[str]) -> dict[str, str]:
        settings = self._settings
        return self._places(settings.base, settings.scope, both(settings.filter, either(terms))) if terms else {}

    def _places(self, base: str, scope: str, text: str) -> dict[str, str]:
        """Key -> DN of all that a search finds, complete page by page as a read is."""
        question = Question(base, scope, text, [self._key])
        found = [
            op for page in pages(self._session, question, _NOTHING_KNOWN, Tally(self._session.url)) for op in page.fresh
        ]
        items = [self._decoder.decode(digest, op) for digest, op in found]
        return {item.key: item.place for item in items if item.key is not None}


_NOTHING_KNOWN = Recognition(b"", set())
