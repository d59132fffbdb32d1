"""The schema: the migrations make what the code declares, and the database itself keeps the owners apart."""

from importlib import import_module
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from syncd.demo.servers import Postgres
from syncd.errors import MissingPrivilege, SchemaMismatch
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.schema import migrate, version
from syncd.store.schema.tables import PARTITIONS, metadata

STEPS = ["0001", "0002", "0003", "0004", "0005"]
CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 ORDER BY 1, 2""",
    "constraints": """
        SELECT c.relname, o.conname, pg_get_constraintdef(o.oid)
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
        WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
}


def catalog(url: str) -> dict[str, list[Any]]:
    """All that PostgreSQL knows of the declared tables."""
    with psycopg.connect(url) as connection:
        found = {what: connection.execute(query).fetchall() for what, query in CATALOG.items()}
    return {what: [row for row in rows if row[0] in metadata.tables] for what, rows in found.items()}


def empty_database(postgres: Postgres, name: str) -> str:
    """The URL of a database without any table."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.url(name)


def test_migrations_make_the_declared_tables(postgres: Postgres, migrated: str) -> None:
    """Columns, defaults, constraints and indexes are the same whether migrated or made from the declaration."""
    url = empty_database(postgres, "declared")
    engine = open_engine(Database(url=url), None)
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION pg_trgm"))
        connection.execute(text(import_module("syncd.store.schema.migrations.versions.0005_words").WORDS))
        metadata.create_all(connection)
    engine.dispose()

    assert catalog(url) == catalog(postgres.url(migrated))


def test_partitions_have_the_declared_columns(postgres: Postgres, migrated: str) -> None:
    """The partitions that writers name have the columns that the code writes."""
    from syncd.store.schema.tables import partition

    with psycopg.connect(postgres.url(migrated)) as connection:
        for type_, name in PARTITIONS.items():
            rows = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
                (name,),
            )
            assert [row[0] for row in rows] == [column.name for column in partition[type_].columns]


def test_migrating_twice_changes_nothing(postgres: Postgres) -> None:
    """The second run finds nothing to do and says so."""
    engine = open_engine(Database(url=empty_database(postgres, "twice")), None)

    assert migrate.migrate(engine) == STEPS
    assert migrate.migrate(engine) == []
    assert version.check(engine) == version.STEPS[-1]
    engine.dispose()


def test_the_steps_are_those_of_the_library() -> None:
    """Each file is a step, and the steps are one chain in the order of their numbers."""
    scripts = ScriptDirectory(str(version.MIGRATIONS))

    assert [step.revision for step in scripts.walk_revisions()] == list(reversed(version.STEPS))


def test_an_unmigrated_database_is_told_from_an_unreachable_one(postgres: Postgres) -> None:
    """A start on an empty or a newer schema is refused with the command that helps."""
    url = empty_database(postgres, "unmigrated")
    engine = open_engine(Database(url=url), None)
    with pytest.raises(SchemaMismatch, match="syncd migrate"):
        version.check(engine)
    migrate.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="update syncd"):
        version.check(engine)
    with pytest.raises(SchemaMismatch, match="update syncd"):
        migrate.migrate(engine)
    engine.dispose()


COLUMNS = "(type, name, name_folded, search, source, source_key)"
ROWS = f"""
    INSERT INTO contact {COLUMNS} VALUES
        ('User', 'u', 'u', 'u', 's', '1'), ('Queue', 'q', 'q', 'q', 's', '1'), ('Custom', 'c', 'c', 'c', NULL, NULL)
"""
INSERT = {
    "User": f"INSERT INTO {{}} {COLUMNS} VALUES ('User', 'x', 'x', 'x', 's', '2')",
    "Queue": f"INSERT INTO {{}} {COLUMNS} VALUES ('Queue', 'x', 'x', 'x', 's', '2')",
    "Custom": f"INSERT INTO {{}} {COLUMNS} VALUES ('Custom', 'x', 'x', 'x', NULL, NULL)",
}
OWNED = {Role.SYNC: {"User", "Queue"}, Role.API: {"Custom"}}


def writes(type_: str, table: str) -> list[str]:
    """One statement of each kind that would change a contact of this type through this table."""
    where = f"WHERE type = '{type_}'"
    return [
        INSERT[type_].format(table),
        f"UPDATE {table} SET name = 'y' {where}",
        f"DELETE FROM {table} {where}",
        f"TRUNCATE {table}",
    ]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("type_", list(PARTITIONS))
def test_postgresql_refuses_writes_to_the_contacts_of_others(database_url: str, role: Role, type_: str) -> None:
    """INSERT, UPDATE, DELETE and TRUNCATE fail through partition and parent unless the role owns the type."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(ROWS)
    with psycopg.connect(database_url, options=f"-c role={role}", autocommit=True) as connection:
        for table in (PARTITIONS[type_], "contact"):
            for statement in writes(type_, table):
                owned = type_ in OWNED[role] and table != "contact" and "TRUNCATE" not in statement
                if owned:
                    connection.execute(statement)
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(statement)


def test_a_custom_row_cannot_be_turned_into_a_synced_one(database_url: str) -> None:
    """No role moves a contact to another type, and a Custom contact has no source."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(ROWS)
        with pytest.raises(psycopg.errors.CheckViolation):
            owner.execute("UPDATE contact SET source = 's' WHERE type = 'Custom'")
    with (
        psycopg.connect(database_url, options="-c role=syncd_api", autocommit=True) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute("UPDATE contact_custom SET type = 'User', source = 's', source_key = '9'")


@pytest.mark.parametrize("role", list(Role))
def test_every_connection_has_its_role_and_keeps_it(database_url: str, role: Role) -> None:
    """The role is there from the start, after RESET ROLE and after a failed transaction."""
    engine = open_engine(Database(url=database_url), role)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == role
        connection.execute(text("RESET ROLE"))
        connection.rollback()
        assert connection.scalar(text("SELECT current_user")) == role
    engine.dispose()


def test_a_user_without_rights_gets_the_sql_and_nothing_is_changed(postgres: Postgres) -> None:
    """Migrate lists what an administrator must run; run as listed, the same migrate succeeds."""
    url = empty_database(postgres, "poor")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS poor_user; CREATE ROLE poor_user LOGIN")
        owner.execute("REVOKE TEMPORARY ON DATABASE poor FROM PUBLIC")
    before = [(what, rows) for what, rows in catalog(url).items()]
    engine = open_engine(Database(url=postgres.url("poor", "poor_user")), None)

    with pytest.raises(MissingPrivilege) as refused:
        migrate.migrate(engine)

    assert "administrator" in str(refused.value)
    assert [(what, rows) for what, rows in catalog(url).items()] == before
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(refused.value.sql)
    assert migrate.migrate(engine) == STEPS
    engine.dispose()


@pytest.mark.parametrize("role", list(Role))
def test_each_role_can_check_the_schema(database_url: str, role: Role) -> None:
    """The check before a start works with the rights that the daemon has."""
    engine = open_engine(Database(url=database_url), role)
    version.check(engine)
    engine.dispose()
