"""The web part: HTTP in front of the directory. The only home of Starlette, uvicorn and httptools."""

import asyncio
from typing import Protocol

from syncd.settings import Http
from syncd.web.application import Application
from syncd.web.application import Revisions as RevisionSource
from syncd.web.authentication import Door
from syncd.web.caching.response_cache import Cache
from syncd.web.endpoints import changes as feed_endpoints
from syncd.web.endpoints.change_batches import Changes
from syncd.web.endpoints.changes import Feed
from syncd.web.endpoints.contacts import Contacts, Custom, Directory
from syncd.web.endpoints.health import Service, Status
from syncd.web.endpoints.imports import Importer, Imports
from syncd.web.endpoints.lookup import Lookup, Numbers
from syncd.web.endpoints.sync_admin import Explainer, Operations, Overview
from syncd.web.openapi.document import OpenApi
from syncd.web.routing import Places
from syncd.web.streaming import Lanes

__all__ = ["Application", "Cache", "Lanes", "application"]


class Revisions(RevisionSource, feed_endpoints.Revisions, Protocol):
    """Where the directory stands, and waiting for what comes."""


def application(
    settings: Http,
    *,
    directory: Directory,
    custom: Custom,
    numbers: Numbers,
    changes: Changes,
    door: Door,
    revisions: Revisions,
    cache: Cache,
    lanes: Lanes,
    status: Status,
    overview: Overview,
    explainer: Explainer,
    importer: Importer,
    ending: asyncio.Event,
) -> Application:
    """The application over its collaborators. `ending` is set when the daemon is about to stop."""
    places = [
        *Contacts(directory, custom).places(),
        *Imports(importer).places(),
        *Lookup(numbers).places(),
        *Feed(changes, revisions, settings.max_feeds, ending).places(),
        *Operations(overview, explainer).places(),
        *Service(status, settings).places(),
    ]
    places += OpenApi(settings, places, overview).places
    return Application(
        settings, Places(places), door=door, revisions=revisions, cache=cache, lanes=lanes, ages=status.ages
    )
