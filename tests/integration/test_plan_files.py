"""`syncd plan --out` and `syncd apply`: exactly the planned changes or none; output of each change."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.environment import Environment


@pytest.fixture
def people(env: Environment) -> dict[str, str]:
    """Sync six people once; return name -> DN."""
    dns = {f"Pat {n}": env.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(6)}
    env.run()
    return dns


def write_plan(env: Environment, *sources: str) -> Path:
    """Write a plan file; return its path."""
    path = env.folder / "plan.json"
    result = env.run_command("plan", *sources, "--out", str(path))
    assert result.returncode in {0, 3}, result.stderr
    assert str(path) in result.stderr
    return path


def change_source(env: Environment, people: dict[str, str]) -> None:
    """Add a person, remove one and change one."""
    env.branch.add("new", "New", "Person")
    env.branch.remove(people["Pat 1"])
    env.branch.change(people["Pat 2"], telephoneNumber="556 2")


def numbers_by_name(env: Environment) -> dict[str, list[dict[str, str]]]:
    return {name: row["numbers"] for name, row in env.served_contacts().items()}


def test_a_plan_is_applied_exactly(env: Environment, people: dict[str, str]) -> None:
    """Nothing is written before, everything after, and a second application fails."""
    change_source(env, people)
    env.write_queues({"Sales": "1"})
    before = numbers_by_name(env)

    path = write_plan(env)
    assert numbers_by_name(env) == before
    applied, again = env.run_command("apply", str(path)), env.run_command("apply", str(path))

    assert applied.returncode == 0, applied.stderr
    assert "corp: completed: 6 entries; 1 added, 1 changed, 0 missing, 1 removed" in applied.stdout
    assert set(numbers_by_name(env)) == set(before) - {"Pat 1"} | {"New Person"}
    assert numbers_by_name(env)["Pat 2"][0]["phoneNumber"] == "556 2"
    assert list(env.served_contacts("Queue")) == ["Sales"]
    assert again.returncode == 1
    assert re.search(r"New Person \(.+\): add was planned and is no longer due", again.stdout)


def test_a_plan_is_refused_after_a_change_of_the_source(env: Environment, people: dict[str, str]) -> None:
    """Status 1; the differences are shown with old and new values, and nothing is written."""
    change_source(env, people)
    path = write_plan(env, "corp")
    env.branch.change(people["Pat 3"], telephoneNumber="557 3")
    env.branch.change(people["Pat 2"], telephoneNumber="558 2")
    before = numbers_by_name(env)

    result = env.run_command("apply", str(path))

    assert result.returncode == 1
    assert "corp: failed" in result.stdout
    assert "nothing was written; plan again" in result.stdout
    assert re.search(r"Pat 3 \(.+\): change was not planned", result.stdout)
    assert re.search(r"Pat 2 \(.+\): .*556 2.*558 2", result.stdout)
    assert "New Person" not in result.stdout
    assert numbers_by_name(env) == before


def test_a_plan_that_cannot_be_used_changes_nothing(env: Environment, people: dict[str, str]) -> None:
    """An unknown source, an incomplete read, a damaged file: a reason each, and status 1."""
    change_source(env, people)
    before = numbers_by_name(env)
    path = write_plan(env, "corp")

    def apply_edited(**changes: Any) -> str:
        document = json.loads(path.read_text())
        document["plans"][0].update(changes)
        other = env.folder / "other.json"
        other.write_text(json.dumps(document))
        result = env.run_command("apply", str(other))
        assert result.returncode == 1, result.stdout
        return result.stderr

    assert "is a plan for 'old', and the settings have no such source" in apply_edited(source="old")
    assert "the plan of corp is incomplete and cannot be applied" in apply_edited(
        outcome="incomplete", why="size limit"
    )
    assert "is damaged" in apply_edited(changes=[])
    assert numbers_by_name(env) == before


def test_an_incomplete_plan_is_written_and_not_applied(env: Environment, people: dict[str, str]) -> None:
    """The file contains the evidence of the incomplete read."""
    env.configure(base=f"ou=none,{env.branch.base}")

    path = write_plan(env, "corp")
    result = env.run_command("apply", str(path))

    plan = json.loads(path.read_text())["plans"][0]
    assert (plan["outcome"], plan["changes"], plan["evidence"]["complete"]) == ("incomplete", [], False)
    assert result.returncode == 1
    assert "cannot be applied" in result.stderr


def test_held_removals_are_part_of_the_plan(env: Environment, people: dict[str, str]) -> None:
    """Removals that the guard holds are shown with `!` and stay when the plan is applied: status 3."""
    for n in range(3):
        env.branch.remove(people[f"Pat {n}"])
    env.branch.add("new", "New", "Person")

    shown = env.run_command("plan", "corp")
    path = write_plan(env, "corp")
    result = env.run_command("apply", str(path))

    lines = re.findall(r"^! Pat \d \(.+\): remove is held: 3 of 6 contacts would leave", shown.stdout, re.MULTILINE)
    assert len(lines) == 3
    assert (shown.returncode, result.returncode) == (3, 3)
    assert set(numbers_by_name(env)) == {*people, "New Person"}


def test_a_plan_shows_each_change_with_its_sign(env: Environment, people: dict[str, str]) -> None:
    """`+` added, `~` old -> new, `-` removed, `?` missing, `<` back; the same changes are in the JSON."""
    env.branch.remove(people["Pat 1"])
    env.run()
    env.configure(lifecycle='grace = "1h"\ngrace_runs = 2\n')
    env.branch.remove(people["Pat 4"])
    env.run()
    env.branch.add("u4", "Pat", "4")
    env.branch.add("new", "New", "Person", telephoneNumber="1")
    env.branch.remove(people["Pat 5"])
    env.branch.change(people["Pat 2"], telephoneNumber=[])

    text = env.run_command("plan", "corp").stdout
    document = json.loads(env.run_command("plan", "corp", "--json").stdout)["plans"][0]

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


def test_a_returning_contact_is_shown(env: Environment) -> None:
    """A queue that was removed and is listed again is shown with `<` and its changed members."""
    env.write_queues({"Sales": "1", "Support": "2"})
    env.run("acd")
    env.write_queues({"Support": "2"})
    env.run("acd")
    env.write_queues({"Sales": "3", "Support": "2"})

    text = env.run_command("plan", "acd").stdout

    assert "< Sales (Sales): phoneNumbers 1 -> 3" in text
