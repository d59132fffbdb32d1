"""What the directory hands out and who asks: a stored contact, a page of them, a caller. Plain values, nothing else."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from syncd.core.contacts.contact import Number, Type

Role: TypeAlias = Literal["admin", "agent"]
ROLES: tuple[Role, ...] = get_args(Role)


class Caller(NamedTuple):
    """Who makes a request: the name of the token, or the login, and what it may do."""

    name: str
    role: Role


class SignedIn(NamedTuple):
    """Who has shown the right password."""

    name: str
    """The login as the directory server spells it."""
    role: Role | None
    """What their groups make of them; None when they are in no group that counts."""
    missing: tuple[str, ...] = ()
    """Groups that were asked about and that the directory server does not have."""


class Admission(NamedTuple):
    """Somebody who was let in."""

    caller: Caller
    unreachable: bool = False
    """Whether that rests on an earlier sign-in, because the directory server could not be asked."""


class StoredContact(NamedTuple):
    """A contact as it is stored. A tuple, because a large answer makes a hundred thousand of them."""

    id: str
    """32 lower-case hex digits."""
    type: Type
    name: str
    numbers: Sequence[Mapping[str, str]]
    """`{"phoneNumber": …, "description": …}`, the latter if there is one; the first is the contact's phoneNumber."""
    user_name: str | None
    first_name: str | None
    last_name: str | None
    employee_id: str | None
    email_address: str | None
    roles: Sequence[str]
    business_units: Sequence[str]
    channel: str | None

    def all_numbers(self) -> tuple[Number, ...]:
        """Its numbers as a Contact has them."""
        return tuple(Number(number["phoneNumber"], number.get("description", "")) for number in self.numbers)


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to a query: how many match in all, and the asked ones in batches, from one snapshot."""

    total: int
    batches: AsyncIterator[Sequence[StoredContact]]
