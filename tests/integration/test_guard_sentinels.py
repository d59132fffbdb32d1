"""The guard: records that every complete read must contain."""

from collections.abc import Callable

import pytest

from syncd.core.sync.plan import Outcome
from tests.records import OPEN_WINDOWS, Records, UserRecords, configure_guard


def number_sentinel(records: Records, n: int) -> str:
    """Return a sentinel by the number of a record, in another spelling than the source's."""
    return f'phoneNumber = "(+1) 555-{n:03}"'


SENTINELS: dict[str, Callable[[Records, int], str]] = {
    "name": lambda records, n: f'name = "{records.name(n)}"',
    "number": number_sentinel,
    "two members": lambda records, n: f'name = "{records.name(n)}", phoneNumber = "+1555{n:03}"',
}


@pytest.mark.parametrize("by", SENTINELS)
def test_a_read_without_its_sentinel_is_incomplete(records: Records, by: str) -> None:
    """With it all changes are applied; without it none, not even additions, and the reason names it."""
    sentinel = SENTINELS[by](records, 7)
    configure_guard(records.env, guard=f"{OPEN_WINDOWS}sentinel = [{{ {sentinel} }}]\n")
    records.load(range(10))
    records.remove(0)
    assert records.run().counts.removed == 1
    records.remove(7)
    records.add(20)
    stored = records.dump_directory()

    report = records.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert report.reason.startswith(f"the sentinel {sentinel} is not there, so the read is not trusted")
    assert records.dump_directory() == stored
    records.add(7)
    assert records.run().counts.added == 1


def test_a_read_with_too_few_contacts_is_incomplete(records: Records) -> None:
    """With a minimum of 8 a read of 7 is incomplete, also the first one."""
    configure_guard(records.env, guard=f"{OPEN_WINDOWS}sentinel = [{{ at_least = 8 }}]\n")
    records.add(*range(7))
    first = records.run()
    assert first.outcome is Outcome.INCOMPLETE
    assert "count of contacts was found 7 times, not 8" in first.reason
    records.load(range(7, 10))
    records.remove(0, 1)
    assert records.run().counts.removed == 2
    records.remove(2)
    assert "count of contacts was found 7 times, not 8" in records.run().reason


def test_a_sentinel_by_role_and_minimum(users: UserRecords) -> None:
    """At least two contacts with a role of several."""
    configure_guard(users.env, ldap='[source.map]\nname = "cn"\nroles = "title"\n')
    sentinel = (
        'sentinel = [{ roles = "guard", at_least = 2 }]\n[source.lifecycle]'  # of corp only: queues have no roles
    )
    users.env.config_file.write_text(users.env.config_file.read_text().replace("[source.lifecycle]", sentinel, 1))
    users.add(*range(6))
    for n in range(3):
        users.branch.change(users.dn(n), title=["guard", "cook"])
    users.run()
    users.remove(0)
    assert users.run().counts.removed == 1
    users.remove(1)

    report = users.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert 'the sentinel roles = "guard" was found 1 times, not 2' in report.reason


def test_a_sentinel_whose_record_is_rejected_counts(records: Records) -> None:
    """Its stored row stays, so it is among the contacts."""
    configure_guard(records.env, guard=f'{OPEN_WINDOWS}sentinel = [{{ name = "{records.name(1)}" }}]\n')
    records.load(range(10))
    records.invalidate(1)

    report = records.run()

    assert (report.outcome, report.counts.rejected) == (Outcome.COMPLETED, 1)
