"""Undo on real servers: a run is taken back from the change log, under the guard, and nothing else is touched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.sync.plan import Change, Outcome, Report
from syncd.errors import NothingToUndo
from tests.environment import Environment

KEPT = ("name", "numbers", "user_name", "first_name", "last_name", "id", "name_folded", "search", "dialled")


def shape(env: Environment) -> dict[str, dict[str, Any]]:
    """What agents see, and what is searched."""
    return {name: {column: row[column] for column in KEPT} for name, row in env.served_contacts().items()}


@pytest.fixture
def office(env: Environment) -> Environment:
    """Five people who were synced once."""
    for number in range(5):
        env.branch.add(f"u{number}", "Pat", f"Number{number}", telephoneNumber=f"555 010{number}")
    env.run()
    return env


def test_a_bad_mapping_is_taken_back(office: Environment) -> None:
    """A run that scrambled every name: undone, the directory equals what it was before, search columns included."""
    before = shape(office)
    scramble(office)
    bad = office.run()
    assert bad.counts.changed == 5
    assert shape(office) != before

    undone = use_cases.undo_run(office.settings, bad.run or 0)

    assert undone.outcome is Outcome.COMPLETED
    assert undone.counts.changed == 5
    assert shape(office) == before
    assert office.fetch_rows("SELECT job, undone FROM run ORDER BY id DESC LIMIT 1") == [
        {"job": "undo", "undone": bad.run}
    ]


def scramble(env: Environment) -> None:
    """Map the names so that every contact changes."""
    text = env.config_file.read_text()
    at = text.index("[source.guard]")
    env.config_file.write_text(
        text[:at] + '[source.map]\nname = "{sn} of the wrong column"\nuserName = "uid"\n' + text[at:]
    )


def test_the_next_sync_reads_again_what_was_undone(office: Environment) -> None:
    """An undone change comes back with the next sync if its cause is still there, and stays undone if it is mended."""
    scramble(office)
    bad = office.run()
    use_cases.undo_run(office.settings, bad.run or 0)

    assert office.run().counts.changed == 5
    office.configure()
    mended = office.run()
    assert mended.counts.changed == 5
    assert "Pat Number0" in office.served_contacts()


def test_additions_leave_and_removals_return_with_their_ids(office: Environment) -> None:
    """Undo of a run that added one and removed one: the one is gone again, the other back with its id."""
    before = shape(office)
    office.branch.remove(f"uid=u1,{office.branch.base}")
    office.branch.add("new", "Nina", "New")
    moved = office.run()
    assert "Nina New" in office.served_contacts()

    undone = use_cases.undo_run(office.settings, moved.run or 0)

    assert (undone.counts.added, undone.counts.removed) == (1, 1)
    assert shape(office) == before
    gone = office.fetch_rows("SELECT state, gone_run FROM contact WHERE name = 'Nina New'")
    assert gone == [{"state": "removed", "gone_run": moved.run}]


def test_what_changed_since_is_kept(office: Environment) -> None:
    """A member that a later run changed keeps its later value; the others go back."""
    dn = f"uid=u0,{office.branch.base}"
    office.branch.change(dn, telephoneNumber="1", sn="First")
    bad = office.run()
    office.branch.change(dn, telephoneNumber="2")
    office.run()

    use_cases.undo_run(office.settings, bad.run or 0)

    row = office.served_contacts()["Pat Number0"]
    assert row["numbers"] == [{"phoneNumber": "2", "description": "telephoneNumber"}]
    assert row["last_name"] == "Number0"


def test_undo_is_held_by_the_same_guard_and_released_by_the_same_approval(office: Environment) -> None:
    """Undoing a first load would empty the directory: nobody leaves until a person says so."""
    first = office.fetch_rows("SELECT min(id) AS id FROM run")[0]["id"]

    held = use_cases.undo_run(office.settings, first)

    assert held.outcome is Outcome.HELD
    assert held.held == 5
    assert len(office.served_contacts()) == 5
    assert {row["job"] for row in office.fetch_rows("SELECT job FROM held")} == {"undo"}


def test_custom_contacts_are_in_no_undo(office: Environment) -> None:
    """What people wrote by hand is as it was, byte for byte."""
    with psycopg.connect(office.database_url) as connection:
        connection.execute(
            "INSERT INTO contact_custom (type, name, name_folded, search) VALUES ('Custom', 'Taxi', 'taxi', '')"
        )
    before = office.fetch_rows("SELECT xmin::text, * FROM contact_custom")
    scramble(office)
    bad = office.run()

    use_cases.undo_run(office.settings, bad.run or 0)

    assert office.fetch_rows("SELECT xmin::text, * FROM contact_custom") == before


def test_a_planned_undo_is_exactly_that_or_nothing(office: Environment) -> None:
    """A plan of an undo is applied when it still fits, and refused with what moved when it does not."""
    scramble(office)
    bad = office.run()
    planned: list[Change] = []

    def keep(_report: Report, changes: Iterator[Change]) -> None:
        planned.extend(changes)

    shown = use_cases.plan_undo(office.settings, bad.run or 0, keep)
    assert len(planned) == shown.counts.changed == 5
    moved = use_cases.apply_undo(office.settings, bad.run or 0, planned[1:])
    assert moved.outcome is Outcome.FAILED
    assert "was not planned" in moved.reason
    assert "Number0 of the wrong column" in office.served_contacts()

    assert use_cases.apply_undo(office.settings, bad.run or 0, planned).outcome is Outcome.COMPLETED
    assert "Pat Number0" in office.served_contacts()


def test_an_undo_can_be_undone(office: Environment) -> None:
    """Taking back the taking back gives what the run had made."""
    scramble(office)
    bad = office.run()
    after = shape(office)
    undone = use_cases.undo_run(office.settings, bad.run or 0)

    use_cases.undo_run(office.settings, undone.run or 0)

    assert shape(office) == after


def test_a_run_that_changed_nothing_cannot_be_undone(office: Environment) -> None:
    """No such run, a run without changes: a sentence each, and no contact is written."""
    nothing = office.run()
    with pytest.raises(NothingToUndo, match="there is no run 9999"):
        use_cases.undo_run(office.settings, 9999)

    refused = use_cases.undo_run(office.settings, nothing.run or 0)

    assert refused.outcome is Outcome.FAILED
    assert "changed no contact" in refused.reason


def test_the_command_takes_back_or_plans(office: Environment, tmp_path: Path) -> None:
    """`syncd undo RUN` does it; with --out it only writes the plan, which `syncd apply` does."""
    before = shape(office)
    scramble(office)
    bad = office.run().run
    file = tmp_path / "undo.json"

    planned = office.run_command("undo", str(bad), "--out", str(file))
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("~ ") == 5
    assert shape(office) != before

    applied = office.run_command("apply", str(file))
    assert applied.returncode == 0, applied.stderr + applied.stdout
    assert shape(office) == before
    assert office.run_command("undo", "999").returncode == 1
