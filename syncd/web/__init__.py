"""The web part: HTTP in front of the directory. The only home of Starlette, uvicorn and httptools."""

from syncd.settings import Http
from syncd.web.access import Door
from syncd.web.cache import Cache
from syncd.web.contacts import Contacts, Custom, Directory
from syncd.web.imports import Importer, Imports
from syncd.web.lookup import Lookup, Numbers
from syncd.web.operations import Explainer, Operations, Overview
from syncd.web.place import Places
from syncd.web.router import Application, Revisions
from syncd.web.service import Service, Status

__all__ = ["Application", "Cache", "application"]


def application(
    settings: Http,
    *,
    directory: Directory,
    custom: Custom,
    numbers: Numbers,
    door: Door,
    revisions: Revisions,
    cache: Cache,
    status: Status,
    overview: Overview,
    explainer: Explainer,
    importer: Importer,
) -> Application:
    """The application over its collaborators."""
    places = [
        *Contacts(directory, custom).places(),
        *Imports(importer).places(),
        *Lookup(numbers).places(),
        *Operations(overview, explainer).places(),
        *Service(status, settings).places(),
    ]
    return Application(settings, Places(places), door=door, revisions=revisions, cache=cache, ages=status.ages)
