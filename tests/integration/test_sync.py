"""Sync on real servers: written and untouched rows, identity of contacts, faults of the source, exit statuses."""

import re
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncd.core.sync.plan import Outcome
from syncd.drill.proxy import Proxy, dead_port
from syncd.errors import SourceBusy
from syncd.settings import load
from syncd.store.connection.engine import Role, open_engine
from syncd.store.run.writer import open_writer
from tests.environment import LIMITED_DN, NEVER, Environment
from tests.waiting import wait_until

INSERT_CUSTOM = """
    INSERT INTO contact_custom (type, name, name_folded, search, numbers)
    VALUES ('Custom', 'Plumber', 'plumber', E'\\nplumber\\n', '[{"phoneNumber": "1"}]')
"""


OTHER_SESSIONS = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def custom_rows(env: Environment) -> list[dict[str, Any]]:
    """Return every Custom row, with its system columns."""
    return env.fetch_rows("SELECT xmin::text, ctid::text, * FROM contact_custom ORDER BY id")


def count_writes(env: Environment) -> list[int]:
    """Return the numbers of rows ever inserted, updated, deleted, and dead in the partitions of contacts."""
    with psycopg.connect(env.database_url, autocommit=True) as connection:
        # a session reports its statistics at its end, which is shortly after its client has closed it
        wait_until(lambda: connection.execute(OTHER_SESSIONS).fetchone() is None)
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del), sum(n_dead_tup) FROM pg_stat_user_tables "
            "WHERE relname LIKE 'contact_%'"
        ).fetchone()
    assert row is not None
    return [int(value) for value in row]


def test_people_and_queues_are_synced(env: Environment) -> None:
    """Each mapped attribute of a person and each member of a queue is in the directory after one run."""
    env.branch.add(
        "ada", "Ada", "Lovelace", telephoneNumber=["+44 20 7946 0001", "+44 20 7946 0002"], mobile="+44 7700 900001",
        mail="ada@example.com", employeeNumber="7",
    )  # fmt: skip
    env.write_queues({"Sales East": "+1 555 010 2000"})

    users, queues = env.run("corp"), env.run("acd")

    ada = env.served_contacts()["Ada Lovelace"]
    assert (ada["user_name"], ada["first_name"], ada["last_name"]) == ("ada", "Ada", "Lovelace")
    assert (ada["employee_id"], ada["email_address"]) == ("7", "ada@example.com")
    assert ada["numbers"] == [
        {"phoneNumber": "+44 20 7946 0001", "description": "telephoneNumber"},
        {"phoneNumber": "+44 20 7946 0002", "description": "telephoneNumber"},
        {"phoneNumber": "+44 7700 900001", "description": "mobile"},
    ]
    assert env.served_contacts("Queue")["Sales East"]["numbers"] == [{"phoneNumber": "+1 555 010 2000"}]
    assert (users.outcome, users.counts.added, queues.counts.added) == (Outcome.COMPLETED, 1, 1)


def test_a_run_without_changes_writes_no_contact(env: Environment) -> None:
    """The statistics of PostgreSQL show no insert, update, delete or dead row; the revision is unchanged."""
    for number in range(50):
        env.branch.add(f"u{number}", "Person", str(number))
    env.run()
    before, revision = count_writes(env), env.revision()

    report = env.run()

    assert (report.counts.added, report.counts.changed, report.counts.removed) == (0, 0, 0)
    assert report.evidence is not None
    assert report.evidence.entries == 50
    assert count_writes(env) == before
    assert env.revision() == revision


def test_a_changed_map_maps_every_entry_once_more(env: Environment) -> None:
    """After a change of the map every entry is mapped again; the run after that recognises all of them."""
    env.branch.add("ada", "Ada", "Lovelace", title="Countess")
    env.run()
    text = env.config_file.read_text().replace(
        "[source.guard]", '[source.map]\nname = "{title} {sn}"\n[source.guard]', 1
    )
    env.config_file.write_text(text)

    changed, again = env.run(), env.run()

    assert list(env.served_contacts()) == ["Countess Lovelace"]
    assert (changed.counts.changed, again.counts.changed) == (1, 0)
    before = count_writes(env)
    env.run()
    assert count_writes(env) == before


def test_changes_and_removals_are_applied(env: Environment) -> None:
    """A changed number is updated, a cleared one is absent, and a deleted person is no longer served."""
    ada = env.branch.add("ada", "Ada", "Lovelace", telephoneNumber="1")
    bob = env.branch.add("bob", "Bob", "Stone", telephoneNumber="2")
    cyd = env.branch.add("cyd", "Cyd", "Charisse", telephoneNumber="3")
    env.run()
    env.branch.change(ada, telephoneNumber="11")
    env.branch.change(bob, telephoneNumber=[])
    env.branch.remove(cyd)

    report = env.run()

    contacts = env.served_contacts()
    assert list(contacts) == ["Ada Lovelace", "Bob Stone"]
    assert contacts["Ada Lovelace"]["dialled"] == ["11"]
    assert contacts["Bob Stone"]["numbers"] == []
    assert (report.counts.added, report.counts.changed, report.counts.removed) == (0, 2, 1)


def test_rename_move_and_new_uid_keep_the_id(env: Environment) -> None:
    """A modrdn, a move to another unit and a change of uid keep the contact and its id."""
    dn = env.branch.add("ada", "Ada", "Byron")
    env.run()
    before = env.served_contacts()["Ada Byron"]["id"]
    unit = env.branch.add_unit(f"ou=moved,{env.branch.base}")
    env.branch.change(dn, sn="Lovelace", cn="Ada Lovelace")
    env.branch.rename(dn, "uid=alovelace", unit)

    report = env.run()

    ada = env.served_contacts()["Ada Lovelace"]
    assert (ada["id"], ada["user_name"]) == (before, "alovelace")
    assert (report.counts.added, report.counts.changed, report.counts.removed) == (0, 1, 0)


def test_a_recreated_entry_is_a_new_contact(env: Environment) -> None:
    """An entry deleted and created again under the same login has another key, so the contact has another id."""
    dn = env.branch.add("ada")
    env.run()
    before = env.served_contacts()["Ada Example"]["id"]
    env.branch.remove(dn)
    env.branch.add("ada")

    env.run()

    assert env.served_contacts()["Ada Example"]["id"] != before


def test_a_queue_that_comes_back_has_its_old_id(env: Environment) -> None:
    """A queue removed and listed again under the same key is the same contact."""
    env.write_queues({"Sales": "1", "Support": "2"})
    env.run("acd")
    before = env.served_contacts("Queue")["Sales"]["id"]
    env.write_queues({"Support": "2"})
    env.run("acd")
    assert list(env.served_contacts("Queue")) == ["Support"]
    env.write_queues({"Sales": "3", "Support": "2"})

    report = env.run("acd")

    assert env.served_contacts("Queue")["Sales"]["id"] == before
    assert report.counts.added == 1


def test_custom_contacts_are_byte_identical_after_any_run(env: Environment) -> None:
    """First load, change, removal and a held run do not touch the tuples of Custom rows."""
    env.fetch_rows(INSERT_CUSTOM + " RETURNING id")
    before = custom_rows(env)
    dns = [env.branch.add(f"u{n}", "P", str(n)) for n in range(6)]
    env.run()
    env.branch.change(dns[0], sn="Other")
    env.branch.remove(dns[1])
    env.run()
    for dn in dns[2:]:
        env.branch.remove(dn)

    assert env.run().outcome is Outcome.HELD
    assert custom_rows(env) == before


def test_removals_over_the_limit_are_held_and_the_rest_is_applied(env: Environment) -> None:
    """With three removals and a limit of two the new person is added, no one is removed, and the run has the reason."""
    dns = [env.branch.add(f"u{n}", "P", str(n)) for n in range(5)]
    env.run()
    for dn in dns[:3]:
        env.branch.remove(dn)
    env.branch.add("new", "New", "Person")

    report = env.run()

    assert (report.outcome, report.held, report.counts.added) == (Outcome.HELD, 3, 1)
    assert "3 of 5" in report.reason
    assert len(env.served_contacts()) == 6
    stored = env.fetch_rows("SELECT * FROM run ORDER BY id DESC LIMIT 1")[0]
    assert (stored["outcome"], stored["held"], stored["removed"]) == ("held", 3, 0)


def test_held_removals_are_planned_again(env: Environment) -> None:
    """A held removal is planned again by the next run."""
    dns = [env.branch.add(f"u{n}", "P", str(n)) for n in range(5)]
    env.run()
    for dn in dns[:3]:
        env.branch.remove(dn)
    env.run()

    assert env.run().held == 3
    env.configure(max_removals=3)
    assert env.run().counts.removed == 3
    assert len(env.served_contacts()) == 2


@pytest.mark.parametrize("source", ["corp", "acd"])
def test_an_emptied_source_removes_no_contact(env: Environment, source: str) -> None:
    """A complete read without entries holds all removals, even of a single contact."""
    dn = env.branch.add("ada")
    env.write_queues({"Sales": "1"})
    assert env.run(source).counts.added == 1
    env.branch.remove(dn)
    env.write_queues({})

    report = env.run(source)

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert "no entry" in report.reason
    assert len(env.served_contacts("User" if source == "corp" else "Queue")) == 1


def unreachable_urls(env: Environment) -> dict[str, Any]:
    return {"urls": f'"ldap://127.0.0.1:{dead_port()}"'}


FAULTS = {
    "server down": unreachable_urls,
    "wrong password": lambda _: {"password_file": "wrong-password"},
    "missing base": lambda env: {"base": f"ou=none,{env.branch.base}"},
    "size limit": lambda _: {"bind_dn": LIMITED_DN, "password_file": "limited-password"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_incomplete_read_changes_nothing(env: Environment, fault: str) -> None:
    """After each fault of the LDAP server the rows are unchanged, and run and report contain the fault."""
    dns = [env.branch.add(f"u{n}", "P", str(n)) for n in range(5)]
    env.run()
    env.branch.change(dns[0], sn="changed")
    env.branch.remove(dns[1])
    before, revision = env.served_contacts(), env.revision()
    env.configure(**FAULTS[fault](env))

    report = env.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert report.evidence is not None
    assert report.evidence.incomplete_reasons
    assert env.served_contacts() == before
    assert env.revision() == revision
    stored = env.fetch_rows("SELECT * FROM run ORDER BY id DESC LIMIT 1")[0]
    assert (stored["outcome"], stored["why"]) == ("incomplete", report.reason)
    assert stored["evidence"]["complete"] is False


def test_a_truncated_file_removes_no_queue(env: Environment) -> None:
    """A truncated queue file makes the read incomplete, with file and line, and every queue stays."""
    env.write_queues({"Sales": "1", "Support": "2"})
    env.run("acd")
    env.write_queue_file('[[queue]]\nname = "Sales"\nphoneNumber = "')

    report = env.run("acd")

    assert report.outcome is Outcome.INCOMPLETE
    assert "queues.toml" in report.reason
    assert "line 3" in report.reason or ":3" in report.reason
    assert len(env.served_contacts("Queue")) == 2


def test_a_broken_read_is_discarded_when_another_server_answers(env: Environment) -> None:
    """The first server fails after two pages; everything is read again from the second."""
    for number in range(10):
        env.branch.add(f"u{number}", "P", str(number))
    with Proxy(env.branch.slapd.port, max_searches=3) as proxy:
        env.configure(urls=f'"{proxy.url}", "{env.branch.slapd.url}"')
        report = env.run()

    assert report.outcome is Outcome.COMPLETED
    assert report.counts.added == len(env.served_contacts()) == 10
    assert report.failed_servers
    assert report.evidence is not None
    assert report.evidence.server == env.branch.slapd.url


def test_a_bad_record_is_rejected_and_its_contact_stays(env: Environment) -> None:
    """A name that becomes too long is rejected: its stored row stays, and the reject ends with the correction."""
    ada = env.branch.add("ada", "Ada", "Lovelace")
    env.branch.add("bob", "Bob", "Stone")
    env.run()
    env.branch.change(ada, sn="x" * 300)
    env.branch.add("cyd", "Cyd", "New")

    first, second = env.run(), env.run()

    assert first.outcome is second.outcome is Outcome.COMPLETED
    assert set(env.served_contacts()) == {"Ada Lovelace", "Bob Stone", "Cyd New"}
    rejects = env.fetch_rows("SELECT * FROM reject")
    assert len(rejects) == 1
    assert rejects[0]["place"].lower() == ada.lower()
    assert "300 characters" in rejects[0]["reason"]
    assert rejects[0]["record"]["sn"] == ["x" * 300]
    assert ([r.location.lower() for r in first.new_rejects], second.new_rejects) == ([ada.lower()], ())

    env.branch.change(ada, sn="King")
    env.run()
    assert "Ada King" in env.served_contacts()
    assert env.fetch_rows("SELECT * FROM reject") == []


def use_employee_number_as_key(env: Environment) -> None:
    env.config_file.write_text(
        env.config_file.read_text().replace('bind_dn = "', 'key = "employeeNumber"\nbind_dn = "', 1)
    )


@pytest.mark.parametrize("first", ["known", "both new"])
def test_a_duplicate_key_rejects_both_entries(env: Environment, first: str) -> None:
    """Two entries with one key are both rejected; a stored contact of the key is unchanged."""
    env.configure()
    use_employee_number_as_key(env)
    if first == "known":
        env.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
        env.run()
        env.branch.add("eve", "Eve", "Impostor", employeeNumber="7")
    else:
        env.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
        env.branch.add("eve", "Eve", "Impostor", employeeNumber="7")
    env.branch.add("bob", "Bob", "Stone", employeeNumber="8")

    for _ in range(2):
        report = env.run()
        assert report.outcome is Outcome.COMPLETED
        assert set(env.served_contacts()) == ({"Ada Lovelace", "Bob Stone"} if first == "known" else {"Bob Stone"})
        assert all("more than once" in row["reason"] for row in env.fetch_rows("SELECT * FROM reject"))
        assert report.counts.rejected >= 1


def test_records_without_a_key_hold_removals(env: Environment) -> None:
    """Entries without a key cannot be matched to contacts, so all removals are held."""
    use_employee_number_as_key(env)
    ada = env.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
    env.branch.add("bob", "Bob", "Stone", employeeNumber="8")
    env.run()
    env.branch.change(ada, employeeNumber=[])

    report = env.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert "employeenumber" in report.reason
    assert len(env.served_contacts()) == 2


def test_another_key_attribute_is_refused(env: Environment) -> None:
    """The first complete run pins the key attribute; another one would make every entry a new contact."""
    env.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
    env.run()
    before = env.served_contacts()
    use_employee_number_as_key(env)

    report = env.run()

    assert report.outcome is Outcome.FAILED
    assert 'key = "entryuuid"' in report.reason
    assert env.served_contacts() == before


def test_plan_writes_nothing_and_predicts_the_sync(env: Environment) -> None:
    """Rows and their versions are the same before and after a plan; the sync makes exactly the planned changes."""
    ada = env.branch.add("ada", "Ada", "Lovelace", telephoneNumber="1")
    bob = env.branch.add("bob", "Bob", "Stone")
    env.run()
    env.branch.change(ada, telephoneNumber="2")
    env.branch.remove(bob)
    env.branch.add("cyd", "Cyd", "New")
    before = env.dump_tables()

    plan = env.run_command("plan", "corp")
    detailed = env.run_command("plan", "corp", "--detailed-exitcode")
    as_json = env.run_command("plan", "--json")

    assert env.dump_tables() == before
    assert (plan.returncode, detailed.returncode, as_json.returncode) == (0, 2, 0)
    assert "+ Cyd New" in plan.stdout
    assert "- Bob Stone" in plan.stdout
    assert re.search(r"^~ Ada Lovelace \(.+\): phoneNumbers 1 -> 2$", plan.stdout, re.MULTILINE)
    env.run()
    assert set(env.served_contacts()) == {"Ada Lovelace", "Cyd New"}
    assert env.run_command("plan", "corp", "--detailed-exitcode").returncode == 0


def test_plan_as_json_is_one_document_with_old_and_new_values(env: Environment) -> None:
    """A change has its kind, and the members before and after."""
    import json

    ada = env.branch.add("ada", "Ada", "Lovelace")
    env.run()
    env.branch.change(ada, sn="King")

    document = json.loads(env.run_command("plan", "corp", "--json").stdout)

    change = document["plans"][0]["changes"][0]
    assert change["kind"] == "change"
    assert (change["old"]["lastName"], change["new"]["lastName"]) == ("Lovelace", "King")


def test_the_exit_status_depends_on_the_outcome(env: Environment) -> None:
    """0 completed, 3 incomplete or held, 1 failed, 75 another run holds the source."""
    for number in range(4):
        env.branch.add(f"u{number}", "P", str(number))
    assert env.run_command("sync").returncode == 0
    env.configure(base=f"ou=none,{env.branch.base}")
    incomplete = env.run_command("sync", "corp")
    assert incomplete.returncode == 3
    assert "sync.incomplete" in incomplete.stderr
    env.configure(base=env.branch.base, database="postgresql://postgres@127.0.0.1:1/none")
    assert env.run_command("sync").returncode == 1
    env.configure(database=env.database_url)
    settings = load(env.config_file)
    with open_writer(open_engine(settings.database, Role.SYNC), "corp", "User") as writer:
        writer.claim()
        busy = env.run_command("sync", "corp")
        assert busy.returncode == 75
        assert "sync.skipped" in busy.stderr


def test_two_runs_of_one_source_never_overlap(env: Environment) -> None:
    """While one connection holds the lock of a source, another claim is refused; other sources are free."""
    database = open_engine(env.settings.database, Role.SYNC)
    with open_writer(database, "corp", "User") as holder:
        holder.claim()
        with pytest.raises(SourceBusy), open_writer(database, "corp", "User") as second:
            second.claim()
        assert env.run("acd").outcome is Outcome.COMPLETED
    assert env.run().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("moment", ["reading", "applying"])
def test_a_run_that_is_killed_leaves_the_directory_as_it_was(env: Environment, how: str, moment: str) -> None:
    """Killed while reading or writing: no row differs, the next run works, the killed one is `crashed`."""
    import signal

    dns = [env.branch.add(f"u{n}", "P", str(n)) for n in range(8)]
    env.run()
    before = env.served_contacts()
    env.branch.change(dns[0], sn="changed")
    env.branch.remove(dns[1])
    log = env.folder / "killed.log"
    with psycopg.connect(env.database_url) as blocker, Proxy(env.branch.slapd.port, **STALL[moment]) as proxy:
        env.configure(urls=f'"{proxy.url}"', read_timeout="10m")
        if moment == "applying":
            blocker.execute("LOCK TABLE directory IN ACCESS EXCLUSIVE MODE")
        process = env.start_command("sync", "corp", log=log)
        wait_until(lambda: busy(env, moment))
        process.send_signal(signal.Signals[how])
        assert process.wait(60) != 0
    wait_until(lambda: not busy(env, "reading"))  # the next run needs the lock of the killed one

    assert env.served_contacts() == before
    env.configure(urls=f'"{env.branch.slapd.url}"')
    again = env.run()
    assert (again.outcome, again.counts.changed, again.counts.removed) == (Outcome.COMPLETED, 1, 1)
    outcomes = [row["outcome"] for row in env.fetch_rows("SELECT outcome FROM run ORDER BY id")]
    assert outcomes == ["completed", "crashed", "completed"]


STALL: dict[str, dict[str, Any]] = {"reading": {"mode": "stall", "max_searches": 2}, "applying": {}}


def busy(env: Environment, moment: str) -> bool:
    """Tell whether a run holds the source's lock, is in the history, and has reached this moment."""
    locked = (
        "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
        "AND a.datname = current_database() AND EXISTS (SELECT FROM run WHERE outcome = 'running')"
    )
    return bool(env.fetch_rows(locked + (" AND a.wait_event_type = 'Lock'" if moment == "applying" else "")))


def test_a_database_lost_during_a_run_is_reported(env: Environment) -> None:
    """The server ends the run's session while it reads: exit status 1, directory as it was, next run works."""
    env.branch.add("ada")
    for number in range(8):
        env.branch.add(f"u{number}", "P", str(number))
    log = env.folder / "lost.log"
    with Proxy(env.branch.slapd.port, mode="stall", max_searches=2) as proxy:
        env.configure(urls=f'"{proxy.url}"', read_timeout="10m")
        process = env.start_command("sync", "corp", log=log)
        wait_until(lambda: busy(env, "reading"))
        with psycopg.connect(env.database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
    # the proxy ends the read only here, after the session was terminated
    assert process.wait(60) == 1
    assert "the database does not answer" in log.read_text()
    assert env.served_contacts() == {}
    env.configure(urls=f'"{env.branch.slapd.url}"')
    assert env.run().counts.added == 9


def test_two_sources_with_the_same_person_do_not_touch_each_other(env: Environment, tmp_path: Path) -> None:
    """Each source has its own rows, even with equal names and keys."""
    env.branch.add("ada", "Ada", "Lovelace")
    other = '[[user]]\nname = "Ada Lovelace"\nuserName = "ada"\n'
    (env.folder / "people.toml").write_text(other)
    env.configure(
        f'[[source]]\nname = "extra"\ntype = "User"\nkind = "file"\npath = "people.toml"\nschedule = {NEVER}\n'
    )
    env.run("corp")
    env.run("extra")
    (env.folder / "people.toml").write_text('[[user]]\nname = "Bob"\n')

    report = env.run("extra")

    names = env.fetch_rows("SELECT name, source FROM contact_user WHERE state = 'active' ORDER BY 1")
    assert [(row["name"], row["source"]) for row in names] == [("Ada Lovelace", "corp"), ("Bob", "extra")]
    assert report.counts.population == 1


def test_the_sync_role_cannot_write_custom_rows(env: Environment) -> None:
    """PostgreSQL denies the role of a run any write to Custom contacts."""
    env.fetch_rows(INSERT_CUSTOM + " RETURNING id")
    database = open_engine(env.settings.database, Role.SYNC)
    with database.connect() as connection, pytest.raises(Exception, match="permission denied"):
        connection.exec_driver_sql("UPDATE contact_custom SET name = 'x'")
    database.dispose()


def test_values_of_every_script_and_quote_survive(env: Environment) -> None:
    """Commas, quotes, backslashes and letters of any script are stored unchanged; white space is normalised."""
    odd = [
        'Comma, "Quote"',
        "Back\\slash",
        "{brace} %s $1 'q'",
        "Ζωή",
        "علي",
        "李 小龍",
        "e\u0301 \t two  blanks",
        "\\N",
        "NULL",
    ]
    for number, text in enumerate(odd):
        env.branch.add(f"u{number}", "N", text, telephoneNumber=f"+1 {number}", mail=f"u{number}@example.com")

    env.run()

    expected = {f"N {text}" for text in odd[:6]} | {"N \u00e9 two blanks", "N \\N", "N NULL"}
    assert set(env.served_contacts()) == expected
    assert env.run().counts.changed == 0


def test_sync_ids_are_random_and_unique(env: Environment) -> None:
    """Ids are random version 4 UUIDs, not derived from the source."""
    for number in range(5):
        env.branch.add(f"u{number}", "P", str(number))
    env.run()
    ids = [row["id"] for row in env.served_contacts().values()]
    assert len(set(ids)) == 5
    assert all(uuid.UUID(str(id_)).version == 4 for id_ in ids)


def test_a_run_is_not_blocked_by_a_reader(env: Environment) -> None:
    """A long-running read transaction does not block a run."""
    env.branch.add("ada")
    with psycopg.connect(env.database_url) as reader:
        reader.execute("SELECT * FROM contact")
        started = time.monotonic()
        assert env.run().outcome is Outcome.COMPLETED
        assert time.monotonic() - started < 60
