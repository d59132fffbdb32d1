"""Schema version of a database, compared with the version that this release needs.

Separate from `migrate`, because the daemon checks the version and must not import Alembic.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from syncd.errors import SchemaMismatch
from syncd.store.connection.engine import mapped_errors

MIGRATIONS = Path(__file__).parent / "migrations"
STEPS = tuple(sorted(path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""Numbers of the migration steps, oldest first; this release needs the last one."""


def check_schema(engine: Engine) -> str:
    """Check that the schema is that of this release, and return its number.

    Raises SchemaMismatch and StoreUnavailable.
    """
    with mapped_errors(), engine.connect() as connection:
        missing = find_pending_steps(connection)
        if missing:
            raise SchemaMismatch(
                f"the database has schema {load_version(connection) or 'none'}, this version needs {STEPS[-1]}; "
                "run `syncd migrate`"
            )
    return STEPS[-1]


def find_pending_steps(connection: Connection) -> tuple[str, ...]:
    """Return the steps that the database lacks, oldest first. Raises SchemaMismatch for an unknown version."""
    version = load_version(connection)
    if version is None:
        return STEPS
    if version not in STEPS:
        raise SchemaMismatch(
            f"the database has schema {version}, which is newer than {STEPS[-1]} of this version; update syncd"
        )
    return STEPS[STEPS.index(version) + 1 :]


def load_version(connection: Connection) -> str | None:
    """Return the number of the last step that the database has; None before the first one."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version
