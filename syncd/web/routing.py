"""The route table: paths, methods, roles and caching rules of the HTTP API.

The router, the OpenAPI document and the tests of roles read the same table. Paths are matched as bytes, because the
contract specifies responses for malformed paths too.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from syncd.core.contacts.models import Caller, Role
from syncd.web.access_log import RequestRecord
from syncd.web.proxy_headers import Client

BASE = "/api/v2"
"""Prefix of the API's paths; optional for paths of contacts."""


R = TypeVar("R", "RoutedRequest", "RequestContext")
"""The argument of a handler: RoutedRequest on a public route, else RequestContext."""


class Endpoint(NamedTuple, Generic[R]):
    """A method of a route: its handler, its roles and its caching rules."""

    handler: Callable[[R], Awaitable[Response]]
    roles: tuple[Role, ...] = ("admin",)
    """Roles that may call it; empty: public."""
    cacheable: bool = False
    """Whether equal requests have equal responses until the directory's revision changes."""
    reports_freshness: bool = False
    """Whether responses report the age of the sources and requests may limit it; implied by `cacheable`."""


@dataclass(frozen=True, slots=True)
class Route(Generic[R]):
    """A path with at most one variable such as {id}, and its endpoints by method."""

    path: str
    endpoints: Mapping[str, Endpoint[R]]

    def find_endpoint(self, method: str) -> Endpoint[R] | None:
        """Return the endpoint of a method; HEAD has that of GET (RFC 9110, 9.3.2)."""
        return self.endpoints.get("GET" if method == "HEAD" else method)

    @property
    def methods(self) -> str:
        """The supported methods, as the value of the header Allow."""
        return ", ".join("GET, HEAD" if method == "GET" else method for method in self.endpoints)

    @property
    def is_public(self) -> bool:
        """Whether no endpoint of the route requires a role."""
        return not any(endpoint.roles for endpoint in self.endpoints.values())


AnyRoute: TypeAlias = Route[Any]


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """A request whose path has a route."""

    request: Request
    client: Client
    record: RequestRecord
    route: AnyRoute
    query: bytes
    """The query string as sent, percent-encoded."""
    raw_param: bytes
    """The value of the route's variable, percent-decoded; empty for a route without one."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """An authorized request."""

    request: Request
    record: RequestRecord
    endpoint: "Endpoint[RequestContext]"
    query: bytes
    """The query string as sent, percent-encoded."""
    path_param: str
    """The value of the route's variable; empty for a route without one."""
    base: str
    """The base URL of `uri` members."""
    caller: Caller
    revision: int
    """The directory's revision, read after the request arrived."""
    reauthorize: Callable[[], Awaitable[int]]
    """Authenticate and authorize the caller again; returns the directory's current revision.

    Raises NotAuthenticated, Forbidden or StoreError.
    """


class Router:
    """Matches paths of requests against the routes."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        self.routes = tuple(routes)
        self._by_path = {route.path.encode(): route for route in self.routes if "{" not in route.path}
        self._by_pattern = [(_compile_pattern(route.path), route) for route in self.routes if "{" in route.path]

    def match(self, path: bytes) -> tuple[AnyRoute, bytes] | None:
        """Return the route of a percent-decoded path and the value of its variable; None without a match.

        A trailing slash is accepted, and `/contacts` stands for `/api/v2/contacts`.
        """
        if path.startswith(b"/contacts"):
            path = BASE.encode() + path
        path = path.removesuffix(b"/")
        if path in self._by_path:
            return self._by_path[path], b""
        for pattern, route in self._by_pattern:
            if match := pattern.fullmatch(path):
                return route, match[1]
        return None


def _compile_pattern(path: str) -> re.Pattern[bytes]:
    before, _, after = re.sub(r"\{\w+\}", "\0", path).partition("\0")
    return re.compile(re.escape(before).encode() + rb"([^/]+)" + re.escape(after).encode())
