"""The first step: the client's address, the access log, and errors as responses."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syncd.errors import RequestError, SyncdError
from syncd.web import responses
from syncd.web.access_log import RequestRecord
from syncd.web.http.protocol import ABORT
from syncd.web.proxy_headers import Client, TrustedProxies


class RecordingStep:
    """Passes a request on with its client and its record, sends the response and writes the record."""

    def __init__(
        self, proxies: TrustedProxies, next_step: Callable[[Request, Client, RequestRecord], Awaitable[Response]]
    ) -> None:
        self._proxies = proxies
        self._next_step = next_step

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request. An error becomes an error response, or an aborted connection after its start."""
        client = self._proxies.resolve_client(scope)
        record = RequestRecord(scope, send, client.address)
        try:
            response = await self._respond(Request(scope, receive), client, record)
            await response(scope, receive, record.send)
        except asyncio.CancelledError:  # of a read whose client has disconnected
            if not scope["extensions"][ABORT]["gone"]():
                raise
        except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a response; it is logged below
            record.error = error
            await _send_failure(scope, receive, record, error)
        finally:
            record.write()

    async def _respond(self, request: Request, client: Client, record: RequestRecord) -> Response:
        try:
            return await self._next_step(request, client, record)
        except SyncdError as error:
            response = responses.from_exception(error)
            if response.status_code >= 500 and not isinstance(error, RequestError):
                record.error = error
            return response


async def _send_failure(scope: Scope, receive: Receive, record: RequestRecord, error: Exception) -> None:
    """Send an error response; after a response's start, abort the connection, which marks the body as incomplete."""
    if record.status is None:
        await responses.from_exception(error)(scope, receive, record.send)
        return
    scope["extensions"][ABORT]["call"]()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # lets the server process the end of the connection first
