"""What `q` asks for: words, digits, and what is too much."""

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
    """Folded, split at everything that is no letter or digit; digits alone are one number, however grouped."""
    assert parse_search(typed).words == expected


def test_too_much_is_refused_with_the_limit() -> None:
    """Each word is a condition on every contact."""
    assert len(parse_search("a b c d e f g h").words) == MAX_WORDS
    assert len(parse_search("a" * MAX_LENGTH).text) == MAX_LENGTH
    with pytest.raises(InvalidParameter, match="q has 9 words, at most 8 are allowed"):
        parse_search("a b c d e f g h i")
    with pytest.raises(InvalidParameter, match="q has 101 characters, at most 100 are allowed"):
        parse_search("a" * (MAX_LENGTH + 1))


def test_a_search_is_ranked_unless_it_is_sorted() -> None:
    """`sortBy` is obeyed; without it the best match comes first, and without `q` the name decides."""
    assert parse(b"q=anna").sort == ()
    assert parse(b"q=anna&sortBy=lastName").sort == ("lastName",)
    assert parse(b"q=").sort == ("name",)
    assert parse(b"q=").search is None
    with pytest.raises(InvalidParameter, match="q is given more than once"):
        parse(b"q=anna&q=bert")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40))
def test_whoever_types_a_name_finds_it(name: str) -> None:
    """Each word of a search for a whole name, or for the beginning of its last word, begins a word of the contact."""
    made = build_index("Custom", Contact(name, (PhoneNumber("1"),)))
    typed = name[: MAX_LENGTH // 2]

    if len(split_words(fold(typed))) <= MAX_WORDS:
        assert all(f"\f{word}" in made.search or word.isdigit() for word in parse_search(typed).words)
