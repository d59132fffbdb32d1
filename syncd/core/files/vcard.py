"""vCard syntax: properties on content lines, folded and escaped (RFC 6350, 3); versions 3.0 and 4.0.

`vcard_contacts` maps properties to members of contacts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from syncd.errors import InvalidParameter

MAX_LINE_OCTETS = 75
"""Maximum length of a line in octets, without line break (RFC 6350, 3.2)."""
VERSIONS = ("3.0", "4.0")


class Property(NamedTuple):
    """Property of a card."""

    name: str
    """In upper case."""
    value: str
    """Escaped."""
    group: str = ""
    parameters: Mapping[str, Sequence[str]] = {}
    """Name in upper case -> values in lower case."""


class Card(NamedTuple):
    """Card of a file."""

    line: int
    """First physical line of the card in the file, from 1."""
    properties: Sequence[Property] = ()
    error: str = ""
    """Why the card is malformed; empty for a valid one."""


def encode_card(properties: Sequence[tuple[str, str]]) -> str:
    """Encode a card of version 4.0. A property is (name with parameters, escaped value)."""
    lines = [("BEGIN", "VCARD"), ("VERSION", "4.0"), *properties, ("END", "VCARD")]
    return "".join([fold_line(f"{name}:{value}") for name, value in lines])


def fold_line(line: str) -> str:
    """Fold a line at MAX_LINE_OCTETS octets, not within a character, and append the line break."""
    if len(line) <= MAX_LINE_OCTETS and line.isascii():
        return line + "\r\n"
    pieces, width = [""], 0
    for char in line:
        octets = len(char.encode())
        if width + octets > MAX_LINE_OCTETS:
            pieces.append("")
            width = 1  # the space at the beginning of a continuation line
        pieces[-1] += char
        width += octets
    return "\r\n ".join(pieces) + "\r\n"


def escape(text: str) -> str:
    """Escape a text value, or a component of a structured value (RFC 6350, 3.4)."""
    return text.translate(_ESCAPES)


def unescape(value: str) -> str:
    """Undo `escape`."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def split_components(value: str) -> list[str]:
    """Return the components of a structured value, unescaped."""
    return [unescape(part) for part in _COMPONENT.findall(value)]


def parse_cards(raw: bytes) -> Iterator[Card]:
    """Parse the cards of a file. Raises InvalidParameter when it is not in UTF-8.

    A card with a malformed line, and lines outside of cards, are yielded as cards with an error.
    """
    card: _CardBuilder | None = None
    stray = 0
    line = 0
    for line, text in _unfold(raw):
        word = re.sub(r"\s", "", text).upper()
        if word == "BEGIN:VCARD":
            if card is not None:
                yield Card(card.line, (), f"it has no END:VCARD before the next card begins in line {line}")
            card, stray = _CardBuilder(line), 0
        elif card is None:
            if not stray and word:
                stray = line
                yield Card(line, (), "this stands outside of a card; a card begins with BEGIN:VCARD")
        elif word == "END:VCARD":
            yield card.build()
            card = None
        elif word:
            card.add_line(line, text)
    if card is not None:
        yield Card(card.line, (), f"it has no END:VCARD; the file ends with line {line}")


class _CardBuilder:
    """Collects the lines of a card."""

    def __init__(self, line: int) -> None:
        self.line = line
        self._properties: list[Property] = []
        self._error = ""

    def add_line(self, line: int, text: str) -> None:
        """Parse one line; after a malformed one, the others are ignored."""
        if self._error:
            return
        match = _LINE.fullmatch(text)
        if match is None:
            self._error = f"line {line} is no property: NAME:VALUE is expected"
            return
        parameters = _parse_parameters(match["parameters"])
        if "quoted-printable" in {value for values in parameters.values() for value in values}:
            self._error = (
                f"line {line} is in quoted-printable, as vCard 2.1 has it; export the cards as vCard 3.0 or 4.0"
            )
        self._properties.append(
            Property(match["name"].upper(), match["value"], (match["group"] or "").lower(), parameters)
        )

    def build(self) -> Card:
        """Return the card."""
        version = next((prop.value.strip() for prop in self._properties if prop.name == "VERSION"), "")
        if not self._error and version not in VERSIONS:
            problem = f"its version is {version[:20]!r}" if version else "it has no VERSION"
            self._error = f"{problem}; vCard 3.0 and 4.0 can be read"
        return Card(self.line, () if self._error else self._properties, self._error)


def _unfold(raw: bytes) -> Iterator[tuple[int, str]]:
    """Yield (number of the first physical line, content) of each line.

    Lines are joined as bytes, because some programs fold within a character.
    """
    first = 0
    pieces: list[bytes] = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if first and line[:1] in (b" ", b"\t"):
            pieces.append(line[1:])
            continue
        if first:
            yield first, _decode(first, pieces)
        first, pieces = number, [line]
    if first:
        yield first, _decode(first, pieces)


def _decode(line: int, pieces: Sequence[bytes]) -> str:
    try:
        return b"".join(pieces).decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"line {line}: the file is not in UTF-8; export it so") from error


def _parse_parameters(text: str) -> Mapping[str, Sequence[str]]:
    """Parse `;NAME=value,value`; `;CELL` is TYPE=CELL, because some programs omit the name."""
    parameters: dict[str, list[str]] = {}
    for parameter in _PARAMETER.findall(text):
        name, equals, values = parameter.partition("=")
        if not equals:
            name, values = "TYPE", name
        parameters.setdefault(name.strip().upper(), []).extend(values.replace('"', "").lower().split(","))
    return parameters


# possessive repetitions (*+), because others keep some 200 bytes for each character that they could give back
_LINE = re.compile(
    r'(?:(?P<group>[A-Za-z0-9-]+)\.)?(?P<name>[A-Za-z0-9-]+)(?P<parameters>(?:;(?:"[^"]*"|[^":]+)*+)?):(?P<value>.*)',
    re.DOTALL,
)
_PARAMETER = re.compile(r';((?:"[^"]*"|[^";]+)*+)')
_ESCAPES = str.maketrans({"\\": r"\\", ",": r"\,", ";": r"\;", "\n": r"\n"})
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMPONENT = re.compile(r"(?:^|(?<=;))(?:\\.|[^;\\]+)*+", re.DOTALL)
