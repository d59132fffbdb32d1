"""The HTTP API of the directory. Starlette, uvicorn and httptools are imported in this package only."""

import asyncio

from syncd.settings import Http
from syncd.web.application import Application
from syncd.web.caching.response_cache import ResponseCache
from syncd.web.endpoints.changes import ChangeEndpoints
from syncd.web.endpoints.contacts import ContactEndpoints
from syncd.web.endpoints.health import HealthEndpoints
from syncd.web.endpoints.imports import ImportEndpoints
from syncd.web.endpoints.lookup import LookupEndpoints
from syncd.web.endpoints.sync_admin import SyncAdminEndpoints
from syncd.web.openapi.document import OpenApiEndpoint
from syncd.web.ports import (
    Authenticator,
    ChangeReader,
    CustomContacts,
    Directory,
    Explainer,
    HealthMonitor,
    Importer,
    NumberLookup,
    Overview,
    RevisionTracker,
)
from syncd.web.routing import AnyRoute, Router
from syncd.web.session import SessionOpener
from syncd.web.streaming import StreamLimiter

__all__ = ["Application", "ResponseCache", "StreamLimiter", "application"]


def application(
    settings: Http,
    *,
    directory: Directory,
    custom: CustomContacts,
    number_lookup: NumberLookup,
    changes: ChangeReader,
    authenticator: Authenticator,
    accepts_passwords: bool,
    revisions: RevisionTracker,
    cache: ResponseCache,
    stream_limiter: StreamLimiter,
    status: HealthMonitor,
    overview: Overview,
    explainer: Explainer,
    importer: Importer,
    stopping: asyncio.Event,
) -> Application:
    """Build the ASGI application from its collaborators. `stopping` is set when the daemon begins to stop."""
    sessions = SessionOpener(authenticator, accepts_passwords, revisions)
    routes: list[AnyRoute] = [
        *ContactEndpoints(directory, custom).routes(),
        *ImportEndpoints(importer).routes(),
        *LookupEndpoints(number_lookup).routes(),
        *ChangeEndpoints(changes, revisions, settings.max_streams, stopping).routes(),
        *SyncAdminEndpoints(overview, explainer).routes(),
        *HealthEndpoints(status, settings, sessions.has_token).routes(),
    ]
    routes += OpenApiEndpoint(settings, routes, overview).routes
    return Application(
        settings,
        Router(routes),
        sessions=sessions,
        revisions=revisions,
        cache=cache,
        stream_limiter=stream_limiter,
        status=status,
    )
