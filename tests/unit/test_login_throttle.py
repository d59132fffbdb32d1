"""Patience: waits that double, a memory that is bounded, and nobody slowed for what others did."""

from hypothesis import given
from hypothesis import strategies as some

from syncd.core.operations.login_throttle import (
    FORGET_AFTER,
    FREE_ATTEMPTS,
    MAX_BACKOFF,
    FailureThrottle,
    backoff_seconds,
)

NAMES = some.sampled_from(["ada", "bob", "eve"])
STEPS = some.lists(some.tuples(NAMES, some.floats(0, 400), some.sampled_from(["fail", "fail", "succeed", "forgive"])))


def test_the_waits_in_words() -> None:
    """Three failures are free, then 1 s, 2 s, 4 s … up to five minutes."""
    assert [backoff_seconds(failures) for failures in range(14)] == [
        0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300,
    ]  # fmt: skip


@given(some.integers(0, 10**9))
def test_a_wait_never_shrinks_and_ends(failures: int) -> None:
    """One more failure never shortens the wait, which is never longer than the longest."""
    assert 0 <= backoff_seconds(failures) <= backoff_seconds(failures + 1) <= MAX_BACKOFF


@given(STEPS)
def test_who_waits_is_let_through_exactly_when_the_wait_is_over(steps: list[tuple[str, float, str]]) -> None:
    """Against a model that keeps a number and a time for each, and forgets nothing by itself."""
    patience = FailureThrottle()
    failed = dict.fromkeys(["ada", "bob", "eve"], (0, 0.0))
    now = 0.0
    for who, later, what in steps:
        now += later
        failures, last = failed[who]
        if now - last >= FORGET_AFTER:
            failures = 0
        expected = max(0.0, last + backoff_seconds(failures) - now) if failures else 0.0

        assert patience.check_wait(who, now) == expected
        assert patience.is_slowed(who, now) == (failures >= FREE_ATTEMPTS)
        if expected:
            continue
        if what == "fail":
            assert patience.record_failure(who, now).failures == failures + 1
            failed[who] = (failures + 1, now)
        elif what == "succeed":
            patience.clear(who)
            failed[who] = (0, last)
        else:
            patience.forgive_one(who)
            failed[who] = (max(0, failures - 1), last)


@given(some.lists(NAMES, max_size=60))
def test_however_often_somebody_tries_the_checked_attempts_stay_few(tries: list[str]) -> None:
    """Many attempts within a moment: no more than the free ones are looked at, and the others are counted."""
    patience = FailureThrottle()
    looked = dict.fromkeys(["ada", "bob", "eve"], 0)
    for who in tries:
        if not patience.check_wait(who, 100.0):
            patience.record_failure(who, 100.0)
            looked[who] += 1

    assert all(count <= FREE_ATTEMPTS for count in looked.values())
    for who in looked:
        turned_away = tries.count(who) - looked[who]
        assert patience.record_failure(who, 101.0).rejected == turned_away


@given(some.lists(some.integers(0, 50), max_size=200), some.integers(1, 10))
def test_the_memory_is_bounded(who: list[int], most: int) -> None:
    """However many names fail, no more than so many are remembered, and those are the last ones that failed."""
    patience = FailureThrottle(most)
    for now, name in enumerate(who):
        patience.record_failure(str(name), float(now))

    distinct = list(dict.fromkeys(reversed(who)))
    assert len(patience) == min(most, len(distinct))
    end = float(len(who))
    assert all(patience.record_failure(str(name), end).failures > 1 for name in distinct[:most])


def test_a_failure_of_long_ago_is_none() -> None:
    """After half an hour without a failure whoever failed may begin anew."""
    patience = FailureThrottle()
    for _ in range(20):
        patience.record_failure("ada", 0.0)

    assert patience.check_wait("ada", FORGET_AFTER - 1) == 0
    assert patience.is_slowed("ada", FORGET_AFTER - 1)
    assert not patience.is_slowed("ada", FORGET_AFTER)
    assert patience.record_failure("ada", FORGET_AFTER).failures == 1
