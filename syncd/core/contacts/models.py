"""Plain values shared by store, app and web: stored contacts, pages of them, callers and identities."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from syncd.core.contacts.contact import ContactType, PhoneNumber

Role: TypeAlias = Literal["admin", "agent"]
ROLES: tuple[Role, ...] = get_args(Role)


class DirectoryVersion(NamedTuple):
    """Version of the directory."""

    revision: int
    """Number of committed changes of contacts."""
    access: int
    """Number of committed changes of tokens."""


class Caller(NamedTuple):
    """Authenticated caller of a request."""

    name: str
    """Name of the token, or login."""
    role: Role


class Identity(NamedTuple):
    """Account whose password was correct."""

    name: str
    """Login in the spelling of the LDAP server."""
    role: Role | None
    """Role by group membership; None for an account in none of the configured groups."""
    missing_groups: tuple[str, ...] = ()
    """Configured groups that the LDAP server does not have."""


class AuthResult(NamedTuple):
    """Successful authentication."""

    caller: Caller
    from_cache: bool = False
    """True when it rests on an earlier password check, because no LDAP server answered."""


class StoredContact(NamedTuple):
    """Contact as it is stored. A tuple, because a large response has a hundred thousand of them."""

    id: str
    """32 lower-case hex digits."""
    type: ContactType
    name: str
    numbers: Sequence[Mapping[str, str]]
    """`{"phoneNumber": …, "description": …}`, description optional; the first is the contact's phoneNumber."""
    user_name: str | None
    first_name: str | None
    last_name: str | None
    employee_id: str | None
    email_address: str | None
    roles: Sequence[str]
    business_units: Sequence[str]
    channel: str | None

    def phone_numbers(self) -> tuple[PhoneNumber, ...]:
        """Return the numbers in the form of `Contact.numbers`."""
        return tuple(PhoneNumber(number["phoneNumber"], number.get("description", "")) for number in self.numbers)


@dataclass(frozen=True, slots=True)
class ContactPage:
    """Result of a query, from one snapshot: the number of all matches, and the requested ones in batches."""

    total: int
    batches: AsyncIterator[Sequence[StoredContact]]
