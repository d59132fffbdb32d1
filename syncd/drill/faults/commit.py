"""Faults while a run writes: its transaction must be committed as a whole or not at all."""

import signal
from typing import LiteralString

from syncd.drill.faults.runs import open_gate
from syncd.drill.people import DrillPerson
from syncd.drill.result import RunResult
from syncd.drill.scenario import Fault, Scenario, logged_result

_NEW_NUMBER = "+1 555 010 4711"


def _change_people(scenario: Scenario) -> tuple[DrillPerson, str]:
    """Change the number of one person, delete one, add one; return the changed person and the user name of the new."""
    changed = scenario.subtree.people[3]
    new_uid = f"{scenario.name}.new"
    scenario.subtree.replace_attributes(changed.dn, telephoneNumber=_NEW_NUMBER)
    scenario.subtree.delete_people(scenario.subtree.people[4])
    scenario.subtree.add_temporary_person(
        f"cn=new,{scenario.subtree.base}", cn="new", sn="New", givenName="Newton", uid=new_uid
    )
    return changed, new_uid


def _terminate_session(scenario: Scenario) -> None:
    changed, _ = _change_people(scenario)
    with scenario.environment.database.lock_contact(scenario.name, changed.entry_uuid) as waiting:
        run = scenario.start_run()
        scenario.wait_until(lambda: bool(waiting()), "the run writes")
        scenario.environment.database.terminate_sessions(f"fault-{scenario.name}")
        scenario.wait_run(run)


def _kill_while_reading(scenario: Scenario) -> None:
    _change_people(scenario)
    with open_gate(scenario) as (url, reached, _):
        run = scenario.start_run(urls=[url])
        scenario.wait_until(reached.is_set, "the run reads")
        _kill_database(scenario)
    scenario.wait_run(run)


def _kill_before_commit(scenario: Scenario) -> None:
    changed, _ = _change_people(scenario)
    with scenario.environment.database.lock_contact(scenario.name, changed.entry_uuid) as waiting:
        run = scenario.start_run()
        scenario.wait_until(lambda: bool(waiting()), "the run writes")
        _kill_database(scenario)
    scenario.wait_run(run)


def _kill_during_commit(scenario: Scenario) -> None:
    """Let the commit wait for a standby that does not exist, then kill the database: committed without confirmation."""
    changed, new_uid = _change_people(scenario)
    database = scenario.environment.database
    scenario.expect_change(changed, scenario.subtree.people[4])
    scenario.expected_additions.add(new_uid)
    with database.lock_contact(scenario.name, changed.entry_uuid) as waiting:
        run = scenario.start_run()
        scenario.wait_until(lambda: bool(waiting()), "the run writes")
        database.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        database.execute("SELECT pg_reload_conf()")
        scenario.wait_until(
            lambda: database.select("SHOW synchronous_standby_names")[0].popitem()[1] == "absent", "commits wait"
        )
    scenario.wait_until(
        lambda: bool(database.select("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")), "the run commits"
    )
    database.execute("ALTER SYSTEM RESET synchronous_standby_names")
    _kill_database(scenario)
    scenario.result.run_result = logged_result(scenario.environment.processes.wait(run))
    if scenario.stored_runs()[-1]["outcome"] != "completed":
        scenario.add_problem(f"the committed run is not stored as completed: {scenario.stored_runs()[-1]}")
    contacts = {contact["userName"]: contact for contact in scenario.served_contacts().values()}
    complete = new_uid in contacts and scenario.subtree.people[4].uid not in contacts
    if not complete or contacts[changed.uid]["phoneNumber"] != _NEW_NUMBER:
        scenario.add_problem("the changes of the committed run are not served as a whole")


def _kill_database(scenario: Scenario) -> None:
    """Stop the database like a power cut and start it again; the daemon has to detect both by itself."""
    environment = scenario.environment
    environment.postgres.stop(signal.SIGQUIT)
    try:
        scenario.wait_until(lambda: not environment.client.is_ready(), "the daemon is not ready")
    finally:
        environment.postgres.start()
    scenario.wait_until(environment.client.is_ready, "the daemon is ready again")


def _write_custom_contacts(scenario: Scenario) -> None:
    """Try to write Custom contacts in the role of the runs, which has no privilege for that."""
    database = scenario.environment.database
    allowed = [statement for statement in _FORBIDDEN if database.is_allowed("syncd_sync", statement)]
    refused = len(_FORBIDDEN) - len(allowed)
    scenario.result.run_result = RunResult("allowed" if allowed else "refused", f"{refused} statements")
    for statement in allowed:
        scenario.add_problem(f"the role of the runs may execute: {statement}")


_FORBIDDEN: tuple[LiteralString, ...] = (
    "UPDATE contact SET name = 'stolen' WHERE type = 'Custom'",
    "UPDATE contact_custom SET name = 'stolen'",
    "INSERT INTO contact_custom (type, name, name_folded, search) VALUES ('Custom', 'smuggled', 'smuggled', '')",
    "DELETE FROM contact WHERE type = 'Custom'",
    "DELETE FROM contact_custom WHERE name <> ''",
    "TRUNCATE contact_custom",
)

FAULTS = (
    Fault(
        "session-lost",
        "the database session of a run is terminated while it writes",
        _terminate_session,
        "failed",
        own_runs=True,
    ),
    Fault(
        "database-killed-while-reading",
        "the database is killed while a run reads",
        _kill_while_reading,
        "failed",
        exclusive=True,
        stops_database=True,
    ),
    Fault(
        "database-killed-before-commit",
        "the database is killed while a run writes",
        _kill_before_commit,
        "failed",
        exclusive=True,
        stops_database=True,
    ),
    Fault(
        "database-killed-during-commit",
        "the database is killed while a run commits",
        _kill_during_commit,
        "failed",
        exclusive=True,
        stops_database=True,
    ),
    Fault(
        "trespass",
        "the role of the runs writes Custom contacts",
        _write_custom_contacts,
        "refused",
        kind="none",
        exclusive=True,
    ),
)
