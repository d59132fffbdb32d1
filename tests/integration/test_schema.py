"""Schema: migrations create the declared tables, and the privileges separate the owners of the partitions."""

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


def read_catalog(url: str) -> dict[str, list[Any]]:
    """Return the catalog rows of the declared tables, by kind."""
    with psycopg.connect(url) as connection:
        rows_by_kind = {kind: connection.execute(query).fetchall() for kind, query in CATALOG.items()}
    return {kind: [row for row in rows if row[0] in metadata.tables] for kind, rows in rows_by_kind.items()}


def create_empty_database(postgres: Postgres, name: str) -> str:
    """Create a database without tables; return its URL."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.url(name)


def test_migrations_create_the_declared_tables(postgres: Postgres, template_database: str) -> None:
    """Columns, defaults, constraints and indexes are equal after migration and after `metadata.create_all`."""
    url = create_empty_database(postgres, "declared")
    engine = open_engine(Database(url=url), None)
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION pg_trgm"))
        connection.execute(text(import_module("syncd.store.schema.migrations.versions.0005_words").WORDS))
        metadata.create_all(connection)
    engine.dispose()

    assert read_catalog(url) == read_catalog(postgres.url(template_database))


def test_partitions_have_the_declared_columns(postgres: Postgres, template_database: str) -> None:
    """Each partition has the columns that `tables.partition` declares."""
    from syncd.store.schema.tables import partition

    with psycopg.connect(postgres.url(template_database)) as connection:
        for type_, name in PARTITIONS.items():
            rows = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
                (name,),
            )
            assert [row[0] for row in rows] == [column.name for column in partition[type_].columns]


def test_migrating_twice_changes_nothing(postgres: Postgres) -> None:
    """The second migration returns no steps."""
    engine = open_engine(Database(url=create_empty_database(postgres, "twice")), None)

    assert migrate.migrate(engine) == STEPS
    assert migrate.migrate(engine) == []
    assert version.check_schema(engine) == version.STEPS[-1]
    engine.dispose()


def test_steps_form_one_alembic_chain() -> None:
    """Each file is a step, and the steps are one chain in numerical order."""
    scripts = ScriptDirectory(str(version.MIGRATIONS))

    assert [step.revision for step in scripts.walk_revisions()] == list(reversed(version.STEPS))


def test_other_schema_version_is_a_mismatch(postgres: Postgres) -> None:
    """An empty and a newer schema raise SchemaMismatch with the remedy."""
    url = create_empty_database(postgres, "unmigrated")
    engine = open_engine(Database(url=url), None)
    with pytest.raises(SchemaMismatch, match="syncd migrate"):
        version.check_schema(engine)
    migrate.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="update syncd"):
        version.check_schema(engine)
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


def build_writes(type_: str, table: str) -> list[str]:
    """Return an INSERT, UPDATE, DELETE and TRUNCATE for contacts of this type through this table."""
    where = f"WHERE type = '{type_}'"
    return [
        INSERT[type_].format(table),
        f"UPDATE {table} SET name = 'y' {where}",
        f"DELETE FROM {table} {where}",
        f"TRUNCATE {table}",
    ]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("type_", list(PARTITIONS))
def test_role_writes_only_its_own_partitions(database_url: str, role: Role, type_: str) -> None:
    """INSERT, UPDATE, DELETE and TRUNCATE fail through partition and parent unless the role owns the type."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(ROWS)
    with psycopg.connect(database_url, options=f"-c role={role}", autocommit=True) as connection:
        for table in (PARTITIONS[type_], "contact"):
            for statement in build_writes(type_, table):
                owned = type_ in OWNED[role] and table != "contact" and "TRUNCATE" not in statement
                if owned:
                    connection.execute(statement)
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(statement)


def test_custom_row_cannot_become_a_synced_one(database_url: str) -> None:
    """No role can move a contact to another type, and a Custom contact has no source."""
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
def test_connection_keeps_its_role(database_url: str, role: Role) -> None:
    """The role is set from the start, after RESET ROLE and after a rollback."""
    engine = open_engine(Database(url=database_url), role)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == role
        connection.execute(text("RESET ROLE"))
        connection.rollback()
        assert connection.scalar(text("SELECT current_user")) == role
    engine.dispose()


def test_user_without_privileges_gets_the_sql_and_nothing_is_changed(postgres: Postgres) -> None:
    """`migrate` lists the statements for an administrator; after they have run, it succeeds."""
    url = create_empty_database(postgres, "poor")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS poor_user; CREATE ROLE poor_user LOGIN")
        owner.execute("REVOKE TEMPORARY ON DATABASE poor FROM PUBLIC")
    before = read_catalog(url)
    engine = open_engine(Database(url=postgres.url("poor", "poor_user")), None)

    with pytest.raises(MissingPrivilege) as raised:
        migrate.migrate(engine)

    assert "administrator" in str(raised.value)
    assert read_catalog(url) == before
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(raised.value.sql)
    assert migrate.migrate(engine) == STEPS
    engine.dispose()


@pytest.mark.parametrize("role", list(Role))
def test_each_role_can_check_the_schema(database_url: str, role: Role) -> None:
    """`check_schema` works with the privileges of each role."""
    engine = open_engine(Database(url=database_url), role)
    version.check_schema(engine)
    engine.dispose()
