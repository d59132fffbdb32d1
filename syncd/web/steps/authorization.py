"""The step that checks method and role, and makes the context of the endpoint."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from syncd.core.contacts import query as query_string
from syncd.core.contacts.models import Caller
from syncd.errors import Forbidden, InvalidParameter
from syncd.web import responses
from syncd.web.proxy_headers import Client
from syncd.web.routing import Endpoint, RequestContext, RoutedRequest
from syncd.web.session import Session


class AuthorizationStep:
    """Passes requests on whose caller has a role of the endpoint; 405 for a method without one.

    `public_url` is the base of `uri` members; if it is empty, scheme and host of the request are.
    """

    def __init__(self, public_url: str, next_step: Callable[[RequestContext], Awaitable[Response]]) -> None:
        self._public_url = public_url
        self._next_step = next_step

    async def __call__(self, routed: RoutedRequest, session: Session) -> Response:
        """Raises Forbidden, or InvalidParameter for a malformed path or Host."""
        endpoint = routed.route.find_endpoint(routed.request.method)
        if endpoint is None:
            return responses.method_not_allowed(routed.route.methods)
        _check_role(session.caller, endpoint)

        async def reauthorize() -> int:
            renewed = await session.renew()
            _check_role(renewed.caller, endpoint)
            return renewed.version.revision

        context = RequestContext(
            request=routed.request,
            record=routed.record,
            endpoint=endpoint,
            query=routed.query,
            path_param=_decode_path_param(routed),
            base=self._public_url or _request_base(routed.client),
            caller=session.caller,
            revision=session.version.revision,
            reauthorize=reauthorize,
        )
        return await self._next_step(context)


def _check_role(caller: Caller, endpoint: Endpoint[RequestContext]) -> None:
    if caller.role not in endpoint.roles:
        raise Forbidden(f"the role {caller.role} may not do this; required is the role {' or '.join(endpoint.roles)}")


def _decode_path_param(routed: RoutedRequest) -> str:
    """Decode the value of the route's variable. Raises InvalidParameter when the path is not valid UTF-8."""
    if routed.raw_param:
        query_string.decode_percent(routed.request.scope["raw_path"].partition(b"&")[0], "the path")
    return routed.raw_param.decode("utf-8", "replace")


def _request_base(client: Client) -> str:
    """Return scheme and host of the request."""
    if client.host is None:
        raise InvalidParameter("the header Host must be sent exactly once, with a valid host")
    return f"{client.scheme}://{client.host}"
