"""Purge on a real PostgreSQL: who was removed long ago is forgotten, under a guard of its own."""

from datetime import timedelta

import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.sync.plan import Outcome
from tests.environment import Environment


@pytest.fixture
def office(env: Environment) -> Environment:
    """Ten people of whom two have left."""
    env.configure(max_removals=100)
    for number in range(10):
        env.branch.add(f"u{number}", "Pat", f"Number{number}")
    env.run()
    for number in range(2):
        env.branch.remove(f"uid=u{number},{env.branch.base}")
    env.run()
    return env


def later(env: Environment, time: timedelta) -> None:
    """Let time pass for the contacts, the runs and the log."""
    with psycopg.connect(env.database_url) as connection:
        connection.execute("UPDATE contact_user SET state_since = state_since - %s", (time,))
        connection.execute("UPDATE run SET started_at = started_at - %s", (time,))
        connection.execute("UPDATE change SET at = at - %s", (time,))


def known(env: Environment) -> int:
    """How many people are known at all."""
    return len(env.fetch_rows("SELECT 1 FROM contact_user"))


def test_the_removed_are_forgotten_after_the_retention_and_not_before(office: Environment) -> None:
    """Until then they are known and would get their id back; then they are gone, and the log says by which run."""
    later(office, timedelta(days=89))
    assert use_cases.purge_source(office.settings, "corp").counts.purged == 0
    assert known(office) == 10

    later(office, timedelta(days=2))
    report = use_cases.purge_source(office.settings, "corp")

    assert (report.outcome, report.counts.purged) == (Outcome.COMPLETED, 2)
    assert known(office) == 8
    logged = office.fetch_rows(
        "SELECT old->>'name' AS name FROM change WHERE kind = 'purge' AND run_id = %s", report.run
    )
    assert sorted(row["name"] for row in logged) == ["Pat Number0", "Pat Number1"]


def test_many_at_once_are_held_and_released_by_approval(office: Environment) -> None:
    """A clock that jumped makes everybody old at once: more than max_purge is held, listed, and none is forgotten."""
    office.configure(guard="max_purge = 1\nmax_removals_day = 1000\nmax_removals_week = 1000\n")
    later(office, timedelta(days=1000))

    report = use_cases.purge_source(office.settings, "corp")

    assert (report.outcome, report.held) == (Outcome.HELD, 2)
    assert "max_purge = 1" in report.reason
    assert known(office) == 10
    assert len(office.fetch_rows("SELECT 1 FROM held WHERE job = 'purge'")) == 2


def test_nobody_is_forgotten_while_the_source_does_not_answer(office: Environment) -> None:
    """Who might be back is kept until a read is complete again."""
    later(office, timedelta(days=100))
    office.configure(password_file="wrong-password")
    assert office.run().outcome is Outcome.INCOMPLETE

    assert use_cases.purge_source(office.settings, "corp").outcome is Outcome.HELD

    assert known(office) == 10


def test_old_history_is_forgotten_but_not_what_is_referred_to(office: Environment) -> None:
    """Runs and lines beyond history.retention go; the run that proved an absence stays as long as its contact does."""
    witness = office.fetch_rows("SELECT DISTINCT gone_run FROM contact_user WHERE state = 'removed'")[0]["gone_run"]
    later(office, timedelta(days=500))
    office.configure(lifecycle='grace = "0s"\ngrace_runs = 1\nretention = "900d"\n')
    last = office.run().run

    use_cases.purge_source(office.settings, "corp")

    assert office.fetch_rows("SELECT 1 FROM change") == []
    left = {row["id"] for row in office.fetch_rows("SELECT id FROM run WHERE source = 'corp' AND job = 'sync'")}
    assert left == {witness, last}


def test_the_command_purges_all_sources(office: Environment) -> None:
    """`syncd purge` does at once what the daemon does every night."""
    later(office, timedelta(days=91))
    for source in ("corp", "acd"):
        office.run(source)

    done = office.run_command("purge")

    assert done.returncode == 0, done.stderr + done.stdout
    assert known(office) == 8
