"""Login throttle: doubling back-off, bounded memory, and independent subjects."""

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


def test_backoff_examples() -> None:
    """The first failures are free, then 1 s, 2 s, 4 s … up to five minutes."""
    assert [backoff_seconds(failures) for failures in range(14)] == [
        0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300,
    ]  # fmt: skip


@given(some.integers(0, 10**9))
def test_backoff_is_monotonic_and_bounded(failures: int) -> None:
    """A further failure never shortens the back-off, and the maximum is never exceeded."""
    assert 0 <= backoff_seconds(failures) <= backoff_seconds(failures + 1) <= MAX_BACKOFF


@given(STEPS)
def test_attempts_are_checked_exactly_after_the_backoff(steps: list[tuple[str, float, str]]) -> None:
    """Compared with a model that keeps number and time of the failures per subject, without eviction."""
    throttle = FailureThrottle()
    failed = dict.fromkeys(["ada", "bob", "eve"], (0, 0.0))
    now = 0.0
    for subject, delay, action in steps:
        now += delay
        failures, last = failed[subject]
        if now - last >= FORGET_AFTER:
            failures = 0
        expected = max(0.0, last + backoff_seconds(failures) - now) if failures else 0.0

        assert throttle.check_wait(subject, now) == expected
        assert throttle.is_slowed(subject, now) == (failures >= FREE_ATTEMPTS)
        if expected:
            continue
        if action == "fail":
            assert throttle.record_failure(subject, now).failures == failures + 1
            failed[subject] = (failures + 1, now)
        elif action == "succeed":
            throttle.clear(subject)
            failed[subject] = (0, last)
        else:
            throttle.forgive_one(subject)
            failed[subject] = (max(0, failures - 1), last)


@given(some.lists(NAMES, max_size=60))
def test_concurrent_attempts_beyond_the_free_ones_are_rejected(attempts: list[str]) -> None:
    """Of many attempts at one moment, only the free ones are checked; the others are counted."""
    throttle = FailureThrottle()
    checked = dict.fromkeys(["ada", "bob", "eve"], 0)
    for subject in attempts:
        if not throttle.check_wait(subject, 100.0):
            throttle.record_failure(subject, 100.0)
            checked[subject] += 1

    assert all(count <= FREE_ATTEMPTS for count in checked.values())
    for subject in checked:
        rejected = attempts.count(subject) - checked[subject]
        assert throttle.record_failure(subject, 101.0).rejected == rejected


@given(some.lists(some.integers(0, 50), max_size=200), some.integers(1, 10))
def test_the_memory_is_bounded(subjects: list[int], max_records: int) -> None:
    """Only the subjects with the latest failures are kept."""
    throttle = FailureThrottle(max_records)
    for now, subject in enumerate(subjects):
        throttle.record_failure(str(subject), float(now))

    distinct = list(dict.fromkeys(reversed(subjects)))
    assert len(throttle) == min(max_records, len(distinct))
    end = float(len(subjects))
    assert all(throttle.record_failure(str(subject), end).failures > 1 for subject in distinct[:max_records])


def test_old_failures_are_forgotten() -> None:
    """After half an hour without a failure all attempts are free again."""
    throttle = FailureThrottle()
    for _ in range(20):
        throttle.record_failure("ada", 0.0)

    assert throttle.check_wait("ada", FORGET_AFTER - 1) == 0
    assert throttle.is_slowed("ada", FORGET_AFTER - 1)
    assert not throttle.is_slowed("ada", FORGET_AFTER)
    assert throttle.record_failure("ada", FORGET_AFTER).failures == 1
