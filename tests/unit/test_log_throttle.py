"""Repetition: a trouble of a day is at most thirty lines, and nothing is lost from its count."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.log_throttle import MAX_REASONS, MAX_SUBJECTS, LogThrottle, Recovered

HOUR = 3600.0


def test_the_first_is_told_and_then_one_an_hour() -> None:
    """With the number of those that were passed over since the line before."""
    repetition = LogThrottle(HOUR)
    told = [repetition.admit("corp", "failed", "refused", minute * 60) for minute in range(0, 121, 15)]

    assert told == [0, None, None, None, 3, None, None, None, 3]


def test_a_new_reason_is_told_at_once() -> None:
    """An operator who mends one thing sees the next; numbers alone make no other reason."""
    repetition = LogThrottle(HOUR)

    assert repetition.admit("corp", "failed", "no answer within 5 s", 0) == 0
    assert repetition.admit("corp", "failed", "no answer within 6 s", 1) is None
    assert repetition.admit("corp", "failed", "refused", 2) == 1
    assert repetition.admit("corp", "failed", "no answer within 7 s", 4) is None


def test_what_follows_from_a_trouble_is_no_news() -> None:
    """It is told when nothing else was, or when the next line is due; what it follows from is told at once."""
    repetition = LogThrottle(HOUR)

    assert repetition.admit("corp", "skipped", None, 0) == 0
    assert repetition.admit("corp", "failed", "refused", 1) == 0
    assert repetition.admit("corp", "skipped", None, 2) is None
    assert repetition.admit("acd", "failed", "refused", 0) == 0
    assert repetition.admit("acd", "skipped", None, 1) is None
    assert repetition.admit("acd", "skipped", None, HOUR) == 1
    ended = repetition.recover("acd", HOUR)
    assert ended is not None
    assert ended.kinds == {"failed"}


def test_the_end_has_the_whole_count_and_is_one() -> None:
    """After it the same trouble is a new one."""
    repetition = LogThrottle(HOUR)
    for second in range(10):
        repetition.admit("corp", "failed", "refused", second)

    assert repetition.recover("corp", 100) == Recovered(frozenset({"failed"}), 10, 100)
    assert repetition.recover("corp", 101) is None
    assert repetition.admit("corp", "failed", "refused", 102) == 0


def test_what_is_remembered_is_bounded() -> None:
    """The trouble that was quiet the longest is forgotten, not the one that goes on."""
    repetition = LogThrottle(HOUR)
    repetition.admit("corp", "failed", "refused", 0)
    for number in range(MAX_SUBJECTS - 1):
        repetition.admit(f"other {number}", "failed", "", 0)
        repetition.admit("corp", "failed", "refused", 0)
    repetition.admit("one more", "failed", "", 0)

    assert repetition.admit("corp", "failed", "refused", 1) is None
    assert repetition.recover("other 0", 1) is None


@given(
    st.lists(st.tuples(st.floats(0, 3000), st.sampled_from("ab"), st.none() | st.text("xyz", max_size=3)), min_size=1),
    st.floats(1, HOUR),
)
def test_no_history_makes_more_lines_than_hours_and_reasons(
    met: list[tuple[float, str, str | None]], period: float
) -> None:
    """Whatever is met when: told is the first, at most one for each of a few reasons and one a period, and the lines
    together with what they say was passed over and what was not told yet make up the whole count.
    """
    repetition = LogThrottle(period)
    now, told = 0.0, []
    for wait, kind, why in met:
        now += wait
        told.append((now, repetition.admit("corp", kind, why, now)))

    lines = [(at, unsaid) for at, unsaid in told if unsaid is not None]
    assert told[0][1] == 0
    assert len(lines) <= MAX_REASONS + (now - told[0][0]) / period
    after = next(position for position in range(len(told)) if told[-1 - position][1] is not None)
    assert len(lines) + sum(unsaid for _, unsaid in lines) + after == len(met)
    ended = repetition.recover("corp", now)
    assert ended is not None
    assert (ended.times, ended.seconds) == (len(met), now - told[0][0])


@given(st.lists(st.floats(0, 3000), min_size=1))
def test_silence_is_never_longer_than_a_period(waits: list[float]) -> None:
    """Whoever reads one period of the log knows of every trouble that was met in it."""
    repetition = LogThrottle(HOUR)
    now, last = 0.0, None
    for wait in waits:
        now += wait
        if repetition.admit("corp", "failed", "refused", now) is not None:
            last = now
        assert last is not None
        assert now - last < HOUR
