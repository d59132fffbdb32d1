"""Upgrades: what is to be done is told before, and a version that serves meanwhile goes on serving, also afterwards."""

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
from tests.environment import Premises
from tests.http_daemon import new_database
from tests.scripted_ldap import wait_until

FIRST = {
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
"""What the first version asks and writes, by role, in the words it had: columns of the first step and no others."""

CONTRACTING = (
    r"\b(DROP (TABLE|COLUMN|SCHEMA|ROLE|FUNCTION)|RENAME|ALTER COLUMN \w+ (TYPE|SET NOT NULL)|REVOKE .* syncd_)"
)


def old_database(postgres: Postgres, migrated: str, revision: str = "0001") -> str:
    """The URL of a database with the schema that an earlier version left behind."""
    del migrated  # the roles are there
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
def old(postgres: Postgres, migrated: str) -> Iterator[str]:
    url = old_database(postgres, migrated)
    yield url
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rpartition('/')[2].partition('?')[0]} WITH (FORCE)")


class Former(threading.Thread):
    """A version of the first step at work: its statements, over and over, each in a transaction of its own."""

    def __init__(self, url: str, role: str) -> None:
        super().__init__()
        self._connection = psycopg.connect(url, options=f"-c role={role}", autocommit=True)
        self._statements = FIRST[role]
        self._over = threading.Event()
        self.rounds = 0
        self.longest = 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        with closing(self._connection):
            while not self._over.wait(0.01):
                began = time.monotonic()
                try:
                    for statement in self._statements:
                        self._connection.execute(statement.encode())
                except psycopg.Error as error:
                    self.error = error
                    return
                self.longest = max(self.longest, time.monotonic() - began)
                self.rounds += 1

    def end(self) -> None:
        self._over.set()
        self.join()


def test_the_first_version_works_during_and_after_every_step(old: str) -> None:
    """Its own statements, of both roles, never fail: before, while `migrate` runs, and on the newest schema."""
    engine = open_engine(Database(url=old), None)
    former = [Former(old, role) for role in FIRST]
    for one in former:
        one.start()
    try:
        wait_until(lambda: all(one.rounds > 3 or one.error for one in former))
        migrate.migrate(engine)
        after = [one.rounds for one in former]
        wait_until(lambda: all(one.rounds > seen + 3 or one.error for one, seen in zip(former, after, strict=True)))
    finally:
        for one in former:
            one.end()

    assert [one.error for one in former] == [None, None]
    assert version.check(engine) == version.STEPS[-1]


def test_no_step_takes_anything_away() -> None:
    """What an earlier version uses is neither dropped, renamed nor made narrower."""
    for path in (version.MIGRATIONS / "versions").glob("[0-9]*.py"):
        assert not re.search(CONTRACTING, path.read_text(), re.IGNORECASE), path.name
    assert re.search(CONTRACTING, "ALTER TABLE contact DROP COLUMN channel")


def test_a_table_in_use_holds_up_nobody_but_the_migration(old: str) -> None:
    """While a long read goes on, others are served within seconds; when it is over, the migration comes to its end."""
    engine = open_engine(Database(url=old), None)
    done: list[list[str]] = []
    with psycopg.connect(old, options="-c role=syncd_api") as reader:
        reader.execute("SELECT count(*) FROM contact, directory, token")
        migrating = threading.Thread(target=lambda: done.append(migrate.migrate(engine)))
        migrating.start()
        former = Former(old, "syncd_api")
        former.start()
        time.sleep(6)
        former.end()
        assert (former.error, done) == (None, [])
        assert former.rounds > 3
        assert former.longest < 30  # it waits behind a try of the migration, not for the reader, who never ends
        reader.rollback()
        migrating.join(120)
    assert done == [list(version.STEPS[1:])]


def test_a_table_that_is_always_in_use_is_told(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its tries the migration gives up, says what to do, and has changed nothing."""
    monkeypatch.setattr(migrate, "_TRIES", 1)
    engine = open_engine(Database(url=old), None)
    with psycopg.connect(old) as reader:
        reader.execute("SELECT count(*) FROM contact, directory, token")
        with pytest.raises(StoreUnavailable, match="nothing was changed; let long reads and runs come to their end"):
            migrate.migrate(engine)
    with engine.connect() as connection:
        assert version.current(connection) == "0001"


def test_the_command_says_what_it_will_do(site: Premises, old: str) -> None:
    """`--plan` lists the steps and changes nothing; `--check` and `run` refuse with the command that helps."""
    site.configure(database=old)

    plan, check, run = (site.command(*words) for words in (["migrate", "--plan"], ["migrate", "--check"], ["run"]))

    assert plan.returncode == 0, plan.stderr
    assert [line.split()[0] for line in plan.stdout.splitlines() if line.startswith("  ")] == list(version.STEPS[1:])
    assert "What reading leans on" in plan.stdout
    for refused in (check, run):
        assert refused.returncode == 1
        assert f"has schema 0001, this version needs {version.STEPS[-1]}; run `syncd migrate`" in refused.stderr
    assert site.command("migrate").stdout == f"migrated: {', '.join(version.STEPS[1:])}\n"
    assert site.command("migrate", "--check").returncode == 0
    assert "nothing is to be done" in site.command("migrate", "--plan").stdout


def test_the_plan_names_missing_privileges(site: Premises, postgres: Postgres, migrated: str) -> None:
    """Status 1, the statements for an administrator on stdout, and nothing is changed."""
    url = new_database(postgres, "template0")
    name = url.rpartition("/")[2]
    with psycopg.connect(postgres.url(), autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS planner; CREATE ROLE planner LOGIN")
    site.configure(database=postgres.url(name, "planner"))

    plan = site.command("migrate", "--plan")

    assert plan.returncode == 1
    assert "administrator" in plan.stderr
    assert "GRANT syncd_sync, syncd_api TO planner;" in plan.stdout
    with psycopg.connect(url) as owner:
        assert owner.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,)


def test_a_newer_schema_is_refused(site: Premises) -> None:
    """By each way to look at it: there is no way but a newer version."""
    with psycopg.connect(site.database_url) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9999'")

    for words in (["migrate", "--plan"], ["migrate", "--check"], ["migrate"], ["run"]):
        done = site.command(*words)
        assert (done.returncode, "update syncd" in done.stderr) == (1, True), words
