"""Guard: decision whether the removals of a run are applied, held or refused, from its evidence, plan and history.

An incomplete read is refused. If a plan has too many removals, or removals with a doubtful cause, all of them are held.
Otherwise every missing key is verified by a direct search first, and only the removals of entries that still exist are
held. Additions and changes are applied in both cases, except changes that consist of the loss of a mapped attribute.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from syncd.core.sync.plan import PROVEN, AttributeLoss, Counts, Outcome
from syncd.core.sync.record import Evidence, Presence, PresenceCheck

MAX_VERIFIED_KEYS = 20_000
"""Maximum of missing keys that are verified in one run; more removals are held unverified."""


class Action(StrEnum):
    """Result of the guard."""

    APPLY = "apply"
    """Apply the plan, except the held keys and attributes of the decision."""
    VERIFY = "verify"
    """Verify the missing keys, then decide again with the results."""
    HOLD = "hold"
    """Apply additions and changes, and hold all removals."""
    REFUSE = "refuse"
    """Apply nothing."""


class Limit(NamedTuple):
    """Limit as a share, an absolute number, or both, of which the lower one counts."""

    share: float | None
    """0 to 1."""
    absolute: int | None = None
    min_population: int = 0
    """Population below which the share is not used: of ten queues, one is more than a few per cent."""
    small_source_allowance: int = 0
    """Number allowed for a smaller population, instead of the share."""

    def max_allowed(self, population: int) -> int:
        """Return the maximum for this population."""
        maxima = [] if self.absolute is None else [self.absolute]
        if self.share is not None:
            # the share as it was written: in binary, 29 % of 100 is a hair below 29
            share = Fraction(self.share).limit_denominator(1_000_000)
            maxima.append(self.small_source_allowance if population < self.min_population else int(population * share))
        return min(maxima)

    def __str__(self) -> str:
        """Return the value as the settings have it."""
        parts = [] if self.share is None else [f'"{self.share * 100:g}%"']
        parts += [] if self.absolute is None else [str(self.absolute)]
        return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a source, from its settings."""

    removals: Limit
    """Removals in one run."""
    day: Limit
    """Removals in 24 hours, over all runs."""
    week: Limit
    """Removals in 7 days, over all runs."""
    losses: Limit
    """Entries that lose a mapped attribute, of those that had it."""
    rejects: Limit
    """Records that cannot be mapped, of all that were read."""
    purge: Limit
    """Contacts deleted by one purge, of all stored ones of the source in any state."""
    hold_empty: bool
    """Hold all removals when the source is empty."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Results of the earlier runs of a source."""

    removed_in_day: int = 0
    removed_in_week: int = 0
    """Contacts removed in the last 24 hours and 7 days, without approved removals."""
    scope: Mapping[str, str] | None = None
    """Scope of the last read whose removals were accepted; None before the first one."""


@dataclass(frozen=True, slots=True)
class GuardInput:
    """Everything that the guard decides by."""

    evidence: Evidence
    counts: Counts
    limits: Limits
    history: RunHistory = RunHistory()
    scope: Mapping[str, str] = field(default_factory=dict)
    """How the source was read: name of a setting or server property (base, filter, map, identity …) -> value."""
    presence_checks: Mapping[str, PresenceCheck] | None = None
    """Missing key -> result of its verification; None before the verification."""


class HoldReason(NamedTuple):
    """Reason for holding a removal."""

    code: str
    """Stable identifier."""
    sentence: str


@dataclass(frozen=True, slots=True)
class GuardDecision:
    """Decision of the guard."""

    action: Action
    reason: str = ""
    """Sentences with the next step; empty when everything is applied."""
    code: str = ""
    """First reason to hold: empty, keyless, doubled, scope, volume, day, week, many; of a purge: unproven, volume."""
    held_keys: Mapping[str, HoldReason] = field(default_factory=dict)
    """Key of each removal that is held although the others are applied -> reason."""
    held_attributes: tuple[str, ...] = ()
    """Attributes whose loss is held."""

    @property
    def cause(self) -> str:
        """The reason without its next step, for the list that the step refers to."""
        return self.reason.removesuffix(f"; {_RELEASE}")


def decide(case: GuardInput) -> GuardDecision:
    """Decide on a sync or undo: refuse an incomplete read, hold doubtful removals, have the others verified.

    After the action VERIFY, call it again with `presence_checks`.
    """
    refusal = "; ".join(_refusals(case))
    if refusal:
        return GuardDecision(Action.REFUSE, refusal)
    losses = [loss for loss in case.counts.losses if loss.lost > case.limits.losses.max_allowed(loss.before)]
    loss_sentences = [_describe_loss(loss, case.limits.losses) for loss in losses]
    attributes = tuple(loss.attribute for loss in losses)
    removals = case.counts.missing + case.counts.removed
    hold_reasons = list(_hold_reasons(case)) if removals else []
    if hold_reasons:
        sentences = [*loss_sentences, *(reason.sentence for reason in hold_reasons), _RELEASE]
        return GuardDecision(Action.HOLD, "; ".join(sentences), hold_reasons[0].code, held_attributes=attributes)
    if case.presence_checks is None and removals:
        return GuardDecision(Action.VERIFY)
    held = {check.key: reason for check in (case.presence_checks or {}).values() if (reason := _hold_reason_of(check))}
    sentences = [*loss_sentences, *_summarize_held_keys(held), *([_RELEASE] if losses or held else [])]
    return GuardDecision(Action.APPLY, "; ".join(sentences), held_keys=held, held_attributes=attributes)


def decide_purge(last: Outcome | None, stored: int, purged: int, limits: Limits) -> GuardDecision:
    """Decide on a purge of `purged` of `stored` contacts.

    `last` is the outcome of the last sync: contacts of an unreadable source are kept, because they may come back.
    """
    if not purged:
        return GuardDecision(Action.APPLY)
    if last not in PROVEN:
        return GuardDecision(
            Action.HOLD, "the last sync of the source was not complete, so no contact is purged", "unproven"
        )
    allowed = limits.purge.max_allowed(stored)
    if purged > allowed:
        reason = (
            f"{purged} of {stored} contacts would be purged, at most {allowed} may be "
            f"(max_purge = {limits.purge}); none is; {_RELEASE}"
        )
        return GuardDecision(Action.HOLD, reason, "volume")
    return GuardDecision(Action.APPLY)


_RELEASE = "look at them with `syncd held`; `syncd approve RUN` releases exactly that list, once"


def _refusals(case: GuardInput) -> Iterator[str]:
    """Yield a sentence per reason to refuse the read."""
    if not case.evidence.complete:
        yield case.evidence.reason
        return
    for absent in case.counts.missing_sentinels:
        number = "is not there" if absent.expected == 1 else f"was found {absent.present} times, not {absent.expected}"
        yield (
            f"the sentinel {absent.sentinel} {number}, so the read is not trusted; "
            "look for a lost right, a wrong base or filter, or correct guard.sentinel"
        )
    allowed = case.limits.rejects.max_allowed(case.evidence.entries)
    if case.counts.rejected > allowed:
        yield (
            f"{case.counts.rejected} of {case.evidence.entries} records cannot be mapped, at most {allowed} may be "
            f"(max_rejects = {case.limits.rejects}); `syncd rejects` lists the reasons"
        )


def _hold_reasons(case: GuardInput) -> Iterator[HoldReason]:
    """Yield the reasons to hold all removals of the run."""
    evidence, counts = case.evidence, case.counts
    removals = counts.missing + counts.removed
    if evidence.entries == 0 and case.limits.hold_empty:
        yield HoldReason(
            "empty",
            f"the source answered with no entry at all; all {removals} removals are held. "
            "Check filter, base and rights of the bind account",
        )
    if counts.keyless:
        yield HoldReason(
            "keyless",
            f"{counts.keyless} records have no readable {evidence.key_attribute}, so they cannot be matched to their "
            f"contacts; all {removals} removals are held. Give them a key, or leave them out by the filter",
        )
    if counts.doubled:
        yield HoldReason(
            "doubled",
            f"{counts.doubled} records have the same {evidence.key_attribute} as another one, so the key of a contact "
            f"may have been overwritten; all {removals} removals are held. Correct the keys at the source",
        )
    if counts.leaving:
        yield from _reasons_for_active(case)
    if removals > MAX_VERIFIED_KEYS:
        yield HoldReason("many", f"{removals} removals are too many to be verified one by one; they are held")


def _reasons_for_active(case: GuardInput) -> Iterator[HoldReason]:
    """Yield the reasons that apply to active contacts only; those of missing ones were decided in an earlier run."""
    counts, limits, history = case.counts, case.limits, case.history
    changes = scope_changes(history.scope, case.scope)
    if changes:
        yield HoldReason("scope", f"{', '.join(changes)}: the {counts.leaving} removals that come with it are held")
    for window in (
        _Window("volume", "in one run", "max_removals", limits.removals, 0),
        _Window("day", "in 24 hours", "max_removals_day", limits.day, history.removed_in_day),
        _Window("week", "in 7 days", "max_removals_week", limits.week, history.removed_in_week),
    ):
        yield from _check_window(counts, window)


class _Window(NamedTuple):
    """Period with a limit of removals."""

    code: str
    words: str
    setting: str
    limit: Limit
    before: int
    """Removals of earlier runs in this period."""


def _check_window(counts: Counts, window: _Window) -> Iterator[HoldReason]:
    """Yield a reason if this run exceeds the limit of the period, together with earlier runs."""
    allowed = window.limit.max_allowed(counts.population + window.before)
    if counts.leaving + window.before > allowed:
        rekeyed = f" ({counts.rekeyed} of them come again under another key)" if counts.rekeyed else ""
        earlier = f", {window.before} have left already" if window.before else ""
        yield HoldReason(
            window.code,
            f"{counts.leaving} of {counts.population} contacts would leave{rekeyed}{earlier}, at most {allowed} may "
            f"{window.words} ({window.setting} = {window.limit}); the removals are held",
        )


def scope_changes(before: Mapping[str, str] | None, now: Mapping[str, str]) -> list[str]:
    """Return the differences of two scopes, sorted by name: `filter changed from "…" to "…"`; none without `before`."""
    if before is None:
        return []
    return [
        f'{name} changed from "{before.get(name, "")}" to "{now.get(name, "")}"'
        for name in sorted(before.keys() | now.keys())
        if before.get(name, "") != now.get(name, "")
    ]


def _describe_loss(loss: AttributeLoss, limit: Limit) -> str:
    is_member = loss.attribute.startswith("member ")
    subject = f"the {loss.attribute}" if is_member else f"the attribute {loss.attribute}"
    remedy = (
        "it is kept. Look for a rule of the map that names an attribute that no entry has"
        if is_member
        else "its values are kept. Look for a lost read right or a renamed attribute"
    )
    return (
        f"{subject} is gone from {loss.lost} of the {loss.before} entries that had it, at most "
        f"{limit.max_allowed(loss.before)} may lose it (max_attribute_loss = {limit}); {remedy}"
    )


def _hold_reason_of(check: PresenceCheck) -> HoldReason | None:
    """Return the reason to hold the removal of this key; None when its absence is verified."""
    if check.presence is Presence.PRESENT:
        return HoldReason("present", f"the source has it: {check.location}")
    if check.presence is Presence.UNKNOWN:
        return HoldReason("unverified", f"its absence could not be verified: {check.location}")
    return None


def _summarize_held_keys(held: Mapping[str, HoldReason]) -> Iterator[str]:
    """Yield a sentence per code of held removals."""
    for code, what in (
        ("present", "were missing from the read and found by a direct search"),
        ("unverified", "could not be verified as absent"),
    ):
        reasons = [reason for reason in held.values() if reason.code == code]
        if reasons:
            # a location names a person, and this sentence is public
            example = "" if code == "present" else f" ({reasons[0].sentence})"
            yield f"{len(reasons)} contacts {what}, so they stay{example}"
