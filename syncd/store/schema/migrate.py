"""Bringing the schema up to date: what is to be done, and doing it beside a version that serves meanwhile."""

import time
from dataclasses import dataclass

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.exc import OperationalError

from syncd.errors import MissingPrivilege, StoreUnavailable
from syncd.store.connection.engine import Role, translated
from syncd.store.schema.version import MIGRATIONS, STEPS, current, pending

_LOCK = 0x73796E6364  # any constant: two migrations of one database wait for each other
_WAIT = "2s"
"""How long a step waits for a table that is in use: everybody who comes meanwhile waits behind it."""
_TRIES = 30
_PAUSE = 2.0
"""Seconds between two tries, in which those who had to wait are served."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `migrate` would do."""

    found: str | None
    """The schema of the database."""
    needed: str
    steps: tuple[tuple[str, str], ...]
    """Each missing step, oldest first: its number, and what it is about."""
    grants: tuple[str, ...]
    """The SQL that an administrator has to run before, because the database user may not do it."""


def plan(engine: Engine) -> Upgrade:
    """What `migrate` would do; nothing is changed. Raises SchemaMismatch when the database is newer."""
    scripts = ScriptDirectory.from_config(_config())
    with translated(), engine.connect() as connection:
        steps = tuple((step, str(scripts.get_revision(step).doc)) for step in pending(connection))
        grants = _wanted(connection)[1] if steps else []
        return Upgrade(current(connection), STEPS[-1], steps, tuple(grants))


def migrate(engine: Engine) -> list[str]:
    """Run every missing step in one transaction; return their names, oldest first, none when up to date.

    The engine's user needs to make roles and tables. If it may not, MissingPrivilege carries
    the SQL that an administrator has to run, and nothing has been changed. Tables that are in use for long are tried
    again and again, so that a version that serves meanwhile is never held up for more than a moment.
    """
    for number in range(_TRIES):
        time.sleep(_PAUSE if number else 0)
        with translated():
            try:
                return _migrate(engine)
            except OperationalError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
    raise StoreUnavailable(
        "a table was in use each time that it should be changed, and nothing was changed; let long reads and runs "
        "come to their end, then run `syncd migrate` again"
    )


def _migrate(engine: Engine) -> list[str]:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        missing = pending(connection)
        if missing:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT}'"))
            _make_roles(connection)
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


def _make_roles(connection: Connection) -> None:
    """Make the roles that do not exist and join them; ask for all that the user may not do, before doing anything."""
    wanted, unmet = _wanted(connection)
    if unmet:
        raise MissingPrivilege(
            "the database user may not do all that the migration needs, and nothing was changed; "
            "let a database administrator run this in the same database, then run `syncd migrate` again",
            "\n".join(unmet),
        )
    for statement in wanted:
        connection.exec_driver_sql(statement)


def _wanted(connection: Connection) -> tuple[list[str], list[str]]:
    """The statements that make our roles, and all those, of them and others, that the user may not run."""
    user = str(connection.scalar(text("SELECT quote_ident(current_user)")))
    absent, foreign = _roles_to_make(connection)
    wanted = [f"CREATE ROLE {role} NOLOGIN;" for role in absent]
    if foreign or absent:
        wanted.append(f"GRANT {', '.join(Role)} TO {user};")
    allowed = bool(
        connection.scalar(text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"))
    )
    return wanted, [*([] if allowed else wanted), *_other_privileges(connection, user)]


def _roles_to_make(connection: Connection) -> tuple[list[Role], list[Role]]:
    """The roles that do not exist, and those that exist without our being a member."""
    known = text("SELECT rolname, pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname IN :names")
    rows = connection.execute(known.bindparams(bindparam("names", list(Role), expanding=True)))
    member = {str(name): bool(is_member) for name, is_member in rows}
    return [role for role in Role if role not in member], [role for role in Role if not member.get(role, True)]


def _other_privileges(connection: Connection, user: str) -> list[str]:
    """What else the first step needs, as the statements that would grant it."""
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
    found = [] if may_create else [f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {user};"]
    found += [] if may_stage else [f"GRANT TEMPORARY ON DATABASE {database} TO {user}, {Role.SYNC};"]
    found += [] if may_extend else ["CREATE EXTENSION pg_trgm;"]
    return found
