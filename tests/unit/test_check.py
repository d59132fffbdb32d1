"""Findings of a check: failed chains, expiring certificates, absent attributes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.check import (
    Certificate,
    Chain,
    Result,
    Sample,
    Verdict,
    check_attributes,
    check_certificates,
    check_count,
    split_remedy,
    worst_result,
)
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import Record, Reject
from syncd.sources.ldap.errors import bind_remedy

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MAPPER = Mapper("User", {"name": ("cn",), "userName": ("uid",), "emailAddress": ("mail",)})


@given(st.integers(1, 8).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_steps_after_a_failed_one_are_unreached(case: tuple[int, int]) -> None:
    """Each step has one finding: ok before the failed step, not reached after it."""
    size, at = case
    steps = [str(number) for number in range(size)]
    chain = Chain("corp", "somewhere", steps)
    findings = [chain.ok(step, "well") for step in steps[:at]]
    findings += chain.fail("it broke", "mend it")

    assert [finding.step for finding in findings] == steps
    expected = [Result.OK] * at + [Result.FAILED] + [Result.UNREACHED] * (size - at - 1)
    assert [finding.result for finding in findings] == expected
    assert worst_result(findings) is Result.FAILED
    assert worst_result(findings[:at]) is Result.OK


@pytest.mark.parametrize(
    ("days", "excerpt"),
    [(400, ""), (30.1, ""), (30, "in 30 days"), (15, "in 15 days"), (10, "in 10 days"), (0.5, "in 1 day,")],
)
def test_an_expiring_certificate_is_a_warning(days: float, excerpt: str) -> None:
    """From thirty days before its end, and urgent from fourteen."""
    verdict = check_certificates([Certificate("host", NOW + timedelta(days=days))], "TLSv1.3", NOW)

    assert (verdict.result is Result.WARNING) == bool(excerpt)
    assert excerpt in verdict.what
    assert ("urgent" in verdict.what) == (days < 14)
    assert bool(verdict.remedy) == bool(excerpt)


def test_the_first_certificate_to_expire_counts() -> None:
    """That of an authority as well."""
    chain = [Certificate("host", NOW + timedelta(days=300)), Certificate("Our CA", NOW + timedelta(days=20))]

    assert "certificate of Our CA ends in 20 days" in check_certificates(chain, "TLSv1.3", NOW).what


def record(**values: str) -> Record:
    return Record("k", "uid=x", b"", {name: [value] for name, value in values.items()})


def check_items(items: list[Record | Reject], *present: str) -> list[Verdict]:
    return list(check_attributes(Sample(items, present, is_complete=True), MAPPER, MAPPER.attributes))


def test_attributes_are_counted() -> None:
    """Each mapped attribute has its number of entries; an absent one has the most similar name as a suggestion."""
    counted, missing = check_items([record(cn="A", uid="a"), record(cn="B", uid="")], "cn", "uid", "eMail")

    assert counted == Verdict(Result.OK, "of 2 entries have: cn 2, mail 0, uid 1")
    assert (missing.result, missing.what) == (Result.WARNING, "mail: in 0 of 2 entries")
    assert missing.remedy.startswith("did you mean eMail?")


def test_an_attribute_is_not_suggested_for_itself() -> None:
    """It is present, but all values of the sample are blank."""
    *_, missing = check_items([record(cn="A", uid="a", mail="")], "mail")

    assert "did you mean" not in missing.remedy


def test_unmappable_entries() -> None:
    """Some give a warning with the first reason; if all are unmappable, the step fails."""
    bad = Reject(None, "uid=odd", "no key", {})

    assert check_items([record(cn="A", uid="a", mail="m"), bad])[0].result is Result.WARNING
    assert "uid=odd: no key" in check_items([record(cn="A", uid="a", mail="m"), bad])[0].what
    assert check_items([record(uid="a", mail="m"), bad])[0].result is Result.FAILED


def test_an_empty_sample() -> None:
    """Attributes are unreached, and the filter is a warning."""
    assert [verdict.result for verdict in check_items([])] == [Result.UNREACHED]
    assert check_count(Sample([], (), is_complete=True), "the filter matches").result is Result.WARNING
    assert check_count(Sample([record()], (), is_complete=False), "it holds").what == "it holds 1 entries or more"


def test_split_remedy() -> None:
    """The remedy follows the last semicolon."""
    assert split_remedy("it broke; here; mend it") == ("it broke; here", "mend it")
    assert split_remedy("it broke") == ("it broke", "it broke")


def test_remedies_for_active_directory() -> None:
    """A failed bind has the Windows logon error in its message; each has its own remedy."""
    message = (
        "code 49 invalidCredentials: 80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data {}, v"
    )

    remedies = {
        code: bind_remedy(49, message.format(code)) for code in ("525", "52e", "532", "533", "701", "773", "775")
    }
    assert len(set(remedies.values())) == len(remedies)
    assert "disabled" in remedies["533"]
    assert bind_remedy(49, "invalidCredentials") == "check bind, bind_dn and the password file of the source"
    assert "starttls" in bind_remedy(8, "strongerAuthRequired")
