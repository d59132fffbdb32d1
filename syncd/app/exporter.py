"""Exporting contacts: those that a query finds, in a form for people or programs, read as they are written."""

from collections.abc import Iterator

from syncd.core.form import FORMS
from syncd.core.query import Query
from syncd.settings import Settings
from syncd.store import directory
from syncd.store.database import Role, engine, translated


def export(settings: Settings, query: Query) -> Iterator[str]:
    """The text of an export in the form that the query names, piece by piece and from one moment.

    Without http.public_url nobody knows here by which address clients find us, so there is no `uri` then.
    Raises StoreUnavailable.
    """
    form = FORMS[query.format or "csv"](settings.http.public_url, query.fields)
    moment = engine(settings.database, Role.API).execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with translated(), moment.begin() as connection:
        yield form.head(directory.total(connection, query))
        for contacts in directory.batches(connection, query):
            yield form.batch(contacts)
    yield form.foot()
