"""Endpoints for monitoring, without authentication: health, readiness, metrics."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.responses import Response

from syncd.observability import metrics
from syncd.settings import Http
from syncd.web import responses
from syncd.web.ports import HealthMonitor
from syncd.web.routing import Endpoint, Route, RoutedRequest


class HealthEndpoints:
    """/health, /ready and, unless the setting `http.metrics` is off, /metrics; each public, by GET.

    `has_token` returns whether a request has a valid token.
    """

    def __init__(
        self, status: HealthMonitor, settings: Http, has_token: Callable[[RoutedRequest], Awaitable[bool]]
    ) -> None:
        self._status = status
        self._settings = settings
        self._has_token = has_token

    def routes(self) -> Iterable[Route[RoutedRequest]]:
        """Return the routes of these endpoints."""
        handlers = {"/health": self.health, "/ready": self.ready}
        if self._settings.metrics:
            handlers["/metrics"] = self.metrics
        return [Route(path, {"GET": Endpoint(handler, roles=())}) for path, handler in handlers.items()]

    async def health(self, routed: RoutedRequest) -> Response:
        """GET /health: 200 while the daemon is alive, with its health.

        Addresses and accounts are shown with a token of any role, as in /api/v2/sync/status.
        """
        return responses.JsonResponse(await self._status.health(detailed=await self._has_token(routed)))

    async def ready(self, _: RoutedRequest) -> Response:
        """GET /ready: 200 when requests can be served, else 503."""
        if await self._status.ready():
            return responses.JsonResponse({"status": "ready"})
        return responses.JsonResponse({"status": "not ready"}, 503, {"Retry-After": "5"})

    async def metrics(self, _: RoutedRequest) -> Response:
        """GET /metrics: the Prometheus text format."""
        text, media = metrics.render()
        return Response(text, headers={"Content-Type": media})
