"""The verdicts of a check: chains that break, certificates that end, attributes that are in no entry."""

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
def test_a_broken_step_leaves_the_rest_unreached(case: tuple[int, int]) -> None:
    """Whichever step breaks: each step is told once, those before it as they were, those behind it as not reached."""
    size, at = case
    steps = [str(number) for number in range(size)]
    chain = Chain("corp", "somewhere", steps)
    found = [chain.ok(step, "well") for step in steps[:at]]
    found += chain.fail("it broke", "mend it")

    assert [finding.step for finding in found] == steps
    expected = [Result.OK] * at + [Result.FAILED] + [Result.UNREACHED] * (size - at - 1)
    assert [finding.result for finding in found] == expected
    assert worst_result(found) is Result.FAILED
    assert worst_result(found[:at]) is Result.OK


@pytest.mark.parametrize(
    ("days", "told"),
    [(400, ""), (30.1, ""), (30, "in 30 days"), (15, "in 15 days"), (10, "in 10 days"), (0.5, "in 1 day,")],
)
def test_a_certificate_is_told_in_time(days: float, told: str) -> None:
    """From thirty days on, as urgent from fourteen on."""
    verdict = check_certificates([Certificate("host", NOW + timedelta(days=days))], "TLSv1.3", NOW)

    assert (verdict.result is Result.WARNING) == bool(told)
    assert told in verdict.what
    assert ("urgent" in verdict.what) == (days < 14)
    assert bool(verdict.remedy) == bool(told)


def test_the_first_certificate_of_a_chain_to_end_counts() -> None:
    """An authority that ends before what it signed ends both."""
    chain = [Certificate("host", NOW + timedelta(days=300)), Certificate("Our CA", NOW + timedelta(days=20))]

    assert "certificate of Our CA ends in 20 days" in check_certificates(chain, "TLSv1.3", NOW).what


def record(**values: str) -> Record:
    return Record("k", "uid=x", b"", {name: [value] for name, value in values.items()})


def told(items: list[Record | Reject], *present: str) -> list[Verdict]:
    return list(check_attributes(Sample(items, present, is_complete=True), MAPPER, MAPPER.attributes))


def test_attributes_are_counted() -> None:
    """Each mapped attribute with the number of entries that have it; one that nobody has, with a name that is near."""
    counted, missing = told([record(cn="A", uid="a"), record(cn="B", uid="")], "cn", "uid", "eMail")

    assert counted == Verdict(Result.OK, "of 2 entries have: cn 2, mail 0, uid 1")
    assert (missing.result, missing.what) == (Result.WARNING, "mail: in 0 of 2 entries")
    assert missing.remedy.startswith("did you mean eMail?")


def test_a_name_that_is_known_to_the_server_is_not_suggested_for_itself() -> None:
    """An attribute that others have, of which the sample's values are all blank, is no typo of itself."""
    *_, missing = told([record(cn="A", uid="a", mail="")], "mail")

    assert "did you mean" not in missing.remedy


def test_entries_that_become_no_contact() -> None:
    """Some are a warning with the first reason; all are a broken step."""
    bad = Reject(None, "uid=odd", "no key", {})

    assert told([record(cn="A", uid="a", mail="m"), bad])[0].result is Result.WARNING
    assert "uid=odd: no key" in told([record(cn="A", uid="a", mail="m"), bad])[0].what
    assert told([record(uid="a", mail="m"), bad])[0].result is Result.FAILED


def test_nothing_to_look_at() -> None:
    """Without entries nothing is said of attributes, and the filter is suspected."""
    assert [verdict.result for verdict in told([])] == [Result.UNREACHED]
    assert check_count(Sample([], (), is_complete=True), "the filter matches").result is Result.WARNING
    assert check_count(Sample([record()], (), is_complete=False), "it holds").what == "it holds 1 entries or more"


def test_the_next_step_of_a_sentence() -> None:
    """It stands behind the last semicolon."""
    assert split_remedy("it broke; here; mend it") == ("it broke; here", "mend it")
    assert split_remedy("it broke") == ("it broke", "it broke")


def test_the_words_of_active_directory() -> None:
    """A refused bind carries the Windows error of the logon: each has its own remedy."""
    words = (
        "code 49 invalidCredentials: 80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data {}, v"
    )

    remedies = {code: bind_remedy(49, words.format(code)) for code in ("525", "52e", "532", "533", "701", "773", "775")}
    assert len(set(remedies.values())) == len(remedies)
    assert "disabled" in remedies["533"]
    assert bind_remedy(49, "invalidCredentials") == "check bind, bind_dn and the password file of the source"
    assert "starttls" in bind_remedy(8, "strongerAuthRequired")
