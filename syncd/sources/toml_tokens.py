"""Tokens of TOML text: limits of keys and words, which `tomllib` lacks, and the integers as they are written.

`tomllib` needs time and memory in proportion to the square of the parts of a key, and memory of 200 bytes for each
digit of a number.
"""

import re

MAX_KEY_PARTS = 32
"""Parts of a dotted key, or of the name of a table."""
MAX_WORD_LENGTH = 65_536
"""Characters of a key or number without quotes."""

# every alternative matches up to the end of the text if its end is missing, so that no character is scanned twice
_STRING_OR_COMMENT = re.compile(
    r'"""(?:[^"\\]|\\.?|"(?!""))*+(?:"{3,5}|\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n]?)*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+",
    re.DOTALL,
)
_DEEP_KEY = re.compile(rf'(?<![\w"-])(?:[\w"-]++[ \t]*+\.[ \t]*+){{{MAX_KEY_PARTS}}}')
_LONG_WORD = re.compile(rf"(?<!\w)\w{{{MAX_WORD_LENGTH}}}")
_INTEGER = re.compile(r"(?<![\w+.-])-?\d++(?![\w.])")


def check_limits(text: str) -> None:
    """Raise ValueError for a key of too many parts, and for a word that is too long."""
    bare = _STRING_OR_COMMENT.sub('"', text)
    for pattern, problem in (
        (_DEEP_KEY, f"a key has more than {MAX_KEY_PARTS} parts"),
        (_LONG_WORD, f"a key or number is longer than {MAX_WORD_LENGTH} characters"),
    ):
        if pattern.search(bare):
            raise ValueError(problem)


def find_integers(text: str) -> frozenset[str]:
    """Return the decimal integers without plus sign, leading blanks and separators, outside of strings and comments."""
    return frozenset(_INTEGER.findall(_STRING_OR_COMMENT.sub('"', text)))
