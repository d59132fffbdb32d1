"""The guard: what a run may do to the directory, decided from its evidence and the counts of its plan alone."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from syncd.core.plan import Counts
from syncd.core.record import Evidence


class Action(StrEnum):
    """What is done with a plan."""

    APPLY = "apply"
    """All of it."""
    HOLD = "hold"
    """Additions and changes, but no removal."""
    REFUSE = "refuse"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many removals a run may make without being asked; exactly one of share and number is given."""

    share: float | None
    """Part of the population, 0 to 1."""
    number: int | None
    min_population: int
    """Below it the share is not used: of ten queues, one is more than a few per cent."""
    hold_empty: bool
    """An empty source holds every removal, however few."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The guard's answer and its reason in a sentence; no sentence when all is applied."""

    action: Action
    why: str = ""


def decide(evidence: Evidence, counts: Counts, limits: Limits) -> Decision:
    """Refuse on incomplete evidence; hold the removals of an emptied source or above the limit; else apply.

    The order matters: a read that proves nothing is never counted.
    """
    if not evidence.complete:
        return Decision(Action.REFUSE, evidence.why)
    if counts.removed == 0:
        return Decision(Action.APPLY)
    if evidence.entries == 0 and limits.hold_empty:
        return Decision(
            Action.HOLD,
            f"the source answered with no entry at all; all {counts.removed} removals are held. "
            "Check filter, base and rights of the bind account",
        )
    if counts.keyless:
        return Decision(
            Action.HOLD,
            f"{counts.keyless} records have no readable {evidence.key_attribute}, so nobody can tell whose contacts "
            f"they are; all {counts.removed} removals are held. Give them a key, or leave them out by the filter",
        )
    allowed = _allowed(counts.population, limits)
    if allowed is not None and counts.removed > allowed:
        return Decision(
            Action.HOLD,
            f"{counts.removed} of {counts.population} contacts would be removed, at most {allowed} may be "
            f"({_limit(limits)}); the removals are held. Look at them with `syncd plan`; if they are right, "
            "raise guard.max_removals for one run",
        )
    return Decision(Action.APPLY)


def _allowed(population: int, limits: Limits) -> int | None:
    if limits.number is not None:
        return limits.number
    if limits.share is None or population < limits.min_population:
        return None
    # the share as it was written: in binary, 29 % of 100 is a hair below 29
    return int(population * Fraction(limits.share).limit_denominator(1_000_000))


def _limit(limits: Limits) -> str:
    if limits.number is not None:
        return f"max_removals = {limits.number}"
    return f'max_removals = "{(limits.share or 0) * 100:g}%"'
