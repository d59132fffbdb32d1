"""Schema migration: planning it, and running it while the previous release serves."""

import time
from dataclasses import dataclass

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.exc import OperationalError

from syncd.errors import MissingPrivilege, StoreUnavailable
from syncd.store.connection.engine import Role, mapped_errors
from syncd.store.schema.version import MIGRATIONS, STEPS, find_pending_steps, load_version

_LOCK_KEY = 0x73796E6364  # of the advisory lock that serialises two migrations of one database; any constant
_LOCK_TIMEOUT = "2s"
"""PostgreSQL's lock_timeout for a table in use: later statements on the table queue behind the waiting step."""
_MAX_ATTEMPTS = 30
_RETRY_INTERVAL = 2.0
"""Seconds between two attempts, in which the queued statements run."""


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """Steps and privileges of a migration."""

    current: str | None
    """Schema version of the database; None when it has no schema."""
    target: str
    """Schema version of this release."""
    steps: tuple[tuple[str, str], ...]
    """(number, description) of each missing step, oldest first."""
    grants: tuple[str, ...]
    """SQL statements that an administrator has to run first, because the database user lacks the privilege."""


def plan_upgrade(engine: Engine) -> UpgradePlan:
    """Return what `migrate` would do. Raises SchemaMismatch when the database is newer, and StoreUnavailable."""
    scripts = ScriptDirectory.from_config(_config())
    with mapped_errors(), engine.connect() as connection:
        steps = tuple((step, str(scripts.get_revision(step).doc)) for step in find_pending_steps(connection))
        grants = _build_statements(connection)[1] if steps else []
        return UpgradePlan(load_version(connection), STEPS[-1], steps, tuple(grants))


def migrate(engine: Engine) -> list[str]:
    """Run all missing steps in one transaction; return their numbers, oldest first.

    A lock timeout rolls the transaction back, and it is retried up to 30 times; so a release that serves meanwhile is
    never blocked for more than 2 s.

    Raises MissingPrivilege (nothing changed; with the SQL for an administrator) when the user may not create roles and
    tables, SchemaMismatch when the database is newer, and StoreUnavailable.
    """
    for number in range(_MAX_ATTEMPTS):
        time.sleep(_RETRY_INTERVAL if number else 0)
        with mapped_errors():
            try:
                return _migrate(engine)
            except OperationalError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
    raise StoreUnavailable(
        f"a table to be changed was in use at each of {_MAX_ATTEMPTS} attempts, and nothing was changed; wait for long "
        "reads and runs to end, then run `syncd migrate` again"
    )


def _migrate(engine: Engine) -> list[str]:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        missing = find_pending_steps(connection)
        if missing:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            _create_roles(connection)
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return list(missing)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _create_roles(connection: Connection) -> None:
    """Create the missing roles and become a member of each. Raises MissingPrivilege before any change."""
    statements, forbidden = _build_statements(connection)
    if forbidden:
        raise MissingPrivilege(
            "the database user lacks privileges that the migration needs, and nothing was changed; "
            "let a database administrator run this in the same database, then run `syncd migrate` again",
            "\n".join(forbidden),
        )
    for statement in statements:
        connection.exec_driver_sql(statement)


def _build_statements(connection: Connection) -> tuple[list[str], list[str]]:
    """Return the statements that create the roles, and all statements of the migration that the user may not run."""
    user = str(connection.scalar(text("SELECT quote_ident(current_user)")))
    missing, not_granted = _select_missing_roles(connection)
    statements = [f"CREATE ROLE {role} NOLOGIN;" for role in missing]
    if not_granted or missing:
        statements.append(f"GRANT {', '.join(Role)} TO {user};")
    allowed = bool(
        connection.scalar(text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"))
    )
    return statements, [*([] if allowed else statements), *_build_grants(connection, user)]


def _select_missing_roles(connection: Connection) -> tuple[list[Role], list[Role]]:
    """Return the roles that do not exist, and the roles that exist but are not granted to the user."""
    query = text("SELECT rolname, pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname IN :names")
    rows = connection.execute(query.bindparams(bindparam("names", list(Role), expanding=True)))
    membership = {str(name): bool(is_member) for name, is_member in rows}
    return [role for role in Role if role not in membership], [role for role in Role if not membership.get(role, True)]


def _build_grants(connection: Connection, user: str) -> list[str]:
    """Return the statements that grant the other privileges of the first step, without those that the user has."""
    row = connection.execute(
        text("""
        SELECT quote_ident(current_database()),
               quote_ident(current_schema()),
               has_schema_privilege(current_schema(), 'CREATE'),
               has_database_privilege(current_database(), 'TEMP'),
               EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')
               OR has_database_privilege(current_database(), 'CREATE')
        """)
    ).one()
    database, schema, may_create, may_stage, may_extend = row
    grants = [] if may_create else [f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {user};"]
    grants += [] if may_stage else [f"GRANT TEMPORARY ON DATABASE {database} TO {user}, {Role.SYNC};"]
    grants += [] if may_extend else ["CREATE EXTENSION pg_trgm;"]
    return grants
