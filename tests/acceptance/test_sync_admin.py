"""What operators look up over HTTP: the same as the commands show, for admins, from a daemon on real servers."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from syncd.core.sync.plan import Report
from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from tests.environment import Branch, Premises, happenings
from tests.http_daemon import done, failed, new_database
from tests.scripted_ldap import wait_until

API = "/api/v2/sync"
ADMINS = ("runs", "runs/1", "runs/1/changes", "held", "rejects", "leaving")


@dataclass
class Desk:
    """A daemon that does not sync by itself, on premises where a few things have happened."""

    site: Premises
    url: str
    tokens: dict[str, str]
    runs: list[Report]

    def ask(self, path: str, role: str | None = "admin", method: str = "GET", base: str = API) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return httpx.request(method, f"{self.url}{base}/{path}", headers=headers, timeout=60)

    def get(self, path: str, role: str = "admin") -> Any:
        return done(self.ask(path, role))

    def shown(self, *words: str) -> Any:
        """What a command shows in JSON."""
        return json.loads(self.site.command(*words, "--json").stdout)


@pytest.fixture(scope="module")
def desk(slapd: Slapd, postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Shared by the tests of this module, which only read."""
    branch = Branch(slapd)
    site = Premises(tmp_path_factory.mktemp("operations"), new_database(postgres, migrated), branch)
    runs = happenings(site)
    site.port = free_port()
    site.configure()
    engine = open_engine(Database(url=site.database_url), Role.API)
    made = {role: tokens.create(engine, role, role) for role in ("admin", "agent")}
    process = site.start("run", log=site.folder / "log")
    found = Desk(site, f"http://127.0.0.1:{site.port}", made, runs)
    wait_until(lambda: ready(found, process, site.folder / "log"))
    yield found
    process.terminate()
    assert process.wait(60) == 0
    branch.close()


def ready(desk: Desk, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{desk.url}/ready", timeout=60).status_code == 200
    return False


def test_status_is_for_agents_too_and_names_nobody(desk: Desk) -> None:
    """Health, and of each source its last run, the evidence and when the first of the missing may leave."""
    found = desk.get("status", "agent")

    corp, acd = found["sources"]
    assert (found["status"], corp["outcome"], acd["outcome"]) == ("degraded", "incomplete", "completed")
    assert (corp["missing"], corp["held"], corp["kept"], corp["heldAttributes"]) == (1, 3, 0, [])
    assert corp["run"] == desk.runs[-1].run
    assert corp["evidence"]["complete"] is False
    assert corp["evidence"]["shortfalls"][0]["sentence"] in corp["why"]
    assert corp["evidence"]["server"] == desk.site.branch.slapd.url
    assert acd["evidence"]["complete"] is True
    assert acd["firstLeaves"] is None
    assert corp["firstLeaves"] == desk.get("leaving")["leaving"][0]["earliest"]
    assert "Pat" not in json.dumps(found)


def test_status_is_what_the_command_shows(desk: Desk) -> None:
    """`syncd status --json` has the same, and the names of those who leave."""
    shown, asked = desk.shown("status"), desk.get("status")

    leaving = shown.pop("leaving")
    asked.pop("statusCode")
    for found in (*shown["sources"], *asked["sources"]):
        found.pop("ageSeconds")
    assert shown == asked
    assert [leaver["name"] for leaver in leaving] == ["Pat 0"]


def test_health_is_small_and_names_nobody(desk: Desk) -> None:
    """For anybody: counts and reasons, no evidence and no person."""
    answer = desk.ask("health", None, base="")
    corp = answer.json()["sources"][0]

    assert (corp["missing"], corp["held"], corp["rejected"]) == (1, 3, 0)
    assert "evidence" not in corp
    assert "Pat" not in answer.text
    assert len(answer.content) < 4000


def test_metrics_count_the_missing(desk: Desk) -> None:
    """A gauge for each source."""
    text = httpx.get(f"{desk.url}/metrics", timeout=60).text

    assert 'syncd_missing_contacts{source="corp"} 1.0' in text
    assert 'syncd_sync_held_removals{source="corp"} 3.0' in text


def test_runs_are_listed_newest_first_with_counts_and_evidence(desk: Desk) -> None:
    """All, those of one source, and some of them; totalCount is the whole."""
    found = desk.get("runs")

    assert found["totalCount"] == len(desk.runs)
    assert [run["run"] for run in found["runs"]] == [report.run for report in reversed(desk.runs)]
    assert [run["outcome"] for run in found["runs"]] == [
        "incomplete", "held", "completed", "completed", "completed",
    ]  # fmt: skip
    held = found["runs"][1]
    assert (held["counts"]["held"], held["counts"]["rejected"], held["counts"]["population"]) == (3, 1, 7)
    assert (held["complete"], held["settled"], held["job"], held["source"]) == (True, False, "sync", "corp")
    assert "3 of 7 contacts would leave" in held["why"]
    assert held["evidence"]["resultCodes"] == {"0": held["evidence"]["pages"]}
    assert held["evidence"]["identity"] == desk.site.branch.slapd.root_dn
    assert held["evidence"]["scope"]["base"] == desk.site.branch.base
    assert held["seconds"] >= 0
    assert [run["source"] for run in desk.get("runs?source=acd")["runs"]] == ["acd"]
    some = desk.get("runs?limit=1&offset=1")
    assert (some["totalCount"], some["runs"]) == (5, [held])


def test_one_run(desk: Desk) -> None:
    """The same as in the list."""
    for listed in desk.get("runs")["runs"]:
        found = desk.get(f"runs/{listed['run']}")
        assert found == {"statusCode": 0} | listed


@pytest.mark.parametrize("number", ["999999", "x", "-1", "1e3", "9" * 30, "%C3%BC"])
def test_a_run_that_there_is_not(desk: Desk, number: str) -> None:
    """404 with code 6, for its changes as well."""
    assert "there is no run" in failed(desk.ask(f"runs/{number}"), 404, 6)
    assert "there is no run" in failed(desk.ask(f"runs/{number}/changes"), 404, 6)


def test_the_changes_of_a_run(desk: Desk) -> None:
    """Each change with old and new values and its revision; of a run that changed nothing, none."""
    first, second, held = (desk.get(f"runs/{report.run}/changes") for report in desk.runs[1:4])

    assert first["totalCount"] == 8
    assert {(change["kind"], change["new"]["name"]) for change in first["changes"]} == {
        ("add", f"Pat {n}") for n in range(8)
    }
    by_kind = {change["kind"]: change for change in second["changes"]}
    assert set(by_kind) == {"miss", "change"}
    assert by_kind["miss"]["old"]["name"] == "Pat 0"
    assert by_kind["change"]["old"]["phoneNumbers"][0]["phoneNumber"] == "555 1"
    assert by_kind["change"]["new"]["phoneNumbers"][0]["phoneNumber"] == "556 1"
    assert {change["run"] for change in second["changes"]} == {desk.runs[2].run}
    assert (held["totalCount"], held["changes"]) == (0, [])
    some = desk.get(f"runs/{desk.runs[1].run}/changes?limit=2&offset=3")
    assert (some["totalCount"], some["changes"]) == (8, first["changes"][3:5])


def test_what_is_held(desk: Desk) -> None:
    """As `syncd held` shows it, with key, reason and run."""
    found = desk.get("held?source=corp")

    assert (found["totalCount"], found["held"]) == (3, desk.shown("held")["held"])
    assert {item["name"] for item in found["held"]} == {"Pat 2", "Pat 3", "Pat 4"}
    assert {item["run"] for item in found["held"]} == {desk.runs[3].run}
    assert desk.get("held?source=acd")["held"] == []


def test_what_is_rejected(desk: Desk) -> None:
    """As `syncd rejects` shows it, with the values of the source."""
    found = desk.get("rejects")

    assert found["rejects"] == desk.shown("rejects")["rejects"]
    assert found["rejects"][0]["values"]["sn"] == ["x" * 300]
    assert desk.get("rejects?source=acd")["totalCount"] == 0


def test_who_leaves_and_when(desk: Desk) -> None:
    """The missing, with the end of their grace by the clock and the complete runs that are still to come."""
    found = desk.get("leaving")

    (leaver,) = found["leaving"]
    # of three complete runs one has found it missing; the held one settled nothing
    assert (leaver["name"], leaver["source"], leaver["runsToGo"]) == ("Pat 0", "corp", 2)
    with psycopg.connect(desk.site.database_url) as connection:
        query = (
            "SELECT state_since + interval '1h' = %s::timestamptz + (state_since - date_trunc('second', state_since)) "
        )
        row = connection.execute(query + "FROM contact WHERE state = 'missing'", [leaver["earliest"]]).fetchone()
    assert row == (True,)
    assert desk.get("leaving?source=acd")["leaving"] == []


@pytest.mark.parametrize("path", ADMINS)
def test_only_admins_see_names(desk: Desk, path: str) -> None:
    """403 with code 5 for agents, 401 without a token."""
    assert "takes the role admin" in failed(desk.ask(path, "agent"), 403, 5)
    failed(desk.ask(path, None), 401, 20)
    assert desk.ask(path).status_code == 200


@pytest.mark.parametrize("path", ["status", *ADMINS])
def test_other_methods_are_not_supported(desk: Desk, path: str) -> None:
    """405 with Allow; nothing here can be written."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = desk.ask(path, method=method)
        failed(answer, 405, 3)
        assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("runs?sorce=corp", "did you mean 'source'?"),
        ("status?source=corp", "there is no parameter 'source' here"),
        ("runs/1?limit=1", "there is no parameter 'limit' here"),
        ("runs?limit=many", "limit: 'many' is no integer of 0 or more"),
        ("held?limit=-1", "limit: '-1' is no integer"),
        ("rejects?offset=x", "offset: 'x' is no integer"),
        ("runs/1/changes?source=corp", "there is no parameter 'source' here"),
        ("runs?limit=1001", "limit: at most 1000"),
        ("runs?source=a&source=b", "source is given more than once"),
        ("held?source=crop", "there is no source 'crop'; did you mean 'corp'?"),
    ],
)
def test_parameters_are_checked(desk: Desk, path: str, sentence: str) -> None:
    """A mistyped filter is 400 with code 2, never everything or nothing."""
    assert sentence in failed(desk.ask(path), 400, 2)


def test_cache_busters_slashes_and_empty_values(desk: Desk) -> None:
    """As with the contacts: `_…` is ignored, a slash at the end is fine, an empty value is none."""
    expected = desk.get("runs")

    assert desk.get("runs?_=1") == desk.get("runs/") == desk.get("runs?source=") == expected
    assert desk.get("runs?limit=0")["runs"] == []


@pytest.mark.parametrize("path", ["", "nothing", "runs/1/more", "held/1", "status/1", "runs/1/changes/2"])
def test_other_paths_lead_nowhere(desk: Desk, path: str) -> None:
    """404 with code 6, with or without a token."""
    failed(desk.ask(path), 404, 6)
    failed(desk.ask(path, None), 404, 6)
