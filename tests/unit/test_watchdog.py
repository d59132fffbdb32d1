"""Stall detection: only problems that persist without a break beyond the timeout are reported."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.watchdog import SCHEDULE_TOLERANCE, StallDetector, overdue_runs, overdue_schedules

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
observations = st.lists(st.tuples(st.floats(0, 100), st.sets(st.sampled_from("abc"))), max_size=30)


@given(observations, st.floats(0, 200))
def test_a_problem_is_reported_after_the_timeout_without_a_break(
    observations: list[tuple[float, set[str]]], timeout: float
) -> None:
    """Compared with the whole history: since which observation the problem was present each time."""
    detector, now, history = StallDetector(timeout), 0.0, list[tuple[float, set[str]]]()
    for step, problems in observations:
        now += step
        history.append((now, problems))
        stalled = detector.find_stalled(sorted(problems), now)

        expected = set()
        for problem in problems:
            began = next(
                at for n, (at, _) in enumerate(history) if all(problem in present for _, present in history[n:])
            )
            if now - began > timeout:
                expected.add(problem)
        assert set(stalled) == expected


def test_a_problem_that_returns_starts_anew() -> None:
    """A schedule that was late twice, with a run in between, is not stalled."""
    detector = StallDetector(60)
    assert detector.find_stalled(["corp"], 0) == []
    assert detector.find_stalled([], 50) == []
    assert detector.find_stalled(["corp"], 61) == []
    assert detector.find_stalled(["corp"], 121) == []
    assert detector.find_stalled(["corp"], 122) == ["corp"]


@given(st.dictionaries(st.text(min_size=1), st.timedeltas(timedelta(days=-2), timedelta(days=2))))
def test_schedules_whose_time_has_passed_are_overdue(late: dict[str, timedelta]) -> None:
    """Above the tolerance; the sentence has the name."""
    sentences = list(overdue_schedules({name: NOON - by for name, by in late.items()}, NOON))

    assert sentences == [f"the schedule of {name} is stalled" for name, by in late.items() if by > SCHEDULE_TOLERANCE]


@given(st.dictionaries(st.text(min_size=1), st.floats(-100, 100)))
def test_runs_after_their_end_are_overdue(ends: dict[str, float]) -> None:
    """A run before its latest end is not overdue."""
    sentences = list(overdue_runs(ends, 0))

    assert sentences == [f"the run of {name} has not ended in time" for name, end in ends.items() if end < 0]
