"""What `q` asks for: words, each of which must begin a word of the contact, and how good a match is. Pure."""

import re
from enum import IntEnum
from typing import NamedTuple

from syncd.core.contacts.text import clean, fold, words
from syncd.errors import InvalidParameter

LONGEST = 100
"""Characters of a search."""
MOST_WORDS = 8
"""Words of a search: each is one more condition on every contact."""
MOST_MATCHES = 3_000
"""The best matches of a search, which are counted and can be paged through; nobody reads further."""
ENOUGH = 10
"""Matches from which on nobody is looked for under a misspelling."""
MOST_SPELLINGS = 8
"""Words of the directory that a misspelled one may stand for."""


class Tier(IntEnum):
    """How a contact matches, best first."""

    EXACT = 0
    """Its name, user name, e-mail or a number is what was asked for."""
    PREFIX = 1
    """Its name begins with that."""
    WORD = 2
    """Each word begins one of its words."""
    FUZZY = 3
    """Each word begins one of its words or is like one."""


class Sought(NamedTuple):
    """A search, checked."""

    typed: str
    text: str
    """The same, folded."""
    words: tuple[str, ...]
    """Its words; nobody matches when there is none."""


def sought(typed: str) -> Sought:
    """The search that somebody typed. Raises InvalidParameter when it is too long.

    What holds nothing but digits and the punctuation of phone numbers is one word, however they are grouped.
    """
    if len(typed) > LONGEST:
        raise InvalidParameter(f"q has {len(typed)} characters, at most {LONGEST} are allowed")
    typed = clean(typed)
    text = fold(typed)
    found = [_digits(text)] if _NUMBER.fullmatch(text) else words(text)
    if len(found) > MOST_WORDS:
        raise InvalidParameter(f"q has {len(found)} words, at most {MOST_WORDS} are allowed")
    return Sought(typed, text, tuple(dict.fromkeys(word for word in found if word)))


def _digits(text: str) -> str:
    """The digits of a number as an international one begins: 00 is a plus, and (0) is not dialled after it."""
    bare = re.sub(r"[^0-9]", "", text)
    if text.startswith("+") or bare.startswith("00"):
        bare = re.sub(r"[^0-9]", "", text.replace("(0)", ""))
        return bare.removeprefix("00") or bare
    return bare


_NUMBER = re.compile(r"[-0-9 +()./*#]+")
