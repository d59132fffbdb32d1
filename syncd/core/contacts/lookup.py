"""Reverse lookup of phone numbers: kinds of matches, and limits of a request."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from syncd.core.contacts.models import StoredContact
from syncd.errors import InvalidParameter, MissingParameter

MatchKind: TypeAlias = Literal["exact", "e164", "suffix"]
MATCH_KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
"""Kinds of matches, best first: same digits as written, same international number, same last digits."""

MAX_NUMBERS = 100
"""Maximum of numbers per request."""
MAX_OWNERS = 100
"""Maximum of contacts per number, best matches first. More contacts share only a main number."""


class Owner(NamedTuple):
    """Contact that has a number, and how well it matches."""

    match: MatchKind
    contact: StoredContact


Owners: TypeAlias = Mapping[str, Sequence[Owner]]
"""Requested number -> contacts that have it, best match first."""


def check_numbers(numbers: Sequence[str]) -> tuple[str, ...]:
    """Return the numbers of a request without duplicates. Raises MissingParameter or InvalidParameter."""
    if not numbers:
        raise MissingParameter("number is missing: write number=+4989555010, several separated by commas")
    if len(numbers) > MAX_NUMBERS:
        raise InvalidParameter(f"number: {len(numbers)} are given, at most {MAX_NUMBERS} are allowed in one request")
    return tuple(dict.fromkeys(numbers))
