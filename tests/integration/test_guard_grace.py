"""The life cycle: missing, removed, returned."""

import psycopg
import pytest

from syncd.core.sync.plan import Outcome
from tests.records import GRACE, HOUR, Records, configure_guard


@pytest.mark.parametrize("shown", [True, False])
def test_a_removal_requires_both_the_time_and_the_runs_of_the_grace(records: Records, shown: bool) -> None:
    """Three runs within the hour remove nothing, nor do two after it; missing contacts are shown or hidden as set."""
    missing = f'missing = "{"show" if shown else "hide"}"\n'
    configure_guard(records.env, lifecycle=GRACE + missing)
    records.load(range(10))
    records.remove(0, 1)

    first = records.run()
    assert (first.outcome, first.counts.missing, first.counts.removed) == (Outcome.COMPLETED, 2, 0)
    assert records.served() == records.names(range(0 if shown else 2, 10))
    for _ in range(3):
        assert records.run().counts.removed == 0
    assert records.states(0, 1) == ["missing", "missing"]
    records.remove(2)
    records.run()
    records.shift_history(2 * HOUR)

    second = records.run()

    assert (second.counts.removed, records.states(0, 1, 2)) == (2, ["removed", "removed", "missing"])
    third = records.run()
    assert (third.counts.removed, records.states(2)) == (1, ["removed"])
    assert records.served() == records.names(range(3, 10))
    assert records.change_kinds(0) == ["add", "miss", "remove"]


def test_a_grace_may_be_of_runs_or_of_time_alone(records: Records) -> None:
    """Without time the second run removes; with one run the first one after the hour does."""
    configure_guard(records.env, lifecycle='grace = "0s"\ngrace_runs = 2\n')
    records.load(range(10))
    records.remove(0)
    assert records.run().counts.missing == 1
    assert records.run().counts.removed == 1
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.remove(1)
    assert records.run().counts.missing == 1
    assert records.run().counts.removed == 0
    records.shift_history(2 * HOUR)
    assert records.run().counts.removed == 1


def test_runs_without_proof_do_not_count_for_the_grace(records: Records) -> None:
    """After incomplete runs, and after runs that hold all removals, the grace is where it was."""
    configure_guard(records.env, lifecycle=GRACE, max_removals=3)
    records.load(range(10))
    records.remove(0)
    records.run()
    records.shift_history(2 * HOUR)
    for _ in range(2):
        configure_guard(records.env, lifecycle=GRACE, max_removals=3, **records.unreachable_settings())
        assert records.run().outcome is Outcome.INCOMPLETE
    configure_guard(records.env, lifecycle=GRACE, max_removals=3)
    records.remove(1, 2, 3, 4)
    for _ in range(3):
        held = records.run()
        assert (held.outcome, held.held, held.absences_confirmed) == (Outcome.HELD, 4, False)
        assert records.states(0) == ["missing"]
    records.add(1, 2, 3, 4)

    assert (records.run().counts.removed, records.states(0)) == (0, ["missing"])  # the second run that counts
    assert (records.run().counts.removed, records.states(0)) == (1, ["removed"])


def test_a_contact_that_returns_keeps_its_id(records: Records) -> None:
    """While missing and after the removal it is the same contact; the change log has every step."""
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.load(range(5))
    born = records.contact(0)["id"]
    records.remove(0)
    gone = records.run()
    assert records.contact(0)["gone_run"] == gone.run
    records.add(0)
    back = records.run()
    assert (back.counts.added, records.contact(0)["gone_run"]) == (1, None)
    records.remove(0)
    records.run()
    records.shift_history(2 * HOUR)
    assert records.run().counts.removed == 1
    assert records.contact(0)["served"] is False
    records.add(0)

    assert records.run().counts.added == 1
    row = records.contact(0)
    assert (row["id"], row["state"], row["served"]) == (born, "active", True)
    assert records.change_kinds(0) == ["add", "miss", "return", "miss", "remove", "return"]


@pytest.mark.parametrize("state", ["missing", "removed"])
@pytest.mark.parametrize("proof", ["nothing", "an incomplete run", "no such run"])
def test_postgresql_rejects_an_absence_without_a_complete_run(records: Records, state: str, proof: str) -> None:
    """The role of the sync cannot set a contact missing or removed without the number of a complete run."""
    records.load(range(2))
    configure_guard(records.env, **records.unreachable_settings())
    incomplete = records.run()
    number = {"nothing": None, "an incomplete run": incomplete.run, "no such run": 10_000}[proof]
    table = "contact_user" if records.type == "User" else "contact_queue"
    with psycopg.connect(records.env.database_url, options="-c role=syncd_sync") as connection:
        refused = psycopg.errors.CheckViolation if number is None else psycopg.errors.ForeignKeyViolation
        with pytest.raises(refused):
            connection.execute(f"UPDATE {table} SET state = %s, gone_run = %s", (state, number))
        connection.rollback()
        connection.execute(f"UPDATE {table} SET state = %s, gone_run = (SELECT id FROM run WHERE complete)", (state,))
        with pytest.raises(psycopg.errors.ForeignKeyViolation):  # nor can that run be deleted
            connection.execute("DELETE FROM run WHERE complete")
