"""Freshness headers as structured fields, and the maximum age of a request."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.query import parse_types
from syncd.core.operations import freshness
from syncd.core.operations.health import SourceAge
from syncd.errors import InvalidParameter, RetryLater

AGES = st.builds(
    SourceAge,
    source=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20),
    type=st.sampled_from(["User", "Queue"]),
    seconds=st.none() | st.integers(0, 10**16),
    stale=st.booleans(),
)
CORP, ACD, NEW = (
    SourceAge("corp", "User", 120, False),
    SourceAge("acd", "Queue", 4000, True),
    SourceAge("new", "User", None, True),
)


class Reader:
    """Strict parser of a list of strings with parameters (RFC 9651, 4.2)."""

    def __init__(self, text: str) -> None:
        self.rest = text

    def take(self, pattern: str) -> str | None:
        match = re.match(pattern, self.rest)
        if match is None:
            return None
        self.rest = self.rest[match.end() :]
        return match[0]

    def items(self) -> list[tuple[str, dict[str, object]]]:
        members = [self.item()]
        while self.rest:
            assert self.take(r"[ \t]*,[ \t]*") is not None, self.rest
            members.append(self.item())
        return members

    def item(self) -> tuple[str, dict[str, object]]:
        quoted = self.take(r'"(?:[ !#-\[\]-~]|\\["\\])*"')
        assert quoted is not None, self.rest
        parameters: dict[str, object] = {}
        while self.take("; *") is not None:
            key = self.take(r"[a-z*][a-z0-9_.*-]*")
            assert key is not None, self.rest
            parameters[key] = self.bare() if self.take("=") is not None else True
        return re.sub(r"\\(.)", r"\1", quoted[1:-1]), parameters

    def bare(self) -> object:
        number = self.take(r"-?[0-9]{1,15}(?![0-9.])")
        if number is not None:
            return int(number)
        token = self.take(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
        assert token is not None, self.rest
        return token


@given(st.lists(AGES, min_size=1, max_size=5))
def test_header_round_trip(ages: list[SourceAge]) -> None:
    """A parser of structured fields returns the same names, ages and flags, in order."""
    read = Reader(freshness.encode_header(ages)).items()

    assert [name for name, _ in read] == [age.source for age in ages]
    for (_, parameters), age in zip(read, ages, strict=True):
        expected: dict[str, object] = {"type": age.type}
        if age.seconds is not None:
            expected["age"] = min(age.seconds, 999_999_999_999_999)
        if age.stale:
            expected["stale"] = True
        assert parameters == expected


def test_header_example() -> None:
    """As in README."""
    assert freshness.encode_header([CORP, ACD, NEW]) == (
        '"corp";age=120;type=User, "acd";age=4000;type=Queue;stale, "new";type=User;stale'
    )


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("600", 600), (" 5 ", 5), ("9" * 15, 10**15 - 1)])
def test_max_age_is_an_integer(text: str, seconds: int) -> None:
    """Of at most 15 digits."""
    assert freshness.parse_max_age([text]) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "ten", "600s", "٣", "9" * 16, "600, 600", "600;x", "\t5"])
def test_a_malformed_max_age_is_an_error(text: str) -> None:
    """It is never taken as absent."""
    with pytest.raises(InvalidParameter, match="Directory-Max-Age"):
        freshness.parse_max_age([text])


def test_a_repeated_max_age_is_an_error() -> None:
    """Without the header there is no limit."""
    with pytest.raises(InvalidParameter):
        freshness.parse_max_age(["600", "600"])
    assert freshness.parse_max_age([]) is None


@given(st.lists(AGES, max_size=5), st.sets(st.sampled_from(["User", "Queue", "Custom"])), st.integers(0, 10**16))
def test_check_max_age(ages: list[SourceAge], requested_types: set[str], max_age: int) -> None:
    """All sources of the requested types, or all sources, must be young enough; the limit itself is allowed."""
    concerned = [age for age in ages if not requested_types or age.type in requested_types]
    met = all(age.seconds is not None and age.seconds <= max_age for age in concerned)

    if met:
        freshness.check_max_age(ages, requested_types, max_age)  # type: ignore[arg-type]  # a set of texts is one of types
    else:
        with pytest.raises(RetryLater):
            freshness.check_max_age(ages, requested_types, max_age)  # type: ignore[arg-type]


def test_the_error_names_source_and_age() -> None:
    """Only stale sources are named."""
    with pytest.raises(RetryLater) as refused:
        freshness.check_max_age([CORP, ACD, NEW], (), 600)

    message = str(refused.value)
    assert "acd was last read completely 4000 s ago" in message
    assert "new was never read completely" in message
    assert "corp" not in message
    assert refused.value.seconds > 0


@pytest.mark.parametrize(
    ("query", "match"),
    [
        (b"", ()),
        (b"type=User", ("User",)),
        (b"limit=x&type=user,Queue&_=1&nonsense=2", ("User", "Queue")),
        (b"+t%79pe+=Custom&type=", ("Custom",)),
    ],
)
def test_parse_types(query: bytes, match: tuple[str, ...]) -> None:
    """Other parameters are not validated here."""
    assert parse_types(query) == match
