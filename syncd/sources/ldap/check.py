"""`syncd check` of one LDAP server: every step of a read and of an authentication, on a sample of entries."""

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import urlsplit

from syncd.core.operations.check import (
    Chain,
    Finding,
    Result,
    Sample,
    Verdict,
    check_attributes,
    check_certificates,
    check_count,
)
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import KnownDigests, Record, Reject
from syncd.settings import Authentication, LdapSource
from syncd.sources.ldap import ber
from syncd.sources.ldap.base import read_base
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Decoder, parse_entry
from syncd.sources.ldap.errors import LdapFault, malformed_fault, result_fault
from syncd.sources.ldap.paging import ReadStats, fetch_attribute, read_pages
from syncd.sources.ldap.session import SearchRequest, Session

_MAX_SAMPLE_ENTRIES = 1000
"""Entries after which no more pages are requested: more than the default limits of OpenLDAP (500) and Active Directory
(1,000)."""
_ATTRIBUTE_SAMPLE_ENTRIES = 50
"""Entries that are read with all attributes, to learn the names of existing ones."""
_LIMIT_FAULTS = {"size-limit", "time-limit", "admin-limit"}
_MEMBERS = ("member", "uniqueMember", "memberUid")


def check_server(
    settings: LdapSource, mapper: Mapper, authentication: Authentication | None, url: str
) -> Iterator[Finding]:
    """Yield the finding of each step on the server of this URL.

    `authentication` is given if this source is the one that checks passwords.
    """
    groups = (*authentication.admin_groups, *authentication.agent_groups) if authentication else ()
    steps = ["socket"] if urlsplit(url).scheme == "ldapi" else ["DNS", "TCP", "TLS"]
    steps += ["bind", "base", *(["sign-in"] if authentication else []), "filter", "paging", "limits", "attributes"]
    chain = Chain(settings.name, url, steps)
    requested = mapper.attributes | {login.lower() for login in (authentication.user if authentication else ())}
    try:
        with closing(Session(settings, url, Deadline(settings.deadline.total_seconds()))) as session:
            yield from _check_connection(chain, session, settings)
            base = read_base(session, settings)
            yield chain.ok("base", f"{base.dn}; entries are identified by {base.key_attribute}")
            for group in groups:
                yield chain.report("sign-in", _check_group(session, group))
            present = _read_attribute_names(session, settings)
            decoder = Decoder(base.key_attribute, requested, b"", lambda dn, name: fetch_attribute(session, dn, name))
            names = sorted(requested | {base.key_attribute})
            request = SearchRequest(settings.base, settings.scope, settings.filter, names)
            sample = yield from _check_search(chain, session, request, decoder, present)
            yield from (chain.report("attributes", verdict) for verdict in check_attributes(sample, mapper, requested))
    except LdapFault as fault:
        yield from chain.fail(fault.reason, fault.remedy)


def _check_connection(chain: Chain, session: Session, settings: LdapSource) -> Iterator[Finding]:
    """Open the session and yield a finding for each completed step. Raises: LdapFault, after the last finding."""
    fault: LdapFault | None = None
    try:
        session.open()
    except LdapFault as error:
        fault = error
    for step, detail in session.completed_steps.items():
        if step == "TLS":
            yield chain.report(step, check_certificates(session.certificates, detail, datetime.now(UTC)))
        else:
            yield chain.ok(step, detail)
        if step == "TCP" and settings.tls == "none":
            unencrypted = 'tls = "none": names and passwords cross the network unencrypted'
            yield chain.report("TLS", Verdict(Result.WARNING, unencrypted, 'set tls to "ldaps" or "starttls"'))
    if fault is not None:
        raise fault
    if settings.bind == "anonymous":
        anonymous = "the bind is anonymous: only entries and attributes that the server publishes to everybody are read"
        remedy = 'use an account of its own: bind = "simple" and bind_dn'
        yield chain.report("bind", Verdict(Result.WARNING, anonymous, remedy))
    else:
        yield chain.ok("bind", f"as {session.identity}")


def _read_attribute_names(session: Session, settings: LdapSource) -> frozenset[str]:
    """Return the names of all attributes of a few entries; the result code is ignored, `_check_search` evaluates it."""
    session.validate_search()
    request = SearchRequest(settings.base, settings.scope, settings.filter, ["*"])
    page = session.search_once(request, _ATTRIBUTE_SAMPLE_ENTRIES)
    try:
        names = {name for _, op in page.unrecognized for name in ber.parse_entry(op)[1]}
    except ber.Malformed as error:
        raise malformed_fault(error) from None
    return frozenset(name.decode("ascii", "backslashreplace") for name in names)


def _check_search(
    chain: Chain, session: Session, request: SearchRequest, decoder: Decoder, present: frozenset[str]
) -> Generator[Finding, None, Sample]:
    """Read the first pages like a run. The session is unusable afterwards if further pages were requested.

    Raises: LdapFault.
    """
    stats = ReadStats(session.url)
    items: list[Record | Reject] = []
    fault: LdapFault | None = None
    is_whole = True
    try:
        for page in read_pages(session, request, KnownDigests(b"", set()), stats):
            items += [decoder.decode(digest, op) for digest, op in page.unrecognized]
            if len(items) > _MAX_SAMPLE_ENTRIES:
                is_whole = False
                break
        stats.reject_references()
    except LdapFault as error:
        fault = error
    sample = Sample(items, present, is_whole)
    if fault is None or items:
        yield chain.report("filter", check_count(sample, f"{request.filter} matches"))
    if fault is None or fault.code in _LIMIT_FAULTS:
        yield chain.ok("paging", f"{stats.pages} pages, each with its control (RFC 2696)")
    if fault is not None:
        raise fault
    yield chain.ok("limits", "all entries were read" if is_whole else f"none within the first {len(items)} entries")
    return sample


def _check_group(session: Session, group: str) -> Verdict:
    """Check that a group of a role can be read, and count its direct members. Raises: LdapFault."""
    page = session.read_entry(group, [*_MEMBERS])
    fault = result_fault(page.result)
    if fault is not None or not page.unrecognized:
        reason = fault.reason if fault is not None else "the server does not show it"
        remedy = "correct the group's DN in [authentication], or let the bind DN read it"
        return Verdict(Result.FAILED, f"the group {group} cannot be read: {reason}", remedy)
    _, members = parse_entry(page.unrecognized[0][1])
    count = sum(len(values) for values in members.values())
    if not count:
        remedy = "add members to it, or let the bind DN read its members"
        return Verdict(Result.WARNING, f"the group {group} shows no members", remedy)
    more = " or more" if any(";range=" in name for name in members) else ""
    return Verdict(Result.OK, f"{group}: {count}{more} members")
