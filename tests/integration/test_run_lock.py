"""The lock of a run: whoever has lost it writes nothing."""

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import text

from syncd.app import use_cases
from syncd.core.sync.plan import Item
from syncd.errors import DatabaseUnsuitable
from syncd.jobs.purge import purge
from syncd.jobs.sync import synchronize
from syncd.settings import Settings
from syncd.store.connection.engine import Role, mapped_errors, open_engine
from syncd.store.run.writer import Writer
from tests.environment import Environment


class UnlockedWriter(Writer):
    """A writer whose session loses its locks during the read, as behind a pooler that shares its connections."""

    def stage(self, items: Iterable[Item]) -> None:
        super().stage(items)
        self._connection.execute(text("SELECT pg_advisory_unlock_all()"))


class MovedWriter(Writer):
    """A writer that has moved to another session, which holds the lock too."""

    def stage(self, items: Iterable[Item]) -> None:
        super().stage(items)
        self._backend_pid += 1


def synchronize_corp(settings: Settings, writer: type[Writer]) -> None:
    job = use_cases.build_job(settings.find_source("corp"))
    with mapped_errors(), open_engine(settings.database, Role.SYNC).connect() as connection:
        synchronize(job, writer(connection, "corp", "User"))


@pytest.mark.parametrize("writer", [UnlockedWriter, MovedWriter])
@pytest.mark.parametrize("is_complete", [True, False])
def test_a_run_without_its_lock_writes_nothing(env: Environment, writer: type[Writer], *, is_complete: bool) -> None:
    """Neither contacts nor rejects nor its outcome, for another run may hold the lock; the next run closes it."""
    entries = [env.branch.add(f"u{n}", "P", str(n)) for n in range(3)]
    env.run()
    env.branch.remove(entries[0])
    env.branch.change(entries[1], sn="x" * 300)
    settings = env.configure(base=env.branch.base if is_complete else f"ou=none,{env.branch.base}")
    before = stored(env)

    with pytest.raises(
        DatabaseUnsuitable, match=r"no longer holds the lock of corp, and nothing was written.*direct_url"
    ):
        synchronize_corp(settings, writer)

    assert stored(env) == before
    assert env.fetch_rows("SELECT outcome FROM run ORDER BY id")[-1] == {"outcome": "running"}
    env.configure(base=env.branch.base)
    env.run()
    outcomes = [row["outcome"] for row in env.fetch_rows("SELECT outcome FROM run ORDER BY id")]
    assert outcomes == ["completed", "crashed", "completed"]


def test_a_purge_without_its_lock_deletes_nothing(env: Environment) -> None:
    settings = env.settings
    limits = settings.find_source("corp").guard.to_limits()
    with mapped_errors(), open_engine(settings.database, Role.SYNC).connect() as connection:
        writer = Writer(connection, "corp", "User", "purge")
        purge("corp", settings.find_source("corp").lifecycle.retention, limits, writer)
        connection.execute(text("SELECT pg_advisory_unlock_all()"))
        with pytest.raises(DatabaseUnsuitable, match="no longer holds the lock"):
            writer.prune(settings.history.retention)


def stored(env: Environment) -> list[dict[str, Any]]:
    """Return every row about the directory, except the runs."""
    return [row for row in env.dump_tables() if row["of"] != "run"]
