"""The guard: limits of removals in one run."""

from syncd.core.sync.plan import Outcome
from tests.records import Records, configure_guard


def test_removals_above_the_limit_are_all_held(records: Records) -> None:
    """Of 200 contacts with a limit of 5 %: 11 removals are held, other changes are applied; 10 are removed."""
    records.load(range(200))
    configure_guard(records.env, max_removals='"5%"')
    ids = {records.name(n): str(records.contact(n)["id"]) for n in range(11)}
    records.remove(*range(11))
    records.add(300, 301)
    records.change(50, 51, 52, to="new")

    report = records.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 11)
    assert (report.counts.added, report.counts.changed) == (2, 3)
    assert (report.counts.missing, report.counts.removed, report.active_removed) == (0, 0, 0)
    assert records.served() == records.names([*range(200), 300, 301])
    assert [records.contact(n)[records.column] for n in (50, 51, 52)] == ["new"] * 3
    held = records.held_items()
    assert {row["name"]: row["item"] for row in held} == ids
    assert {row["source_key"] for row in held} == {records.key(n) for n in range(11)}
    assert {(row["run_id"], row["code"]) for row in held} == {(report.run, "volume")}
    assert all("11 of 200 contacts would leave, at most 10 may" in row["reason"] for row in held)
    stored = records.env.fetch_rows("SELECT * FROM run WHERE id = %s", report.run)[0]
    assert (stored["outcome"], stored["held"], stored["complete"], stored["settled"]) == ("held", 11, True, False)

    records.add(10)
    report = records.run()

    assert (report.outcome, report.counts.removed, report.held) == (Outcome.COMPLETED, 10, 0)
    assert records.served() == records.names([*range(10, 200), 300, 301])
    assert records.held_items() == []


def test_a_small_source_has_an_absolute_limit(records: Records) -> None:
    """Below min_population the share is not used: three removals are applied, four are held."""
    records.load(range(12))
    configure_guard(records.env, max_removals='"5%"')
    records.remove(0, 1, 2, 3)
    assert records.run().held == 4
    records.add(3)
    assert records.run().counts.removed == 3


def test_a_removal_held_again_keeps_its_first_time(records: Records) -> None:
    """The list of the next run replaces the last one; an item on both keeps `since`."""
    records.load(range(10))
    configure_guard(records.env, max_removals=1)
    records.remove(0, 1)
    first = records.run()
    before = {row["name"]: row["since"] for row in records.held_items()}
    records.remove(2)

    second = records.run()

    after = records.held_items()
    assert {row["run_id"] for row in after} == {second.run}
    assert first.run != second.run
    assert {row["name"]: row["since"] for row in after if row["name"] in before} == before
    assert len(after) == 3
