"""Plan files: what runs would do, kept in a file, and bound by hashes to exactly that.

Whoever applies one gets those changes or none: `compose.apply_plan` compares them with what a run would do then.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from syncd.app import atomic_file
from syncd.core.sync.history import moment
from syncd.core.sync.plan import PROVEN, Change, ChangeKind, JobKind, Outcome, Report, fingerprint
from syncd.errors import PlanUnusable

FORMAT = "syncd plan"
VERSION = 1


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a run of one source would do."""

    source: str
    outcome: Outcome
    why: str
    facts: Mapping[str, Any]
    """Counts, evidence and scope, for whoever reads the file; nothing is decided by them."""
    changes: Sequence[Change]

    @classmethod
    def of(cls, report: Report, changes: Iterable[Change]) -> "SourcePlan":
        """The plan of a run that was rehearsed."""
        return cls(report.source, report.outcome, report.why, facts(report), tuple(changes))

    @property
    def applicable(self) -> bool:
        """False when the read proved nothing: then there is nothing to apply."""
        return self.outcome in PROVEN

    def document(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "source": self.source,
            "outcome": self.outcome,
            "why": self.why,
            **self.facts,
            "hash": fingerprint(self.changes),
            "changes": [change._asdict() for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class PlanFile:
    """The plans of one file."""

    plans: Sequence[SourcePlan]
    job: JobKind = "sync"
    undone: int | None = None
    """The run that the plan takes back."""


def facts(report: Report) -> dict[str, Any]:
    """What a plan was made of, and what it amounts to."""
    counts = report.counts
    return {
        "counts": {
            "entries": report.entries,
            "population": counts.population,
            "added": counts.added,
            "changed": counts.changed,
            "missing": counts.missing,
            "removed": counts.removed,
            "held": report.held,
            "rejected": counts.rejected,
        },
        "heldAttributes": list(report.attributes),
        "evidence": None if report.evidence is None else report.evidence.facts(),
        "scope": dict(report.scope),
    }


def write(path: Path, plan: PlanFile) -> None:
    """Write a plan file that only its owner can read, for it holds people's data; all of it or nothing."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "made": moment(datetime.now(UTC)),
        "job": plan.job,
        "undone": plan.undone,
        "plans": [one.document() for one in plan.plans],
    }
    with atomic_file.writing(path) as file:
        json.dump(document, file, ensure_ascii=False, indent=1)


def read(path: Path) -> PlanFile:
    """Read a plan file. Raises PlanUnusable for one that is not exactly as it was written."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise PlanUnusable(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PlanUnusable(f"{path}: is no plan file: it is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PlanUnusable(f"{path}: is no plan file; `syncd plan --out FILE` writes one")
    if document.get("version") != VERSION:
        raise PlanUnusable(
            f"{path}: is a plan file of version {document.get('version')}, this syncd reads {VERSION}; plan again"
        )
    try:
        plans = [_plan(one) for one in document["plans"]]
        job = _one_of(document["job"], get_args(JobKind))
        undone = _undone(document["undone"], job)
    except (KeyError, TypeError, ValueError) as error:
        raise PlanUnusable(f"{path}: is damaged: {error}; plan again") from error
    return PlanFile(plans, job, undone)


def _plan(document: Mapping[str, Any]) -> SourcePlan:
    changes = [_change(one) for one in document["changes"]]
    source = document["source"]
    if fingerprint(changes) != document["hash"]:
        raise ValueError(f"the changes of {source} are not those that its hash was made of")
    other = {name: document[name] for name in ("counts", "heldAttributes", "evidence", "scope")}
    return SourcePlan(str(source), Outcome(document["outcome"]), str(document["why"]), other, changes)


def _change(document: Mapping[str, Any]) -> Change:
    _one_of(document["kind"], get_args(ChangeKind))
    return Change(**document)


def _one_of(word: Any, allowed: Sequence[Any]) -> Any:
    if word not in allowed:
        raise ValueError(f"{word!r} is none of {', '.join(allowed)}")
    return word


def _undone(number: Any, job: JobKind) -> int | None:
    if isinstance(number, int) != (job == "undo"):
        raise ValueError(f"a plan of the kind {job} with undone = {number!r}")
    return number if isinstance(number, int) else None
