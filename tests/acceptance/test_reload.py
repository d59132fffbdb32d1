"""Reload on SIGHUP: all settings or none, without an interruption of requests and runs."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syncd.drill.proxy import dead_port
from tests.daemon_process import EVERY_2_SECONDS, DaemonProcess, service_manager, source_health, stalling_proxy
from tests.environment import NEVER, Environment
from tests.load import keep_requesting
from tests.waiting import wait_until

API = "/api/v2/contacts"


@contextmanager
def two_clients(env: Environment, env_daemon: DaemonProcess) -> Iterator[Counter[str]]:
    """Send requests over two persistent connections all the time; yield the number of answers by outcome."""
    env_daemon.tokens["agent"] = env.create_token("agent", "load")
    with (
        env_daemon.client("agent") as one,
        env_daemon.client("agent") as other,
        keep_requesting(lambda: one.get(API), lambda: other.get(API)) as outcomes,
    ):
        yield outcomes


def test_valid_settings_are_in_force_at_once(
    env: Environment, env_daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedule, queue file and log level change under load, in the same process; the service manager is notified."""
    path = env.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    env.branch.add("ada", "Ada", "Lovelace")
    (env.folder / "other.toml").write_text('[[queue]]\nname = "Support"\nphoneNumber = "7"\n')
    with service_manager(path) as messages:
        env.configure(schedule=NEVER)
        env_daemon.start()
        wait_until(lambda: "Ada Lovelace" in env.served_contacts() and not env.served_contacts("Queue"))
        with two_clients(env, env_daemon) as outcomes:
            env.branch.add("bob", "Bob", "Stone")
            env.configure(
                '\n[log]\nlevel = "warning"\n', schedule=EVERY_2_SECONDS, path="other.toml", port=env.port + 1
            )
            env_daemon.send_signal(signal.SIGHUP)
            wait_until(
                lambda: {"Bob Stone"} <= set(env.served_contacts()) and "Support" in env.served_contacts("Queue")
            )
            (env.folder / "other.toml").write_text('[[queue]]\nname = "Sales"\nphoneNumber = "7"\n')
            wait_until(lambda: "Sales" in env.served_contacts("Queue"))
        assert env_daemon.stop() == 0

    assert set(outcomes) == {"200"}
    reloading = next(number for number, message in enumerate(messages) if message.startswith("RELOADING=1\nMONOTONIC"))
    assert any(message.startswith("READY=1") for message in messages[reloading:])
    assert env_daemon.log_lines("daemon.started")
    assert not env_daemon.log_lines("daemon.stopped")  # of level info, which is not logged after the reload


def test_a_reload_logs_changed_keys_and_keys_that_need_a_restart(env: Environment, env_daemon: DaemonProcess) -> None:
    """A third source is added and removed by reloads."""
    env.configure(schedule=NEVER)
    env_daemon.start()
    port = env.port
    more = (
        '\n[[source]]\nname = "more"\ntype = "Queue"\nkind = "file"\npath = "more.toml"\nschedule = { every = "1h" }\n'
    )
    (env.folder / "more.toml").write_text('[[queue]]\nname = "Extra"\nphoneNumber = "9"\n')
    env.configure(more, port=port + 1)
    env_daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "Extra" in env.served_contacts("Queue"))
    assert [source["name"] for source in env_daemon.health()["sources"]] == ["corp", "acd", "more"]

    env.configure(port=port)
    env_daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: len(env_daemon.log_lines("settings.reloaded")) == 2)

    assert [source["name"] for source in env_daemon.health()["sources"]] == ["corp", "acd"]
    assert 'syncd_source_stale{source="more"}' not in env_daemon.get("/metrics").text
    added, removed = env_daemon.log_lines("settings.reloaded")
    assert (added["changed"], added["needs_restart"]) == (["source.more"], ["http.listen"])
    assert (removed["changed"], removed["needs_restart"]) == (["source.more"], [])
    assert env_daemon.stop() == 0


def test_invalid_settings_are_rejected_as_a_whole(
    env: Environment, env_daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each problem is logged, the former settings stay in force, and STATUS says so until a valid reload."""
    path = env.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    env.branch.add("ada", "Ada", "Lovelace")
    valid = dict(env.options)
    with service_manager(path) as messages:
        env.configure(schedule=EVERY_2_SECONDS)
        env_daemon.start()
        wait_until(lambda: "Ada Lovelace" in env.served_contacts())
        text = env.config_file.read_text()
        env.config_file.write_text(text.replace("ldap-password", "absent").replace("base =", "bass ="))
        env_daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(env_daemon.log_lines("settings.rejected")))
        env.branch.add("bob", "Bob", "Stone")
        wait_until(lambda: "Bob Stone" in env.served_contacts())
        wait_until(lambda: any("the last reload was rejected" in message for message in messages[-5:]))

        env.configure(**valid)
        env_daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(env_daemon.log_lines("settings.reloaded")))
        wait_until(lambda: "STATUS" in messages[-1] and "reload was rejected" not in messages[-1])
        assert env_daemon.stop() == 0

    (line,) = env_daemon.log_lines("settings.rejected")
    assert any("bind_password_file: names no file" in problem for problem in line["problems"])
    assert any("did you mean 'base'?" in problem for problem in line["problems"])
    assert env_daemon.log_lines("settings.reloaded")[0]["changed"] == []


def test_a_run_keeps_the_settings_it_began_with(env: Environment, env_daemon: DaemonProcess) -> None:
    """It completes although the source now has the URL of a dead server; only the next run is incomplete."""
    for number in range(9):
        env.branch.add(f"u{number}", "P", str(number))
    with stalling_proxy(env) as proxy:
        env.configure(schedule='{ every = "4s" }', urls=f'"{proxy.url}", "{env.branch.slapd.url}"', read_timeout="10m")
        env_daemon.start()
        worker = "SELECT pid FROM run WHERE source = 'corp' AND outcome = 'running'"
        wait_until(lambda: bool(env.fetch_rows(worker)))
        pid = env.fetch_rows(worker)[0]["pid"]
        env.configure(urls=f'"ldap://127.0.0.1:{dead_port()}"')
        env_daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(env_daemon.log_lines("settings.reloaded")))
        os.kill(pid, 0)
    wait_until(lambda: len(env.served_contacts()) == 9)
    env_daemon.wait_for_outcome("incomplete")
    first = env.fetch_rows("SELECT outcome FROM run WHERE source = 'corp' ORDER BY id LIMIT 2")
    assert [row["outcome"] for row in first] == ["completed", "incomplete"]
    assert source_health(env_daemon.health())["lastSuccess"] is not None
    assert env_daemon.stop() == 0
