"""Upgrades: `--plan` lists the steps, and an earlier release keeps working during and after the migration."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from alembic import command

from syncd.demo.servers import Postgres
from syncd.errors import StoreUnavailable
from syncd.settings import Database
from syncd.store.connection.engine import open_engine
from syncd.store.schema import migrate, version
from tests.environment import Environment
from tests.http_daemon import create_database
from tests.waiting import wait_until

STATEMENTS = {
    "syncd_sync": [
        "SELECT revision FROM directory",
        "INSERT INTO run (source, job, pid, host) VALUES ('s', 'sync', 1, 'h')",
        """INSERT INTO contact_user (type, name, numbers, user_name, name_folded, search, dialled, source, source_key)
           VALUES ('User', 'u', '[]', 'u', 'u', 'u', '{}', 's', gen_random_uuid()::text)""",
        "UPDATE contact_user SET state = 'active', state_since = now(), name = 'v', search = 'v' WHERE name = 'u'",
        "UPDATE directory SET revision = revision + 1",
    ],
    "syncd_api": [
        "SELECT id, type, name, numbers, user_name, roles FROM contact WHERE served ORDER BY type, name_folded LIMIT 5",
        "SELECT count(*) FROM contact WHERE search LIKE '%u%' AND dialled @> '{1}'",
        "SELECT name, role FROM token WHERE revoked_at IS NULL",
        "INSERT INTO contact_custom (type, name, name_folded, search) VALUES ('Custom', 'c', 'c', 'c')",
        "DELETE FROM contact_custom WHERE name = 'c'",
        "UPDATE directory SET revision = revision + 1",
    ],
}
"""Role -> statements of the first release; they use only columns of the first step."""

CONTRACTING = (
    r"\b(DROP (TABLE|COLUMN|SCHEMA|ROLE|FUNCTION)|RENAME|ALTER COLUMN \w+ (TYPE|SET NOT NULL)|REVOKE .* syncd_)"
)


def create_old_database(postgres: Postgres, template_database: str, revision: str = "0001") -> str:
    """Create a database with the schema of an earlier release; return its URL."""
    del template_database  # requested only so that the roles exist
    name = f"old_{time.monotonic_ns()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    engine = open_engine(Database(url=postgres.url(name)), None)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE EXTENSION pg_trgm")
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    return postgres.url(name)


@pytest.fixture
def old(postgres: Postgres, template_database: str) -> Iterator[str]:
    url = create_old_database(postgres, template_database)
    yield url
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rpartition('/')[2].partition('?')[0]} WITH (FORCE)")


class EarlierRelease(threading.Thread):
    """Simulated first release: runs its statements in a loop, each in its own transaction."""

    def __init__(self, url: str, role: str) -> None:
        super().__init__()
        self._connection = psycopg.connect(url, options=f"-c role={role}", autocommit=True)
        self._statements = STATEMENTS[role]
        self._stopping = threading.Event()
        self.rounds = 0
        self.slowest_round = 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        with closing(self._connection):
            while not self._stopping.wait(0.01):
                started = time.monotonic()
                try:
                    for statement in self._statements:
                        self._connection.execute(statement.encode())
                except psycopg.Error as error:
                    self.error = error
                    return
                self.slowest_round = max(self.slowest_round, time.monotonic() - started)
                self.rounds += 1

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def test_earlier_release_works_during_and_after_every_step(old: str) -> None:
    """The statements of both roles succeed before and during `migrate`, and on the newest schema."""
    engine = open_engine(Database(url=old), None)
    releases = [EarlierRelease(old, role) for role in STATEMENTS]
    for release in releases:
        release.start()
    try:
        wait_until(lambda: all(release.rounds > 3 or release.error for release in releases))
        migrate.migrate(engine)
        after = [release.rounds for release in releases]
        wait_until(lambda: all(r.rounds > rounds + 3 or r.error for r, rounds in zip(releases, after, strict=True)))
    finally:
        for release in releases:
            release.stop()

    assert [release.error for release in releases] == [None, None]
    assert version.check_schema(engine) == version.STEPS[-1]


def test_steps_are_additive() -> None:
    """No step drops, renames or narrows an object that an earlier release uses."""
    for path in (version.MIGRATIONS / "versions").glob("[0-9]*.py"):
        assert not re.search(CONTRACTING, path.read_text(), re.IGNORECASE), path.name
    assert re.search(CONTRACTING, "ALTER TABLE contact DROP COLUMN channel")


def test_table_in_use_delays_only_the_migration(old: str) -> None:
    """During a long read the earlier release is served within seconds; after it the migration completes."""
    engine = open_engine(Database(url=old), None)
    done: list[list[str]] = []
    with psycopg.connect(old, options="-c role=syncd_api") as reader:
        reader.execute("SELECT count(*) FROM contact, directory, token")
        migrating = threading.Thread(target=lambda: done.append(migrate.migrate(engine)))
        migrating.start()
        release = EarlierRelease(old, "syncd_api")
        release.start()
        time.sleep(6)
        release.stop()
        assert (release.error, done) == (None, [])
        assert release.rounds > 3
        assert release.slowest_round < 30  # waits for one attempt of the migration, not for the endless reader
        reader.rollback()
        migrating.join(120)
    assert done == [list(version.STEPS[1:])]


def test_table_always_in_use_fails_the_migration(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt StoreUnavailable names the remedy, and nothing has changed."""
    monkeypatch.setattr(migrate, "_MAX_ATTEMPTS", 1)
    engine = open_engine(Database(url=old), None)
    with psycopg.connect(old) as reader:
        reader.execute("SELECT count(*) FROM contact, directory, token")
        with pytest.raises(StoreUnavailable, match="nothing was changed; wait for long reads and runs to end"):
            migrate.migrate(engine)
    with engine.connect() as connection:
        assert version.load_version(connection) == "0001"


def test_plan_lists_the_steps(env: Environment, old: str) -> None:
    """`--plan` lists the steps and changes nothing; `--check` and `run` fail and name the remedy."""
    env.configure(database=old)

    plan, check, run = (env.run_command(*words) for words in (["migrate", "--plan"], ["migrate", "--check"], ["run"]))

    assert plan.returncode == 0, plan.stderr
    assert [line.split()[0] for line in plan.stdout.splitlines() if line.startswith("  ")] == list(version.STEPS[1:])
    assert "Columns for the API" in plan.stdout
    for failed in (check, run):
        assert failed.returncode == 1
        assert f"has schema 0001, this version needs {version.STEPS[-1]}; run `syncd migrate`" in failed.stderr
    assert env.run_command("migrate").stdout == f"migrated: {', '.join(version.STEPS[1:])}\n"
    assert env.run_command("migrate", "--check").returncode == 0
    assert "nothing is to be done" in env.run_command("migrate", "--plan").stdout


def test_the_plan_names_missing_privileges(env: Environment, postgres: Postgres, template_database: str) -> None:
    """Status 1, the statements for an administrator on stdout, and nothing is changed."""
    url = create_database(postgres, "template0")
    name = url.rpartition("/")[2]
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS planner; CREATE ROLE planner LOGIN")
    env.configure(database=postgres.url(name, "planner"))

    plan = env.run_command("migrate", "--plan")

    assert plan.returncode == 1
    assert "administrator" in plan.stderr
    assert "GRANT syncd_sync, syncd_api TO planner;" in plan.stdout
    with psycopg.connect(url) as owner:
        assert owner.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,)


def test_a_newer_schema_is_refused(env: Environment) -> None:
    """By each way to look at it: there is no way but a newer version."""
    with psycopg.connect(env.database_url) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9999'")

    for words in (["migrate", "--plan"], ["migrate", "--check"], ["migrate"], ["run"]):
        done = env.run_command(*words)
        assert (done.returncode, "update syncd" in done.stderr) == (1, True), words
