"""Totals: a count is known again at its revision, and never at another one."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.store.contacts.count_cache import MAX_ENTRIES, Count, CountCache


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 9)), max_size=30))
def test_a_count_is_known_at_the_newest_revision_only(steps: list[tuple[int, str, int]]) -> None:
    """Whatever comes in which order: what is known was counted at the highest revision that was kept."""
    totals, kept = CountCache(), dict[tuple[int, str], int]()
    newest = -1
    for revision, matching, total in steps:
        totals.store(matching, Count(revision, total))
        newest = max(newest, revision)
        kept[revision, matching] = total
        for one in "ab":
            known = totals.find(one)
            assert known == (Count(newest, kept[newest, one]) if (newest, one) in kept else Count(-1, 0))


def test_what_is_remembered_is_bounded() -> None:
    """Of more questions than anybody asks at one revision, the earlier ones are counted again."""
    totals = CountCache()
    for number in range(MAX_ENTRIES + 1):
        totals.store(number, Count(1, number))
    assert totals.find(0) == Count(-1, 0)
    assert totals.find(MAX_ENTRIES) == Count(1, MAX_ENTRIES)


def test_another_database_begins_anew() -> None:
    """A lower revision is then as good as any."""
    totals = CountCache()
    totals.store("a", Count(7, 1))
    totals.clear()
    assert totals.find("a") == Count(-1, 0)
    totals.store("a", Count(6, 2))
    assert totals.find("a") == Count(6, 2)
