"""Export of the contacts of a query as CSV, vCard or JSON, streamed from the database."""

from collections.abc import Callable

from syncd.core.contacts.query import Query
from syncd.core.files.serializers import SERIALIZERS
from syncd.settings import Settings
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import open_async_engine
from syncd.store.contacts.reading import Directory


async def export(settings: Settings, query: Query, write: Callable[[str], object]) -> None:
    """Write the contacts of a query piece by piece, in the format of the query (default CSV).

    Without `http.public_url` contacts have no `uri`, because the base URL of the service is unknown here. Raises
    StoreUnavailable.
    """
    form = SERIALIZERS[query.format or "csv"](settings.http.public_url, query.fields)
    engine = open_async_engine(settings.database, Role.API)
    try:
        async with Directory(engine, settings.regions()).open_page(query) as page:
            write(form.head(page.total))
            async for contacts in page.batches:
                write(form.encode_batch(contacts))
            write(form.foot())
    finally:
        await engine.dispose()
