"""`syncd status` and the log: what an operator reads of sources, evidence, who leaves when, and of each run."""

import json
import re
from typing import Any

import psycopg
import pytest

from syncd.cli.formatting import span
from tests.environment import Premises

GRACE = 'grace = "1h"\ngrace_runs = 3\n'


@pytest.fixture
def people(site: Premises) -> dict[str, str]:
    """Eight people who were synced once: name -> DN. The missing have an hour and three runs."""
    site.configure(lifecycle=GRACE)
    dns = {f"Pat {n}": site.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(8)}
    site.run()
    site.run("acd")
    return dns


def status(site: Premises) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.command("status", "--json").stdout)
    return found


def lines(site: Premises, *words: str) -> dict[str, dict[str, Any]]:
    """What a command logs, by event."""
    return {line["event"]: line for line in map(json.loads, site.command(*words).stderr.splitlines())}


def shift(site: Premises) -> None:
    """Let all absences be two hours older."""
    with psycopg.connect(site.database_url) as connection:
        connection.execute("UPDATE contact SET state_since = state_since - interval '2h' WHERE state = 'missing'")


def test_the_forecast_comes_true(site: Premises, people: dict[str, str]) -> None:
    """Who is missing is listed with hour and runs to go; an incomplete run does not count; at nought they leave."""
    site.branch.remove(people["Pat 1"])
    site.run()
    assert [(one["name"], one["runsToGo"]) for one in status(site)["leaving"]] == [("Pat 1", 2)]
    site.configure(base=f"ou=none,{site.branch.base}")
    site.run()
    site.configure(base=site.branch.base)
    assert [one["runsToGo"] for one in status(site)["leaving"]] == [2]
    site.run()
    assert [one["runsToGo"] for one in status(site)["leaving"]] == [1]
    site.run()
    assert [one["runsToGo"] for one in status(site)["leaving"]] == [1], "the hour is not over"
    shift(site)

    assert "Pat 1" in site.contacts()
    assert site.run().counts.removed == 1
    assert status(site)["leaving"] == []


def test_a_run_that_goes_on_hides_nothing(site: Premises, people: dict[str, str]) -> None:
    """What the last one came to, and why, is told until the next one has come to its end."""
    site.configure(base=f"ou=none,{site.branch.base}")
    failed = site.run()
    with psycopg.connect(site.database_url) as connection:
        connection.execute("INSERT INTO run (source, host, pid) VALUES ('corp', 'here', 1)")

    found = status(site)
    corp = next(source for source in found["sources"] if source["name"] == "corp")
    assert (corp["running"], corp["outcome"], corp["run"]) == (True, "incomplete", failed.run)
    assert found["status"] == "degraded"
    assert corp["why"]
    assert "incomplete (3), the next is going on" in re.sub(r"\s+", " ", site.command("status").stdout)


def test_the_table_shows_evidence_and_who_leaves(site: Premises, people: dict[str, str]) -> None:
    """Server, identity, pages, result codes and counts of the last read; below, the missing with their times."""
    site.branch.remove(people["Pat 1"])
    site.run()

    done = site.command("status")

    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "ok"
    assert re.search(r"^8 User contacts; revision \d+$", done.stdout, re.MULTILINE)
    assert re.search(r"corp +│ User +│ completed \(\d+\) +│ \d+ (s|min) +│ +1 │ +0 │ +0 │", done.stdout)
    evidence = next(line for line in done.stdout.splitlines() if line.startswith("corp: "))
    assert re.fullmatch(
        rf"corp: complete; {site.branch.slapd.url} as {site.branch.slapd.root_dn}; 3 pages with result codes 0 ×3; "
        r"7 entries, 0 references in [\d.]+ s",
        evidence,
    )
    assert re.search(r"│ corp +│ Pat 1 │ [0-9a-f-]{36} │ \d{4}-.+ │ \d{4}-.+ │ 2 ", done.stdout)


def test_many_who_leave_are_shown_on_demand(site: Premises) -> None:
    """Twenty of them, and all with --leaving."""
    site.configure(lifecycle=GRACE, max_removals=100, guard="max_removals_day = 100\nmax_removals_week = 100\n")
    site.queues({f"Queue {n:02}": str(n) for n in range(30)})
    site.run("acd")
    site.queues({f"Queue {n:02}": str(n) for n in range(5)})
    site.run("acd")

    few, everybody = site.command("status").stdout, site.command("status", "--leaving").stdout

    assert "the first 20 of 25 (--leaving shows all)" in few
    assert [len(re.findall(r"│ Queue \d\d │ Queue \d\d │", text)) for text in (few, everybody)] == [20, 25]
    assert len(status(site)["leaving"]) == 25


def test_an_incomplete_read_shows_its_shortfalls(site: Premises, people: dict[str, str]) -> None:
    """With the code in its line and the sentence, once, among the reasons."""
    site.configure(base=f"ou=none,{site.branch.base}")
    site.run()

    done = site.command("status")

    assert re.search(r"^corp: not complete \(base\); ldap://", done.stdout, re.MULTILINE)
    assert done.stdout.startswith("degraded\n  - ")
    assert done.stdout.count("noSuchObject; correct the source's base") == 1


def test_a_table_shows_names_as_they_are(site: Premises) -> None:
    """What a renderer would take for a style or an emoji is a part of somebody's name."""
    site.configure(lifecycle=GRACE, max_removals=100, guard="max_removals_day = 100\nmax_removals_week = 100\n")
    site.queues({"[red]Sales[/red] :smile:": "1", "Support": "2"})
    site.run("acd")
    site.queues({"Support": "2"})
    site.run("acd")

    assert "│ [red]Sales[/red] :smile: │" in site.command("status").stdout


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_799, "47 h"), (172_800, "2 d")],
)
def test_ages_are_told_in_a_unit_that_fits(seconds: int, said: str) -> None:
    """The largest of which there are two."""
    assert span(seconds) == said


def test_what_is_held_degrades_until_a_person_decides(site: Premises, people: dict[str, str]) -> None:
    """Held: degraded with the sentence. Rejected: decided, so well again, before and after the next run."""
    for n in range(3):
        site.branch.remove(people[f"Pat {n}"])
    run = site.run()
    before = status(site)

    site.command("reject", str(run.run))

    after = status(site)
    site.run()
    later = status(site)
    assert before["status"] == "degraded"
    assert "3 of 8 contacts would leave" in before["why"][0]
    assert (before["sources"][0]["held"], before["sources"][0]["kept"]) == (3, 0)
    for found in (after, later):
        assert (found["status"], found["why"]) == ("ok", [])
        assert (found["sources"][0]["held"], found["sources"][0]["kept"]) == (0, 3)
    assert later["sources"][0]["why"] == "3 contacts stay because a person decided so"


def test_a_held_attribute_is_named(site: Premises, people: dict[str, str]) -> None:
    """In status and in the log."""
    for dn in people.values():
        site.branch.change(dn, telephoneNumber=[])

    held = lines(site, "sync", "corp")["sync.held"]

    assert held["attributes"] == ["telephonenumber"]
    assert status(site)["sources"][0]["heldAttributes"] == ["telephonenumber"]


def test_the_certificate_of_the_last_complete_read_is_remembered(site: Premises, people: dict[str, str]) -> None:
    """Also when the server cannot be read any more, and none of it is left in memory."""
    ends = '{"certificateEnds": "2026-01-02T03:04:05+00:00"}'
    with psycopg.connect(site.database_url) as connection:
        connection.execute("UPDATE run SET evidence = evidence || %s WHERE source = 'corp'", (ends,))
    site.configure(password_file="wrong-password")
    site.run()

    assert "; certificate until 2026-01-02" in site.command("status").stdout
    found = status(site)
    assert found["sources"][0]["certificateEnds"] == "2026-01-02T03:04:05+00:00"
    assert "the certificate of corp's server ends on 2026-01-02; have it renewed before" in found["why"]


def test_the_wide_line_tells_the_whole_run(site: Premises, people: dict[str, str]) -> None:
    """Job, counts, what the read proved and how; after an approval also whose list it was."""
    for n in range(3):
        site.branch.remove(people[f"Pat {n}"])
    site.branch.change(people["Pat 3"], telephoneNumber="1")

    held = lines(site, "sync", "corp")["sync.held"]
    site.command("approve", str(held["run"]))
    approved = lines(site, "sync", "corp")["sync.completed"]
    site.branch.remove(people["Pat 4"])
    missing = lines(site, "sync", "corp")["sync.completed"]

    assert (held["job"], held["entries"], held["changed"], held["held"], held["missing"]) == ("sync", 5, 1, 3, 0)
    assert (held["complete"], held["settled"], held["pages"], held["codes"]) == (True, False, 2, {"0": 2})
    assert (held["references"], held["server"]) == (0, site.branch.slapd.url)
    assert "approved" not in held
    assert (approved["approved"], approved["removed"], approved["settled"]) == (held["run"], 3, True)
    assert (missing["missing"], missing["removed"]) == (1, 0)
