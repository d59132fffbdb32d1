"""`syncd status` and the run events of the log: sources, evidence, pending removals and counts."""

import json
import re
from typing import Any

import psycopg
import pytest

from syncd.cli.formatting import format_duration
from tests.environment import Environment

GRACE = 'grace = "1h"\ngrace_runs = 3\n'


@pytest.fixture
def people(env: Environment) -> dict[str, str]:
    """Sync eight people once, with a grace of one hour and three runs; return name -> DN."""
    env.configure(lifecycle=GRACE)
    dns = {f"Pat {n}": env.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(8)}
    env.run()
    env.run("acd")
    return dns


def status(env: Environment) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(env.run_command("status", "--json").stdout)
    return document


def events(env: Environment, *words: str) -> dict[str, dict[str, Any]]:
    """Run a command; return its log events by name."""
    return {line["event"]: line for line in map(json.loads, env.run_command(*words).stderr.splitlines())}


def age_absences(env: Environment) -> None:
    """Make all absences two hours older."""
    with psycopg.connect(env.database_url) as connection:
        connection.execute("UPDATE contact SET state_since = state_since - interval '2h' WHERE state = 'missing'")


def test_pending_removals_come_true(env: Environment, people: dict[str, str]) -> None:
    """Missing contacts are listed with time and runs to go; incomplete runs do not count; at 0 they are removed."""
    env.branch.remove(people["Pat 1"])
    env.run()
    assert [(removal["name"], removal["runsToGo"]) for removal in status(env)["leaving"]] == [("Pat 1", 2)]
    env.configure(base=f"ou=none,{env.branch.base}")
    env.run()
    env.configure(base=env.branch.base)
    assert [removal["runsToGo"] for removal in status(env)["leaving"]] == [2]
    env.run()
    assert [removal["runsToGo"] for removal in status(env)["leaving"]] == [1]
    env.run()
    assert [removal["runsToGo"] for removal in status(env)["leaving"]] == [1], "the hour is not over"
    age_absences(env)

    assert "Pat 1" in env.served_contacts()
    assert env.run().counts.removed == 1
    assert status(env)["leaving"] == []


def test_a_running_sync_does_not_hide_the_last_outcome(env: Environment, people: dict[str, str]) -> None:
    """Outcome and reason of the last run are shown until the next one has ended."""
    env.configure(base=f"ou=none,{env.branch.base}")
    failed = env.run()
    with psycopg.connect(env.database_url) as connection:
        connection.execute("INSERT INTO run (source, host, pid) VALUES ('corp', 'here', 1)")

    document = status(env)
    corp = next(source for source in document["sources"] if source["name"] == "corp")
    assert (corp["running"], corp["outcome"], corp["run"]) == (True, "incomplete", failed.run)
    assert document["status"] == "degraded"
    assert corp["why"]
    assert "incomplete (3), the next is running" in re.sub(r"\s+", " ", env.run_command("status").stdout)


def test_the_table_shows_evidence_and_pending_removals(env: Environment, people: dict[str, str]) -> None:
    """Server, identity, pages, result codes and counts of the last read are shown, then the missing contacts."""
    env.branch.remove(people["Pat 1"])
    env.run()

    result = env.run_command("status")

    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == "ok"
    assert re.search(r"^8 User contacts; revision \d+$", result.stdout, re.MULTILINE)
    assert re.search(r"corp +│ User +│ completed \(\d+\) +│ \d+ (s|min) +│ +1 │ +0 │ +0 │", result.stdout)
    evidence = next(line for line in result.stdout.splitlines() if line.startswith("corp: "))
    assert re.fullmatch(
        rf"corp: complete; {env.branch.slapd.url} as {env.branch.slapd.root_dn}; 3 pages with result codes 0 ×3; "
        r"7 entries, 0 references in [\d.]+ s",
        evidence,
    )
    assert re.search(r"│ corp +│ Pat 1 │ [0-9a-f-]{36} │ \d{4}-.+ │ \d{4}-.+ │ 2 ", result.stdout)


def test_many_pending_removals_are_shown_on_demand(env: Environment) -> None:
    """Twenty are shown, and all with --leaving."""
    env.configure(lifecycle=GRACE, max_removals=100, guard="max_removals_day = 100\nmax_removals_week = 100\n")
    env.write_queues({f"Queue {n:02}": str(n) for n in range(30)})
    env.run("acd")
    env.write_queues({f"Queue {n:02}": str(n) for n in range(5)})
    env.run("acd")

    few, everybody = env.run_command("status").stdout, env.run_command("status", "--leaving").stdout

    assert "the first 20 of 25 (--leaving shows all)" in few
    assert [len(re.findall(r"│ Queue \d\d │ Queue \d\d │", text)) for text in (few, everybody)] == [20, 25]
    assert len(status(env)["leaving"]) == 25


def test_an_incomplete_read_shows_its_reasons(env: Environment, people: dict[str, str]) -> None:
    """The code is in the line of the source, the sentence once among the reasons."""
    env.configure(base=f"ou=none,{env.branch.base}")
    env.run()

    result = env.run_command("status")

    assert re.search(r"^corp: incomplete \(base\); ldap://", result.stdout, re.MULTILINE)
    assert result.stdout.startswith("degraded\n  - ")
    assert result.stdout.count("noSuchObject; correct the source's base") == 1


def test_a_table_shows_names_literally(env: Environment) -> None:
    """Markup and emoji codes of the table renderer are printed literally."""
    env.configure(lifecycle=GRACE, max_removals=100, guard="max_removals_day = 100\nmax_removals_week = 100\n")
    env.write_queues({"[red]Sales[/red] :smile:": "1", "Support": "2"})
    env.run("acd")
    env.write_queues({"Support": "2"})
    env.run("acd")

    assert "│ [red]Sales[/red] :smile: │" in env.run_command("status").stdout


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_799, "47 h"), (172_800, "2 d")],
)
def test_format_duration(seconds: int, expected: str) -> None:
    """The largest unit of which there are at least two is used."""
    assert format_duration(seconds) == expected


def test_held_removals_degrade_until_decided(env: Environment, people: dict[str, str]) -> None:
    """Held removals degrade the status; after `reject` it is ok, before and after the next run."""
    for n in range(3):
        env.branch.remove(people[f"Pat {n}"])
    run = env.run()
    before = status(env)

    env.run_command("reject", str(run.run))

    after = status(env)
    env.run()
    later = status(env)
    assert before["status"] == "degraded"
    assert "3 of 8 contacts would leave" in before["why"][0]
    assert (before["sources"][0]["held"], before["sources"][0]["kept"]) == (3, 0)
    for document in (after, later):
        assert (document["status"], document["why"]) == ("ok", [])
        assert (document["sources"][0]["held"], document["sources"][0]["kept"]) == (0, 3)
    assert later["sources"][0]["why"] == "3 contacts stay because a person decided so"


def test_a_held_attribute_is_named(env: Environment, people: dict[str, str]) -> None:
    """A held attribute is named in status and log."""
    for dn in people.values():
        env.branch.change(dn, telephoneNumber=[])

    held = events(env, "sync", "corp")["sync.held"]

    assert held["attributes"] == ["telephonenumber"]
    assert status(env)["sources"][0]["heldAttributes"] == ["telephonenumber"]


def test_the_certificate_of_the_last_complete_read_is_kept(env: Environment, people: dict[str, str]) -> None:
    """It is read from the database, so it is known after a failed read and a restart."""
    ends = '{"certificateEnds": "2026-01-02T03:04:05+00:00"}'
    with psycopg.connect(env.database_url) as connection:
        connection.execute("UPDATE run SET evidence = evidence || %s WHERE source = 'corp'", (ends,))
    env.configure(password_file="wrong-password")
    env.run()

    assert "; certificate until 2026-01-02" in env.run_command("status").stdout
    document = status(env)
    assert document["sources"][0]["certificateEnds"] == "2026-01-02T03:04:05+00:00"
    assert "the certificate of corp's server ends on 2026-01-02; have it renewed before" in document["why"]


def test_the_run_event_has_all_fields(env: Environment, people: dict[str, str]) -> None:
    """The event has job, counts and evidence, and the approved run after an approval."""
    for n in range(3):
        env.branch.remove(people[f"Pat {n}"])
    env.branch.change(people["Pat 3"], telephoneNumber="1")

    held = events(env, "sync", "corp")["sync.held"]
    env.run_command("approve", str(held["run"]))
    approved = events(env, "sync", "corp")["sync.completed"]
    env.branch.remove(people["Pat 4"])
    missing = events(env, "sync", "corp")["sync.completed"]

    assert (held["job"], held["entries"], held["changed"], held["held"], held["missing"]) == ("sync", 5, 1, 3, 0)
    assert (held["complete"], held["settled"], held["pages"], held["codes"]) == (True, False, 2, {"0": 2})
    assert (held["references"], held["server"]) == (0, env.branch.slapd.url)
    assert "approved" not in held
    assert (approved["approved"], approved["removed"], approved["settled"]) == (held["run"], 3, True)
    assert (missing["missing"], missing["removed"]) == (1, 0)
