"""The ASGI application: routing, authentication, freshness, caching and error responses of a request."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syncd.core.contacts import query as query_string
from syncd.core.contacts.models import AuthResult, Caller
from syncd.core.operations import freshness
from syncd.core.operations.health import SourceAge
from syncd.errors import InvalidParameter, RequestError, SyncdError
from syncd.settings import Http
from syncd.web import authentication, responses
from syncd.web.access_log import RequestRecord
from syncd.web.authentication import Authenticator
from syncd.web.caching import conditional
from syncd.web.caching.conditional import RawHeaders, Representation
from syncd.web.caching.response_cache import CacheKey, ResponseCache
from syncd.web.proxy_headers import Client, TrustedProxies
from syncd.web.routing import Handler, RequestContext, Route, Router
from syncd.web.streaming import StreamedResponse, StreamLimiter

ABORT = "syncd.abort"
"""The extension of the ASGI scope whose `call` aborts the connection, and whose `gone` returns whether it is closed."""
AUTH_SERVER_UNREACHABLE = (b"directory-sign-in", b"unreachable")
"""Response header: the password was accepted from the cache, because the directory server is unreachable."""


class DirectoryVersion(Protocol):
    """A committed state of the directory."""

    @property
    def revision(self) -> int:
        """Number of changes of contacts."""

    @property
    def access(self) -> int:
        """Number of changes of tokens."""


class VersionReader(Protocol):
    """Reads the directory's version."""

    async def current(self) -> DirectoryVersion:
        """Return the version, read after the call. Raises StoreUnavailable."""


class RequestTarget(NamedTuple):
    """The target of a request (RFC 9112, 3.2)."""

    path: bytes
    """Percent-decoded."""
    query: bytes
    """As sent, percent-encoded."""


class Application:
    """An ASGI 3 application for HTTP."""

    def __init__(
        self,
        settings: Http,
        router: Router,
        *,
        authenticator: Authenticator,
        revisions: VersionReader,
        cache: ResponseCache,
        stream_limiter: StreamLimiter,
        ages: Callable[[], Sequence[SourceAge]],
    ) -> None:
        self._settings = settings
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self.router = router
        """The routes that are served."""
        self._authenticator = authenticator
        self._revisions = revisions
        self._cache = cache
        self._stream_limiter = stream_limiter
        self._ages = ages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request. An error becomes an error response, or an aborted connection after its start."""
        client = self._proxies.resolve_client(scope)
        record = RequestRecord(scope, send, client.address)
        try:
            response = await self._handle(Request(scope, receive), client, record)
            await response(scope, receive, record.send)
        except asyncio.CancelledError:  # of a read whose client has disconnected
            if not scope["extensions"][ABORT]["gone"]():
                raise
        except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a response; it is logged below
            record.error = error
            await _send_failure(scope, receive, record, error)
        finally:
            record.write()

    async def _handle(self, request: Request, client: Client, record: RequestRecord) -> Response:
        try:
            return await self._dispatch(request, client, record)
        except SyncdError as error:
            response = responses.from_exception(error)
            if response.status_code >= 500 and not isinstance(error, RequestError):
                record.error = error
            return response

    async def _dispatch(self, request: Request, client: Client, record: RequestRecord) -> Response:
        target = _parse_target(request.scope)
        match = self.router.match(target.path)
        if match is None:
            query_string.decode_percent(request.scope["raw_path"], "the path")
            return responses.path_not_found()
        route, raw_param = match
        endpoint = route.endpoints.get(request.method)
        if route.is_public:
            if endpoint is None:
                return _method_not_allowed(route)
            return await endpoint.handler(RequestContext(request, target.query, "", "", "", 0, self._current_revision))
        version, auth = await self._authenticate(request, client)
        record.caller = caller = auth.caller
        if auth.from_cache:
            record.extra_headers.append(AUTH_SERVER_UNREACHABLE)
        if endpoint is None:
            return _method_not_allowed(route)
        authentication.authorize(caller, endpoint.roles)

        async def reauthorize() -> int:
            current, result = await self._authenticate(request, client)
            authentication.authorize(result.caller, endpoint.roles)
            return current.revision

        path_param, base = _decode_path_param(request, raw_param), self._base_url(client)
        context = RequestContext(
            request, target.query, path_param, base, caller.name, version.revision, reauthorize
        )  # fmt: skip
        if endpoint.reports_freshness or endpoint.cacheable:
            self._check_freshness(context, record)
        if endpoint.cacheable:
            return await self._respond_cached(endpoint.handler, context, caller, version)
        return await endpoint.handler(context)

    async def _authenticate(self, request: Request, client: Client) -> tuple[DirectoryVersion, AuthResult]:
        """Return the directory's version, and the caller as authenticated with the tokens of that version."""
        version = await self._revisions.current()
        return version, await authentication.authenticate(request, self._authenticator, client.address, version.access)

    async def _current_revision(self) -> int:
        return (await self._revisions.current()).revision

    def _check_freshness(self, context: RequestContext, record: RequestRecord) -> None:
        """Add the header of freshness. Raises RetryLater when a source is older than the request allows."""
        ages = self._ages()
        if ages:
            record.extra_headers.append((b"directory-freshness", freshness.encode_header(ages).encode()))
        max_age = freshness.parse_max_age(context.request.headers.getlist(freshness.MAX_AGE))
        if max_age is not None:
            freshness.check_max_age(ages, query_string.parse_types(context.query), max_age)

    async def _respond_cached(
        self, handler: Handler, context: RequestContext, caller: Caller, version: DirectoryVersion
    ) -> Response:
        """Respond from the cache, else by the handler; a response that is not streamed is stored in the cache."""
        headers, path = context.request.headers, context.request.scope["raw_path"]
        key = CacheKey(path, context.query, headers.get("accept", ""), context.base, caller.role)
        extra_headers: RawHeaders = [(b"directory-revision", str(version.revision).encode())]
        representation = self._cache.get(version.revision, key)
        if representation is not None:
            return representation.respond(headers, extra_headers)
        tag = conditional.entity_tag(repr((version.revision, key)).encode())
        not_modified = conditional.not_modified_response(headers, tag, extra_headers)
        if not_modified is not None:
            return not_modified
        response = await handler(context)
        if isinstance(response, StreamedResponse):
            response.prepare(headers, extra_headers, tag if await self._is_still_current(version, response) else None)
            return response
        representation = Representation(response)
        self._cache.put(version.revision, key, representation)
        return representation.respond(headers, extra_headers)

    async def _is_still_current(self, version: DirectoryVersion, response: StreamedResponse) -> bool:
        """Occupy a slot for a stream; whether the stream, which has been opened, shows this version and no later one.

        Raises StoreBusy or StoreUnavailable, with the stream closed.
        """
        try:
            self._stream_limiter.acquire(response)
            return (await self._revisions.current()).revision == version.revision
        except (SyncdError, asyncio.CancelledError):
            await response.close()
            raise

    def _base_url(self, client: Client) -> str:
        """Return the base URL of `uri` members: the setting, else scheme and host of the request."""
        if self._settings.public_url:
            return self._settings.public_url
        if client.host is None:
            raise InvalidParameter("the header Host must be sent exactly once, with a valid host")
        return f"{client.scheme}://{client.host}"


def _method_not_allowed(route: Route) -> Response:
    return responses.method_not_allowed(", ".join(route.endpoints))


def _decode_path_param(request: Request, raw: bytes) -> str:
    """Decode the value of the route's variable. Raises InvalidParameter when the path is not valid UTF-8."""
    if raw:
        query_string.decode_percent(request.scope["raw_path"].partition(b"&")[0], "the path")
    return raw.decode("utf-8", "replace")


def _parse_target(scope: Scope) -> RequestTarget:
    """Split path and query. The first & of a path counts as ?, because the reference has `/contacts&type=User`."""
    path, ampersand, rest = scope["raw_path"].partition(b"&")
    query: bytes = scope["query_string"]
    if ampersand:
        query = rest + b"&" + query
    return RequestTarget(unquote_to_bytes(path), query)


async def _send_failure(scope: Scope, receive: Receive, record: RequestRecord, error: Exception) -> None:
    """Send an error response; after a response's start, abort the connection, which marks the body as incomplete."""
    if record.status is None:
        await responses.from_exception(error)(scope, receive, record.send)
        return
    scope["extensions"][ABORT]["call"]()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # lets the server process the end of the connection first
