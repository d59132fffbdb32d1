"""`syncd explain` on real servers: each reason why a contact is there, or is not, has its own answer."""

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
from tests.environment import ROOT, Premises
from tests.scripted_ldap import wait_until


def own(site: Premises, text: str) -> str:
    """A text that is of one test only: the directory server is shared, and explain looks through the whole of it."""
    return text + str(int(site.branch.base[4:12], 16))


def ada(site: Premises) -> str:
    """The name of the person in question."""
    return f"Ada {own(site, 'L')}"


def asked(site: Premises, text: str, source: str = "corp") -> dict[str, Any]:
    """The one answer of a source."""
    found = use_cases.explain(site.settings, text).facts()
    answers: list[dict[str, Any]] = [answer for answer in found["sources"] if answer["source"] == source]
    assert len(answers) == 1, answers
    return answers[0]


@pytest.fixture
def office(site: Premises) -> Premises:
    """Ada and Bob, synced; a filter that leaves out those with employeeType hidden."""
    site.configure(lifecycle='grace = "1h"\ngrace_runs = 2\n')
    text = site.file.read_text()
    at = text.index("page_size")
    site.file.write_text(text[:at] + 'filter = "(&(objectClass=inetOrgPerson)(!(employeeType=hidden)))"\n' + text[at:])
    site.branch.add(
        own(site, "ada"),
        "Ada",
        own(site, "L"),
        telephoneNumber=[own(site, "+1 555 ")],
        mail=f"{own(site, 'ada')}@example.com",
    )
    site.branch.add("bob", "Bob", "Stone")
    site.run()
    return site


def removed(office: Premises) -> None:
    """She leaves, and a run finds out."""
    office.branch.remove(f"uid={own(office, 'ada')},{office.branch.base}")
    office.run()


def moved_out(office: Premises) -> None:
    """Ada moves to another part of the tree."""
    elsewhere = office.branch.unit(f"ou=former-{office.branch.base[4:12]},{ROOT}")
    office.branch.rename(f"uid={own(office, 'ada')},{office.branch.base}", f"uid={own(office, 'ada')}", elsewhere)


def hidden(office: Premises) -> None:
    """The filter leaves Ada out from now on."""
    office.branch.change(f"uid={own(office, 'ada')},{office.branch.base}", employeeType="hidden")


def nameless(office: Premises) -> None:
    """Ada's record cannot be mapped any more: her name is too long."""
    office.branch.change(f"uid={own(office, 'ada')},{office.branch.base}", givenName="A" * 300)


def held(office: Premises) -> None:
    """Her removal is held, for no removal is allowed."""
    office.configure(max_removals=0)
    removed(office)


def kept(office: Premises) -> None:
    """Somebody rejected her removal."""
    held(office)
    with psycopg.connect(office.database_url) as connection:
        connection.execute("UPDATE held SET kept_by = 'eve', kept_at = now()")


def gone_for_good(office: Premises) -> None:
    """Her grace is over."""
    removed(office)
    with psycopg.connect(office.database_url) as connection:
        connection.execute("UPDATE contact_user SET state_since = now() - interval '2 hours' WHERE state = 'missing'")
    office.run()


def forgotten(office: Premises) -> None:
    """And she was purged."""
    gone_for_good(office)
    with psycopg.connect(office.database_url) as connection:
        connection.execute("UPDATE contact_user SET state_since = now() - interval '900 days' WHERE state = 'removed'")
    office.configure(guard="max_purge = 9\nmax_removals_day = 9\nmax_removals_week = 9\n")
    use_cases.purge_source(office.settings, "corp")


def unreachable(office: Premises) -> None:
    """The directory server is away."""
    office.configure(urls=f'"ldap://127.0.0.1:{dead_port()}"')


def just_deleted(office: Premises) -> None:
    """She left, and no run has found out yet."""
    office.branch.remove(f"uid={own(office, 'ada')},{office.branch.base}")


def renamed(office: Premises) -> None:
    """Her number changed, and no run has found out yet."""
    office.branch.change(f"uid={own(office, 'ada')},{office.branch.base}", telephoneNumber="+1 555 0199")


def back_again(office: Premises) -> None:
    """She was gone, hidden by the filter, and is there again; no run has found out yet."""
    hidden(office)
    office.run()
    office.branch.change(f"uid={own(office, 'ada')},{office.branch.base}", employeeType=[])


REASONS: dict[str, tuple[Callable[[Premises], None] | None, str]] = {
    "found": (None, "as the source does"),
    "differs": (renamed, "phoneNumber is not what the source says now"),
    "rejected": (nameless, "300 characters"),
    "outside": (moved_out, "outside the base"),
    "filtered": (hidden, "leaves it out"),
    "returning": (back_again, "the next run brings it back"),
    "leaving": (just_deleted, "does not have it now"),
    "held": (held, "max_removals = 0"),
    "kept": (kept, "eve decided so"),
    "missing": (removed, "missing since"),
    "removed": (gone_for_good, "removed by run"),
    "purged": (forgotten, "purged by run"),
    "unreachable": (unreachable, "cannot be asked"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_its_own_answer(office: Premises, reason: str) -> None:
    """Fourteen ways to be there or not: the code and the sentence say which, with run, time, place or limit."""
    happens, words = REASONS[reason]
    if happens is not None:
        happens(office)

    answer = asked(office, ada(office))

    assert words in answer["sentence"]
    assert answer["code"] == ("outside" if reason == "filtered" else reason)


def test_nobody_knows(office: Premises) -> None:
    """A name that was never there: each source says so, and the command ends with 1."""
    assert asked(office, "Nobody At All")["code"] == "unknown"
    done = office.command("explain", "Nobody At All")
    assert done.returncode == 1
    assert "the directory knows no 'Nobody At All'" in done.stdout


def test_someone_new_is_announced(office: Premises) -> None:
    """Who is at the source and not in the directory yet is found before the next run adds them."""
    office.branch.add("cyd", "Cyd", own(office, "C"))
    assert asked(office, f"Cyd {own(office, 'C')}")["code"] == "new"


@pytest.mark.parametrize("by", ["name", "name in capitals", "user name", "number", "e-mail address", "key", "id"])
def test_a_person_is_found_by_whatever_one_knows(office: Premises, by: str) -> None:
    """Name (without case), user name, number in any spelling, e-mail address, key, id."""
    row = office.contacts()[ada(office)]
    text = {
        "name": ada(office), "name in capitals": ada(office).upper(), "user name": row["user_name"],
        "number": own(office, "+1555"), "e-mail address": row["email_address"], "key": row["source_key"],
        "id": row["id"].hex,
    }[by]  # fmt: skip

    found = use_cases.explain(office.settings, text).facts()

    assert [contact["members"]["name"] for contact in found["contacts"]] == [ada(office)]
    assert [a["code"] for a in found["sources"] if a["source"] == "corp"] == ["found"]


def test_every_member_tells_where_it_comes_from(office: Premises) -> None:
    """Rule, attribute and raw value of each member, and the lines of the change log."""
    answer = asked(office, ada(office))

    assert answer["members"]["name"] == [
        {"rule": "{givenName} {sn}", "raw": {"givenname": ["Ada"], "sn": [own(office, "L")]}, "values": [ada(office)]}
    ]
    assert answer["members"]["phoneNumber"][0]["raw"] == {"telephonenumber": [own(office, "+1 555 ")]}
    contact = use_cases.explain(office.settings, ada(office)).facts()["contacts"][0]
    assert [line["kind"] for line in contact["history"]] == ["add"]


def test_the_command_tells_it_to_people_and_to_programs(office: Premises) -> None:
    """On a terminal in sentences with the raw values; as one JSON document with --json."""
    told = office.command("explain", ada(office))
    assert told.returncode == 0
    assert "corp: found:" in told.stdout
    assert "by rule '{givenName} {sn}'" in told.stdout
    document = json.loads(office.command("explain", "--json", ada(office)).stdout)
    assert document["asked"] == ada(office)
    assert document["contacts"][0]["members"]["name"] == ada(office)


def test_queues_are_explained_by_the_same_rules(office: Premises) -> None:
    """A queue of the file: found with its place, rejected with its reason, missing when it is gone."""
    office.queues({"Sales": "1"})
    office.run("acd")
    assert asked(office, "Sales", "acd")["code"] == "found"
    office.queues({"Support": "2"})
    assert asked(office, "Sales", "acd")["code"] == "leaving"
    office.write_queues('[[queue]]\nname = "Sales"\nphoneNumbre = "1"\n')
    answer = asked(office, "Sales", "acd")
    assert answer["code"] == "rejected"
    assert "did you mean" in answer["sentence"]


def test_admins_get_the_same_over_http(office: Premises) -> None:
    """GET /api/v2/sync/explain?text= for the role admin; agents get 403, no text 400 with code 1."""
    office.port = free_port()
    office.configure()
    tokens = {
        role: office.command("token", "create", "--role", role, "--name", role).stdout.strip()
        for role in ("admin", "agent")
    }
    daemon = office.start("run", log=office.folder / "daemon.log")
    try:

        def get(role: str, **parameters: str) -> httpx.Response:
            return httpx.get(
                f"http://127.0.0.1:{office.port}/api/v2/sync/explain", params=parameters, timeout=60,
                headers={"Authorization": f"Bearer {tokens[role]}"},
            )  # fmt: skip

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return get("agent", text="x").status_code == 403
            return False

        wait_until(answers)
        found = get("admin", text=ada(office))
        assert found.status_code == 200
        assert found.json()["contacts"][0]["members"]["name"] == ada(office)
        assert {answer["code"] for answer in found.json()["sources"]} == {"found", "unknown"}
        assert (get("admin").status_code, get("admin").json()["statusCode"]) == (400, 1)
    finally:
        daemon.terminate()
        daemon.wait(60)
