"""The endpoints below /api/v2/sync: the same content as the commands, for admins."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from tests.http_daemon import DaemonWithRuns, assert_error, assert_ok

API = "/api/v2/sync"
ADMIN_PATHS = ("runs", "runs/1", "runs/1/changes", "held", "rejects", "leaving")


@dataclass
class SyncAdmin(DaemonWithRuns):
    """A client of the endpoints below /api/v2/sync, and of the commands that show the same."""

    def request(self, path: str, role: str | None = "admin", method: str = "GET") -> httpx.Response:
        with self.daemon.client(role) as client:
            return client.request(method, f"{API}/{path}")

    def get(self, path: str, role: str = "admin") -> Any:
        return assert_ok(self.request(path, role))

    def run_command(self, *words: str) -> Any:
        """Return what a command shows in JSON."""
        return json.loads(self.env.run_command(*words, "--json").stdout)


@pytest.fixture(scope="module")
def sync_admin(daemon_with_runs: DaemonWithRuns) -> SyncAdmin:
    return SyncAdmin(daemon_with_runs.daemon, daemon_with_runs.env, daemon_with_runs.runs)


def test_status_is_for_agents_and_has_no_names(sync_admin: SyncAdmin) -> None:
    """Health, and of each source its last run, the evidence and the first planned removal."""
    body = sync_admin.get("status", "agent")

    corp, acd = body["sources"]
    assert (body["status"], corp["outcome"], acd["outcome"]) == ("degraded", "incomplete", "completed")
    assert (corp["missing"], corp["held"], corp["kept"], corp["heldAttributes"]) == (1, 3, 0, [])
    assert corp["run"] == sync_admin.runs[-1].run
    assert corp["evidence"]["complete"] is False
    assert corp["evidence"]["shortfalls"][0]["sentence"] in corp["why"]
    assert corp["evidence"]["server"] == sync_admin.env.branch.slapd.url
    assert acd["evidence"]["complete"] is True
    assert acd["firstLeaves"] is None
    assert corp["firstLeaves"] == sync_admin.get("leaving")["leaving"][0]["earliest"]
    assert "Pat" not in json.dumps(body)


def test_status_equals_the_command(sync_admin: SyncAdmin) -> None:
    """`syncd status --json` has the same, and the names of pending removals."""
    command, body = sync_admin.run_command("status"), sync_admin.get("status")

    leaving = command.pop("leaving")
    body.pop("statusCode")
    for source in (*command["sources"], *body["sources"]):
        source.pop("ageSeconds")
    assert command == body
    assert [leaver["name"] for leaver in leaving] == ["Pat 0"]


def test_health_is_public_and_has_no_names(sync_admin: SyncAdmin) -> None:
    """Counts and reasons, without evidence."""
    answer = sync_admin.daemon.get("/health")
    corp = answer.json()["sources"][0]

    assert (corp["missing"], corp["held"], corp["rejected"]) == (1, 3, 0)
    assert "evidence" not in corp
    assert "Pat" not in answer.text
    assert len(answer.content) < 4000


def test_missing_contacts_are_metrics(sync_admin: SyncAdmin) -> None:
    """A gauge for each source."""
    text = sync_admin.daemon.get("/metrics").text

    assert 'syncd_missing_contacts{source="corp"} 1.0' in text
    assert 'syncd_sync_held_removals{source="corp"} 3.0' in text


def test_runs_are_listed_newest_first(sync_admin: SyncAdmin) -> None:
    """With counts and evidence; all, of one source, or a page; totalCount is the number of all."""
    body = sync_admin.get("runs")

    assert body["totalCount"] == len(sync_admin.runs)
    assert [run["run"] for run in body["runs"]] == [report.run for report in reversed(sync_admin.runs)]
    assert [run["outcome"] for run in body["runs"]] == [
        "incomplete", "held", "completed", "completed", "completed",
    ]  # fmt: skip
    held = body["runs"][1]
    assert (held["counts"]["held"], held["counts"]["rejected"], held["counts"]["population"]) == (3, 1, 7)
    assert (held["complete"], held["settled"], held["job"], held["source"]) == (True, False, "sync", "corp")
    assert "3 of 7 contacts would leave" in held["why"]
    assert held["evidence"]["resultCodes"] == {"0": held["evidence"]["pages"]}
    assert held["evidence"]["identity"] == sync_admin.env.branch.slapd.root_dn
    assert held["evidence"]["scope"]["base"] == sync_admin.env.branch.base
    assert held["seconds"] >= 0
    assert [run["source"] for run in sync_admin.get("runs?source=acd")["runs"]] == ["acd"]
    page = sync_admin.get("runs?limit=1&offset=1")
    assert (page["totalCount"], page["runs"]) == (5, [held])


def test_one_run(sync_admin: SyncAdmin) -> None:
    """It equals the item of the list."""
    for item in sync_admin.get("runs")["runs"]:
        body = sync_admin.get(f"runs/{item['run']}")
        assert body == {"statusCode": 0} | item


@pytest.mark.parametrize("number", ["999999", "x", "-1", "1e3", "9" * 30, "%C3%BC"])
def test_an_unknown_run_is_not_found(sync_admin: SyncAdmin, number: str) -> None:
    """404 with code 6, for its changes as well."""
    assert "there is no run" in assert_error(sync_admin.request(f"runs/{number}"), 404, 6)
    assert "there is no run" in assert_error(sync_admin.request(f"runs/{number}/changes"), 404, 6)


def test_the_changes_of_a_run(sync_admin: SyncAdmin) -> None:
    """Each change with old and new values and its revision; of a run without changes, none."""
    first, second, held = (sync_admin.get(f"runs/{report.run}/changes") for report in sync_admin.runs[1:4])

    assert first["totalCount"] == 8
    assert {(change["kind"], change["new"]["name"]) for change in first["changes"]} == {
        ("add", f"Pat {n}") for n in range(8)
    }
    by_kind = {change["kind"]: change for change in second["changes"]}
    assert set(by_kind) == {"miss", "change"}
    assert by_kind["miss"]["old"]["name"] == "Pat 0"
    assert by_kind["change"]["old"]["phoneNumbers"][0]["phoneNumber"] == "555 1"
    assert by_kind["change"]["new"]["phoneNumbers"][0]["phoneNumber"] == "556 1"
    assert {change["run"] for change in second["changes"]} == {sync_admin.runs[2].run}
    assert (held["totalCount"], held["changes"]) == (0, [])
    page = sync_admin.get(f"runs/{sync_admin.runs[1].run}/changes?limit=2&offset=3")
    assert (page["totalCount"], page["changes"]) == (8, first["changes"][3:5])


def test_held_removals(sync_admin: SyncAdmin) -> None:
    """They equal `syncd held`, with key, reason and run."""
    body = sync_admin.get("held?source=corp")

    assert (body["totalCount"], body["held"]) == (3, sync_admin.run_command("held")["held"])
    assert {item["name"] for item in body["held"]} == {"Pat 2", "Pat 3", "Pat 4"}
    assert {item["run"] for item in body["held"]} == {sync_admin.runs[3].run}
    assert sync_admin.get("held?source=acd")["held"] == []


def test_rejected_records(sync_admin: SyncAdmin) -> None:
    """They equal `syncd rejects`, with the values of the source."""
    body = sync_admin.get("rejects")

    assert body["rejects"] == sync_admin.run_command("rejects")["rejects"]
    assert body["rejects"][0]["values"]["sn"] == ["x" * 300]
    assert sync_admin.get("rejects?source=acd")["totalCount"] == 0


def test_pending_removals(sync_admin: SyncAdmin) -> None:
    """The missing contacts, with the end of the grace and the number of complete runs until then."""
    body = sync_admin.get("leaving")

    (leaver,) = body["leaving"]
    # one of three complete runs has confirmed its absence; the one with held removals does not count
    assert (leaver["name"], leaver["source"], leaver["runsToGo"]) == ("Pat 0", "corp", 2)
    with psycopg.connect(sync_admin.env.database_url) as connection:
        query = (
            "SELECT state_since + interval '1h' = %s::timestamptz + (state_since - date_trunc('second', state_since)) "
        )
        row = connection.execute(query + "FROM contact WHERE state = 'missing'", [leaver["earliest"]]).fetchone()
    assert row == (True,)
    assert sync_admin.get("leaving?source=acd")["leaving"] == []


@pytest.mark.parametrize("path", ADMIN_PATHS)
def test_endpoints_with_names_are_for_admins(sync_admin: SyncAdmin, path: str) -> None:
    """403 with code 5 for agents, 401 without a token."""
    assert "required is the role admin" in assert_error(sync_admin.request(path, "agent"), 403, 5)
    assert_error(sync_admin.request(path, None), 401, 20)
    assert sync_admin.request(path).status_code == 200


@pytest.mark.parametrize("path", ["status", *ADMIN_PATHS])
def test_other_methods_are_not_allowed(sync_admin: SyncAdmin, path: str) -> None:
    """405 with Allow: the endpoints are read-only."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = sync_admin.request(path, method=method)
        assert_error(answer, 405, 3)
        assert answer.headers["allow"] == "GET, HEAD"


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
def test_parameters_are_checked(sync_admin: SyncAdmin, path: str, sentence: str) -> None:
    """A misspelled filter is 400 with code 2, never an empty or a full list."""
    assert sentence in assert_error(sync_admin.request(path), 400, 2)


def test_cache_busters_slashes_and_empty_values(sync_admin: SyncAdmin) -> None:
    """As for contacts: `_…` is ignored, a trailing slash is accepted, an empty value is none."""
    expected = sync_admin.get("runs")

    assert sync_admin.get("runs?_=1") == sync_admin.get("runs/") == sync_admin.get("runs?source=") == expected
    assert sync_admin.get("runs?limit=0")["runs"] == []


@pytest.mark.parametrize("path", ["", "nothing", "runs/1/more", "held/1", "status/1", "runs/1/changes/2"])
def test_unknown_paths_are_not_found(sync_admin: SyncAdmin, path: str) -> None:
    """404 with code 6, with or without a token."""
    assert_error(sync_admin.request(path), 404, 6)
    assert_error(sync_admin.request(path, None), 404, 6)
