"""vCards as text: properties on content lines, folded and escaped (RFC 6350, 3); 3.0 and 4.0 alike.

What the properties mean for a contact is known to `core.files.vcard_contacts`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from syncd.errors import InvalidParameter

WIDTH = 75
"""Octets of a line, its end not counted (RFC 6350, 3.2)."""
VERSIONS = ("3.0", "4.0")


class Property(NamedTuple):
    """One property of a card."""

    name: str
    """In upper case."""
    value: str
    """As it stands there, its escapes untouched."""
    group: str = ""
    parameters: Mapping[str, Sequence[str]] = {}
    """Name in upper case -> values in lower case."""


class Card(NamedTuple):
    """One card of a file."""

    line: int
    """Where it begins: a physical line of the file, counted from 1."""
    properties: Sequence[Property] = ()
    why: str = ""
    """Why it cannot be read; empty when it can."""


def written(properties: Sequence[tuple[str, str]]) -> str:
    """A card of version 4.0: (name with its parameters, escaped value) of each property, in this order."""
    lines = [("BEGIN", "VCARD"), ("VERSION", "4.0"), *properties, ("END", "VCARD")]
    return "".join([folded(f"{name}:{value}") for name, value in lines])


def folded(line: str) -> str:
    """The line with its end, broken where it is longer than WIDTH octets, but never within a character."""
    if len(line) <= WIDTH and line.isascii():
        return line + "\r\n"
    pieces, width = [""], 0
    for char in line:
        octets = len(char.encode())
        if width + octets > WIDTH:
            pieces.append("")
            width = 1  # the blank that a continued line begins with
        pieces[-1] += char
        width += octets
    return "\r\n ".join(pieces) + "\r\n"


def escaped(text: str) -> str:
    """A text as a value, or as one component of a value (RFC 6350, 3.4)."""
    return text.translate(_ESCAPES)


def plain(value: str) -> str:
    """The text that was escaped."""
    return _ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)


def components(value: str) -> list[str]:
    """The components of a structured value, as texts."""
    return [plain(part) for part in _COMPONENT.findall(value)]


def cards(raw: bytes) -> Iterator[Card]:
    """The cards of a file. Raises InvalidParameter when it is not in UTF-8.

    A card with a line that is none is one that cannot be read; so are lines outside of any card.
    """
    card: _Open | None = None
    stray = 0
    line = 0
    for line, text in _unfolded(raw):
        word = re.sub(r"\s", "", text).upper()
        if word == "BEGIN:VCARD":
            if card is not None:
                yield Card(card.line, (), f"it has no END:VCARD before the next card begins in line {line}")
            card, stray = _Open(line), 0
        elif card is None:
            if not stray and word:
                stray = line
                yield Card(line, (), "this stands outside of a card; a card begins with BEGIN:VCARD")
        elif word == "END:VCARD":
            yield card.closed()
            card = None
        elif word:
            card.take(line, text)
    if card is not None:
        yield Card(card.line, (), f"it has no END:VCARD; the file ends with line {line}")


class _Open:
    """A card while its lines are read."""

    def __init__(self, line: int) -> None:
        self.line = line
        self._properties: list[Property] = []
        self._why = ""

    def take(self, line: int, text: str) -> None:
        """Take one line; the first that is wrong decides."""
        if self._why:
            return
        found = _LINE.fullmatch(text)
        if found is None:
            self._why = f"line {line} is no property: NAME:VALUE is expected"
            return
        parameters = _parameters(found["parameters"])
        if "quoted-printable" in {value for values in parameters.values() for value in values}:
            self._why = f"line {line} is in quoted-printable, as vCard 2.1 has it; export the cards as vCard 3.0 or 4.0"
        self._properties.append(
            Property(found["name"].upper(), found["value"], (found["group"] or "").lower(), parameters)
        )

    def closed(self) -> Card:
        """The card."""
        version = next((one.value.strip() for one in self._properties if one.name == "VERSION"), "")
        if not self._why and version not in VERSIONS:
            said = f"its version is {version[:20]!r}" if version else "it has no VERSION"
            self._why = f"{said}; vCard 3.0 and 4.0 can be read"
        return Card(self.line, () if self._why else self._properties, self._why)


def _unfolded(raw: bytes) -> Iterator[tuple[int, str]]:
    """The lines, each with the number of its first physical line.

    They are joined as bytes: there are programs that break a line within a character.
    """
    first, joined = 0, b""
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if first and line[:1] in (b" ", b"\t"):
            joined += line[1:]
            continue
        if first:
            yield first, _decoded(first, joined)
        first, joined = number, line
    if first:
        yield first, _decoded(first, joined)


def _decoded(line: int, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"line {line}: the file is not in UTF-8; export it so") from error


def _parameters(text: str) -> Mapping[str, Sequence[str]]:
    """Some programs write a TYPE without its name: `;CELL`."""
    found: dict[str, list[str]] = {}
    for parameter in _PARAMETER.findall(text):
        name, equals, values = parameter.partition("=")
        if not equals:
            name, values = "TYPE", name
        found.setdefault(name.strip().upper(), []).extend(values.replace('"', "").lower().split(","))
    return found


_LINE = re.compile(
    r'(?:(?P<group>[A-Za-z0-9-]+)\.)?(?P<name>[A-Za-z0-9-]+)(?P<parameters>(?:;(?:"[^"]*"|[^":])*)?):(?P<value>.*)',
    re.DOTALL,
)
_PARAMETER = re.compile(r';((?:"[^"]*"|[^";])*)')
_ESCAPES = str.maketrans({"\\": r"\\", ",": r"\,", ";": r"\;", "\n": r"\n"})
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMPONENT = re.compile(r"(?:^|(?<=;))(?:\\.|[^;\\])*", re.DOTALL)
