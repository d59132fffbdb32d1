"""Full-text search by the parameter `q`: words, limits and ranks of matches.

Each word of the search must be the prefix of a word of the contact.
"""

import re
from enum import IntEnum
from typing import NamedTuple

from syncd.core.contacts.text import clean, fold, split_words
from syncd.errors import InvalidParameter

MAX_LENGTH = 100
"""Maximum number of characters of a search."""
MAX_WORDS = 8
"""Maximum number of words of a search: each is one more condition on every contact."""
MAX_MATCHES = 3_000
"""Best matches of a search that are counted and can be paged through."""
FUZZY_BELOW = 10
"""Number of matches below which a search for similar spellings is added."""
MAX_SPELLINGS = 8
"""Maximum number of words of the directory that replace a misspelled word."""


class MatchRank(IntEnum):
    """Rank of a match, best first."""

    EXACT = 0
    """Name, user name, e-mail address or a number equals the search."""
    PREFIX = 1
    """The name begins with the search."""
    WORD = 2
    """Each word is the prefix of a word of the contact."""
    FUZZY = 3
    """Each word is the prefix of a word of the contact, or similar to one."""


class SearchTerms(NamedTuple):
    """Validated search."""

    typed: str
    """As sent, without superfluous white space."""
    text: str
    """Folded."""
    words: tuple[str, ...]
    """Distinct words of `text`; without a word, no contact matches."""


def parse_search(typed: str) -> SearchTerms:
    """Parse the value of `q`. A text of digits and punctuation of phone numbers is one word, its digits.

    Raises InvalidParameter for too many characters or words.
    """
    if len(typed) > MAX_LENGTH:
        raise InvalidParameter(f"q has {len(typed)} characters, at most {MAX_LENGTH} are allowed")
    typed = clean(typed)
    text = fold(typed)
    words = [_dialled_digits(text)] if _NUMBER.fullmatch(text) else split_words(text)
    if len(words) > MAX_WORDS:
        raise InvalidParameter(f"q has {len(words)} words, at most {MAX_WORDS} are allowed")
    return SearchTerms(typed, text, tuple(dict.fromkeys(word for word in words if word)))


def _dialled_digits(text: str) -> str:
    """Return the digits; of an international number without the prefix 00 and without (0), which is not dialled."""
    digits = re.sub(r"[^0-9]", "", text)
    if text.startswith("+") or digits.startswith("00"):
        digits = re.sub(r"[^0-9]", "", text.replace("(0)", ""))
        return digits.removeprefix("00") or digits
    return digits


_NUMBER = re.compile(r"[-0-9 +()./*#]+")
