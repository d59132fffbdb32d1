"""`syncd explain` on real servers: each reason for the state or absence of a contact has its unique code."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from syncd.app import use_cases
from syncd.demo.servers import free_port
from syncd.drill.proxy import dead_port
from tests.environment import ROOT, Environment
from tests.waiting import wait_until


def unique(env: Environment, text: str) -> str:
    """Make a text unique to one test, because explain searches the whole shared LDAP server."""
    return text + str(int(env.branch.base[4:12], 16))


def ada(env: Environment) -> str:
    """Return the name of the person under test."""
    return f"Ada {unique(env, 'L')}"


def answer_of(env: Environment, text: str, source: str = "corp") -> dict[str, Any]:
    """Explain a text and return the only answer of a source."""
    explanation = use_cases.explain(env.settings, text).to_json()
    answers: list[dict[str, Any]] = [answer for answer in explanation["sources"] if answer["source"] == source]
    assert len(answers) == 1, answers
    return answers[0]


@pytest.fixture
def synced(env: Environment) -> Environment:
    """Sync Ada and Bob; the filter excludes entries whose employeeType is hidden."""
    env.configure(lifecycle='grace = "1h"\ngrace_runs = 2\n')
    text = env.config_file.read_text()
    at = text.index("page_size")
    env.config_file.write_text(
        text[:at] + 'filter = "(&(objectClass=inetOrgPerson)(!(employeeType=hidden)))"\n' + text[at:]
    )
    env.branch.add(
        unique(env, "ada"),
        "Ada",
        unique(env, "L"),
        telephoneNumber=[unique(env, "+1 555 ")],
        mail=f"{unique(env, 'ada')}@example.com",
    )
    env.branch.add("bob", "Bob", "Stone")
    env.run()
    return env


def remove(synced: Environment) -> None:
    """Delete the entry and sync."""
    synced.branch.remove(f"uid={unique(synced, 'ada')},{synced.branch.base}")
    synced.run()


def move_out_of_base(synced: Environment) -> None:
    """Move the entry to another part of the tree."""
    elsewhere = synced.branch.add_unit(f"ou=former-{synced.branch.base[4:12]},{ROOT}")
    synced.branch.rename(f"uid={unique(synced, 'ada')},{synced.branch.base}", f"uid={unique(synced, 'ada')}", elsewhere)


def hide(synced: Environment) -> None:
    """Make the filter exclude the entry."""
    synced.branch.change(f"uid={unique(synced, 'ada')},{synced.branch.base}", employeeType="hidden")


def make_unmappable(synced: Environment) -> None:
    """Make the name too long to be mapped."""
    synced.branch.change(f"uid={unique(synced, 'ada')},{synced.branch.base}", givenName="A" * 300)


def hold(synced: Environment) -> None:
    """Delete the entry and sync while no removal is allowed."""
    synced.configure(max_removals=0)
    remove(synced)


def reject_removal(synced: Environment) -> None:
    """Reject the held removal."""
    hold(synced)
    with psycopg.connect(synced.database_url) as connection:
        connection.execute("UPDATE held SET kept_by = 'eve', kept_at = now()")


def expire_grace(synced: Environment) -> None:
    """Delete the entry and sync after its grace."""
    remove(synced)
    with psycopg.connect(synced.database_url) as connection:
        connection.execute("UPDATE contact_user SET state_since = now() - interval '2 hours' WHERE state = 'missing'")
    synced.run()


def purge(synced: Environment) -> None:
    """Purge the removed contact."""
    expire_grace(synced)
    with psycopg.connect(synced.database_url) as connection:
        connection.execute("UPDATE contact_user SET state_since = now() - interval '900 days' WHERE state = 'removed'")
    synced.configure(guard="max_purge = 9\nmax_removals_day = 9\nmax_removals_week = 9\n")
    use_cases.purge_source(synced.settings, "corp")


def disconnect(synced: Environment) -> None:
    """Point the source to a port without a server."""
    synced.configure(urls=f'"ldap://127.0.0.1:{dead_port()}"')


def delete_entry(synced: Environment) -> None:
    """Delete the entry without a sync."""
    synced.branch.remove(f"uid={unique(synced, 'ada')},{synced.branch.base}")


def change_number(synced: Environment) -> None:
    """Change the number without a sync."""
    synced.branch.change(f"uid={unique(synced, 'ada')},{synced.branch.base}", telephoneNumber="+1 555 0199")


def restore(synced: Environment) -> None:
    """Hide the entry, sync, and show it again without a sync."""
    hide(synced)
    synced.run()
    synced.branch.change(f"uid={unique(synced, 'ada')},{synced.branch.base}", employeeType=[])


REASONS: dict[str, tuple[Callable[[Environment], None] | None, str]] = {
    "found": (None, "has the same values"),
    "differs": (change_number, "phoneNumber differs from the source"),
    "rejected": (make_unmappable, "300 characters"),
    "outside": (move_out_of_base, "outside the base"),
    "filtered": (hide, "leaves it out"),
    "returning": (restore, "the next run brings it back"),
    "leaving": (delete_entry, "does not have it now"),
    "held": (hold, "max_removals = 0"),
    "kept": (reject_removal, "eve rejected its removal"),
    "missing": (remove, "missing since"),
    "removed": (expire_grace, "removed by run"),
    "purged": (purge, "purged by run"),
    "unreachable": (disconnect, "cannot be searched"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_its_own_code(synced: Environment, reason: str) -> None:
    """The code and the sentence name the reason, with run, time, location or limit."""
    prepare, excerpt = REASONS[reason]
    if prepare is not None:
        prepare(synced)

    answer = answer_of(synced, ada(synced))

    assert excerpt in answer["sentence"]
    assert answer["code"] == ("outside" if reason == "filtered" else reason)


def test_an_unknown_name(synced: Environment) -> None:
    """For an unknown name every source answers `unknown`, and the exit status is 1."""
    assert answer_of(synced, "Nobody At All")["code"] == "unknown"
    result = synced.run_command("explain", "Nobody At All")
    assert result.returncode == 1
    assert "the directory knows no 'Nobody At All'" in result.stdout


def test_a_new_entry_is_found(synced: Environment) -> None:
    """An entry of the source that is not in the directory yet is found before the next run."""
    synced.branch.add("cyd", "Cyd", unique(synced, "C"))
    assert answer_of(synced, f"Cyd {unique(synced, 'C')}")["code"] == "new"


@pytest.mark.parametrize("by", ["name", "name in capitals", "user name", "number", "e-mail address", "key", "id"])
def test_a_person_is_found_by_every_identifier(synced: Environment, by: str) -> None:
    """Name in any case, user name, number in any format, e-mail address, key and id match."""
    row = synced.served_contacts()[ada(synced)]
    text = {
        "name": ada(synced), "name in capitals": ada(synced).upper(), "user name": row["user_name"],
        "number": unique(synced, "+1555"), "e-mail address": row["email_address"], "key": row["source_key"],
        "id": row["id"].hex,
    }[by]  # fmt: skip

    explanation = use_cases.explain(synced.settings, text).to_json()

    assert [contact["members"]["name"] for contact in explanation["contacts"]] == [ada(synced)]
    assert [a["code"] for a in explanation["sources"] if a["source"] == "corp"] == ["found"]


def test_every_member_has_its_origin(synced: Environment) -> None:
    """Rule, attribute and raw value of each member are shown, and the change log."""
    answer = answer_of(synced, ada(synced))

    assert answer["members"]["name"] == [
        {
            "rule": "{givenName} {sn}",
            "raw": {"givenname": ["Ada"], "sn": [unique(synced, "L")]},
            "values": [ada(synced)],
        }
    ]
    assert answer["members"]["phoneNumber"][0]["raw"] == {"telephonenumber": [unique(synced, "+1 555 ")]}
    contact = use_cases.explain(synced.settings, ada(synced)).to_json()["contacts"][0]
    assert [line["kind"] for line in contact["history"]] == ["add"]


def test_the_command_prints_text_or_json(synced: Environment) -> None:
    """Text has sentences and raw values; --json prints one JSON document."""
    result = synced.run_command("explain", ada(synced))
    assert result.returncode == 0
    assert "corp: found:" in result.stdout
    assert "by rule '{givenName} {sn}'" in result.stdout
    document = json.loads(synced.run_command("explain", "--json", ada(synced)).stdout)
    assert document["asked"] == ada(synced)
    assert document["contacts"][0]["members"]["name"] == ada(synced)


def test_queues_are_explained_by_the_same_rules(synced: Environment) -> None:
    """A queue of a file is found, leaving when absent, and rejected with its reason."""
    synced.write_queues({"Sales": "1"})
    synced.run("acd")
    assert answer_of(synced, "Sales", "acd")["code"] == "found"
    synced.write_queues({"Support": "2"})
    assert answer_of(synced, "Sales", "acd")["code"] == "leaving"
    synced.write_queue_file('[[queue]]\nname = "Sales"\nphoneNumbre = "1"\n')
    answer = answer_of(synced, "Sales", "acd")
    assert answer["code"] == "rejected"
    assert "did you mean" in answer["sentence"]


def test_admins_get_the_same_over_http(synced: Environment) -> None:
    """GET /api/v2/sync/explain?text= for the role admin; agents get 403, no text 400 with code 1."""
    synced.port = free_port()
    synced.configure()
    tokens = {
        role: synced.run_command("token", "create", "--role", role, "--name", role).stdout.strip()
        for role in ("admin", "agent")
    }
    daemon = synced.start_command("run", log=synced.folder / "daemon.log")
    try:

        def get(role: str, **parameters: str) -> httpx.Response:
            return httpx.get(
                f"http://127.0.0.1:{synced.port}/api/v2/sync/explain", params=parameters, timeout=60,
                headers={"Authorization": f"Bearer {tokens[role]}"},
            )  # fmt: skip

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return get("agent", text="x").status_code == 403
            return False

        wait_until(answers)
        response = get("admin", text=ada(synced))
        assert response.status_code == 200
        assert response.json()["contacts"][0]["members"]["name"] == ada(synced)
        assert {answer["code"] for answer in response.json()["sources"]} == {"found", "unknown"}
        assert (get("admin").status_code, get("admin").json()["statusCode"]) == (400, 1)
    finally:
        daemon.terminate()
        daemon.wait(60)
