"""The guard: limits of removals in 24 hours and in 7 days."""

from datetime import timedelta

from syncd.core.sync.plan import Outcome
from tests.records import Records, configure_guard


def test_small_removals_are_held_at_the_limits_of_the_windows(records: Records) -> None:
    """In 40 runs of 1 % each, 10 removals in 24 hours and 15 in 7 days are applied, and no more."""
    records.load(range(100))
    windows = 'max_removals_day = "10%"\nmax_removals_week = "15%"\n'
    configure_guard(records.env, guard=windows)
    results = []
    for n in range(40):
        if n == 20:
            records.add(*range(10, 20))
            assert records.run().outcome is Outcome.COMPLETED
            records.shift_history(timedelta(hours=25))
        records.remove(n)
        report = records.run()
        results.append(report.reason if report.held else report.counts.removed)

    assert results[:10] + results[20:25] == [1] * 15
    day, week = results[10:20], results[25:]
    assert all("10 have left already, at most 10 may in 24 hours (max_removals_day" in str(reason) for reason in day)
    assert all("15 have left already, at most 15 may in 7 days (max_removals_week" in str(reason) for reason in week)
    assert records.served() == records.names([*range(10, 20), *range(25, 100)])
    assert records.held_names() == records.names(range(25, 40))


def test_approved_removals_do_not_count_in_the_windows(records: Records) -> None:
    """After 5 ordinary and 10 approved removals, 4 more are applied within a limit of 10."""
    records.load(range(100))
    configure_guard(records.env, guard='max_removals_day = "10%"\nmax_removals_week = "100%"\n')
    records.remove(*range(5))
    assert records.run().counts.removed == 5
    records.remove(*range(5, 15))
    held = records.run()
    records.approve(held.run)
    released = records.run()
    assert (released.counts.removed, released.active_removed) == (10, 0)
    records.remove(*range(15, 19))

    report = records.run()

    assert (report.outcome, report.counts.removed) == (Outcome.COMPLETED, 4)
