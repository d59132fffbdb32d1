"""The step that rejects writes by pages of other sites (CSRF), and answers for the origins that are allowed (CORS).

A browser sends remembered Basic credentials with requests of any page. `Origin` (RFC 6454) and `Sec-Fetch-Site` (W3C
Fetch Metadata) name the page, and a page cannot change them. Clients that are no browsers send neither.
"""

from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from syncd.core.operations.web_origin import normalize_origin
from syncd.errors import Forbidden
from syncd.web.access_log import RequestRecord
from syncd.web.proxy_headers import Client

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods without effect (RFC 9110, 9.2.1)."""
_OWN_SITES = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site for the API's own pages and for the user; `same-site` is another host of the domain."""
PREFLIGHT_MAX_AGE = 600
"""Seconds for which a browser may remember the answer to a preflight request."""
_VARY = (b"vary", b"Origin")
_PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Directory-Max-Age, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"
    ),
    "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE),
}
_EXPOSED = (
    b"Content-Disposition, Directory-Freshness, Directory-Revision, Directory-Sign-In, ETag, Location, Retry-After, "
    b"X-Request-Id"
)


class OriginStep:
    """Passes requests on, except preflight requests of allowed origins, which it answers.

    `allowed` has the normalized origins of `http.allowed_origins`. The API's own origins are that of `public_url`, and
    scheme and host of the request.
    """

    def __init__(
        self,
        allowed: Collection[str],
        public_url: str,
        next_step: Callable[[Request, Client, RequestRecord], Awaitable[Response]],
    ) -> None:
        self._allowed = frozenset(allowed)
        public = urlsplit(public_url)
        self._public = normalize_origin(f"{public.scheme}://{public.netloc}")
        self._next_step = next_step

    async def __call__(self, request: Request, client: Client, record: RequestRecord) -> Response:
        """Raises Forbidden for a write by a page of another origin that is not allowed."""
        origins = request.headers.getlist("origin")
        if self._allowed:
            record.extra_headers.append(_VARY)
        if len(origins) == 1 and normalize_origin(origins[0]) in self._allowed:
            record.extra_headers += [
                (b"access-control-allow-origin", origins[0].encode()),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", _EXPOSED),
            ]
            if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
                return Response(status_code=204, headers=_PREFLIGHT_HEADERS)
        elif request.method not in _SAFE_METHODS:
            self._check_own(origins, request.headers.getlist("sec-fetch-site"), client)
        return await self._next_step(request, client, record)

    def _check_own(self, origins: Collection[str], sites: Collection[str], client: Client) -> None:
        """Raise Forbidden unless each Origin and each Sec-Fetch-Site is the API's own."""
        own = {self._public, normalize_origin(f"{client.scheme}://{client.host}")} - {None}
        foreign = [origin for origin in origins if normalize_origin(origin) not in own]
        if foreign or not _OWN_SITES.issuperset(sites):
            raise Forbidden(
                f"a page of another origin ({(foreign or ['unknown'])[0][:100]}) may not write; the setting "
                "http.allowed_origins lists those that may, http.public_url is the own one"
            )
