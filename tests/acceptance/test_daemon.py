"""The daemon as its operator knows it: a process that is started, watched over HTTP, SQL and its log, and stopped."""

import contextlib
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from syncd.core.operations.log_throttle import REASONS
from syncd.demo.servers import Postgres
from syncd.drill.proxy import Proxy, dead_port
from tests.daemon_process import OFTEN, Running, corp, manager, stalled
from tests.http_daemon import logged
from tests.scripted_ldap import wait_until


def test_scheduled_runs_bring_changes_and_a_clean_stop_is_zero(running: Running) -> None:
    """People arrive at the start, a change arrives by the schedule, SIGTERM ends with status 0 and its two lines."""
    ada = running.site.branch.add("ada", "Ada", "Lovelace")
    running.start(schedule=OFTEN)
    wait_until(lambda: "Ada Lovelace" in running.site.contacts())
    running.site.branch.change(ada, sn="King")
    wait_until(lambda: "Ada King" in running.site.contacts())
    wait_until(lambda: running.health()["status"] == "ok")

    assert running.stop() == 0
    assert [line["reason"] for line in running.lines("daemon.stopping")] == ["SIGTERM"]
    assert len(running.lines("daemon.stopped")) == 1
    started = running.lines("daemon.started")[0]
    assert started["sources"] == ["corp", "acd"]
    completed = running.lines("sync.completed")
    assert {"source", "run", "entries", "added", "changed", "removed", "seconds", "server"} <= set(completed[0])


@pytest.mark.parametrize("way", ["in place", "by rename"])
def test_a_changed_queue_file_is_read_at_once(running: Running, way: str) -> None:
    """Long before the next tick, whether an editor writes in place or replaces the file."""
    running.site.queues({"Sales": "1"})
    running.start(schedule='{ every = "1h" }')
    wait_until(lambda: list(running.site.contacts("Queue")) == ["Sales"])

    if way == "in place":
        (running.site.folder / "queues.toml").write_text('[[queue]]\nname = "Support"\nphoneNumber = "2"\n')
    else:
        running.site.queues({"Support": "2"})

    wait_until(lambda: list(running.site.contacts("Queue")) == ["Support"])
    assert running.stop() == 0


def test_ldap_down_at_the_start_is_a_state(running: Running) -> None:
    """No crash: the last good directory is served, health is degraded and tells the age, nothing is written."""
    running.site.branch.add("ada", "Ada", "Lovelace")
    running.site.run()
    before = running.site.contacts()
    running.start(schedule=OFTEN, urls=f'"ldap://127.0.0.1:{dead_port()}"')

    health = running.await_outcome("incomplete")

    assert health["status"] == "degraded"
    assert any("corp" in why and "incomplete" in why for why in health["why"])
    assert corp(health)["ageSeconds"] >= 0
    assert corp(health)["lastSuccess"] is not None
    assert running.get("/ready").status_code == 200
    assert running.site.contacts() == before
    wait_until(lambda: bool(running.lines("sync.incomplete")))
    assert running.stop() == 0


def test_ldap_comes_back_and_the_runs_complete_by_themselves(running: Running) -> None:
    """An outage in the middle: incomplete runs, the same contacts throughout, and ok again afterwards."""
    running.site.branch.add("ada", "Ada", "Lovelace")
    with Proxy(running.site.branch.slapd.port) as proxy:
        running.start(schedule=OFTEN, urls=f'"{proxy.url}"')
        running.await_outcome("completed")
        with proxy.outage():
            running.await_outcome("incomplete")
            assert list(running.site.contacts()) == ["Ada Lovelace"]
        running.await_outcome("completed")
        wait_until(lambda: running.health()["status"] == "ok")
        assert list(running.site.contacts()) == ["Ada Lovelace"]
        assert running.stop() == 0


def test_the_database_goes_away_and_comes_back(running: Running, own_postgres: Postgres) -> None:
    """While it is away: alive, not ready, 503 in the contract's form; each reason told once, then the return."""
    site = running.site
    site.database_url = own_postgres.url()
    site.configure()
    assert site.command("migrate").returncode == 0
    site.branch.add("ada", "Ada", "Lovelace")
    token = site.command("token", "create", "--role", "agent", "--name", "t").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    running.start(schedule=OFTEN)
    wait_until(lambda: list(site.contacts()) == ["Ada Lovelace"])

    before = len(logged(running.log))
    own_postgres.stop(signal.SIGQUIT)
    wait_until(lambda: running.get("/ready").status_code == 503)
    answer = running.get("/api/v2/contacts", headers=headers)
    assert (answer.status_code, answer.json()["statusCode"]) == (503, 4)
    assert "Retry-After" in answer.headers
    assert running.health()["status"] == "degraded"
    # some seconds, in which it looks again and both sources skip their ticks
    for source in ("corp", "acd"):
        skipped = f'syncd_sync_runs_total{{outcome="skipped",source="{source}"}}'
        wait_until(lambda skipped=skipped: running.count(skipped) >= 3)
    # each is told once: by its run, if one was going on, else by the first tick without one
    lines = [line for line in logged(running.log)[before:] if line["event"] in {"sync.failed", "sync.skipped"}]
    told = [(line["source"], line["why"]) for line in lines]
    assert {source for source, _ in told} == {"corp", "acd"}
    assert len(told) == len(set(told))
    assert running.count("syncd_database_up") == 0
    own_postgres.start()
    wait_until(lambda: running.get("/ready").status_code == 200)
    site.branch.add("bob", "Bob", "Stone")
    wait_until(lambda: len(site.contacts()) == 2)

    assert running.get("/api/v2/contacts", headers=headers).json()["totalCount"] == 2
    assert running.stop() == 0
    reasons = [line["why"] for line in running.lines("database.lost")]
    assert 0 < len(set(reasons)) == len(reasons) <= REASONS
    assert len(running.lines("database.back")) == 1


def test_the_database_is_down_at_the_start(running: Running, own_postgres: Postgres) -> None:
    """The daemon starts, says so, and begins its work when the database is there."""
    site = running.site
    site.database_url = own_postgres.url()
    site.configure()
    assert site.command("migrate").returncode == 0
    site.branch.add("ada", "Ada", "Lovelace")
    own_postgres.stop()
    running.start(schedule=OFTEN)
    assert running.get("/ready").status_code == 503

    own_postgres.start()

    wait_until(lambda: list(site.contacts()) == ["Ada Lovelace"])
    assert running.stop() == 0


def test_a_database_without_schema_is_refused_with_the_command_that_helps(running: Running, postgres: Postgres) -> None:
    """`syncd run` on an empty database ends with status 1 and names `syncd migrate`."""
    running.site.configure(database=postgres.url())

    done = running.site.command("run", timeout=120)

    assert done.returncode == 1
    assert "syncd migrate" in done.stderr


def test_a_stop_during_a_run_abandons_it_within_the_deadline(running: Running) -> None:
    """SIGTERM while a read hangs: status 0 within the deadline, nothing changed, no process left."""
    site = running.site
    for number in range(9):
        site.branch.add(f"u{number}", "P", str(number))
    with stalled(running) as proxy:
        running.start(schedule='{ every = "1h" }', urls=f'"{proxy.url}"', read_timeout="10m", stop_within="2s")
        wait_until(lambda: bool(site.rows("SELECT 1 FROM run WHERE source = 'corp' AND outcome = 'running'")))
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 40  # the read alone would take ten minutes
        assert site.contacts() == {}
        wait_until(lambda: not site.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    site.configure(urls=f'"{site.branch.slapd.url}"')
    assert site.run().counts.added == 9
    outcomes = [row["outcome"] for row in site.rows("SELECT outcome FROM run WHERE source = 'corp' ORDER BY id")]
    assert outcomes == ["crashed", "completed"]


def test_a_killed_worker_loses_only_its_run(running: Running) -> None:
    """kill -9 of the worker: `sync.failed` names the signal, requests go on, the next run completes."""
    site = running.site
    for number in range(9):
        site.branch.add(f"u{number}", "P", str(number))
    with stalled(running) as proxy:
        running.start(schedule='{ every = "5s" }', urls=f'"{proxy.url}", "{site.branch.slapd.url}"', read_timeout="10m")
        worker = "SELECT pid FROM run WHERE source = 'corp' AND outcome = 'running'"
        wait_until(lambda: bool(site.rows(worker)))
        os.kill(site.rows(worker)[0]["pid"], signal.SIGKILL)
        wait_until(lambda: bool(running.lines("sync.failed")))
        assert running.answers()
    assert "SIGKILL" in running.lines("sync.failed")[0]["why"]
    wait_until(lambda: len(site.contacts()) == 9)
    outcomes = [
        row["outcome"] for row in site.rows("SELECT outcome FROM run WHERE source = 'corp' ORDER BY id LIMIT 2")
    ]
    assert outcomes == ["crashed", "completed"]
    assert running.stop() == 0


def test_two_daemons_share_the_work(running: Running) -> None:
    """Two daemons on one database: every tick is run by one of them, runs of a source never overlap, both serve."""
    running.site.branch.add("ada")
    running.start(schedule=OFTEN)
    other = Running(running.site)
    try:
        other.start(schedule=OFTEN)
        wait_until(lambda: len(running.site.rows("SELECT 1 FROM run WHERE source = 'corp'")) >= 6)
        overlaps = running.site.rows(
            "SELECT a.id, b.id FROM run a JOIN run b ON a.source = b.source AND a.id < b.id "
            "AND tstzrange(a.started_at, a.finished_at) && tstzrange(b.started_at, b.finished_at)"
        )
        assert overlaps == []
        assert {row["outcome"] for row in running.site.rows("SELECT DISTINCT outcome FROM run")} <= {
            "completed",
            "running",
        }
    finally:
        assert other.stop() == 0
    running.stop()


def test_a_tick_during_a_run_is_an_event(running: Running) -> None:
    """A run that takes longer than its interval: `sync.skipped`, with the reason, and never a second run."""
    running.site.branch.add("ada")
    with stalled(running) as proxy:
        for number in range(9):
            running.site.branch.add(f"u{number}", "P", str(number))
        running.start(schedule=OFTEN, urls=f'"{proxy.url}"', read_timeout="10m", stop_within="1s")
        runs = "SELECT 1 FROM run WHERE source = 'corp'"
        skipped = 'syncd_sync_runs_total{outcome="skipped",source="corp"}'
        wait_until(lambda: running.count(skipped) >= 3 and bool(running.site.rows(runs)))
        (line,) = [line for line in running.lines("sync.skipped") if line["source"] == "corp"]
        assert "still going" in line["why"]
        assert len(running.site.rows(runs)) == 1
        assert running.stop() == 0


def test_the_service_manager_is_told(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY once it serves, STATUS with the sources, WATCHDOG while it lives, STOPPING at the end."""
    path = running.site.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with manager(path) as said:
        running.start(schedule=OFTEN)
        wait_until(lambda: any("corp completed" in message for message in said) and said.count("WATCHDOG=1") >= 3)
        assert running.stop() == 0

    assert said[0].startswith("READY=1")
    assert any(message.startswith("STOPPING=1") for message in said)


def test_metrics_count_runs_and_contacts(running: Running) -> None:
    """After a completed and an incomplete run the series say so, and the time of success moves on success only."""
    running.site.branch.add("ada")
    with Proxy(running.site.branch.slapd.port) as proxy:
        running.start(schedule=OFTEN, urls=f'"{proxy.url}"')
        wait_until(lambda: 'syncd_contacts{type="User"} 1.0' in running.get("/metrics").text)
    incomplete = 'syncd_sync_runs_total{outcome="incomplete",source="corp"}'
    wait_until(lambda: running.count(incomplete) >= 1)
    success = [line for line in running.get("/metrics").text.splitlines() if "last_success" in line and "corp" in line]
    wait_until(lambda: running.count(incomplete) >= 3)
    text = running.get("/metrics").text
    assert success[0] in text
    assert 'syncd_sync_runs_total{outcome="completed",source="corp"}' in text
    assert 'syncd_sync_changes_total{change="added",source="corp"} 1.0' in text
    assert "syncd_sync_duration_seconds_bucket" in text
    assert running.stop() == 0


def test_no_secret_is_in_log_or_process_list(running: Running) -> None:
    """The LDAP password appears neither in the log at debug level nor among the arguments of any process of ours."""
    secret = running.site.branch.slapd.password
    running.site.branch.add("ada")
    running.site.configure()
    running.start(schedule=OFTEN)
    wait_until(lambda: len(running.lines("sync.completed")) >= 2)
    assert running.process is not None
    seen: set[bytes] = set()
    # a worker lives for a moment only: look until one was met
    wait_until(
        lambda: watched(running.process.pid, seen) and any(b"syncd.system.worker" in arguments for arguments in seen)
    )
    assert not [arguments for arguments in seen if secret.encode() in arguments]
    assert running.stop() == 0
    assert secret not in running.log.read_text()


def watched(daemon: int, seen: set[bytes]) -> bool:
    """Add the arguments that a daemon and its children have now; a child may be gone before it is looked at."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    for pid in [str(daemon), *children]:
        with contextlib.suppress(OSError):
            seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
    return True


def test_sql_and_http_agree(running: Running) -> None:
    """What a sync wrote is what HTTP serves, Custom contacts among it."""
    site = running.site
    site.branch.add("ada", "Ada", "Lovelace", telephoneNumber="+44 20 1")
    site.queues({"Sales": "5"})
    running.start(schedule=OFTEN)
    wait_until(lambda: running.health()["status"] == "ok")
    token = site.command("token", "create", "--role", "admin", "--name", "t").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{site.port}/api/v2/contacts"
    created = httpx.post(url, headers=headers, timeout=60, json={"name": "Plumber", "phoneNumber": "99"})
    assert created.json()["statusCode"] == 0

    found = httpx.get(url, headers=headers, timeout=60).json()

    assert [(c["type"], c["name"], c["phoneNumber"]) for c in found["contacts"]] == [
        ("User", "Ada Lovelace", "+44 20 1"),
        ("Custom", "Plumber", "99"),
        ("Queue", "Sales", "5"),
    ]
    assert running.stop() == 0
