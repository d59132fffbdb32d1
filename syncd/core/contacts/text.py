"""Text normalization: cleaning, folding for comparison, word splitting, and phone numbers without punctuation."""

import re
import unicodedata


def clean(text: str) -> str:
    """Normalize to Unicode NFC, strip white space and collapse inner runs of it to one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def fold(text: str) -> str:
    """Fold case and accents for comparison and sorting: NFKD without combining marks, case folded.

    The result is stored, so that every PostgreSQL build sorts and matches alike. Letters that do not decompose into a
    base letter and a mark (ø, ł, ß) are case folded only.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in folded if not unicodedata.combining(char)).casefold()


def split_words(folded: str) -> list[str]:
    """Return the runs of letters and digits of a folded text, in order."""
    return _WORD.findall(folded)


def normalize_dialled(number: str) -> str:
    """Return letters and digits of a number, case folded, so that spellings of one number compare equal."""
    if number.isascii():
        return number.lower().translate(_NOT_DIALLED)
    return "".join([char for char in number.casefold() if char.isalnum()])


def has_control(text: str) -> bool:
    """Whether the text contains a control character, a line or paragraph separator or a lone surrogate."""
    if text.isprintable():
        return False
    return any(unicodedata.category(char) in _FORBIDDEN for char in text)


def replace_controls(text: str) -> str:
    """Replace the characters that `has_control` finds by U+FFFD, so that the text can be stored and shown."""
    if not has_control(text):
        return text
    return "".join("\ufffd" if unicodedata.category(char) in _FORBIDDEN else char for char in text)


_WORD = re.compile(r"[^\W_]+")
_NOT_DIALLED = {code: None for code in range(128) if not chr(code).isalnum()}
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
