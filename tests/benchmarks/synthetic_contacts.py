"""Synthetic contacts of a large organization, with generated names.

First and last names are composed of parts of names in several languages, and drawn with the skew of real ones: a few
are frequent, most are rare.
"""

import random
from collections.abc import Iterator
from itertools import accumulate, product
from pathlib import Path

from syncd.core.contacts.contact import Contact, ContactType, PhoneNumber

PARTS = [part.split() for part in Path(__file__).with_name("names.txt").read_text("utf-8").split("\n\n")]
GIVEN_STEMS, GIVEN_ENDINGS, FAMILY_STEMS, FAMILY_ENDINGS = PARTS
UNITS = (
    "Sales",
    "Service",
    "Claims",
    "Billing",
    "Technical",
    "Retention",
    "Orders",
    "Back Office",
    "Night",
    "Priority",
)
PLACES = ("East", "West", "North", "South", "Berlin", "München", "Köln", "Wien", "Zürich", "Lyon", "Leeds", "Malmö")
DOMAINS = ("example.com", "example.org", "mail.example.net")


def given_names() -> list[str]:
    """More than a thousand."""
    single = list(dict.fromkeys(stem + ending for stem, ending in product(GIVEN_STEMS, GIVEN_ENDINGS)))
    random.Random(1).shuffle(single)
    return single


def family_names() -> list[str]:
    """More than fifty thousand."""
    found = list(dict.fromkeys(stem + ending for stem, ending in product(FAMILY_STEMS, FAMILY_ENDINGS)))
    random.Random(2).shuffle(found)
    return found


def _skewed(count: int, exponent: float) -> list[float]:
    """Cumulative weights: the n-th is borne by 1/n^exponent as many as the first."""
    return list(accumulate((rank + 10) ** -exponent for rank in range(count)))


def people(count: int, seed: int = 7) -> Iterator[tuple[ContactType, Contact]]:
    """So many contacts: users, with two queues and three hand-kept contacts in a hundred."""
    drawn = random.Random(seed)
    given, family = given_names(), family_names()
    firsts = drawn.choices(given, cum_weights=_skewed(len(given), 1.0), k=count)
    lasts = drawn.choices(family, cum_weights=_skewed(len(family), 0.8), k=count)
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        yield _contact(drawn, number, first, last)


def _contact(drawn: random.Random, number: int, first: str, last: str) -> tuple[ContactType, Contact]:
    office = PhoneNumber(
        f"+49 {drawn.choice((30, 40, 69, 89, 221))} {drawn.randrange(10**6):06}-{drawn.randrange(10**3):03}"
    )
    kind = number % 100
    if kind < 2:
        name = f"{drawn.choice(UNITS)} {drawn.choice(PLACES)} {number}"
        return "Queue", Contact(name, (office,), channel="voice")
    if kind < 5:
        return "Custom", Contact(f"{first} {last}", (office,))
    mobile = PhoneNumber(f"+49 {drawn.choice((151, 160, 170, 175))} {drawn.randrange(10**8):08}", "mobile")
    user = f"{first[0]}{last}{number % 1000}".lower()
    return "User", Contact(
        f"{first} {last}",
        (office, mobile),
        user_name=user,
        first_name=first,
        last_name=last,
        employee_id=str(100_000 + number),
        email_address=f"{first}.{last}{number % 1000}@{drawn.choice(DOMAINS)}".lower(),
        roles=("ROLE_AGENT",),
        business_units=(f"AG_{number % 50}",),
    )
