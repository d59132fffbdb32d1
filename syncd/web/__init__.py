"""The web part: HTTP in front of the directory. The only home of Starlette, uvicorn and httptools."""

import asyncio
from typing import Protocol

from syncd.settings import Http
from syncd.web import feed, router
from syncd.web.access import Door
from syncd.web.cache import Cache
from syncd.web.contacts import Contacts, Custom, Directory
from syncd.web.feed import Feed
from syncd.web.imports import Importer, Imports
from syncd.web.lookup import Lookup, Numbers
from syncd.web.openapi.document import OpenApi
from syncd.web.operations import Explainer, Operations, Overview
from syncd.web.place import Places
from syncd.web.router import Application
from syncd.web.sections import Changes
from syncd.web.service import Service, Status
from syncd.web.stream import Lanes

__all__ = ["Application", "Cache", "Lanes", "application"]


class Revisions(router.Revisions, feed.Revisions, Protocol):
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
