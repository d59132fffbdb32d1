"""Health: what the state of the store means for those who rely on the directory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd.core.sync.history import PastRun, moment


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known of one source: its last run that came to an end, and the last one that proved something."""

    source: str
    outcome: str | None = None
    why: str = ""
    started: datetime | None = None
    """Of its newest run, which may be going on."""
    last_success: datetime | None = None
    held: int = 0
    """Removals that are held and wait for a person, or for the source to have them again."""
    rejected: int = 0
    missing: int = 0
    """Contacts that the source no longer has and whose grace runs."""
    kept: int = 0
    """Removals that a person rejected."""
    attributes: tuple[str, ...] = ()
    """Attributes whose loss is held and waits for a person."""
    certificate_ends: datetime | None = None
    """Until when the certificate of the server is good that was read completely last."""
    running: bool = False
    """Whether a run is going on."""


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


class Age(NamedTuple):
    """How old what a source gave is."""

    source: str
    type: str
    seconds: int | None
    """Since the end of its last complete run; None when there was none."""
    stale: bool


def age(expected: Expected, state: DirectoryState, now: datetime) -> Age:
    """The age of one source, in whole seconds; what never came is stale."""
    known = state.sources.get(expected.name)
    if known is None or known.last_success is None:
        return Age(expected.name, expected.type, None, stale=True)
    passed = now - known.last_success
    return Age(expected.name, expected.type, max(0, int(passed.total_seconds())), passed > expected.stale_after)


def source_health(expected: Expected, state: DirectoryState, now: datetime) -> dict[str, Any]:
    """One source as /health and `syncd status` show it; times are RFC 3339 in UTC, ages in whole seconds."""
    known = state.sources.get(expected.name, SourceState(expected.name))
    aged = age(expected, state, now)
    return {
        "name": expected.name,
        "type": expected.type,
        "lastSuccess": moment(known.last_success),
        "ageSeconds": aged.seconds,
        "stale": aged.stale,
        "running": known.running,
        "outcome": known.outcome,
        "why": known.why.partition("\n")[0],
        "missing": known.missing,
        "held": known.held,
        "kept": known.kept,
        "heldAttributes": list(known.attributes),
        "rejected": known.rejected,
        "certificateEnds": moment(known.certificate_ends),
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
        reasons.extend(_about_the_last_run(source))
        reasons.extend(certificate_reason(state.sources.get(source["name"]), now))
    return {
        "status": "degraded" if reasons else "ok",
        "why": reasons,
        "database": "lost" if lost else "ok",
        "revision": state.revision,
        "contacts": dict(state.contacts),
        "sources": sources,
    }


CERTIFICATE_NEAR_END = timedelta(days=14)


def certificate_reason(source: SourceState | None, now: datetime) -> Iterator[str]:
    """A sentence when the server's certificate is about to end: from then on nothing can be read."""
    ends = None if source is None else source.certificate_ends
    if source is not None and ends is not None and ends - now < CERTIFICATE_NEAR_END:
        yield f"the certificate of {source.source}'s server ends on {ends:%Y-%m-%d}; have it renewed before"


def _about_the_last_run(source: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it, and what waits for a decision. What a person rejected is decided, and no reason."""
    name, outcome, waits = source["name"], source["outcome"], source["held"] or source["heldAttributes"]
    if outcome not in {None, "completed", "held"} or (outcome == "held" and waits):
        yield f"the last run of {name} was {outcome}: {source['why']}"
    elif waits:
        lost = "".join(f", and the loss of {attribute}" for attribute in source["heldAttributes"])
        yield f"{source['held']} removals of {name}{lost} are held; look at them with `syncd held`"


def detailed(found: Mapping[str, Any], last: Mapping[str, PastRun], leaves: Mapping[str, datetime]) -> dict[str, Any]:
    """The same with each source's last sync, its evidence, and the moment when the first of the missing may leave."""

    def more(source: Mapping[str, Any]) -> dict[str, Any]:
        run = last.get(source["name"])
        return {
            **source,
            "firstLeaves": moment(leaves.get(source["name"])),
            "run": None if run is None else run.id,
            "evidence": None if run is None else run.evidence,
        }

    return {**found, "sources": [more(source) for source in found["sources"]]}
