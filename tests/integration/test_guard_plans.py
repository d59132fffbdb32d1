"""Plans: a plan is applied exactly as shown, or not at all."""

from syncd.app import use_cases
from syncd.core.sync.plan import Change, Outcome, Report
from tests.records import Records, configure_guard


def plan_source(records: Records) -> tuple[Report, list[Change]]:
    """Return the report and the changes of a plan."""
    plans: list[tuple[Report, list[Change]]] = []
    use_cases.plan_source(
        records.env.settings, records.source, lambda report, changes: plans.append((report, list(changes)))
    )
    return plans[0]


def prepare_changes(records: Records) -> None:
    """Load records, then make changes of each kind."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1)
    records.change(2, 3, to="new")
    records.add(40)


def apply_plan(records: Records, changes: list[Change]) -> Report:
    return use_cases.apply_plan(records.env.settings, records.source, changes)


def test_a_plan_is_applied_as_shown(records: Records) -> None:
    """The change log and the directory have exactly the changes of the plan."""
    prepare_changes(records)
    before = records.env.dump_tables()
    report, changes = plan_source(records)
    assert records.env.dump_tables() == before
    assert report.counts.removed == 2

    applied = apply_plan(records, changes)

    assert applied.outcome is Outcome.COMPLETED
    logged = {(row["kind"], row["source_key"]) for row in records.changes_of(applied.run)}
    assert logged == {(change.kind, change.key) for change in changes}
    for row in records.changes_of(applied.run):
        change = next(change for change in changes if (change.kind, change.key) == (row["kind"], row["source_key"]))
        differing = {m for m in change.old.keys() | change.new.keys() if change.old.get(m) != change.new.get(m)}
        assert row["old"] == {m: v for m, v in change.old.items() if m in differing}
        assert row["new"] == {m: v for m, v in change.new.items() if m in differing}
    assert records.run().revision is None


def test_a_plan_is_rejected_when_the_source_has_changed(records: Records) -> None:
    """One entry differs: the run fails, names it and both values, and changes nothing."""
    prepare_changes(records)
    _, changes = plan_source(records)
    records.change(2, to="newer")
    stored = records.dump_directory()

    report = apply_plan(records, changes)

    assert report.outcome is Outcome.FAILED
    assert records.name(2) in report.reason
    assert "'new'" in report.reason
    assert "'newer'" in report.reason
    assert records.name(3) not in report.reason
    assert records.dump_directory() == stored


def test_a_plan_is_rejected_when_the_directory_has_changed(records: Records) -> None:
    """A row was modified, or the plan was applied already: the run fails, names the contact, changes nothing."""
    prepare_changes(records)
    _, changes = plan_source(records)
    records.execute(f"UPDATE contact SET {records.column} = 'odd' WHERE name = %s", records.name(3))
    stored = records.dump_directory()
    report = apply_plan(records, changes)
    assert (report.outcome, records.dump_directory()) == (Outcome.FAILED, stored)
    assert records.name(3) in report.reason
    assert "'odd'" in report.reason

    records.run()
    stored = records.dump_directory()
    report = apply_plan(records, changes)

    assert (report.outcome, records.dump_directory()) == (Outcome.FAILED, stored)
    assert "no longer due" in report.reason


def test_a_plan_is_rejected_when_the_guard_decides_otherwise(records: Records) -> None:
    """The removals are held by a lower limit now, or released by an approval."""
    prepare_changes(records)
    _, changes = plan_source(records)
    configure_guard(records.env, max_removals=1)
    report = apply_plan(records, changes)
    assert report.outcome is Outcome.FAILED
    assert "remove is now held" in report.reason

    _, changes = plan_source(records)
    held = records.run()
    records.approve(held.run)
    report = apply_plan(records, changes)

    assert report.outcome is Outcome.FAILED
    assert records.latest_approval()["used_by"] is None
    assert records.run().counts.removed == 2
