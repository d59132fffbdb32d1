"""Health: what the state of the store means for those who rely on the directory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known of one source: its last run, and the end of the last one that proved something."""

    source: str
    outcome: str | None = None
    why: str = ""
    started: datetime | None = None
    last_success: datetime | None = None
    held: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """The revision, the served contacts of each type, and the state of each source that ever ran."""

    revision: int = 0
    contacts: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, SourceState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """A source as it is set up: its name, its type, and the age from which its contacts count as stale."""

    name: str
    type: str
    stale_after: timedelta


def source_health(expected: Expected, state: DirectoryState, now: datetime) -> dict[str, Any]:
    """One source as /health and `syncd status` show it; times are RFC 3339 in UTC, ages in whole seconds."""
    known = state.sources.get(expected.name, SourceState(expected.name))
    age = None if known.last_success is None else now - known.last_success
    return {
        "name": expected.name,
        "type": expected.type,
        "lastSuccess": known.last_success and known.last_success.astimezone(UTC).isoformat(timespec="seconds"),
        "ageSeconds": None if age is None else max(0, int(age.total_seconds())),
        "stale": age is None or age > expected.stale_after,
        "outcome": known.outcome,
        "why": known.why,
        "held": known.held,
        "rejected": known.rejected,
    }


def health(expected: Iterable[Expected], state: DirectoryState, now: datetime, lost: str = "") -> dict[str, Any]:
    """The whole of it. `lost` is a sentence: why the database cannot be asked; `state` is then the last one known."""
    sources = [source_health(one, state, now) for one in expected]
    reasons = [lost] if lost else []
    for source in sources:
        if source["stale"]:
            reasons.append(
                f"{source['name']} is stale" if source["lastSuccess"] else f"{source['name']} never succeeded"
            )
        if source["outcome"] not in {None, "completed", "running"}:
            reasons.append(f"the last run of {source['name']} was {source['outcome']}: {source['why']}")
    return {
        "status": "degraded" if reasons else "ok",
        "why": reasons,
        "database": "lost" if lost else "ok",
        "revision": state.revision,
        "contacts": dict(state.contacts),
        "sources": sources,
    }
