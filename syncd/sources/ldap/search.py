"""Search for `syncd explain`: entries with a given text in the whole tree, and why the source does not read them."""

from collections.abc import Iterator, Sequence
from contextlib import closing

from syncd.core.sync.record import SearchResult, SourceMatch
from syncd.settings import LdapSource
from syncd.sources.ldap.base import Base, find_naming_context, is_in_scope, read_base
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Decoder
from syncd.sources.ldap.errors import SIZE_LIMIT_EXCEEDED, LdapFault, result_fault
from syncd.sources.ldap.filters import any_of, equals, key_equals
from syncd.sources.ldap.paging import fetch_attribute
from syncd.sources.ldap.session import SearchRequest, Session

_MAX_RESULTS = 50
_FULL_NAME_ATTRIBUTES = ("cn", "displayname")


def search(settings: LdapSource, attributes: frozenset[str], text: str, keys: Sequence[str]) -> SearchResult:
    """Search on the first server that answers. See `core.sync.record.Source.search`."""
    deadline = Deadline(settings.deadline.total_seconds())
    faults = []
    for url in settings.urls:
        try:
            with closing(Session(settings, url, deadline)) as session:
                session.open()
                return _search_server(session, settings, attributes, text, keys)
        except LdapFault as fault:
            faults.append(fault.to_incomplete_reason(url).sentence)
            if not fault.retry_other_server:
                break
    return SearchResult(error="; ".join(faults))


def _search_server(
    session: Session, settings: LdapSource, attributes: frozenset[str], text: str, keys: Sequence[str]
) -> SearchResult:
    base = read_base(session, settings)
    filters = list(_match_filters(base.key_attribute, attributes, text, keys))
    if not filters:
        return SearchResult()
    root = find_naming_context(session, base.dn)
    request = SearchRequest(root, "subtree", any_of(filters), sorted(attributes | {base.key_attribute}))
    page = session.search_once(request, _MAX_RESULTS)
    fault = result_fault(page.result)
    if fault is not None and page.result.code != SIZE_LIMIT_EXCEEDED:
        raise fault
    decoder = Decoder(base.key_attribute, attributes, b"", lambda dn, name: fetch_attribute(session, dn, name))
    items = [decoder.decode(digest, op) for digest, op in page.unrecognized]
    matches = tuple(
        SourceMatch(item, session.url, _explain_exclusion(session, settings, base, item.location)) for item in items
    )
    # reaching the limit of the request is no fault, a lower limit of the server is one
    fault = fault if len(items) < _MAX_RESULTS else None
    return SearchResult(matches, fault.to_incomplete_reason(session.url).sentence if fault is not None else "")


def _match_filters(key_attribute: str, attributes: frozenset[str], text: str, keys: Sequence[str]) -> Iterator[str]:
    """Yield filters for the text and the keys; a server ignores values that are invalid for an attribute's syntax."""
    texts = [text] if text.strip() else []
    for key in dict.fromkeys([*texts, *keys]):
        filter_ = key_equals(key_attribute, key)
        if filter_ is not None:
            yield filter_
    # a mapped name often combines two attributes, neither of which is equal to a full name
    full_names = _FULL_NAME_ATTRIBUTES if len(text.split()) > 1 else ()
    for attribute in sorted(attributes.union(full_names)) if texts else ():
        yield equals(attribute, text)


def _explain_exclusion(session: Session, settings: LdapSource, base: Base, dn: str) -> str:
    """Return why the source does not read the entry, as a sentence; empty if it does. Raises: LdapFault."""
    if not is_in_scope(dn, base.dn, settings.scope):
        depth = "" if settings.scope == "subtree" else f" with scope {settings.scope}"
        return f"it is at {dn}, outside the base {settings.base}{depth}"
    page = session.read_entry(dn, ["1.1"], settings.filter)
    fault = result_fault(page.result)
    if fault is not None:
        raise fault
    return "" if page.unrecognized else f"the filter {settings.filter} leaves it out"
