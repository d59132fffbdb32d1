"""Alerts: one message at the beginning of a problem and one at its end."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.alerts import (
    AlertMessage,
    Assessment,
    Problem,
    SentAlert,
    assess,
    cleared_since,
    due_messages,
    keep_unclear,
    record_sent,
)
from syncd.core.operations.health import DirectoryState, ExpectedSource, SourceState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)
SETTLE = timedelta(minutes=5)
CORP = ExpectedSource("corp", "User", timedelta(hours=1))
FINE = SourceState("corp", "completed", "", NOW, NOW)


def assess_source(source: SourceState | None, *, started: datetime = LONG_AGO, outage: str = "") -> Assessment:
    state = DirectoryState(7, {}, {} if source is None else {"corp": source})
    return assess([CORP], state, NOW, started, outage)


def test_a_healthy_source_has_no_problems() -> None:
    """No key is unclear either."""
    assert assess_source(FINE) == Assessment({}, frozenset())


@pytest.mark.parametrize("outcome", ["incomplete", "failed", "crashed"])
def test_an_unsuccessful_run_is_a_problem(outcome: str) -> None:
    """The alert has the first line of the reason only, because further lines may name persons."""
    assessment = assess_source(replace(FINE, outcome=outcome, reason="refused. Look there.\nAda Lovelace"))

    assert list(assessment.problems) == ["read:corp"]
    problem = assessment.problems["read:corp"]
    assert problem.title == "corp cannot be read"
    assert f"Its last run was {outcome}: refused. Look there.\n" in problem.why
    assert "Ada" not in problem.why
    assert assessment.unclear == {"rejected:corp"}


def test_a_source_that_is_stale_is_the_same_problem() -> None:
    """An outage that begins with a failed run and goes on to be stale is one, under one key and one title."""
    stale = assess_source(replace(FINE, last_success=NOW - timedelta(hours=2)))
    failed = assess_source(replace(FINE, outcome="failed", last_success=NOW - timedelta(hours=2)))

    assert list(stale.problems) == list(failed.problems) == ["read:corp"]
    assert stale.problems["read:corp"].title == failed.problems["read:corp"].title


@pytest.mark.parametrize(("minutes", "is_reported"), [(1, False), (60, False), (61, True)])
@pytest.mark.parametrize("source", [None, replace(FINE, last_success=LONG_AGO)])
def test_a_source_is_not_stale_right_after_the_start(
    source: SourceState | None, minutes: int, is_reported: bool
) -> None:
    """After a stop of weeks, and on a new installation, it has `stale_after` from the start of the daemon."""
    assessment = assess_source(source, started=NOW - timedelta(minutes=minutes))

    assert ("read:corp" in assessment.problems) == is_reported


def test_a_running_run_changes_nothing() -> None:
    """The assessment is that of the last ended run."""
    for outcome in ("completed", "failed", None):
        ended = replace(FINE, outcome=outcome)
        assert assess_source(replace(ended, running=True)) == assess_source(ended)


def test_holds_are_a_problem() -> None:
    """The size counts removals and attributes; the text has the next step."""
    (problem,) = assess_source(replace(FINE, outcome="held", held=3, attributes=("mail",))).problems.values()

    assert (problem.title, problem.size) == ("removals of corp wait for a decision", 4)
    assert "`syncd held corp`" in problem.why


def test_rejects_are_a_problem() -> None:
    """The size is their number; the text has the next step."""
    (problem,) = assess_source(replace(FINE, rejected=7)).problems.values()

    assert (problem.size, "`syncd rejects corp`" in problem.why) == (7, True)


def test_an_expiring_certificate_is_a_problem() -> None:
    """From two weeks before its end."""
    (problem,) = assess_source(replace(FINE, certificate_ends=NOW + timedelta(days=10))).problems.values()

    assert "2026-03-11" in problem.why


def test_an_outage_of_the_database_is_the_only_problem() -> None:
    """All keys of sources are unclear."""
    assessment = assess_source(replace(FINE, outcome="failed", held=3), outage="refused")

    assert list(assessment.problems) == ["database"]
    assert assessment.unclear == {"read:corp", "held:corp", "rejected:corp", "certificate:corp"}


def test_unclear_keys_keep_their_result() -> None:
    """Problems and their absence are kept; a key without a former result stays unclear."""
    rejecting, failed = assess_source(replace(FINE, rejected=7)), assess_source(replace(FINE, outcome="failed"))

    assert set(keep_unclear(rejecting, failed).problems) == {"read:corp", "rejected:corp"}
    assert keep_unclear(assess_source(FINE), failed) == Assessment(failed.problems, frozenset())
    assert keep_unclear(failed, assess_source(FINE)) == Assessment({}, frozenset())
    assert keep_unclear(failed, failed) == failed
    outage = keep_unclear(failed, assess_source(None, outage="refused"))
    assert set(outage.problems) == {"read:corp", "database"}
    assert list(keep_unclear(outage, failed).problems) == ["read:corp"]


def test_the_problem_of_a_removed_source_is_over() -> None:
    """A source that is no longer in the settings gets a recovery."""
    sent = {"read:old": SentAlert(Problem("old cannot be read", ""), LONG_AGO)}
    assessment = assess_source(FINE)

    cleared = cleared_since({}, sent, assessment, NOW)

    assert cleared == {"read:old": NOW}
    assert [m.kind for m in due_messages(sent, assessment, cleared, NOW + SETTLE, SETTLE)] == ["recovery"]


def test_forms_of_a_message() -> None:
    """Subject, text and JSON; a recovery has no next step."""
    problem = Problem("corp cannot be read", "Its last run failed: refused.", 0)

    began = AlertMessage("problem", "read:corp", problem, NOW)
    over = AlertMessage("recovery", "read:corp", problem, NOW)

    assert began.subject == "syncd: corp cannot be read"
    assert began.text == "corp cannot be read, since 2026-03-01T12:00:00+00:00.\n\nIts last run failed: refused.\n"
    assert over.subject == "syncd: over: corp cannot be read"
    assert "Nothing is to be done" in over.text
    assert began.to_json()["text"].startswith("syncd: corp cannot be read\n")
    assert (over.to_json()["kind"], over.to_json()["about"]) == ("recovery", "read:corp")


def test_a_growing_problem_is_reported_when_it_has_doubled() -> None:
    """Three, six, twelve: not each increment."""
    sent: Mapping[str, SentAlert] = {}
    sizes = []
    for size in range(3, 20):
        for message in list(due_messages(sent, Assessment({"k": Problem("t", "", size)}), {}, NOW, SETTLE)):
            sent = record_sent(sent, message)
            sizes.append((message.kind, size))

    assert sizes == [("problem", 3), ("worse", 6), ("worse", 12)]


OBSERVATIONS = st.lists(st.tuples(st.integers(1, 900), st.sampled_from(["problem", "unclear", "well"]), st.booleans()))


@given(OBSERVATIONS)
def test_problems_and_recoveries_alternate(observations: list[tuple[int, str, bool]]) -> None:
    """For any observations and failures to send: a recovery follows its problem after a full `resolve_after` without
    it, no problem is sent twice without a recovery, and a current problem is sent if possible.
    """
    sent: dict[str, SentAlert] = {}
    cleared: dict[str, datetime] = {}
    now, well_since, kinds = NOW, None, []
    for seconds, observation, sendable in observations:
        now += timedelta(seconds=seconds)
        assessment = Assessment(
            {"k": Problem("t", "")} if observation == "problem" else {},
            frozenset({"k"} if observation == "unclear" else ()),
        )
        well_since = None if observation == "problem" else well_since or (now if observation == "well" else None)
        cleared = cleared_since(cleared, sent, assessment, now)
        for message in list(due_messages(sent, assessment, cleared, now, SETTLE)):
            if message.kind == "recovery":
                assert well_since is not None
                assert now - well_since >= SETTLE
            if sendable:
                kinds.append(message.kind)
                sent = record_sent(sent, message)
        if observation == "problem" and sendable:
            assert "k" in sent

    assert kinds == ["problem", "recovery"] * (len(kinds) // 2) + ["problem"] * (len(kinds) % 2)
