"""Undo: a run is reversed from the change log, within the limits of the guard, and nothing else changes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.sync.plan import Change, JobKind, Outcome, Report
from syncd.errors import NothingToUndo
from syncd.store.connection.engine import Role, open_engine
from syncd.store.run.writer import open_writer
from tests.environment import Environment

COMPARED_COLUMNS = ("name", "numbers", "user_name", "first_name", "last_name", "id", "name_folded", "search", "dialled")


def contacts_by_name(env: Environment) -> dict[str, dict[str, Any]]:
    """Return the compared columns of the served contacts, by name."""
    return {name: {column: row[column] for column in COMPARED_COLUMNS} for name, row in env.served_contacts().items()}


@pytest.fixture
def synced_five(env: Environment) -> Environment:
    """Five users, synced once."""
    for number in range(5):
        env.branch.add(f"u{number}", "Pat", f"Number{number}", telephoneNumber=f"555 010{number}")
    env.run()
    return env


def test_bad_mapping_is_reversed(synced_five: Environment) -> None:
    """After the undo of a run that changed every name, all contacts are as before, search columns included."""
    before = contacts_by_name(synced_five)
    scramble(synced_five)
    bad = synced_five.run()
    assert bad.counts.changed == 5
    assert contacts_by_name(synced_five) != before

    undone = use_cases.undo_run(synced_five.settings, bad.run or 0)

    assert undone.outcome is Outcome.COMPLETED
    assert undone.counts.changed == 5
    assert contacts_by_name(synced_five) == before
    assert synced_five.fetch_rows("SELECT job, undone FROM run ORDER BY id DESC LIMIT 1") == [
        {"job": "undo", "undone": bad.run}
    ]


def scramble(env: Environment) -> None:
    """Set a mapping that changes the name of every contact."""
    text = env.config_file.read_text()
    position = text.index("[source.guard]")
    env.config_file.write_text(
        text[:position] + '[source.map]\nname = "{sn} of the wrong column"\nuserName = "uid"\n' + text[position:]
    )


def test_next_sync_reads_undone_contacts_again(synced_five: Environment) -> None:
    """An undone change reappears with the next sync while its cause persists, and is reversed after its correction."""
    scramble(synced_five)
    bad = synced_five.run()
    use_cases.undo_run(synced_five.settings, bad.run or 0)

    assert synced_five.run().counts.changed == 5
    synced_five.configure()
    corrected = synced_five.run()
    assert corrected.counts.changed == 5
    assert "Pat Number0" in synced_five.served_contacts()


def test_additions_leave_and_removals_return_with_their_ids(synced_five: Environment) -> None:
    """Undo of an addition and a removal removes the one contact and restores the other with its id."""
    before = contacts_by_name(synced_five)
    synced_five.branch.remove(f"uid=u1,{synced_five.branch.base}")
    synced_five.branch.add("new", "Nina", "New")
    moved = synced_five.run()
    assert "Nina New" in synced_five.served_contacts()

    undone = use_cases.undo_run(synced_five.settings, moved.run or 0)

    assert (undone.counts.added, undone.counts.removed) == (1, 1)
    assert contacts_by_name(synced_five) == before
    rows = synced_five.fetch_rows("SELECT state, gone_run FROM contact WHERE name = 'Nina New'")
    assert rows == [{"state": "removed", "gone_run": moved.run}]


def test_later_changes_are_kept(synced_five: Environment) -> None:
    """A member that a later run changed keeps that value; the others are reversed."""
    dn = f"uid=u0,{synced_five.branch.base}"
    synced_five.branch.change(dn, telephoneNumber="1", sn="First")
    bad = synced_five.run()
    synced_five.branch.change(dn, telephoneNumber="2")
    synced_five.run()

    use_cases.undo_run(synced_five.settings, bad.run or 0)

    row = synced_five.served_contacts()["Pat Number0"]
    assert row["numbers"] == [{"phoneNumber": "2", "description": "telephoneNumber"}]
    assert row["last_name"] == "Number0"


def test_undo_is_held_by_the_guard(synced_five: Environment) -> None:
    """The undo of a first load would remove all contacts: they are held."""
    first = synced_five.fetch_rows("SELECT min(id) AS id FROM run")[0]["id"]

    held = use_cases.undo_run(synced_five.settings, first)

    assert held.outcome is Outcome.HELD
    assert held.held == 5
    assert len(synced_five.served_contacts()) == 5
    assert {row["job"] for row in synced_five.fetch_rows("SELECT job FROM held")} == {"undo"}


def test_undo_does_not_touch_custom_contacts(synced_five: Environment) -> None:
    """The rows of Custom contacts are not written."""
    with psycopg.connect(synced_five.database_url) as connection:
        connection.execute(
            "INSERT INTO contact_custom (type, name, name_folded, search) VALUES ('Custom', 'Taxi', 'taxi', '')"
        )
    before = synced_five.fetch_rows("SELECT xmin::text, * FROM contact_custom")
    scramble(synced_five)
    bad = synced_five.run()

    use_cases.undo_run(synced_five.settings, bad.run or 0)

    assert synced_five.fetch_rows("SELECT xmin::text, * FROM contact_custom") == before


def test_planned_undo_is_applied_exactly_or_not_at_all(synced_five: Environment) -> None:
    """A planned undo is applied if it still matches; otherwise the run fails and names the differences."""
    scramble(synced_five)
    bad = synced_five.run()
    planned: list[Change] = []

    def save(_report: Report, changes: Iterator[Change]) -> None:
        planned.extend(changes)

    dry_run = use_cases.plan_undo(synced_five.settings, bad.run or 0, save)
    assert len(planned) == dry_run.counts.changed == 5
    mismatch = use_cases.apply_undo(synced_five.settings, bad.run or 0, planned[1:])
    assert mismatch.outcome is Outcome.FAILED
    assert "was not planned" in mismatch.reason
    assert "Number0 of the wrong column" in synced_five.served_contacts()

    assert use_cases.apply_undo(synced_five.settings, bad.run or 0, planned).outcome is Outcome.COMPLETED
    assert "Pat Number0" in synced_five.served_contacts()


def test_undo_can_be_undone(synced_five: Environment) -> None:
    """The undo of an undo restores the result of the run."""
    scramble(synced_five)
    bad = synced_five.run()
    after = contacts_by_name(synced_five)
    undone = use_cases.undo_run(synced_five.settings, bad.run or 0)

    use_cases.undo_run(synced_five.settings, undone.run or 0)

    assert contacts_by_name(synced_five) == after


def test_run_without_changes_cannot_be_undone(synced_five: Environment) -> None:
    """An unknown run and a run without changes are rejected with a reason, and no contact is written."""
    unchanged = synced_five.run()
    with pytest.raises(NothingToUndo, match="there is no run 9999"):
        use_cases.undo_run(synced_five.settings, 9999)

    rejected = use_cases.undo_run(synced_five.settings, unchanged.run or 0)

    assert rejected.outcome is Outcome.FAILED
    assert "changed no contact" in rejected.reason


def test_command_undoes_or_plans(synced_five: Environment, tmp_path: Path) -> None:
    """`syncd undo RUN --out` only writes the plan, which `syncd apply` applies."""
    before = contacts_by_name(synced_five)
    scramble(synced_five)
    bad = synced_five.run().run
    file = tmp_path / "undo.json"

    planned = synced_five.run_command("undo", str(bad), "--out", str(file))
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("~ ") == 5
    assert contacts_by_name(synced_five) != before

    applied = synced_five.run_command("apply", str(file))
    assert applied.returncode == 0, applied.stderr + applied.stdout
    assert contacts_by_name(synced_five) == before
    assert synced_five.run_command("undo", "999").returncode == 1


def log_lines(env: Environment, *words: str) -> list[dict[str, Any]]:
    """Run a command that fails; return its log lines."""
    result = env.run_command(*words)
    assert result.returncode == 1, result.stdout
    return [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]


def assert_last_sync_counts(env: Environment, outcome: Outcome) -> None:
    """The health is that of the last sync, whatever other jobs ended in."""
    document = json.loads(env.run_command("status", "--json").stdout)
    source = next(source for source in document["sources"] if source["name"] == "corp")
    assert (source["outcome"], source["stale"]) == (outcome, False)


def test_refused_undo_is_no_failed_sync(synced_five: Environment) -> None:
    """A run without changes cannot be undone: row, report and log line have the job `undo`, and health is ok."""
    unchanged = synced_five.run()

    report = use_cases.undo_run(synced_five.settings, unchanged.run or 0)
    lines = log_lines(synced_five, "undo", str(unchanged.run))

    assert (report.job, report.outcome) == ("undo", Outcome.FAILED)
    assert [(line["event"], line["job"], line["source"]) for line in lines] == [("sync.failed", "undo", "corp")]
    assert (
        synced_five.fetch_rows("SELECT job, outcome FROM run ORDER BY id DESC LIMIT 2")
        == [{"job": "undo", "outcome": "failed"}] * 2
    )
    assert_last_sync_counts(synced_five, Outcome.COMPLETED)


def test_outdated_plan_of_an_undo_is_no_failed_sync(synced_five: Environment, tmp_path: Path) -> None:
    """`syncd apply` of an undo whose changes are not those of the plan: the job is `undo`."""
    scramble(synced_five)
    bad = synced_five.run().run
    file = tmp_path / "undo.json"
    synced_five.run_command("undo", str(bad), "--out", str(file))
    use_cases.undo_run(synced_five.settings, bad or 0)

    line = log_lines(synced_five, "apply", str(file))[-1]

    assert (line["event"], line["job"], line["source"]) == ("sync.failed", "undo", "corp")
    assert synced_five.fetch_rows("SELECT job, outcome FROM run ORDER BY id DESC LIMIT 1") == [
        {"job": "undo", "outcome": "failed"}
    ]
    assert_last_sync_counts(synced_five, Outcome.HELD)


@pytest.mark.parametrize("job", ["undo", "purge"])
def test_skipped_and_crashed_jobs_keep_their_kind(synced_five: Environment, job: JobKind) -> None:
    """While another run holds the source the log line has the job; so has the row of a run that crashed."""
    run = synced_five.run().run
    words = {"undo": ["undo", str(run)], "purge": ["purge", "corp"]}[job]
    with open_writer(open_engine(synced_five.settings.database, Role.SYNC), "corp", "User", job) as other:
        crashed = other.claim()
        result = synced_five.run_command(*words)

    line = json.loads(result.stderr.splitlines()[-1])
    assert (result.returncode, line["event"], line["job"], line["source"]) == (75, "sync.skipped", job, "corp")
    assert synced_five.run().outcome is Outcome.COMPLETED
    assert synced_five.fetch_rows("SELECT job, outcome FROM run WHERE id = %s", crashed) == [
        {"job": job, "outcome": "crashed"}
    ]
    assert_last_sync_counts(synced_five, Outcome.COMPLETED)
