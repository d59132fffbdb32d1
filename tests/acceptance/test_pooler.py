"""Debian's PgBouncer in transaction mode: refused by default, with the remedy; with direct_url everything works."""

import json

import pytest

from tests.daemon_process import EVERY_2_SECONDS, DaemonProcess
from tests.environment import Environment
from tests.http_daemon import assert_ok
from tests.pgbouncer import StartPooler
from tests.waiting import wait_until

REMEDY = "let database.direct_url lead to PostgreSQL itself"


@pytest.mark.parametrize("ignored", ["", "extra_float_digits,options"])
@pytest.mark.parametrize("words", [["run"], ["sync"], ["status"], ["migrate"], ["check", "--json"]], ids=" ".join)
def test_it_is_refused_with_the_remedy(
    env: Environment, start_pooler: StartPooler, words: list[str], ignored: str
) -> None:
    """Status 1, whether it rejects the start-up options or drops them; nothing is written."""
    env.branch.add("ada", "Ada", "Lovelace")
    env.configure(database=start_pooler(ignored=ignored).url)

    result = env.run_command(*words)

    assert result.returncode == 1
    assert REMEDY in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert env.fetch_rows("SELECT FROM run") == []


@pytest.mark.parametrize("ignored", ["", "extra_float_digits,options"])
def test_everything_works_with_direct_url(
    env: Environment, env_daemon: DaemonProcess, start_pooler: StartPooler, login_url: str, ignored: str
) -> None:
    """Runs, requests, writes, long polls, tokens and check; more clients than server connections."""
    pooler = start_pooler(ignored=ignored)
    env.branch.add("ada", "Ada", "Lovelace")
    env.configure(database=f'{pooler.url}"\ndirect_url = "{login_url}', schedule=EVERY_2_SECONDS)
    env_daemon.tokens = {role: env.create_token(role, role) for role in ("admin", "agent")}
    env_daemon.start()
    wait_until(lambda: "Ada Lovelace" in env.served_contacts())

    with env_daemon.client() as admin, env_daemon.client("agent") as agent:
        for number in range(10):  # a statement is prepared at its sixth execution
            contact = assert_ok(admin.post("/api/v2/contacts", json={"name": f"Custom {number}", "phoneNumber": "1"}))
            assert agent.get(f"/api/v2/contacts?q=custom%20{number}").json()["contacts"] != []
            assert_ok(admin.delete(f"/api/v2/contacts/{contact['id']}"))
        revision = agent.get("/api/v2/contacts?limit=0").headers["directory-revision"]
        env.branch.add("grace", "Grace", "Hopper")
        changes = agent.get(f"/api/v2/contacts/changes?since={revision}&wait=30").json()["changes"]
        assert [change["contact"]["name"] for change in changes] == ["Grace Hopper"]

    steps = json.loads(env.run_command("check", "--json").stdout)["steps"]
    assert {(step["step"], step["result"]) for step in steps if step["where"] == "url"} == {("requests", "ok")}
    assert {step["result"] for step in steps if step["of"] == "database"} == {"ok"}
    for words in (["status"], ["held"], ["token", "list"]):
        assert env.run_command(*words).returncode == 0, words
    # 75 while a run of the daemon is active
    wait_until(lambda: env.run_command("sync").returncode == 0)
    wait_until(lambda: env.run_command("purge", "corp").returncode == 0)
    wait_until(lambda: env_daemon.health()["status"] == "ok")
    assert env_daemon.stop() == 0
    assert not env_daemon.log_lines("library")
    assert not env_daemon.log_lines("database.lost")
