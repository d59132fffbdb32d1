"""One run on real servers: what it writes, what it leaves alone, and how it recognises people."""

import re
import subprocess
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
from tests.environment import LIMITED, NEVER, Premises
from tests.scripted_ldap import wait_until

CUSTOM = """
    INSERT INTO contact_custom (type, name, name_folded, search, numbers)
    VALUES ('Custom', 'Plumber', 'plumber', E'\\nplumber\\n', '[{"phoneNumber": "1"}]')
"""


OTHERS = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def custom(site: Premises) -> list[dict[str, Any]]:
    """Every Custom row, exactly as stored."""
    return site.rows("SELECT xmin::text, ctid::text, * FROM contact_custom ORDER BY id")


def writes(site: Premises) -> list[int]:
    """Rows that PostgreSQL has ever inserted, updated or deleted in the partitions of contacts."""
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        # a session counts what it did when it ends, which is a moment after its client has closed it
        wait_until(lambda: connection.execute(OTHERS).fetchone() is None)
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del), sum(n_dead_tup) FROM pg_stat_user_tables "
            "WHERE relname LIKE 'contact_%'"
        ).fetchone()
    assert row is not None
    return [int(value) for value in row]


def test_people_and_queues_arrive(site: Premises) -> None:
    """Each mapped attribute of a person and each member of a queue is in the directory after one run."""
    site.branch.add(
        "ada", "Ada", "Lovelace", telephoneNumber=["+44 20 7946 0001", "+44 20 7946 0002"], mobile="+44 7700 900001",
        mail="ada@example.com", employeeNumber="7",
    )  # fmt: skip
    site.queues({"Sales East": "+1 555 010 2000"})

    users, queues = site.run("corp"), site.run("acd")

    ada = site.contacts()["Ada Lovelace"]
    assert (ada["user_name"], ada["first_name"], ada["last_name"]) == ("ada", "Ada", "Lovelace")
    assert (ada["employee_id"], ada["email_address"]) == ("7", "ada@example.com")
    assert ada["numbers"] == [
        {"phoneNumber": "+44 20 7946 0001", "description": "telephoneNumber"},
        {"phoneNumber": "+44 20 7946 0002", "description": "telephoneNumber"},
        {"phoneNumber": "+44 7700 900001", "description": "mobile"},
    ]
    assert site.contacts("Queue")["Sales East"]["numbers"] == [{"phoneNumber": "+1 555 010 2000"}]
    assert (users.outcome, users.counts.added, queues.counts.added) == (Outcome.COMPLETED, 1, 1)


def test_a_run_without_changes_writes_no_contact(site: Premises) -> None:
    """PostgreSQL's own statistics see no insert, update, delete or dead row, and the revision stays."""
    for number in range(50):
        site.branch.add(f"u{number}", "Person", str(number))
    site.run()
    before, revision = writes(site), site.revision()

    report = site.run()

    assert (report.counts.added, report.counts.changed, report.counts.removed) == (0, 0, 0)
    assert report.evidence is not None
    assert report.evidence.entries == 50
    assert writes(site) == before
    assert site.revision() == revision


def test_a_changed_map_renews_what_is_recognised_once(site: Premises) -> None:
    """After a change of the map every entry is mapped again; the run after that recognises all of them."""
    site.branch.add("ada", "Ada", "Lovelace", title="Countess")
    site.run()
    text = site.file.read_text().replace("[source.guard]", '[source.map]\nname = "{title} {sn}"\n[source.guard]', 1)
    site.file.write_text(text)

    changed, again = site.run(), site.run()

    assert list(site.contacts()) == ["Countess Lovelace"]
    assert (changed.counts.changed, again.counts.changed) == (1, 0)
    before = writes(site)
    site.run()
    assert writes(site) == before


def test_changes_and_removals_are_applied(site: Premises) -> None:
    """A changed number is changed, a cleared one is gone, a deleted person is no longer served, the rest stays."""
    ada = site.branch.add("ada", "Ada", "Lovelace", telephoneNumber="1")
    bob = site.branch.add("bob", "Bob", "Stone", telephoneNumber="2")
    cyd = site.branch.add("cyd", "Cyd", "Charisse", telephoneNumber="3")
    site.run()
    site.branch.change(ada, telephoneNumber="11")
    site.branch.change(bob, telephoneNumber=[])
    site.branch.remove(cyd)

    report = site.run()

    found = site.contacts()
    assert list(found) == ["Ada Lovelace", "Bob Stone"]
    assert found["Ada Lovelace"]["dialled"] == ["11"]
    assert found["Bob Stone"]["numbers"] == []
    assert (report.counts.added, report.counts.changed, report.counts.removed) == (0, 2, 1)


def test_rename_move_and_new_uid_keep_the_id(site: Premises) -> None:
    """A modrdn, a move to another unit and a change of uid are the same person under the same id."""
    dn = site.branch.add("ada", "Ada", "Byron")
    site.run()
    before = site.contacts()["Ada Byron"]["id"]
    unit = site.branch.unit(f"ou=moved,{site.branch.base}")
    site.branch.change(dn, sn="Lovelace", cn="Ada Lovelace")
    site.branch.rename(dn, "uid=alovelace", unit)

    report = site.run()

    found = site.contacts()["Ada Lovelace"]
    assert (found["id"], found["user_name"]) == (before, "alovelace")
    assert (report.counts.added, report.counts.changed, report.counts.removed) == (0, 1, 0)


def test_a_person_made_anew_is_a_new_person(site: Premises) -> None:
    """Deleted and created again under the same login is another entry of the directory, so another id."""
    dn = site.branch.add("ada")
    site.run()
    before = site.contacts()["Ada Example"]["id"]
    site.branch.remove(dn)
    site.branch.add("ada")

    site.run()

    assert site.contacts()["Ada Example"]["id"] != before


def test_a_queue_that_comes_back_has_its_old_id(site: Premises) -> None:
    """Removed and listed again under the same key: the same contact."""
    site.queues({"Sales": "1", "Support": "2"})
    site.run("acd")
    before = site.contacts("Queue")["Sales"]["id"]
    site.queues({"Support": "2"})
    site.run("acd")
    assert list(site.contacts("Queue")) == ["Support"]
    site.queues({"Sales": "3", "Support": "2"})

    report = site.run("acd")

    assert site.contacts("Queue")["Sales"]["id"] == before
    assert report.counts.added == 1


def test_custom_contacts_are_byte_identical_after_any_run(site: Premises) -> None:
    """First load, change, removal and a held run leave the Custom rows as they were, to the tuple."""
    site.rows(CUSTOM + " RETURNING id")
    before = custom(site)
    dns = [site.branch.add(f"u{n}", "P", str(n)) for n in range(6)]
    site.run()
    site.branch.change(dns[0], sn="Other")
    site.branch.remove(dns[1])
    site.run()
    for dn in dns[2:]:
        site.branch.remove(dn)

    assert site.run().outcome is Outcome.HELD
    assert custom(site) == before


def test_removals_over_the_limit_are_held_and_the_rest_is_applied(site: Premises) -> None:
    """With three removals and a limit of two: the new person is in, nobody is out, and the run says why."""
    dns = [site.branch.add(f"u{n}", "P", str(n)) for n in range(5)]
    site.run()
    for dn in dns[:3]:
        site.branch.remove(dn)
    site.branch.add("new", "New", "Person")

    report = site.run()

    assert (report.outcome, report.held, report.counts.added) == (Outcome.HELD, 3, 1)
    assert "3 of 5" in report.why
    assert len(site.contacts()) == 6
    stored = site.rows("SELECT * FROM run ORDER BY id DESC LIMIT 1")[0]
    assert (stored["outcome"], stored["held"], stored["removed"]) == ("held", 3, 0)


def test_held_people_stay_recognised_as_missing(site: Premises) -> None:
    """A held removal is planned again by the next run: holding is not forgetting."""
    dns = [site.branch.add(f"u{n}", "P", str(n)) for n in range(5)]
    site.run()
    for dn in dns[:3]:
        site.branch.remove(dn)
    site.run()

    assert site.run().held == 3
    site.configure(max_removals=3)
    assert site.run().counts.removed == 3
    assert len(site.contacts()) == 2


@pytest.mark.parametrize("source", ["corp", "acd"])
def test_an_emptied_source_removes_nobody(site: Premises, source: str) -> None:
    """An empty answer that is complete in every other way is held, even of one contact."""
    dn = site.branch.add("ada")
    site.queues({"Sales": "1"})
    assert site.run(source).counts.added == 1
    site.branch.remove(dn)
    site.queues({})

    report = site.run(source)

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert "no entry" in report.why
    assert len(site.contacts("User" if source == "corp" else "Queue")) == 1


def broken_urls(site: Premises) -> dict[str, Any]:
    return {"urls": f'"ldap://127.0.0.1:{dead_port()}"'}


BROKEN = {
    "server down": broken_urls,
    "wrong password": lambda _: {"password_file": "wrong-password"},
    "missing base": lambda site: {"base": f"ou=none,{site.branch.base}"},
    "size limit": lambda _: {"bind_dn": LIMITED, "password_file": "limited-password"},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_an_incomplete_read_changes_nothing_and_says_why(site: Premises, fault: str) -> None:
    """After each fault of the directory the rows are what they were, and run and report name the fault."""
    dns = [site.branch.add(f"u{n}", "P", str(n)) for n in range(5)]
    site.run()
    site.branch.change(dns[0], sn="changed")
    site.branch.remove(dns[1])
    before, revision = site.contacts(), site.revision()
    site.configure(**BROKEN[fault](site))

    report = site.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert report.evidence is not None
    assert report.evidence.shortfalls
    assert site.contacts() == before
    assert site.revision() == revision
    stored = site.rows("SELECT * FROM run ORDER BY id DESC LIMIT 1")[0]
    assert (stored["outcome"], stored["why"]) == ("incomplete", report.why)
    assert stored["evidence"]["complete"] is False


def test_a_file_that_is_cut_in_half_removes_no_queue(site: Premises) -> None:
    """A half-written queue file is incomplete, with file and line, and every queue stays."""
    site.queues({"Sales": "1", "Support": "2"})
    site.run("acd")
    site.write_queues('[[queue]]\nname = "Sales"\nphoneNumber = "')

    report = site.run("acd")

    assert report.outcome is Outcome.INCOMPLETE
    assert "queues.toml" in report.why
    assert "line 3" in report.why or ":3" in report.why
    assert len(site.contacts("Queue")) == 2


def test_nothing_of_a_broken_read_is_kept_when_another_server_answers(site: Premises) -> None:
    """The first server dies after two pages; the whole is read again from the second, once and completely."""
    for number in range(10):
        site.branch.add(f"u{number}", "P", str(number))
    with Proxy(site.branch.slapd.port, searches=3) as proxy:
        site.configure(urls=f'"{proxy.url}", "{site.branch.slapd.url}"')
        report = site.run()

    assert report.outcome is Outcome.COMPLETED
    assert report.counts.added == len(site.contacts()) == 10
    assert report.tried
    assert report.evidence is not None
    assert report.evidence.server == site.branch.slapd.url


def test_a_bad_record_is_rejected_and_its_contact_stays(site: Premises) -> None:
    """A name that becomes too long: the run goes on, the good row stays, the reject is stored and mended later."""
    ada = site.branch.add("ada", "Ada", "Lovelace")
    site.branch.add("bob", "Bob", "Stone")
    site.run()
    site.branch.change(ada, sn="x" * 300)
    site.branch.add("cyd", "Cyd", "New")

    first, second = site.run(), site.run()

    assert first.outcome is second.outcome is Outcome.COMPLETED
    assert set(site.contacts()) == {"Ada Lovelace", "Bob Stone", "Cyd New"}
    rejects = site.rows("SELECT * FROM reject")
    assert len(rejects) == 1
    assert rejects[0]["place"].lower() == ada.lower()
    assert "300 characters" in rejects[0]["reason"]
    assert rejects[0]["record"]["sn"] == ["x" * 300]
    assert ([r.place.lower() for r in first.fresh_rejects], second.fresh_rejects) == ([ada.lower()], ())

    site.branch.change(ada, sn="King")
    site.run()
    assert "Ada King" in site.contacts()
    assert site.rows("SELECT * FROM reject") == []


def keyed_by_employee(site: Premises) -> None:
    site.file.write_text(site.file.read_text().replace('bind_dn = "', 'key = "employeeNumber"\nbind_dn = "', 1))


@pytest.mark.parametrize("first", ["known", "both new"])
def test_a_key_seen_twice_is_believed_from_neither(site: Premises, first: str) -> None:
    """Two entries with one key: both are rejected, and the contact that had the key stays as it was."""
    site.configure()
    keyed_by_employee(site)
    if first == "known":
        site.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
        site.run()
        site.branch.add("eve", "Eve", "Impostor", employeeNumber="7")
    else:
        site.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
        site.branch.add("eve", "Eve", "Impostor", employeeNumber="7")
    site.branch.add("bob", "Bob", "Stone", employeeNumber="8")

    for _ in range(2):
        report = site.run()
        assert report.outcome is Outcome.COMPLETED
        assert set(site.contacts()) == ({"Ada Lovelace", "Bob Stone"} if first == "known" else {"Bob Stone"})
        assert all("more than once" in row["reason"] for row in site.rows("SELECT * FROM reject"))
        assert report.counts.rejected >= 1


def test_records_without_a_key_hold_removals(site: Premises) -> None:
    """When keys become unreadable nobody knows who is who, so nobody is removed."""
    keyed_by_employee(site)
    ada = site.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
    site.branch.add("bob", "Bob", "Stone", employeeNumber="8")
    site.run()
    site.branch.change(ada, employeeNumber=[])

    report = site.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert "employeenumber" in report.why
    assert len(site.contacts()) == 2


def test_another_key_attribute_is_refused(site: Premises) -> None:
    """The key is pinned by the first complete run; another one would make everybody a new contact."""
    site.branch.add("ada", "Ada", "Lovelace", employeeNumber="7")
    site.run()
    before = site.contacts()
    keyed_by_employee(site)

    report = site.run()

    assert report.outcome is Outcome.FAILED
    assert 'key = "entryuuid"' in report.why
    assert site.contacts() == before


def test_plan_leaves_every_table_untouched_and_tells_what_sync_then_does(site: Premises) -> None:
    """The rows and their versions are the same before and after a plan; the sync makes exactly its changes."""
    ada = site.branch.add("ada", "Ada", "Lovelace", telephoneNumber="1")
    bob = site.branch.add("bob", "Bob", "Stone")
    site.run()
    site.branch.change(ada, telephoneNumber="2")
    site.branch.remove(bob)
    site.branch.add("cyd", "Cyd", "New")
    before = site.fingerprint()

    plan = site.command("plan", "corp")
    detailed = site.command("plan", "corp", "--detailed-exitcode")
    as_json = site.command("plan", "--json")

    assert site.fingerprint() == before
    assert (plan.returncode, detailed.returncode, as_json.returncode) == (0, 2, 0)
    assert "+ Cyd New" in plan.stdout
    assert "- Bob Stone" in plan.stdout
    assert re.search(r"^~ Ada Lovelace \(.+\): phoneNumbers 1 -> 2$", plan.stdout, re.MULTILINE)
    site.run()
    assert set(site.contacts()) == {"Ada Lovelace", "Cyd New"}
    assert site.command("plan", "corp", "--detailed-exitcode").returncode == 0


def test_plan_as_json_is_one_document_with_old_and_new_values(site: Premises) -> None:
    """What a program needs of a change: kind, key, and the members before and after."""
    import json

    ada = site.branch.add("ada", "Ada", "Lovelace")
    site.run()
    site.branch.change(ada, sn="King")

    document = json.loads(site.command("plan", "corp", "--json").stdout)

    change = document["plans"][0]["changes"][0]
    assert change["kind"] == "change"
    assert (change["old"]["lastName"], change["new"]["lastName"]) == ("Lovelace", "King")


def test_the_exit_status_tells_the_outcome(site: Premises) -> None:
    """0 done, 3 incomplete or held, 1 failed, 75 another run holds the source."""
    for number in range(4):
        site.branch.add(f"u{number}", "P", str(number))
    assert site.command("sync").returncode == 0
    site.configure(base=f"ou=none,{site.branch.base}")
    incomplete = site.command("sync", "corp")
    assert incomplete.returncode == 3
    assert "sync.incomplete" in incomplete.stderr
    site.configure(base=site.branch.base, database="postgresql://postgres@127.0.0.1:1/none")
    assert site.command("sync").returncode == 1
    site.configure(database=site.database_url)
    settings = load(site.file)
    with open_writer(open_engine(settings.database, Role.SYNC), "corp", "User") as writer:
        writer.claim()
        busy = site.command("sync", "corp")
        assert busy.returncode == 75
        assert "sync.skipped" in busy.stderr


def test_two_runs_of_one_source_never_overlap(site: Premises) -> None:
    """While one connection holds the source, a claim elsewhere is refused; another source is free."""
    database = open_engine(site.settings.database, Role.SYNC)
    with open_writer(database, "corp", "User") as holder:
        holder.claim()
        with pytest.raises(SourceBusy), open_writer(database, "corp", "User") as second:
            second.claim()
        assert site.run("acd").outcome is Outcome.COMPLETED
    assert site.run().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("moment", ["reading", "applying"])
def test_a_run_that_is_killed_leaves_the_directory_as_it_was(site: Premises, how: str, moment: str) -> None:
    """Killed while it reads or while it writes: no row differs, the next run works, the dead one is `crashed`."""
    import signal

    dns = [site.branch.add(f"u{n}", "P", str(n)) for n in range(8)]
    site.run()
    before = site.contacts()
    site.branch.change(dns[0], sn="changed")
    site.branch.remove(dns[1])
    log = site.folder / "killed.log"
    with psycopg.connect(site.database_url) as blocker, Proxy(site.branch.slapd.port, **STALL[moment]) as proxy:
        site.configure(urls=f'"{proxy.url}"', read_timeout="10m")
        if moment == "applying":
            blocker.execute("LOCK TABLE directory IN ACCESS EXCLUSIVE MODE")
        process = site.start("sync", "corp", log=log)
        wait_until(lambda: busy(site, moment))
        process.send_signal(signal.Signals[how])
        assert process.wait(60) != 0
    wait_until(lambda: not busy(site, "reading"))  # the lock is what the next run needs, whatever the dead one did

    assert site.contacts() == before
    site.configure(urls=f'"{site.branch.slapd.url}"')
    again = site.run()
    assert (again.outcome, again.counts.changed, again.counts.removed) == (Outcome.COMPLETED, 1, 1)
    outcomes = [row["outcome"] for row in site.rows("SELECT outcome FROM run ORDER BY id")]
    assert outcomes == ["completed", "crashed", "completed"]


STALL: dict[str, dict[str, Any]] = {"reading": {"then": "stall", "searches": 2}, "applying": {}}


def busy(site: Premises, moment: str) -> bool:
    """Whether a run holds the source's lock, is in the history, and has come to this moment."""
    locked = (
        "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
        "AND a.datname = current_database() AND EXISTS (SELECT FROM run WHERE outcome = 'running')"
    )
    return bool(site.rows(locked + (" AND a.wait_event_type = 'Lock'" if moment == "applying" else "")))


def test_a_lost_database_in_the_middle_of_a_run_is_an_error_with_a_sentence(site: Premises) -> None:
    """The server ends the run's session while it reads: exit status 1, directory as it was, next run works."""
    site.branch.add("ada")
    for number in range(8):
        site.branch.add(f"u{number}", "P", str(number))
    log = site.folder / "lost.log"
    with Proxy(site.branch.slapd.port, then="stall", searches=2) as proxy:
        site.configure(urls=f'"{proxy.url}"', read_timeout="10m")
        process = site.start("sync", "corp", log=log)
        wait_until(lambda: busy(site, "reading"))
        with psycopg.connect(site.database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
    # the end of the proxy ends the read: not before the session was lost, however long that took
    assert process.wait(60) == 1
    assert "the database does not answer" in log.read_text()
    assert site.contacts() == {}
    site.configure(urls=f'"{site.branch.slapd.url}"')
    assert site.run().counts.added == 9


def test_two_sources_with_the_same_person_do_not_touch_each_other(site: Premises, tmp_path: Path) -> None:
    """Each source has rows of its own, whatever their names and keys."""
    site.branch.add("ada", "Ada", "Lovelace")
    other = '[[user]]\nname = "Ada Lovelace"\nuserName = "ada"\n'
    (site.folder / "people.toml").write_text(other)
    site.configure(
        f'[[source]]\nname = "extra"\ntype = "User"\nkind = "file"\npath = "people.toml"\nschedule = {NEVER}\n'
    )
    site.run("corp")
    site.run("extra")
    (site.folder / "people.toml").write_text('[[user]]\nname = "Bob"\n')

    report = site.run("extra")

    names = site.rows("SELECT name, source FROM contact_user WHERE state = 'active' ORDER BY 1")
    assert [(row["name"], row["source"]) for row in names] == [("Ada Lovelace", "corp"), ("Bob", "extra")]
    assert report.counts.population == 1


def test_a_run_as_the_sync_role_cannot_name_custom_rows(site: Premises) -> None:
    """The connection that a run writes with is refused by PostgreSQL on Custom contacts."""
    site.rows(CUSTOM + " RETURNING id")
    database = open_engine(site.settings.database, Role.SYNC)
    with database.connect() as connection, pytest.raises(Exception, match="permission denied"):
        connection.exec_driver_sql("UPDATE contact_custom SET name = 'x'")
    database.dispose()


def test_values_of_every_script_and_quote_survive(site: Premises) -> None:
    """Commas, quotes, backslashes, tabs and letters of any script arrive as they are, cleaned as documented."""
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
        site.branch.add(f"u{number}", "N", text, telephoneNumber=f"+1 {number}", mail=f"u{number}@example.com")

    site.run()

    expected = {f"N {text}" for text in odd[:6]} | {"N \u00e9 two blanks", "N \\N", "N NULL"}
    assert set(site.contacts()) == expected
    assert site.run().counts.changed == 0


def test_sync_ids_are_random_and_unique(site: Premises) -> None:
    """Ids are version 4 UUIDs of ours, not derived from the source."""
    for number in range(5):
        site.branch.add(f"u{number}", "P", str(number))
    site.run()
    ids = [row["id"] for row in site.contacts().values()]
    assert len(set(ids)) == 5
    assert all(uuid.UUID(str(id_)).version == 4 for id_ in ids)


def test_a_run_waits_for_no_reader(site: Premises) -> None:
    """A long read of the directory does not hold a run up."""
    site.branch.add("ada")
    with psycopg.connect(site.database_url) as reader:
        reader.execute("SELECT * FROM contact")
        started = time.monotonic()
        assert site.run().outcome is Outcome.COMPLETED
        assert time.monotonic() - started < 60


def test_help_names_every_command() -> None:
    """`syncd --help` works without settings."""
    import sys

    done = subprocess.run([sys.executable, "-m", "syncd", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    named = {line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()}
    assert named == {
        "run", "sync", "plan", "apply", "status", "held", "approve", "reject", "rejects", "explain", "undo", "purge",
        "migrate", "token", "demo", "drill", "export", "import", "check",
    }  # fmt: skip
