"""Text as people compare it: cleaned, folded, split into words, and phone numbers reduced to what is dialled."""

import re
import unicodedata


def clean(text: str) -> str:
    """Unicode NFC without surrounding white space; inner runs of white space become one blank.

    A value of nothing but white space becomes the empty string, which callers take as absent.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def fold(text: str) -> str:
    """The form for comparing and sorting without case and accents: NFKD, marks dropped, case folded.

    Computed here and stored, so that every PostgreSQL build sorts and matches alike. Letters that are no base
    letter plus mark (ø, ł, ß) keep what Unicode case folding gives.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in folded if not unicodedata.combining(char)).casefold()


def words(folded: str) -> list[str]:
    """The words of a folded text: its runs of letters and digits, in their order."""
    return _WORD.findall(folded)


def dialled(number: str) -> str:
    """Letters and digits only, case folded: what two spellings of one number have in common."""
    if number.isascii():
        return number.lower().translate(_NOT_DIALLED)
    return "".join([char for char in number.casefold() if char.isalnum()])


def has_control(text: str) -> bool:
    """True when the text holds a control character, a line or paragraph separator or a lone surrogate."""
    if text.isprintable():
        return False
    return any(unicodedata.category(char) in _FORBIDDEN for char in text)


def legible(text: str) -> str:
    """The text with everything that `has_control` finds replaced by U+FFFD, so that it can be stored and shown."""
    if not has_control(text):
        return text
    return "".join("\ufffd" if unicodedata.category(char) in _FORBIDDEN else char for char in text)


_WORD = re.compile(r"[^\W_]+")
_NOT_DIALLED = {code: None for code in range(128) if not chr(code).isalnum()}
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
