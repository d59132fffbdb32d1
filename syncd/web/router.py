"""The ASGI application: which path leads where, who may go there, and an answer to everything that goes wrong.

Paths are matched by hand: there are few, and they are taken as bytes because the contract answers for broken ones too.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syncd import metrics
from syncd.core import query as asked
from syncd.errors import InvalidParameter, SyncdError
from syncd.settings import Http
from syncd.web import access, answers
from syncd.web.access import Callers
from syncd.web.contacts import Call, Contacts, Custom, Directory
from syncd.web.exchange import Exchange
from syncd.web.operations import Explainer, Operations, Overview, Place

ABORT = "syncd.abort"
"""The extension of the ASGI scope whose `call` breaks the connection."""

_CONTACTS = re.compile(rb"(?:/api/v2)?/contacts(?:/([^/]*))?/?")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class Status(Protocol):
    """How the daemon is."""

    async def health(self) -> dict[str, Any]:
        """What /health shows."""

    async def ready(self) -> bool:
        """True when requests can be served."""


class Target(NamedTuple):
    """The path and the query of a request, as bytes without percent-encoding and with it."""

    path: bytes
    query: bytes


def application(
    settings: Http,
    directory: Directory,
    custom: Custom,
    callers: Callers,
    *,
    status: Status,
    overview: Overview,
    explainer: Explainer,
) -> "Application":
    """The application over its collaborators."""
    return Application(settings, Contacts(directory, custom), Operations(overview, explainer), callers, status)


class Application:
    """An ASGI 3 application for HTTP."""

    def __init__(
        self, settings: Http, contacts: Contacts, operations: Operations, callers: Callers, status: Status
    ) -> None:
        self._settings = settings
        self._contacts = contacts
        self._operations = operations
        self._callers = callers
        self._status = status
        self._service: dict[bytes, Callable[[], Any]] = {b"/health": self._health, b"/ready": self._ready}
        if settings.metrics:
            self._service[b"/metrics"] = self._metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever goes wrong becomes an answer, or a broken connection once one has begun."""
        exchange = Exchange(scope, send)
        try:
            response = await self._answer(Request(scope, receive), exchange)
            await response(scope, receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - the one place where a defect becomes an answer; it is logged below
            exchange.error = error
            await _fail(scope, receive, exchange, error)
        finally:
            exchange.record()

    async def _answer(self, request: Request, exchange: Exchange) -> Response:
        try:
            return await self._route(request, exchange)
        except SyncdError as error:
            answer = answers.failed(error)
            if answer.status_code >= 500:
                exchange.error = error
            return answer

    async def _route(self, request: Request, exchange: Exchange) -> Response:
        target = _target(request.scope)
        found = _CONTACTS.fullmatch(target.path)
        if found is not None:
            return await self._contact_call(request, exchange, target, found[1])
        place = self._operations.find(target.path)
        if place is not None:
            return await self._look_up(request, exchange, target, place)
        service = self._service.get(target.path)
        if service is None:
            asked.decoded(request.scope["raw_path"], "the path")
            return answers.unknown_path()
        if request.method != "GET":
            return answers.unsupported("GET")
        response: Response = await service()
        return response

    async def _contact_call(self, request: Request, exchange: Exchange, target: Target, id_: bytes | None) -> Response:
        exchange.caller = await access.authenticated(request, self._callers)
        operations = self._contacts.of_one if id_ else self._contacts.of_collection
        operation = operations.get(request.method)
        if operation is None:
            return answers.unsupported(", ".join(operations))
        access.check(exchange.caller, request.method)
        path = asked.decoded(request.scope["raw_path"].partition(b"&")[0], "the path")
        named = path.rstrip("/").rpartition("/")[2] if id_ else ""
        return await operation(Call(request, target.query, named, self._base(request), exchange.caller.name))

    async def _look_up(self, request: Request, exchange: Exchange, target: Target, place: Place) -> Response:
        exchange.caller = await access.authenticated(request, self._callers)
        if request.method != "GET":
            return answers.unsupported("GET")
        access.check_role(exchange.caller, place.operation.roles)
        call = Call(request, target.query, place.named, self._base(request), exchange.caller.name)
        return await place.operation.answer(call)

    def _base(self, request: Request) -> str:
        """What `uri` starts with: the setting, else what the client has called us (RFC 9112, 3.2)."""
        if self._settings.public_url:
            return self._settings.public_url
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise InvalidParameter("the header Host must be there once and name a host")
        return f"{request.scope['scheme']}://{hosts[0]}"

    async def _health(self) -> Response:
        return answers.Answer(await self._status.health())

    async def _ready(self) -> Response:
        if await self._status.ready():
            return answers.Answer({"status": "ready"})
        return answers.Answer({"status": "not ready"}, 503, {"Retry-After": "5"})

    async def _metrics(self) -> Response:
        text, media = metrics.text()
        return Response(text, headers={"Content-Type": media})


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
        await answers.failed(error)(scope, receive, exchange.send)
        return
    scope["extensions"][ABORT]["call"]()
    await asyncio.sleep(0)  # the server notices the end of the connection before we return
