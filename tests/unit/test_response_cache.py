"""The response cache (one revision, bounded size) and the conditional requests."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.responses import Response

from syncd.web.caching.conditional import Representation, accepts_gzip, entity_tag, gzip_tag, matches_etag
from syncd.web.caching.response_cache import CacheKey, ResponseCache, entry_size


def key(number: int) -> CacheKey:
    return CacheKey(b"/api/v2/contacts", f"offset={number}".encode(), "", "http://x", "agent")


def representation(size: int = 10) -> Representation:
    return Representation(Response(b"x" * size))


ENTRY = entry_size(key(1), representation())
"""Bytes of an entry of these tests."""


def test_an_answer_is_found_again_at_its_revision_only() -> None:
    """An entry is returned for the same key and revision; a newer revision removes it for good."""
    cache = ResponseCache(100 * ENTRY)
    stored = representation()
    cache.put(7, key(1), stored)
    assert cache.get(7, key(1)) is stored
    assert cache.get(7, key(2)) is None
    assert cache.get(8, key(1)) is None
    assert cache.get(7, key(1)) is None


def test_a_newer_revision_removes_everything() -> None:
    """A representation of an older revision that is put afterwards is not stored either."""
    cache = ResponseCache(100 * ENTRY)
    cache.put(7, key(1), representation())
    cache.invalidate_before(9)
    cache.put(8, key(2), representation())
    assert cache.get(9, key(1)) is None
    assert cache.get(9, key(2)) is None


def test_another_database_starts_with_an_empty_cache() -> None:
    """After `clear`, the cache is empty and accepts lower revisions."""
    cache = ResponseCache(100 * ENTRY)
    cache.put(7, key(1), representation())
    cache.clear()
    assert cache.get(6, key(1)) is None
    cache.put(6, key(1), stored := representation())
    assert cache.get(6, key(1)) is stored


def test_the_least_recently_used_entries_are_evicted() -> None:
    """The limit is in bytes, including space for the gzip form; a larger representation is not stored."""
    cache = ResponseCache(5 * ENTRY)
    for number in range(5):
        cache.put(1, key(number), representation(10))
    assert cache.get(1, key(0)) is not None
    cache.put(1, key(5), representation(10))
    assert cache.get(1, key(1)) is None
    assert cache.get(1, key(0)) is not None
    cache.put(1, key(6), representation(5 * ENTRY))
    assert cache.get(1, key(6)) is None


def test_keys_and_overhead_count() -> None:
    """Each part of a key occupies its length, and an entry without a body is not free."""
    short = entry_size(key(1), representation(0))
    parts: dict[str, Any] = {"path": b"x" * 1000, "query": b"x" * 1000, "accept": "x" * 1000, "base": "x" * 1000}
    for name, value in parts.items():
        before = len(getattr(key(1), name))
        assert entry_size(key(1)._replace(**{name: value}), representation(0)) == short + 1000 - before
    assert short > 1000

    cache = ResponseCache(1 << 20)
    for number in range(200):
        cache.put(1, key(number)._replace(accept="x" * 20_000), representation())
    stored = [number for number in range(200) if cache.get(1, key(number)._replace(accept="x" * 20_000))]
    assert stored == list(range(200 - len(stored), 200))
    assert 40 < len(stored) < 53


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 60), st.booleans()), max_size=60))
def test_no_answer_of_an_older_revision_after_a_newer_was_known(steps: list[tuple[int, int, int, bool]]) -> None:
    """In any order of operations, a returned representation was put at exactly the requested revision."""
    cache = ResponseCache(10 * ENTRY)
    stored: dict[tuple[int, CacheKey], Representation] = {}
    newest = -1
    for revision, number, size, is_put in steps:
        newest = max(newest, revision)
        if is_put:
            cache.put(revision, key(number), stored.setdefault((revision, key(number)), representation(size)))
        else:
            result = cache.get(revision, key(number))
            assert result is None or (revision == newest and result is stored[revision, key(number)])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False), ("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False),
        ("*", True), ("br", False), ("identity, *;q=0", False),
    ],
)  # fmt: skip
def test_gzip_is_taken_from_accept_encoding(header: str, expected: bool) -> None:
    """Accept-Encoding follows RFC 9110, 12.5.3."""
    assert accepts_gzip(Headers({"accept-encoding": header})) is expected


def test_both_etags_of_a_representation_match() -> None:
    """The plain and the gzip form have different strong ETags; both match, also as weak ones, and so does `*`."""
    tag = entity_tag(b"x")
    assert tag != gzip_tag(tag) != entity_tag(b"y")
    for header in (tag, f"W/{tag}", gzip_tag(tag), f'"other", {tag}', "*"):
        assert matches_etag(header, tag)
    assert not matches_etag(entity_tag(b"y"), tag)
