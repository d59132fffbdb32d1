"""Health: status, reasons and JSON values."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from syncd.core.operations.health import (
    DirectoryState,
    ExpectedSource,
    SourceState,
    add_details,
    describe_health,
    describe_source,
)
from syncd.core.sync.history import PastRun

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CORP = ExpectedSource("corp", "User", timedelta(hours=1))
ACD = ExpectedSource("acd", "Queue", timedelta(hours=2))


def state(*sources: SourceState) -> DirectoryState:
    return DirectoryState(7, {"User": 3}, {source.source: source for source in sources})


def ran(minutes: float, outcome: str | None = "completed", why: str = "", name: str = "corp") -> SourceState:
    """State of a source whose last success ended this long ago."""
    return SourceState(name, outcome, why, NOW, NOW - timedelta(minutes=minutes))


def test_a_healthy_directory() -> None:
    """Fresh sources and a reachable database: ok, no reasons, JSON values only."""
    health = describe_health([CORP, ACD], state(ran(5), ran(90, name="acd")), NOW)

    assert (health["status"], health["why"], health["database"]) == ("ok", [], "ok")
    assert (health["revision"], health["contacts"]) == (7, {"User": 3})
    assert [source["name"] for source in health["sources"]] == ["corp", "acd"]
    assert json.loads(json.dumps(health)) == health


def test_a_directory_without_sources_is_healthy() -> None:
    """Custom contacts cannot be stale."""
    assert describe_health([], DirectoryState(), NOW)["status"] == "ok"


def test_a_source_that_never_succeeded_is_stale() -> None:
    """Before the first complete run, the number of absent contacts is unknown."""
    health = describe_health([CORP], DirectoryState(), NOW)

    assert health["status"] == "degraded"
    assert health["why"] == ["corp never succeeded"]
    assert health["sources"] == [
        {
            "name": "corp", "type": "User", "lastSuccess": None, "ageSeconds": None, "stale": True, "running": False,
                "outcome": None,
            "why": "", "missing": 0, "held": 0, "kept": 0, "heldAttributes": [], "rejected": 0,
            "certificateEnds": None,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "stale"), [(0, False), (3599, False), (3600, False), (3601, True)])
def test_a_source_is_stale_above_its_limit(seconds: int, stale: bool) -> None:
    """Exactly at the limit it is not."""
    source = describe_source(CORP, state(ran(seconds / 60)), NOW)

    assert (source["stale"], source["ageSeconds"]) == (stale, seconds)


def test_a_stale_source_degrades_with_its_name() -> None:
    """Only stale sources are named."""
    health = describe_health([CORP, ACD], state(ran(61), ran(61, name="acd")), NOW)

    assert health["why"] == ["corp is stale"]


@pytest.mark.parametrize("outcome", ["incomplete", "failed", "crashed"])
def test_an_unsuccessful_last_run_degrades(outcome: str) -> None:
    """Even with fresh contacts; its reason is shown."""
    health = describe_health([CORP], state(ran(5, outcome, "the server said no")), NOW)

    assert health["status"] == "degraded"
    assert health["why"] == [f"the last run of corp was {outcome}: the server said no"]


@pytest.mark.parametrize(("outcome", "status"), [(None, "ok"), ("completed", "ok"), ("failed", "degraded")])
def test_a_running_run_changes_nothing(outcome: str | None, status: str) -> None:
    """The status is that of the last ended run."""
    health = describe_health([CORP], state(replace(ran(5, outcome), running=True)), NOW)

    assert (health["status"], health["sources"][0]["running"]) == (status, True)


def test_an_outage_of_the_database_degrades() -> None:
    """Its reason comes first; contacts and ages are the last ones read."""
    health = describe_health([CORP], state(ran(61)), NOW, outage="connection refused")

    assert (health["status"], health["database"], health["revision"]) == ("degraded", "lost", 7)
    assert health["why"] == ["connection refused", "corp is stale"]


def test_the_public_form_has_no_reasons_of_servers() -> None:
    """States, ages and counts are the same; addresses and accounts are left out."""
    server = "ldap://10.0.0.7: invalidCredentials for cn=syncd,dc=example"
    directory = state(replace(ran(61, "failed", server), held=2, attributes=("mail",)))
    outage = "the database does not answer: connection to server at 10.0.0.8 failed"

    public = describe_health([CORP], directory, NOW, outage, detailed=False)
    detailed = describe_health([CORP], directory, NOW, outage)

    assert public["why"] == ["the database does not answer", "corp is stale", "the last run of corp was failed"]
    assert "10.0.0." not in str(public)
    assert "dc=example" not in str(public)
    assert detailed["why"][0] == outage
    assert {**detailed["sources"][0], "why": ""} == public["sources"][0]
    assert {**detailed, "why": 0, "sources": 0} == {**public, "why": 0, "sources": 0}


def test_times_are_utc_and_ages_never_negative() -> None:
    """With a database in another time zone, or a clock ahead of ours."""
    elsewhere = datetime(2026, 3, 1, 14, 0, 30, 999, tzinfo=timezone(timedelta(hours=2)))

    source = describe_source(CORP, state(SourceState("corp", "completed", last_success=elsewhere)), NOW)

    assert source["lastSuccess"] == "2026-03-01T12:00:30+00:00"
    assert source["ageSeconds"] == 0


def test_a_removed_source_is_not_shown() -> None:
    """Only sources in the settings are."""
    health = describe_health([CORP], state(ran(5), ran(99_999, "failed", name="old")), NOW)

    assert [source["name"] for source in health["sources"]] == ["corp"]
    assert health["status"] == "ok"


HELD = SourceState("corp", "held", "3 would leave", NOW, NOW)


@pytest.mark.parametrize("what", [{"held": 3}, {"attributes": ("mail",)}])
def test_undecided_holds_degrade(what: Any) -> None:
    """With the reason of the run, for removals and for attributes."""
    health = describe_health([CORP], state(replace(HELD, **what)), NOW)

    assert health["why"] == ["the last run of corp was held: 3 would leave"]


def test_rejected_removals_are_no_reason() -> None:
    """They are decided, even before the next run."""
    health = describe_health([CORP], state(replace(HELD, kept=3)), NOW)

    assert (health["status"], health["sources"][0]["kept"], health["sources"][0]["held"]) == ("ok", 3, 0)


def test_holds_degrade_after_a_later_run() -> None:
    """After a purge with holds, whatever the last sync was."""
    health = describe_health([CORP], state(replace(HELD, outcome="completed", held=3, attributes=("mail",))), NOW)

    assert health["why"] == ["3 removals of corp, and the loss of mail are held; look at them with `syncd held`"]


def test_a_failed_run_takes_precedence_over_holds() -> None:
    """One reason per source."""
    health = describe_health([CORP], state(replace(HELD, outcome="failed", held=3)), NOW)

    assert health["why"] == ["the last run of corp was failed: 3 would leave"]


def test_only_the_first_line_of_a_reason_is_shown() -> None:
    """Further lines may name persons, and /health is public."""
    health = describe_health(
        [CORP], state(ran(5, "failed", "the plan is outdated. Differences:\n  Ada Lovelace: add was not planned")), NOW
    )

    assert "Ada" not in str(health)
    assert health["sources"][0]["why"] == "the plan is outdated. Differences:"


def test_counts_are_shown() -> None:
    """Missing, rejected and kept contacts alone are no reason."""
    source_state = SourceState("corp", "completed", last_success=NOW, rejected=2, missing=5, kept=1)

    source = describe_source(CORP, state(source_state), NOW)

    assert (source["rejected"], source["missing"], source["kept"]) == (2, 5, 1)
    assert describe_health([CORP], state(source_state), NOW)["status"] == "ok"


@pytest.mark.parametrize(("days", "near"), [(-1, True), (13, True), (15, False)])
def test_an_expiring_certificate_degrades(days: int, near: bool) -> None:
    """From two weeks before its end, with the day."""
    ends = NOW + timedelta(days=days)

    health = describe_health(
        [CORP], state(SourceState("corp", "completed", last_success=NOW, certificate_ends=ends)), NOW
    )

    assert health["sources"][0]["certificateEnds"] == ends.isoformat()
    assert health["why"] == (
        [f"the certificate of corp's server ends on {ends:%Y-%m-%d}; have it renewed before"] if near else []
    )


def test_the_detailed_form_has_evidence_and_forecast() -> None:
    """Last run, its evidence, and the time of the next possible removal."""
    run = PastRun(
        7,
        "corp",
        "sync",
        "completed",
        "",
        NOW,
        NOW,
        "host",
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        True,
        True,
        None,
        None,
        {"pages": 3},
    )
    health = describe_health([CORP, ACD], state(ran(5)), NOW)

    corp, acd = add_details(health, {"corp": run}, {"corp": NOW})["sources"]

    assert (corp["run"], corp["evidence"], corp["firstLeaves"]) == (7, {"pages": 3}, "2026-03-01T12:00:00+00:00")
    assert (acd["run"], acd["evidence"], acd["firstLeaves"]) == (None, None, None)
    assert corp["name"] == "corp"
