"""Freshness headers: age of the sources in responses, and the maximum age that a request allows.

Both headers are structured fields (RFC 9651): `Directory-Freshness` is a list of strings, the names of the sources,
with parameters; `Directory-Max-Age` is an integer, in seconds.
"""

import re
from collections.abc import Collection, Sequence

from syncd.core.contacts.contact import ContactType
from syncd.core.operations.health import SourceAge
from syncd.errors import InvalidParameter, TooStale

MAX_AGE = "Directory-Max-Age"
MAX_INTEGER = 10**15 - 1
"""Largest integer of a structured field (RFC 9651, 3.3.1)."""
RETRY_AFTER = 30
"""Value of Retry-After for a request that allows only a lower age, in seconds."""


def encode_header(ages: Sequence[SourceAge]) -> str:
    """Encode Directory-Freshness: `"corp";age=120;type=User, "acd";type=Queue;stale`.

    A source without a complete run has no age.
    """
    return ", ".join(map(_encode_item, ages))


def _encode_item(age: SourceAge) -> str:
    name = re.sub(r'(["\\])', r"\\\1", age.source)
    parameter = "" if age.seconds is None else f";age={min(age.seconds, MAX_INTEGER)}"
    return f'"{name}"{parameter};type={age.type}{";stale" if age.stale else ""}'


def parse_max_age(values: Sequence[str]) -> int | None:
    """Return the maximum age in seconds from all occurrences of Directory-Max-Age; None for none.

    Raises InvalidParameter for several occurrences or another value than an integer.
    """
    if not values:
        return None
    seconds = values[0].strip(" ")
    if len(values) > 1 or not re.fullmatch("[0-9]{1,15}", seconds):
        raise InvalidParameter(f"the header {MAX_AGE} takes a number of seconds, once, such as 600")
    return int(seconds)


def check_max_age(ages: Sequence[SourceAge], types: Collection[ContactType], max_age: int) -> None:
    """Check the age of the sources of these types; of all sources if there are none.

    Raises TooStale for a source that is older than `max_age` seconds or was never read completely.
    """
    stale = [age for age in ages if (not types or age.type in types) and (age.seconds is None or age.seconds > max_age)]
    if stale:
        raise TooStale(f"{'; '.join(map(_describe_age, stale))}; {MAX_AGE} allows {max_age} s", RETRY_AFTER)


def _describe_age(age: SourceAge) -> str:
    if age.seconds is None:
        return f"{age.source} was never read completely"
    return f"{age.source} was last read completely {age.seconds} s ago"
