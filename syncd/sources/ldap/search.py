"""Looking for a person: entries that bear a text, anywhere in the tree, and why the source does not read them."""

from collections.abc import Iterator, Sequence
from contextlib import closing

from syncd.core.sync.record import Found, Search
from syncd.settings import LdapSource
from syncd.sources.ldap.base import Base, lies_within, naming_context, read_base
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Decoder
from syncd.sources.ldap.errors import Fault, result_fault
from syncd.sources.ldap.filters import either, equal, key_equal
from syncd.sources.ldap.paging import fetch
from syncd.sources.ldap.session import Question, Session

_LIMIT = 50
_SIZE_LIMIT_EXCEEDED = 4
_WHOLE_NAMES = ("cn", "displayname")


def search(settings: LdapSource, wanted: frozenset[str], text: str, keys: Sequence[str]) -> Search:
    """See `core.sync.record.Source.search`: on the first server that answers."""
    deadline = Deadline(settings.deadline.total_seconds())
    faults = []
    for url in settings.urls:
        try:
            with closing(Session(settings, url, deadline)) as session:
                session.open()
                return _search(session, settings, wanted, text, keys)
        except Fault as fault:
            faults.append(fault.shortfall(url).sentence)
            if not fault.elsewhere:
                break
    return Search(fault="; ".join(faults))


def _search(session: Session, settings: LdapSource, wanted: frozenset[str], text: str, keys: Sequence[str]) -> Search:
    base = read_base(session, settings)
    terms = list(_terms(base.key_attribute, wanted, text, keys))
    if not terms:
        return Search()
    top = naming_context(session, base.dn)
    page = session.ask_some(Question(top, "subtree", either(terms), sorted(wanted | {base.key_attribute})), _LIMIT)
    fault = result_fault(page.result)
    if fault is not None and page.result.code != _SIZE_LIMIT_EXCEEDED:
        raise fault
    decoder = Decoder(base.key_attribute, wanted, b"", lambda dn, name: fetch(session, dn, name))
    items = [decoder.decode(digest, op) for digest, op in page.fresh]
    found = tuple(Found(item, session.url, _outside(session, settings, base, item.place)) for item in items)
    # our own limit is no fault, but fewer than that is a limit of the server's
    fault = fault if len(items) < _LIMIT else None
    return Search(found, fault.shortfall(session.url).sentence if fault is not None else "")


def _terms(key_attribute: str, wanted: frozenset[str], text: str, keys: Sequence[str]) -> Iterator[str]:
    """What an entry may be recognised by; a server passes over those that are of the wrong kind for an attribute."""
    texts = [text] if text.strip() else []
    for key in dict.fromkeys([*texts, *keys]):
        term = key_equal(key_attribute, key)
        if term is not None:
            yield term
    # a name is often put together of two attributes, and then none of them is equal to it
    whole_names = _WHOLE_NAMES if len(text.split()) > 1 else ()
    for attribute in sorted(wanted.union(whole_names)) if texts else ():
        yield equal(attribute, text)


def _outside(session: Session, settings: LdapSource, base: Base, dn: str) -> str:
    """Why the source does not read the entry of this name, as a sentence; empty when it does."""
    if not lies_within(dn, base.dn, settings.scope):
        depth = "" if settings.scope == "subtree" else f" with scope {settings.scope}"
        return f"it is at {dn}, outside the base {settings.base}{depth}"
    page = session.entry(dn, ["1.1"], settings.filter)
    fault = result_fault(page.result)
    if fault is not None:
        raise fault
    return "" if page.fresh else f"the filter {settings.filter} leaves it out"
