"""The scenario: one fault with its subtree or file, its runs, and the evaluation of its result."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from syncd.drill.availability_probe import PROBE_INTERVAL
from syncd.drill.batch_runner import BatchRunner
from syncd.drill.environment import Environment
from syncd.drill.people import DrillPerson
from syncd.drill.processes import CommandResult
from syncd.drill.proxy import Tamper, TamperingProxy
from syncd.drill.result import FaultResult, RunResult
from syncd.drill.subtree import Subtree

ServedContacts: TypeAlias = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the expected result of its last run."""

    name: str
    """Also the name of its source and its subtree or file."""
    description: str
    """A few words for the table."""
    inject: Callable[["Scenario"], None]
    outcome: str = ""
    """Expected outcome; alternatives are separated by blanks; empty if `inject` checks the outcome."""
    reason_contains: str = ""
    """Expected part of the reason."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the source, with and without the fault."""
    kind: Literal["people", "queues", "none"] = "people"
    own_runs: bool = False
    """It starts its own runs and does not use the batches."""
    exclusive: bool = False
    """It affects a shared server, therefore it runs alone, after the other faults."""
    stops_database: bool = False
    """The database is down for a time: responses may be 503 with Retry-After until it is up again."""

    @property
    def uses_batches(self) -> bool:
        """Whether its runs are part of the batches."""
        return self.kind == "people" and not (self.own_runs or self.exclusive)


class Scenario:
    """State and tools of one fault: `run` it, then `evaluate` it after one more run of its source without the fault."""

    def __init__(self, environment: Environment, fault: Fault, batch_runner: BatchRunner) -> None:
        self.environment = environment
        self._batch_runner = batch_runner
        self.fault = fault
        self.result = FaultResult(fault.name, fault.description)
        self.undo = ExitStack()
        """Reverts the fault, last change first."""
        self.expected_changes: set[str] = set()
        """Ids of contacts that the source has changed or removed, so that they may differ from before."""
        self.expected_additions: set[str] = set()
        """User names of contacts that may be served although they were not before."""
        self._all_expected_changes: set[str] = set()
        self._before: ServedContacts = {}
        self._last_run_id = 0
        self._started_at = 0.0
        self._finished_at = 0.0

    @property
    def name(self) -> str:
        """The name of the fault, its source and its subtree."""
        return self.fault.name

    def run(self) -> None:
        """Inject the fault, compare the served contacts, revert the fault. Raises: any error of the fault."""
        try:
            self._before = self.served_contacts()
            self._last_run_id = self.environment.database.last_run_id(self.name)
            self._started_at = time.monotonic()
            with self.undo:
                if self.fault.kind == "people":
                    self.subtree = Subtree(self.environment.directory, self.name, self.undo)
                    self.undo.push(lambda *_: self.subtree.close())
                self.fault.inject(self)
                self._check_outcome()
                self._compare_contacts()
        finally:
            if self.fault.uses_batches:
                self._batch_runner.leave()
            self._finished_at = time.monotonic()
            self.result.seconds = self._finished_at - self._started_at

    def served_contacts(self) -> ServedContacts:
        """Read the contacts of the source from the daemon, by id; their names or user names begin with its name.

        Raises: as `DaemonClient.contacts`.
        """
        return self.environment.client.contacts(f"filterName=NamesOrPhoneNumberMatches&filterParameters={self.name}.*")

    def contact_id(self, person: DrillPerson) -> str:
        """Return the id of the contact that a person had before the fault."""
        return next(i for i, contact in self._before.items() if contact.get("userName") == person.uid)

    def expect_change(self, *people: DrillPerson) -> None:
        """Allow that the contacts of these people change or go, because the source says so."""
        self.expected_changes |= {self.contact_id(person) for person in people}
        self._all_expected_changes |= self.expected_changes

    def add_problem(self, sentence: str) -> None:
        """Record a deviation from the expected result."""
        self.result.problems.append(sentence)

    def source_settings(self, **changes: Any) -> dict[str, Any]:
        """Return the settings of the source with changes; those of `guard` and `lifecycle` replace single keys."""
        merged = self.fault.settings | changes
        for table in ("guard", "lifecycle"):
            merged[table] = {**self.fault.settings.get(table, {}), **changes.get(table, {})}
        return self.environment.subtree_source(self.name, **merged)

    def sync(self, **changes: Any) -> None:
        """Run the source in a batch with changed settings; the last run is the result. Raises: as `BatchRunner.run`."""
        pid, command = self._batch_runner.run(self.source_settings(**changes))
        self._record_result(pid, command)

    def start_run(self, **changes: Any) -> "subprocess.Popen[str]":
        """Start a run of the source in its own process. Raises: DrillStopped."""
        settings = self.environment.write_settings(f"fault-{self.name}", [self.source_settings(**changes)])
        return self.environment.processes.start(settings, "sync")

    def wait_run(self, process: "subprocess.Popen[str]") -> int:
        """Wait for a started run, record its result and return the exit status. Raises: DrillFailed, DrillStopped."""
        command = self.environment.processes.wait(process)
        self._record_result(process.pid, command)
        return command.status

    def _record_result(self, pid: int, command: CommandResult) -> None:
        """Take the result of the run of this process from the database.

        A run that lost its database could not store its end: its result is taken from the log of the command.
        """
        runs = [run for run in self.stored_runs() if run["pid"] == pid and run["outcome"] not in {"running", "crashed"}]
        self.result.run_result = RunResult(runs[-1]["outcome"], runs[-1]["why"]) if runs else logged_result(command)

    def stored_runs(self) -> list[dict[str, Any]]:
        """Return the rows of the runs of the source since the start of the fault, in order."""
        return self.environment.database.runs(self.name, self._last_run_id)

    def wait_until(self, condition: Callable[[], bool], description: str) -> None:
        """Poll a condition until it is true. Raises: DrillFailed after the timeout, DrillStopped."""
        self.environment.processes.wait_until(condition, f"{self.name}: {description}")

    @contextmanager
    def open_proxy(self, tamper: Tamper, **options: Any) -> Iterator[TamperingProxy]:
        """Open a proxy of the main directory; a run with `urls=[proxy.url]` reads through it."""
        with TamperingProxy(self.environment.directory.port, tamper, **options) as proxy:
            yield proxy

    def _check_outcome(self) -> None:
        run, fault = self.result.run_result, self.fault
        if fault.outcome and run.outcome not in fault.outcome.split():
            self.add_problem(f"the outcome of the run is {run.outcome}, not {fault.outcome}")
        elif fault.reason_contains not in run.reason:
            self.add_problem(f"the reason of the run does not contain {fault.reason_contains!r}")

    def evaluate(self) -> FaultResult:
        """Complete and return the result, after a run without the fault.

        That run must have completed, and all contacts must be served as before the fault.
        """
        if self.fault.kind != "none":
            runs = self.stored_runs()
            if not runs or runs[-1]["outcome"] != "completed":
                last = f"{runs[-1]['outcome']}: {runs[-1]['why']}" if runs else "no run"
                self.add_problem(f"the run without the fault did not complete: {last}")
            self.expected_changes.clear()
            self.expected_additions.clear()
            self._compare_contacts()
        self._check_availability()
        before, now = self.environment.custom_contacts, self.environment.database.custom_contacts()
        self.result.custom_changed = sum(row not in now for row in before) + max(0, len(now) - len(before))
        return self.result

    def _compare_contacts(self) -> None:
        """Record the contacts that are not served as before, and unexpected ones."""
        now = self.served_contacts()
        lost = [c for i, c in self._before.items() if i not in self.expected_changes and now.get(i) != c]
        self.result.contacts_lost = max(self.result.contacts_lost, len(lost))
        if lost:
            first = lost[0]
            served = now.get(first["id"])
            change = "is absent" if served is None else f"is now {served}, was {first}"
            self.add_problem(f"{len(lost)} contacts are not served as before, for example {first['name']}: {change}")
        added = [contact for i, contact in now.items() if i not in self._before]
        names = [contact["name"] for contact in added if contact.get("userName") not in self.expected_additions]
        if names:
            self.add_problem(f"{len(names)} contacts are served that were absent before, for example {names[0]}")

    def _check_availability(self) -> None:
        """Record the failures of the availability probe since the start of the fault."""
        failures = self.environment.probe.failures(self._started_at, time.monotonic())
        absent = {i for failure in failures for i in failure.absent if i in self._before} - self._all_expected_changes
        if len(absent) > self.result.contacts_lost:
            self.result.contacts_lost = len(absent)
            self.add_problem(f"{len(absent)} contacts were not served for a while")
        refusals = [failure for failure in failures if failure.reason and failure.time <= self._finished_at]
        tolerated = [failure for failure in refusals if self.fault.stops_database and failure.retry_after]
        if len(refusals) > len(tolerated):
            first = next(failure for failure in refusals if failure not in tolerated)
            self.result.served = f"no: {first.reason}"
            self.add_problem(f"the directory was not served: {first.reason}")
        elif tolerated:
            seconds = tolerated[-1].time - tolerated[0].time + PROBE_INTERVAL
            self.result.served = f"503 for {seconds:.1f} s, while the database was down"


def logged_result(command: CommandResult) -> RunResult:
    """Derive the result of a run that is not stored from exit status and log of its command."""
    outcome = {1: "failed", 75: "busy"}.get(command.status, f"status {command.status}")
    lines = command.stderr.strip().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return RunResult(outcome, events[-1].get("why", "") if events else "".join(lines[-1:]))
