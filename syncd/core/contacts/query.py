"""Query strings: parsing and validation of filters, order, page and members.

Values stay as sent; `store.contacts.filters` translates them to SQL.
"""

import difflib
import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from urllib.parse import unquote_to_bytes

from syncd.core.contacts.contact import MEMBERS, TYPES, ContactType
from syncd.core.contacts.search import SearchTerms, parse_search
from syncd.core.contacts.text import fold, has_control
from syncd.errors import InvalidParameter, MissingParameter

FILTERS = (
    "id", "name", "phoneNumber", "userName", "firstName", "lastName", "employeeId", "emailAddress", "channel", "roles",
    "includeUsersInBusinessUnits",
)  # fmt: skip
"""Parameters that compare any value; `type` is not among them, because its values are fixed."""

ORDERS = ("Ascending", "Descending")
NAMES_OR_NUMBER = "NamesOrPhoneNumberMatches"
Format: TypeAlias = Literal["json", "csv", "vcard"]
FORMATS: tuple[Format, ...] = get_args(Format)
PARAMETERS = (
    *FILTERS, "type", "q", "filterName", "filterParameters", "sortBy", "order", "limit", "offset", "fields", "format",
)  # fmt: skip
MAX_PATTERNS = 16
"""Maximum of patterns in one names-or-number filter: each is one more condition on every contact."""
MAX_WILDCARDS = 16
"""Maximum of wildcards in one pattern: PostgreSQL's regular expressions grow steeply with them."""
MAX_INTEGER = 2**63 - 1
"""Largest bigint of PostgreSQL; larger values are cut to it."""

Parameters: TypeAlias = Mapping[str, Sequence[str]]
"""Parameter name -> values in the order sent, each with its commas."""

NamePattern: TypeAlias = tuple[str, ...]
"""Pattern of a names-or-number filter: folded literal parts, with a wildcard between any two."""


@dataclass(frozen=True, slots=True)
class Query:
    """Validated query for contacts; the default selects all, ordered by name."""

    types: tuple[ContactType, ...] = ()
    """Types, ORed; empty for all types."""
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(parameter, values): filters are ANDed, the values of one filter are ORed."""
    patterns: tuple[NamePattern, ...] = ()
    """Each must match an entire name or number of the contact."""
    search: SearchTerms | None = None
    """Terms of the parameter `q`."""
    sort: tuple[str, ...] = ("name",)
    """Members to order by; empty for the rank of `search`, best first."""
    descending: bool = False
    limit: int | None = None
    offset: int = 0
    fields: frozenset[str] | None = None
    """Members to return; None for all."""
    format: Format | None = None
    """Format of the response; None when the query string has none."""

    def row_count(self, total: int) -> int:
        """Return the number of contacts in the response for this number of matches."""
        remaining = max(0, total - self.offset)
        return remaining if self.limit is None else min(remaining, self.limit)

    @property
    def weight(self) -> int:
        """Bytes that the values to match occupy in memory, approximately."""
        literals = [value for _, values in self.filters for value in values]
        literals += [part for pattern in self.patterns for part in pattern]
        return sum(map(len, literals)) + 64 * len(literals)

    @property
    def match_key(self) -> Hashable:
        """Everything that determines which contacts match; order and page do not."""
        return self.types, self.filters, self.patterns, self.search


def parse(raw: bytes) -> Query:
    """Parse the query string of GET on the collection. Raises InvalidParameter or MissingParameter."""
    parameters = parse_parameters(raw, PARAMETERS)
    typed = parse_single(parameters, "q")
    return Query(
        types=tuple(_parse_type(value) for value in split_values(parameters, "type")),
        filters=tuple((name, values) for name in FILTERS if (values := split_values(parameters, name))),
        patterns=_parse_patterns(parameters),
        search=None if typed is None else parse_search(typed),
        sort=_parse_members(parameters, "sortBy") or (("name",) if typed is None else ()),
        descending=parse_choice(parameters, "order", ORDERS) == "Descending",
        limit=parse_integer(parameters, "limit"),
        offset=parse_integer(parameters, "offset") or 0,
        fields=parse_fields(parameters),
        format=parse_format(parameters),
    )


def parse_parameters(raw: bytes, allowed: Collection[str]) -> Parameters:
    """Parse a query string (percent-encoded UTF-8; `+` is a space).

    Parameters that start with `_` (cache busters) and `subresources` are ignored. Raises InvalidParameter for other
    names outside `allowed`.
    """
    parameters: dict[str, list[str]] = {}
    for name, value in _split_pairs(raw):
        if name.startswith("_") or name == "subresources":
            continue
        if name not in allowed:
            raise InvalidParameter(f"there is no parameter {_quote(name)} here{_suggest(name, allowed)}")
        parameters.setdefault(name, []).append(_decode_value(value, name))
    return parameters


def _split_pairs(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (decoded name, encoded value) of each parameter, in the order sent."""
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            yield decode_percent(name.replace(b"+", b" "), "a parameter's name").strip(), value


def _decode_value(raw: bytes, name: str) -> str:
    return decode_percent(raw.replace(b"+", b" "), name).strip()


def decode_percent(raw: bytes, what: str) -> str:
    """Decode percent-encoded UTF-8 (RFC 3986, 2.1).

    Raises InvalidParameter for invalid escapes, other encodings and control characters; its message names `what`.
    """
    if b"%" in raw:
        if _INVALID_ESCAPE.search(raw):
            raise InvalidParameter(f"{what}: a percent sign is not followed by two hex digits; write it as %25")
        raw = unquote_to_bytes(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"{what} is not UTF-8") from error
    if has_control(text.strip()) or "\0" in text:
        raise InvalidParameter(f"{what} holds a control character")
    return text


def parse_types(raw: bytes) -> tuple[ContactType, ...]:
    """Return the values of the parameter `type`; other parameters are not validated. Raises InvalidParameter."""
    values = [_decode_value(value, name) for name, value in _split_pairs(raw) if name == "type"]
    return tuple(_parse_type(value) for value in split_values({"type": values}, "type"))


def parse_ids(parameters: Parameters) -> tuple[str, ...]:
    """Return the values of the parameter `id`, without duplicates."""
    return tuple(dict.fromkeys(split_values(parameters, "id")))


def is_id(text: str) -> bool:
    """Whether the text has the form of an id: 32 lower-case hex digits."""
    return _ID.fullmatch(text) is not None


def parse_fields(parameters: Parameters) -> frozenset[str] | None:
    """Return the members to return; None for all. Raises InvalidParameter."""
    members = frozenset(_parse_members(parameters, "fields", (*MEMBERS, "*")))
    return None if "*" in members else members or None


def parse_format(parameters: Parameters) -> Format | None:
    """Return the format of the response; None when the parameter is absent. Raises InvalidParameter."""
    name = parse_choice(parameters, "format", FORMATS)
    return next((format_ for format_ in FORMATS if format_ == name), None)


def split_values(parameters: Parameters, name: str) -> tuple[str, ...]:
    r"""Split the values of all occurrences at commas; `\,` is a comma inside a value. Empty values are dropped."""
    return tuple(item for value in parameters.get(name, ()) for item in _split_commas(value))


def _split_commas(value: str) -> Iterator[str]:
    for item in _SEPARATOR.split(value) if "," in value else (value,):
        if stripped := item.replace("\\,", ",").strip():
            yield stripped


def _parse_type(value: str) -> ContactType:
    for type_ in TYPES:
        if value.lower() == type_.lower():
            return type_
    raise InvalidParameter(f"type: {_quote(value)} is not one of {', '.join(TYPES)}")


def _parse_members(parameters: Parameters, name: str, allowed: Sequence[str] = MEMBERS) -> tuple[str, ...]:
    members = split_values(parameters, name)
    for member in members:
        if member not in allowed:
            raise InvalidParameter(
                f"{name}: {_quote(member)} is no member of a contact{_suggest(member, MEMBERS)}; "
                f"there are {', '.join(allowed)}"
            )
    return tuple(dict.fromkeys(members))


def parse_single(parameters: Parameters, name: str) -> str | None:
    """Return the value of a parameter that takes no list; None when it is absent. Raises InvalidParameter."""
    values = {value for value in parameters.get(name, ()) if value}
    if len(values) > 1:
        raise InvalidParameter(f"{name} is given more than once, with different values")
    return values.pop() if values else None


def parse_choice(parameters: Parameters, name: str, allowed: Sequence[str]) -> str | None:
    """Return the value of a parameter with fixed values; None when it is absent. Raises InvalidParameter."""
    value = parse_single(parameters, name)
    if value is not None and value not in allowed:
        raise InvalidParameter(f"{name}: {_quote(value)} is not allowed; write {' or '.join(allowed)}")
    return value


def parse_integer(parameters: Parameters, name: str) -> int | None:
    """Return an integer of 0 to MAX_INTEGER; None when the parameter is absent. Raises InvalidParameter."""
    value = parse_single(parameters, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise InvalidParameter(f"{name}: {_quote(value)} is no integer of 0 or more")
    digits = value.lstrip("0")
    return MAX_INTEGER if len(digits) > 18 else int(digits or "0")


def _parse_patterns(parameters: Parameters) -> tuple[NamePattern, ...]:
    name = parse_choice(parameters, "filterName", (NAMES_OR_NUMBER,))
    arguments = tuple(dict.fromkeys(split_values(parameters, "filterParameters")))
    if name is None and not arguments:
        return ()
    if name is None:
        raise MissingParameter(f"filterParameters needs filterName={NAMES_OR_NUMBER}")
    if not arguments:
        raise MissingParameter("filterParameters is missing: what to look for, * is the wildcard")
    if len(arguments) > MAX_PATTERNS:
        raise InvalidParameter(f"filterParameters: {len(arguments)} arguments, at most {MAX_PATTERNS} are allowed")
    return tuple(_parse_pattern(argument) for argument in arguments)


def _parse_pattern(argument: str) -> NamePattern:
    parts = re.sub(r"\*+", "*", argument).split("*")
    if len(parts) - 1 > MAX_WILDCARDS:
        raise InvalidParameter(f"filterParameters: at most {MAX_WILDCARDS} wildcards are allowed in one argument")
    return tuple(fold(part) for part in parts)


def _quote(word: str) -> str:
    """Return the word in quotes, cut to 60 characters, with escapes for unprintable ones."""
    return repr(word if len(word) <= 60 else word[:57] + "...")


def check_known(word: str, what: str, known: Collection[str]) -> str:
    """Return the word if it is known. Raises InvalidParameter, which suggests the most similar known word."""
    if word not in known:
        raise InvalidParameter(f"there is no {what} {_quote(word)}{_suggest(word, known)}")
    return word


def _suggest(word: str, candidates: Collection[str]) -> str:
    lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word[:60].lower(), lower, n=1, cutoff=0.0)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


_SEPARATOR = re.compile(r"(?<!\\),")
_INVALID_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ID = re.compile("[0-9a-f]{32}")
