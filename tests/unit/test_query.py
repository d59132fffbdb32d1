"""Query strings: validation of every parameter."""

from contextlib import suppress
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import MEMBERS, TYPES
from syncd.core.contacts.query import (
    FILTERS,
    MAX_INTEGER,
    MAX_PATTERNS,
    MAX_WILDCARDS,
    PARAMETERS,
    Query,
    is_id,
    parse,
)
from syncd.core.contacts.text import fold, has_control
from syncd.errors import InvalidParameter, MissingParameter, RequestError

SEARCH = b"filterName=NamesOrPhoneNumberMatches&filterParameters="


def filters(raw: bytes) -> dict[str, tuple[str, ...]]:
    """Filters of a parsed query."""
    return dict(parse(raw).filters)


@pytest.mark.parametrize("raw", [b"", b"&&", b"_=1", b"_t=1&subresources=*", b"name=", b"name", b"type=,", b"limit="])
def test_the_default_query(raw: bytes) -> None:
    """Empty values, cache busters and subresources are ignored."""
    assert parse(raw) == Query(sort=("name",), limit=None, offset=0, fields=None)


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_takes_a_list(name: str) -> None:
    """Commas and repeated parameters are equivalent."""
    assert filters(f"{name}=a,b&{name}=c".encode()) == {name: ("a", "b", "c")}


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (rb"name=Schrute\, Dwight", ("Schrute, Dwight",)),
        (rb"name=a\,b,c", ("a,b", "c")),
        (b"name=a%2Cb", ("a", "b")),
        (rb"name=a%5C%2Cb", ("a,b",)),
        (rb"name=a\b", (r"a\b",)),
        (rb"name=a\\,b", ("a\\,b",)),
        (b"name=+a+,%20b%20,,", ("a", "b")),
        (b"name=a=b", ("a=b",)),
        (b"name=O'Brien%22;--", ("O'Brien\";--",)),
        ("name=Zoë".encode(), ("Zoë",)),
        (b"name=Zo%C3%AB", ("Zoë",)),
        (b"name=*", ("*",)),
    ],
)
def test_values_are_kept_as_sent(raw: bytes, values: tuple[str, ...]) -> None:
    r"""A comma separates, `\,` is a comma, surrounding spaces are stripped."""
    assert filters(raw) == {"name": values}


@given(st.text(min_size=1, max_size=40).map(str.strip).filter(lambda text: text and not has_control(text)))
def test_any_value_can_be_a_filter(value: str) -> None:
    """Percent-encoded in either way."""
    escaped = value.replace(",", "\\,")
    expected = (value,)

    assert filters(f"name={quote(escaped, safe='')}".encode()) == {"name": expected}
    assert filters(f"name={quote_plus(escaped)}&_=1".encode()) == {"name": expected}


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_rejected(raw: bytes) -> None:
    """Every query string gives a query or a RequestError."""
    with suppress(RequestError):
        assert parse(raw).offset >= 0


PIECES = st.sampled_from(
    [*PARAMETERS, *MEMBERS, *TYPES, "NamesOrPhoneNumberMatches", "=", "&", ",", "\\,", "*", "%", "%00", "%ff", "1", "+"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_combination_of_parameters_is_parsed_or_rejected(text: str) -> None:
    """Every combination of names and values of the contract gives a query or a RequestError."""
    with suppress(RequestError):
        assert parse(text.encode()).sort


@pytest.mark.parametrize(("value", "types"), [("user", ("User",)), ("QUEUE,custom", ("Queue", "Custom"))])
def test_type_is_case_insensitive(value: str, types: tuple[str, ...]) -> None:
    assert parse(f"type={value}".encode()).types == types


def test_spaces_around_names_are_stripped() -> None:
    assert filters(b"%20firstName+=Jim& lastName =Halpert") == {"firstName": ("Jim",), "lastName": ("Halpert",)}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"firstname=Jim", "'firstname'.*'firstName'"),
        (b"ofset=1", "'ofset'.*'offset'"),
        (b"=x", "''"),
        (b"type=Usr", "'Usr'.*Custom, Queue, User"),
        (b"limit=-1", "limit.*'-1'"),
        (b"limit=1.5", "limit.*'1.5'"),
        ("limit=٣".encode(), "limit"),
        (b"offset=x", "offset.*'x'"),
        (b"limit=1&limit=2", "more than once"),
        (b"order=down", "'down'.*Ascending or Descending"),
        (b"sortBy=age", "'age'.*name"),
        (b"sortBy=Name", "'Name'.*'name'"),
        (b"fields=id,nam", "'nam'.*'name'"),
        (b"filterName=All&filterParameters=*", "'All'.*NamesOrPhoneNumberMatches"),
        (b"name=%ff", "name is not UTF-8"),
        (b"%ff=1", "name is not UTF-8"),
        (b"name=\xff", "name is not UTF-8"),
        (b"name=%ED%A0%80", "name is not UTF-8"),
        (b"name=100%", "%25"),
        (b"name=%zz", "%25"),
        (b"name=a%00b", "control"),
        (b"name=%00", "control"),
        (b"name=a%0Ab", "control"),
        (SEARCH + b",".join([b"%d" % n for n in range(MAX_PATTERNS + 1)]), "at most"),
        (SEARCH + b"*a" * (MAX_WILDCARDS + 1), "at most"),
    ],
)
def test_invalid_queries_are_rejected(raw: bytes, says: str) -> None:
    """The message names the parameter or value, and the valid ones."""
    with pytest.raises(InvalidParameter, match=says):
        parse(raw)


@pytest.mark.parametrize("raw", [b"filterName=NamesOrPhoneNumberMatches", SEARCH, SEARCH + b",", b"filterParameters=a"])
def test_filter_name_and_parameters_need_each_other(raw: bytes) -> None:
    with pytest.raises(MissingParameter, match="filterParameters"):
        parse(raw)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"Jim", ("jim",)),
        (b"J*", ("j", "")),
        (b"*", ("", "")),
        (b"***", ("", "")),
        (b"*Zo%C3%AB*", ("", "zoe", "")),
        (b"a**b", ("a", "b")),
        (b"%_[.]", None),
    ],
)
def test_a_pattern_is_folded_and_split_at_wildcards(argument: bytes, expected: tuple[str, ...] | None) -> None:
    """Runs of wildcards are one; other special characters are rejected or literal."""
    if expected is None:
        with pytest.raises(InvalidParameter):
            parse(SEARCH + argument)
    else:
        assert parse(SEARCH + argument).patterns == (expected,)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20))
def test_patterns_are_folded_like_stored_values(text: str) -> None:
    stripped = text.strip().replace("*", "")
    if stripped:
        raw = SEARCH + quote(stripped.replace(",", "\\,"), safe="").encode()

        assert parse(raw).patterns == ((fold(stripped),),)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), (" 5 ", 5), ("9" * 18, 10**18 - 1), ("9" * 19, MAX_INTEGER), ("9" * 6000, MAX_INTEGER)],
)
def test_integers_of_any_size(text: str, number: int) -> None:
    """Values above MAX_INTEGER are cut to it."""
    assert parse(f"limit={text}&offset={text}".encode().replace(b" ", b"+")) == Query(limit=number, offset=number)


def test_sorting_and_members() -> None:
    """sortBy is an ordered list, fields a set, and `*` stands for all members."""
    query = parse(b"sortBy=lastName,firstName,lastName&order=Descending&fields=name,id")

    assert query.sort == ("lastName", "firstName")
    assert query.descending
    assert query.fields == frozenset({"id", "name"})
    assert parse(b"fields=id,*").fields is None


def test_a_real_request() -> None:
    """The request that existing clients send."""
    query = parse(
        b"type=User&includeUsersInBusinessUnits=AG_DEV&roles=ROLE_AGENT&limit=100"
        b"&filterName=NamesOrPhoneNumberMatches&filterParameters=*&sortBy=name&order=Ascending"
    )

    assert query == Query(
        types=("User",),
        filters=(("roles", ("ROLE_AGENT",)), ("includeUsersInBusinessUnits", ("AG_DEV",))),
        patterns=(("", ""),),
        limit=100,
    )


def test_is_id() -> None:
    """32 lower-case hex digits and nothing else."""
    assert is_id("0123456789abcdef" * 2)
    assert not any(map(is_id, ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 32 + "\n", "٣" * 32]))


@given(st.integers(0, 50), st.none() | st.integers(0, 20), st.integers(0, 60))
def test_row_count_equals_a_slice(total: int, limit: int | None, offset: int) -> None:
    """The length of a list of all matches after offset, up to limit."""
    end = None if limit is None else offset + limit
    assert Query(limit=limit, offset=offset).row_count(total) == len(range(total)[offset:end])
