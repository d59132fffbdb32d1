"""Guard: incomplete reads are refused, limits are never exceeded, and every decision has a reason."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.sync.guard import (
    MAX_VERIFIED_KEYS,
    Action,
    GuardDecision,
    GuardInput,
    HoldReason,
    Limit,
    Limits,
    RunHistory,
    decide,
    decide_purge,
    scope_changes,
)
from syncd.core.sync.plan import AttributeLoss, Counts, MissingSentinel, Outcome
from syncd.core.sync.record import Evidence, IncompleteReason, Presence, PresenceCheck
from syncd.settings import Guard

CUT = IncompleteReason("cut", "the connection ended after page 3")
SIZE = IncompleteReason("size-limit", "the server stops at 500 entries")
RELEASE = "look at them with `syncd held`; `syncd approve RUN` releases exactly that list, once"
OPEN = Limit(1.0)
"""Lets everybody go."""


def limits(**limits_: Any) -> Limits:
    """Limits that allow everything, except the given ones."""
    named = ("removals", "day", "week", "losses", "rejects", "purge")
    return Limits(**{**dict.fromkeys(named, OPEN), "hold_empty": True, **limits_})


def evidence(entries: int = 1000, *reasons: IncompleteReason) -> Evidence:
    return Evidence(server="ldaps://ldap1", key_attribute="entryUUID", entries=entries, incomplete_reasons=reasons)


def going(leaving: int, population: int = 1000, **more: Any) -> Counts:
    """Counts of a plan by which this many active contacts become missing."""
    return Counts(**{"population": population, "missing": leaving, "leaving": leaving, **more})


def case(counts: Counts, limits_: Limits | None = None, **more: Any) -> GuardInput:
    """Input whose missing keys were verified as gone."""
    return GuardInput(
        **{"evidence": evidence(), "counts": counts, "limits": limits_ or limits(), "presence_checks": {}, **more}
    )


# the whole guard, compared with an oracle in whole numbers


class Cap(NamedTuple):
    """Limit in whole numbers: hundredths of a per cent, a number, or both."""

    hundredths: int | None
    number: int | None
    min_population: int
    small: int

    def limit(self) -> Limit:
        share = None if self.hundredths is None else self.hundredths / 100 / 100
        return Limit(share, self.number, self.min_population, self.small)

    def broken_by(self, amount: int, population: int) -> bool:
        if self.number is not None and amount > self.number:
            return True
        if self.hundredths is None:
            return False
        if population < self.min_population:
            return amount > self.small
        return amount * 10_000 > population * self.hundredths


def caps() -> st.SearchStrategy[Cap]:
    hundredths, number = st.integers(0, 10_000), st.integers(0, 60)
    both = st.tuples(hundredths, number) | st.tuples(hundredths, st.none()) | st.tuples(st.none(), number)
    return st.builds(
        lambda b, least, small: Cap(b[0], b[1], least, small), both, st.integers(0, 50), st.integers(0, 10)
    )


few = st.sampled_from([0, 0, 0, 1, 2, 5]) | st.integers(0, 120)
losses_ = st.lists(
    st.builds(AttributeLoss, st.sampled_from(["sn", "mail", "mobile"]), few, few),
    max_size=3,
    unique_by=lambda loss: loss.attribute,
)


@st.composite
def plans(draw: st.DrawFn) -> Counts:
    """Counts of any plan; `leaving` is at most `missing` and `removed`."""
    missing, removed = draw(few), draw(few)
    return Counts(
        population=draw(st.integers(0, 200) | st.integers(0, 100_000)),
        added=draw(few),
        changed=draw(few),
        missing=missing,
        removed=removed,
        leaving=draw(st.integers(missing, missing + removed)),
        rekeyed=draw(st.sampled_from([0, 0, 3])),
        kept=draw(st.sampled_from([0, 1])),
        rejected=draw(few),
        keyless=draw(st.sampled_from([0, 0, 0, 0, 1, 7])),
        doubled=draw(st.sampled_from([0, 0, 0, 0, 1, 7])),
        losses=tuple(draw(losses_)),
        missing_sentinels=draw(st.sampled_from([(), (), (), (), (MissingSentinel('name = "Boss"', 1, 0),)])),
    )


scopes = st.dictionaries(st.sampled_from(["base", "filter", "scope"]), st.sampled_from(["a", "b"]))
checks_by_key = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(Presence), max_size=6).map(
    lambda checks: {key: PresenceCheck(key, presence, f"place of {key}") for key, presence in checks.items()}
)
named_caps = st.fixed_dictionaries({name: caps() for name in ("removals", "day", "week", "losses", "rejects", "purge")})


class World(NamedTuple):
    """Guard input with its limits in whole numbers."""

    case: GuardInput
    caps: Mapping[str, Cap]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    drawn_caps = draw(named_caps)
    reasons = draw(st.sampled_from([(), (), (), (), (), (CUT,), (CUT, SIZE)]))
    return World(
        GuardInput(
            evidence=evidence(draw(st.sampled_from([0, 1, 50]) | st.integers(0, 100_000)), *reasons),
            counts=draw(plans()),
            limits=Limits(**{name: cap.limit() for name, cap in drawn_caps.items()}, hold_empty=draw(st.booleans())),
            history=RunHistory(draw(few), draw(few), draw(st.none() | scopes)),
            scope=draw(scopes),
            presence_checks=draw(st.none() | checks_by_key),
        ),
        drawn_caps,
    )


def expected_codes(world: World) -> list[str]:
    """Codes of the reasons to hold, in order."""
    guard_input, counts, history = world.case, world.case.counts, world.case.history
    is_scope_changed = history.scope is not None and any(
        history.scope.get(name, "") != guard_input.scope.get(name, "") for name in [*history.scope, *guard_input.scope]
    )
    removals = counts.missing + counts.removed > 0
    leaving = counts.leaving > 0
    expected = {
        "empty": removals and guard_input.limits.hold_empty and guard_input.evidence.entries == 0,
        "keyless": removals and counts.keyless > 0,
        "doubled": removals and counts.doubled > 0,
        "scope": leaving and is_scope_changed,
        "volume": leaving and world.caps["removals"].broken_by(counts.leaving, counts.population),
        "day": leaving
        and world.caps["day"].broken_by(
            counts.leaving + history.removed_in_day, counts.population + history.removed_in_day
        ),
        "week": leaving
        and world.caps["week"].broken_by(
            counts.leaving + history.removed_in_week, counts.population + history.removed_in_week
        ),
        "many": counts.missing + counts.removed > 20_000,
    }
    return [code for code, true in expected.items() if true]


@given(worlds())
def test_decisions_equal_an_oracle_in_whole_numbers(world: World) -> None:
    """Action, code, held keys and held attributes equal those of a second implementation."""
    guard_input, counts = world.case, world.case.counts
    decision = decide(guard_input)

    if guard_input.evidence.incomplete_reasons:
        assert decision == GuardDecision(
            Action.REFUSE, "; ".join(s.sentence for s in guard_input.evidence.incomplete_reasons)
        )
        return
    if counts.missing_sentinels or world.caps["rejects"].broken_by(counts.rejected, guard_input.evidence.entries):
        assert decision.action is Action.REFUSE
        assert (decision.code, decision.held_keys, decision.held_attributes) == ("", {}, ())
        return
    lost = tuple(loss.attribute for loss in counts.losses if world.caps["losses"].broken_by(loss.lost, loss.before))
    codes = expected_codes(world)
    if codes:
        assert (decision.action, decision.code, decision.held_keys) == (Action.HOLD, codes[0], {})
        assert decision.held_attributes == lost
        assert decision.reason.endswith(RELEASE)
        return
    if guard_input.presence_checks is None and counts.missing + counts.removed > 0:
        assert decision == GuardDecision(Action.VERIFY)
        return
    held = {
        key: {Presence.PRESENT: "present", Presence.UNKNOWN: "unverified"}[sighting.presence]
        for key, sighting in (guard_input.presence_checks or {}).items()
        if sighting.presence in {Presence.PRESENT, Presence.UNKNOWN}
    }
    assert decision.action is Action.APPLY
    assert {key: hold_reason.code for key, hold_reason in decision.held_keys.items()} == held
    assert all(decision.held_keys[key].sentence.endswith(f"place of {key}") for key in held)
    assert decision.held_attributes == lost
    assert bool(decision.reason) == bool(held or lost)


@given(worlds())
def test_nothing_is_applied_above_a_limit(world: World) -> None:
    """Removals are applied only within every limit and with every sentinel present."""
    guard_input, counts, history = world.case, world.case.counts, world.case.history
    decision = decide(guard_input)

    if decision.action in {Action.APPLY, Action.VERIFY}:
        assert guard_input.evidence.complete
        assert not counts.missing_sentinels
        assert not world.caps["rejects"].broken_by(counts.rejected, guard_input.evidence.entries)
        if counts.leaving:
            assert not world.caps["removals"].broken_by(counts.leaving, counts.population)
            for cap, before in (("day", history.removed_in_day), ("week", history.removed_in_week)):
                assert not world.caps[cap].broken_by(counts.leaving + before, counts.population + before)
            assert history.scope is None or scope_changes(history.scope, guard_input.scope) == []
    if decision.action is Action.APPLY:
        for loss in counts.losses:
            assert loss.attribute in decision.held_attributes or not world.caps["losses"].broken_by(
                loss.lost, loss.before
            )


@given(worlds())
def test_every_restriction_has_a_sentence(world: World) -> None:
    """Refused, held, or held in part: the reason is never empty and never begins or ends with a separator."""
    decision = decide(world.case)

    assert (
        bool(decision.reason)
        == (
            decision.action in {Action.REFUSE, Action.HOLD}
            or bool(decision.held_keys)
            or bool(decision.held_attributes)
        )
        or decision.action is Action.VERIFY
    )
    assert not decision.reason.startswith("; ")
    assert "; ; " not in decision.reason


@given(worlds())
def test_decide_is_a_pure_function(world: World) -> None:
    """The same input gives the same decision and is not changed."""
    before = repr(world.case)

    assert decide(world.case) == decide(world.case)
    assert repr(world.case) == before


# refusals


@given(worlds())
def test_incomplete_evidence_always_refuses(world: World) -> None:
    """For any counts, limits, history and presence checks."""
    cut = replace(world.case, evidence=evidence(world.case.evidence.entries, CUT))

    assert decide(cut) == GuardDecision(Action.REFUSE, CUT.sentence)


def test_the_reason_has_every_incomplete_reason_and_nothing_else() -> None:
    """Counts of an incomplete read are no reason."""
    counts = Counts(missing_sentinels=(MissingSentinel('name = "Boss"', 1, 0),), rejected=1000)

    decision = decide(case(counts, limits(rejects=Limit(0.0)), evidence=evidence(0, CUT, SIZE)))

    assert decision == GuardDecision(Action.REFUSE, f"{CUT.sentence}; {SIZE.sentence}")


def test_a_missing_sentinel_refuses() -> None:
    """The reason names it and the next step; without members the minimum is a plain count."""
    decision = decide(case(Counts(missing_sentinels=(MissingSentinel('name = "Boss"', 1, 0),))))

    assert decision.action is Action.REFUSE
    assert decision.reason.startswith('the sentinel name = "Boss" is not there, so the read is not trusted')
    assert "guard.sentinel" in decision.reason


def test_too_few_matches_of_a_sentinel_refuse() -> None:
    """The reason has the present and the expected number."""
    decision = decide(case(Counts(missing_sentinels=(MissingSentinel("count of contacts", 500, 499),))))

    assert decision.action is Action.REFUSE
    assert "the sentinel count of contacts was found 499 times, not 500" in decision.reason


def test_the_reason_has_all_refusals() -> None:
    """Every missing sentinel, then the rejects, in one line."""
    absent = (MissingSentinel("a", 1, 0), MissingSentinel("b", 2, 1))

    reason = decide(case(Counts(missing_sentinels=absent, rejected=11), limits(rejects=Limit(None, 10)))).reason

    assert [reason.index(part) for part in ("sentinel a is", "sentinel b was", "11 of 1000")] == sorted(
        reason.index(part) for part in ("sentinel a is", "sentinel b was", "11 of 1000")
    )
    assert reason.count("; 11 of") == reason.count("; the sentinel b") == 1


@pytest.mark.parametrize(("rejected", "expected"), [(200, Action.APPLY), (201, Action.REFUSE)])
def test_too_many_rejects_refuse(rejected: int, expected: Action) -> None:
    """Up to the limit they are listed, above it the whole read is refused."""
    decision = decide(case(Counts(rejected=rejected), limits(rejects=Limit(0.2, None, 20, 3))))

    assert decision.action is expected
    if expected is Action.REFUSE:
        assert decision.reason == (
            '201 of 1000 records cannot be mapped, at most 200 may be (max_rejects = "20%"); '
            "`syncd rejects` lists the reasons"
        )


# holds


def test_the_cause_is_the_reason_without_its_next_step() -> None:
    """Reasons without this next step are unchanged."""
    held = decide(case(going(4), limits(removals=Limit(None, 3))))

    assert held.reason == f"{held.cause}; {RELEASE}"
    assert held.cause.endswith("the removals are held")
    assert GuardDecision(Action.REFUSE, "the read was cut").cause == "the read was cut"


def test_an_emptied_source_is_held_whatever_the_limits() -> None:
    """One queue of one is below every limit, but its file was emptied."""
    decision = decide(case(going(1, 1), evidence=evidence(0)))

    assert (decision.action, decision.code) == (Action.HOLD, "empty")
    assert "no entry at all; all 1 removals are held" in decision.reason
    assert "filter, base and rights" in decision.reason


def test_an_emptied_source_may_remove_within_the_limit() -> None:
    """`on_empty = "remove"` leaves the other limits in force."""
    limits_ = limits(hold_empty=False, removals=Limit(0.05, None, 20, 19))

    assert decide(case(going(19, 19), limits_, evidence=evidence(0))).action is Action.APPLY
    assert decide(case(going(20, 20), limits_, evidence=evidence(0))).action is Action.HOLD


def test_a_source_with_one_entry_is_not_empty() -> None:
    assert decide(case(going(1, 2), evidence=evidence(1))).action is Action.APPLY


def test_records_without_a_key_hold_all_removals() -> None:
    """An absent contact may be one of the records without a key."""
    decision = decide(case(going(1, rejected=2, keyless=2)))

    assert (decision.action, decision.code) == (Action.HOLD, "keyless")
    assert decision.reason.startswith("2 records have no readable entryUUID")
    assert "all 1 removals are held" in decision.reason


def test_records_that_share_a_key_hold_all_removals() -> None:
    """One of the two may be another contact whose key was overwritten."""
    decision = decide(case(going(1, rejected=2, doubled=2)))

    assert (decision.action, decision.code) == (Action.HOLD, "doubled")
    assert decision.reason.startswith("2 records have the same entryUUID as another one")
    assert "all 1 removals are held" in decision.reason


@pytest.mark.parametrize("hold_reason", ["empty", "keyless", "doubled"])
def test_removals_after_the_grace_are_held_too(hold_reason: str) -> None:
    """The end of a grace is a removal as well."""
    doubts: dict[str, Any] = {} if hold_reason == "empty" else {hold_reason: 1}
    counts = Counts(population=100, removed=1, **doubts)

    decision = decide(case(counts, evidence=evidence(0 if hold_reason == "empty" else 100)))

    assert (decision.action, decision.code) == (Action.HOLD, hold_reason)


def test_removals_after_the_grace_are_not_limited_again() -> None:
    """They were counted when the contacts became missing."""
    limits_ = limits(removals=Limit(None, 0), day=Limit(None, 1), week=Limit(None, 1))
    counts = Counts(population=100, removed=5, leaving=0)

    decision = decide(case(counts, limits_, history=RunHistory(2, 2, {"filter": "a"}), scope={"filter": "b"}))

    assert decision == GuardDecision(Action.APPLY)


def test_records_without_a_key_do_not_stop_additions() -> None:
    """Without removals there is nothing to hold."""
    assert decide(case(Counts(added=5, changed=5, keyless=2, doubled=2), presence_checks=None)) == GuardDecision(
        Action.APPLY
    )


@pytest.mark.parametrize(
    ("population", "leaving", "expected"),
    [
        (1000, 50, Action.APPLY),  # exactly at the limit
        (1000, 51, Action.HOLD),
        (1019, 50, Action.APPLY),
        (1019, 51, Action.HOLD),  # fractions are cut
        (20, 1, Action.APPLY),
        (20, 2, Action.HOLD),
        (19, 3, Action.APPLY),  # below min_population: the allowance counts
        (19, 4, Action.HOLD),
        (4, 3, Action.APPLY),
        (0, 0, Action.APPLY),
    ],
)
def test_share_and_min_population(population: int, leaving: int, expected: Action) -> None:
    """The limit itself is allowed; a small population has an allowance of its own."""
    found = decide(case(going(leaving, population), limits(removals=Limit(0.05, None, 20, 3))))

    assert found.action is expected


@pytest.mark.parametrize("percent", range(101))
def test_a_share_is_counted_exactly(percent: int) -> None:
    """29 % of 100 is 29, independent of the binary fraction."""
    limits_ = Guard.model_validate({
        "max_removals": f"{percent}%", "max_removals_day": "100%", "max_removals_week": "100%",
    }).to_limits()  # fmt: skip

    assert decide(case(going(percent, 100), limits_)).action is Action.APPLY
    if percent < 100:
        assert decide(case(going(percent + 1, 100), limits_)).action is Action.HOLD


@given(st.integers(0, 10_000), st.integers(0, 3_000_000))
def test_max_allowed_equals_whole_numbers(hundredths: int, population: int) -> None:
    """A share of hundredths of a per cent, of any population, to the contact."""
    assert Limit(float(f"{hundredths / 100}") / 100).max_allowed(population) == population * hundredths // 10_000


@pytest.mark.parametrize(
    ("cap", "population", "allowed"),
    [
        (Limit(None, 3), 4, 3),
        (Limit(None, 3), 100_000, 3),
        (Limit(None, 0), 100_000, 0),
        (Limit(None, 30, 20, 3), 4, 30),  # a number is used as it is
        (Limit(0.05, 200, 20, 3), 1_000, 50),
        (Limit(0.05, 200, 20, 3), 100_000, 200),
        (Limit(0.05, 2, 20, 3), 10, 2),
        (Limit(0.05, 200, 20, 3), 10, 3),
        (Limit(0.05, None, 20, 3), 19, 3),
        (Limit(0.05, None, 20, 3), 20, 1),
        (Limit(0.0, None, 0, 3), 0, 0),
    ],
)
def test_share_and_number_both_count(cap: Limit, population: int, allowed: int) -> None:
    """With `[share, number]` the lower one counts, for any population."""
    assert cap.max_allowed(population) == allowed


@pytest.mark.parametrize(
    ("cap", "expected"),
    [(Limit(0.05), '"5%"'), (Limit(0.29), '"29%"'), (Limit(None, 3), "3"), (Limit(0.125, 200), '["12.5%", 200]')],
)
def test_a_limit_is_shown_as_in_the_settings(cap: Limit, expected: str) -> None:
    """So that the text of a sentence can be found in the file."""
    assert str(cap) == expected


@pytest.mark.parametrize(("key", "code", "words"), [
    ("removals", "volume", "in one run (max_removals = 3)"),
    ("day", "day", "in 24 hours (max_removals_day = 3)"),
    ("week", "week", "in 7 days (max_removals_week = 3)"),
])  # fmt: skip
def test_each_window_has_counts_limit_and_next_step(key: str, code: str, words: str) -> None:
    """The complete sentence of each window."""
    decision = decide(case(going(4, 1000), limits(**{key: Limit(None, 3)})))

    assert (decision.action, decision.code) == (Action.HOLD, code)
    assert decision.reason == (
        f"4 of 1000 contacts would leave, at most 3 may {words}; the removals are held; {RELEASE}"
    )


@pytest.mark.parametrize("more", [{"removals": Limit(None, 3)}, {"day": Limit(None, 3)}, {"week": Limit(None, 3)}, {}])
def test_removals_without_grace_are_limited(more: dict[str, Limit]) -> None:
    """Active contacts that are removed at once are limited like missing ones, and held after a change of scope."""
    history = RunHistory() if more else RunHistory(scope={"filter": "(a=1)"})

    decision = decide(case(Counts(population=1000, removed=4, leaving=4), limits(**more), history=history))

    assert decision.action is Action.HOLD
    assert "4 of 1000 contacts would leave" in decision.reason or "the 4 removals that come with it" in decision.reason


def test_removals_do_not_offset_missing_contacts() -> None:
    """Two new missing contacts and two ends of grace are four removals, not none."""
    counts = Counts(population=100, missing=2, removed=2, leaving=2, keyless=1)

    decision = decide(case(counts))

    assert (decision.action, decision.code) == (Action.HOLD, "keyless")
    assert "all 4 removals are held" in decision.reason


def test_rekeyed_contacts_are_counted_in_the_sentence() -> None:
    """A change of keys looks like removals."""
    reason = decide(case(going(400, rekeyed=399), limits(removals=Limit(0.05)))).reason

    assert reason.startswith(
        "400 of 1000 contacts would leave (399 of them come again under another key), at most 50 may"
    )


@pytest.mark.parametrize(("key", "history"), [("day", RunHistory(9, 0)), ("week", RunHistory(0, 9))])
def test_earlier_removals_count_in_their_window_only(key: str, history: RunHistory) -> None:
    """They are added to removals and population of the window; the limit of one run ignores them."""
    cap = limits(**{key: Limit(0.1)})
    other = limits(**{"week" if key == "day" else "day": Limit(0.1)})
    alone = limits(removals=Limit(0.1))

    assert decide(case(going(1, 91), cap, history=history)).action is Action.APPLY  # 10 of 100
    held = decide(case(going(2, 91), cap, history=history))
    assert (held.action, held.code) == (Action.HOLD, key)
    assert "2 of 91 contacts would leave, 9 have left already, at most 10 may" in held.reason
    assert decide(case(going(2, 91), other, history=history)).action is Action.APPLY
    assert decide(case(going(2, 91), alone, history=history)).action is Action.APPLY


def test_a_change_of_scope_has_old_and_new_values() -> None:
    """One removal suffices; every changed part is listed, sorted by name."""
    before = {"base": "ou=people", "filter": "(a=1)", "scope": "subtree", "identity": "dn:cn=x"}
    now = {"base": "ou=staff", "filter": "(a=2)", "scope": "subtree", "key": "uid"}

    decision = decide(case(going(1), history=RunHistory(scope=before), scope=now))

    assert (decision.action, decision.code) == (Action.HOLD, "scope")
    assert decision.reason == (
        'base changed from "ou=people" to "ou=staff", filter changed from "(a=1)" to "(a=2)", '
        'identity changed from "dn:cn=x" to "", key changed from "" to "uid": '
        f"the 1 removals that come with it are held; {RELEASE}"
    )


@pytest.mark.parametrize("before", [None, {"filter": "(a=1)"}, {"filter": "(a=1)", "identity": ""}])
def test_an_unchanged_or_unknown_scope_is_no_reason(before: dict[str, str] | None) -> None:
    """An empty part equals an absent one."""
    assert decide(case(going(1), history=RunHistory(scope=before), scope={"filter": "(a=1)"})).action is Action.APPLY
    assert scope_changes(before, {"filter": "(a=1)"}) == []


def test_a_change_of_scope_without_removals_is_applied() -> None:
    """A wider filter adds contacts only."""
    found = decide(
        case(Counts(population=5, added=5), history=RunHistory(scope={"filter": "a"}), scope={"filter": "b"})
    )

    assert found == GuardDecision(Action.APPLY)


def test_more_removals_than_can_be_verified_are_held() -> None:
    """Up to 20,000 keys are verified, those of missing contacts included."""
    assert MAX_VERIFIED_KEYS == 20_000
    most = Counts(population=1_000_000, missing=MAX_VERIFIED_KEYS - 1, removed=1, leaving=MAX_VERIFIED_KEYS - 1)
    more = Counts(population=1_000_000, missing=MAX_VERIFIED_KEYS, removed=1, leaving=MAX_VERIFIED_KEYS)
    graced = Counts(population=1_000_000, removed=MAX_VERIFIED_KEYS + 1, leaving=0)

    assert decide(case(most, presence_checks=None)).action is Action.VERIFY
    held = decide(case(more, presence_checks=None))
    assert (held.action, held.code) == (Action.HOLD, "many")
    assert held.reason.startswith(f"{MAX_VERIFIED_KEYS + 1} removals are too many to be verified one by one")
    assert decide(case(graced, presence_checks=None)).action is Action.HOLD


def test_the_order_of_reasons_to_hold() -> None:
    """The first one gives the code."""
    none = Limit(None, 0)
    counts = going(MAX_VERIFIED_KEYS + 1, rejected=1, keyless=1, doubled=1)
    guard_input = case(
        counts, limits(removals=none, day=none, week=none, rejects=Limit(None, 1)),
        history=RunHistory(1, 1, {"base": "a"}),
        scope={"base": "b"}, evidence=evidence(0), presence_checks=None,
    )  # fmt: skip

    decision = decide(guard_input)

    parts = ["no entry at all", "have no readable", "as another one", "base changed", "in one run",
             "in 24 hours", "in 7 days", "verified one by one", "look at them"]  # fmt: skip
    places = [decision.reason.index(part) for part in parts]
    assert places == sorted(places)
    assert decision.code == "empty"
    assert decision.action is Action.HOLD


# attributes


@pytest.mark.parametrize(("lost", "held"), [(20, ()), (21, ("sn",))])
def test_a_lost_attribute_is_held_and_the_rest_is_applied(lost: int, held: tuple[str, ...]) -> None:
    """Above the share of the entries that had it; at the share it is an ordinary change."""
    decision = decide(
        case(Counts(losses=(AttributeLoss("sn", 100, lost),)), limits(losses=Limit(0.2)), presence_checks=None)
    )

    assert (decision.action, decision.held_attributes) == (Action.APPLY, held)
    if held:
        assert decision.reason == (
            "the attribute sn is gone from 21 of the 100 entries that had it, at most 20 may lose it "
            '(max_attribute_loss = "20%"); its values are kept. Look for a lost read right or a renamed attribute; '
            + RELEASE
        )


def test_each_attribute_is_counted_by_itself() -> None:
    """Only lost attributes above the limit are held, each with its own numbers."""
    losses = (AttributeLoss("mail", 100, 5), AttributeLoss("mobile", 40, 40), AttributeLoss("sn", 90, 80))

    decision = decide(case(Counts(losses=losses), limits(losses=Limit(0.2))))

    assert decision.held_attributes == ("mobile", "sn")
    assert "mobile is gone from 40 of the 40" in decision.reason
    assert "at most 8 may" in decision.reason
    assert "sn is gone from 80 of the 90" in decision.reason
    assert "mail" not in decision.reason


def test_held_attributes_and_removals_share_a_reason() -> None:
    """First the attribute, then the removals, then the next step, once."""
    decision = decide(
        case(going(4, losses=(AttributeLoss("sn", 100, 50),)), limits(removals=Limit(None, 3), losses=Limit(0.2)))
    )

    assert (decision.action, decision.code, decision.held_attributes) == (Action.HOLD, "volume", ("sn",))
    assert decision.reason.index("attribute sn") < decision.reason.index("would leave") < decision.reason.index(RELEASE)
    assert decision.reason.count(RELEASE) == 1


# verification


@pytest.mark.parametrize(("missing", "removed"), [(1, 0), (0, 1), (3, 2), (2, 2)])
def test_missing_keys_are_verified_before_removals(missing: int, removed: int) -> None:
    """Exactly when removals would be applied and no presence check exists."""
    counts = Counts(population=1000, missing=missing, removed=removed, leaving=missing)

    assert decide(case(counts, presence_checks=None)) == GuardDecision(Action.VERIFY)
    assert decide(case(counts, presence_checks={})) == GuardDecision(Action.APPLY)


def test_no_verification_without_removals_to_apply() -> None:
    """Neither without removals, nor when they are held or the read is refused."""
    assert decide(case(Counts(added=5, kept=3), presence_checks=None)).action is Action.APPLY
    assert decide(case(going(4), limits(removals=Limit(None, 3)), presence_checks=None)).action is Action.HOLD
    assert decide(case(going(4), evidence=evidence(9, CUT), presence_checks=None)).action is Action.REFUSE


def test_present_and_unknown_keys_are_held_one_by_one() -> None:
    """Each with its location; gone and out-of-scope keys are removed."""
    checks = {
        key: PresenceCheck(key, sight, f"place of {key}")
        for key, sight in {
            "p": Presence.PRESENT,
            "u": Presence.UNKNOWN,
            "g": Presence.GONE,
            "e": Presence.ELSEWHERE,
        }.items()
    }

    decision = decide(case(going(4), presence_checks=checks))

    assert decision.action is Action.APPLY
    assert decision.held_keys == {
        "p": HoldReason("present", "the source has it: place of p"),
        "u": HoldReason("unverified", "its absence could not be verified: place of u"),
    }
    assert decision.reason == (
        "1 contacts were missing from the read and found by a direct search, so they stay; "
        "1 contacts could not be verified as absent, so they stay "
        f"(its absence could not be verified: place of u); {RELEASE}"
    )


def test_one_sentence_per_code_of_held_keys() -> None:
    """Ten present keys give one sentence without a location, because that names a person."""
    checks = {f"k{n}": PresenceCheck(f"k{n}", Presence.PRESENT, f"place {n}") for n in range(10)}

    reason = decide(case(going(10), presence_checks=checks)).reason

    assert reason.startswith("10 contacts were missing from the read")
    assert "place" not in reason
    assert "could not be verified" not in reason


@pytest.mark.parametrize("sight", [Presence.GONE, Presence.ELSEWHERE])
def test_a_verified_absence_has_no_sentence(sight: Presence) -> None:
    """All missing keys were verified as absent."""
    assert decide(case(going(1), presence_checks={"k": PresenceCheck("k", sight, "ou=former")})) == GuardDecision(
        Action.APPLY
    )


# purge


@pytest.mark.parametrize(("purged", "expected"), [(0, Action.APPLY), (20, Action.APPLY), (21, Action.HOLD)])
def test_a_purge_has_a_limit_of_its_own(purged: int, expected: Action) -> None:
    """A share of all stored contacts; above it no contact is purged."""
    decision = decide_purge(Outcome.COMPLETED, 100, purged, limits(purge=Limit(0.2), removals=Limit(None, 0)))

    assert decision.action is expected
    if expected is Action.HOLD:
        assert decision.code == "volume"
        assert decision.reason == (
            '21 of 100 contacts would be purged, at most 20 may be (max_purge = "20%"); none is; ' + RELEASE
        )


@pytest.mark.parametrize("last", [None, *Outcome])
def test_no_purge_after_an_unsuccessful_sync(last: Outcome | None) -> None:
    """Removed contacts might be back; without contacts to purge it does not matter."""
    proven = last in {Outcome.COMPLETED, Outcome.HELD}

    decision = decide_purge(last, 100, 1, limits())

    assert decision.action is (Action.APPLY if proven else Action.HOLD)
    assert (decision.code, bool(decision.reason)) == (("", False) if proven else ("unproven", True))
    assert decide_purge(last, 100, 0, limits(purge=Limit(None, 0))) == GuardDecision(Action.APPLY)
