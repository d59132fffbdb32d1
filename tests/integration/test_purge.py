"""Purge: contacts removed longer ago than the retention are deleted, within the limits of its guard."""

from datetime import timedelta

import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.sync.plan import Outcome
from tests.environment import Environment


@pytest.fixture
def removed_two(env: Environment) -> Environment:
    """Ten synced users, two of them removed."""
    env.configure(max_removals=100)
    for number in range(10):
        env.branch.add(f"u{number}", "Pat", f"Number{number}")
    env.run()
    for number in range(2):
        env.branch.remove(f"uid=u{number},{env.branch.base}")
    env.run()
    return env


def advance(env: Environment, time: timedelta) -> None:
    """Make contacts, runs and change log older."""
    with psycopg.connect(env.database_url) as connection:
        connection.execute("UPDATE contact_user SET state_since = state_since - %s", (time,))
        connection.execute("UPDATE run SET started_at = started_at - %s", (time,))
        connection.execute("UPDATE change SET at = at - %s", (time,))


def count_users(env: Environment) -> int:
    """Return the number of stored users, in any state."""
    return len(env.fetch_rows("SELECT 1 FROM contact_user"))


def test_removed_contacts_are_purged_after_the_retention(removed_two: Environment) -> None:
    """Before it they are stored; after it they are deleted, and the change log names the run."""
    advance(removed_two, timedelta(days=89))
    assert use_cases.purge_source(removed_two.settings, "corp").counts.purged == 0
    assert count_users(removed_two) == 10

    advance(removed_two, timedelta(days=2))
    report = use_cases.purge_source(removed_two.settings, "corp")

    assert (report.outcome, report.counts.purged) == (Outcome.COMPLETED, 2)
    assert count_users(removed_two) == 8
    changes = removed_two.fetch_rows(
        "SELECT old->>'name' AS name FROM change WHERE kind = 'purge' AND run_id = %s", report.run
    )
    assert sorted(row["name"] for row in changes) == ["Pat Number0", "Pat Number1"]


def test_purge_above_the_limit_is_held(removed_two: Environment) -> None:
    """After a clock jump more contacts than max_purge are due: they are held and listed, and none is deleted."""
    removed_two.configure(guard="max_purge = 1\nmax_removals_day = 1000\nmax_removals_week = 1000\n")
    advance(removed_two, timedelta(days=1000))

    report = use_cases.purge_source(removed_two.settings, "corp")

    assert (report.outcome, report.held) == (Outcome.HELD, 2)
    assert "max_purge = 1" in report.reason
    assert count_users(removed_two) == 10
    assert len(removed_two.fetch_rows("SELECT 1 FROM held WHERE job = 'purge'")) == 2


def test_nothing_is_purged_after_an_incomplete_read(removed_two: Environment) -> None:
    """Removed contacts are kept until a read is complete again."""
    advance(removed_two, timedelta(days=100))
    removed_two.configure(password_file="wrong-password")
    assert removed_two.run().outcome is Outcome.INCOMPLETE

    assert use_cases.purge_source(removed_two.settings, "corp").outcome is Outcome.HELD

    assert count_users(removed_two) == 10


def test_old_history_is_pruned_except_referenced_runs(removed_two: Environment) -> None:
    """Runs and changes older than history.retention are deleted; the run that proves an absence stays."""
    proof_run = removed_two.fetch_rows("SELECT DISTINCT gone_run FROM contact_user WHERE state = 'removed'")[0][
        "gone_run"
    ]
    advance(removed_two, timedelta(days=500))
    removed_two.configure(lifecycle='grace = "0s"\ngrace_runs = 1\nretention = "900d"\n')
    last = removed_two.run().run

    use_cases.purge_source(removed_two.settings, "corp")

    assert removed_two.fetch_rows("SELECT 1 FROM change") == []
    remaining = {
        row["id"] for row in removed_two.fetch_rows("SELECT id FROM run WHERE source = 'corp' AND job = 'sync'")
    }
    assert remaining == {proof_run, last}


def test_command_purges_all_sources(removed_two: Environment) -> None:
    """`syncd purge` purges all sources, as the daemon does every night."""
    advance(removed_two, timedelta(days=91))
    for source in ("corp", "acd"):
        removed_two.run(source)

    result = removed_two.run_command("purge")

    assert result.returncode == 0, result.stderr + result.stdout
    assert count_users(removed_two) == 8
