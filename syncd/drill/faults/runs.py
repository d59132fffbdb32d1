"""What happens to a run itself: its process is killed or stopped, another one runs beside it, the clock jumps."""

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
from syncd.drill.faults.files import finished
from syncd.drill.people import POPULATION
from syncd.drill.proxy import Answer, Break, dead_port
from syncd.drill.result import Said
from syncd.drill.scenario import Fault, Stage

STOPPED = 60.0
"""Seconds that a process is stopped for."""

_NEW_NUMBER = "+1 555 010 4711"


def _killed_worker(stage: Stage) -> None:
    """The daemon's worker is killed in the middle of its transaction: a queue is added already, others follow."""
    path = stage.site.queue_file(stage.name)
    stage.undo.callback(_read_again, stage, path)
    with stage.site.database.locked(stage.name, f"{stage.name}.Sales") as waiting:
        write_queues(path, stage.name, {"Added": "1", "Sales": "2", "Support": "3"})
        stage.until(lambda: bool(waiting()), "the worker writes")
        [session] = waiting()
        os.kill(stage.runs()[-1]["pid"], signal.SIGKILL)
        stage.until(lambda: bool(_failures(stage)), "the daemon tells that its worker died")
    stage.until(lambda: session not in stage.site.database.sessions(), "the dead worker's session ends")
    stage.row.said = Said("failed", _failures(stage)[-1])


def _read_again(stage: Stage, path: Path) -> None:
    before = len(finished(stage))
    write_queues(path, stage.name, QUEUES)
    # one more end is that of the killed run, which the next one closes
    stage.until(lambda: len(finished(stage)) > before + 1, "the daemon reads the file again")


def _failures(stage: Stage) -> list[str]:
    lines = (stage.site.folder / "daemon.log").read_text().splitlines()
    events = [json.loads(line) for line in lines if '"sync.failed"' in line]
    return [event["why"] for event in events if event["source"] == stage.name]


def _two_daemons(stage: Stage) -> None:
    """Two more daemons, each of which runs the source every second, though a run takes longer."""

    def slowly(answer: Answer) -> bytes | Break:
        if answer.entry:
            time.sleep(1.5 / POPULATION)
        return answer.message

    with stage.through(slowly) as proxy:
        logs = [stage.site.folder / f"{stage.name}-{number}.log" for number in (1, 2)]
        often = stage.source(urls=[proxy.url], schedule={"every": "1s"})
        daemons = [
            stage.site.processes.start(stage.site.write_settings(log.stem, [often]), "run", log=log) for log in logs
        ]
        stage.until(lambda: len(finished(stage)) > 2 and all(_has_tried(log) for log in logs), "both have run")
        runs = stage.runs()
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            stage.site.processes.end(daemon)
    if any(_overlap(first, second) for first, second in pairwise(runs)):
        stage.wrong("two runs of one source went on at the same time")
    if crashed := [run["why"] for run in runs if run["outcome"] not in {"completed", "running"}]:
        stage.wrong(f"a run did not complete: {crashed[0]}")
    stage.row.said = Said("completed", f"{len(runs)} runs, one after the other")


def _overlap(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether a run was still going when the next one was well on its way; a start is timed a little early."""
    end = first["finished_at"]
    return end is None or end - second["started_at"] > timedelta(seconds=0.3)


def _has_tried(log: Path) -> bool:
    return any(f'"sync.{event}"' in log.read_text() for event in ("completed", "skipped"))


def _stopped(stage: Stage) -> None:
    """A run is stopped for a minute while it reads. Others wait for it; when its session is lost they go on, and the
    one that wakes up must not write what it read before the others did.
    """
    changed = stage.branch.people[0]
    with gate(stage) as (url, reached, opened):
        asleep = stage.begin(urls=[url])
        stage.until(reached.is_set, "the run reads")
        os.kill(asleep.pid, signal.SIGSTOP)
        since = time.monotonic()
        if stage.ended(stage.begin()) != 75:
            stage.wrong("another run did not wait for the one that is stopped")
        stage.excuse(changed)
        stage.branch.change(changed.dn, telephoneNumber=_NEW_NUMBER)
        stage.site.database.end_sessions(f"fault-{stage.name}")
        if stage.ended(stage.begin()) != 0:
            stage.wrong(f"after the session was lost, the next run did not complete: {stage.row.said}")
        stage.until(lambda: time.monotonic() > since + STOPPED, "the minute is over")
        opened.set()
        os.kill(asleep.pid, signal.SIGCONT)
        if stage.ended(asleep) != 1:
            stage.wrong("the run that had lost its session did not fail")
    if stage.contacts()[stage.id_of(changed)]["phoneNumber"] != _NEW_NUMBER:
        stage.wrong("the run that was asleep has written what it read before")


@contextmanager
def gate(stage: Stage) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A proxy that lets page 1 pass, and the rest when it is opened: its URL, whether a run waits at it, its opener."""
    reached, opened = threading.Event(), threading.Event()

    def meddle(answer: Answer) -> bytes | Break:
        if answer.page == 2:
            reached.set()
            opened.wait()
        return answer.message

    with stage.through(meddle) as proxy:
        try:
            yield proxy.url, reached, opened
        finally:
            opened.set()


def _clock_jump(stage: Stage) -> None:
    """Three are gone for two complete runs of the three that it takes, and then far longer than the grace."""
    stage.branch.leave(*stage.branch.people[:3])
    stage.sync()
    if stage.site.database.missing(stage.name) != 3:
        stage.wrong("those who are gone are not missing")
    _jump(stage)
    stage.sync()
    _jump(stage)
    stage.sync(urls=[f"ldap://127.0.0.1:{dead_port()}"])


def _many_runs(stage: Stage) -> None:
    """Three are gone, and more runs find that than it takes, all within the grace."""
    stage.branch.leave(*stage.branch.people[:3])
    for _ in range(3):
        stage.sync()


def _jump(stage: Stage) -> None:
    # Nobody may set the clock of this machine. But the store only ever asks how long ago something was, so it is the
    # same to it whether the clock goes on by 40 days or all that is stored moves back by as much.
    stage.site.database.age(stage.name, timedelta(days=40))


FAULTS = (
    Fault("worker-killed", "kill -9 of a worker while it writes", _killed_worker, "failed", "SIGKILL", kind="queues"),
    Fault("two-daemons", "three daemons on one database", _two_daemons, "completed", own_runs=True),
    Fault("sigstop", "a run is stopped for a minute", _stopped, "failed", own_runs=True),
    Fault(
        "clock-jump",
        "the clock jumps by 40 days, twice",
        _clock_jump,
        "incomplete",
        "cannot connect",
        settings={"lifecycle": {"grace": "24h", "grace_runs": 3, "missing": "show"}},
    ),
    Fault(
        "many-runs",
        "many runs in little time, with people missing",
        _many_runs,
        "completed",
        settings={"lifecycle": {"grace": "24h", "grace_runs": 2, "missing": "show"}},
    ),
)
