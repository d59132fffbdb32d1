"""The guard: complete evidence or nothing, and never more removals than the operator allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.guard import Action, Decision, Limits, decide
from syncd.core.plan import Counts
from syncd.core.record import Evidence, Shortfall
from syncd.settings import Guard

SHARE = Limits(share=0.05, number=None, min_population=20, hold_empty=True)
NUMBER = Limits(share=None, number=3, min_population=20, hold_empty=True)
CUT = Shortfall("cut", "the connection ended after page 3")
SIZE = Shortfall("size-limit", "the server stops at 500 entries")


def evidence(entries: int = 1000, *shortfalls: Shortfall) -> Evidence:
    return Evidence(server="ldaps://ldap1", key_attribute="entryUUID", entries=entries, shortfalls=shortfalls)


counts = st.builds(
    Counts,
    population=st.integers(0, 100_000),
    added=st.integers(0, 100_000),
    changed=st.integers(0, 100_000),
    removed=st.integers(0, 100_000),
    rejected=st.integers(0, 1000),
    keyless=st.sampled_from([0, 0, 0, 1, 7]),
)
limits = st.builds(
    Limits,
    share=st.integers(0, 10_000).map(lambda hundredths: hundredths / 100 / 100),
    number=st.none(),
    min_population=st.integers(0, 50),
    hold_empty=st.booleans(),
) | st.builds(
    Limits, share=st.none(), number=st.integers(0, 1000), min_population=st.integers(0, 50), hold_empty=st.booleans()
)


@given(counts, limits, st.integers(0, 100_000))
def test_incomplete_evidence_always_refuses(found: Counts, given_: Limits, entries: int) -> None:
    """Whatever the counts and the limits: a read that proves nothing changes nothing, and says why."""
    assert decide(evidence(entries, CUT), found, given_) == Decision(Action.REFUSE, CUT.sentence)


def test_every_shortfall_is_in_the_reason() -> None:
    """Two reasons are two sentences."""
    assert decide(evidence(0, CUT, SIZE), Counts(), SHARE).why == f"{CUT.sentence}; {SIZE.sentence}"


@given(counts, limits, st.integers(1, 100_000))
def test_more_removals_than_allowed_are_never_applied(found: Counts, given_: Limits, entries: int) -> None:
    """Above the number, or above the share of a population that is large enough, removals are held."""
    if given_.number is not None:
        above = found.removed > given_.number
    else:
        hundredths = round((given_.share or 0) * 10_000)  # in whole numbers, to know better than a float
        above = found.population >= given_.min_population and found.removed * 10_000 > found.population * hundredths

    decision = decide(evidence(entries), found, given_)

    assert decision.action is (Action.HOLD if found.removed and (above or found.keyless) else Action.APPLY)
    assert bool(decision.why) == (decision.action is not Action.APPLY)


@given(counts, limits)
def test_an_emptied_source_never_removes_on_hold(found: Counts, given_: Limits) -> None:
    """No entry at all is more often a wrong base or filter than an empty directory."""
    held = Limits(given_.share, given_.number, given_.min_population, hold_empty=True)

    assert (decide(evidence(0), found, held).action is Action.APPLY) == (found.removed == 0)


def test_an_emptied_source_is_held_before_its_few_removals_are_counted() -> None:
    """One queue of one is below every limit, but its file was emptied."""
    decision = decide(evidence(0), Counts(population=1, removed=1), SHARE)

    assert decision.action is Action.HOLD
    assert "no entry at all; all 1 removals are held" in decision.why
    assert "filter, base and rights" in decision.why


def test_an_emptied_source_may_remove_when_asked_to_within_the_limit() -> None:
    """`on_empty = "remove"` leaves the other limits in force."""
    remove = Limits(share=0.05, number=None, min_population=20, hold_empty=False)

    assert decide(evidence(0), Counts(population=19, removed=19), remove).action is Action.APPLY
    assert decide(evidence(0), Counts(population=20, removed=20), remove).action is Action.HOLD


def test_records_without_a_key_hold_all_removals() -> None:
    """A contact that seems gone may be one of those that nobody can tell apart."""
    decision = decide(evidence(), Counts(population=1000, removed=1, rejected=2, keyless=2), SHARE)

    assert decision.action is Action.HOLD
    assert decision.why.startswith("2 records have no readable entryUUID")


def test_records_without_a_key_do_not_stop_additions() -> None:
    """Where nothing is removed there is nothing to hold."""
    assert decide(evidence(), Counts(added=5, changed=5, keyless=2), SHARE) == Decision(Action.APPLY)


@pytest.mark.parametrize(
    ("population", "removed", "expected"),
    [
        (1000, 50, Action.APPLY),  # exactly at the limit
        (1000, 51, Action.HOLD),
        (1019, 50, Action.APPLY),
        (1019, 51, Action.HOLD),  # a part of a contact is none
        (20, 1, Action.APPLY),
        (20, 2, Action.HOLD),
        (19, 2, Action.APPLY),  # too few for a share
        (19, 19, Action.APPLY),
        (0, 0, Action.APPLY),
    ],
)
def test_the_share_and_its_smallest_population(population: int, removed: int, expected: Action) -> None:
    """At the limit is within it, one more is not; below min_population the share says nothing."""
    assert decide(evidence(), Counts(population=population, removed=removed), SHARE).action is expected


@pytest.mark.parametrize("percent", range(101))
def test_a_share_is_counted_exactly(percent: int) -> None:
    """29 % of 100 is 29, whatever the binary fraction says."""
    given_ = Guard.model_validate({"max_removals": f"{percent}%"}).limits()

    assert decide(evidence(), Counts(population=100, removed=percent), given_).action is Action.APPLY
    assert decide(evidence(), Counts(population=100, removed=percent + 1), given_).action is Action.HOLD


@pytest.mark.parametrize(("removed", "expected"), [(0, Action.APPLY), (3, Action.APPLY), (4, Action.HOLD)])
@pytest.mark.parametrize("population", [4, 19, 20, 100_000])
def test_a_number_counts_whatever_the_population(removed: int, population: int, expected: Action) -> None:
    """A number is meant as it stands, for ten contacts as for a hundred thousand."""
    assert decide(evidence(), Counts(population=population, removed=removed), NUMBER).action is expected


def test_a_number_of_zero_holds_every_removal() -> None:
    """`max_removals = 0` means that a person looks at each."""
    none = Guard.model_validate({"max_removals": 0}).limits()

    assert decide(evidence(), Counts(population=5, removed=1), none).action is Action.HOLD


@pytest.mark.parametrize(
    ("given_", "said"),
    [(SHARE, 'at most 50 may be (max_removals = "5%")'), (NUMBER, "at most 3 may be (max_removals = 3)")],
)
def test_the_reason_says_the_counts_and_the_limit(given_: Limits, said: str) -> None:
    """Whoever is woken up by it knows how many of how many, what is allowed, and what to do next."""
    why = decide(evidence(), Counts(population=1000, removed=400), given_).why

    assert why.startswith("400 of 1000 contacts would be removed")
    assert said in why
    assert "`syncd plan`" in why
