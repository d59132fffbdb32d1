"""Log throttle: at most thirty lines per problem and day, and a complete count of occurrences."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.log_throttle import MAX_REASONS, MAX_SUBJECTS, LogThrottle, Recovered

HOUR = 3600.0


def test_the_first_line_is_written_and_then_one_per_hour() -> None:
    """With the number of suppressed lines since the last one."""
    throttle = LogThrottle(HOUR)
    results = [throttle.admit("corp", "failed", "refused", minute * 60) for minute in range(0, 121, 15)]

    assert results == [0, None, None, None, 3, None, None, None, 3]


def test_a_new_reason_is_written_at_once() -> None:
    """An operator who solves one problem sees the next; reasons that differ in numbers are the same."""
    throttle = LogThrottle(HOUR)

    assert throttle.admit("corp", "failed", "no answer within 5 s", 0) == 0
    assert throttle.admit("corp", "failed", "no answer within 6 s", 1) is None
    assert throttle.admit("corp", "failed", "refused", 2) == 1
    assert throttle.admit("corp", "failed", "no answer within 7 s", 4) is None


def test_a_line_without_a_reason_is_a_consequence() -> None:
    """It is written as the first line or when the next one is due; a reason after it is written at once."""
    throttle = LogThrottle(HOUR)

    assert throttle.admit("corp", "skipped", None, 0) == 0
    assert throttle.admit("corp", "failed", "refused", 1) == 0
    assert throttle.admit("corp", "skipped", None, 2) is None
    assert throttle.admit("acd", "failed", "refused", 0) == 0
    assert throttle.admit("acd", "skipped", None, 1) is None
    assert throttle.admit("acd", "skipped", None, HOUR) == 1
    recovered = throttle.recover("acd", HOUR)
    assert recovered is not None
    assert recovered.kinds == {"failed"}


def test_recovery_has_the_total_count_and_is_reported_once() -> None:
    """After it the same problem is a new one."""
    throttle = LogThrottle(HOUR)
    for second in range(10):
        throttle.admit("corp", "failed", "refused", second)

    assert throttle.recover("corp", 100) == Recovered(frozenset({"failed"}), 10, 100)
    assert throttle.recover("corp", 101) is None
    assert throttle.admit("corp", "failed", "refused", 102) == 0


def test_the_number_of_problems_is_bounded() -> None:
    """The problem without occurrence for the longest time is evicted, not a persistent one."""
    throttle = LogThrottle(HOUR)
    throttle.admit("corp", "failed", "refused", 0)
    for number in range(MAX_SUBJECTS - 1):
        throttle.admit(f"other {number}", "failed", "", 0)
        throttle.admit("corp", "failed", "refused", 0)
    throttle.admit("one more", "failed", "", 0)

    assert throttle.admit("corp", "failed", "refused", 1) is None
    assert throttle.recover("other 0", 1) is None


@given(
    st.lists(st.tuples(st.floats(0, 3000), st.sampled_from("ab"), st.none() | st.text("xyz", max_size=3)), min_size=1),
    st.floats(1, HOUR),
)
def test_lines_are_bounded_by_hours_and_reasons(met: list[tuple[float, str, str | None]], interval: float) -> None:
    """For any history: the first line is written, then at most one per new reason and interval; written lines, the
    suppressed ones that they count and those after the last line add up to all occurrences.
    """
    throttle = LogThrottle(interval)
    now, results = 0.0, []
    for wait, kind, reason in met:
        now += wait
        results.append((now, throttle.admit("corp", kind, reason, now)))

    lines = [(at, suppressed) for at, suppressed in results if suppressed is not None]
    assert results[0][1] == 0
    assert len(lines) <= MAX_REASONS + (now - results[0][0]) / interval
    after = next(position for position in range(len(results)) if results[-1 - position][1] is not None)
    assert len(lines) + sum(suppressed for _, suppressed in lines) + after == len(met)
    recovered = throttle.recover("corp", now)
    assert recovered is not None
    assert (recovered.times, recovered.seconds) == (len(met), now - results[0][0])


@given(st.lists(st.floats(0, 3000), min_size=1))
def test_a_persistent_problem_is_in_every_interval_of_the_log(waits: list[float]) -> None:
    """A line is written whenever the last one is an interval old."""
    throttle = LogThrottle(HOUR)
    now, last = 0.0, None
    for wait in waits:
        now += wait
        if throttle.admit("corp", "failed", "refused", now) is not None:
            last = now
        assert last is not None
        assert now - last < HOUR
