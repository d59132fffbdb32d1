"""What happens while a run writes: its transaction must be there as a whole or not at all."""

import signal
from typing import LiteralString

from syncd.drill.faults.runs import gate
from syncd.drill.people import Person
from syncd.drill.result import Said
from syncd.drill.scenario import Fault, Stage, last_words

_NEW_NUMBER = "+1 555 010 4711"


def _changes(stage: Stage) -> tuple[Person, str]:
    """One has a new number, one has left, one is new: whom the run must change, and the user name of the new one."""
    changed = stage.branch.people[3]
    new = f"{stage.name}.new"
    stage.branch.change(changed.dn, telephoneNumber=_NEW_NUMBER)
    stage.branch.leave(stage.branch.people[4])
    stage.branch.add_for_now(f"cn=new,{stage.branch.base}", cn="new", sn="New", givenName="Newton", uid=new)
    return changed, new


def _lost_session(stage: Stage) -> None:
    changed, _ = _changes(stage)
    with stage.site.database.locked(stage.name, changed.entry_uuid) as waiting:
        run = stage.begin()
        stage.until(lambda: bool(waiting()), "the run writes")
        stage.site.database.end_sessions(f"fault-{stage.name}")
        stage.ended(run)


def _killed_reading(stage: Stage) -> None:
    _changes(stage)
    with gate(stage) as (url, reached, _):
        run = stage.begin(urls=[url])
        stage.until(reached.is_set, "the run reads")
        _kill_database(stage)
    stage.ended(run)


def _killed_before(stage: Stage) -> None:
    changed, _ = _changes(stage)
    with stage.site.database.locked(stage.name, changed.entry_uuid) as waiting:
        run = stage.begin()
        stage.until(lambda: bool(waiting()), "the run writes")
        _kill_database(stage)
    stage.ended(run)


def _killed_during(stage: Stage) -> None:
    """Commits are made to wait for a standby that never comes: what was committed is there, but nobody was told."""
    changed, new = _changes(stage)
    database = stage.site.database
    stage.excuse(changed, stage.branch.people[4])
    stage.joined.add(new)
    with database.locked(stage.name, changed.entry_uuid) as waiting:
        run = stage.begin()
        stage.until(lambda: bool(waiting()), "the run writes")
        database.do("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        database.do("SELECT pg_reload_conf()")
        stage.until(lambda: database.rows("SHOW synchronous_standby_names")[0].popitem()[1] == "nobody", "commits wait")
    stage.until(lambda: bool(database.rows("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")), "it commits")
    database.do("ALTER SYSTEM RESET synchronous_standby_names")
    _kill_database(stage)
    stage.row.said = last_words(stage.site.processes.end(run))
    if stage.runs()[-1]["outcome"] != "completed":
        stage.wrong(f"the run is not stored with what it committed: {stage.runs()[-1]}")
    found = {contact["userName"]: contact for contact in stage.contacts().values()}
    whole = new in found and stage.branch.people[4].uid not in found
    if not whole or found[changed.uid]["phoneNumber"] != _NEW_NUMBER:
        stage.wrong("what was committed is not there as a whole")


def _kill_database(stage: Stage) -> None:
    """As a power cut does; then it is started again, and the daemon finds that out by itself."""
    site = stage.site
    site.postgres.stop(signal.SIGQUIT)
    try:
        stage.until(lambda: not site.daemon.ready(), "the daemon notices")
    finally:
        site.postgres.start()
    stage.until(site.daemon.ready, "the daemon serves again")


def _trespass(stage: Stage) -> None:
    """Whatever a sync may do by mistake, its role cannot write Custom contacts."""
    database = stage.site.database
    done = [statement for statement in _TRESPASSES if database.allowed("syncd_sync", statement)]
    stage.row.said = Said("refused" if not done else "allowed", f"{len(_TRESPASSES) - len(done)} statements")
    for statement in done:
        stage.wrong(f"the role of the runs may do this: {statement}")


_TRESPASSES: tuple[LiteralString, ...] = (
    "UPDATE contact SET name = 'stolen' WHERE type = 'Custom'",
    "UPDATE contact_custom SET name = 'stolen'",
    "INSERT INTO contact_custom (type, name, name_folded, search) VALUES ('Custom', 'smuggled', 'smuggled', '')",
    "DELETE FROM contact WHERE type = 'Custom'",
    "DELETE FROM contact_custom WHERE name <> ''",
    "TRUNCATE contact_custom",
)

FAULTS = (
    Fault(
        "session-lost", "the run's database session is ended while it writes", _lost_session, "failed", own_runs=True
    ),
    Fault(
        "database-killed-while-reading",
        "the database is killed while a run reads",
        _killed_reading,
        "failed",
        alone=True,
        unavailable=True,
    ),
    Fault(
        "database-killed-before-commit",
        "the database is killed while a run writes",
        _killed_before,
        "failed",
        alone=True,
        unavailable=True,
    ),
    Fault(
        "database-killed-during-commit",
        "the database is killed while a run commits",
        _killed_during,
        "failed",
        alone=True,
        unavailable=True,
    ),
    Fault("trespass", "the role of the runs turns to Custom contacts", _trespass, "refused", kind="none", alone=True),
)
