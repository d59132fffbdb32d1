"""The schema: which one a database has, and whether it is the one that this version needs.

Apart from the migrations, because the daemon looks at it and does not have to load the library that changes it.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from syncd.errors import SchemaMismatch
from syncd.store.connection.engine import translated

MIGRATIONS = Path(__file__).parent / "migrations"
STEPS = tuple(sorted(path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""The revisions, oldest first; the last one is what this version needs."""


def check(engine: Engine) -> str:
    """The schema of the database. Raises SchemaMismatch unless it is exactly this version's."""
    with translated(), engine.connect() as connection:
        missing = pending(connection)
        if missing:
            raise SchemaMismatch(
                f"the database has schema {current(connection) or 'none'}, this version needs {STEPS[-1]}; "
                "run `syncd migrate`"
            )
    return STEPS[-1]


def pending(connection: Connection) -> tuple[str, ...]:
    """The steps that the database lacks, oldest first. Raises SchemaMismatch when it has some that we do not know."""
    found = current(connection)
    if found is None:
        return STEPS
    if found not in STEPS:
        raise SchemaMismatch(
            f"the database has schema {found}, which is newer than {STEPS[-1]} of this version; update syncd"
        )
    return STEPS[STEPS.index(found) + 1 :]


def current(connection: Connection) -> str | None:
    """The revision of the database; None before the first step."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
