"""Every step of a read from one server, and of a sign-in there, tried one by one on a few entries."""

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import urlsplit

from syncd.core.operations.check import Chain, Finding, Result, Sample, Verdict, amount, attributes, certificates
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import Recognition, Record, Reject
from syncd.settings import LdapSource, SignIn
from syncd.sources.ldap import ber
from syncd.sources.ldap.base import read_base
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Decoder, Names
from syncd.sources.ldap.errors import Fault, malformed, result_fault
from syncd.sources.ldap.paging import Tally, fetch, pages
from syncd.sources.ldap.session import Question, Session

_LOOKED_AT = 1000
"""Entries after which no more pages are asked for: more than OpenLDAP (500) and Active Directory (1,000) give anybody
whose limits were not raised."""
_SPELLED = 50
"""Entries of which all attributes are asked for, to know what there is."""
_LIMITS = {"size-limit", "time-limit", "admin-limit"}
_MEMBERS = ("member", "uniqueMember", "memberUid")


def walk(settings: LdapSource, mapper: Mapper, terms: SignIn | None, url: str) -> Iterator[Finding]:
    """What each step finds on the server of this URL. `terms` are those of a sign-in that asks this source."""
    steps = ["socket"] if urlsplit(url).scheme == "ldapi" else ["DNS", "TCP", "TLS"]
    steps += ["bind", "base", *(["sign-in"] if terms else []), "filter", "paging", "limits", "attributes"]
    chain = Chain(settings.name, url, steps)
    wanted = mapper.attributes | {login.lower() for login in (terms.user if terms else ())}
    try:
        with closing(Session(settings, url, Deadline(settings.deadline.total_seconds()))) as session:
            yield from _opening(chain, session, settings)
            base = read_base(session, settings)
            yield chain.fine("base", f"{base.dn}; entries are identified by {base.key_attribute}")
            for group in (*terms.admin_groups, *terms.agent_groups) if terms else ():
                yield chain.tell("sign-in", _members(session, group))
            present = _spelled(session, settings)
            decoder = Decoder(base.key_attribute, wanted, b"", lambda dn, name: fetch(session, dn, name))
            asked = sorted(wanted | {base.key_attribute})
            question = Question(settings.base, settings.scope, settings.filter, asked)
            sample = yield from _reading(chain, session, question, decoder, present)
            yield from (chain.tell("attributes", verdict) for verdict in attributes(sample, mapper, wanted))
    except Fault as fault:
        yield from chain.broken(fault.what, fault.step)


def _opening(chain: Chain, session: Session, settings: LdapSource) -> Iterator[Finding]:
    """The way to the bind, as far as it is open; then raises what `Session.open` does."""
    broken: Fault | None = None
    try:
        session.open()
    except Fault as fault:
        broken = fault
    for step, what in session.opened.items():
        if step == "TLS":
            yield chain.tell(step, certificates(session.certificates, what, datetime.now(UTC)))
        else:
            yield chain.fine(step, what)
        if step == "TCP" and settings.tls == "none":
            clear = 'tls = "none": names and passwords cross the network in clear'
            yield chain.tell("TLS", Verdict(Result.WARNING, clear, 'set tls to "ldaps" or "starttls"'))
    if broken is not None:
        raise broken
    if settings.bind == "anonymous":
        nobody = "the bind is anonymous: what is read is what the server shows to everybody"
        yield chain.tell(
            "bind", Verdict(Result.WARNING, nobody, 'use an account of its own: bind = "simple" and bind_dn')
        )
    else:
        yield chain.fine("bind", f"as {session.identity}")


def _spelled(session: Session, settings: LdapSource) -> frozenset[str]:
    """The names of all attributes of some entries. What the server says beside them counts when the read is tried."""
    session.check()
    page = session.ask_some(Question(settings.base, settings.scope, settings.filter, ["*"]), _SPELLED)
    return frozenset(name.decode("ascii", "backslashreplace") for _, op in page.fresh for name in _entry(op))


def _reading(
    chain: Chain, session: Session, question: Question, decoder: Decoder, present: frozenset[str]
) -> Generator[Finding, None, Sample]:
    """The first pages, as a run reads them. Nothing can be asked on this connection behind pages that are left out."""
    tally = Tally(session.url)
    items: list[Record | Reject] = []
    broken: Fault | None = None
    whole = True
    try:
        for page in pages(session, question, Recognition(b"", set()), tally):
            items += [decoder.decode(digest, op) for digest, op in page.fresh]
            if len(items) > _LOOKED_AT:
                whole = False
                break
        tally.insist_on_one_server()
    except Fault as fault:
        broken = fault
    sample = Sample(items, present, whole)
    if broken is None or items:
        yield chain.tell("filter", amount(sample, f"{question.filter} matches"))
    if broken is None or broken.code in _LIMITS:
        yield chain.fine("paging", f"{tally.pages} pages, each with its control (RFC 2696)")
    if broken is not None:
        raise broken
    yield chain.fine("limits", "the whole of it was read" if whole else f"none within the first {len(items)} entries")
    return sample


def _members(session: Session, group: str) -> Verdict:
    """Whether a group that gives a role is there, and how many it holds directly."""
    page = session.entry(group, [*_MEMBERS])
    fault = result_fault(page.result)
    if fault is not None or not page.fresh:
        what = fault.what if fault is not None else "the server does not show it"
        remedy = "correct the group's DN in [sign_in], or let the bind DN read it"
        return Verdict(Result.FAILED, f"the group {group} cannot be read: {what}", remedy)
    found = Names().fold(_entry(page.fresh[0][1]))
    number = sum(len(values) for values in found.values())
    if not number:
        remedy = "put people into it, or let the bind DN read its members"
        return Verdict(Result.WARNING, f"the group {group} shows no members", remedy)
    more = " or more" if any(";range=" in name for name in found) else ""
    return Verdict(Result.OK, f"{group}: {number}{more} members")


def _entry(op: bytes) -> dict[bytes, list[bytes]]:
    try:
        return ber.entry(op)[1]
    except ber.Malformed as error:
        raise malformed(error) from None
