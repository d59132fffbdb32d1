"""Search terms of the parameter `q`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import Contact, PhoneNumber, build_index
from syncd.core.contacts.query import parse
from syncd.core.contacts.search import MAX_LENGTH, MAX_WORDS, parse_search
from syncd.core.contacts.text import fold, split_words
from syncd.errors import InvalidParameter


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("anna", ("anna",)),
        ("  Anna   MÜLLER ", ("anna", "muller")),
        ("müller, anna", ("muller", "anna")),
        ("anna anna", ("anna",)),
        ("o'brien", ("o", "brien")),
        ("jim@dm.example", ("jim", "dm", "example")),
        ("a_b-c", ("a", "b", "c")),
        ("+49 (0)89 5550-103", ("49895550103",)),
        ("0049 (0)89 5550-103", ("49895550103",)),
        ("00", ("00",)),
        ("089/5550 103", ("0895550103",)),
        ("*97", ("97",)),
        ("anna 089 5550", ("anna", "089", "5550")),
        ("-", ()),
        ("%", ()),
    ],
)
def test_words(typed: str, expected: tuple[str, ...]) -> None:
    """Folded and split at all other characters than letters and digits; digits alone are one number."""
    assert parse_search(typed).words == expected


def test_limits_of_a_search() -> None:
    """The message has the limit."""
    assert len(parse_search("a b c d e f g h").words) == MAX_WORDS
    assert len(parse_search("a" * MAX_LENGTH).text) == MAX_LENGTH
    with pytest.raises(InvalidParameter, match="q has 9 words, at most 8 are allowed"):
        parse_search("a b c d e f g h i")
    with pytest.raises(InvalidParameter, match="q has 101 characters, at most 100 are allowed"):
        parse_search("a" * (MAX_LENGTH + 1))


def test_a_search_is_ranked_unless_it_is_sorted() -> None:
    """`sortBy` takes precedence; without it the best match comes first, and without `q` the order is by name."""
    assert parse(b"q=anna").sort == ()
    assert parse(b"q=anna&sortBy=lastName").sort == ("lastName",)
    assert parse(b"q=").sort == ("name",)
    assert parse(b"q=").search is None
    with pytest.raises(InvalidParameter, match="q is given more than once"):
        parse(b"q=anna&q=bert")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40))
def test_a_contact_is_found_by_its_name(name: str) -> None:
    """Each word of its name, or of a prefix of the name, is a prefix of a word in the index."""
    index = build_index("Custom", Contact(name, (PhoneNumber("1"),)))
    typed = name[: MAX_LENGTH // 2]

    if len(split_words(fold(typed))) <= MAX_WORDS:
        assert all(f"\f{word}" in index.search or word.isdigit() for word in parse_search(typed).words)
