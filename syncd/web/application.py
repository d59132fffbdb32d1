"""The ASGI application: the chain of the steps of a request."""

from starlette.types import Receive, Scope, Send

from syncd.settings import Http
from syncd.web.caching.response_cache import ResponseCache
from syncd.web.ports import HealthMonitor, RevisionTracker
from syncd.web.proxy_headers import TrustedProxies
from syncd.web.routing import Router
from syncd.web.session import SessionOpener
from syncd.web.steps.authentication import AuthenticationStep
from syncd.web.steps.authorization import AuthorizationStep
from syncd.web.steps.caching import CachingStep
from syncd.web.steps.freshness import FreshnessStep
from syncd.web.steps.origin import OriginStep
from syncd.web.steps.recording import RecordingStep
from syncd.web.steps.route import RouteStep
from syncd.web.streaming import StreamLimiter


class Application:
    """An ASGI 3 application for HTTP."""

    def __init__(
        self,
        settings: Http,
        router: Router,
        *,
        sessions: SessionOpener,
        revisions: RevisionTracker,
        cache: ResponseCache,
        stream_limiter: StreamLimiter,
        status: HealthMonitor,
    ) -> None:
        self.router = router
        """The routes that are served."""
        caching = CachingStep(cache, stream_limiter, revisions)
        freshness = FreshnessStep(status.ages, caching)
        authorization = AuthorizationStep(settings.public_url, freshness)
        authentication = AuthenticationStep(sessions, authorization)
        origin = OriginStep(settings.allowed_origins, settings.public_url, RouteStep(router, authentication))
        self._first_step = RecordingStep(TrustedProxies(settings.trusted_proxies), origin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        await self._first_step(scope, receive, send)
