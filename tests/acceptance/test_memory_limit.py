"""Limits of worker processes: a run that needs too much memory, or whose process is killed, fails alone."""

import os
import signal

from tests.daemon_process import DaemonProcess, source_health, stalling_proxy
from tests.environment import Environment
from tests.waiting import wait_until

LARGE = '[{"name": "Sales", "x": [' + "11, " * 3_900_000 + "1]}]"
"""15 MiB, less than max_mib; the values need 200 MiB."""


def test_a_run_that_needs_too_much_memory_fails_alone(env: Environment, env_daemon: DaemonProcess) -> None:
    """It is recorded with the setting to raise; the other source is read and the directory is served."""
    env.branch.add("ada", "Ada", "Lovelace")
    env.write_queues({"Sales": "1"})
    env.run("acd")
    env.extra = "[worker]\nmemory_mib = 128\n"
    env.configure(path="queues.json", schedule='{ every = "1h" }', base=env.branch.base)
    env_daemon.start()
    (env.folder / "queues.json").write_text(LARGE)  # a change is read at once
    wait_until(lambda: bool(env_daemon.log_lines("sync.failed")) and bool(env_daemon.log_lines("sync.completed")))

    (line,) = env_daemon.log_lines("sync.failed")
    assert line["source"] == "acd"
    assert "raise worker.memory_mib" in line["why"]
    assert source_health(env_daemon.wait_for_outcome("failed", "acd"), "corp")["outcome"] == "completed"
    rows = env.fetch_rows("SELECT outcome, why FROM run WHERE source = 'acd' ORDER BY id")
    assert rows[-1]["outcome"] == "failed"
    assert "raise worker.memory_mib" in rows[-1]["why"]
    assert list(env.served_contacts("Queue")) == ["Sales"]
    assert list(env.served_contacts()) == ["Ada Lovelace"]

    env.extra = "[worker]\nmemory_mib = 1024\n"
    env.configure()
    env_daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: bool(env_daemon.log_lines("settings.reloaded")))
    (env.folder / "queues.json").write_text(LARGE.replace("Sales", "Support"))
    wait_until(lambda: "Support" in env.served_contacts("Queue"))
    assert env_daemon.stop() == 0


def test_a_killed_run_is_closed_with_its_reason(env: Environment, env_daemon: DaemonProcess) -> None:
    """At once, and not by the next run, which may be hours away; as the kernel would kill it without memory."""
    for number in range(9):
        env.branch.add(f"u{number}", "P", str(number))
    with stalling_proxy(env) as proxy:
        env.configure(schedule='{ every = "1h" }', urls=f'"{proxy.url}"', read_timeout="10m")
        env_daemon.start()
        running = "SELECT pid FROM run WHERE source = 'corp' AND outcome = 'running'"
        wait_until(lambda: bool(env.fetch_rows(running)))
        os.kill(env.fetch_rows(running)[0]["pid"], signal.SIGKILL)

        env_daemon.wait_for_outcome("crashed")

    (row,) = env.fetch_rows("SELECT why FROM run WHERE source = 'corp' AND outcome = 'crashed'")
    assert row["why"] == "the worker process was killed by SIGKILL"
    assert env_daemon.get("/ready").status_code == 200
    assert env_daemon.stop() == 0
