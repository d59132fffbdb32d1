"""Faults in the process of a run: killed, stopped, concurrent with another one, or after a jump of the clock."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from syncd.drill.environment import QUEUES, write_queues
from syncd.drill.faults.files import finished_runs
from syncd.drill.people import POPULATION
from syncd.drill.proxy import ServerMessage, dead_port
from syncd.drill.result import RunResult
from syncd.drill.scenario import Fault, Scenario

STOP_SECONDS = 60.0
"""Seconds between SIGSTOP and SIGCONT."""

_NEW_NUMBER = "+1 555 010 4711"


def _kill_worker(scenario: Scenario) -> None:
    """Kill the worker of the daemon in its transaction: one queue is added, changes of others are still to come."""
    path = scenario.environment.queue_file(scenario.name)
    scenario.undo.callback(_restore_queues, scenario, path)
    with scenario.environment.database.lock_contact(scenario.name, f"{scenario.name}.Sales") as waiting:
        write_queues(path, scenario.name, {"Added": "1", "Sales": "2", "Support": "3"})
        scenario.wait_until(lambda: bool(waiting()), "the worker writes")
        [session] = waiting()
        os.kill(scenario.stored_runs()[-1]["pid"], signal.SIGKILL)
        scenario.wait_until(lambda: bool(_logged_failures(scenario)), "the daemon logs the end of its worker")
    scenario.wait_until(
        lambda: session not in scenario.environment.database.session_ids(), "the session of the killed worker ends"
    )
    scenario.result.run_result = RunResult("failed", _logged_failures(scenario)[-1])


def _restore_queues(scenario: Scenario, path: Path) -> None:
    killed = scenario.stored_runs()[-1]["id"]
    write_queues(path, scenario.name, QUEUES)
    scenario.wait_until(
        lambda: any(run["id"] > killed for run in finished_runs(scenario)), "the daemon reads the file again"
    )


def _logged_failures(scenario: Scenario) -> list[str]:
    lines = (scenario.environment.folder / "daemon.log").read_text().splitlines()
    events = [json.loads(line) for line in lines if '"sync.failed"' in line]
    return [event["why"] for event in events if event["source"] == scenario.name]


def _start_two_daemons(scenario: Scenario) -> None:
    """Start two more daemons, which both run the source every second, although a run takes 1.5 s."""

    def delay_entries(message: ServerMessage) -> bytes:
        if message.entry:
            time.sleep(1.5 / POPULATION)
        return message.data

    with scenario.open_proxy(delay_entries) as proxy:
        logs = [scenario.environment.folder / f"{scenario.name}-{number}.log" for number in (1, 2)]
        source = scenario.source_settings(urls=[proxy.url], schedule={"every": "1s"})
        daemons = [
            scenario.environment.processes.start(
                scenario.environment.write_settings(log.stem, [source]), "run", log=log
            )
            for log in logs
        ]
        scenario.wait_until(
            lambda: len(finished_runs(scenario)) > 2 and all(_has_run(log) for log in logs), "both have run"
        )
        runs = scenario.stored_runs()
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            scenario.environment.processes.wait(daemon)
    if any(_overlap(first, second) for first, second in pairwise(runs)):
        scenario.add_problem("two runs of one source overlapped")
    if failures := [run["why"] for run in runs if run["outcome"] not in {"completed", "running"}]:
        scenario.add_problem(f"a run did not complete: {failures[0]}")
    scenario.result.run_result = RunResult("completed", f"{len(runs)} runs, one after the other")


def _overlap(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether a run ended more than 0.3 s after the start of the next one; start times are a little early."""
    end = first["finished_at"]
    return end is None or end - second["started_at"] > timedelta(seconds=0.3)


def _has_run(log: Path) -> bool:
    return any(f'"sync.{event}"' in log.read_text() for event in ("completed", "skipped"))


def _stop_run(scenario: Scenario) -> None:
    """Stop a run for a minute while it reads.

    The next run finds the source busy. After the session of the stopped run is lost, the next run completes, and the
    continued run must not write the entries that it read before.
    """
    changed = scenario.subtree.people[0]
    with open_gate(scenario) as (url, reached, opened):
        stopped = scenario.start_run(urls=[url])
        scenario.wait_until(reached.is_set, "the run reads")
        os.kill(stopped.pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        if scenario.wait_run(scenario.start_run()) != 75:
            scenario.add_problem("another run did not find the source busy while the stopped one held it")
        scenario.expect_change(changed)
        scenario.subtree.replace_attributes(changed.dn, telephoneNumber=_NEW_NUMBER)
        scenario.environment.database.terminate_sessions(f"fault-{scenario.name}")
        if scenario.wait_run(scenario.start_run()) != 0:
            scenario.add_problem(
                f"after the loss of the session, the next run did not complete: {scenario.result.run_result}"
            )
        scenario.wait_until(lambda: time.monotonic() > stopped_at + STOP_SECONDS, "the minute is over")
        opened.set()
        os.kill(stopped.pid, signal.SIGCONT)
        if scenario.wait_run(stopped) != 1:
            scenario.add_problem("the continued run without its session did not fail")
    if scenario.served_contacts()[scenario.contact_id(changed)]["phoneNumber"] != _NEW_NUMBER:
        scenario.add_problem("the continued run has written the entries that it read before")


@contextmanager
def open_gate(scenario: Scenario) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """Open a proxy that holds responses from page 2 on.

    Yields its URL, an event that is set once a run waits there, and an event to set that lets the rest pass.
    """
    reached, opened = threading.Event(), threading.Event()

    def tamper(message: ServerMessage) -> bytes:
        if message.page == 2:
            reached.set()
            opened.wait()
        return message.data

    with scenario.open_proxy(tamper) as proxy:
        try:
            yield proxy.url, reached, opened
        finally:
            opened.set()


def _jump_clock_twice(scenario: Scenario) -> None:
    """Delete three people for two complete runs; a removal takes three, whatever time has passed."""
    scenario.subtree.delete_people(*scenario.subtree.people[:3])
    scenario.sync()
    if scenario.environment.database.count_missing(scenario.name) != 3:
        scenario.add_problem("the contacts of the deleted people are not missing")
    _jump_clock(scenario)
    scenario.sync()
    _jump_clock(scenario)
    scenario.sync(urls=[f"ldap://127.0.0.1:{dead_port()}"])


def _run_often(scenario: Scenario) -> None:
    """Delete three people for more runs than a removal takes, all within the grace."""
    scenario.subtree.delete_people(*scenario.subtree.people[:3])
    for _ in range(3):
        scenario.sync()


def _jump_clock(scenario: Scenario) -> None:
    # The clock of the machine must not be changed. The store only compares stored times with the current time, so it is
    # equivalent to move all stored times back by 40 days.
    scenario.environment.database.backdate(scenario.name, timedelta(days=40))


FAULTS = (
    Fault("worker-killed", "a worker is killed while it writes", _kill_worker, "failed", "SIGKILL", kind="queues"),
    Fault("two-daemons", "three daemons on one database", _start_two_daemons, "completed", own_runs=True),
    Fault("sigstop", "a run is stopped for a minute", _stop_run, "failed", own_runs=True),
    Fault(
        "clock-jump",
        "the clock jumps by 40 days, twice",
        _jump_clock_twice,
        "incomplete",
        "cannot connect",
        settings={"lifecycle": {"grace": "24h", "grace_runs": 3, "missing": "show"}},
    ),
    Fault(
        "many-runs",
        "people are missing in many runs in a short time",
        _run_often,
        "completed",
        settings={"lifecycle": {"grace": "24h", "grace_runs": 2, "missing": "show"}},
    ),
)
