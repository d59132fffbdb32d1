"""The stage: one fault at play, with its branch or file, its runs, and the judgement of what came of it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from syncd.drill.availability_probe import INTERVAL
from syncd.drill.batch_runner import Rounds
from syncd.drill.environment import Site
from syncd.drill.people import Person
from syncd.drill.processes import Ended
from syncd.drill.proxy import Meddle, Meddler
from syncd.drill.result import Row, Said
from syncd.drill.subtree import Branch

Contacts: TypeAlias = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What can go wrong, and what is promised of it."""

    name: str
    what: str
    """What is done, in a few words."""
    play: Callable[["Stage"], None]
    outcome: str = ""
    """How the last run must have ended; more than one, with blanks between them; empty when `play` looks itself."""
    says: str = ""
    """What its reason must contain."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of its source, in good times as in bad ones."""
    kind: Literal["people", "queues", "none"] = "people"
    own_runs: bool = False
    """It starts its runs itself, so it takes no part in the rounds of the others."""
    alone: bool = False
    """It takes away what the others need as well, so it is played after them."""
    unavailable: bool = False
    """The database itself is away: answers may be 503 with Retry-After until it is back."""

    @property
    def shares(self) -> bool:
        """Whether its runs are those of the rounds."""
        return self.kind == "people" and not (self.own_runs or self.alone)


class Stage:
    """What a fault plays on. `play` it, then `judge` it when its source has been read once more in peace."""

    def __init__(self, site: Site, fault: Fault, rounds: Rounds) -> None:
        self.site = site
        self._rounds = rounds
        self.fault = fault
        self.row = Row(fault.name, fault.what)
        self.undo = ExitStack()
        """What puts things back, last first."""
        self.excused: set[str] = set()
        """Ids of contacts that the source has really changed or sent away, so that they need not stay as they were."""
        self.joined: set[str] = set()
        """User names of contacts that may be there although they were not before."""
        self._ever_excused: set[str] = set()
        self._before: Contacts = {}
        self._since = 0
        self._began = 0.0
        self._ended = 0.0

    @property
    def name(self) -> str:
        """Of the fault, its source, its branch."""
        return self.fault.name

    def play(self) -> None:
        """Play the fault and take it back."""
        try:
            self._before = self.contacts()
            self._since = self.site.database.last_run(self.name)
            self._began = time.monotonic()
            with self.undo:
                if self.fault.kind == "people":
                    self.branch = Branch(self.site.directory, self.name, self.undo)
                    self.undo.push(lambda *_: self.branch.close())
                self.fault.play(self)
                self._judge_outcome()
                self._compare()
        finally:
            if self.fault.shares:
                self._rounds.leave()
            self._ended = time.monotonic()
            self.row.seconds = self._ended - self._began

    def contacts(self) -> Contacts:
        """What the daemon serves of this fault's source, by id; names or user names begin with that of the fault."""
        return self.site.daemon.contacts(f"filterName=NamesOrPhoneNumberMatches&filterParameters={self.name}.*")

    def id_of(self, person: Person) -> str:
        """The contact that a person had before the fault."""
        return next(i for i, contact in self._before.items() if contact.get("userName") == person.uid)

    def excuse(self, *whom: Person) -> None:
        """These people's contacts may go or change: it is what their source says."""
        self.excused |= {self.id_of(person) for person in whom}
        self._ever_excused |= self.excused

    def wrong(self, sentence: str) -> None:
        """Something is not as promised."""
        self.row.wrong.append(sentence)

    def source(self, **changes: Any) -> dict[str, Any]:
        """The settings of this fault's source, with these changes."""
        given = self.fault.settings | changes
        for table in ("guard", "lifecycle"):
            given[table] = {**self.fault.settings.get(table, {}), **changes.get(table, {})}
        return self.site.people_source(self.name, **given)

    def sync(self, **changes: Any) -> None:
        """One run with these changes of the settings; the row tells of the last one."""
        pid, ended = self._rounds.run(self.source(**changes))
        self._hear(pid, ended)

    def begin(self, **changes: Any) -> "subprocess.Popen[str]":
        """Start a run in a process of its own."""
        settings = self.site.write_settings(f"fault-{self.name}", [self.source(**changes)])
        return self.site.processes.start(settings, "sync")

    def ended(self, process: "subprocess.Popen[str]") -> int:
        """Wait for a run that was begun; its exit status. The row tells of it."""
        ended = self.site.processes.end(process)
        self._hear(process.pid, ended)
        return ended.status

    def _hear(self, pid: int, ended: Ended) -> None:
        """How the run of this process ended, as it is stored."""
        told = [run for run in self.runs() if run["pid"] == pid and run["outcome"] not in {"running", "crashed"}]
        # one that lost its database could not write its end, so what the command has logged must do
        self.row.said = Said(told[-1]["outcome"], told[-1]["why"]) if told else last_words(ended)

    def runs(self) -> list[dict[str, Any]]:
        """The source's runs since the fault began."""
        return self.site.database.runs(self.name, self._since)

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is true."""
        self.site.processes.until(true, f"{self.name}: {what}")

    @contextmanager
    def through(self, meddle: Meddle, **options: Any) -> Iterator[Meddler]:
        """A proxy before the main directory; runs go through it with `urls=[proxy.url]`."""
        with Meddler(self.site.directory.port, meddle, **options) as proxy:
            yield proxy

    def _judge_outcome(self) -> None:
        said, fault = self.row.said, self.fault
        if fault.outcome and said.outcome not in fault.outcome.split():
            self.wrong(f"the run ended {said.outcome}, not {fault.outcome}")
        elif fault.says not in said.why:
            self.wrong(f"the run does not say {fault.says!r}")

    def judge(self) -> Row:
        """The row, after the source was read in peace: that run must have completed, and all must be as it was."""
        if self.fault.kind != "none":
            runs = self.runs()
            if not runs or runs[-1]["outcome"] != "completed":
                last = f"{runs[-1]['outcome']}: {runs[-1]['why']}" if runs else "not at all"
                self.wrong(f"in peace again, the run did not complete: {last}")
            self.excused.clear()
            self.joined.clear()
            self._compare()
        self._judge_watch()
        custom = self.site.database.custom()
        self.row.custom = sum(row not in custom for row in self.site.custom) + max(
            0, len(custom) - len(self.site.custom)
        )
        return self.row

    def _compare(self) -> None:
        """Count the contacts that are not served as before."""
        now = self.contacts()
        lost = [c for i, c in self._before.items() if i not in self.excused and now.get(i) != c]
        self.row.lost = max(self.row.lost, len(lost))
        if lost:
            first = lost[0]
            instead = now.get(first["id"])
            told = "is gone" if instead is None else f"is now {instead}, was {first}"
            self.wrong(f"{len(lost)} contacts are not served as before, such as {first['name']}, who {told}")
        more = [c["name"] for i, c in now.items() if i not in self._before and c.get("userName") not in self.joined]
        if more:
            self.wrong(f"{len(more)} contacts are served that were not there before, such as {more[0]}")

    def _judge_watch(self) -> None:
        """What somebody who asked all the time was answered."""
        looks = self.site.watch.wrong(self._began, time.monotonic())
        absent = {i for look in looks for i in look.absent if i in self._before} - self._ever_excused
        if len(absent) > self.row.lost:
            self.row.lost = len(absent)
            self.wrong(f"{len(absent)} contacts were not served for a while")
        refused = [look for look in looks if look.why and look.at <= self._ended]
        away = [look for look in refused if self.fault.unavailable and look.retry]
        if len(refused) > len(away):
            bad = next(look for look in refused if look not in away)
            self.row.served = f"no: {bad.why}"
            self.wrong(f"the directory was not served: {bad.why}")
        elif away:
            seconds = away[-1].at - away[0].at + INTERVAL
            self.row.served = f"503 for {seconds:.1f} s, while the database was away"


def last_words(ended: Ended) -> Said:
    """How a command ended whose run is not stored."""
    outcome = {1: "failed", 75: "busy"}.get(ended.status, f"status {ended.status}")
    lines = ended.err.strip().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return Said(outcome, events[-1].get("why", "") if events else "".join(lines[-1:]))
