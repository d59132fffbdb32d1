"""The running daemon is as its OpenAPI document says: parameters and answers, for each role, whatever is sent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import psycopg
import pytest

from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from tests import http_daemon
from tests.environment import Branch, Premises, happenings
from tests.scripted_ldap import wait_until

CONFIG = """\
seed = 7
request-timeout = 120
hooks = "{hooks}"

# each of these starts a process, so a few examples have to do
[[operations]]
include-path = ["/api/v2/sync/explain", "/api/v2/contacts/import"]
generation.max-examples = 3

# a condition that does not hold (304, 412), or a position that is gone (410), refuses no data
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "412", "5xx"]

# what the size or the type of a body is refused with (413, 414, 415, 431) is a refusal
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "406", "410", "412", "413", "414", "415", "422", "428", "431", "5xx"]
"""


@dataclass
class Described:
    """A daemon whose directory and history have something of everything, and its document."""

    url: str
    tokens: dict[str, str]
    log: Path

    def get(self, path: str, role: str | None = "admin", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return httpx.get(self.url + path, headers=headers, timeout=60, **options)


@pytest.fixture(scope="module")
def described(
    slapd: Slapd, postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Described]:
    """Shared by the tests of this module."""
    branch = Branch(slapd)
    site = Premises(tmp_path_factory.mktemp("described"), http_daemon.new_database(postgres, migrated), branch)
    happenings(site)
    with psycopg.connect(site.database_url) as connection:
        for type_, contact in http_daemon.PEOPLE:
            connection.execute(http_daemon.INSERT, http_daemon.row(type_, contact))
    engine = open_engine(Database(url=site.database_url), Role.API)
    made = {role: tokens.create(engine, role, role) for role in ("admin", "agent")}
    engine.dispose()
    site.port = free_port()
    site.configure()
    found = Described(f"http://127.0.0.1:{site.port}", made, site.folder / "log")
    process = site.start("run", log=found.log)
    try:
        wait_until(lambda: "daemon.started" in found.log.read_text())
        yield found
    finally:
        process.terminate()
        status = process.wait(60)
    branch.close()
    assert status == 0


@pytest.fixture(scope="module")
def document(described: Described) -> dict[str, Any]:
    """As anybody gets it."""
    answer = described.get("/openapi.json", None)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def test_the_document_is_kept(described: Described) -> None:
    """It has a tag, and who has it does not get it again."""
    first = described.get("/openapi.json", None)
    again = httpx.get(described.url + "/openapi.json", headers={"If-None-Match": first.headers["etag"]}, timeout=60)

    assert (again.status_code, again.content) == (304, b"")
    assert first.json()["openapi"].startswith("3.1.")


def test_every_parameter_is_accepted_and_no_other(described: Described, document: dict[str, Any]) -> None:
    """What is announced is known to the daemon; anything else is refused."""
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
                text = described.get(path, params={**needed, one["name"]: needed.get(one["name"], "")}).text
                assert "there is no parameter" not in text, (path, one["name"])
                seen += 1
        refusal = described.get(path, params={**needed, "nonsense": "1"})
        assert http_daemon.failed(refusal, 400, 2).startswith("there is no parameter"), path
    assert seen > 30


@pytest.mark.parametrize(
    "path",
    ["/health", "/ready", "/openapi.json", "/api/v2/contacts", "/api/v2/contacts/lookup?number=%2B15705550101",
     "/api/v2/contacts/changes?since=0",
     "/api/v2/sync/status", "/api/v2/sync/runs", "/api/v2/sync/runs/1", "/api/v2/sync/runs/1/changes",
     "/api/v2/sync/held", "/api/v2/sync/rejects", "/api/v2/sync/leaving", "/api/v2/sync/explain?text=u6"],
)  # fmt: skip
def test_answers_are_as_described(described: Described, document: dict[str, Any], path: str) -> None:
    """No answer is an empty list, and each fits its schema; contacts are whole when no fields are asked for."""
    answer = described.get(path)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    place = path.partition("?")[0].replace("runs/1", "runs/{run}")
    schema = document["paths"][place]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    rigorous = json.loads(json.dumps(document["components"]))
    rigorous["schemas"]["Selection"] = False

    jsonschema_rs.Draft202012Validator({**schema, "components": rigorous}, validate_formats=True).validate(body)
    assert all(value for value in body.values() if isinstance(value, list))


def test_a_condition_tells_nobody_that_there_is_something(described: Described) -> None:
    """`If-None-Match: *` is for what is there: neither an unknown contact nor a wrong parameter becomes a 304."""
    headers = {"Authorization": f"Bearer {described.tokens['agent']}", "If-None-Match": "*"}
    with httpx.Client(base_url=described.url + "/api/v2", headers=headers, timeout=60) as agent:
        http_daemon.failed(agent.get(f"/contacts/{'0' * 32}"), 404, 6)
        http_daemon.failed(agent.get("/contacts?nonsense=1"), 400, 2)
        assert agent.get("/contacts?limit=1").status_code == 304


@pytest.mark.parametrize(
    ("role", "phases", "examples"),
    [("admin", "examples,coverage", 5), ("admin", "fuzzing,stateful", 12), ("agent", "examples,fuzzing", 5)],
)
def test_schemathesis_finds_nothing(
    described: Described, tmp_path: Path, role: str, phases: str, examples: int
) -> None:
    """Every check that it has, on what the document allows and on what it does not."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(hooks=Path(__file__).parents[1] / "inputs.py"))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", "--checks", "all",
            "--phases", phases, "--max-examples", str(examples), "--seed", "7", "--continue-on-failure",
            "--header", f"Authorization: Bearer {described.tokens[role]}", f"{described.url}/openapi.json",
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert not [line for line in http_daemon.logged(described.log) if line["level"] == "error"]
