"""The pulse: only what stands still without a break, for long enough, is told."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.watchdog import SCHEDULE_TOLERANCE, StallDetector, overdue_runs, overdue_schedules

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
looks = st.lists(st.tuples(st.floats(0, 100), st.sets(st.sampled_from("abc"))), max_size=30)


@given(looks, st.floats(0, 200))
def test_a_trouble_is_told_when_it_was_seen_without_a_break_for_longer_than_the_patience(
    looks: list[tuple[float, set[str]]], patience: float
) -> None:
    """Compared with the whole history: from which look on it was there each time."""
    pulse, now, history = StallDetector(patience), 0.0, list[tuple[float, set[str]]]()
    for step, seen in looks:
        now += step
        history.append((now, seen))
        found = pulse.find_stalled(sorted(seen), now)

        expected = set()
        for trouble in seen:
            began = next(at for n, (at, _) in enumerate(history) if all(trouble in what for _, what in history[n:]))
            if now - began > patience:
                expected.add(trouble)
        assert set(found) == expected


def test_a_trouble_that_comes_again_begins_anew() -> None:
    """A schedule that was late twice, and moved in between, moves."""
    pulse = StallDetector(60)
    assert pulse.find_stalled(["corp"], 0) == []
    assert pulse.find_stalled([], 50) == []
    assert pulse.find_stalled(["corp"], 61) == []
    assert pulse.find_stalled(["corp"], 121) == []
    assert pulse.find_stalled(["corp"], 122) == ["corp"]


@given(st.dictionaries(st.text(min_size=1), st.timedeltas(timedelta(days=-2), timedelta(days=2))))
def test_schedules_whose_time_has_passed_are_overdue(late: dict[str, timedelta]) -> None:
    """By more than a busy machine is late; the name is in the sentence."""
    found = list(overdue_schedules({name: NOON - by for name, by in late.items()}, NOON))

    assert found == [f"the schedule of {name} is stalled" for name, by in late.items() if by > SCHEDULE_TOLERANCE]


@given(st.dictionaries(st.text(min_size=1), st.floats(-100, 100)))
def test_runs_that_outlive_their_end_are_told(ends: dict[str, float]) -> None:
    """One that is still within its time is nobody's concern."""
    found = list(overdue_runs(ends, 0))

    assert found == [f"the run of {name} is past its deadline" for name, end in ends.items() if end < 0]
