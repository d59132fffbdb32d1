"""What a caller asks for, read from the query string: filters, order, page and members. Pure.

The rules are the contract's. Values stay as typed here; how they become SQL is known to `store.contacts.reading` only.
"""

import difflib
import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from urllib.parse import unquote_to_bytes

from syncd.core.contacts.contact import MEMBERS, TYPES, Type
from syncd.core.contacts.search import Sought, sought
from syncd.core.contacts.text import fold, has_control
from syncd.errors import InvalidParameter, MissingParameter

FILTERS = (
    "id", "name", "phoneNumber", "userName", "firstName", "lastName", "employeeId", "emailAddress", "channel", "roles",
    "includeUsersInBusinessUnits",
)  # fmt: skip
"""Parameters whose values are compared as they are; `type` is apart, because its values are known."""

ORDERS = ("Ascending", "Descending")
NAMES_OR_NUMBER = "NamesOrPhoneNumberMatches"
Format: TypeAlias = Literal["json", "csv", "vcard"]
FORMATS: tuple[Format, ...] = get_args(Format)
PARAMETERS = (
    *FILTERS, "type", "q", "filterName", "filterParameters", "sortBy", "order", "limit", "offset", "fields", "format",
)  # fmt: skip
MOST_ARGUMENTS = 16
"""Arguments of one names-or-number search: each is one more condition on every contact."""
MOST_WILDCARDS = 16
"""Wildcards in one argument: PostgreSQL's regular expressions grow steeply with them."""
LARGEST = 2**63 - 1
"""The largest integer that PostgreSQL counts with; anything above means the same."""

Parameters: TypeAlias = Mapping[str, Sequence[str]]
"""Name of a parameter -> its values in the order given, each still with its commas."""

Wanted: TypeAlias = tuple[str, ...]
"""One argument of a names-or-number search: its folded literal parts, with a wildcard between any two."""


@dataclass(frozen=True, slots=True)
class Query:
    """A checked request for contacts. The default asks for all, by name."""

    types: tuple[Type, ...] = ()
    """Any of these types; every type when empty."""
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(parameter, values): each must hold, by any of its values."""
    wanted: tuple[Wanted, ...] = ()
    """Each must match a whole value of the contact's names or numbers."""
    sought: Sought | None = None
    """What `q` asks for."""
    sort: tuple[str, ...] = ("name",)
    """Members; none means that the best match of `sought` comes first."""
    descending: bool = False
    limit: int | None = None
    offset: int = 0
    fields: frozenset[str] | None = None
    """The members to answer with; None for all."""
    format: Format | None = None
    """The form to answer in; None when the query does not say."""

    def rows(self, total: int) -> int:
        """How many contacts the answer has when so many match."""
        left = max(0, total - self.offset)
        return left if self.limit is None else min(left, self.limit)

    @property
    def matching(self) -> Hashable:
        """What decides which contacts match, whatever of them is shown and in which order."""
        return self.types, self.filters, self.wanted, self.sought


def parse(raw: bytes) -> Query:
    """The query string of GET on the collection, as sent. Raises InvalidParameter or MissingParameter."""
    given = parameters(raw, PARAMETERS)
    typed = single(given, "q")
    return Query(
        types=tuple(_type(value) for value in values(given, "type")),
        filters=tuple((name, found) for name in FILTERS if (found := values(given, name))),
        wanted=_wanted(given),
        sought=None if typed is None else sought(typed),
        sort=_members(given, "sortBy") or (("name",) if typed is None else ()),
        descending=choice(given, "order", ORDERS) == "Descending",
        limit=integer(given, "limit"),
        offset=integer(given, "offset") or 0,
        fields=fields(given),
        format=form(given),
    )


def parameters(raw: bytes, known: Collection[str]) -> Parameters:
    """The parameters of a query string (percent-encoded UTF-8, `+` is a blank). Raises InvalidParameter.

    Those that start with `_` (cache busters) and `subresources` are left out; one outside `known` is refused.
    """
    found: dict[str, list[str]] = {}
    for word, value in _pairs(raw):
        if word.startswith("_") or word == "subresources":
            continue
        if word not in known:
            raise InvalidParameter(f"there is no parameter {_short(word)} here{_nearest(word, known)}")
        found.setdefault(word, []).append(_value(value, word))
    return found


def _pairs(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The parameters as they come: the name, and the value as sent."""
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            yield decoded(name.replace(b"+", b" "), "a parameter's name").strip(), value


def _value(sent: bytes, name: str) -> str:
    return decoded(sent.replace(b"+", b" "), name).strip()


def decoded(raw: bytes, what: str) -> str:
    """Percent-encoded UTF-8 as text without control characters (RFC 3986). Raises InvalidParameter naming `what`."""
    if b"%" in raw:
        if _BROKEN_ESCAPE.search(raw):
            raise InvalidParameter(f"{what}: a percent sign is not followed by two hex digits; write it as %25")
        raw = unquote_to_bytes(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"{what} is not UTF-8") from error
    if has_control(text.strip()) or "\0" in text:
        raise InvalidParameter(f"{what} holds a control character")
    return text


def types(raw: bytes) -> tuple[Type, ...]:
    """The types that a query string asks for, whatever else is in it. Raises InvalidParameter."""
    given = [_value(value, word) for word, value in _pairs(raw) if word == "type"]
    return tuple(_type(value) for value in values({"type": given}, "type"))


def identifiers(given: Parameters) -> tuple[str, ...]:
    """The values of the parameter `id`, without repetitions."""
    return tuple(dict.fromkeys(values(given, "id")))


def is_identifier(text: str) -> bool:
    """True when the text has the form of an id: 32 lower-case hex digits."""
    return _IDENTIFIER.fullmatch(text) is not None


def fields(given: Parameters) -> frozenset[str] | None:
    """The members to answer with; None for all. Raises InvalidParameter."""
    members = frozenset(_members(given, "fields", (*MEMBERS, "*")))
    return None if "*" in members else members or None


def form(given: Parameters) -> Format | None:
    """The form to answer in; None when it is not given. Raises InvalidParameter."""
    name = choice(given, "format", FORMATS)
    return next((one for one in FORMATS if one == name), None)


def values(given: Parameters, name: str) -> tuple[str, ...]:
    r"""The values of every occurrence, split at commas; `\,` is a comma of the value. Empty ones count as not given."""
    return tuple(item for value in given.get(name, ()) for item in _items(value))


def _items(value: str) -> Iterator[str]:
    for item in _SEPARATOR.split(value) if "," in value else (value,):
        if stripped := item.replace("\\,", ",").strip():
            yield stripped


def _type(value: str) -> Type:
    for type_ in TYPES:
        if value.lower() == type_.lower():
            return type_
    raise InvalidParameter(f"type: {_short(value)} is not one of {', '.join(TYPES)}")


def _members(given: Parameters, name: str, known: Sequence[str] = MEMBERS) -> tuple[str, ...]:
    members = values(given, name)
    for member in members:
        if member not in known:
            raise InvalidParameter(
                f"{name}: {_short(member)} is no member of a contact{_nearest(member, MEMBERS)}; "
                f"there are {', '.join(known)}"
            )
    return tuple(dict.fromkeys(members))


def single(given: Parameters, name: str) -> str | None:
    """The one value of a parameter that takes no list; None when it is not given. Raises InvalidParameter."""
    values = {value for value in given.get(name, ()) if value}
    if len(values) > 1:
        raise InvalidParameter(f"{name} is given more than once, with different values")
    return values.pop() if values else None


def choice(given: Parameters, name: str, allowed: Sequence[str]) -> str | None:
    """The one value of a parameter, which is one of those allowed; None when not given. Raises InvalidParameter."""
    value = single(given, name)
    if value is not None and value not in allowed:
        raise InvalidParameter(f"{name}: {_short(value)} is not allowed; write {' or '.join(allowed)}")
    return value


def integer(given: Parameters, name: str) -> int | None:
    """The value of a parameter that is a number of 0 or more; None when it is not given. Raises InvalidParameter."""
    value = single(given, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise InvalidParameter(f"{name}: {_short(value)} is no integer of 0 or more")
    digits = value.lstrip("0")
    return LARGEST if len(digits) > 18 else int(digits or "0")


def _wanted(given: Parameters) -> tuple[Wanted, ...]:
    name = choice(given, "filterName", (NAMES_OR_NUMBER,))
    arguments = tuple(dict.fromkeys(values(given, "filterParameters")))
    if name is None and not arguments:
        return ()
    if name is None:
        raise MissingParameter(f"filterParameters needs filterName={NAMES_OR_NUMBER}")
    if not arguments:
        raise MissingParameter("filterParameters is missing: what to look for, * is the wildcard")
    if len(arguments) > MOST_ARGUMENTS:
        raise InvalidParameter(f"filterParameters: {len(arguments)} arguments, at most {MOST_ARGUMENTS} are allowed")
    return tuple(_argument(argument) for argument in arguments)


def _argument(argument: str) -> Wanted:
    parts = re.sub(r"\*+", "*", argument).split("*")
    if len(parts) - 1 > MOST_WILDCARDS:
        raise InvalidParameter(f"filterParameters: at most {MOST_WILDCARDS} wildcards are allowed in one argument")
    return tuple(fold(part) for part in parts)


def _short(word: str) -> str:
    """The word as a caller recognises it, of bounded length and with nothing unprintable in it."""
    return repr(word if len(word) <= 60 else word[:57] + "...")


def one_of(word: str, what: str, known: Collection[str]) -> str:
    """The word, which is one of those known. Raises InvalidParameter with the nearest one."""
    if word not in known:
        raise InvalidParameter(f"there is no {what} {_short(word)}{_nearest(word, known)}")
    return word


def _nearest(word: str, known: Collection[str]) -> str:
    lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(word[:60].lower(), lower, n=1, cutoff=0.0)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


_SEPARATOR = re.compile(r"(?<!\\),")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_IDENTIFIER = re.compile("[0-9a-f]{32}")
