"""The guard: each absence is verified by a search before a removal."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.core.sync.plan import Outcome
from syncd.demo.servers import Slapd
from syncd.drill.proxy import dead_port
from tests import environment
from tests.environment import Branch, Environment
from tests.records import GRACE, HOUR, NO_GRACE, RELAX_CONTROL, Records, UserRecords, configure_guard, run_interrupted


def test_an_entry_moved_out_of_the_base_is_removed_with_its_dn_as_the_reason(users: UserRecords) -> None:
    """It exists outside the scope: plan and change log have that reason, and none for a deleted entry."""
    users.load(range(10))
    former = users.branch.connection
    unit = f"ou=former{uuid.uuid4().hex},{environment.ROOT}"
    former.add(unit, "organizationalUnit")
    users.branch.rename(users.dn(3), "uid=u3", unit)
    users.remove(4)

    report = users.run()

    assert (report.outcome, report.counts.removed) == (Outcome.COMPLETED, 2)
    reasons = {row["source_key"]: row["reason"] for row in users.changes_of(report.run)}
    assert reasons == {users.key(3): f"out of scope, found at uid=u3,{unit}", users.key(4): None}
    former.delete(f"uid=u3,{unit}")
    former.delete(unit)


@pytest.fixture(scope="module")
def replica(server_folder: Path) -> Iterator[Slapd]:
    """A second server of the same directory."""
    server = Slapd(server_folder / "guard-replica", extra=environment.SLAPD_RULES)
    server.create(environment.LDIF)
    server.start()
    yield server
    server.stop()


def create_second_branch(env: Environment, replica: Slapd) -> Branch:
    """Create the same branch on the replica: same DN, same entryUUID."""
    here = env.branch
    (key,) = here.find_keys(scope="BASE").values()
    there = Branch(replica)
    there.remove(there.base)
    there.base = here.base
    there.connection.add(there.base, "organizationalUnit", {"entryUUID": key}, controls=RELAX_CONTROL)
    return there


@pytest.mark.parametrize("other", ["answers", "is down"])
def test_entries_missing_on_one_replica_are_not_removed(users: UserRecords, replica: Slapd, other: str) -> None:
    """If the second server has them they are present, if it is down they are unverified; both are held."""
    env = users.env
    there = UserRecords(env, create_second_branch(env, replica))
    users.add(*range(40))
    there.add(*range(40))
    users.run()
    users.remove(*range(10))  # the replica that is read lags, and one entry is deleted on both
    users.remove(20)
    there.remove(20)
    second = replica.url if other == "answers" else f"ldap://127.0.0.1:{dead_port()}"
    configure_guard(env, urls=f'"{env.branch.slapd.url}", "{second}"')

    report = users.run()

    assert report.evidence is not None
    assert report.evidence.server == env.branch.slapd.url
    expected = list(range(10)) if other == "answers" else [*range(10), 20]
    assert (report.outcome, report.held) == (Outcome.HELD, len(expected))
    assert users.held_names() == users.names(expected)
    assert {row["code"] for row in users.held_items()} == {"present" if other == "answers" else "unverified"}
    assert users.served() == users.names(set(range(40)) - {20} | set(expected))
    assert (report.counts.removed, report.absences_confirmed) == (40 - len(users.served()), True)
    assert all(replica.url in row["reason"] for row in users.held_items()) == (other == "answers")
    there.branch.close()


@pytest.mark.parametrize("grace", [NO_GRACE, GRACE])
def test_a_present_record_is_held(records: Records, grace: str) -> None:
    """Of three absent records two are found by the verification: one is removed, two are held as present."""
    configure_guard(records.env, lifecycle=grace)
    records.load(range(10))
    records.remove(0, 1, 2)

    report = run_interrupted(records, lambda: records.add(0, 1))

    assert (report.outcome, report.held, report.counts.leaving) == (Outcome.HELD, 2, 1)
    assert [(row["name"], row["code"]) for row in records.held_items()] == [
        (records.name(0), "present"), (records.name(1), "present"),
    ]  # fmt: skip
    assert records.states(0, 1, 2) == ["active", "active", "removed" if grace == NO_GRACE else "missing"]
    again = records.run()
    assert (again.outcome, records.held_items()) == (Outcome.COMPLETED, [])


def test_a_record_present_at_the_end_of_the_grace_stays_missing(records: Records) -> None:
    """A missing contact is verified again before its removal, and held when it is found."""
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.load(range(10))
    records.remove(0)
    records.run()
    records.shift_history(2 * HOUR)

    report = run_interrupted(records, lambda: records.add(0))

    assert (report.outcome, report.held, records.states(0)) == (Outcome.HELD, 1, ["missing"])
    assert (records.run().counts.added, records.states(0)) == (1, ["active"])


def test_removals_are_held_when_the_source_cannot_verify(records: Records) -> None:
    """The source is unreachable after the read: all removals are held as unverified."""
    records.load(range(10))
    records.remove(0, 1)
    if isinstance(records, UserRecords):
        between = lambda: records.env.branch.deny_reader("attrs=entry")  # noqa: E731 - nothing is found, not even the base
    else:
        between = (records.env.folder / "queues.toml").unlink

    report = run_interrupted(records, between)

    assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 2, 0)
    assert {row["code"] for row in records.held_items()} == {"unverified"}
    assert records.served() == records.names(range(10))
