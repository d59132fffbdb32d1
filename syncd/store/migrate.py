"""Bringing the schema up to date, and checking before a start that it is."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, text

from syncd.errors import MissingPrivilege, SchemaMismatch
from syncd.store.database import Role, translated

_LOCK = 0x73796E6364  # any constant: two migrations of one database wait for each other


def migrate(engine: Engine) -> list[str]:
    """Run every missing step in one transaction; return their names, oldest first, none when up to date.

    The engine's user needs to make roles and tables. If it may not, MissingPrivilege carries
    the SQL that an administrator has to run, and nothing has been changed.
    """
    with translated(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        missing = _pending(connection)
        if missing:
            _make_roles(connection)
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return missing


def check(engine: Engine) -> None:
    """Raise SchemaMismatch unless the database has exactly this version's schema."""
    with translated(), engine.connect() as connection:
        found = _current(connection)
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if found == head:
        return
    if found is None or found in _history():
        raise SchemaMismatch(
            f"the database has schema {found or 'none'}, this version needs {head}; run `syncd migrate`"
        )
    raise SchemaMismatch(f"the database has schema {found}, newer than {head} of this version; update syncd")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _history() -> list[str]:
    return [step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()]


def _current(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    return MigrationContext.configure(connection).get_current_revision()


def _pending(connection: Connection) -> list[str]:
    found = _current(connection)
    history = _history()  # newest first
    if found is not None and found not in history:
        raise SchemaMismatch(f"the database has schema {found}, which this version does not know; update syncd")
    done = len(history) if found is None else history.index(found)
    return list(reversed(history[:done]))


def _make_roles(connection: Connection) -> None:
    """Make the roles that do not exist and join them; ask for all that the user may not do, before doing anything."""
    user = str(connection.scalar(text("SELECT quote_ident(current_user)")))
    absent, foreign = _roles_to_make(connection)
    wanted = [f"CREATE ROLE {role} NOLOGIN;" for role in absent]
    if foreign or absent:
        wanted.append(f"GRANT {', '.join(Role)} TO {user};")
    allowed = bool(
        connection.scalar(text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"))
    )
    unmet = [*([] if allowed else wanted), *_other_privileges(connection, user)]
    if unmet:
        raise MissingPrivilege(
            "the database user may not do all that the migration needs, and nothing was changed; "
            "let a database administrator run this in the same database, then run `syncd migrate` again",
            "\n".join(unmet),
        )
    for statement in wanted:
        connection.exec_driver_sql(statement)


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
