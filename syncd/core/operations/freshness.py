"""Freshness: the age of what each source gave, as answers tell it and callers demand it. Pure.

Both headers are structured fields (RFC 9651): `Directory-Freshness` is a list of strings, the names of the sources,
with parameters; `Directory-Max-Age` is an integer, in seconds.
"""

import re
from collections.abc import Collection, Sequence

from syncd.core.contacts.contact import Type
from syncd.core.operations.health import Age
from syncd.errors import InvalidParameter, NotNow

MAX_AGE = "Directory-Max-Age"
LONGEST = 10**15 - 1
"""The largest integer of a structured field."""
LATER = 30
"""Seconds after which it is worth asking again for something fresher."""


def header(ages: Sequence[Age]) -> str:
    """`"corp";age=120;type=User, "acd";type=Queue;stale`: without an age what was never read completely."""
    return ", ".join(map(_item, ages))


def _item(age: Age) -> str:
    name = re.sub(r'(["\\])', r"\\\1", age.source)
    known = "" if age.seconds is None else f";age={min(age.seconds, LONGEST)}"
    return f'"{name}"{known};type={age.type}{";stale" if age.stale else ""}'


def demanded(given: Sequence[str]) -> int | None:
    """The age that a caller allows, from every occurrence of the header; None without. Raises InvalidParameter."""
    if not given:
        return None
    seconds = given[0].strip(" ")
    if len(given) > 1 or not re.fullmatch("[0-9]{1,15}", seconds):
        raise InvalidParameter(f"the header {MAX_AGE} takes a number of seconds, once, such as 600")
    return int(seconds)


def check(ages: Sequence[Age], types: Collection[Type], most: int) -> None:
    """Raise NotNow when what a source of these types gave, or of any type when there are none, is older than `most`."""
    old = [age for age in ages if (not types or age.type in types) and (age.seconds is None or age.seconds > most)]
    if old:
        raise NotNow(f"{'; '.join(map(_sentence, old))}; {MAX_AGE} allows {most} s", LATER)


def _sentence(age: Age) -> str:
    if age.seconds is None:
        return f"{age.source} was never read completely"
    return f"{age.source} was last read completely {age.seconds} s ago"
