"""Who has a number: how a contact may match one that somebody asks for. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from syncd.core.contacts.models import StoredContact
from syncd.errors import InvalidParameter, MissingParameter

Match: TypeAlias = Literal["exact", "e164", "suffix"]
MATCHES: tuple[Match, ...] = get_args(Match)
"""The kinds of a match, best first: the digits as written, the same number internationally, the last digits."""

MOST_NUMBERS = 100
"""Numbers of one request."""
MOST_MATCHES = 100
"""Contacts that are named for one number, the best ones: more than that have the number of the whole house."""


class Owner(NamedTuple):
    """A contact that has the number."""

    match: Match
    contact: StoredContact


Owners: TypeAlias = Mapping[str, Sequence[Owner]]
"""Number as asked for -> the contacts that have it, best match first."""


def wanted(numbers: Sequence[str]) -> tuple[str, ...]:
    """The numbers of a request, each once. Raises MissingParameter or InvalidParameter."""
    if not numbers:
        raise MissingParameter("number is missing: write number=+4989555010, several separated by commas")
    if len(numbers) > MOST_NUMBERS:
        raise InvalidParameter(f"number: {len(numbers)} are given, at most {MOST_NUMBERS} are allowed in one request")
    return tuple(dict.fromkeys(numbers))
