"""The guard: what a run may do to the directory, decided from its evidence, its plan and the runs before it alone.

It answers apply, hold or refuse, and always says why. A read that proves nothing is refused before anything is counted.
Of a plan that counts too many removals, or whose removals have a doubtful cause, every removal is held; of any other
the keys that are missing are first asked for one by one, and those that turn out to be there are held. Additions and
changes are applied all the same, except changes that only tell of a mapped attribute that vanished.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from syncd.core.sync.plan import PROVEN, Counts, Outcome
from syncd.core.sync.record import Evidence, Sight, Sighting

MOST_LOOKS = 20_000
"""Missing keys that are asked for one by one; more of them are held without asking."""


class Action(StrEnum):
    """What is done with a plan."""

    APPLY = "apply"
    """All of it, but for the removals and attributes that the decision names."""
    LOOK = "look"
    """The same, after the missing keys were asked for: decide again with what was found."""
    HOLD = "hold"
    """Additions and changes, but no removal at all."""
    REFUSE = "refuse"
    """Nothing."""


class Limit(NamedTuple):
    """How much of something is let pass: a share of all, a number, or both; above either is too much."""

    share: float | None
    """0 to 1."""
    number: int | None = None
    min_population: int = 0
    """Of fewer than this the share says nothing: of ten queues, one is more than a few per cent."""
    small: int = 0
    """So many are let pass of such a small population."""

    def allows(self, population: int) -> int:
        """The most that is let pass of so many."""
        allowed = [] if self.number is None else [self.number]
        if self.share is not None:
            # the share as it was written: in binary, 29 % of 100 is a hair below 29
            part = Fraction(self.share).limit_denominator(1_000_000)
            allowed.append(self.small if population < self.min_population else int(population * part))
        return min(allowed)

    def __str__(self) -> str:
        """As it is written in the settings."""
        parts = [] if self.share is None else [f'"{self.share * 100:g}%"']
        parts += [] if self.number is None else [str(self.number)]
        return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings of a source allow without asking."""

    removals: Limit
    """In one run."""
    day: Limit
    week: Limit
    """In so long a time, however many runs it takes."""
    losses: Limit
    """Entries that lose a mapped attribute, of those that had it."""
    rejects: Limit
    """Records that cannot be mapped, of all that were read."""
    purge: Limit
    """Contacts that one purge forgets, of all that a source has or had."""
    hold_empty: bool
    """An empty source holds every removal, however few."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the earlier runs of a source left behind."""

    left_in_day: int = 0
    left_in_week: int = 0
    """Contacts that left within the last 24 hours and 7 days, approved ones aside."""
    scope: Mapping[str, str] | None = None
    """Where and how the source was read when its removals were last believed; None before that."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that the guard decides by."""

    evidence: Evidence
    counts: Counts
    limits: Limits
    past: Past = Past()
    scope: Mapping[str, str] = field(default_factory=dict)
    """Where and how the source was read: base, filter, map and so on, by name."""
    sightings: Mapping[str, Sighting] | None = None
    """What a direct question found of each key that is missing; None before anybody asked."""


class Doubt(NamedTuple):
    """Why a removal is held: a short stable code, and a sentence."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The guard's answer; no sentence when all is applied."""

    action: Action
    why: str = ""
    code: str = ""
    """Of a decision to hold, the first cause: empty, keyless, doubled, scope, volume, day, week, many."""
    rows: Mapping[str, Doubt] = field(default_factory=dict)
    """The keys whose removal is held although the others are applied."""
    attributes: tuple[str, ...] = ()
    """The attributes whose loss is held."""

    @property
    def cause(self) -> str:
        """The sentence without its next step, for the list that the step leads to."""
        return self.why.removesuffix(f"; {_RELEASE}")


def decide(case: Case) -> Decision:
    """Refuse what proves nothing; hold what is too much or has a doubtful cause; ask before the rest is applied."""
    refusal = "; ".join(_refusals(case))
    if refusal:
        return Decision(Action.REFUSE, refusal)
    attributes = tuple(loss.attribute for loss in case.counts.losses if loss.lost > case.limits.losses.allows(loss.had))
    losses = [_loss_sentence(case, attribute) for attribute in attributes]
    doubts = list(_doubts(case)) if case.counts.missing + case.counts.removed else []
    if doubts:
        why = "; ".join([*losses, *(doubt.sentence for doubt in doubts), _RELEASE])
        return Decision(Action.HOLD, why, doubts[0].code, attributes=attributes)
    if case.sightings is None and case.counts.missing + case.counts.removed:
        return Decision(Action.LOOK)
    rows = {sighting.key: doubt for sighting in (case.sightings or {}).values() if (doubt := _doubt_about(sighting))}
    told = [*losses, *_told(rows), *([_RELEASE] if losses or rows else [])]
    return Decision(Action.APPLY, "; ".join(told), rows=rows, attributes=attributes)


def decide_purge(last: Outcome | None, known: int, purged: int, limits: Limits) -> Decision:
    """What a purge may forget. Nobody is forgotten while the source does not answer: they might be back."""
    if not purged:
        return Decision(Action.APPLY)
    if last not in PROVEN:
        return Decision(Action.HOLD, "the last sync of the source proved nothing, so nobody is forgotten", "unproven")
    allowed = limits.purge.allows(known)
    if purged > allowed:
        why = (
            f"{purged} of {known} contacts would be forgotten for good, at most {allowed} may be "
            f"(max_purge = {limits.purge}); none is; {_RELEASE}"
        )
        return Decision(Action.HOLD, why, "volume")
    return Decision(Action.APPLY)


_RELEASE = "look at them with `syncd held`; `syncd approve RUN` releases exactly that list, once"


def _refusals(case: Case) -> Iterator[str]:
    """Why the read does not count, one sentence each."""
    if not case.evidence.complete:
        yield case.evidence.why
        return
    for absent in case.counts.absent:
        number = "is not there" if absent.wanted == 1 else f"was found {absent.found} times, not {absent.wanted}"
        yield (
            f"the sentinel {absent.what} {number}, so the read is not believed; "
            "look for a lost right, a wrong base or filter, or correct guard.sentinel"
        )
    allowed = case.limits.rejects.allows(case.evidence.entries)
    if case.counts.rejected > allowed:
        yield (
            f"{case.counts.rejected} of {case.evidence.entries} records cannot be mapped, at most {allowed} may be "
            f"(max_rejects = {case.limits.rejects}); `syncd rejects` lists the reasons"
        )


def _doubts(case: Case) -> Iterator[Doubt]:
    """Why no removal of this run is believed."""
    evidence, counts = case.evidence, case.counts
    removals = counts.missing + counts.removed
    if evidence.entries == 0 and case.limits.hold_empty:
        yield Doubt(
            "empty",
            f"the source answered with no entry at all; all {removals} removals are held. "
            "Check filter, base and rights of the bind account",
        )
    if counts.keyless:
        yield Doubt(
            "keyless",
            f"{counts.keyless} records have no readable {evidence.key_attribute}, so nobody can tell whose contacts "
            f"they are; all {removals} removals are held. Give them a key, or leave them out by the filter",
        )
    if counts.doubled:
        yield Doubt(
            "doubled",
            f"{counts.doubled} records bear a {evidence.key_attribute} that another one bears too, so one of them may "
            f"be anybody whose key was overwritten; all {removals} removals are held. Correct the keys at the source",
        )
    if counts.leaving:
        yield from _doubts_about_leaving(case)
    if removals > MOST_LOOKS:
        yield Doubt("many", f"{removals} removals are more than can be asked for one by one; they are held")


def _doubts_about_leaving(case: Case) -> Iterator[Doubt]:
    """Why it is not believed that active contacts leave; of those who are missing already it was believed then."""
    counts, limits, past = case.counts, case.limits, case.past
    moved = scope_changes(past.scope, case.scope)
    if moved:
        yield Doubt("scope", f"{', '.join(moved)}: the {counts.leaving} removals that come with it are held")
    for window in (
        _Window("volume", "in one run", "max_removals", limits.removals, 0),
        _Window("day", "in 24 hours", "max_removals_day", limits.day, past.left_in_day),
        _Window("week", "in 7 days", "max_removals_week", limits.week, past.left_in_week),
    ):
        yield from _too_many(counts, window)


class _Window(NamedTuple):
    """A stretch of time and what may leave in it."""

    code: str
    words: str
    key: str
    limit: Limit
    before: int
    """So many left in it already."""


def _too_many(counts: Counts, window: _Window) -> Iterator[Doubt]:
    """A doubt when those who leave now, with those who left before, are more than the limit lets pass."""
    allowed = window.limit.allows(counts.population + window.before)
    if counts.leaving + window.before > allowed:
        rekeyed = f" ({counts.rekeyed} of them come again under another key)" if counts.rekeyed else ""
        earlier = f", {window.before} have left already" if window.before else ""
        yield Doubt(
            window.code,
            f"{counts.leaving} of {counts.population} contacts would leave{rekeyed}{earlier}, at most {allowed} may "
            f"{window.words} ({window.key} = {window.limit}); the removals are held",
        )


def scope_changes(before: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str]:
    """What is not as it was when removals were last believed: `filter changed from "…" to "…"`, sorted by name."""
    if before is None:
        return []
    return [
        f'{name} changed from "{before.get(name, "")}" to "{now.get(name, "")}"'
        for name in sorted(before.keys() | now.keys())
        if before.get(name, "") != now.get(name, "")
    ]


def _loss_sentence(case: Case, attribute: str) -> str:
    loss = next(loss for loss in case.counts.losses if loss.attribute == attribute)
    member = attribute.startswith("member ")
    what = f"the {attribute}" if member else f"the attribute {attribute}"
    kept = "it is kept. Look for a rule of the map that" if member else "what it gave is kept. Look for"
    cause = "names what nobody has" if member else "a lost read right or a renamed attribute"
    return (
        f"{what} is gone from {loss.lost} of the {loss.had} entries that had it, at most "
        f"{case.limits.losses.allows(loss.had)} may lose it (max_attribute_loss = {case.limits.losses}); {kept} {cause}"
    )


def _doubt_about(sighting: Sighting) -> Doubt | None:
    """Why this one removal is held; None when it is confirmed."""
    if sighting.sight is Sight.PRESENT:
        return Doubt("present", f"it is there: {sighting.place}")
    if sighting.sight is Sight.UNKNOWN:
        return Doubt("unverified", f"nobody could say whether it is there: {sighting.place}")
    return None


def _told(rows: Mapping[str, Doubt]) -> Iterator[str]:
    """The doubts about single removals, summed up."""
    for code, what in (
        ("present", "were missing from the read and are there when asked for"),
        ("unverified", "could not be asked for"),
    ):
        doubts = [doubt for doubt in rows.values() if doubt.code == code]
        if doubts:
            # a place names a person, and this sentence goes where anybody reads it
            such_as = "" if code == "present" else f" ({doubts[0].sentence})"
            yield f"{len(doubts)} contacts {what}, so they stay{such_as}"
