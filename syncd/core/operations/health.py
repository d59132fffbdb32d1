"""Health of sources and directory, as `/health` and `syncd status` report it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd.core.sync.history import PastRun, rfc3339


@dataclass(frozen=True, slots=True)
class SourceState:
    """State of one source, from its last ended run and its last successful one."""

    source: str
    outcome: str | None = None
    reason: str = ""
    started: datetime | None = None
    """Start of the newest run, which may be running."""
    last_success: datetime | None = None
    """End of the last complete run."""
    held: int = 0
    """Number of undecided held removals."""
    rejected: int = 0
    missing: int = 0
    """Number of absent contacts within their grace."""
    kept: int = 0
    """Number of removals that an operator rejected."""
    attributes: tuple[str, ...] = ()
    """Attributes whose loss is held and undecided."""
    certificate_ends: datetime | None = None
    """End of validity of the certificate of the server of the last complete read."""
    running: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """State of the directory."""

    revision: int = 0
    contacts: Mapping[str, int] = field(default_factory=dict)
    """Type -> number of served contacts."""
    sources: Mapping[str, SourceState] = field(default_factory=dict)
    """Name -> state of each source that ever ran."""


@dataclass(frozen=True, slots=True)
class ExpectedSource:
    """Source in the settings; its contacts are stale from the age `stale_after`."""

    name: str
    type: str
    stale_after: timedelta


class SourceAge(NamedTuple):
    """Age of the contacts of a source."""

    source: str
    type: str
    seconds: int | None
    """Seconds since the end of the last complete run; None without one."""
    stale: bool


def compute_age(expected: ExpectedSource, state: DirectoryState, now: datetime) -> SourceAge:
    """Return the age of a source; one without a complete run is stale."""
    source = state.sources.get(expected.name)
    if source is None or source.last_success is None:
        return SourceAge(expected.name, expected.type, None, stale=True)
    passed = now - source.last_success
    return SourceAge(expected.name, expected.type, max(0, int(passed.total_seconds())), passed > expected.stale_after)


def describe_source(expected: ExpectedSource, state: DirectoryState, now: datetime) -> dict[str, Any]:
    """Return the JSON values of a source; times are RFC 3339 in UTC, ages whole seconds."""
    source = state.sources.get(expected.name, SourceState(expected.name))
    age = compute_age(expected, state, now)
    return {
        "name": expected.name,
        "type": expected.type,
        "lastSuccess": rfc3339(source.last_success),
        "ageSeconds": age.seconds,
        "stale": age.stale,
        "running": source.running,
        "outcome": source.outcome,
        "why": source.reason.partition("\n")[0],
        "missing": source.missing,
        "held": source.held,
        "kept": source.kept,
        "heldAttributes": list(source.attributes),
        "rejected": source.rejected,
        "certificateEnds": rfc3339(source.certificate_ends),
    }


def describe_health(
    expected: Iterable[ExpectedSource],
    state: DirectoryState,
    now: datetime,
    outage: str = "",
    *,
    detailed: bool = True,
) -> dict[str, Any]:
    """Return the JSON values of the directory.

    `outage` is a sentence why the database does not answer, or empty; in an outage, `state` is the last one read.
    Without `detailed`, the reasons of servers are left out, because they name addresses and accounts.
    """
    sources = [describe_source(source, state, now) for source in expected]
    if not detailed:
        outage = outage and "the database does not answer"
        sources = [{**source, "why": ""} for source in sources]
    reasons = [outage] if outage else []
    for source in sources:
        if source["stale"]:
            reasons.append(
                f"{source['name']} is stale" if source["lastSuccess"] else f"{source['name']} never succeeded"
            )
        reasons.extend(_check_last_run(source))
        reasons.extend(check_certificate(state.sources.get(source["name"]), now))
    return {
        "status": "degraded" if reasons else "ok",
        "why": reasons,
        "database": "lost" if outage else "ok",
        "revision": state.revision,
        "contacts": dict(state.contacts),
        "sources": sources,
    }


CERTIFICATE_WARNING = timedelta(days=14)
"""Remaining validity below which a certificate degrades the health."""


def check_certificate(source: SourceState | None, now: datetime) -> Iterator[str]:
    """Yield a sentence if the server's certificate is about to expire."""
    ends = None if source is None else source.certificate_ends
    if source is not None and ends is not None and ends - now < CERTIFICATE_WARNING:
        yield f"the certificate of {source.source}'s server ends on {ends:%Y-%m-%d}; have it renewed before"


def _check_last_run(source: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for a failed last run, or for undecided holds."""
    name, outcome, is_undecided = source["name"], source["outcome"], source["held"] or source["heldAttributes"]
    if outcome not in {None, "completed", "held"} or (outcome == "held" and is_undecided):
        yield f"the last run of {name} was {outcome}" + (f": {source['why']}" if source["why"] else "")
    elif is_undecided:
        losses = "".join(f", and the loss of {attribute}" for attribute in source["heldAttributes"])
        yield f"{source['held']} removals of {name}{losses} are held; look at them with `syncd held`"


def add_details(
    health: Mapping[str, Any], last_syncs: Mapping[str, PastRun], first_removals: Mapping[str, datetime]
) -> dict[str, Any]:
    """Return the health with run and evidence of each source's last sync, and the time of its next possible removal.

    The mappings have the names of the sources as keys.
    """

    def add_to_source(source: Mapping[str, Any]) -> dict[str, Any]:
        run = last_syncs.get(source["name"])
        return {
            **source,
            "firstLeaves": rfc3339(first_removals.get(source["name"])),
            "run": None if run is None else run.id,
            "evidence": None if run is None else run.evidence,
        }

    return {**health, "sources": [add_to_source(source) for source in health["sources"]]}
