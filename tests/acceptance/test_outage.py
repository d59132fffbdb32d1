"""An outage of the directory server, at two seconds an hour: service, log lines, alerts, recovery."""

import time
from collections.abc import Iterator

import pytest

from syncd.demo.servers import Postgres
from syncd.drill.proxy import Proxy
from tests.alert_sinks import MailSink, WebhookSink
from tests.daemon_process import EVERY_2_SECONDS, DaemonProcess, source_health
from tests.environment import NEVER, Environment
from tests.http_daemon import assert_ok
from tests.waiting import wait_until

HOUR = 2.0
"""Seconds that stand for an hour."""
OUTAGE_RUNS = 23
ALERTS = """
[log]
repeat_interval = "2s"

[alerts]
resolve_after = "2s"
[alerts.webhook]
url = "{webhook}"
[alerts.mail]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "syncd@example.com"
to = ["team@example.com"]
"""
COUNT_INCOMPLETE = "SELECT count(*) AS n FROM run WHERE outcome = 'incomplete'"


@pytest.fixture
def webhook() -> Iterator[WebhookSink]:
    with WebhookSink() as sink:
        yield sink


@pytest.fixture
def mail() -> Iterator[MailSink]:
    with MailSink() as sink:
        yield sink


@pytest.fixture
def env(env: Environment, webhook: WebhookSink, mail: MailSink) -> Environment:
    """An environment whose daemon sends alerts to both sinks."""
    env.extra = ALERTS.format(webhook=webhook.url, port=mail.port)
    env.configure(file_schedule=NEVER)
    return env


def outage_events(daemon: DaemonProcess, before: int) -> list[str]:
    """Return the events after the first `before` lines, without requests, completed runs and `daemon.*`."""
    events = [line["event"] for line in daemon.log_lines()[before:]]
    return [event for event in events if event not in {"http.request", "sync.completed"} and "daemon." not in event]


def test_an_outage_of_a_day(env: Environment, env_daemon: DaemonProcess, webhook: WebhookSink, mail: MailSink) -> None:
    """Contacts are served throughout; the log has about a line an hour, and each channel one alert and one recovery."""
    env.branch.add("ada", "Ada", "Lovelace")
    env_daemon.tokens["agent"] = env.create_token("agent")
    with Proxy(env.branch.slapd.port) as proxy:
        env.configure(schedule=EVERY_2_SECONDS, urls=f'"{proxy.url}"', ldap='stale_after = "10s"')
        env_daemon.start()
        wait_until(lambda: list(env.served_contacts()) == ["Ada Lovelace"])
        before = len(env_daemon.log_lines())
        with proxy.outage():
            began = time.monotonic()
            while env.fetch_rows(COUNT_INCOMPLETE)[0]["n"] < OUTAGE_RUNS or len(outage_events(env_daemon, before)) < 10:
                body = assert_ok(env_daemon.get("/api/v2/contacts?type=User", "agent"))
                assert [contact["name"] for contact in body["contacts"]] == ["Ada Lovelace"]
                time.sleep(0.1)
            hours = (time.monotonic() - began) / HOUR
            health = env_daemon.health()
            env.branch.add("bob", "Bob", "Stone")

        assert (health["status"], source_health(health)["stale"]) == ("degraded", True)
        wait_until(lambda: "Bob Stone" in env.served_contacts())
        wait_until(lambda: len(webhook.received) >= 2 and len(mail.messages) >= 2)
        env_daemon.wait_for_outcome("completed")
        incomplete_runs = env_daemon.metric('syncd_sync_runs_total{outcome="incomplete",source="corp"}')
        assert env_daemon.stop() == 0

    events = outage_events(env_daemon, before)
    assert 10 <= len(events) <= hours + 7, events
    (recovered,) = env_daemon.log_lines("sync.recovered")
    incomplete, skipped = env_daemon.log_lines("sync.incomplete"), env_daemon.log_lines("sync.skipped")
    assert recovered["times"] >= len(incomplete) + len(skipped)
    assert recovered["seconds"] >= 40
    assert incomplete_runs >= len(incomplete)

    expected = [("problem", "read:corp"), ("recovery", "read:corp")]
    assert webhook.subjects() == expected
    assert "Connection refused" in webhook.received[0]["why"]
    assert ["Subject: syncd: over: corp" in message for message in mail.messages] == [False, True]
    sent = [(line["kind"], line["about"]) for line in env_daemon.log_lines("alert.sent")]
    assert sorted(sent) == sorted(expected * 2)


def test_a_restart_repeats_no_alert(
    env: Environment, env_daemon: DaemonProcess, webhook: WebhookSink, mail: MailSink
) -> None:
    """Alerts sent before a restart are known after it; the recovery is sent by the second process."""
    env.branch.add("ada")
    with Proxy(env.branch.slapd.port) as proxy:
        with proxy.outage():
            env.configure(schedule=EVERY_2_SECONDS, urls=f'"{proxy.url}"')
            env_daemon.start()
            wait_until(lambda: len(webhook.received) == 1 and len(mail.messages) == 1)
            wait_until(lambda: env.fetch_rows("SELECT count(*) AS n FROM notice")[0]["n"] == 2)
            assert env_daemon.stop() == 0
            env_daemon.start()
            runs = env.fetch_rows(COUNT_INCOMPLETE)[0]["n"]
            wait_until(lambda: env.fetch_rows(COUNT_INCOMPLETE)[0]["n"] > runs + 3)
        wait_until(lambda: len(webhook.received) >= 2 and len(mail.messages) >= 2)
        assert env_daemon.stop() == 0

    assert webhook.subjects() == [("problem", "read:corp"), ("recovery", "read:corp")]
    assert len(mail.messages) == 2
    assert env.fetch_rows("SELECT * FROM notice") == []


def test_a_failed_alert_is_sent_later(
    env: Environment, env_daemon: DaemonProcess, webhook: WebhookSink, mail: MailSink
) -> None:
    """A failing webhook delays neither mail nor runs nor requests, and gets its alert when it is back."""
    webhook.status = 500
    env.configure(schedule=EVERY_2_SECONDS, password_file="wrong-password")
    env_daemon.start()
    wait_until(lambda: len(mail.messages) == 1)
    wait_until(lambda: len(webhook.received) >= 2)
    webhook.status = 204
    wait_until(lambda: any(line["channel"] == "webhook" for line in env_daemon.log_lines("alert.sent")))
    assert env_daemon.get("/ready").status_code == 200
    assert env_daemon.metric('syncd_alerts_total{channel="mail",outcome="sent"}') == 1
    assert env_daemon.stop() == 0

    assert {about for _, about in webhook.subjects()} == {"read:corp"}
    failures = env_daemon.log_lines("alert.failed")
    assert all(line["channel"] == "webhook" and "answered 500" in line["why"] for line in failures)
    assert env.fetch_rows(COUNT_INCOMPLETE)[0]["n"] >= 2


def test_a_lost_database_is_one_alert_and_one_recovery(
    env: Environment, env_daemon: DaemonProcess, webhook: WebhookSink, mail: MailSink, own_postgres: Postgres
) -> None:
    """Although sent alerts cannot be recorded meanwhile."""
    env.database_url = own_postgres.url()
    env.configure(schedule=NEVER)
    assert env.run_command("migrate").returncode == 0
    env_daemon.start()
    own_postgres.stop()
    wait_until(lambda: webhook.subjects() == [("problem", "database")] and len(mail.messages) == 1)
    own_postgres.start()
    wait_until(lambda: len(webhook.received) == 2 and len(mail.messages) == 2)
    assert env_daemon.stop() == 0

    assert webhook.subjects() == [("problem", "database"), ("recovery", "database")]
