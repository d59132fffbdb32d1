"""What machines ask of the service itself, without a token: health, readiness, metrics."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from starlette.responses import Response

from syncd.core.operations.health import Age
from syncd.observability import metrics
from syncd.settings import Http
from syncd.web import responses
from syncd.web.routing import Call, Operation, Place


class Status(Protocol):
    """How the daemon is."""

    async def health(self) -> dict[str, Any]:
        """What /health shows."""

    async def ready(self) -> bool:
        """True when requests can be served."""

    def ages(self) -> Sequence[Age]:
        """How old what each source gave is."""


class Service:
    """The operations, each of them a GET for anybody."""

    def __init__(self, status: Status, settings: Http) -> None:
        self._status = status
        self._settings = settings

    def places(self) -> Iterable[Place]:
        """Where they are found."""
        shown = {"/health": self.health, "/ready": self.ready}
        if self._settings.metrics:
            shown["/metrics"] = self.metrics
        return [Place(path, {"GET": Operation(answer, roles=())}) for path, answer in shown.items()]

    async def health(self, _: Call) -> Response:
        """Alive, and how well."""
        return responses.Answer(await self._status.health())

    async def ready(self, _: Call) -> Response:
        """Whether requests can be served now."""
        if await self._status.ready():
            return responses.Answer({"status": "ready"})
        return responses.Answer({"status": "not ready"}, 503, {"Retry-After": "5"})

    async def metrics(self, _: Call) -> Response:
        """The Prometheus text format."""
        text, media = metrics.text()
        return Response(text, headers={"Content-Type": media})
