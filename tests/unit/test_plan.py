"""Plans: fingerprints and differences."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.sync.plan import PROVEN, Change, Counts, Outcome, Report, describe_drift, fingerprint

ADA = Change("change", "1" * 32, "k1", {"name": "Ada", "userName": "ada"}, {"name": "Ada King", "userName": "ada"})
BOB = Change("remove", "2" * 32, "k2", {"name": "Bob"}, {})
CYD = Change(
    "add", "3" * 32, "k3", {}, {"name": "Cyd", "phoneNumbers": [{"phoneNumber": "1", "description": "mobile"}]}
)

values = st.dictionaries(
    st.sampled_from(["name", "userName", "roles", "phoneNumbers"]),
    st.sampled_from(["x", "y", "é\u2028", 'q"uo\\te']) | st.lists(st.sampled_from(["a", "b"]), max_size=2),
    max_size=3,
)
changes = st.builds(
    Change,
    st.sampled_from(["add", "change", "return", "miss", "remove", "purge"]),
    st.uuids().map(lambda id_: id_.hex),
    st.sampled_from(["k1", "k2", "k3", "k4"]),
    values,
    values,
    st.sampled_from(["", "too many"]),
    st.sampled_from(["", "out of scope"]),
)
plans = st.lists(changes, max_size=6, unique_by=lambda change: (change.key, change.kind))


def effect(change: Change) -> tuple[Any, ...]:
    """Everything that makes one change differ from another."""
    return (
        change.kind,
        change.key,
        repr(sorted(change.old.items())),
        repr(sorted(change.new.items())),
        bool(change.held),
    )


@given(plans, plans)
def test_fingerprints_are_equal_exactly_for_equal_plans(first: list[Change], second: list[Change]) -> None:
    """And describe_drift yields a sentence exactly for different ones."""
    same = sorted(map(effect, first)) == sorted(map(effect, second))

    assert (fingerprint(first) == fingerprint(second)) == same
    assert (list(describe_drift(first, second)) == []) == same


@given(plans, st.randoms())
def test_order_ids_and_reasons_do_not_matter(plan: list[Change], random: Any) -> None:
    """The same rows shuffled, with other ids and reasons, are the same plan."""
    other = [change._replace(id=f"{n:032}", reason="x", held=change.held and "y") for n, change in enumerate(plan)]
    random.shuffle(other)

    assert fingerprint(other) == fingerprint(plan)
    assert list(describe_drift(plan, other)) == []


@given(plans, plans)
def test_drift_has_a_sentence_per_different_change(first: list[Change], second: list[Change]) -> None:
    """One for each key and kind that differs."""
    mine, yours = ({(c.key, c.kind): effect(c) for c in plan} for plan in (first, second))
    differing = {at for at in mine.keys() | yours.keys() if mine.get(at) != yours.get(at)}

    sentences = list(describe_drift(first, second))

    assert len(sentences) == len(differing)
    assert sorted(key for key, _ in differing) == sorted(
        line.partition(": ")[0].rpartition("(")[2][:-1] for line in sentences
    )


def test_the_fingerprint_is_stable() -> None:
    """Plan files outlive versions, so the value is fixed."""
    assert fingerprint([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert len(fingerprint([ADA])) == 64
    assert fingerprint([ADA, BOB, CYD]) == fingerprint(iter([CYD, ADA, BOB]))


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        ([], "Bob (k2): remove was planned and is no longer due"),
        ([BOB._replace(held="too many")], "Bob (k2): remove is now held"),
        ([BOB._replace(old={"name": "Robert"})], "Robert (k2): old name was 'Bob', is 'Robert'"),
    ],
)
def test_drift_of_a_removal(now: list[Change], sentence: str) -> None:
    """No longer planned, held, or of other values."""
    assert list(describe_drift([BOB], now)) == [sentence]
    if now and now[0].held:
        assert list(describe_drift(now, [BOB])) == ["Bob (k2): remove is no longer held"]


def test_drift_of_a_change() -> None:
    """Each member that differs, on its side, with planned and current value."""
    now = ADA._replace(old={"name": "Ada Byron", "userName": "ada"}, new={"name": "Ada King", "emailAddress": "a@b"})

    assert list(describe_drift([ADA], [now])) == [
        "Ada King (k1): old name was 'Ada', is 'Ada Byron'; new emailAddress was None, is 'a@b'; "
        "new userName was 'ada', is None"
    ]


def test_drift_of_an_unplanned_change() -> None:
    """A new contact, and one with another kind of change."""
    assert list(describe_drift([BOB], [BOB._replace(kind="miss"), CYD])) == [
        "Bob (k2): miss was not planned",
        "Bob (k2): remove was planned and is no longer due",
        "Cyd (k3): add was not planned",
    ]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_proven_runs_have_applied_changes(outcome: Outcome) -> None:
    """Planned changes of other runs are not counted as applied; the other counts are kept."""
    counts = Counts(population=9, added=1, changed=2, missing=3, removed=4, purged=5, leaving=6, rejected=7, kept=8)

    done = Report("sync", "corp", outcome, counts=counts).applied

    if outcome in PROVEN:
        assert done == counts
    else:
        assert done == Counts(population=9, rejected=7, kept=8)
