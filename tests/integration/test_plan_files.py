"""`syncd plan --out` and `syncd apply`: exactly what was shown, or nothing; and what a plan shows of each change."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.environment import Premises


@pytest.fixture
def people(site: Premises) -> dict[str, str]:
    """Six people who were synced once: name -> DN."""
    dns = {f"Pat {n}": site.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(6)}
    site.run()
    return dns


def planned(site: Premises, *sources: str) -> Path:
    """A plan in a file."""
    path = site.folder / "plan.json"
    done = site.command("plan", *sources, "--out", str(path))
    assert done.returncode in {0, 3}, done.stderr
    assert str(path) in done.stderr
    return path


def move(site: Premises, people: dict[str, str]) -> None:
    """One comes, one goes, one changes."""
    site.branch.add("new", "New", "Person")
    site.branch.remove(people["Pat 1"])
    site.branch.change(people["Pat 2"], telephoneNumber="556 2")


def people_of(site: Premises) -> dict[str, list[dict[str, str]]]:
    return {name: row["numbers"] for name, row in site.contacts().items()}


def test_a_plan_is_applied_exactly_as_it_was_shown(site: Premises, people: dict[str, str]) -> None:
    """Nothing is written before, all of it after, and it can be applied once."""
    move(site, people)
    site.queues({"Sales": "1"})
    before = people_of(site)

    path = planned(site)
    assert people_of(site) == before
    applied, again = site.command("apply", str(path)), site.command("apply", str(path))

    assert applied.returncode == 0, applied.stderr
    assert "corp: completed: 6 entries; 1 added, 1 changed, 0 missing, 1 removed" in applied.stdout
    assert set(people_of(site)) == set(before) - {"Pat 1"} | {"New Person"}
    assert people_of(site)["Pat 2"][0]["phoneNumber"] == "556 2"
    assert list(site.contacts("Queue")) == ["Sales"]
    assert again.returncode == 1
    assert re.search(r"New Person \(.+\): add was planned and is no longer due", again.stdout)


def test_a_plan_is_refused_when_the_source_has_moved(site: Premises, people: dict[str, str]) -> None:
    """Status 1, what moved is shown with old and new values, and nothing at all is written."""
    move(site, people)
    path = planned(site, "corp")
    site.branch.change(people["Pat 3"], telephoneNumber="557 3")
    site.branch.change(people["Pat 2"], telephoneNumber="558 2")
    before = people_of(site)

    done = site.command("apply", str(path))

    assert done.returncode == 1
    assert "corp: failed" in done.stdout
    assert "nothing was written; plan again" in done.stdout
    assert re.search(r"Pat 3 \(.+\): change was not planned", done.stdout)
    assert re.search(r"Pat 2 \(.+\): .*556 2.*558 2", done.stdout)
    assert "New Person" not in done.stdout
    assert people_of(site) == before


def test_a_plan_that_cannot_be_used_changes_nothing(site: Premises, people: dict[str, str]) -> None:
    """A source that there is no more, a read that proved nothing, a damaged file: a sentence each, and status 1."""
    move(site, people)
    before = people_of(site)
    path = planned(site, "corp")

    def refused(**changes: Any) -> str:
        document = json.loads(path.read_text())
        document["plans"][0].update(changes)
        other = site.folder / "other.json"
        other.write_text(json.dumps(document))
        done = site.command("apply", str(other))
        assert done.returncode == 1, done.stdout
        return done.stderr

    assert "is a plan for 'old', and the settings have no such source" in refused(source="old")
    assert "the run that planned corp was incomplete" in refused(outcome="incomplete", why="size limit")
    assert "is damaged" in refused(changes=[])
    assert people_of(site) == before


def test_an_incomplete_plan_is_written_and_not_applied(site: Premises, people: dict[str, str]) -> None:
    """The file says why the read proves nothing."""
    site.configure(base=f"ou=none,{site.branch.base}")

    path = planned(site, "corp")
    done = site.command("apply", str(path))

    plan = json.loads(path.read_text())["plans"][0]
    assert (plan["outcome"], plan["changes"], plan["evidence"]["complete"]) == ("incomplete", [], False)
    assert done.returncode == 1
    assert "says nothing to apply" in done.stderr


def test_what_is_held_is_part_of_the_plan(site: Premises, people: dict[str, str]) -> None:
    """Removals that the guard holds are shown with `!` and stay when the plan is applied: status 3."""
    for n in range(3):
        site.branch.remove(people[f"Pat {n}"])
    site.branch.add("new", "New", "Person")

    shown = site.command("plan", "corp")
    path = planned(site, "corp")
    done = site.command("apply", str(path))

    lines = re.findall(r"^! Pat \d \(.+\): remove is held: 3 of 6 contacts would leave", shown.stdout, re.MULTILINE)
    assert len(lines) == 3
    assert (shown.returncode, done.returncode) == (3, 3)
    assert set(people_of(site)) == {*people, "New Person"}


def test_a_plan_shows_each_change_with_its_sign(site: Premises, people: dict[str, str]) -> None:
    """`+` added, `~` old -> new, `-` removed, `?` missing, `<` back; the same changes are in the JSON."""
    site.branch.remove(people["Pat 1"])
    site.run()
    site.configure(lifecycle='grace = "1h"\ngrace_runs = 2\n')
    site.branch.remove(people["Pat 4"])
    site.run()
    site.branch.add("u4", "Pat", "4")
    site.branch.add("new", "New", "Person", telephoneNumber="1")
    site.branch.remove(people["Pat 5"])
    site.branch.change(people["Pat 2"], telephoneNumber=[])

    text = site.command("plan", "corp").stdout
    document = json.loads(site.command("plan", "corp", "--json").stdout)["plans"][0]

    key = r" \([0-9a-f-]{36}\)"
    assert re.search(rf"^\+ New Person{key}: .*phoneNumbers 1$", text, re.MULTILINE)
    assert re.search(rf"^~ Pat 2{key}: phoneNumbers 555 2 -> \(none\)$", text, re.MULTILINE)
    assert re.search(rf"^\? Pat 5{key}$", text, re.MULTILINE)
    kinds = {(change["kind"], (change["new"] or change["old"])["name"]) for change in document["changes"]}
    assert kinds >= {("add", "New Person"), ("change", "Pat 2"), ("miss", "Pat 5")}
    changed = next(change for change in document["changes"] if change["kind"] == "change")
    assert changed["old"]["phoneNumbers"][0]["phoneNumber"] == "555 2"
    assert "phoneNumbers" not in changed["new"]
    assert document["counts"]["missing"] == 1


def test_who_is_back_is_shown(site: Premises) -> None:
    """A queue that was removed and is listed again: `<`, with what is different now."""
    site.queues({"Sales": "1", "Support": "2"})
    site.run("acd")
    site.queues({"Support": "2"})
    site.run("acd")
    site.queues({"Sales": "3", "Support": "2"})

    text = site.command("plan", "acd").stdout

    assert "< Sales (Sales): phoneNumbers 1 -> 3" in text
