"""Rejected records: quarantine, limits, duplicate keys."""

from typing import Any

import pytest

from syncd.core.sync.plan import Outcome
from tests.records import HOUR, Records, UserRecords, configure_guard


def rejected_rows(records: Records) -> list[dict[str, Any]]:
    return records.env.fetch_rows("SELECT * FROM reject WHERE source = %s ORDER BY source_key", records.source)


def test_a_rejected_record_is_quarantined(records: Records) -> None:
    """Other records are applied; it is listed with reason and values and keeps its row until it is repaired."""
    records.load(range(30))
    records.change(7, to="old")
    records.run()
    before = records.contact(7)
    records.invalidate(7)
    records.change(8, to="new")
    records.remove(9)

    report = records.run()

    assert (report.outcome, report.counts.changed, report.counts.removed) == (Outcome.COMPLETED, 1, 1)
    assert report.counts.rejected == 1
    assert [reject.key for reject in report.new_rejects] == [records.key(7)]
    (row,) = rejected_rows(records)
    assert (row["source_key"], row["run_id"]) == (records.key(7), report.run)
    assert "300 characters" in row["reason"]
    assert ["x" * 300] in row["record"].values()
    assert records.contact(7) == before

    records.repair(7)
    records.change(7, to="mended")
    mended = records.run()

    assert (mended.counts.changed, mended.counts.rejected, rejected_rows(records)) == (1, 0, [])
    assert records.contact(7)[records.column] == "mended"


def test_too_many_rejects_make_the_read_incomplete(records: Records) -> None:
    """With 7 of 29 no contact is changed, but the rejects are listed."""
    records.load(range(30))
    records.invalidate(*range(7))
    records.change(8, to="new")
    records.remove(9)
    rows = [row for row in records.dump_directory() if row["of"] != "reject"]

    report = records.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert "7 of 29 records cannot be mapped, at most 5 may be" in report.reason
    assert [row["source_key"] for row in rejected_rows(records)] == [records.key(n) for n in sorted(
        range(7), key=records.key)]  # fmt: skip
    assert [row for row in records.dump_directory() if row["of"] != "reject"] == rows


@pytest.mark.parametrize("many", [False, True])
def test_entries_with_a_duplicate_key_are_rejected_and_their_rows_stay(users: UserRecords, many: bool) -> None:
    """With one duplicate key both entries are rejected; with too many the read is incomplete, and each is listed."""
    configure_guard(users.env, ldap='key = "employeeNumber"')
    for n in range(20):
        users.add(n)
        users.branch.change(users.dn(n), employeeNumber=str(n))
    assert users.run().counts.added == 20
    twins = range(100, 110 if many else 101)
    for n in twins:
        users.add(n)
        users.branch.change(users.dn(n), employeeNumber=str(n - 100))
    users.remove(19)

    report = users.run()

    assert users.served() == users.names(range(20))
    listed = users.env.fetch_rows("SELECT DISTINCT source_key, reason FROM reject ORDER BY source_key")
    assert [row["source_key"] for row in listed] == sorted(str(n - 100) for n in twins)
    assert all("appears more than once" in row["reason"] for row in listed)
    assert report.outcome is (Outcome.INCOMPLETE if many else Outcome.HELD)
    assert [row["code"] for row in users.held_items()] == ([] if many else ["doubled"])
    users.remove(*twins)
    mended = users.run()
    assert (mended.outcome, mended.counts.removed, users.served()) == (Outcome.COMPLETED, 1, users.names(range(19)))


def test_a_contact_whose_key_was_overwritten_is_held(users: UserRecords) -> None:
    """Two entries have one key: both are rejected, and the contact of the overwritten key is not removed."""
    configure_guard(users.env, ldap='key = "employeeNumber"')
    users.add(*range(5))
    for n in range(5):
        users.branch.change(users.dn(n), employeeNumber=str(n))
    users.run()
    before = users.env.served_contacts()
    users.branch.change(users.dn(1), employeeNumber="2")

    report = users.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert users.held_names() == {users.name(1)}
    assert users.env.served_contacts() == before


def test_a_rejected_record_neither_returns_nor_removes_a_missing_contact(records: Records) -> None:
    """The entry exists, though its values are unknown: the contact stays missing beyond its grace."""
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.load(range(30))
    records.remove(0)
    records.run()
    records.shift_history(2 * HOUR)
    records.add(0)
    records.invalidate(0)

    report = records.run()

    assert (report.outcome, report.counts.removed, records.states(0)) == (Outcome.COMPLETED, 0, ["missing"])
