"""Exporting contacts: what a query finds, in a form for people or programs, read as it is written."""

from collections.abc import Callable

from syncd.core.contacts.query import Query
from syncd.core.files.serializers import FORMS
from syncd.settings import Settings
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import async_engine
from syncd.store.contacts.reading import Directory


async def export(settings: Settings, query: Query, write: Callable[[str], object]) -> None:
    """Write, piece by piece, what the API answers to this query, in the form that it names.

    Without http.public_url nobody knows here by which address clients find us, so there is no `uri` then.
    Raises StoreUnavailable.
    """
    form = FORMS[query.format or "csv"](settings.http.public_url, query.fields)
    engine = async_engine(settings.database, Role.API)
    try:
        async with Directory(engine, settings.regions()).page(query) as page:
            write(form.head(page.total))
            async for contacts in page.batches:
                write(form.batch(contacts))
            write(form.foot())
    finally:
        await engine.dispose()
