"""The response cache: one revision, bounded, never older than what was heard of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.responses import Response

from syncd.web.caching.conditional import Representation, accepts_gzip, entity_tag, names, packed_tag
from syncd.web.caching.response_cache import Cache, Key


def key(number: int) -> Key:
    return Key(b"/api/v2/contacts", f"offset={number}".encode(), "", "http://x", "agent")


def answer(size: int = 10) -> Representation:
    return Representation(Response(b"x" * size))


def test_an_answer_is_found_again_at_its_revision_only() -> None:
    """The same question at the same revision has it; at a later one, and for good, it is gone."""
    cache = Cache(1000)
    kept = answer()
    cache.keep(7, key(1), kept)
    assert cache.find(7, key(1)) is kept
    assert cache.find(7, key(2)) is None
    assert cache.find(8, key(1)) is None
    assert cache.find(7, key(1)) is None


def test_hearing_of_a_newer_revision_drops_everything() -> None:
    """What was read before the news and comes late is not kept either."""
    cache = Cache(1000)
    cache.keep(7, key(1), answer())
    cache.drop(9)
    cache.keep(8, key(2), answer())
    assert cache.find(9, key(1)) is None
    assert cache.find(9, key(2)) is None


def test_another_database_begins_anew() -> None:
    """What was kept is gone, and what a revision means that was known before is learned again."""
    cache = Cache(1000)
    cache.keep(7, key(1), answer())
    cache.forget()
    assert cache.find(6, key(1)) is None
    cache.keep(6, key(1), kept := answer())
    assert cache.find(6, key(1)) is kept


def test_the_longest_unused_answers_make_room() -> None:
    """The bound is in bytes, with room for the packed form; what is larger than all of it is not kept."""
    cache = Cache(100)
    for number in range(5):
        cache.keep(1, key(number), answer(10))
    assert cache.find(1, key(0)) is not None
    cache.keep(1, key(5), answer(10))
    assert cache.find(1, key(1)) is None
    assert cache.find(1, key(0)) is not None
    cache.keep(1, key(6), answer(51))
    assert cache.find(1, key(6)) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 60), st.booleans()), max_size=60))
def test_no_answer_of_an_older_revision_after_a_newer_was_known(steps: list[tuple[int, int, int, bool]]) -> None:
    """Whatever the order of news, questions and answers: what is found was kept at exactly the asked revision."""
    cache = Cache(200)
    kept: dict[tuple[int, Key], Representation] = {}
    newest = -1
    for revision, number, size, is_kept in steps:
        newest = max(newest, revision)
        if is_kept:
            cache.keep(revision, key(number), kept.setdefault((revision, key(number)), answer(size)))
        else:
            found = cache.find(revision, key(number))
            assert found is None or (revision == newest and found is kept[revision, key(number)])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False), ("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False),
        ("*", True), ("br", False), ("identity, *;q=0", False),
    ],
)  # fmt: skip
def test_gzip_is_taken_from_accept_encoding(header: str, expected: bool) -> None:
    """As RFC 9110, 12.5.3 has it."""
    assert accepts_gzip(Headers({"accept-encoding": header})) is expected


def test_tags_tell_the_packed_form_apart_and_are_both_recognised() -> None:
    """A strong tag for each form; a client's weak mark is no difference, nor is *."""
    tag = entity_tag(b"x")
    assert tag != packed_tag(tag) != entity_tag(b"y")
    for header in (tag, f"W/{tag}", packed_tag(tag), f'"other", {tag}', "*"):
        assert names(header, tag)
    assert not names(entity_tag(b"y"), tag)
