"""The daemon as its operator sees it: a process that is started, watched over HTTP, SQL and its log, and stopped."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.core.operations.log_throttle import MAX_REASONS
from syncd.demo.servers import Postgres
from syncd.drill.proxy import Proxy, dead_port
from tests.daemon_process import EVERY_2_SECONDS, DaemonProcess, service_manager, source_health, stalling_proxy
from tests.environment import Environment
from tests.http_daemon import assert_error, assert_ok
from tests.waiting import wait_until


def test_scheduled_runs_bring_changes_and_a_clean_stop_is_zero(env: Environment, env_daemon: DaemonProcess) -> None:
    """A first run at the start, a second by the schedule; SIGTERM gives status 0 and two log lines."""
    ada = env.branch.add("ada", "Ada", "Lovelace")
    env.configure(schedule=EVERY_2_SECONDS)
    env_daemon.start()
    wait_until(lambda: "Ada Lovelace" in env.served_contacts())
    env.branch.change(ada, sn="King")
    wait_until(lambda: "Ada King" in env.served_contacts())
    wait_until(lambda: env_daemon.health()["status"] == "ok")

    assert env_daemon.stop() == 0
    assert [line["reason"] for line in env_daemon.log_lines("daemon.stopping")] == ["SIGTERM"]
    assert len(env_daemon.log_lines("daemon.stopped")) == 1
    started = env_daemon.log_lines("daemon.started")[0]
    assert started["sources"] == ["corp", "acd"]
    completed = env_daemon.log_lines("sync.completed")
    assert {"source", "run", "entries", "added", "changed", "removed", "seconds", "server"} <= set(completed[0])


@pytest.mark.parametrize("way", ["in place", "by rename"])
def test_a_changed_queue_file_is_read_at_once(env: Environment, env_daemon: DaemonProcess, way: str) -> None:
    """Long before the next scheduled run, whether an editor writes in place or replaces the file."""
    env.write_queues({"Sales": "1"})
    env.configure(schedule='{ every = "1h" }')
    env_daemon.start()
    wait_until(lambda: list(env.served_contacts("Queue")) == ["Sales"])

    if way == "in place":
        (env.folder / "queues.toml").write_text('[[queue]]\nname = "Support"\nphoneNumber = "2"\n')
    else:
        env.write_queues({"Support": "2"})

    wait_until(lambda: list(env.served_contacts("Queue")) == ["Support"])
    assert env_daemon.stop() == 0


def test_ldap_down_at_the_start_is_a_state(env: Environment, env_daemon: DaemonProcess) -> None:
    """The last complete directory is served, health is degraded and has its age, nothing is written."""
    env.branch.add("ada", "Ada", "Lovelace")
    env.run()
    before = env.served_contacts()
    env.configure(schedule=EVERY_2_SECONDS, urls=f'"ldap://127.0.0.1:{dead_port()}"')
    env_daemon.start()

    health = env_daemon.wait_for_outcome("incomplete")

    assert health["status"] == "degraded"
    assert any("corp" in reason and "incomplete" in reason for reason in health["why"])
    assert source_health(health)["ageSeconds"] >= 0
    assert source_health(health)["lastSuccess"] is not None
    assert env_daemon.get("/ready").status_code == 200
    assert env.served_contacts() == before
    wait_until(lambda: bool(env_daemon.log_lines("sync.incomplete")))
    assert env_daemon.stop() == 0


def test_ldap_comes_back_and_the_runs_complete_by_themselves(env: Environment, env_daemon: DaemonProcess) -> None:
    """During an outage runs are incomplete and the contacts stay; afterwards health is ok again."""
    env.branch.add("ada", "Ada", "Lovelace")
    with Proxy(env.branch.slapd.port) as proxy:
        env.configure(schedule=EVERY_2_SECONDS, urls=f'"{proxy.url}"')
        env_daemon.start()
        env_daemon.wait_for_outcome("completed")
        with proxy.outage():
            env_daemon.wait_for_outcome("incomplete")
            assert list(env.served_contacts()) == ["Ada Lovelace"]
        env_daemon.wait_for_outcome("completed")
        wait_until(lambda: env_daemon.health()["status"] == "ok")
        assert list(env.served_contacts()) == ["Ada Lovelace"]
        assert env_daemon.stop() == 0


def test_the_database_goes_away_and_comes_back(
    env: Environment, env_daemon: DaemonProcess, own_postgres: Postgres
) -> None:
    """Without it: alive, not ready, 503 in the contract's form; each reason is logged once, then the recovery."""
    env.database_url = own_postgres.url()
    env.configure()
    assert env.run_command("migrate").returncode == 0
    env.branch.add("ada", "Ada", "Lovelace")
    env_daemon.tokens["agent"] = env.create_token("agent")
    env.configure(schedule=EVERY_2_SECONDS)
    env_daemon.start()
    wait_until(lambda: list(env.served_contacts()) == ["Ada Lovelace"])

    before = len(env_daemon.log_lines())
    own_postgres.stop(signal.SIGQUIT)
    wait_until(lambda: env_daemon.get("/ready").status_code == 503)
    answer = env_daemon.get("/api/v2/contacts", "agent")
    assert_error(answer, 503, 4)
    assert "Retry-After" in answer.headers
    assert env_daemon.health()["status"] == "degraded"
    # some seconds, in which the database is polled again and both sources skip scheduled runs
    skipped = 'syncd_sync_runs_total{{outcome="skipped",source="{}"}}'.format
    wait_until(lambda: min(env_daemon.metric(skipped(source)) for source in ("corp", "acd")) >= 3)
    # each reason is logged once: by a run that was in progress, else by the first skipped one
    lines = [line for line in env_daemon.log_lines()[before:] if line["event"] in {"sync.failed", "sync.skipped"}]
    reasons = [(line["source"], line["why"]) for line in lines]
    assert {source for source, _ in reasons} == {"corp", "acd"}
    assert len(reasons) == len(set(reasons))
    assert env_daemon.metric("syncd_database_up") == 0
    own_postgres.start()
    wait_until(lambda: env_daemon.get("/ready").status_code == 200)
    env.branch.add("bob", "Bob", "Stone")
    wait_until(lambda: len(env.served_contacts()) == 2)

    assert assert_ok(env_daemon.get("/api/v2/contacts", "agent"))["totalCount"] == 2
    assert env_daemon.stop() == 0
    losses = [line["why"] for line in env_daemon.log_lines("database.lost")]
    assert 0 < len(set(losses)) == len(losses) <= MAX_REASONS
    assert len(env_daemon.log_lines("database.back")) == 1


def test_the_database_is_down_at_the_start(env: Environment, env_daemon: DaemonProcess, own_postgres: Postgres) -> None:
    """The daemon starts, is not ready, and begins to sync when the database is up."""
    env.database_url = own_postgres.url()
    env.configure()
    assert env.run_command("migrate").returncode == 0
    env.branch.add("ada", "Ada", "Lovelace")
    own_postgres.stop()
    env.configure(schedule=EVERY_2_SECONDS)
    env_daemon.start(until="/health")
    assert env_daemon.get("/ready").status_code == 503

    own_postgres.start()

    wait_until(lambda: list(env.served_contacts()) == ["Ada Lovelace"])
    assert env_daemon.stop() == 0


def test_a_database_without_schema_is_an_error_that_names_the_remedy(env: Environment, postgres: Postgres) -> None:
    """`syncd run` on an empty database ends with status 1 and names `syncd migrate`."""
    env.configure(database=postgres.url())

    result = env.run_command("run", timeout=120)

    assert result.returncode == 1
    assert "syncd migrate" in result.stderr


def test_a_stop_during_a_run_abandons_it_within_the_deadline(env: Environment, env_daemon: DaemonProcess) -> None:
    """SIGTERM while a read hangs: status 0 within the deadline, no change, no process left."""
    for number in range(9):
        env.branch.add(f"u{number}", "P", str(number))
    with stalling_proxy(env) as proxy:
        env.configure(schedule='{ every = "1h" }', urls=f'"{proxy.url}"', read_timeout="10m", shutdown_timeout="2s")
        env_daemon.start()
        wait_until(lambda: bool(env.fetch_rows("SELECT 1 FROM run WHERE source = 'corp' AND outcome = 'running'")))
        started = time.monotonic()
        assert env_daemon.stop() == 0
        assert time.monotonic() - started < 40  # the read alone would take ten minutes
        assert env.served_contacts() == {}
        wait_until(lambda: not env.fetch_rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    env.configure(urls=f'"{env.branch.slapd.url}"')
    assert env.run().counts.added == 9
    outcomes = [row["outcome"] for row in env.fetch_rows("SELECT outcome FROM run WHERE source = 'corp' ORDER BY id")]
    assert outcomes == ["crashed", "completed"]


def test_a_killed_worker_loses_only_its_run(env: Environment, env_daemon: DaemonProcess) -> None:
    """After kill -9 of the worker `sync.failed` names the signal, requests are served, the next run completes."""
    for number in range(9):
        env.branch.add(f"u{number}", "P", str(number))
    with stalling_proxy(env) as proxy:
        env.configure(schedule='{ every = "5s" }', urls=f'"{proxy.url}", "{env.branch.slapd.url}"', read_timeout="10m")
        env_daemon.start()
        worker = "SELECT pid FROM run WHERE source = 'corp' AND outcome = 'running'"
        wait_until(lambda: bool(env.fetch_rows(worker)))
        os.kill(env.fetch_rows(worker)[0]["pid"], signal.SIGKILL)
        wait_until(lambda: bool(env_daemon.log_lines("sync.failed")))
        assert env_daemon.answers()
    assert "SIGKILL" in env_daemon.log_lines("sync.failed")[0]["why"]
    wait_until(lambda: len(env.served_contacts()) == 9)
    outcomes = [
        row["outcome"] for row in env.fetch_rows("SELECT outcome FROM run WHERE source = 'corp' ORDER BY id LIMIT 2")
    ]
    assert outcomes == ["crashed", "completed"]
    assert env_daemon.stop() == 0


def test_two_daemons_share_the_work(env: Environment, env_daemon: DaemonProcess) -> None:
    """Two daemons on one database: runs of a source never overlap, and both stop with status 0."""
    env.branch.add("ada")
    env.configure(schedule=EVERY_2_SECONDS)
    env_daemon.start()
    other = DaemonProcess.with_settings_of(env)
    try:
        other.start()
        wait_until(lambda: len(env.fetch_rows("SELECT 1 FROM run WHERE source = 'corp'")) >= 6)
        overlaps = env.fetch_rows(
            "SELECT a.id, b.id FROM run a JOIN run b ON a.source = b.source AND a.id < b.id "
            "AND tstzrange(a.started_at, a.finished_at) && tstzrange(b.started_at, b.finished_at)"
        )
        assert overlaps == []
        outcomes = {row["outcome"] for row in env.fetch_rows("SELECT DISTINCT outcome FROM run")}
        assert outcomes <= {"completed", "running"}
    finally:
        assert other.stop() == 0
    env_daemon.stop()


def test_a_scheduled_run_during_a_run_is_skipped_and_logged(env: Environment, env_daemon: DaemonProcess) -> None:
    """A run that takes longer than its interval: `sync.skipped` with the reason, and no second run."""
    env.branch.add("ada")
    with stalling_proxy(env) as proxy:
        for number in range(9):
            env.branch.add(f"u{number}", "P", str(number))
        env.configure(schedule=EVERY_2_SECONDS, urls=f'"{proxy.url}"', read_timeout="10m", shutdown_timeout="1s")
        env_daemon.start()
        runs = "SELECT 1 FROM run WHERE source = 'corp'"
        skipped = 'syncd_sync_runs_total{outcome="skipped",source="corp"}'
        wait_until(lambda: env_daemon.metric(skipped) >= 3 and bool(env.fetch_rows(runs)))
        (line,) = [line for line in env_daemon.log_lines("sync.skipped") if line["source"] == "corp"]
        assert "still going" in line["why"]
        assert len(env.fetch_rows(runs)) == 1
        assert env_daemon.stop() == 0


def test_the_service_manager_is_notified(
    env: Environment, env_daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY when the daemon serves, STATUS with the sources, WATCHDOG meanwhile, STOPPING at the end."""
    path = env.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with service_manager(path) as messages:
        env.configure(schedule=EVERY_2_SECONDS)
        env_daemon.start()
        wait_until(lambda: any("corp completed" in message for message in messages))
        wait_until(lambda: messages.count("WATCHDOG=1") >= 3)
        assert env_daemon.stop() == 0

    assert messages[0].startswith("READY=1")
    assert any(message.startswith("STOPPING=1") for message in messages)


def test_metrics_count_runs_and_contacts(env: Environment, env_daemon: DaemonProcess) -> None:
    """A completed and an incomplete run are counted; the time of the last success changes on success only."""
    env.branch.add("ada")
    with Proxy(env.branch.slapd.port) as proxy:
        env.configure(schedule=EVERY_2_SECONDS, urls=f'"{proxy.url}"')
        env_daemon.start()
        wait_until(lambda: 'syncd_contacts{type="User"} 1.0' in env_daemon.get("/metrics").text)
    incomplete = 'syncd_sync_runs_total{outcome="incomplete",source="corp"}'
    wait_until(lambda: env_daemon.metric(incomplete) >= 1)
    lines = env_daemon.get("/metrics").text.splitlines()
    (success,) = [line for line in lines if "last_success" in line and "corp" in line]
    wait_until(lambda: env_daemon.metric(incomplete) >= 3)
    text = env_daemon.get("/metrics").text
    assert success in text
    assert 'syncd_sync_runs_total{outcome="completed",source="corp"}' in text
    assert 'syncd_sync_changes_total{change="added",source="corp"} 1.0' in text
    assert "syncd_sync_duration_seconds_bucket" in text
    assert env_daemon.stop() == 0


def test_no_secret_is_in_log_or_process_list(env: Environment, env_daemon: DaemonProcess) -> None:
    """The LDAP password appears neither in the log at debug level nor among the arguments of any process of ours."""
    secret = env.branch.slapd.password
    env.branch.add("ada")
    env.configure()
    env.configure(schedule=EVERY_2_SECONDS)
    env_daemon.start()
    wait_until(lambda: len(env_daemon.log_lines("sync.completed")) >= 2)
    command_lines: set[bytes] = set()

    def has_seen_a_worker() -> bool:
        command_lines.update(read_command_lines(env_daemon.pid))
        return any(b"syncd.system.worker" in arguments for arguments in command_lines)

    wait_until(has_seen_a_worker)  # a worker lives for a moment only
    assert not [arguments for arguments in command_lines if secret.encode() in arguments]
    assert env_daemon.stop() == 0
    assert secret not in env_daemon.log.read_text()


def read_command_lines(daemon: int) -> Iterator[bytes]:
    """Yield the command lines of a daemon and its children; a child may have ended meanwhile."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    for pid in [str(daemon), *children]:
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/cmdline").read_bytes()


def test_sql_and_http_agree(env: Environment, env_daemon: DaemonProcess) -> None:
    """The contacts that syncs and the API have written are the ones that HTTP serves."""
    env.branch.add("ada", "Ada", "Lovelace", telephoneNumber="+44 20 1")
    env.write_queues({"Sales": "5"})
    env.configure(schedule=EVERY_2_SECONDS)
    env_daemon.start()
    wait_until(lambda: env_daemon.health()["status"] == "ok")
    env_daemon.tokens["admin"] = env.create_token("admin")
    with env_daemon.client() as admin:
        assert_ok(admin.post("/api/v2/contacts", json={"name": "Plumber", "phoneNumber": "99"}))
        contacts = assert_ok(admin.get("/api/v2/contacts"))["contacts"]

    assert [(contact["type"], contact["name"], contact["phoneNumber"]) for contact in contacts] == [
        ("User", "Ada Lovelace", "+44 20 1"),
        ("Custom", "Plumber", "99"),
        ("Queue", "Sales", "5"),
    ]
    assert env_daemon.stop() == 0
