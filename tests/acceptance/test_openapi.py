"""The running daemon conforms to its OpenAPI document: parameters and responses, for each role and any request."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import psycopg
import pytest

from tests.daemon_process import DaemonProcess
from tests.http_daemon import INSERT_CONTACT, PEOPLE, DaemonWithRuns, assert_error, insert_values

CONFIG = """\
seed = 7
request-timeout = 120
hooks = "{hooks}"

# each of these starts a process, therefore few examples
[[operations]]
include-path = ["/api/v2/sync/explain", "/api/v2/contacts/import"]
generation.max-examples = 3

# seconds, also on a busy machine; `--checks all` includes a limit of 10
[checks]
max_response_time = 120

# a failed condition (304, 412) or a pruned position (410) is no rejection of data
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "412", "5xx"]

# a rejection by size or media type (413, 414, 415, 431) is a rejection
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "406", "410", "412", "413", "414", "415", "422", "428", "431", "5xx"]
"""


@pytest.fixture(scope="module")
def daemon(daemon_with_runs: DaemonWithRuns) -> DaemonProcess:
    """A daemon whose directory and history have something of everything."""
    with psycopg.connect(daemon_with_runs.env.database_url) as connection:
        for type_, contact in PEOPLE:
            connection.execute(INSERT_CONTACT, insert_values(type_, contact))
    return daemon_with_runs.daemon


@pytest.fixture(scope="module")
def document(daemon: DaemonProcess) -> dict[str, Any]:
    """The OpenAPI document, which needs no token."""
    answer = daemon.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def test_the_document_is_cacheable(daemon: DaemonProcess) -> None:
    """It has an entity tag, and a conditional request gives 304."""
    first = daemon.get("/openapi.json")
    again = daemon.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert first.json()["openapi"].startswith("3.1.")


def test_exactly_the_documented_parameters_are_accepted(daemon: DaemonProcess, document: dict[str, Any]) -> None:
    """Documented query parameters are known to the daemon, others are rejected."""
    seen = 0
    for path, item in document["paths"].items():
        if "get" not in item or not item["get"]["security"]:
            continue
        parameters = item["get"].get("parameters", [])
        needed = {
            one["name"]: one.get("example", "1") for one in parameters if one.get("required") and one["in"] == "query"
        }
        path = path.replace("{run}", "1").replace("{id}", "0" * 32)  # noqa: PLW2901
        for one in parameters:
            if one["in"] == "query":
                text = daemon.get(path, "admin", params={**needed, one["name"]: needed.get(one["name"], "")}).text
                assert "there is no parameter" not in text, (path, one["name"])
                seen += 1
        refusal = daemon.get(path, "admin", params={**needed, "nonsense": "1"})
        assert assert_error(refusal, 400, 2).startswith("there is no parameter"), path
    assert seen > 30


@pytest.mark.parametrize(
    "path",
    ["/health", "/ready", "/openapi.json", "/api/v2/contacts", "/api/v2/contacts/lookup?number=%2B15705550101",
     "/api/v2/contacts/changes?since=0",
     "/api/v2/sync/status", "/api/v2/sync/runs", "/api/v2/sync/runs/1", "/api/v2/sync/runs/1/changes",
     "/api/v2/sync/held", "/api/v2/sync/rejects", "/api/v2/sync/leaving", "/api/v2/sync/explain?text=u6"],
)  # fmt: skip
def test_responses_match_their_schemas(daemon: DaemonProcess, document: dict[str, Any], path: str) -> None:
    """No list in a response is empty; contacts without `fields` match the complete schema."""
    answer = daemon.get(path, "admin")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    route = path.partition("?")[0].replace("runs/1", "runs/{run}")
    schema = document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    rigorous = json.loads(json.dumps(document["components"]))
    rigorous["schemas"]["Selection"] = False

    jsonschema_rs.Draft202012Validator({**schema, "components": rigorous}, validate_formats=True).validate(body)
    assert all(value for value in body.values() if isinstance(value, list))


def test_if_none_match_of_any_tag_applies_to_existing_resources_only(daemon: DaemonProcess) -> None:
    """Neither an unknown contact nor a wrong parameter becomes a 304."""
    any_tag = {"If-None-Match": "*"}
    with daemon.client("agent") as agent:
        assert_error(agent.get(f"/api/v2/contacts/{'0' * 32}", headers=any_tag), 404, 6)
        assert_error(agent.get("/api/v2/contacts?nonsense=1", headers=any_tag), 400, 2)
        assert agent.get("/api/v2/contacts?limit=1", headers=any_tag).status_code == 304


@pytest.mark.parametrize(
    ("role", "phases", "examples"),
    [("admin", "examples,coverage", 5), ("admin", "fuzzing,stateful", 12), ("agent", "examples,fuzzing", 5)],
)
def test_schemathesis_finds_nothing(
    daemon: DaemonProcess, tmp_path: Path, role: str, phases: str, examples: int
) -> None:
    """All its checks, with valid and invalid requests."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(hooks=Path(__file__).parents[1] / "schemathesis_hooks.py"))
    result = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", "--checks", "all",
            "--phases", phases, "--max-examples", str(examples), "--seed", "7", "--continue-on-failure",
            "--header", f"Authorization: Bearer {daemon.tokens[role]}", f"{daemon.url}/openapi.json",
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    assert not [line for line in daemon.log_lines() if line["level"] == "error"]
