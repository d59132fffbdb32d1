"""Totals: a count is known again at its revision, and never at another one."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.store.contacts.count_cache import MOST, Counted, Totals


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 9)), max_size=30))
def test_a_count_is_known_at_the_newest_revision_only(steps: list[tuple[int, str, int]]) -> None:
    """Whatever comes in which order: what is known was counted at the highest revision that was kept."""
    totals, kept = Totals(), dict[tuple[int, str], int]()
    newest = -1
    for revision, matching, total in steps:
        totals.keep(matching, Counted(revision, total))
        newest = max(newest, revision)
        kept[revision, matching] = total
        for one in "ab":
            known = totals.known(one)
            assert known == (Counted(newest, kept[newest, one]) if (newest, one) in kept else Counted(-1, 0))


def test_what_is_remembered_is_bounded() -> None:
    """Of more questions than anybody asks at one revision, the earlier ones are counted again."""
    totals = Totals()
    for number in range(MOST + 1):
        totals.keep(number, Counted(1, number))
    assert totals.known(0) == Counted(-1, 0)
    assert totals.known(MOST) == Counted(1, MOST)


def test_another_database_begins_anew() -> None:
    """A lower revision is then as good as any."""
    totals = Totals()
    totals.keep("a", Counted(7, 1))
    totals.forget()
    assert totals.known("a") == Counted(-1, 0)
    totals.keep("a", Counted(6, 2))
    assert totals.known("a") == Counted(6, 2)
