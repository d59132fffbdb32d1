"""Password authentication by LDAP bind, and role resolution from group membership; nothing is cached here.

The source's own account searches for the entry and reads the groups; the password is tried on a separate connection.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from syncd.core.contacts.models import Identity, Role
from syncd.core.contacts.text import fold
from syncd.core.sync.record import KnownDigests
from syncd.errors import AuthenticationUnavailable, WrongPassword
from syncd.settings import Authentication, LdapSource
from syncd.sources.ldap.base import find_naming_context
from syncd.sources.ldap.deadline import Deadline
from syncd.sources.ldap.entries import parse_entry
from syncd.sources.ldap.errors import NO_SUCH_OBJECT, SIZE_LIMIT_EXCEEDED, LdapFault, result_fault
from syncd.sources.ldap.filters import all_of, any_of, equals
from syncd.sources.ldap.paging import ReadStats, read_pages
from syncd.sources.ldap.session import SearchRequest, Session

_TIMEOUT = 15.0
"""Seconds for one authentication on all servers together, because an HTTP request waits for it."""
_MAX_GROUP_DEPTH = 16
"""Levels of nested groups."""
_BATCH_SIZE = 100
"""DNs in one search."""
_ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"
_IN_CHAIN = "member:1.2.840.113556.1.4.1941:"
"""MS-ADTS section 3.1.1.3.4.4.3: members, and members of members."""
_ACCOUNT_RESULT_CODES = {19, 32, 34, 48, 49, 50, 53}
"""Result codes of a refused bind that concern the account; with any other code the server could not decide."""


class _Account(NamedTuple):
    dn: str
    login: str


class LdapAuthenticator:
    """Authenticates logins at the directory servers of a source."""

    def __init__(self, source: LdapSource, settings: Authentication) -> None:
        self._source = source
        self._settings = settings
        self._urls = list(source.urls)

    def authenticate(self, login: str, password: str) -> Identity:
        """Check a password and return the identity with its role.

        Blocks for up to 15 s. Raises: WrongPassword; AuthenticationUnavailable, if no server could decide.
        """
        # RFC 4513 section 5.1.2: a DN with an empty password is an unauthenticated bind, which servers accept
        if not password or not login.strip():
            raise WrongPassword("the name or the password is empty", known=False)
        deadline = Deadline(_TIMEOUT)
        faults = []
        for number, url in enumerate(list(self._urls)):
            # the remaining time is shared, so that a silent server leaves time for the others
            share = deadline.within(deadline.remaining / (len(self._urls) - number))
            try:
                identity = self._authenticate_at(url, share, login, password)
            except LdapFault as fault:
                faults.append(fault.to_incomplete_reason(url).sentence)
                if not fault.retry_other_server and not share.expired:
                    break
            else:
                self._prefer(url)
                return identity
        raise AuthenticationUnavailable("; ".join(faults))

    def _prefer(self, url: str) -> None:
        """Try the server that answered first from now on, so that only one authentication waits for a dead one."""
        if self._urls[0] != url:
            self._urls = [url, *(other for other in self._source.urls if other != url)]

    def _authenticate_at(self, url: str, deadline: Deadline, login: str, password: str) -> Identity:
        with closing(Session(self._source, url, deadline)) as session:
            session.open()
            account = self._find_account(session, login)
            self._bind_as(url, deadline, account, password)
            return self._resolve_role(session, account)

    def _find_account(self, session: Session, login: str) -> _Account:
        """Find the single entry within the source's base and filter that has this login.

        Raises: WrongPassword (no entry, several entries), LdapFault.
        """
        source, attributes = self._source, self._settings.user
        login_filter = all_of(source.filter, any_of(equals(attribute, login) for attribute in attributes))
        page = session.search_once(SearchRequest(source.base, source.scope, login_filter, list(attributes)), 2)
        if len(page.unrecognized) > 1 or page.result.code == SIZE_LIMIT_EXCEEDED:
            raise WrongPassword("several entries have this login, so it is ambiguous", known=True)
        fault = result_fault(page.result)
        if fault is not None:
            raise fault
        if not page.unrecognized:
            raise WrongPassword("no entry that the source reads has this login", known=False)
        dn, values = parse_entry(page.unrecognized[0][1])
        names = [name.decode("utf-8", "backslashreplace") for name in values.get(attributes[0].lower(), [])]
        equal_names = [name for name in names if fold(name) == fold(login.strip())]
        return _Account(dn, min(equal_names or names, default=login))

    def _bind_as(self, url: str, deadline: Deadline, account: _Account, password: str) -> None:
        """Bind as the account.

        Raises: WrongPassword, if the bind is refused or the session is anonymous after it; LdapFault.
        """
        settings = self._source.model_copy(update={"bind": "simple", "bind_dn": account.dn})
        with closing(Session(settings, url, deadline, password.encode("utf-8", "surrogatepass"))) as session:
            try:
                session.open()
            except LdapFault as fault:
                if fault.code == "bind" and not fault.retry_other_server and fault.result_code in _ACCOUNT_RESULT_CODES:
                    raise WrongPassword(fault.reason, known=True) from None
                raise

    def _resolve_role(self, session: Session, account: _Account) -> Identity:
        """Return the identity with the role of its groups; read from the groups, because memberOf can lag behind."""
        filters = list(self._member_filters(session, account))
        missing: list[str] = []
        for role, groups in self._groups_by_role().items():
            for group in groups:
                for member_filter in filters:
                    page = session.read_entry(group, ["1.1"], member_filter)
                    if page.unrecognized:
                        return Identity(account.login, role, tuple(missing))
                    if page.result.code == NO_SUCH_OBJECT:
                        missing.append(group)
                        break
                    fault = result_fault(page.result)
                    if fault is not None:
                        raise fault
        return Identity(account.login, None, tuple(missing))

    def _groups_by_role(self) -> dict[Role, tuple[str, ...]]:
        return {"admin": self._settings.admin_groups, "agent": self._settings.agent_groups}

    def _member_filters(self, session: Session, account: _Account) -> Iterator[str]:
        """Yield filters for groups; the account is a member of a group that matches one of them."""
        direct = [*_direct_member_filters(account.dn), equals("memberUid", account.login)]
        if not self._settings.nested_groups:
            yield any_of(direct)
        elif _is_active_directory(session):
            yield any_of([*direct, equals(_IN_CHAIN, account.dn)])
        else:
            yield any_of(direct)
            yield from _group_member_filters(self._ancestor_groups(session, any_of(direct)))

    def _ancestor_groups(self, session: Session, member_filter: str) -> list[str]:
        """Return the DNs of the groups that match the filter, of the groups that contain these, and so on.

        Ends with a level that has no new group (cycles included), at the latest with level `_MAX_GROUP_DEPTH`.
        """
        roots = sorted(
            {find_naming_context(session, group) for groups in self._groups_by_role().values() for group in groups}
        )
        ancestors: dict[str, str] = {}
        filters = [member_filter]
        for _ in range(_MAX_GROUP_DEPTH):
            dns = [dn for filter_ in filters for root in roots for dn in _search_dns(session, root, filter_)]
            level = {dn.lower(): dn for dn in dns if dn.lower() not in ancestors}
            if not level:
                break
            ancestors |= level
            filters = list(_group_member_filters(list(level.values())))
        return list(ancestors.values())


def _direct_member_filters(dn: str) -> tuple[str, str]:
    return equals("member", dn), equals("uniqueMember", dn)


def _group_member_filters(dns: list[str]) -> Iterator[str]:
    """Yield filters for groups with one of these direct members, `_BATCH_SIZE` DNs each."""
    for start in range(0, len(dns), _BATCH_SIZE):
        yield any_of(term for dn in dns[start : start + _BATCH_SIZE] for term in _direct_member_filters(dn))


def _search_dns(session: Session, base: str, filter_: str) -> Iterator[str]:
    request = SearchRequest(base, "subtree", filter_, ["1.1"])
    for page in read_pages(session, request, KnownDigests(b"", set()), ReadStats(session.url)):
        for _, op in page.unrecognized:
            yield parse_entry(op)[0]


def _is_active_directory(session: Session) -> bool:
    page = session.read_entry("", ["supportedCapabilities"])
    if not page.unrecognized:
        return False
    _, attributes = parse_entry(page.unrecognized[0][1])
    return _ACTIVE_DIRECTORY in attributes.get("supportedcapabilities", [])
