"""Notices: what people are told of, once when it begins and once when it is over."""

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


def seen(source: SourceState | None, *, started: datetime = LONG_AGO, lost: str = "") -> Assessment:
    state = DirectoryState(7, {}, {} if source is None else {"corp": source})
    return assess([CORP], state, NOW, started, lost)


def test_all_well_is_nothing_to_tell() -> None:
    """And nothing is unclear."""
    assert seen(FINE) == Assessment({}, frozenset())


@pytest.mark.parametrize("outcome", ["incomplete", "failed", "crashed"])
def test_a_run_that_was_not_complete(outcome: str) -> None:
    """Its reason, one line of it, and that the directory is as it was."""
    found = seen(replace(FINE, outcome=outcome, reason="refused. Look there.\nAda Lovelace"))

    assert list(found.problems) == ["read:corp"]
    problem = found.problems["read:corp"]
    assert problem.title == "corp cannot be read"
    assert f"Its last run was {outcome}: refused. Look there.\n" in problem.why
    assert "Ada" not in problem.why
    assert found.unclear == {"rejected:corp"}


def test_a_source_that_is_stale_is_the_same_problem() -> None:
    """An outage that begins with a failed run and goes on to be stale is one, under one key and one title."""
    stale = seen(replace(FINE, last_success=NOW - timedelta(hours=2)))
    failed = seen(replace(FINE, outcome="failed", last_success=NOW - timedelta(hours=2)))

    assert list(stale.problems) == list(failed.problems) == ["read:corp"]
    assert stale.problems["read:corp"].title == failed.problems["read:corp"].title


@pytest.mark.parametrize(("minutes", "told"), [(1, False), (60, False), (61, True)])
@pytest.mark.parametrize("source", [None, replace(FINE, last_success=LONG_AGO)])
def test_nobody_is_called_before_the_first_run_could_be(source: SourceState | None, minutes: int, told: bool) -> None:
    """After a stop of weeks, and on a new installation, a source has its usual time."""
    found = seen(source, started=NOW - timedelta(minutes=minutes))

    assert ("read:corp" in found.problems) == told


def test_while_a_run_goes_on_all_is_as_it_was() -> None:
    """Neither that it cannot be read, nor that it can again, is known before its end."""
    for outcome in ("completed", "failed", None):
        ended = replace(FINE, outcome=outcome)
        assert seen(replace(ended, running=True)) == seen(ended)


def test_what_is_held_waits_for_a_decision() -> None:
    """With the next step; removals and attributes count."""
    (problem,) = seen(replace(FINE, outcome="held", held=3, attributes=("mail",))).problems.values()

    assert (problem.title, problem.size) == ("removals of corp wait for a decision", 4)
    assert "`syncd held corp`" in problem.why


def test_what_is_rejected_has_its_number() -> None:
    """It is told again when it has doubled, and over when there is none."""
    (problem,) = seen(replace(FINE, rejected=7)).problems.values()

    assert (problem.size, "`syncd rejects corp`" in problem.why) == (7, True)


def test_a_certificate_near_its_end() -> None:
    """Two weeks before."""
    (problem,) = seen(replace(FINE, certificate_ends=NOW + timedelta(days=10))).problems.values()

    assert "2026-03-11" in problem.why


def test_a_lost_database_is_all_that_is_known() -> None:
    """No source is called well or broken by what was known before."""
    found = seen(replace(FINE, outcome="failed", held=3), lost="refused")

    assert list(found.problems) == ["database"]
    assert found.unclear == {"read:corp", "held:corp", "rejected:corp", "certificate:corp"}


def test_what_is_unclear_is_as_it_was() -> None:
    """A problem stays one while nobody can tell, and so does an end; what was never seen is open."""
    rejecting, failed = seen(replace(FINE, rejected=7)), seen(replace(FINE, outcome="failed"))

    assert set(keep_unclear(rejecting, failed).problems) == {"read:corp", "rejected:corp"}
    assert keep_unclear(seen(FINE), failed) == Assessment(failed.problems, frozenset())
    assert keep_unclear(failed, seen(FINE)) == Assessment({}, frozenset())
    assert keep_unclear(failed, failed) == failed
    lost = keep_unclear(failed, seen(None, lost="refused"))
    assert set(lost.problems) == {"read:corp", "database"}
    assert list(keep_unclear(lost, failed).problems) == ["read:corp"]


def test_a_source_that_is_no_longer_set_up_is_over() -> None:
    """Its problem does not stay open for ever."""
    told = {"read:old": SentAlert(Problem("old cannot be read", ""), LONG_AGO)}
    found = seen(FINE)

    absent = cleared_since({}, told, found, NOW)

    assert absent == {"read:old": NOW}
    assert [m.kind for m in due_messages(told, found, absent, NOW + SETTLE, SETTLE)] == ["recovery"]


def test_a_message_is_for_people_and_machines() -> None:
    """One line, a text and facts; the recovery asks for nothing."""
    problem = Problem("corp cannot be read", "Its last run failed: refused.", 0)

    began = AlertMessage("problem", "read:corp", problem, NOW)
    over = AlertMessage("recovery", "read:corp", problem, NOW)

    assert began.subject == "syncd: corp cannot be read"
    assert began.text == "corp cannot be read, since 2026-03-01T12:00:00+00:00.\n\nIts last run failed: refused.\n"
    assert over.subject == "syncd: over: corp cannot be read"
    assert "Nothing is to be done" in over.text
    assert began.to_json()["text"].startswith("syncd: corp cannot be read\n")
    assert (over.to_json()["kind"], over.to_json()["about"]) == ("recovery", "read:corp")


def test_growth_is_told_when_it_has_doubled() -> None:
    """Three, six, twelve: not each one more."""
    told: Mapping[str, SentAlert] = {}
    sizes = []
    for size in range(3, 20):
        for message in list(due_messages(told, Assessment({"k": Problem("t", "", size)}), {}, NOW, SETTLE)):
            told = record_sent(told, message)
            sizes.append((message.kind, size))

    assert sizes == [("problem", 3), ("worse", 6), ("worse", 12)]


SIGHTS = st.lists(st.tuples(st.integers(1, 900), st.sampled_from(["problem", "unclear", "well"]), st.booleans()))


@given(SIGHTS)
def test_problems_and_recoveries_take_turns(sights: list[tuple[int, str, bool]]) -> None:
    """Whatever is seen when, and whether or not a message can be sent: a recovery follows its problem, after it was
    well for the whole of the time; no problem is told twice without one; what is wrong and can be told is told.
    """
    told: dict[str, SentAlert] = {}
    absent: dict[str, datetime] = {}
    now, well_since, kinds = NOW, None, []
    for seconds, sight, sendable in sights:
        now += timedelta(seconds=seconds)
        found = Assessment(
            {"k": Problem("t", "")} if sight == "problem" else {}, frozenset({"k"} if sight == "unclear" else ())
        )
        well_since = None if sight == "problem" else well_since or (now if sight == "well" else None)
        absent = cleared_since(absent, told, found, now)
        for message in list(due_messages(told, found, absent, now, SETTLE)):
            if message.kind == "recovery":
                assert well_since is not None
                assert now - well_since >= SETTLE
            if sendable:
                kinds.append(message.kind)
                told = record_sent(told, message)
        if sight == "problem" and sendable:
            assert "k" in told

    assert kinds == ["problem", "recovery"] * (len(kinds) // 2) + ["problem"] * (len(kinds) % 2)
