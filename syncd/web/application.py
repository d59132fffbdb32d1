"""The ASGI application: who asks, what is kept for them, where a path leads, and an answer to all that goes wrong."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syncd.core.contacts import query as asked
from syncd.core.contacts.models import Admission, Caller
from syncd.core.operations import freshness
from syncd.core.operations.health import Age
from syncd.errors import InvalidParameter, RequestError, SyncdError
from syncd.settings import Http
from syncd.web import authentication, responses
from syncd.web.access_log import Exchange
from syncd.web.authentication import Door
from syncd.web.caching import conditional
from syncd.web.caching.conditional import RawHeaders, Representation
from syncd.web.caching.response_cache import Cache, Key
from syncd.web.proxy_headers import Client, Proxies
from syncd.web.routing import Answering, Call, Place, Places
from syncd.web.streaming import Lanes, Stream

ABORT = "syncd.abort"
"""The extension of the ASGI scope whose `call` breaks the connection, and whose `gone` tells whether it is broken."""
UNREACHABLE = (b"directory-sign-in", b"unreachable")
"""Tells a caller that their earlier sign-in counts, because the directory server cannot be asked."""


class Stamp(Protocol):
    """A moment of the directory."""

    @property
    def revision(self) -> int:
        """How often contacts were changed."""

    @property
    def access(self) -> int:
        """How often tokens were changed."""


class Revisions(Protocol):
    """Where the directory stands."""

    async def now(self) -> Stamp:
        """The state of a moment after this call."""


class Target(NamedTuple):
    """The path and the query of a request, as bytes without percent-encoding and with it."""

    path: bytes
    query: bytes


class Application:
    """An ASGI 3 application for HTTP."""

    def __init__(
        self,
        settings: Http,
        places: Places,
        *,
        door: Door,
        revisions: Revisions,
        cache: Cache,
        lanes: Lanes,
        ages: Callable[[], Sequence[Age]],
    ) -> None:
        self._settings = settings
        self._proxies = Proxies(settings.trusted_proxies)
        self.places = places
        """Every path that leads somewhere."""
        self._door = door
        self._revisions = revisions
        self._cache = cache
        self._lanes = lanes
        self._ages = ages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever goes wrong becomes an answer, or a broken connection once one has begun."""
        client = self._proxies.client(scope)
        exchange = Exchange(scope, send, client.address)
        try:
            response = await self._answer(Request(scope, receive), client, exchange)
            await response(scope, receive, exchange.send)
        except asyncio.CancelledError:  # the client is gone, and so is the reason to go on
            if not scope["extensions"][ABORT]["gone"]():
                raise
        except Exception as error:  # noqa: BLE001 - the one place where a defect becomes an answer; it is logged below
            exchange.error = error
            await _fail(scope, receive, exchange, error)
        finally:
            exchange.record()

    async def _answer(self, request: Request, client: Client, exchange: Exchange) -> Response:
        try:
            return await self._route(request, client, exchange)
        except SyncdError as error:
            answer = responses.failed(error)
            if answer.status_code >= 500 and not isinstance(error, RequestError):
                exchange.error = error
            return answer

    async def _route(self, request: Request, client: Client, exchange: Exchange) -> Response:
        target = _target(request.scope)
        found = self.places.find(target.path)
        if found is None:
            asked.decoded(request.scope["raw_path"], "the path")
            return responses.unknown_path()
        place, named = found
        operation = place.operations.get(request.method)
        if place.open:
            if operation is None:
                return _unsupported(place)
            return await operation.answer(Call(request, target.query, "", "", "", 0, self._anybody))
        stamp, admission = await self._admitted(request, client)
        exchange.caller = caller = admission.caller
        if admission.unreachable:
            exchange.headers.append(UNREACHABLE)
        if operation is None:
            return _unsupported(place)
        authentication.check(caller, operation.roles)

        async def renew() -> int:
            later, again = await self._admitted(request, client)
            authentication.check(again.caller, operation.roles)
            return later.revision

        call = Call(
            request, target.query, _text(request, named), self._base(client), caller.name, stamp.revision, renew
        )  # fmt: skip
        if operation.dated or operation.by_revision:
            self._date(call, exchange)
        if operation.by_revision:
            return await self._recalled(operation.answer, call, caller, stamp)
        return await operation.answer(call)

    async def _admitted(self, request: Request, client: Client) -> tuple[Stamp, Admission]:
        """A moment of the directory, and who asks, as it is known then."""
        stamp = await self._revisions.now()
        return stamp, await authentication.admitted(request, self._door, client.address, stamp.access)

    async def _anybody(self) -> int:
        return (await self._revisions.now()).revision

    def _date(self, call: Call, exchange: Exchange) -> None:
        """Tell how old the contacts are. Raises NotNow when they are older than the caller allows."""
        ages = self._ages()
        if ages:
            exchange.headers.append((b"directory-freshness", freshness.header(ages).encode()))
        most = freshness.demanded(call.request.headers.getlist(freshness.MAX_AGE))
        if most is not None:
            freshness.check(ages, asked.types(call.query), most)

    async def _recalled(self, answering: Answering, call: Call, caller: Caller, stamp: Stamp) -> Response:
        """The answer that is kept of this revision, else a new one, which is kept if it is not long."""
        headers = call.request.headers
        key = Key(call.request.scope["raw_path"], call.query, headers.get("accept", ""), call.base, caller.role)
        more: RawHeaders = [(b"directory-revision", str(stamp.revision).encode())]
        kept = self._cache.find(stamp.revision, key)
        if kept is not None:
            return kept.answer(headers, more)
        tag = conditional.entity_tag(repr((stamp.revision, key)).encode())
        held = conditional.not_modified(headers, tag, more)
        if held is not None:
            return held
        response = await answering(call)
        if isinstance(response, Stream):
            response.prepare(headers, more, tag if await self._stays(stamp, response) else None)
            return response
        kept = Representation(response)
        self._cache.keep(stamp.revision, key, kept)
        return kept.answer(headers, more)

    async def _stays(self, stamp: Stamp, response: Stream) -> bool:
        """Whether a long answer, begun by now, is one of this revision and not of a later one."""
        try:
            self._lanes.take(response)
            return (await self._revisions.now()).revision == stamp.revision
        except (SyncdError, asyncio.CancelledError):
            await response.close()
            raise

    def _base(self, client: Client) -> str:
        """What `uri` starts with: the setting, else what the client has called us."""
        if self._settings.public_url:
            return self._settings.public_url
        if client.host is None:
            raise InvalidParameter("the header Host must be there once and name a host")
        return f"{client.scheme}://{client.host}"


def _unsupported(place: Place) -> Response:
    return responses.unsupported(", ".join(place.operations))


def _text(request: Request, named: bytes) -> str:
    """What a path names, as text; the whole path has to be good UTF-8 then."""
    if named:
        asked.decoded(request.scope["raw_path"].partition(b"&")[0], "the path")
    return named.decode("utf-8", "replace")


def _target(scope: Scope) -> Target:
    """The reference prints `/contacts&type=User`: the first & of a path stands for the ? that it should be."""
    path, ampersand, rest = scope["raw_path"].partition(b"&")
    query: bytes = scope["query_string"]
    if ampersand:
        query = rest + b"&" + query
    return Target(unquote_to_bytes(path), query)


async def _fail(scope: Scope, receive: Receive, exchange: Exchange, error: Exception) -> None:
    """Answer a defect; when an answer has begun, break the connection so that nobody takes it for complete."""
    if exchange.status is None:
        await responses.failed(error)(scope, receive, exchange.send)
        return
    scope["extensions"][ABORT]["call"]()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # the server notices the end of the connection before we return
