"""The step that finds the route of a request, and calls the endpoint if the route is public."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from syncd.core.contacts import query as query_string
from syncd.web import responses
from syncd.web.access_log import RequestRecord
from syncd.web.proxy_headers import Client
from syncd.web.routing import RoutedRequest, Router


class RequestTarget(NamedTuple):
    """The target of a request (RFC 9112, 3.2)."""

    path: bytes
    """Percent-decoded."""
    query: bytes
    """As sent, percent-encoded."""


class RouteStep:
    """Passes requests on that are not public; 404 for a path without a route."""

    def __init__(self, router: Router, next_step: Callable[[RoutedRequest], Awaitable[Response]]) -> None:
        self._router = router
        self._next_step = next_step

    async def __call__(self, request: Request, client: Client, record: RequestRecord) -> Response:
        """Raises InvalidParameter for a path without a route that is not valid UTF-8."""
        target = _parse_target(request.scope)
        match = self._router.match(target.path)
        if match is None:
            query_string.decode_percent(request.scope["raw_path"], "the path")
            return responses.path_not_found()
        route, raw_param = match
        routed = RoutedRequest(request, client, record, route, target.query, raw_param)
        if not route.is_public:
            return await self._next_step(routed)
        endpoint = route.find_endpoint(request.method)
        return responses.method_not_allowed(route.methods) if endpoint is None else await endpoint.handler(routed)


def _parse_target(scope: Scope) -> RequestTarget:
    """Split path and query. The first & of a path counts as ?, because the reference has `/contacts&type=User`."""
    path, ampersand, rest = scope["raw_path"].partition(b"&")
    query: bytes = scope["query_string"]
    if ampersand:
        query = rest + b"&" + query
    return RequestTarget(unquote_to_bytes(path), query)
