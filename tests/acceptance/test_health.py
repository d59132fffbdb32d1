"""What monitoring shows to whom: states and ages to anybody, addresses and accounts with a token."""

import httpx
import pytest

from syncd.demo.servers import Postgres
from tests.daemon_process import EVERY_2_SECONDS, DaemonProcess
from tests.environment import Environment
from tests.http_daemon import assert_error
from tests.waiting import wait_until

PUBLIC = ("/health", "/ready", "/metrics", "/openapi.json")


@pytest.fixture
def failing(env: Environment, env_daemon: DaemonProcess) -> DaemonProcess:
    """A daemon whose LDAP source fails, with a token for each role."""
    env_daemon.tokens = {role: env.create_token(role, role) for role in ("admin", "agent")}
    env.configure(schedule=EVERY_2_SECONDS, urls=f'"{env.branch.slapd.url}"', password_file="wrong-password")
    env_daemon.start()
    env_daemon.wait_for_outcome("incomplete")
    return env_daemon


def secrets_of(env: Environment) -> list[str]:
    """Return what only callers with a token may see."""
    return [env.branch.slapd.url, str(env.branch.slapd.port), "ldap://", env.branch.slapd.root_dn, "dc=example"]


def test_addresses_and_accounts_need_a_token(env: Environment, failing: DaemonProcess) -> None:
    """Of any role, as in /api/v2/sync/status; without one there are states, ages and counts."""
    anonymous = failing.health()

    assert (anonymous["status"], anonymous["database"]) == ("degraded", "ok")
    assert "the last run of corp was incomplete" in anonymous["why"]
    (corp,) = [source for source in anonymous["sources"] if source["name"] == "corp"]
    assert (corp["outcome"], corp["stale"], corp["ageSeconds"], corp["why"]) == ("incomplete", True, None, "")
    for path in PUBLIC:
        text = failing.get(path).text
        assert not [secret for secret in secrets_of(env) if secret in text], path
    for role in ("admin", "agent"):
        detailed = failing.get("/health", role).json()
        assert env.branch.slapd.url in detailed["sources"][0]["why"]
        assert any(env.branch.slapd.root_dn in reason for reason in detailed["why"])
        assert {**detailed, "why": 0, "sources": 0} == {**anonymous, "why": 0, "sources": 0}
    assert failing.stop() == 0


def test_wrong_credentials_are_anonymous(env: Environment, failing: DaemonProcess) -> None:
    """A monitoring system with an outdated token still sees that the daemon is alive."""
    for value in ("Bearer wrong", "Bearer", "Basic YWRhOmFkYQ==", "Digest x", "", "Bearer a, Bearer b"):
        answer = failing.get("/health", headers={"Authorization": value})

        assert answer.status_code == 200
        assert not [secret for secret in secrets_of(env) if secret in answer.text], value


def test_an_outage_of_the_database_hides_its_address(
    env: Environment, env_daemon: DaemonProcess, own_postgres: Postgres
) -> None:
    """Everywhere, from callers with a token too: nobody can check it."""
    env.database_url = own_postgres.url()
    env.configure()
    assert env.run_command("migrate").returncode == 0
    env_daemon.tokens["admin"] = env.create_token("admin")
    env_daemon.start()
    own_postgres.stop()
    wait_until(lambda: env_daemon.get("/ready").status_code == 503)

    answers: list[httpx.Response] = []
    for role in (None, "admin"):
        health = env_daemon.get("/health", role)
        assert (health.status_code, health.json()["database"]) == (200, "lost")
        assert "the database does not answer" in health.json()["why"]
        answers += [health, *(env_daemon.get(path, role) for path in ("/ready", "/metrics", "/api/v2/contacts"))]
    assert_error(answers[-1], 503, 4)
    for answer in answers:
        assert not [word for word in ("127.0.0.1", "connection", "postgres") if word in answer.text], answer.text
    own_postgres.start()
    assert env_daemon.stop() == 0
