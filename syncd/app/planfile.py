"""Plan files: the changes that dry runs found, as JSON with a hash for each source.

Applying one makes exactly these changes or none: `use_cases.apply_plan` compares them with the plan of a new run.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from syncd.app.atomic_file import atomic_write
from syncd.core.sync.history import rfc3339
from syncd.core.sync.plan import PROVEN, Change, ChangeKind, JobKind, Outcome, Report, fingerprint
from syncd.errors import PlanUnusable

FORMAT = "syncd plan"
VERSION = 1


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """Plan of one source."""

    source: str
    outcome: Outcome
    reason: str
    details: Mapping[str, Any]
    """Counts, evidence and scope as JSON values, for readers of the file only; see `report_to_json`."""
    changes: Sequence[Change]

    @classmethod
    def from_report(cls, report: Report, changes: Iterable[Change]) -> "SourcePlan":
        """Build a plan from report and changes of a dry run."""
        return cls(report.source, report.outcome, report.reason, report_to_json(report), tuple(changes))

    @property
    def is_applicable(self) -> bool:
        """True when the dry run was complete, so that its plan can be applied."""
        return self.outcome in PROVEN

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "source": self.source,
            "outcome": self.outcome,
            "why": self.reason,
            **self.details,
            "hash": fingerprint(self.changes),
            "changes": [change._asdict() for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class PlanFile:
    """Content of a plan file."""

    plans: Sequence[SourcePlan]
    job: JobKind = "sync"
    undone: int | None = None
    """Run that the plan reverses; only for the job `undo`."""


def report_to_json(report: Report) -> dict[str, Any]:
    """Return counts, held attributes, evidence and scope of a report as JSON values."""
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
        "heldAttributes": list(report.held_attributes),
        "evidence": None if report.evidence is None else report.evidence.to_json(),
        "scope": dict(report.scope),
    }


def write(path: Path, plan: PlanFile) -> None:
    """Write a plan file atomically with mode 0600, because it contains personal data. Raises SyncdError."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "made": rfc3339(datetime.now(UTC)),
        "job": plan.job,
        "undone": plan.undone,
        "plans": [source_plan.to_json() for source_plan in plan.plans],
    }
    with atomic_write(path) as file:
        json.dump(document, file, ensure_ascii=False, indent=1)


def read(path: Path) -> PlanFile:
    """Read a plan file. Raises PlanUnusable when it is missing, damaged, edited or of another version."""
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
        plans = [_parse_plan(item) for item in document["plans"]]
        job = _check_one_of(document["job"], get_args(JobKind))
        undone = _parse_undone(document["undone"], job)
    except (KeyError, TypeError, ValueError) as error:
        raise PlanUnusable(f"{path}: is damaged: {error}; plan again") from error
    return PlanFile(plans, job, undone)


def _parse_plan(document: Mapping[str, Any]) -> SourcePlan:
    changes = [_parse_change(item) for item in document["changes"]]
    source = document["source"]
    if fingerprint(changes) != document["hash"]:
        raise ValueError(f"the changes of {source} are not those that its hash was made of")
    details = {name: document[name] for name in ("counts", "heldAttributes", "evidence", "scope")}
    return SourcePlan(str(source), Outcome(document["outcome"]), str(document["why"]), details, changes)


def _parse_change(document: Mapping[str, Any]) -> Change:
    _check_one_of(document["kind"], get_args(ChangeKind))
    return Change(**document)


def _check_one_of(word: Any, allowed: Sequence[Any]) -> Any:
    if word not in allowed:
        raise ValueError(f"{word!r} is none of {', '.join(allowed)}")
    return word


def _parse_undone(number: Any, job: JobKind) -> int | None:
    if isinstance(number, int) != (job == "undo"):
        raise ValueError(f"a plan of the kind {job} with undone = {number!r}")
    return number if isinstance(number, int) else None
