"""Signing in: is this the password of that login, and which role do their groups give? Asked anew for each question.

The source's own account finds the entry and reads the groups; the password is tried on a connection of its own.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from syncd.core.contacts.models import Role, SignedIn
from syncd.core.contacts.text import fold
from syncd.core.sync.record import Recognition
from syncd.errors import SignInUnavailable, WrongPassword
from syncd.settings import LdapSource, SignIn
from syncd.sources.ldap import ber
from syncd.sources.ldap.base import naming_context
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import Names
from syncd.sources.ldap.errors import Fault, malformed, result_fault
from syncd.sources.ldap.filters import both, either, equal
from syncd.sources.ldap.paging import Tally, pages
from syncd.sources.ldap.session import Question, Session

_PATIENCE = 15.0
"""Seconds for one question on all servers together: somebody waits for the answer."""
_DEEPEST = 16
"""Groups in groups in groups: so many levels are looked at."""
_BATCH = 100
"""Names asked for at once."""
_ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"
_IN_CHAIN = "member:1.2.840.113556.1.4.1941:"
"""MS-ADTS section 3.1.1.3.4.4.3: members, and members of members."""
_NO_SUCH_OBJECT = 32
_SIZE_LIMIT_EXCEEDED = 4
_ABOUT_THE_ACCOUNT = {19, 32, 34, 48, 49, 50, 53}
"""What a refused bind says of the account that was tried; any other result says that the server could not judge."""


class _Person(NamedTuple):
    dn: str
    login: str


class Passwords:
    """The passwords that a source's directory server knows."""

    def __init__(self, source: LdapSource, terms: SignIn) -> None:
        self._source = source
        self._terms = terms
        self._urls = list(source.urls)

    def check(self, login: str, password: str) -> SignedIn:
        """Who this is. Raises WrongPassword, and SignInUnavailable when no server could judge."""
        # RFC 4513 section 5.1.2: a DN with an empty password is no sign-in, but servers call it a success
        if not password or not login.strip():
            raise WrongPassword("the name or the password is empty", known=False)
        deadline = Deadline(_PATIENCE)
        faults = []
        for number, url in enumerate(list(self._urls)):
            # one that swallows everything leaves the others their time
            share = deadline.within(deadline.remaining / (len(self._urls) - number))
            try:
                answer = self._ask(url, share, login, password)
            except Fault as fault:
                faults.append(fault.shortfall(url).sentence)
                if not fault.elsewhere and not share.passed:
                    break
            else:
                self._prefer(url)
                return answer
        raise SignInUnavailable("; ".join(faults))

    def _prefer(self, url: str) -> None:
        """Ask the server first that has answered, so that a dead one is waited for once."""
        if self._urls[0] != url:
            self._urls = [url, *(other for other in self._source.urls if other != url)]

    def _ask(self, url: str, deadline: Deadline, login: str, password: str) -> SignedIn:
        with closing(Session(self._source, url, deadline)) as session:
            session.open()
            person = self._find(session, login)
            self._try(url, deadline, person, password)
            return self._judge(session, person)

    def _find(self, session: Session, login: str) -> _Person:
        """The one entry that the source would read and that has this login."""
        source, attributes = self._source, self._terms.user
        text = both(source.filter, either(equal(attribute, login) for attribute in attributes))
        page = session.ask_some(Question(source.base, source.scope, text, list(attributes)), 2)
        if len(page.fresh) > 1 or page.result.code == _SIZE_LIMIT_EXCEEDED:
            raise WrongPassword("several entries have this login, and nobody can tell whose it is", known=True)
        fault = result_fault(page.result)
        if fault is not None:
            raise fault
        if not page.fresh:
            raise WrongPassword("no entry that the source reads has this login", known=False)
        dn, values = _entry(page.fresh[0][1])
        names = [name.decode("utf-8", "backslashreplace") for name in values.get(attributes[0].lower(), [])]
        own = [name for name in names if fold(name) == fold(login.strip())]
        return _Person(dn, min(own or names, default=login))

    def _try(self, url: str, deadline: Deadline, person: _Person, password: str) -> None:
        """Bind as the person. Raises WrongPassword when the server says no, or says yes and means nobody."""
        asking = self._source.model_copy(update={"bind": "simple", "bind_dn": person.dn})
        with closing(Session(asking, url, deadline, password.encode("utf-8", "surrogatepass"))) as session:
            try:
                session.open()
            except Fault as fault:
                if fault.code == "bind" and not fault.elsewhere and fault.result in _ABOUT_THE_ACCOUNT:
                    raise WrongPassword(fault.what, known=True) from None
                raise

    def _judge(self, session: Session, person: _Person) -> SignedIn:
        """The role that the groups give; read from the groups, for what a person's entry says of them may lag."""
        filters = list(self._member_filters(session, person))
        missing: list[str] = []
        for role, groups in self._groups().items():
            for group in groups:
                for text in filters:
                    page = session.entry(group, ["1.1"], text)
                    if page.fresh:
                        return SignedIn(person.login, role, tuple(missing))
                    if page.result.code == _NO_SUCH_OBJECT:
                        missing.append(group)
                        break
                    fault = result_fault(page.result)
                    if fault is not None:
                        raise fault
        return SignedIn(person.login, None, tuple(missing))

    def _groups(self) -> dict[Role, tuple[str, ...]]:
        return {"admin": self._terms.admin_groups, "agent": self._terms.agent_groups}

    def _member_filters(self, session: Session, person: _Person) -> Iterator[str]:
        """Filters for the groups that the person is in, one of which has to match."""
        itself = [*_holding(person.dn), equal("memberUid", person.login)]
        if not self._terms.nested_groups:
            yield either(itself)
        elif _is_active_directory(session):
            yield either([*itself, equal(_IN_CHAIN, person.dn)])
        else:
            yield either(itself)
            for names in _batches(self._above(session, either(itself))):
                yield either(term for name in names for term in _holding(name))

    def _above(self, session: Session, text: str) -> list[str]:
        """The groups that one of these filters matches, the groups that hold these, and so on; circles end it too."""
        tops = {naming_context(session, group) for groups in self._groups().values() for group in groups}
        seen: dict[str, str] = {}
        filters = [text]
        for _ in range(_DEEPEST):
            found = [dn for text in filters for top in sorted(tops) for dn in _names(session, top, text)]
            fresh = {dn.lower(): dn for dn in found if dn.lower() not in seen}
            if not fresh:
                break
            seen |= fresh
            filters = [
                either(term for name in names for term in _holding(name)) for names in _batches(list(fresh.values()))
            ]
        return list(seen.values())


def _holding(dn: str) -> tuple[str, str]:
    return equal("member", dn), equal("uniqueMember", dn)


def _batches(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]


def _names(session: Session, top: str, text: str) -> Iterator[str]:
    question = Question(top, "subtree", text, ["1.1"])
    for page in pages(session, question, Recognition(b"", set()), Tally(session.url)):
        for _, op in page.fresh:
            yield _entry(op)[0]


def _is_active_directory(session: Session) -> bool:
    page = session.entry("", ["supportedCapabilities"])
    return bool(page.fresh) and _ACTIVE_DIRECTORY in _entry(page.fresh[0][1])[1].get("supportedcapabilities", [])


def _entry(op: bytes) -> tuple[str, dict[str, list[bytes]]]:
    """DN and attributes, by names in lower case."""
    try:
        dn, attributes = ber.entry(op)
    except ber.Malformed as error:
        raise malformed(error) from None
    return dn.decode("utf-8", "backslashreplace"), Names().fold(attributes)
