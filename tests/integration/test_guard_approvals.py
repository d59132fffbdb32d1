"""Decisions of an operator: approvals and rejections of held removals."""

from syncd.core.sync.plan import Outcome
from tests.records import HOUR, Records, configure_guard, run_interrupted


def test_an_approval_releases_its_list_once(records: Records) -> None:
    """The next run removes exactly the held contacts, records who approved it, and the approval is used up."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2, lifecycle='grace = "24h"\ngrace_runs = 3\n')
    records.remove(0, 1, 2)
    held = records.run()
    records.approve(held.run)

    report = records.run()

    assert (report.outcome, report.counts.removed, report.approved) == (Outcome.COMPLETED, 3, held.run)
    assert records.states(0, 1, 2) == ["removed"] * 3  # without a grace
    assert "approved by ann" in report.reason
    assert {row["reason"] for row in records.changes_of(report.run)} == {"approved by ann"}
    assert (records.latest_approval()["used_by"], records.latest_approval()["void"]) == (report.run, None)
    assert (records.held_items(), report.absences_confirmed, report.active_removed) == ([], True, 0)

    records.add(0, 1, 2)
    assert records.run().counts.added == 3
    records.remove(0, 1, 2)
    again = records.run()
    assert (again.outcome, again.held, again.approved) == (Outcome.HELD, 3, None)


def test_an_approval_of_another_list_is_void(records: Records) -> None:
    """After one more removal nothing is released, and the report says so; a new approval is required."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run)
    records.remove(3)

    report = records.run()

    assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 4, 0)
    assert "3 removals were approved, now 4 are held" in report.reason
    assert "3 removals were approved" in records.latest_approval()["void"]
    records.add(3)
    assert records.run().held == 3


def test_an_approval_without_held_removals_is_void(records: Records) -> None:
    """The records returned, so the approval does not apply to a later list."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run)
    records.add(0, 1, 2)
    assert records.run().outcome is Outcome.COMPLETED
    assert "nothing is held any more" in records.latest_approval()["void"]
    records.remove(0, 1, 2)

    assert records.run().held == 3


def test_an_expired_approval_releases_nothing(records: Records) -> None:
    """The list is held as without an approval."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run, expires="-1 second")

    report = records.run()

    assert (report.outcome, report.held, records.latest_approval()["used_by"]) == (Outcome.HELD, 3, None)


def test_an_approval_outlasts_an_incomplete_run(records: Records) -> None:
    """The source was unreachable in between and the list is the same, so the approval still applies."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run)
    configure_guard(records.env, max_removals=2, **records.unreachable_settings())
    assert records.run().outcome is Outcome.INCOMPLETE
    configure_guard(records.env, max_removals=2)

    assert records.run().counts.removed == 3


def test_rejected_removals_are_held_under_any_limit(records: Records) -> None:
    """They are not counted against the limit; when the records return, the decision is forgotten."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1, 2)
    records.run()
    records.execute("UPDATE held SET kept_by = 'ann', kept_at = now()")
    records.remove(3, 4)

    for removed in (2, 0):
        report = records.run()
        assert (report.outcome, report.counts.removed, report.counts.kept) == (Outcome.COMPLETED, removed, 3)
        assert "3 contacts stay because a person decided so" in report.reason
    assert {(row["name"], row["kept_by"], row["code"]) for row in records.held_items()} == {
        (records.name(n), "ann", "kept") for n in range(3)
    }
    assert records.states(0, 1, 2, 3, 4) == ["active"] * 3 + ["removed"] * 2

    records.add(0, 1, 2)
    records.run()
    assert records.held_items() == []
    configure_guard(records.env, max_removals=3)
    records.remove(0, 1, 2)
    assert records.run().counts.removed == 3


def test_a_removal_rejected_at_the_end_of_the_grace_is_held(records: Records) -> None:
    """A contact held as present stays missing after the rejection, although it is absent again."""
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.load(range(10))
    records.remove(0)
    records.run()
    records.shift_history(2 * HOUR)
    run_interrupted(records, lambda: records.add(0))
    assert records.held_names() == records.names([0])
    records.execute("UPDATE held SET kept_by = 'ann', kept_at = now()")
    records.remove(0)

    for _ in range(2):
        report = records.run()
        assert (report.outcome, report.counts.kept, records.states(0)) == (Outcome.COMPLETED, 1, ["missing"])
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n', max_removals=0)
    records.remove(1)
    assert records.run().held == 2
    assert [row["kept_by"] for row in records.held_items()] == ["ann", None]


def test_the_last_missing_contacts_of_an_empty_source_need_an_approval(records: Records) -> None:
    """With no other contact left, the end of the grace is held and listed; one approval is enough."""
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.load(range(3))
    records.remove(0)
    assert records.run().counts.missing == 1
    records.remove(1, 2)
    records.approve(records.run().run)
    assert records.run().counts.removed == 2
    records.shift_history(2 * HOUR)

    report = records.run()

    assert (report.outcome, report.held, records.held_items()[0]["code"]) == (Outcome.HELD, 1, "empty")
    assert records.states(0) == ["missing"]
    records.approve(report.run)
    assert (records.run().counts.removed, records.states(0)) == (1, ["removed"])
