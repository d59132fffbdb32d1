"""The table of places: which paths there are, which methods each answers to, and who may use them.

The router, the OpenAPI document and the tests of roles read the same table. Paths are taken as bytes, because the
contract answers for broken ones too.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from syncd.core.contacts.models import Role

BASE = "/api/v2"
"""What paths of the API begin with; those of contacts may leave it out."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as far as routing has taken it apart."""

    request: Request
    query: bytes
    """The query string as sent."""
    named: str
    """What stands in the path where the place has its variable; empty when it has none."""
    base: str
    """What `uri` starts with."""
    caller: str
    """Who makes it, by name; empty where anybody may."""
    revision: int
    """The directory's at a moment after the call came."""
    renew: Callable[[], Awaitable[int]]
    """Asks again whether the caller may do this; the directory's revision by now. Raises as the first time."""


Answering: TypeAlias = Callable[[Call], Awaitable[Response]]


class Operation(NamedTuple):
    """What a method does at a place, and who may use it: the roles, or anybody when there are none."""

    answer: Answering
    roles: tuple[Role, ...] = ("admin",)
    by_revision: bool = False
    """Whether the same request has the same answer as long as the revision stays."""
    dated: bool = False
    """Whether the answer tells how old the contacts are, and a caller may demand an age; so do those by revision."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path, with at most one variable such as {id}, and its operations by method."""

    path: str
    operations: Mapping[str, Operation]

    @property
    def open(self) -> bool:
        """Whether anybody may go there."""
        return not any(operation.roles for operation in self.operations.values())


class Places:
    """All places, found by the path of a request."""

    def __init__(self, places: Iterable[Place]) -> None:
        self.all = tuple(places)
        self._plain = {place.path.encode(): place for place in self.all if "{" not in place.path}
        self._named = [(_pattern(place.path), place) for place in self.all if "{" in place.path]

    def find(self, path: bytes) -> tuple[Place, bytes] | None:
        """The place that a path without percent-encoding leads to, and what stands for its variable.

        A trailing slash is accepted, and `/contacts` stands for `/api/v2/contacts`.
        """
        if path.startswith(b"/contacts"):
            path = BASE.encode() + path
        path = path.removesuffix(b"/")
        if path in self._plain:
            return self._plain[path], b""
        for pattern, place in self._named:
            found = pattern.fullmatch(path)
            if found is not None:
                return place, found[1]
        return None


def _pattern(path: str) -> re.Pattern[bytes]:
    before, _, after = re.sub(r"\{\w+\}", "\0", path).partition("\0")
    return re.compile(re.escape(before).encode() + rb"([^/]+)" + re.escape(after).encode())
