"""Count cache: a count is returned at its revision and at no other."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.store.contacts.count_cache import MAX_ENTRIES, Count, CountCache


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 9)), max_size=30))
def test_only_counts_of_the_newest_revision_are_returned(steps: list[tuple[int, str, int]]) -> None:
    """For any order of counts, a returned count is the last one of the highest revision."""
    cache, totals = CountCache(), dict[tuple[int, str], int]()
    newest = -1
    for revision, matching, total in steps:
        cache.store(matching, Count(revision, total))
        newest = max(newest, revision)
        totals[revision, matching] = total
        for key in "ab":
            expected = Count(newest, totals[newest, key]) if (newest, key) in totals else Count(-1, 0)
            assert cache.find(key) == expected


def test_size_is_bounded() -> None:
    """After MAX_ENTRIES counts of one revision the earlier ones are dropped."""
    cache = CountCache()
    for number in range(MAX_ENTRIES + 1):
        cache.store(number, Count(1, number))
    assert cache.find(0) == Count(-1, 0)
    assert cache.find(MAX_ENTRIES) == Count(1, MAX_ENTRIES)


def test_clear_accepts_a_lower_revision() -> None:
    """After `clear` a count of a lower revision is cached."""
    cache = CountCache()
    cache.store("a", Count(7, 1))
    cache.clear()
    assert cache.find("a") == Count(-1, 0)
    cache.store("a", Count(6, 2))
    assert cache.find("a") == Count(6, 2)
