"""Health: when the directory counts as degraded, and why."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from syncd.core.health import DirectoryState, Expected, SourceState, health, source_health

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CORP = Expected("corp", "User", timedelta(hours=1))
ACD = Expected("acd", "Queue", timedelta(hours=2))


def state(*sources: SourceState) -> DirectoryState:
    return DirectoryState(7, {"User": 3}, {source.source: source for source in sources})


def ran(minutes: float, outcome: str | None = "completed", why: str = "", name: str = "corp") -> SourceState:
    """A source whose last success ended this long ago."""
    return SourceState(name, outcome, why, NOW, NOW - timedelta(minutes=minutes))


def test_all_well() -> None:
    """Fresh sources and a database that answers: ok, without a reason, ready to be shown as JSON."""
    found = health([CORP, ACD], state(ran(5), ran(90, name="acd")), NOW)

    assert (found["status"], found["why"], found["database"]) == ("ok", [], "ok")
    assert (found["revision"], found["contacts"]) == (7, {"User": 3})
    assert [source["name"] for source in found["sources"]] == ["corp", "acd"]
    assert json.loads(json.dumps(found)) == found


def test_nothing_to_sync_is_well() -> None:
    """A directory of Custom contacts alone has no source that could be stale."""
    assert health([], DirectoryState(), NOW)["status"] == "ok"


def test_a_source_that_never_succeeded_is_stale() -> None:
    """Before the first complete run nobody knows how much is missing."""
    found = health([CORP], DirectoryState(), NOW)

    assert found["status"] == "degraded"
    assert found["why"] == ["corp never succeeded"]
    assert found["sources"] == [
        {
            "name": "corp", "type": "User", "lastSuccess": None, "ageSeconds": None, "stale": True, "outcome": None,
            "why": "", "held": 0, "rejected": 0,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "stale"), [(0, False), (3599, False), (3600, False), (3601, True)])
def test_a_source_is_stale_above_its_age(seconds: int, stale: bool) -> None:
    """Exactly at the limit is not yet stale."""
    shown = source_health(CORP, state(ran(seconds / 60)), NOW)

    assert (shown["stale"], shown["ageSeconds"]) == (stale, seconds)


def test_a_stale_source_degrades_with_its_name() -> None:
    """The reason names the source that is old, and only that."""
    found = health([CORP, ACD], state(ran(61), ran(61, name="acd")), NOW)

    assert found["why"] == ["corp is stale"]


@pytest.mark.parametrize("outcome", ["held", "incomplete", "failed", "crashed"])
def test_a_last_run_that_did_not_complete_degrades_with_its_reason(outcome: str) -> None:
    """Fresh contacts are not enough: the last run has to have been right."""
    found = health([CORP], state(ran(5, outcome, "the server said no")), NOW)

    assert found["status"] == "degraded"
    assert found["why"] == [f"the last run of corp was {outcome}: the server said no"]


@pytest.mark.parametrize("outcome", [None, "completed", "running"])
def test_a_run_that_is_going_on_is_no_reason(outcome: str | None) -> None:
    """While a run goes on the directory is as good as after the last one."""
    assert health([CORP], state(ran(5, outcome)), NOW)["status"] == "ok"


def test_a_lost_database_degrades_and_keeps_what_was_known() -> None:
    """Its reason comes first; contacts and ages are the last that were read."""
    found = health([CORP], state(ran(61)), NOW, lost="connection refused")

    assert (found["status"], found["database"], found["revision"]) == ("degraded", "lost", 7)
    assert found["why"] == ["connection refused", "corp is stale"]


def test_times_are_utc_and_ages_never_negative() -> None:
    """A database in another zone, or a clock that runs ahead of ours, does not show."""
    elsewhere = datetime(2026, 3, 1, 14, 0, 30, 999, tzinfo=timezone(timedelta(hours=2)))

    shown = source_health(CORP, state(SourceState("corp", "completed", last_success=elsewhere)), NOW)

    assert shown["lastSuccess"] == "2026-03-01T12:00:30+00:00"
    assert shown["ageSeconds"] == 0


def test_a_source_that_is_no_longer_set_up_is_not_shown() -> None:
    """Health speaks of what the settings name."""
    found = health([CORP], state(ran(5), ran(99_999, "failed", name="old")), NOW)

    assert [source["name"] for source in found["sources"]] == ["corp"]
    assert found["status"] == "ok"


def test_held_and_rejected_are_shown() -> None:
    """How many removals wait and how many records are bad, without being a reason by themselves."""
    known = SourceState("corp", "completed", last_success=NOW, held=4, rejected=2)

    shown = source_health(CORP, state(known), NOW)

    assert (shown["held"], shown["rejected"]) == (4, 2)
